//! What is said on a connection between a server's child and a worker.
//!
//! One request at a time. The child begins a connection with HELLO and each request with REQ; the
//! worker answers with HEAD and BODY frames, the last of which has [`Flags::END`]. A body that did
//! not fit into REQ is pulled: the worker says READ n when the application reads, and the child
//! answers with DATA up to n bytes, the last of which has [`Flags::PAUSE`] or [`Flags::END`], or with
//! FILE and a descriptor if all the rest lies in a file. So
//! neither side ever writes while the other waits to write, a client that expects `100-continue`
//! is told to go on when the application reads and not before, and an unread body is in nobody's
//! way. A worker that has said READ takes the whole answer before it writes anything else.
//!
//! ```text
//! child                                  worker
//!   HELLO (new connection) REQ  ------->
//!                               <-------  READ 65536          only for a large body,
//!   DATA, DATA PAUSE            ------->                       again and again
//!   FILE END, a descriptor      ------->                       or all of it at once
//!                               <-------  LOG                  any time
//!                               <-------  HEAD, BODY, BODY END
//! ```
//!
//! The end of the connection says nothing: a response is complete at END and nowhere else. Both
//! sides may send ERR; CANCEL tells a worker why a child hangs up; DRAIN is a worker's word that it
//! has not looked at the request.
//!
//! Everything here is bounds-checked and allocates no more than what has arrived: either side may be
//! run by somebody hostile.

mod codec;
mod decoder;
mod frame;
mod pairs;
mod record;
mod request;
mod response;
mod small;

use std::fmt;

pub use codec::{Put, Reader};
pub use decoder::{Decoder, Item, Side};
pub use frame::{
    Flags, HEADER, Header, Kind, MAX_HEAD, MAX_INLINE, MAX_LOG, MAX_PART, MAX_REQUEST, MAX_SMALL,
};
pub use record::{Record, decode_all as decode_records};
pub use request::{
    Attempt, EnvironWriter, Facts, FieldWriter, Request, TooLarge, Value, body_of, field, stamp,
};
pub use response::{Head, ResponseHead, Times};
pub use small::{
    CancelReason, Fault, FaultKind, Hello, decode_cancel, decode_file, decode_read, encode_cancel,
    encode_drain, encode_file, encode_read,
};

/// Why bytes make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// The fingerprint of the format. Both ends come from one build, or talk no further than HELLO.
pub const ABI: u64 = {
    let mut hash = fingerprint(0xcbf2_9ce4_8422_2325, env!("CARGO_PKG_VERSION").as_bytes());
    hash = fingerprint(hash, include_bytes!("codec.rs"));
    hash = fingerprint(hash, include_bytes!("frame.rs"));
    hash = fingerprint(hash, include_bytes!("pairs.rs"));
    hash = fingerprint(hash, include_bytes!("record.rs"));
    hash = fingerprint(hash, include_bytes!("request.rs"));
    hash = fingerprint(hash, include_bytes!("response.rs"));
    fingerprint(hash, include_bytes!("small.rs"))
};

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>: not a defence, only a fingerprint.
pub(crate) const fn fingerprint(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}
