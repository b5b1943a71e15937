//! The one Python of a process, and which of its interpreters an application group is in.
//!
//! Two rules make a name and an interpreter differ. The only application group that a process can
//! have runs in the main interpreter, under its own name, since many extension modules work nowhere
//! else. And a group may have replicas: interpreters with a GIL each, filled as requests overlap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use daemon::worker::Handle;
use engine_api::{Fault, FaultKind, ServerLog};
use interp::{Options, Runtime};
use log_codes::{WSGI0038, WSGI0103, WSGI1104};
use metrics::Recorder;
use rustc_hash::FxHashMap;
use telemetry::Reporter;

use crate::group::{Group, interpreter_name};
use crate::log;
use crate::settings::Settings;
use crate::telemetry::Tracker;
use crate::worker::Watchdog;

static PROCESS: OnceLock<Process> = OnceLock::new();

/// Makes `process` the one of this process, unless there is one.
pub(crate) fn set(process: Process) -> &'static Process {
    PROCESS.get_or_init(|| process)
}

/// The one of this process, if Python was started.
pub(crate) fn get() -> Option<&'static Process> {
    PROCESS.get()
}

/// What the whole process has.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    pub(crate) log: ServerLog,
    pub(crate) runtime: Runtime,
    /// What is known of its requests, in numbers.
    pub(crate) recorder: Recorder,
    /// Requests that take long, where they are reported.
    pub(crate) slow: Option<Tracker>,
    /// What reports.
    pub(crate) reporter: OnceLock<Reporter>,
    /// The supervisor's ear, in a worker.
    pub(crate) worker: Option<Handle>,
    /// Limits of time, in a worker that has some.
    pub(crate) watchdog: OnceLock<Arc<Watchdog>>,
    /// Set when Python is to be used no more.
    pub(crate) stopping: AtomicBool,
    /// Read by each request and hardly ever written: a lock that nobody holds for longer than it
    /// takes to look.
    pools: RwLock<FxHashMap<Vec<u8>, &'static Pool>>,
}

/// The replicas of one application group; usually one.
pub(crate) struct Pool {
    /// As the groups report it.
    pub(crate) name: Vec<u8>,
    /// How many there may be.
    pub(crate) size: usize,
    /// Those that were made.
    members: RwLock<Vec<&'static Group>>,
    /// The next one, whose set-up failed: it is tried again, for each attempt would leave another
    /// behind.
    pub(crate) unfinished: Mutex<Option<&'static Group>>,
}

impl Process {
    pub(crate) fn new(
        settings: Settings,
        log: ServerLog,
        runtime: Runtime,
        recorder: Recorder,
        worker: Option<Handle>,
    ) -> Process {
        Process {
            slow: Tracker::new(&settings.telemetry, settings.threads_per_process),
            settings,
            log,
            runtime,
            recorder,
            reporter: OnceLock::new(),
            worker,
            watchdog: OnceLock::new(),
            stopping: AtomicBool::new(false),
            pools: RwLock::default(),
        }
    }

    /// The group of this name for a request: of several replicas the one with the fewest requests,
    /// made if all are busy and there may be another.
    ///
    /// What goes wrong is logged.
    pub(crate) fn enter(&'static self, name: &[u8]) -> Result<Visit, Fault> {
        let pool = self.pool(name);
        loop {
            let (count, calmest) = {
                let members = read(&pool.members);
                let counted =
                    members.iter().map(|group| (group.active.load(Ordering::Relaxed), *group));
                (members.len(), counted.min_by_key(|(active, _)| *active))
            };
            match calmest {
                Some((active, group)) if active == 0 || count == pool.size => {
                    // If another request came in between, there may be a better choice now.
                    if let Some(visit) = Visit::new(group, active) {
                        return Ok(visit);
                    }
                }
                _ => {
                    self.member(pool, count)?;
                }
            }
        }
    }

    /// All replicas of the group of this name, made if they must be.
    ///
    /// What goes wrong is logged.
    pub(crate) fn all(&'static self, name: &[u8]) -> Result<Vec<&'static Group>, Fault> {
        let pool = self.pool(name);
        (0..pool.size).map(|index| self.member(pool, index)).collect()
    }

    /// All groups that were made, in the order of their interpreters.
    pub(crate) fn groups(&self) -> Vec<&'static Group> {
        let mut groups: Vec<_> =
            read(&self.pools).values().flat_map(|pool| read(&pool.members).clone()).collect();
        groups.sort_by_key(|group| group.interpreter.id());
        groups
    }

    /// The pool of this name. Names come from configurations, so their number is bounded.
    fn pool(&self, name: &[u8]) -> &'static Pool {
        let name = if self.settings.main_group.as_deref() == Some(name) { b"" } else { name };
        if let Some(pool) = read(&self.pools).get(name) {
            return pool;
        }
        let reported = match &self.settings.main_group {
            Some(group) if name.is_empty() => group,
            _ => name,
        };
        let size = self.replicas(name);
        let mut is_new = false;
        let make = || -> &'static Pool {
            is_new = true;
            let members = RwLock::default();
            Box::leak(Box::new(Pool {
                name: reported.to_vec(),
                size: size.unwrap_or(1),
                members,
                unfinished: Mutex::default(),
            }))
        };
        let pool = {
            // Another thread may have been first.
            let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
            *pools.entry(name.to_vec()).or_insert_with(make)
        };
        if is_new && size.is_none() {
            let title = interpreter_name(name);
            let place = self.settings.place();
            log::coded(&self.log, &WSGI1104.message([&title, &place]));
        }
        pool
    }

    /// How many interpreters the group of this name may have; `None` if it wants more than it can
    /// have, which is one.
    fn replicas(&self, name: &[u8]) -> Option<usize> {
        let settings = self.settings.of(name);
        if settings.replicas < 2 {
            return Some(1);
        }
        let can = !name.is_empty() && settings.own_gil && Options::OWN_GIL;
        can.then_some(settings.replicas as usize)
    }

    /// A member of a pool, made if it must be. The calling thread is detached.
    fn member(&'static self, pool: &'static Pool, index: usize) -> Result<&'static Group, Fault> {
        if let Some(group) = read(&pool.members).get(index) {
            return Ok(group);
        }
        let made = self.runtime.on_main_thread(move || {
            // The main thread makes all of them, one after the other.
            let count = {
                let members = read(&pool.members);
                if let Some(group) = members.get(index) {
                    return Ok(*group);
                }
                members.len()
            };
            let group = Group::make(self, pool, count)?;
            pool.members.write().unwrap_or_else(PoisonError::into_inner).push(group);
            Ok(group)
        });
        made.unwrap_or_else(|error| Err(error.to_string())).map_err(|text| {
            let place = self.settings.place();
            if self.is_main(&pool.name) {
                log::coded(&self.log, &WSGI0038.message([&place]));
            } else {
                let title = interpreter_name(&pool.name);
                log::coded(&self.log, &WSGI0103.message([&title, &place]));
            }
            Fault::new(FaultKind::Unavailable, text)
        })
    }

    /// Whether the group of this name is in the main interpreter.
    pub(crate) fn is_main(&self, name: &[u8]) -> bool {
        name.is_empty() || self.settings.main_group.as_deref() == Some(name)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// A request's stay in a group.
pub(crate) struct Visit {
    pub(crate) group: &'static Group,
}

impl Visit {
    /// Enters if there are `active` requests in the group.
    fn new(group: &'static Group, active: u32) -> Option<Visit> {
        let (from, to) = (active, active + 1);
        let entered = group.active.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        // Lazily: a `Visit` that is dropped counts.
        entered.is_ok().then(|| Visit { group })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.group.active.fetch_sub(1, Ordering::Relaxed);
    }
}
