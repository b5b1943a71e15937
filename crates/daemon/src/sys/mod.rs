//! Calls of the platform, in the form the rest of the crate wants them.
//!
//! All of Linux' specialities are here: SEQPACKET pairs, descriptors and credentials in messages,
//! memfds and seals, pidfds, record locks. Where a kernel or a sandbox lacks a call there is a second
//! way, taken on `ENOSYS` and `EPERM` alike, because seccomp filters answer either. The floor is
//! Linux 4.18. What `rustix` does safely is used from there.
//!
//! <https://man7.org/linux/man-pages/man7/unix.7.html>

mod apart;
mod clock;
mod closer;
mod fd;
mod lock;
mod memory;
mod message;
mod process;
mod thread;

/// Smallest unit of a mapping on every machine we know; larger ones are multiples of it.
pub(crate) const PAGE: usize = 4096;

pub(crate) use apart::close_apart;
pub(crate) use clock::{monotonic_us, wall_us};
pub(crate) use closer::Closer;
#[cfg(test)]
pub(crate) use closer::tests::{alone, slow};
pub(crate) use fd::{above, close_from, place, set_cloexec};
pub(crate) use lock::{is_locked, lock, unlock};
pub(crate) use memory::{Mapping, read_blob, shared, shared_read_only, write_blob};
pub(crate) use message::{
    Received, is_shut, pair, receive, refuse_descriptors, send, stream_pair, unread, waits,
};
pub(crate) use process::{Exit, Watch, default_signals, reap, voluntary_switches};
pub use thread::spawn;
