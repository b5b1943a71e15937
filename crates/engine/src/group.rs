//! An application group: one interpreter, set up, with its scripts and its `mod_wsgi` module.
//!
//! Groups are made on Python's main thread, when a request or preload first names them, and live as
//! long as the process. A group whose set-up fails is tried again by the next request.
//!
//! Two rules make a name and an interpreter differ. The only application group that a process can
//! have runs in the main interpreter, under its own name, since many extension modules work nowhere
//! else. And a group may have replicas: interpreters with a GIL each, filled as requests overlap.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use engine_api::{Fault, FaultKind, Level, ServerLog};
use interp::{Interpreter, Options, PathError, Runtime};
use log_codes::{
    WSGI0035, WSGI0038, WSGI0091, WSGI0094, WSGI0095, WSGI0096, WSGI0103, WSGI0199, WSGI0202,
    WSGI0205, WSGI1104,
};
use py::{Global, Token};

use crate::graves::Graves;
use crate::log::{self, Report};
use crate::module;
use crate::names::Names;
use crate::script::Scripts;
use crate::settings::{GroupSettings, Settings};

/// What the whole process has.
pub(crate) struct Process {
    pub(crate) settings: Settings,
    pub(crate) log: ServerLog,
    pub(crate) runtime: Runtime,
    /// Set when Python is to be used no more.
    pub(crate) stopping: AtomicBool,
    pools: ArcSwap<HashMap<Vec<u8>, Arc<Pool>>>,
}

/// The replicas of one application group; usually one.
struct Pool {
    /// As the groups report it.
    name: Vec<u8>,
    /// How many there may be.
    size: usize,
    /// Those that were made.
    members: ArcSwap<Vec<&'static Group>>,
}

/// An application group, or one replica of it.
pub(crate) struct Group {
    pub(crate) process: &'static Process,
    /// As applications see it.
    pub(crate) name: Vec<u8>,
    pub(crate) interpreter: Interpreter,
    pub(crate) settings: GroupSettings,
    /// `main interpreter` or `sub-interpreter 'NAME'`
    pub(crate) title: String,
    /// `main interpreter in embedded mode`
    pub(crate) context: String,
    pub(crate) scripts: Scripts,
    pub(crate) graves: Graves,
    /// Set once, at the end of the set-up.
    pub(crate) objects: OnceLock<Objects>,
    /// Modules that advice was given about, see `hints.rs`.
    pub(crate) hinted: AtomicU32,
    /// Requests that are in it.
    active: AtomicU32,
}

/// Python objects of a group.
pub(crate) struct Objects {
    /// The `mod_wsgi` module.
    pub(crate) module: Global,
    /// Its `__dict__`.
    pub(crate) attributes: Global,
    pub(crate) names: Names,
    pub(crate) core: Arc<wsgi_core::State>,
}

impl Process {
    pub(crate) fn new(settings: Settings, log: ServerLog, runtime: Runtime) -> Process {
        Process {
            settings,
            log,
            runtime,
            stopping: AtomicBool::new(false),
            pools: ArcSwap::default(),
        }
    }

    /// The group of this name for a request: of several replicas the one with the fewest requests,
    /// made if all are busy and there may be another.
    ///
    /// What goes wrong is logged.
    pub(crate) fn enter(&'static self, name: &[u8]) -> Result<Visit, Fault> {
        let pool = self.pool(name);
        loop {
            let members = pool.members.load();
            let counted =
                members.iter().map(|group| (group.active.load(Ordering::Relaxed), *group));
            match counted.min_by_key(|(active, _)| *active) {
                Some((active, group)) if active == 0 || members.len() == pool.size => {
                    // If another request came in between, there may be a better choice now.
                    if let Some(visit) = Visit::new(group, active) {
                        return Ok(visit);
                    }
                }
                _ => {
                    self.member(&pool, members.len())?;
                }
            }
        }
    }

    /// All replicas of the group of this name, made if they must be.
    ///
    /// What goes wrong is logged.
    pub(crate) fn all(&'static self, name: &[u8]) -> Result<Vec<&'static Group>, Fault> {
        let pool = self.pool(name);
        (0..pool.size).map(|index| self.member(&pool, index)).collect()
    }

    /// All groups that were made, in the order of their interpreters.
    pub(crate) fn groups(&self) -> Vec<&'static Group> {
        let pools = self.pools.load();
        let mut groups: Vec<_> =
            pools.values().flat_map(|pool| pool.members.load().to_vec()).collect();
        groups.sort_by_key(|group| group.interpreter.id());
        groups
    }

    /// The pool of this name. Names come from configurations, so their number is bounded.
    fn pool(&self, name: &[u8]) -> Arc<Pool> {
        let name = if self.settings.main_group.as_deref() == Some(name) { b"" } else { name };
        if let Some(pool) = self.pools.load().get(name) {
            return Arc::clone(pool);
        }
        let reported = match &self.settings.main_group {
            Some(group) if name.is_empty() => group,
            _ => name,
        };
        let pool = Arc::new(Pool {
            name: reported.to_vec(),
            size: self.replicas(name),
            members: ArcSwap::default(),
        });
        self.pools.rcu(|pools| {
            let mut pools = HashMap::clone(pools);
            pools.entry(name.to_vec()).or_insert_with(|| Arc::clone(&pool));
            pools
        });
        // Another thread may have been first.
        self.pools.load().get(name).map_or(pool, Arc::clone)
    }

    /// How many interpreters the group of this name may have.
    fn replicas(&self, name: &[u8]) -> usize {
        let settings = self.settings.of(name);
        if settings.replicas < 2 {
            return 1;
        }
        if name.is_empty() || !settings.own_gil || !Options::OWN_GIL {
            let title = interpreter_name(name);
            let place = self.settings.place();
            log::coded(&self.log, &WSGI1104.message([&title, &place]));
            return 1;
        }
        settings.replicas as usize
    }

    /// A member of a pool, made if it must be. The calling thread is detached.
    fn member(&'static self, pool: &Arc<Pool>, index: usize) -> Result<&'static Group, Fault> {
        if let Some(group) = pool.members.load().get(index) {
            return Ok(group);
        }
        let into = Arc::clone(pool);
        let made = self.runtime.on_main_thread(move || {
            // The main thread makes all of them, one after the other.
            let members = into.members.load_full();
            if let Some(group) = members.get(index) {
                return Ok(*group);
            }
            let group = Group::make(self, &into, members.len())?;
            into.members.store(Arc::new(members.iter().copied().chain([group]).collect()));
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

impl Group {
    /// Makes interpreter and group. On the main thread. What goes wrong is logged, and told.
    fn make(
        process: &'static Process,
        pool: &Pool,
        index: usize,
    ) -> Result<&'static Group, String> {
        let name = &pool.name;
        let main = process.is_main(name);
        let settings = process.settings.of(name);
        let place = process.settings.place();
        let mut title = interpreter_name(if main { b"" } else { name });
        if pool.size > 1 {
            title.push_str(&format!(" (replica {})", index + 1));
        }
        let failed = |text: String| {
            log::coded(&process.log, &WSGI0035.message([&title, &place]));
            Err(text)
        };
        let own_gil = settings.own_gil && !main;
        if own_gil && process.settings.free_threading {
            log::coded(&process.log, &WSGI0202.message([&title, &place]));
        }
        let own_gil = own_gil && Options::OWN_GIL;
        let line = match (main, own_gil) {
            (true, _) => format!("Attaching to Python main interpreter in {place}."),
            (false, false) => format!("Creating {title} in {place}."),
            (false, true) => format!("Creating {title} in {place} with own GIL."),
        };
        log::plain(&process.log, Level::Info, &line);
        let mut key = if main { Vec::new() } else { name.clone() };
        if index > 0 {
            // No name of a configuration has a NUL.
            key.extend_from_slice(format!("\0{index}").as_bytes());
        }
        let interpreter = match process.runtime.interpreter(key, Options { own_gil }) {
            Ok(interpreter) => interpreter,
            Err(error) => return failed(error.to_string()),
        };
        let joint = if process.settings.embedded() { "in" } else { "of" };
        let group: &'static Group = Box::leak(Box::new(Group {
            process,
            name: name.clone(),
            interpreter,
            settings,
            context: format!("{title} {joint} {place}"),
            title: title.clone(),
            scripts: Scripts::default(),
            graves: Graves::default(),
            objects: OnceLock::new(),
            hinted: AtomicU32::new(0),
            active: AtomicU32::new(0),
        }));
        let set_up = interpreter.attach(|py| {
            group.set_up(py).map_err(|error| {
                let report = Report::of_setup(&error, &group.context);
                py.detach(|| report.log(&process.log));
                error.to_string()
            })
        });
        match set_up {
            Ok(Ok(())) => Ok(group),
            Ok(Err(text)) => failed(text),
            Err(error) => failed(error.to_string()),
        }
    }

    fn set_up<'py>(&'static self, py: Token<'py>) -> py::Result<'py, ()> {
        let core = module::core_state(py, self)?;
        let module = module::create(py, self, &core)?;
        self.set_path(py);
        self.set_switch_interval(py);
        let objects = Objects {
            attributes: module.attr(c"__dict__")?.into_global(),
            module: module.into_global(),
            names: Names::new(py, &self.graves)?,
            core,
        };
        // Only this thread sets groups up, each once.
        let _ = self.objects.set(objects);
        Ok(())
    }

    fn set_path(&self, py: Token<'_>) {
        let (log, place) = (&self.process.log, self.process.settings.place());
        for layer in &self.settings.python_path {
            let layer: Vec<&[u8]> = layer.iter().map(Vec::as_slice).collect();
            let added = interp::add_to_path(py, &layer, |entry| {
                let entry = String::from_utf8_lossy(entry);
                let line = format!("Adding '{entry}' to Python module search path for {place}.");
                py.detach(|| log::plain(log, Level::Info, &line));
            });
            let Err(failure) = added else { continue };
            let report = |error| Report::of_setup(&error, &self.context);
            let report = match failure {
                PathError::NoSite(error) => {
                    log::coded(log, &WSGI0095.message([&place]));
                    report(error)
                }
                PathError::NoFunction(error) => {
                    log::coded(log, &WSGI0094.message([&place]));
                    report(error)
                }
                PathError::NoPath(error) => {
                    log::coded(log, &WSGI0096.message([&place]));
                    report(error)
                }
                PathError::Entry(entry, error) => {
                    log::coded(log, &WSGI0091.message([&entry, &place]));
                    report(error)
                }
            };
            py.detach(|| report.log(log));
        }
    }

    fn set_switch_interval(&self, py: Token<'_>) {
        let Some(interval) = self.settings.switch_interval else { return };
        let log = &self.process.log;
        let seconds = format!("{:.6}", interval.seconds);
        let title = &self.title;
        if self.process.settings.free_threading {
            log::coded(log, &WSGI0205.message([&seconds, title]));
            return;
        }
        if interval.scoped && !self.interpreter.is_main() && !self.interpreter.has_own_gil() {
            log::coded(log, &WSGI0199.message([&seconds, title]));
            return;
        }
        match interp::set_switch_interval(py, interval.seconds) {
            Ok(()) => {
                let line = format!("Set switch interval {seconds}s for {title}.");
                log::plain(log, Level::Info, &line);
            }
            Err(error) => {
                let report = Report::of_setup(&error, &self.context);
                py.detach(|| report.log(log));
            }
        }
    }

    /// The group's objects; it has them once it can be found.
    pub(crate) fn objects(&self) -> Result<&Objects, Fault> {
        self.objects
            .get()
            .ok_or_else(|| Fault::new(FaultKind::Unavailable, "the interpreter is not set up"))
    }
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

/// `main interpreter` or `sub-interpreter 'NAME'`.
pub(crate) fn interpreter_name(name: &[u8]) -> String {
    if name.is_empty() {
        "main interpreter".to_owned()
    } else {
        format!("sub-interpreter '{}'", String::from_utf8_lossy(name))
    }
}
