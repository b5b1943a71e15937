//! A request in the record of its process: opened when it has its interpreter, closed when its
//! response is out.
//!
//! Points of time that other processes have told are of the clock on the wall, and so are the phases
//! between them; a clock that is set meanwhile makes a phase empty, never negative. The application's
//! own time is of a clock that nobody sets.

use std::time::{Duration, Instant};

use engine_api::Request;
use metrics::{Bracket, Called, Recorder, Transfer};
use py::Waits;
use wsgi_core::Summary;

use crate::request::seconds;

/// See the module.
pub(crate) struct Record {
    bracket: Bracket<'static>,
    /// What the thread had waited for Python's lock before.
    waited: Waits,
    call: Option<Call>,
}

/// The application's part.
struct Call {
    begun: Instant,
    server: Duration,
    transfer: Option<Transfer>,
    summary: Summary,
}

impl Record {
    /// The thread begins a request; `waited` is what it had waited before it did.
    pub(crate) fn open(recorder: &'static Recorder, thread: u32, waited: Waits) -> Record {
        Record { bracket: recorder.enter(thread), waited, call: None }
    }

    /// Whether numbers are wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.bracket.is_recorded()
    }

    /// What the thread had waited before.
    pub(crate) fn waited(&self) -> Waits {
        self.waited
    }

    /// The application is about to be called.
    pub(crate) fn call(&mut self, request: &Request<'_>, application_start: f64) {
        self.bracket.call();
        if !self.is_wanted() {
            return;
        }
        let [start, queue, daemon] =
            [request.request_start, request.queue_start, request.daemon_start].map(seconds);
        let between = |from: f64, to: f64| Duration::from_secs_f64((to - from).clamp(0.0, MOST));
        let (server, transfer) = if daemon > 0.0 {
            let transfer = Transfer {
                queue: between(queue, daemon),
                daemon: between(daemon, application_start),
            };
            (between(start, queue), Some(transfer))
        } else {
            (between(start, application_start), None)
        };
        let summary = Summary::default();
        self.call = Some(Call { begun: Instant::now(), server, transfer, summary });
    }

    /// The application is done.
    pub(crate) fn served(&mut self, summary: &Summary) {
        if let Some(call) = &mut self.call {
            call.summary = *summary;
        }
    }

    /// The response is out; what was left of it for the end took so long to send.
    pub(crate) fn close(self, status: u16, sending: Duration) -> Option<Called> {
        let called = self.call.map(|call| {
            let Summary {
                input_reads,
                input_length,
                input_time,
                output_writes,
                output_length,
                output_time,
                ..
            } = call.summary;
            let waits = Waits::of_this_thread().since(self.waited);
            Called {
                server: call.server,
                transfer: call.transfer,
                application: call.begun.elapsed(),
                gil_wait: waits.time,
                gil_waits: waits.count,
                input_read: Duration::from_secs_f64(input_time),
                output_write: Duration::from_secs_f64(output_time) + sending,
                input_reads,
                input_bytes: input_length,
                output_writes,
                output_bytes: output_length,
            }
        });
        self.bracket.close(&metrics::Request { status, called });
        called
    }

    /// Others serve it.
    pub(crate) fn cancel(self) {
        self.bracket.cancel();
    }
}

/// A year: more than any phase takes, and less than a duration holds.
const MOST: f64 = 366.0 * 24.0 * 3600.0;
