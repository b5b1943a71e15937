//! The thread that reports, and how it is told to end.
//!
//! It is the only one that touches the socket and that asks the source. Whoever tells it something
//! leaves a note and wakes it; only its end is waited for, with a limit, so that even a file system
//! that hangs when the socket's path is looked up costs no more than that.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::collection::{Collection, Snapshot};
use crate::identity::Identity;
use crate::life::{self, Last};
use crate::sample::Sample;
use crate::sender::Sender;
use crate::slow::Slow;
use crate::thread::spawn;

/// Where the numbers come from. Only the reporter's thread calls; it must not wait for Python's lock,
/// or for requests.
pub trait Source: Send {
    /// The interval since this was called last, or since the beginning.
    fn sample(&mut self) -> Sample;

    /// Requests that took too long: those that have ended since this was called last, then those
    /// that still run.
    fn slow(&mut self, report: &mut dyn FnMut(&Slow));

    /// What Python's garbage collectors have done since this was called last.
    fn collectors(&mut self, report: &mut dyn FnMut(Collected<'_>));

    /// What is said at the end.
    fn totals(&mut self) -> Totals;
}

/// What is known of a garbage collector.
#[derive(Clone, Copy, Debug)]
pub struct Collected<'a> {
    /// Its interpreter; empty to leave that out.
    pub interpreter: &'a [u8],
    /// Its counters, if they can be had.
    pub snapshot: Option<&'a Snapshot>,
    /// Runs, in order.
    pub runs: &'a [Collection],
    /// Runs that were lost.
    pub dropped: u64,
}

/// What is said at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests the process has had.
    pub requests: u64,
}

/// What a reporter is told.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The reader's socket.
    pub path: PathBuf,
    /// Between two reports.
    pub interval: Duration,
    /// Seconds from which on a request is slow; 0 for none.
    pub threshold: f64,
    /// Who the process is.
    pub identity: Identity,
}

/// There is no reporter.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The path is none for a socket, or there are no sockets.
    Target(io::Error),
    /// There are no threads.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Target(error) => write!(f, "no socket for telemetry: {error}"),
            StartError::Thread(error) => write!(f, "no thread for telemetry: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A thread that reports.
#[derive(Debug)]
pub struct Reporter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    notes: Mutex<Notes>,
    changed: Condvar,
}

/// What the thread is told, and what it says.
#[derive(Debug, Default)]
struct Notes {
    /// It has been decided that the process ends: why, and with how many requests.
    stopping: Option<(Vec<u8>, u64)>,
    /// The process ends: with how many requests, and when at the latest.
    stop: Option<(u64, Instant)>,
    is_done: bool,
}

/// The shortest time between two reports.
const SHORTEST: Duration = Duration::from_millis(100);
/// Between two attempts to send what waits, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

impl Reporter {
    /// Begins to report.
    ///
    /// # Errors
    /// There is no socket, or no thread.
    pub fn start(setup: Setup, source: impl Source + 'static) -> Result<Reporter, StartError> {
        let sender = Sender::new(&setup.path).map_err(StartError::Target)?;
        let shared = Arc::new(Shared::default());
        let worker =
            Worker { shared: Arc::clone(&shared), setup, source, sender, reason: Vec::new() };
        spawn("wsgi-telemetry", move || worker.run()).map_err(StartError::Thread)?;
        Ok(Reporter(shared))
    }

    /// Says that the process is going to end, and with how many requests. Does not wait.
    pub fn stopping(&self, reason: &[u8], active: u64) {
        let mut notes = self.0.notes();
        notes.stopping.get_or_insert_with(|| (reason.to_vec(), active));
        self.0.changed.notify_all();
    }

    /// Reports for the last time, and says that the process ends with so many requests; waits for that
    /// no longer than `limit`. Whether it is done.
    pub fn stop(&self, active: u64, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut notes = self.0.notes();
        notes.stop.get_or_insert((active, until));
        self.0.changed.notify_all();
        while !notes.is_done {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            notes = wait(&self.0.changed, notes, left);
        }
        true
    }
}

impl Shared {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(
    changed: &Condvar,
    notes: MutexGuard<'a, Notes>,
    longest: Duration,
) -> MutexGuard<'a, Notes> {
    changed.wait_timeout(notes, longest).unwrap_or_else(PoisonError::into_inner).0
}

/// The thread.
struct Worker<S> {
    shared: Arc<Shared>,
    setup: Setup,
    source: S,
    sender: Sender,
    /// Why the process ends.
    reason: Vec<u8>,
}

/// What is to be done next.
enum Next {
    Tick,
    Again,
    Stopping(Vec<u8>, u64),
    Stop(u64, Instant),
}

impl<S: Source> Worker<S> {
    fn run(mut self) {
        /// Said however the thread ends.
        struct Done(Arc<Shared>);
        impl Drop for Done {
            fn drop(&mut self) {
                self.0.notes().is_done = true;
                self.0.changed.notify_all();
            }
        }
        let _done = Done(Arc::clone(&self.shared));
        let began = Instant::now();
        let interval = self.setup.interval.max(SHORTEST);
        self.sender.send(life::started(&self.setup.identity, crate::now()));
        let mut tick = began + interval;
        let mut again = AGAIN.0;
        loop {
            let before = self.sender.waiting();
            let all_sent = self.sender.flush();
            let moves = all_sent || self.sender.waiting() < before;
            again = if moves { AGAIN.0 } else { (again * 2).min(AGAIN.1) };
            match self.next(tick, (!all_sent).then_some(again)) {
                Next::Again => {}
                Next::Tick => {
                    self.tick();
                    tick = Instant::now() + interval;
                }
                Next::Stopping(reason, active) => {
                    let identity = &self.setup.identity;
                    self.sender.send(life::stopping(identity, crate::now(), &reason, active));
                    self.reason = reason;
                }
                Next::Stop(active, until) => {
                    self.end(active, began.elapsed(), until);
                    return;
                }
            }
        }
    }

    /// Waits until there is something to do.
    fn next(&self, tick: Instant, again: Option<Duration>) -> Next {
        let begun = Instant::now();
        let mut notes = self.shared.notes();
        loop {
            if let Some((reason, active)) = &mut notes.stopping
                && *active != SAID
            {
                let active = std::mem::replace(active, SAID);
                return Next::Stopping(std::mem::take(reason), active);
            }
            if let Some((active, until)) = notes.stop {
                return Next::Stop(active, until);
            }
            let left = tick.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Tick;
            }
            let Some(again) = again else {
                notes = wait(&self.shared.changed, notes, left);
                continue;
            };
            let until_again = again.saturating_sub(begun.elapsed());
            if until_again.is_zero() {
                return Next::Again;
            }
            notes = wait(&self.shared.changed, notes, left.min(until_again));
        }
    }

    /// Reports what there is.
    fn tick(&mut self) {
        let Worker { setup, source, sender, .. } = self;
        let Setup { identity, interval, threshold, .. } = setup;
        let pid = identity.pid;
        sender.send(source.sample().frame(identity, interval.as_secs_f64(), *threshold));
        let stamp = crate::now();
        source.slow(&mut |slow| sender.send(slow.frame(pid, stamp)));
        source.collectors(&mut |collected| {
            let interpreter = collected.interpreter;
            if let Some(snapshot) = collected.snapshot {
                sender.send(snapshot.frame(pid, interpreter, collected.dropped));
            }
            for run in collected.runs {
                sender.send(run.frame(pid, interpreter));
            }
        });
    }

    /// Reports for the last time.
    fn end(&mut self, active: u64, uptime: Duration, until: Instant) {
        self.tick();
        let requests = self.source.totals().requests;
        let last = Last { reason: &self.reason, uptime: uptime.as_secs_f64(), requests, active };
        self.sender.send(life::stopped(&self.setup.identity, crate::now(), &last));
        while !self.sender.flush() && Instant::now() < until {
            thread::sleep(AGAIN.0);
        }
    }
}

/// A count of requests that says that it was sent before.
const SAID: u64 = u64::MAX;
