//! What a process tells about itself: datagrams in the format of `mod_wsgi-telemetry`, and the thread
//! that sends them.
//!
//! A process gives a [`Source`] of numbers to a [`Reporter`], which asks it once per interval, encodes
//! what it says ([`Sample`], [`Slow`], [`Snapshot`], [`Collection`]), and sends that to a socket that
//! somebody else may or may not read. Nobody who serves requests, and nobody who ends the process,
//! ever waits for that: the thread is the only one that touches the socket, its queue is bounded, and
//! its end is waited for with a limit.
//!
//! Nothing here knows Apache or Python, and nothing is received. [`decode`](decode()) exists for
//! whoever wants to read such datagrams, tests first of all.
//!
//! The consumer: <https://pypi.org/project/mod_wsgi-telemetry/>.

mod collection;
mod decode;
pub mod field;
mod frame;
mod identity;
mod life;
mod reporter;
mod sample;
mod sender;
mod slow;
mod thread;

pub use collection::{Collection, Collections, Generation, Snapshot};
pub use decode::{Datagram, Malformed, Value, decode};
pub use frame::{Frame, Kind};
pub use identity::Identity;
pub use reporter::{Collected, Reporter, Setup, Source, StartError, Totals};
pub use sample::{BUCKETS, Phase, PhaseTimes, Sample, Slot};
pub use slow::{Details, Slow, SlowRing, SlowState, ring_size};

pub use thread::spawn;

/// Seconds since 1970, now.
pub fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
