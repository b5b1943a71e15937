//! Limits of time in a worker: requests that take too long, an application that does not load, a
//! lock that cannot be had, nothing to do.
//!
//! One thread looks at plain numbers, so it needs neither Python's lock nor the application; what
//! needs the lock (raising an exception in a thread, asking for its stack, seeing whether the lock
//! can be had at all) is done by another thread, which may hang without harm. A worker is never
//! ended from here: it asks to be replaced, and goes on until another one has taken over.
//! See `request-timeout` and its kin in `docs/daemon-process.md`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use daemon::control::Retire;
use engine_api::Level;
use engine_api::worker::{Config, Limits};

use super::stacks;
use crate::group::Group;
use crate::log;
use crate::process::Process;

/// What is known of the requests of a worker.
pub(crate) struct Watchdog {
    process: &'static Process,
    limits: Limits,
    /// Times are microseconds since then, and never 0.
    epoch: Instant,
    threads: Vec<Thread>,
    /// When a request began, read, or wrote last.
    active: AtomicU64,
    /// When the first request asked for the application; [`LOADED`] once it is there.
    loading: AtomicU64,
    /// When Python's lock was had last.
    lock: AtomicU64,
    /// Wakes who does what needs the lock.
    helper: SyncSender<Errand>,
}

/// A thread that serves.
#[derive(Default)]
struct Thread {
    /// When its request began; 0 for none.
    begun: AtomicU64,
    /// When it was interrupted; 0 if it was not.
    interrupted: AtomicU64,
    /// As Python knows it.
    ident: AtomicU64,
    /// `mod_wsgi.thread_id`
    number: AtomicU64,
    /// The address of its `&'static Group`; 0 for none.
    group: AtomicUsize,
}

/// What needs Python's lock.
enum Errand {
    /// Have it, and say so.
    Lock,
    /// Interrupt the request that this thread began then.
    Interrupt { thread: usize, begun: u64 },
}

const LOADED: u64 = u64::MAX;
/// Between two looks, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How long to wait for a stack that is asked for through the lock.
const STACK: Duration = Duration::from_secs(1);

thread_local! {
    static INDEX: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Watchdog {
    /// Begins to watch; `None` if there are no limits.
    pub(super) fn start(process: &'static Process, config: &Config) -> Option<Arc<Watchdog>> {
        let limits = config.limits;
        let Limits { request, inactivity, deadlock, startup, .. } = limits;
        if [request, inactivity, deadlock, startup].iter().all(Option::is_none) {
            return None;
        }
        stacks::prepare(process);
        let (helper, errands) = sync_channel(64);
        let watchdog = Arc::new(Watchdog {
            process,
            limits,
            epoch: Instant::now(),
            threads: (0..config.threads).map(|_| Thread::default()).collect(),
            active: AtomicU64::new(0),
            loading: AtomicU64::new(0),
            lock: AtomicU64::new(1),
            helper,
        });
        let (watching, helping) = (Arc::clone(&watchdog), Arc::clone(&watchdog));
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(body);
            if let Err(error) = spawned {
                let group = String::from_utf8_lossy(&process.settings.process_group);
                let line =
                    format!("Timeouts of daemon process '{group}' are not enforced: {error}.");
                log::plain(&process.log, Level::Error, &line);
            }
        };
        spawn("wsgi-helper", Box::new(move || helping.help(&errands)));
        spawn("wsgi-watchdog", Box::new(move || watching.watch()));
        Some(watchdog)
    }

    /// A request begins on this thread, which may or may not count as activity. Attached to no
    /// matter what.
    pub(super) fn begin(&self) -> Option<Running<'_>> {
        // The other limits are not about requests.
        self.limits.request.or(self.limits.inactivity)?;
        let running = Running { watchdog: self, index: self.index() };
        if let Some(thread) = running.thread() {
            if thread.interrupted.swap(0, SeqCst) != 0 {
                stacks::forget_interrupt(self.process, thread.ident.load(Relaxed));
            }
            thread.begun.store(self.now(), SeqCst);
        }
        Some(running)
    }

    /// A request that counts has begun, read or written something.
    pub(super) fn touch(&self) {
        if self.limits.inactivity.is_some() {
            self.active.store(self.now(), Relaxed);
        }
    }

    /// The request of this thread is about to ask for its script.
    pub(crate) fn enter(&self, group: &'static Group, number: u32) {
        if self.limits.request.is_some()
            && let Some(thread) = self.threads.get(self.index())
        {
            // SAFETY: always succeeds. It is what Python calls the thread's identity.
            let ident = unsafe { libc::pthread_self() };
            thread.ident.store(ident, Relaxed);
            thread.number.store(number.into(), Relaxed);
            thread.group.store(std::ptr::from_ref(group).addr(), SeqCst);
        }
        if self.limits.startup.is_some()
            && self.loading.compare_exchange(0, self.now(), Relaxed, Relaxed).is_ok()
        {
            self.say(Level::Info, "Application startup timer started for");
        }
    }

    /// A request has found its script.
    pub(crate) fn loaded(&self) {
        if self.limits.startup.is_some() && self.loading.swap(LOADED, Relaxed) != LOADED {
            self.say(Level::Info, "Application startup timer cancelled for");
        }
    }

    fn index(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        INDEX.get().unwrap_or_else(|| {
            let index = NEXT.fetch_add(1, Relaxed);
            INDEX.set(Some(index));
            index
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX - 1).max(1)
    }

    /// Looks at the numbers, for ever.
    fn watch(&self) {
        let Limits { request, interrupt, inactivity, deadlock, startup, .. } = self.limits;
        let shortest = [request, interrupt, inactivity, deadlock, startup].into_iter().flatten();
        let tick = shortest.min().map_or(TICK.1, |limit| (limit / 10).clamp(TICK.0, TICK.1));
        let mut asked = Instant::now();
        loop {
            thread::sleep(tick);
            if self.process.worker.as_ref().is_none_or(|worker| worker.retiring().is_some())
                || self.process.is_stopping()
            {
                // It is to be replaced: the supervisor has limits of its own for what is left.
                return;
            }
            if deadlock.is_some() && asked.elapsed() >= TICK.1.min(tick * 5) {
                asked = Instant::now();
                let _ = self.helper.try_send(Errand::Lock);
            }
            self.look();
        }
    }

    fn look(&self) {
        let now = self.now();
        let passed = |since: u64, limit: Option<Duration>| {
            let limit = limit.map(|limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
            limit.is_some_and(|limit| now.saturating_sub(since) > limit)
        };
        let mut busy = false;
        for (index, thread) in self.threads.iter().enumerate() {
            let begun = thread.begun.load(SeqCst);
            if begun == 0 {
                continue;
            }
            busy = true;
            if !passed(begun, self.limits.request) {
                continue;
            }
            let interrupted = thread.interrupted.load(SeqCst);
            if self.limits.interrupt.is_some() && interrupted == 0 {
                if thread.interrupted.compare_exchange(0, now, SeqCst, SeqCst).is_ok() {
                    let _ = self.helper.try_send(Errand::Interrupt { thread: index, begun });
                }
            } else if self.limits.interrupt.is_none() || passed(interrupted, self.limits.interrupt)
            {
                self.retire(Retire::RequestTimeout, REQUEST);
                stacks::dump(self.process, STACK);
                return;
            }
        }
        let loading = self.loading.load(Relaxed);
        let active = self.active.load(Relaxed);
        if loading != 0 && loading != LOADED && passed(loading, self.limits.startup) {
            self.retire(Retire::Startup, "Application startup timer expired, stopping");
            stacks::dump(self.process, STACK);
        } else if passed(self.lock.load(Relaxed), self.limits.deadlock) {
            self.retire(Retire::Deadlock, "Daemon process deadlock timer expired, stopping");
            stacks::dump(self.process, STACK);
        } else if !busy && active != 0 && passed(active, self.limits.inactivity) {
            self.retire(
                Retire::Inactivity,
                "Daemon process idle inactivity timer expired, stopping",
            );
        }
    }

    fn retire(&self, why: Retire, text: &str) {
        self.say(Level::Warning, text);
        if let Some(worker) = &self.process.worker {
            worker.retire(why);
        }
    }

    /// Logs a line about this daemon process.
    fn say(&self, level: Level, text: &str) {
        let group = String::from_utf8_lossy(&self.process.settings.process_group);
        log::plain(&self.process.log, level, &format!("{text} daemon process '{group}'."));
    }

    /// Does what needs Python's lock, for ever.
    fn help(&self, errands: &Receiver<Errand>) {
        for errand in errands {
            match errand {
                Errand::Lock => {
                    let had = self.process.runtime.main().attach(|_| ());
                    if had.is_ok() {
                        self.lock.store(self.now(), Relaxed);
                    }
                }
                Errand::Interrupt { thread, begun } => self.interrupt(thread, begun),
            }
        }
    }

    fn interrupt(&self, index: usize, begun: u64) {
        let Some(thread) = self.threads.get(index) else { return };
        let group = thread.group.load(SeqCst) as *const Group;
        // SAFETY: 0, or the address of a group, which lives as long as the process.
        let Some(group) = (unsafe { group.as_ref() }) else { return };
        let name = String::from_utf8_lossy(&self.process.settings.process_group);
        let (ident, number) = (thread.ident.load(Relaxed), thread.number.load(Relaxed));
        let head = format!(
            "Dumping stack trace for thread {number} of daemon process '{name}' which has exceeded \
             request-timeout of {} seconds, before injecting RequestTimeout to unwind it.",
            self.limits.request_seconds
        );
        let is_same = || thread.begun.load(SeqCst) == begun;
        if stacks::interrupt(group, ident, number, &head, is_same) {
            let line =
                format!("Injected RequestTimeout into thread {number} of daemon process '{name}'.");
            log::plain(&self.process.log, Level::Info, &line);
        }
    }
}

/// What a request that takes too long does to its process.
const REQUEST: &str = "Daemon process request time limit exceeded, stopping";

/// A request that runs.
pub(super) struct Running<'w> {
    watchdog: &'w Watchdog,
    index: usize,
}

impl Running<'_> {
    fn thread(&self) -> Option<&Thread> {
        self.watchdog.threads.get(self.index)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread() {
            thread.begun.store(0, SeqCst);
            thread.group.store(0, SeqCst);
        }
    }
}
