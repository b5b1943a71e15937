//! The record of a process: one slot per thread, which that thread writes.
//!
//! Two counters of a slot are always kept, since a process is asked how many requests it has served
//! whether or not it records. The rest is behind a lock per slot, so that an interval takes each
//! request as a whole: what is in one sum of an interval is in all of them.
//!
//! Threads are told apart by number. Those beyond the number that a server may have (HTTP/2 has
//! threads that come and go) share one slot, which counts but is not listed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use crate::histogram::{BUCKETS, bucket};
use crate::processor::{Gaps, Processor};
use crate::usage::Cpu;

/// What the time of a request is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In the server, before the application's process is asked for (in the server's own process:
    /// before the application is called).
    Server = 0,
    /// Until a process of the application has taken it. Daemon mode only.
    Queue = 1,
    /// From there until the application is called: interpreter, lock, script. Daemon mode only.
    Daemon = 2,
    /// In the application, until its response is handed over.
    Application = 3,
    /// All of these.
    Request = 4,
    /// Part of them: waiting for Python's lock.
    GilWait = 5,
    /// Part of them: reading the body.
    InputRead = 6,
    /// Part of them: handing the response over.
    OutputWrite = 7,
}

impl Phase {
    /// In the order of their numbers.
    pub const ALL: [Phase; 8] = [
        Phase::Server,
        Phase::Queue,
        Phase::Daemon,
        Phase::Application,
        Phase::Request,
        Phase::GilWait,
        Phase::InputRead,
        Phase::OutputWrite,
    ];

    /// Those that are parts of others: a request may have none of them.
    pub(crate) const PARTS: [Phase; 3] = [Phase::GilWait, Phase::InputRead, Phase::OutputWrite];

    /// What its time is called.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Server => "server_time",
            Phase::Queue => "queue_time",
            Phase::Daemon => "daemon_time",
            Phase::Application => "application_time",
            Phase::Request => "request_time",
            Phase::GilWait => "gil_wait_time",
            Phase::InputRead => "input_read_time",
            Phase::OutputWrite => "output_write_time",
        }
    }
}

/// What is known of a request at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// What the client sees. What is no status of HTTP counts as a fault of the server.
    pub status: u16,
    /// Its application was called.
    pub called: Option<Called>,
}

/// Numbers of a request whose application was called.
#[derive(Clone, Copy, Debug, Default)]
pub struct Called {
    /// See [`Phase::Server`].
    pub server: Duration,
    /// In daemon mode.
    pub transfer: Option<Transfer>,
    /// See [`Phase::Application`].
    pub application: Duration,
    /// See [`Phase::GilWait`].
    pub gil_wait: Duration,
    /// How often that was.
    pub gil_waits: u64,
    /// See [`Phase::InputRead`].
    pub input_read: Duration,
    /// See [`Phase::OutputWrite`].
    pub output_write: Duration,
    /// Reads of the body.
    pub input_reads: u64,
    /// Bytes of the body.
    pub input_bytes: u64,
    /// Blocks of the response's body.
    pub output_writes: u64,
    /// Their bytes.
    pub output_bytes: u64,
}

/// What there is in daemon mode only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// See [`Phase::Queue`].
    pub queue: Duration,
    /// See [`Phase::Daemon`].
    pub daemon: Duration,
}

/// The record of a process. Any thread may use it.
#[derive(Debug)]
pub struct Recorder {
    pub(crate) daemon: bool,
    /// Whose it is: a forked child has a copy, which says nothing about it.
    pid: u32,
    epoch: Instant,
    pub(crate) born: SystemTime,
    on: AtomicBool,
    claimed: AtomicBool,
    /// One for each thread, and one for all others.
    pub(crate) counts: Box<[Counts]>,
    /// The highest number of a thread that has none of its own.
    pub(crate) highest: AtomicU32,
    slots: OnceLock<Box<[Mutex<Slot>]>>,
    pub(crate) baseline: Mutex<Baseline>,
}

/// What is always counted. On a cache line of its own, since threads count at once.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counts {
    /// The number of its thread.
    pub(crate) thread: AtomicU32,
    pub(crate) begun: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// Calls of applications.
    pub(crate) called: AtomicU64,
}

/// Where the next interval begins.
#[derive(Debug)]
pub(crate) struct Baseline {
    pub(crate) at: u64,
    pub(crate) wall: SystemTime,
    pub(crate) cpu: Cpu,
    /// What threads use between requests.
    pub(crate) gaps: Gaps,
}

/// What a thread records. Times are nanoseconds, points of time those since the recorder's epoch. On
/// cache lines of its own, pairs of which processors fetch together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Slot {
    /// Requests it is in: more than one where the server runs one inside another.
    pub(crate) active: u32,
    /// When the first of them began.
    pub(crate) begun: u64,
    /// Until when `busy` counts.
    pub(crate) since: u64,
    /// Time in requests, since recording began.
    pub(crate) busy_total: u64,
    /// What its requests use of processors.
    pub(crate) processor: Processor,
    /// What goes into the next interval.
    pub(crate) sums: Sums,
}

/// See [`Slot::sums`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) completed: u64,
    pub(crate) statuses: [u64; 5],
    pub(crate) busy: u64,
    pub(crate) longest: u64,
    pub(crate) gil_waits: u64,
    pub(crate) input_reads: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_writes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) phases: [Times; 8],
}

/// Times of one phase.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) buckets: [u32; BUCKETS],
}

impl Default for Times {
    fn default() -> Times {
        Times { count: 0, sum: 0, min: u64::MAX, max: 0, buckets: [0; BUCKETS] }
    }
}

impl Times {
    fn add(&mut self, time: u64) {
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
        self.min = self.min.min(time);
        self.max = self.max.max(time);
        if let Some(count) = self.buckets.get_mut(bucket(time)) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds those that took no time at all, so that there are `count` in all: see [`Sums::add`].
    pub(crate) fn fill(&mut self, count: u64) {
        let missing = count.saturating_sub(self.count);
        if missing > 0 {
            self.count = count;
            self.min = 0;
            let missing = u32::try_from(missing).unwrap_or(u32::MAX);
            self.buckets[bucket(0)] = self.buckets[bucket(0)].saturating_add(missing);
        }
    }
}

impl Recorder {
    /// A record for this process, which begins now and serves with at most so many threads;
    /// `daemon` if it takes its requests from another process.
    pub fn new(threads: u32, daemon: bool) -> Recorder {
        let threads = threads.clamp(1, MOST_THREADS) as usize;
        let born = SystemTime::now();
        Recorder {
            daemon,
            pid: std::process::id(),
            epoch: Instant::now(),
            born,
            on: AtomicBool::new(false),
            claimed: AtomicBool::new(false),
            counts: (0..=threads).map(|_| Counts::default()).collect(),
            highest: AtomicU32::new(0),
            slots: OnceLock::new(),
            baseline: Mutex::new(Baseline {
                at: 0,
                wall: born,
                cpu: Cpu::default(),
                gaps: Gaps::default(),
            }),
        }
    }

    /// Records from now on, for as long as the process runs: an interval begins with the first call.
    /// Requests that have begun already are counted at their end, but not recorded.
    pub fn start(&self) {
        if !self.is_ours() {
            return;
        }
        let mut baseline = lock(&self.baseline);
        if self.on.load(Relaxed) {
            return;
        }
        *baseline = self.baseline_now(Gaps::default());
        self.slots.get_or_init(|| self.counts.iter().map(|_| Mutex::default()).collect());
        self.on.store(true, Relaxed);
    }

    /// Whether it records.
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Gives the intervals to one reader, such as a sender of telemetry: each that is taken begins
    /// the next, so two readers would each see a part.
    pub fn claim(&self) {
        self.claimed.store(true, Relaxed);
    }

    /// Whether somebody has the intervals.
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Relaxed)
    }

    /// Whether this is the process that the record is about, and not one that it has forked.
    pub(crate) fn is_ours(&self) -> bool {
        std::process::id() == self.pid
    }

    /// The thread of this number begins a request. Numbers begin with 1; 0 is a main thread that
    /// serves alone.
    pub fn enter(&self, thread: u32) -> Bracket<'_> {
        self.enter_at(thread, None)
    }

    /// The same, and that was just now, which is worth a look at the clock.
    pub fn enter_at(&self, thread: u32, now: Option<Instant>) -> Bracket<'_> {
        let slot = self.slot_of(thread);
        if let Some(counts) = self.counts.get(slot) {
            // The first time, or a slot of many threads, where it says nothing.
            if counts.begun.fetch_add(1, Relaxed) == 0 {
                counts.thread.store(thread, Relaxed);
            }
            if slot == self.threads() {
                self.highest.fetch_max(thread, Relaxed);
            }
        }
        let mut bracket = Bracket { recorder: self, slot, recorded: None, open: true };
        if self.is_on()
            && let Some(mut own) = self.slot(slot)
        {
            let now = self.at(now.unwrap_or_else(Instant::now));
            own.count_until(now);
            if own.active == 0 {
                own.begun = now;
                if slot < self.threads() {
                    own.processor.begin();
                }
            }
            own.active += 1;
            bracket.recorded = Some(now);
        }
        bracket
    }

    /// Most threads that have a slot of their own.
    pub(crate) fn threads(&self) -> usize {
        self.counts.len() - 1
    }

    /// Nanoseconds since the recorder was made.
    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// The same for another point of time.
    fn at(&self, time: Instant) -> u64 {
        nanoseconds(time.saturating_duration_since(self.epoch))
    }

    pub(crate) fn slots(&self) -> &[Mutex<Slot>] {
        self.slots.get().map(|slots| &slots[..]).unwrap_or_default()
    }

    pub(crate) fn baseline_now(&self, gaps: Gaps) -> Baseline {
        Baseline { at: self.now(), wall: SystemTime::now(), cpu: Cpu::of_process(), gaps }
    }

    fn slot_of(&self, thread: u32) -> usize {
        (thread.saturating_sub(1) as usize).min(self.threads())
    }

    /// `None` also in a forked child, where the lock was held by a thread that is not there.
    fn slot(&self, slot: usize) -> Option<MutexGuard<'_, Slot>> {
        let slot = self.slots().get(slot)?;
        match slot.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => self.is_ours().then(|| lock(slot)),
        }
    }
}

/// More threads than any server has.
const MOST_THREADS: u32 = 1 << 16;

impl Slot {
    /// Adds up what the requests of this thread have taken until `now`.
    pub(crate) fn count_until(&mut self, now: u64) {
        let time = now.saturating_sub(self.since) * u64::from(self.active);
        self.sums.busy += time;
        self.busy_total += time;
        self.since = now;
    }
}

impl Sums {
    fn add(&mut self, request: &Request, time: u64) {
        self.completed += 1;
        let class = match request.status {
            status @ 100..=599 => usize::from(status / 100) - 1,
            _ => 4,
        };
        if let Some(count) = self.statuses.get_mut(class) {
            *count += 1;
        }
        self.longest = self.longest.max(time);
        let Some(called) = &request.called else { return };
        self.gil_waits += called.gil_waits;
        self.input_reads += called.input_reads;
        self.input_bytes += called.input_bytes;
        self.output_writes += called.output_writes;
        self.output_bytes += called.output_bytes;
        let mut whole = called.server + called.application;
        let mut add = |phase: Phase, time: Duration| {
            if let Some(times) = self.phases.get_mut(phase as usize) {
                times.add(nanoseconds(time));
            }
        };
        if let Some(Transfer { queue, daemon }) = called.transfer {
            add(Phase::Queue, queue);
            add(Phase::Daemon, daemon);
            whole += queue + daemon;
        }
        add(Phase::Server, called.server);
        add(Phase::Application, called.application);
        add(Phase::Request, whole);
        // Most requests have no body, and those that wait for nothing need not be counted one by one.
        for (phase, time) in
            Phase::PARTS.into_iter().zip([called.gil_wait, called.input_read, called.output_write])
        {
            if time > Duration::ZERO {
                add(phase, time);
            }
        }
    }
}

/// A request while it lasts. Dropped, it counts as one that failed.
#[derive(Debug)]
pub struct Bracket<'r> {
    recorder: &'r Recorder,
    slot: usize,
    /// When it began, if it is recorded.
    recorded: Option<u64>,
    open: bool,
}

impl Bracket<'_> {
    /// Whether numbers are wanted at the end.
    pub fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// The application is about to be called.
    pub fn call(&self) {
        if let Some(counts) = self.recorder.counts.get(self.slot) {
            counts.called.fetch_add(1, Relaxed);
        }
    }

    /// The request is over.
    pub fn close(mut self, request: &Request) {
        self.end(Some(request), None);
    }

    /// The request is over, since just now, which is worth a look at the clock.
    pub fn close_at(mut self, request: &Request, now: Instant) {
        self.end(Some(request), Some(now));
    }

    /// It was none: somebody else serves it.
    pub fn cancel(mut self) {
        self.end(None, None);
    }

    fn end(&mut self, request: Option<&Request>, now: Option<Instant>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if let Some(counts) = self.recorder.counts.get(self.slot) {
            if request.is_some() {
                counts.ended.fetch_add(1, Relaxed);
            } else {
                counts.begun.fetch_sub(1, Relaxed);
            }
        }
        let Some(begun) = self.recorded else { return };
        let now = self.recorder.at(now.unwrap_or_else(Instant::now));
        let Some(mut slot) = self.recorder.slot(self.slot) else { return };
        slot.count_until(now);
        slot.active = slot.active.saturating_sub(1);
        if slot.active == 0 && self.slot < self.recorder.threads() {
            slot.processor.end(now);
        }
        if let Some(request) = request {
            slot.sums.add(request, now.saturating_sub(begun));
        }
    }
}

impl Drop for Bracket<'_> {
    fn drop(&mut self) {
        self.end(Some(&Request { status: 500, called: None }), None);
    }
}

/// Locks what is held for a copy or a few additions.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into())
}
