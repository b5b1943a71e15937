//! Scripts of one interpreter: loaded once each, reloaded when they change.
//!
//! What serves is what [`Script::current`] holds; `sys.modules` has it, too, and taking it out there
//! is a way to have it loaded again. Each script has its own lock, which is held while it loads and
//! is only waited for, detached, by requests that have nothing to serve with: a script that is
//! loaded never waits for one that is loading, itself included. A new version that cannot be loaded
//! leaves the old one serving.
//!
//! A time stamp says little about a file that was written just now: it may be written again within
//! one tick of the clock. Such a file is compared once more, by content, when the tick is over.

mod ask;
mod load;
mod source;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use log_codes::WSGI1103;
use md5::{Digest, Md5};
use py::{Bound, Error, Global, Token, ffi};
use rustc_hash::FxHashMap;

use crate::graves::Graves;
use crate::log::{self, Report};
use crate::names::Names;

pub(crate) use ask::{Ask, OnChange, Unusable};
use source::{GONE, Source, is_fresh, microseconds};

/// The scripts of one interpreter.
#[derive(Default)]
pub(crate) struct Scripts {
    /// By path; and by path where that is lower-cased to name the module. Held for a moment only,
    /// and not while Python runs.
    tables: [RwLock<FxHashMap<Vec<u8>, Arc<Script>>>; 2],
}

impl Scripts {
    /// The script's globals, after loading it if it must be.
    pub(crate) fn globals<'py>(
        &self,
        py: Token<'py>,
        ask: &Ask<'_>,
    ) -> Result<Bound<'py>, Unusable> {
        let script = self.script(py, ask).map_err(|error| ask.report_broken(&error))?;
        script.globals(py, ask)
    }

    /// The callable that was asked for.
    pub(crate) fn callable<'py>(
        &self,
        py: Token<'py>,
        ask: &Ask<'_>,
    ) -> Result<Bound<'py>, Unusable> {
        let globals = self.globals(py, ask)?;
        match ask.lookup(&globals) {
            Some(callable) => Ok(callable),
            None => {
                py.detach(|| ask.report_missing());
                Err(Unusable::NoCallable)
            }
        }
    }

    fn script<'py>(&self, py: Token<'py>, ask: &Ask<'_>) -> py::Result<'py, Arc<Script>> {
        let table = &self.tables[usize::from(ask.lower_case)];
        if let Some(script) = table.read().unwrap_or_else(PoisonError::into_inner).get(ask.path) {
            return Ok(Arc::clone(script));
        }
        let script = Arc::new(Script::new(py, ask)?);
        let mut table = table.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been first.
        Ok(Arc::clone(table.entry(ask.path.to_vec()).or_insert(script)))
    }
}

/// One script file in one interpreter. Kept for good: their number is that of files in use.
struct Script {
    path: Vec<u8>,
    /// `_mod_wsgi_` and the MD5 of the path.
    name: Global,
    /// Held for a moment only, and not while Python runs.
    current: Mutex<Option<Arc<Version>>>,
    loading: Mutex<Loading>,
    loaded: Condvar,
    graves: Graves,
}

#[derive(Default)]
struct Loading {
    by: Option<ThreadId>,
    /// Time stamp of the version that could not be loaded in place of the current one.
    failed: Option<i64>,
    /// Time stamp of the version that other processes were asked to load, and when.
    told: Option<(i64, Instant)>,
}

/// After so long without another process that has the new version, others are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// A loaded version.
struct Version {
    /// Module and globals; none only while it is dropped.
    objects: Option<(Global, Global)>,
    /// Where the objects go: whoever looks at a version last may not be attached.
    graves: Graves,
    digest: [u8; 16],
    /// The file was so new that its time stamp proves nothing yet.
    fresh: AtomicBool,
}

impl Version {
    fn globals<'py>(&self, py: Token<'py>) -> Result<Bound<'py>, Unusable> {
        let globals = self.objects.as_ref().and_then(|(_, globals)| globals.bind(py).ok());
        globals.ok_or(Unusable::Broken)
    }

    fn module<'py>(&self, py: Token<'py>) -> Option<Bound<'py>> {
        self.objects.as_ref().and_then(|(module, _)| module.bind(py).ok())
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        if let Some((module, globals)) = self.objects.take() {
            self.graves.add([module, globals]);
        }
    }
}

impl Script {
    fn new<'py>(py: Token<'py>, ask: &Ask<'_>) -> py::Result<'py, Script> {
        let mut path = ask.path.to_vec();
        if ask.lower_case {
            path.make_ascii_lowercase();
        }
        let mut name = "_mod_wsgi_".to_owned();
        for byte in Md5::digest(&path) {
            name.push_str(&format!("{byte:02x}"));
        }
        Ok(Script {
            path: ask.path.to_vec(),
            name: py.str(&name)?.into_global(),
            current: Mutex::default(),
            loading: Mutex::default(),
            loaded: Condvar::new(),
            graves: Graves::default(),
        })
    }

    fn globals<'py>(&self, py: Token<'py>, ask: &Ask<'_>) -> Result<Bound<'py>, Unusable> {
        loop {
            let current = self.current();
            let Some(current) = current.filter(|_| self.is_imported(py)) else {
                let _turn = py.detach(|| self.wait()).map_err(|()| self.deadlock(py, ask))?;
                if self.current().is_some() && self.is_imported(py) {
                    continue;
                }
                return self.load(py, ask, "Loading").or_else(|Failed| self.what_there_is(py));
            };
            let Some(stamp) = self.stale(py, &current, ask) else {
                return current.globals(py);
            };
            match ask.on_change {
                OnChange::Reload => {}
                OnChange::GiveBack if self.is_news(stamp) => {
                    return Err(Unusable::Outdated(stamp));
                }
                // It was told already: nobody but the request that has found it waits.
                OnChange::GiveBack | OnChange::Keep => return current.globals(py),
            }
            let Some(_turn) = self.try_turn() else {
                return current.globals(py);
            };
            if !self.is(&current) {
                continue;
            }
            return self.load(py, ask, "Reloading").or_else(|Failed| {
                self.lock().failed = Some(stamp);
                py.detach(|| {
                    let message = WSGI1103.message([&self.path, &ask.group.context]);
                    log::coded(ask.log, &message);
                });
                self.what_there_is(py)
            });
        }
    }

    /// The globals of the version that was loaded last, after a failure to load another.
    fn what_there_is<'py>(&self, py: Token<'py>) -> Result<Bound<'py>, Unusable> {
        self.current().map_or(Err(Unusable::Broken), |current| current.globals(py))
    }

    /// The version that serves.
    fn current(&self) -> Option<Arc<Version>> {
        lock(&self.current).clone()
    }

    fn is(&self, version: &Arc<Version>) -> bool {
        self.current().is_some_and(|current| Arc::ptr_eq(&current, version))
    }

    /// Whether the module is in `sys.modules`.
    fn is_imported(&self, py: Token<'_>) -> bool {
        let Ok(name) = self.name.bind(py) else { return false };
        modules(py)
            .and_then(|modules| modules.dict_item(&name))
            .is_ok_and(|module| module.is_some())
    }

    /// Whether the file, or the script itself, says that it should be loaded again; if so, with the
    /// time stamp of the version to come.
    fn stale(&self, py: Token<'_>, current: &Version, ask: &Ask<'_>) -> Option<i64> {
        if !ask.reload {
            return None;
        }
        let globals = current.globals(py).ok()?;
        let stamp = ask.mtime.unwrap_or_else(|| {
            let data = py.detach(|| fs::metadata(self.file()));
            data.map_or(GONE, |data| microseconds(&data))
        });
        let names = ask.names()?;
        let known = names.mtime(py).and_then(|name| globals.dict_item(&name)).ok().flatten();
        let known = known.and_then(|value| value.to_int().ok());
        if known != Some(stamp) || stamp == GONE {
            return (self.lock().failed != Some(stamp)).then_some(stamp);
        }
        if current.fresh.load(Ordering::Relaxed) && !is_fresh(stamp) {
            current.fresh.store(false, Ordering::Relaxed);
            let new = py.detach(|| Source::read(self.file()));
            if new.is_ok_and(|new| new.digest != current.digest) {
                return Some(stamp);
            }
        }
        let required = match ask.resource {
            Some(resource) => reload_required(py, names, &globals, resource),
            None => Ok(false),
        };
        let required = required.unwrap_or_else(|error| {
            let report = Report::of_script(&error, &self.path, &ask.group.context);
            py.detach(|| report.log(ask.log));
            false
        });
        required.then_some(stamp)
    }

    /// Whether nobody was told of a change to the version with this time stamp, lately; now somebody
    /// is.
    fn is_news(&self, stamp: i64) -> bool {
        let mut loading = self.lock();
        let lately = |(told, at): (i64, Instant)| told == stamp && at.elapsed() < ASK_AGAIN;
        if loading.told.is_some_and(lately) {
            return false;
        }
        loading.told = Some((stamp, Instant::now()));
        true
    }

    fn bound_name<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        self.name.bind(py).map_err(|error| system_error(py, &error.to_string()))
    }

    fn file(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Takes the turn to load, after whoever has it. Detached. Fails if that is this thread.
    fn wait(&self) -> Result<Turn<'_>, ()> {
        let me = thread::current().id();
        let mut loading = self.lock();
        while let Some(by) = loading.by {
            if by == me {
                return Err(());
            }
            loading = self.loaded.wait(loading).unwrap_or_else(PoisonError::into_inner);
        }
        loading.by = Some(me);
        Ok(Turn(self))
    }

    /// Takes the turn to load if nobody has it.
    fn try_turn(&self) -> Option<Turn<'_>> {
        let mut loading = self.lock();
        if loading.by.is_some() {
            return None;
        }
        loading.by = Some(thread::current().id());
        Some(Turn(self))
    }

    fn lock(&self) -> MutexGuard<'_, Loading> {
        lock(&self.loading)
    }

    /// A script that needs itself to load.
    fn deadlock(&self, py: Token<'_>, ask: &Ask<'_>) -> Unusable {
        ask.report_broken(&system_error(py, "the script is being loaded by this very thread"))
    }
}

/// The turn to load a script.
struct Turn<'a>(&'a Script);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().by = None;
        self.0.loaded.notify_all();
    }
}

/// A version could not be loaded; the log says why.
struct Failed;

fn reload_required<'py>(
    py: Token<'py>,
    names: &Names,
    globals: &Bound<'py>,
    resource: &[u8],
) -> py::Result<'py, bool> {
    match globals.dict_item(&names.reload_required(py)?)? {
        Some(function) => function.call(&[&py.fs_str(resource)?])?.is_true(),
        None => Ok(false),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn modules<'py>(py: Token<'py>) -> py::Result<'py, Bound<'py>> {
    // SAFETY: attached; a borrowed reference, never NULL in a running interpreter.
    unsafe { Bound::from_borrowed(py, ffi::PyImport_GetModuleDict()) }
        .ok_or_else(|| system_error(py, "no sys.modules"))
}

fn system_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: the class is a static of libpython.
    unsafe { Error::new(py, ffi::PyExc_SystemError, text) }
}
