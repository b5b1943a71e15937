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

mod children;
mod kept;
mod message;
mod parent;
mod places;
mod start;
mod worker;

pub use children::{Connect, Purpose, Question};
pub use kept::Kept;
pub use message::{MAX_KEY, MAX_MESSAGE, MAX_TEXT};
pub use parent::FromParent;
pub(crate) use places::{MAX_PLACES, room};
pub use places::{Places, decode_places, encode_places};
pub(crate) use start::milliseconds;
pub use start::{MAX_LOADS, MAX_PAYLOAD, Start};
pub use worker::{FromWorker, QuitReason, Retire, ToWorker};
