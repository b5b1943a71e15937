//! An application group: one interpreter, set up, with its scripts and its `mod_wsgi` module.
//!
//! Groups are made on Python's main thread, when a request or preload first names them, and live as
//! long as the process. A group whose set-up fails is tried again by the next request.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use engine_api::{Fault, FaultKind, Level};
use interp::{Interpreter, Options, PathError};
use log_codes::{WSGI0035, WSGI0091, WSGI0094, WSGI0095, WSGI0096, WSGI0199, WSGI0202, WSGI0205};
use py::{Global, Token};

use crate::graves::Graves;
use crate::log::{self, Report};
use crate::module;
use crate::names::Names;
use crate::process::{Pool, Process};
use crate::script::Scripts;
use crate::settings::GroupSettings;
use crate::telemetry::Collector;

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
    /// Set once, at the beginning of the set-up.
    core: OnceLock<Arc<wsgi_core::State>>,
    /// Set once, at the end of the set-up.
    pub(crate) objects: OnceLock<Objects>,
    /// Modules that advice was given about, see `hints.rs`.
    pub(crate) hinted: AtomicU32,
    /// Requests that are in it.
    pub(crate) active: AtomicU32,
    /// What its garbage collector does.
    pub(crate) collector: Collector,
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

impl Group {
    /// Makes interpreter and group. On the main thread. What goes wrong is logged, and told.
    pub(crate) fn make(
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
        let wants_own_gil = settings.own_gil && !main;
        if wants_own_gil && process.settings.free_threading {
            log::coded(&process.log, &WSGI0202.message([&title, &place]));
        }
        let own_gil = wants_own_gil && Options::OWN_GIL;
        let line = match (main, own_gil) {
            (true, _) => format!("Attaching to Python main interpreter in {place}."),
            (false, false) => format!("Creating {title} in {place}."),
            (false, true) => format!("Creating {title} in {place} with own GIL."),
        };
        log::plain(&process.log, Level::Info, &line);
        let key = interpreter_key(if main { b"" } else { name }, index);
        let interpreter = match process.runtime.interpreter(key, Options { own_gil }) {
            Ok(interpreter) => interpreter,
            Err(error) => return failed(error.to_string()),
        };
        let joint = if process.settings.embedded() { "in" } else { "of" };
        let unfinished = lock(&pool.unfinished).take();
        let make = || Group {
            process,
            name: name.clone(),
            interpreter,
            settings,
            context: format!("{title} {joint} {place}"),
            title: title.clone(),
            scripts: Scripts::default(),
            graves: Graves::default(),
            core: OnceLock::new(),
            objects: OnceLock::new(),
            hinted: AtomicU32::new(0),
            active: AtomicU32::new(0),
            collector: Collector::default(),
        };
        let group = unfinished.unwrap_or_else(|| Box::leak(Box::new(make())));
        let set_up = interpreter.attach(|py| {
            group.set_up(py).map_err(|error| {
                let report = Report::of_setup(&error, &group.context);
                py.detach(|| report.log(&process.log));
                error.to_string()
            })
        });
        let set_up = set_up.unwrap_or_else(|error| Err(error.to_string()));
        match set_up {
            Ok(()) => Ok(group),
            Err(text) => {
                *lock(&pool.unfinished) = Some(group);
                failed(text)
            }
        }
    }

    fn set_up<'py>(&'static self, py: Token<'py>) -> py::Result<'py, ()> {
        let core = match self.core.get() {
            Some(core) => Arc::clone(core),
            None => {
                let core = module::core_state(py, self)?;
                Arc::clone(self.core.get_or_init(|| core))
            }
        };
        let module = module::create(py, self, &core)?;
        self.set_path(py);
        if let Some(home) = &self.process.settings.home {
            let path = py.import(c"sys")?.attr(c"path")?;
            path.call_method(c"insert", &[&py.int(0)?, &py.fs_str(home)?])?;
        }
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
                py.detach(|| log::plain(log, Level::Info, &line));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name by which `interp` knows a replica of the group of this name.
fn interpreter_key(name: &[u8], index: usize) -> Vec<u8> {
    let mut key = name.to_vec();
    if index > 0 {
        // No name of a configuration has a NUL.
        key.extend_from_slice(format!("\0{index}").as_bytes());
    }
    key
}

/// `main interpreter` or `sub-interpreter 'NAME'`.
pub(crate) fn interpreter_name(name: &[u8]) -> String {
    if name.is_empty() {
        "main interpreter".to_owned()
    } else {
        format!("sub-interpreter '{}'", String::from_utf8_lossy(name))
    }
}
