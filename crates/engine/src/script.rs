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

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use engine_api::Level;
use log_codes::{
    Code, WSGI0089, WSGI0105, WSGI0106, WSGI0107, WSGI0108, WSGI0109, WSGI0110, WSGI1103,
};
use md5::{Digest, Md5};
use py::{Bound, Error, Global, Token, ffi};

use crate::graves::Graves;
use crate::group::Group;
use crate::hints;
use crate::log::{self, Log, Report};
use crate::names::Names;

/// The scripts of one interpreter.
#[derive(Default)]
pub(crate) struct Scripts {
    /// By path; and by path where that is lower-cased to name the module.
    tables: [ArcSwap<HashMap<Vec<u8>, Arc<Script>>>; 2],
}

/// What is asked of a script.
pub(crate) struct Ask<'a> {
    /// Its file.
    pub(crate) path: &'a [u8],
    /// Its modification time in microseconds, if known.
    pub(crate) mtime: Option<i64>,
    /// Whether to look for changes.
    pub(crate) reload: bool,
    /// Whether the path is lower-cased to name the module.
    pub(crate) lower_case: bool,
    /// The argument of the script's `reload_required`; `None` not to call it.
    pub(crate) resource: Option<&'a [u8]>,
    /// The name of what is wanted of it, if anything is.
    pub(crate) callable: Option<&'a [u8]>,
    /// Where it runs.
    pub(crate) group: &'a Group,
    /// Where the lines go.
    pub(crate) log: &'a dyn Log,
    /// Whether this is for a request; it decides the numbers of messages.
    pub(crate) request: bool,
}

/// Why a script cannot be used. The log says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It cannot be loaded.
    Broken,
    /// It has nothing of the name wanted.
    NoCallable,
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
        if let Some(script) = table.load().get(ask.path) {
            return Ok(Arc::clone(script));
        }
        let script = Arc::new(Script::new(py, ask)?);
        table.rcu(|scripts| {
            let mut scripts = HashMap::clone(scripts);
            scripts.entry(ask.path.to_vec()).or_insert_with(|| Arc::clone(&script));
            scripts
        });
        // Another thread may have been first.
        Ok(table.load().get(ask.path).map_or(script, Arc::clone))
    }
}

/// One script file in one interpreter. Kept for good: their number is that of files in use.
struct Script {
    path: Vec<u8>,
    /// `_mod_wsgi_` and the MD5 of the path.
    name: Global,
    current: ArcSwapOption<Version>,
    loading: Mutex<Loading>,
    loaded: Condvar,
    graves: Graves,
}

#[derive(Default)]
struct Loading {
    by: Option<ThreadId>,
    /// Time stamp of the version that could not be loaded in place of the current one.
    failed: Option<i64>,
}

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
            current: ArcSwapOption::empty(),
            loading: Mutex::default(),
            loaded: Condvar::new(),
            graves: Graves::default(),
        })
    }

    fn globals<'py>(&self, py: Token<'py>, ask: &Ask<'_>) -> Result<Bound<'py>, Unusable> {
        loop {
            let current = self.current.load_full();
            let Some(current) = current.filter(|_| self.is_imported(py)) else {
                let _turn = py.detach(|| self.wait()).map_err(|()| self.deadlock(py, ask))?;
                if self.current.load().is_some() && self.is_imported(py) {
                    continue;
                }
                return self.load(py, ask, "Loading").or_else(|Failed| self.what_there_is(py));
            };
            let Some(stamp) = self.stale(py, &current, ask) else {
                return current.globals(py);
            };
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
        self.current.load_full().map_or(Err(Unusable::Broken), |current| current.globals(py))
    }

    fn is(&self, version: &Arc<Version>) -> bool {
        self.current.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, version))
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

    /// Loads the script and makes it current. Whoever calls has the turn.
    fn load<'py>(&self, py: Token<'py>, ask: &Ask<'_>, how: &str) -> Result<Bound<'py>, Failed> {
        self.graves.empty(py);
        let path = String::from_utf8_lossy(&self.path);
        let line = format!("{how} WSGI script '{path}' into {}.", ask.group.context);
        let source = py.detach(|| {
            log::plain(ask.log, Level::Info, &line);
            Source::read(self.file())
        });
        let source = source.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            self.report_unreadable(&os_error(py, errno, &self.path), errno, ask)
        })?;
        let code =
            self.compile(py, &source).map_err(|error| self.report_unreadable(&error, 0, ask))?;
        let old = self.current.load_full();
        let mtime = ask.mtime.unwrap_or(source.mtime);
        let (module, globals) = self
            .execute(py, &code, mtime, old.as_deref())
            .map_err(|error| self.report_raised(&error, ask))?;
        if old.is_some() && ask.lacks(&globals) {
            // An empty or unfinished file is no better than a broken one.
            py.detach(|| ask.report_missing());
            self.put_back(py, old.as_deref());
            return Err(Failed);
        }
        let version = Version {
            objects: Some((module.into_global(), globals.clone().into_global())),
            graves: self.graves.clone(),
            digest: source.digest,
            fresh: AtomicBool::new(is_fresh(source.mtime)),
        };
        self.current.store(Some(Arc::new(version)));
        self.lock().failed = None;
        drop(old);
        self.graves.empty(py);
        let advice = hints::imported(py, ask.group);
        if !advice.is_empty() {
            py.detach(|| advice.iter().for_each(|line| log::plain(ask.log, Level::Info, line)));
        }
        Ok(globals)
    }

    fn report_unreadable(&self, error: &Error<'_>, errno: i32, ask: &Ask<'_>) -> Failed {
        let code = if ask.request { &WSGI0105 } else { &WSGI0106 };
        let report = Report::of_script(error, &self.path, &ask.group.context);
        error.value().py().detach(|| {
            log::coded_errno(ask.log, &code.message([&self.path, &ask.group.context]), errno);
            report.log(ask.log);
        });
        Failed
    }

    fn report_raised(&self, error: &Error<'_>, ask: &Ask<'_>) -> Failed {
        let code: &Code<1> = match (log::is_system_exit(error), ask.request) {
            (true, true) => &WSGI0107,
            (true, false) => &WSGI0108,
            (false, true) => &WSGI0109,
            (false, false) => &WSGI0110,
        };
        let report = Report::of_script(error, &self.path, &ask.group.context);
        error.value().py().detach(|| {
            log::coded(ask.log, &code.message([&self.path]));
            report.log(ask.log);
            if let Some(hint) = hints::hint(ask.group, report.lines()) {
                log::coded(ask.log, &hint.message([&self.path, &ask.group.title]));
            }
        });
        Failed
    }

    fn compile<'py>(&self, py: Token<'py>, source: &Source) -> py::Result<'py, Bound<'py>> {
        py.import(c"builtins")?.call_method(
            c"compile",
            &[
                &py.bytes(&source.text)?,
                &py.fs_str(&self.path)?,
                &py.str("exec")?,
                &py.int(0)?,
                &py.bool(true),
            ],
        )
    }

    /// Runs the code in a new module; on failure `sys.modules` is as before.
    fn execute<'py>(
        &self,
        py: Token<'py>,
        code: &Bound<'py>,
        mtime: i64,
        old: Option<&Version>,
    ) -> py::Result<'py, (Bound<'py>, Bound<'py>)> {
        let module = self.module(py, mtime)?;
        let globals = module.attr(c"__dict__")?;
        let (modules, name) = (modules(py)?, self.bound_name(py)?);
        modules.set_dict_item(&name, &module)?;
        match py.import(c"builtins")?.call_method(c"exec", &[code, &globals]) {
            Ok(_) => Ok((module, globals)),
            Err(error) => {
                self.put_back(py, old);
                Err(error)
            }
        }
    }

    /// Undoes what `execute` did to `sys.modules`.
    fn put_back(&self, py: Token<'_>, old: Option<&Version>) {
        let put = || {
            let (modules, name) = (modules(py)?, self.bound_name(py)?);
            match old.and_then(|old| old.module(py)) {
                Some(old) => modules.set_dict_item(&name, &old),
                None => modules.call_method(c"pop", &[&name, &py.none()]).map(|_| ()),
            }
        };
        // It fails without memory, and then the next request loads the script again.
        let _: py::Result<'_, ()> = put();
    }

    fn module<'py>(&self, py: Token<'py>, mtime: i64) -> py::Result<'py, Bound<'py>> {
        let (name, path) = (self.bound_name(py)?, py.fs_str(&self.path)?);
        let machinery = py.import(c"importlib.machinery")?;
        let loader = machinery.call_method(c"SourceFileLoader", &[&name, &path])?;
        let spec = machinery.call_method(c"ModuleSpec", &[&name, &loader])?;
        spec.set_attr(c"origin", &path)?;
        // SAFETY: attached; the name is a `str`.
        let module = unsafe { Bound::from_owned(py, ffi::PyModule_NewObject(name.as_ptr()))? };
        let none = py.none();
        for (name, value) in [
            (c"__file__", &path),
            (c"__mtime__", &py.int(mtime)?),
            (c"__spec__", &spec),
            (c"__loader__", &loader),
            (c"__package__", &none),
            (c"__cached__", &none),
            (c"__builtins__", &py.import(c"builtins")?.attr(c"__dict__")?),
        ] {
            module.set_attr(name, value)?;
        }
        Ok(module)
    }

    fn bound_name<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        self.name.bind(py).map_err(|error| system_error(py, &error.to_string()))
    }

    fn file(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.path))
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

impl Ask<'_> {
    fn names(&self) -> Option<&Names> {
        self.group.objects.get().map(|objects| &objects.names)
    }

    fn lookup<'py>(&self, globals: &Bound<'py>) -> Option<Bound<'py>> {
        let py = globals.py();
        let name = self.callable?;
        let name = match self.names() {
            Some(names) => names.callable(py, name),
            None => py.latin1(name),
        };
        globals.dict_item(&name.ok()?).ok().flatten()
    }

    fn lacks(&self, globals: &Bound<'_>) -> bool {
        self.callable.is_some() && self.lookup(globals).is_none()
    }

    fn report_missing(&self) {
        let name = self.callable.unwrap_or_default();
        log::coded(self.log, &WSGI0089.message([&self.path, &name]));
    }

    fn report_broken(&self, error: &Error<'_>) -> Unusable {
        let report = Report::of_script(error, self.path, &self.group.context);
        error.value().py().detach(|| report.log(self.log));
        Unusable::Broken
    }
}

/// A source file as it was read.
struct Source {
    text: Vec<u8>,
    digest: [u8; 16],
    /// Of the file that was read, in microseconds.
    mtime: i64,
}

impl Source {
    fn read(path: &Path) -> io::Result<Source> {
        let mut file = File::open(path)?;
        let mtime = microseconds(&file.metadata()?);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let digest = Md5::digest(&text).into();
        Ok(Source { text, digest, mtime })
    }
}

/// The time stamp of a file that is not there.
const GONE: i64 = -1;

/// How long after its time stamp a file may change without a change of the time stamp: some ticks
/// of the kernel's clock.
const TICKS: Duration = Duration::from_millis(50);

fn is_fresh(mtime: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).saturating_sub(mtime);
    (0..=TICKS.as_micros() as i64).contains(&age)
}

/// As `apr_time_t`.
fn microseconds(data: &fs::Metadata) -> i64 {
    data.mtime().saturating_mul(1_000_000).saturating_add(data.mtime_nsec() / 1000)
}

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

/// The exception that `open(path)` raises with this error number.
fn os_error<'py>(py: Token<'py>, errno: i32, path: &[u8]) -> Error<'py> {
    let make = || {
        let text = io::Error::from_raw_os_error(errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        // SAFETY: the class is a static of libpython.
        let class = unsafe { Bound::from_borrowed(py, ffi::PyExc_OSError) };
        let class = class.ok_or_else(|| system_error(py, "no OSError"))?;
        class.call(&[&py.int(errno.into())?, &py.str(text)?, &py.fs_str(path)?])
    };
    match make() {
        // SAFETY: attached; the class of an exception instance is an exception class.
        Ok(value) => unsafe {
            ffi::PyErr_SetObject(ffi::Py_TYPE(value.as_ptr()).cast(), value.as_ptr());
            Error::fetch(py)
        },
        Err(error) => error,
    }
}
