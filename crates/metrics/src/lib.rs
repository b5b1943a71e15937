//! What a process records about the requests it serves, as plain numbers.
//!
//! * [`Recorder`] is one process's record; a request opens a [`Bracket`] in it and closes it with
//!   what it knows about itself ([`Request`]).
//! * [`Interval`] is what has come together since it was last asked for, [`Totals`] what there is
//!   since the process began.
//! * [`Phase`] and [`bucket`] say what the times are called and how they are counted.
//! * [`Cpu`] and [`Memory`] are what the system says of the process.
//!
//! Numbers, units and names are those of mod_wsgi 6.1.1, so that its dashboards go on working. Until
//! [`Recorder::start`] a request costs two counters; from then on the clock is read and one record
//! of the thread is locked, which nobody else wants but whoever asks for an interval.
//!
//! Left out: where the numbers go. Nothing here knows Python, Apache, or a socket.
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/>

#![forbid(unsafe_code)]

mod histogram;
mod interval;
mod processor;
mod recorder;
mod usage;

pub use histogram::{BUCKETS, bucket, upper_bound};
pub use interval::{Interval, PhaseTimes, ThreadTimes, ThreadTotal, Totals};
pub use recorder::{Bracket, Called, Phase, Recorder, Request, Transfer};
pub use usage::{Cpu, Memory};
