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
    /// The thread begins a request; `waited` is what it had waited before it did, `now` when that was if
    /// somebody has looked at the clock.
    pub(crate) fn open(
        recorder: &'static Recorder,
        thread: u32,
        waited: Waits,
        now: Option<Instant>,
    ) -> Record {
        Record { bracket: recorder.enter_at(thread, now), waited, call: None }
    }

    /// Whether numbers are wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        self.bracket.is_recorded()
    }

    /// What the thread had waited before.
    pub(crate) fn waited(&self) -> Waits {
        self.waited
    }

    /// The application is about to be called. Says when that is, if anybody wants numbers.
    pub(crate) fn call(
        &mut self,
        request: &Request<'_>,
        application_start: f64,
    ) -> Option<Instant> {
        self.bracket.call();
        if !self.is_wanted() {
            return None;
        }
        let [start, queue, daemon] =
            [request.request_start, request.queue_start, request.daemon_start];
        // What is too large for a number is cut, and what is none is 0.
        let called = (application_start * 1e6) as i64;
        let between = |from: i64, to: i64| {
            let passed = to.saturating_sub(from).clamp(0, MOST);
            Duration::from_micros(passed.unsigned_abs())
        };
        let (server, transfer) = if daemon > 0 {
            let transfer =
                Transfer { queue: between(queue, daemon), daemon: between(daemon, called) };
            (between(start, queue), Some(transfer))
        } else {
            (between(start, called), None)
        };
        let (begun, summary) = (Instant::now(), Summary::default());
        self.call = Some(Call { begun, server, transfer, summary });
        Some(begun)
    }

    /// The application is done.
    pub(crate) fn served(&mut self, summary: &Summary) {
        if let Some(call) = &mut self.call {
            call.summary = *summary;
        }
    }

    /// The response is out; what was left of it for the end was sent between these points of time.
    /// Says what is known of it, and when that was.
    pub(crate) fn close(
        self,
        status: u16,
        sent: Option<(Instant, Instant)>,
    ) -> (Option<Called>, Option<Instant>) {
        // Nothing has happened since.
        let now = sent.map(|(_, now)| now).or_else(|| self.is_wanted().then(Instant::now));
        let called = self.call.zip(now).map(|(call, now)| {
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
                application: now.saturating_duration_since(call.begun),
                gil_wait: waits.time,
                gil_waits: waits.count,
                input_read: duration(input_time),
                output_write: duration(output_time) + sent.map_or(Duration::ZERO, passed),
                input_reads,
                input_bytes: input_length,
                output_writes,
                output_bytes: output_length,
            }
        });
        let request = metrics::Request { status, called };
        match now {
            Some(now) => self.bracket.close_at(&request, now),
            None => self.bracket.close(&request),
        }
        (called, now)
    }

    /// Others serve it.
    pub(crate) fn cancel(self) {
        self.bracket.cancel();
    }
}

/// Most requests read nothing, and have written nothing before the end.
fn duration(seconds: f64) -> Duration {
    if seconds > 0.0 { Duration::from_secs_f64(seconds) } else { Duration::ZERO }
}

fn passed((from, to): (Instant, Instant)) -> Duration {
    to.saturating_duration_since(from)
}

/// A year in microseconds: more than any phase takes.
const MOST: i64 = 366 * 24 * 3600 * 1_000_000;
