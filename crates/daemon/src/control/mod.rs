//! What the supervisor hears and says: messages on SEQPACKET sockets, some with descriptors.
//!
//! ```text
//! parent ----FromParent---> supervisor <---Connect---- children (one channel for all)
//!                           |   ^       ---Question-->
//!                  ToWorker |   | FromWorker              (one socket for each worker)
//!                           v   |
//!                          worker
//! ```
//!
//! A message is decoded whole or refused; every list and string is bounded. Nothing a worker or a
//! child says is a process number, a path or a descriptor number for the supervisor to act on. The
//! first message of each kind of peer begins with the fingerprint of the build, so that a different
//! build is told from nonsense.

mod message;
mod places;
mod start;

pub use message::{
    Connect, FromParent, FromWorker, Kept, MAX_KEY, MAX_MESSAGE, MAX_TEXT, Purpose, Question,
    QuitReason, Retire, ToWorker,
};
pub(crate) use places::{MAX_PLACES, room};
pub use places::{Places, decode_places, encode_places};
pub(crate) use start::milliseconds;
pub use start::{MAX_LOADS, MAX_PAYLOAD, Start};
