//! Requests that take longer than `WSGISlowRequests` says, from their arrival on: those that have ended
//! wait here until they are reported, and those that run can be looked up by the reporter.
//!
//! A request that begins leaves a pointer to its description, behind a lock that it takes again when
//! it ends; so nothing is copied for those that are fast. The locks are one per thread, as good as, and
//! are held by the reporter for as long as it copies a few texts.
//!
//! Nor is much measured: clocks are looked at when the record does so. What a thread has used of the
//! processor takes the kernel a microsecond to say, so a request that begins is content with an answer
//! that its thread got a moment ago ([`OLD`]).

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use engine_api::Request;
use engine_api::worker::Telemetry;
use metrics::{Called, Cpu};
use py::Waits;
use telemetry::{Details, Slow, SlowRing, SlowState, ring_size};

use crate::current;
use crate::group::Group;
use crate::process::Process;
use crate::request::{now, seconds};

/// What is known of the requests of a process that reports slow ones.
pub(crate) struct Tracker {
    threshold: f64,
    user_agent: bool,
    pid: u32,
    /// Requests that run.
    active: Line<AtomicU64>,
    ended: SlowRing,
    /// By number of thread, modulo how many there are.
    slots: Box<[Line<Mutex<Vec<Entry>>>]>,
}

/// On cache lines of its own: what one thread writes is not beside what others read.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// A request that runs.
struct Entry {
    progress: Arc<Progress>,
    request: Described,
}

/// Valid while the entry is in its slot: `track` takes it out before the description goes.
struct Described(*const Request<'static>);

// SAFETY: a description may be read by any thread (`Request` is `Sync`); who reads holds the lock.
unsafe impl Send for Described {}

/// How far a request is. Its own thread writes.
pub(crate) struct Progress {
    pub(super) group: &'static Group,
    /// As Python knows the thread.
    pub(super) ident: u64,
    thread_id: u32,
    /// When it came here.
    begun: Instant,
    /// When it arrived at the server, in seconds since 1970; 0 if nobody knows.
    arrived: f64,
    /// Between its arrival and when it came here, in nanoseconds; 0 before that is known.
    before: AtomicU64,
    /// Requests that ran then, with it.
    active: u64,
    /// What the thread had waited for Python's lock before.
    waited: Waits,
    is_over: AtomicBool,
    is_told: AtomicBool,
    /// Until the application was called, in nanoseconds; 0 before it is.
    called: AtomicU64,
    status: AtomicU64,
    input: Transfer,
    output: Transfer,
    gil_wait: AtomicU64,
    gil_waits: AtomicU64,
}

/// One direction.
#[derive(Default)]
struct Transfer {
    bytes: AtomicU64,
    calls: AtomicU64,
    nanoseconds: AtomicU64,
}

/// Runs a request, which is `f`, where the reporter can see it.
pub(crate) fn track<R>(
    group: &'static Group,
    request: &Request<'_>,
    waited: Waits,
    f: impl FnOnce(Option<&Running<'_>>) -> R,
) -> R {
    let process: &'static Process = group.process;
    let Some(tracker) = &process.slow else { return f(None) };
    let thread_id = current::thread_id(|| process.runtime.is_main_thread());
    let begun = Instant::now();
    let progress = Arc::new(Progress {
        group,
        // SAFETY: always succeeds. It is what Python calls the thread's identity.
        ident: unsafe { libc::pthread_self() },
        thread_id,
        begun,
        arrived: seconds(request.request_start),
        before: AtomicU64::new(0),
        active: tracker.active.0.fetch_add(1, Relaxed) + 1,
        waited,
        is_over: AtomicBool::new(false),
        is_told: AtomicBool::new(false),
        called: AtomicU64::new(0),
        status: AtomicU64::new(0),
        input: Transfer::default(),
        output: Transfer::default(),
        gil_wait: AtomicU64::new(0),
        gil_waits: AtomicU64::new(0),
    });
    let slot = thread_id as usize % tracker.slots.len();
    let cpu = used_by(begun, tracker.threshold);
    let running = Running { tracker, slot, progress, request, cpu };
    let described = Described(std::ptr::from_ref(request).cast());
    let entry = Entry { progress: Arc::clone(&running.progress), request: described };
    if let Some(mut entries) = tracker.lock(slot) {
        entries.push(entry);
    }
    f(Some(&running))
}

/// What the calling thread has used of the processor, now or a moment ago. What it uses in that moment
/// is charged to the request that begins, and is no more than a hundredth of what makes it slow.
fn used_by(now: Instant, threshold: f64) -> Option<Cpu> {
    thread_local! {
        static USED: Cell<Option<(Instant, Cpu)>> = const { Cell::new(None) };
    }
    let is_new = |(then, _): &(Instant, Cpu)| {
        now.saturating_duration_since(*then).as_secs_f64() <= threshold * OLD
    };
    if let Some((_, cpu)) = USED.get().filter(is_new) {
        return Some(cpu);
    }
    let cpu = Cpu::of_thread()?;
    USED.set(Some((now, cpu)));
    Some(cpu)
}

/// How old an answer may be, as a part of the time that a slow request takes.
const OLD: f64 = 0.01;

/// A request while it runs. Its own thread has it.
pub(crate) struct Running<'r> {
    tracker: &'static Tracker,
    slot: usize,
    progress: Arc<Progress>,
    request: &'r Request<'r>,
    cpu: Option<Cpu>,
}

impl Running<'_> {
    /// How far it is.
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Its response is out, since `now` if somebody has looked at the clock.
    pub(crate) fn end(&self, status: u16, called: Option<&Called>, now: Option<Instant>) {
        let duration = self.progress.age(now.unwrap_or_else(Instant::now));
        // A forked child reports nothing, and the reporter may have held the lock.
        if duration < self.tracker.threshold || std::process::id() != self.tracker.pid {
            return;
        }
        let mut slow = self.progress.describe(self.request, self.tracker.user_agent);
        slow.state = SlowState::Completed;
        slow.duration = duration;
        slow.status = status.into();
        slow.active_at_completion = self.tracker.active.0.load(Relaxed);
        if let Some(called) = called {
            slow.gil_wait_time = called.gil_wait.as_secs_f64();
            slow.gil_wait_count = called.gil_waits;
            slow.input_bytes = called.input_bytes;
            slow.input_reads = called.input_reads;
            slow.input_time = called.input_read.as_secs_f64();
            slow.output_bytes = called.output_bytes;
            slow.output_writes = called.output_writes;
            slow.output_time = called.output_write.as_secs_f64();
        }
        if let Some(cpu) = self.cpu.zip(Cpu::of_thread()).map(|(start, end)| end.since(start)) {
            let cpu = cpu.within(self.progress.begun.elapsed().as_secs_f64());
            (slow.cpu_user, slow.cpu_system) = (cpu.user, cpu.system);
        }
        self.tracker.ended.push(slow);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.progress.is_over.store(true, Relaxed);
        self.tracker.active.0.fetch_sub(1, Relaxed);
        if let Some(mut entries) = self.tracker.lock(self.slot) {
            entries.retain(|entry| !Arc::ptr_eq(&entry.progress, &self.progress));
        }
    }
}

impl Tracker {
    /// One for a process with so many threads; `None` if it is to report no slow requests.
    pub(crate) fn new(telemetry: &Telemetry, threads: u32) -> Option<Tracker> {
        let threshold = telemetry.slow_requests;
        if telemetry.target.is_none() || threshold <= 0.0 {
            return None;
        }
        let threads = threads.clamp(1, MOST_SLOTS);
        Some(Tracker {
            threshold,
            user_agent: telemetry.user_agent,
            pid: std::process::id(),
            active: Line::default(),
            ended: SlowRing::new(ring_size(threads, telemetry.interval, threshold)),
            slots: (0..=threads).map(|_| Line::default()).collect(),
        })
    }

    /// Takes out those that have ended.
    pub(super) fn ended(&self) -> Vec<Slow> {
        self.ended.take().into()
    }

    /// Those that run, and have done so for long enough.
    pub(super) fn running(&self) -> Vec<(Arc<Progress>, Slow)> {
        let mut found = Vec::new();
        for slot in &self.slots {
            let entries = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            for Entry { progress, request } in &*entries {
                if progress.age(Instant::now()) < self.threshold {
                    continue;
                }
                // SAFETY: it is in its slot, whose lock is held: the field of `Entry`.
                let request = unsafe { &*request.0 };
                found.push((Arc::clone(progress), progress.describe(request, self.user_agent)));
            }
        }
        found
    }

    /// `None` in a forked child, where the lock was held by a thread that is not there.
    fn lock(&self, slot: usize) -> Option<MutexGuard<'_, Vec<Entry>>> {
        let slot = &self.slots.get(slot)?.0;
        loop {
            match slot.try_lock() {
                Ok(entries) => return Some(entries),
                Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
                Err(TryLockError::WouldBlock) if std::process::id() != self.pid => return None,
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
    }
}

/// More threads than that share slots.
const MOST_SLOTS: u32 = 1 << 12;

impl Progress {
    /// The application is about to be called: at this point of time, by both clocks.
    pub(crate) fn call(&self, wall: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.begun);
        self.called.store(nanoseconds(passed).max(1), Relaxed);
        self.before.store(self.arrival(wall, passed), Relaxed);
        self.note_waits();
    }

    /// The response has this status.
    pub(crate) fn status(&self, status: u16) {
        self.status.store(status.into(), Relaxed);
    }

    /// Runs `f`, which reads so many bytes.
    pub(crate) fn reading<R>(&self, f: impl FnOnce() -> R, bytes: impl FnOnce(&R) -> u64) -> R {
        self.transfer(&self.input, f, bytes)
    }

    /// Runs `f`, which writes so many bytes.
    pub(crate) fn writing<R>(&self, f: impl FnOnce() -> R, bytes: impl FnOnce(&R) -> u64) -> R {
        self.transfer(&self.output, f, bytes)
    }

    fn transfer<R>(
        &self,
        way: &Transfer,
        f: impl FnOnce() -> R,
        bytes: impl FnOnce(&R) -> u64,
    ) -> R {
        let begun = Instant::now();
        let result = f();
        way.nanoseconds.fetch_add(nanoseconds(begun.elapsed()), Relaxed);
        way.bytes.fetch_add(bytes(&result), Relaxed);
        way.calls.fetch_add(1, Relaxed);
        self.note_waits();
        result
    }

    fn note_waits(&self) {
        let waits = Waits::of_this_thread().since(self.waited);
        self.gil_wait.store(nanoseconds(waits.time), Relaxed);
        self.gil_waits.store(waits.count, Relaxed);
    }

    /// Whether it has not ended.
    pub(super) fn is_running(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// Whether this has not been asked before.
    pub(super) fn is_news(&self) -> bool {
        !self.is_told.swap(true, Relaxed)
    }

    /// Seconds since its arrival at the server.
    fn age(&self, now: Instant) -> f64 {
        self.before() + now.saturating_duration_since(self.begun).as_secs_f64()
    }

    /// Seconds between its arrival and when it came here, which is found out now if the application
    /// was not called.
    fn before(&self) -> f64 {
        let before = match self.before.load(Relaxed) {
            0 => self.arrival(now(), self.begun.elapsed()),
            before => before,
        };
        Duration::from_nanos(before).as_secs_f64()
    }

    /// The same in nanoseconds, seen so long after it came: more than nothing, also where a clock was
    /// set.
    fn arrival(&self, wall: f64, passed: Duration) -> u64 {
        let known = self.arrived > 0.0;
        let before = if known { wall - self.arrived - passed.as_secs_f64() } else { 0.0 };
        // What is negative becomes 0.
        ((before * 1e9) as u64).max(1)
    }

    fn describe(&self, request: &Request<'_>, user_agent: bool) -> Slow {
        let duration = self.age(Instant::now());
        let before = self.before();
        let of = |time: &AtomicU64| Duration::from_nanos(time.load(Relaxed)).as_secs_f64();
        // Points of time are seconds since the arrival.
        let called = self.called.load(Relaxed) > 0;
        let application = if called { before + of(&self.called) } else { duration };
        let start = match seconds(request.request_start) {
            start if start > 0.0 => start,
            _ => now() - duration,
        };
        let point = |time: i64| (seconds(time) - start).clamp(0.0, application);
        let (server, queue, daemon) = if request.daemon_start > 0 {
            let (queue, daemon) = (point(request.queue_start), point(request.daemon_start));
            (queue, (daemon - queue).max(0.0), application - daemon)
        } else {
            (application, 0.0, 0.0)
        };
        let details = Details {
            thread_id: self.thread_id.into(),
            server_pid: request.server_pid.into(),
            start,
            server_time: server,
            queue_time: queue,
            daemon_time: daemon,
            active: self.active,
            ..details(request, user_agent)
        };
        Slow {
            state: SlowState::Active,
            details: Arc::new(details),
            duration,
            application_time: duration - application,
            gil_wait_time: of(&self.gil_wait),
            gil_wait_count: self.gil_waits.load(Relaxed),
            input_bytes: self.input.bytes.load(Relaxed),
            input_reads: self.input.calls.load(Relaxed),
            input_time: of(&self.input.nanoseconds),
            output_bytes: self.output.bytes.load(Relaxed),
            output_writes: self.output.calls.load(Relaxed),
            output_time: of(&self.output.nanoseconds),
            status: self.status.load(Relaxed),
            ..Slow::default()
        }
    }
}

/// The texts of a request. Its query is left out: it may hold what nobody else should see.
fn details(request: &Request<'_>, user_agent: bool) -> Details {
    let mut details = Details {
        log_id: request.request_id.or_empty().to_vec(),
        https: request.https,
        ..Details::default()
    };
    let (mut server_name, mut uri): (&[u8], &[u8]) = (b"", b"");
    for pair in request.environ.get() {
        let value = pair.value.or_empty();
        let place = match pair.name.or_empty() {
            b"REQUEST_METHOD" => &mut details.method,
            b"HTTP_HOST" => &mut details.hostname,
            b"SCRIPT_NAME" => &mut details.script_name,
            b"PATH_INFO" => &mut details.path_info,
            b"SERVER_PROTOCOL" => &mut details.protocol,
            b"REMOTE_ADDR" => &mut details.peer_ip,
            b"HTTP_USER_AGENT" if user_agent => &mut details.user_agent,
            b"SERVER_NAME" => {
                server_name = value;
                continue;
            }
            b"REQUEST_URI" => {
                uri = value;
                continue;
            }
            _ => continue,
        };
        // Longer ones are cut anyway.
        *place = value.get(..MOST_TEXT).unwrap_or(value).to_vec();
    }
    let host = mem::take(&mut details.hostname);
    let host = without_port(&host);
    details.hostname = if host.is_empty() { server_name } else { host }.to_vec();
    if details.path_info.is_empty() && details.script_name.is_empty() {
        let path = uri.split(|byte| *byte == b'?').next().unwrap_or_default();
        details.path_info = path.get(..MOST_TEXT).unwrap_or(path).to_vec();
    }
    details
}

/// More than is reported of any text.
const MOST_TEXT: usize = 1024;

/// `[::1]:80` is `[::1]`.
fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon..].iter().skip(1).all(u8::is_ascii_digit) => &host[..colon],
        _ => host,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_part_of_a_host() {
        for (host, expected) in [
            ("", ""),
            ("a", "a"),
            ("a:80", "a"),
            ("a:", "a"),
            ("[::1]", "[::1]"),
            ("[::1]:8080", "[::1]"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(without_port(host.as_bytes()), expected.as_bytes(), "{host}");
        }
    }

    #[test]
    fn nothing_is_tracked_without_need() {
        let telemetry =
            Telemetry { target: Some(Vec::new()), slow_requests: 0.5, ..Telemetry::default() };
        assert!(Tracker::new(&telemetry, 3).is_some());
        let none = Telemetry { target: None, ..telemetry.clone() };
        assert!(Tracker::new(&none, 3).is_none());
        assert!(Tracker::new(&Telemetry { slow_requests: 0.0, ..telemetry }, 3).is_none());
    }
}
