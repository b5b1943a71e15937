//! The engine in a worker of daemon mode: a Python that runs as a program, started by the
//! supervisor, lets the engine serve ([`engine_api::worker`] says how it gets here).
//!
//! Python's main thread stays what it is: it makes interpreters, loads scripts, runs what is to run
//! at the end, and waits in between. The worker's own loop has a thread of its own beside those
//! that serve.

mod audience;
mod ending;
mod host;
mod requests;
mod signals;
mod stacks;
mod title;
mod warm;
mod watchdog;

use std::cell::UnsafeCell;
use std::ffi::CString;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::worker::{Handle, Runner, Worker};
use engine_api::worker::{Config, Preload};
use engine_api::{Level, ServerLog};
use log_codes::{WSGI0036, WSGI0038, WSGI0079, WSGI1105};
use py::class::Table;
use py::{Bound, Token, ffi, guard};

use crate::fork;
use crate::log;
use crate::process::{self, Process};
use crate::settings::Settings;
use crate::{table, telemetry};
use ending::Ending;
use requests::Requests;

pub(crate) use requests::report_loaded;
pub(crate) use watchdog::Watchdog;

/// What a worker process has beside its Python.
struct Place {
    handle: Handle,
    config: Config,
    /// Of the application's code, as the supervisor counts.
    generation: u32,
}

static PLACE: OnceLock<Place> = OnceLock::new();

/// Which generation of its group this process belongs to, if it is a worker.
pub(crate) fn generation() -> Option<u32> {
    PLACE.get().map(|place| place.generation)
}

/// The module `_mod_wsgi`, new.
///
/// # Safety
/// Python calls, with the thread attached.
pub(crate) unsafe fn module() -> *mut ffi::PyObject {
    /// Python writes into it.
    struct Definition(UnsafeCell<ffi::PyModuleDef>);
    // SAFETY: Python uses it under its import lock only.
    unsafe impl Sync for Definition {}
    static FUNCTIONS: Table<[ffi::PyMethodDef; 2]> = Table([
        ffi::PyMethodDef {
            ml_name: c"run".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: run_function },
            ml_flags: ffi::METH_NOARGS,
            ml_doc: std::ptr::null(),
        },
        ffi::PyMethodDef::zeroed(),
    ]);
    static DEFINITION: Definition = Definition(UnsafeCell::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: c"_mod_wsgi".as_ptr(),
        m_doc: std::ptr::null(),
        m_size: -1,
        m_methods: FUNCTIONS.0.as_ptr().cast_mut(),
        m_slots: std::ptr::null_mut(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: attached; a definition that lives as long as the process.
    unsafe { ffi::PyModule_Create(DEFINITION.0.get()) }
}

unsafe extern "C" fn run_function(
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls.
    unsafe { guard::object(run) }
}

/// Serves until told to end, and ends the process. `import _mod_wsgi; _mod_wsgi.run()`.
///
/// # Errors
/// The process is no worker.
pub(crate) fn run(py: Token<'_>) -> py::Result<'_, Bound<'_>> {
    // SAFETY: a supervisor starts a worker with these descriptors, and nothing but the lines of
    // `engine_api::worker` calls this, once.
    let worker = match unsafe { Worker::inherit() } {
        Ok(worker) => worker,
        Err(error) => {
            let text = format!("_mod_wsgi serves in processes that mod_wsgi starts only: {error}");
            // SAFETY: the class is a static of libpython.
            return Err(unsafe { py::Error::new(py, ffi::PyExc_RuntimeError, &text) });
        }
    };
    let config = match Config::decode(&worker.start().payload) {
        Ok(config) => config,
        Err(text) => {
            eprintln!("mod_wsgi: {text}");
            end(EXIT_UNUSABLE);
        }
    };
    let generation = worker.start().generation;
    let place = PLACE.get_or_init(|| Place { handle: worker.handle(), config, generation });
    let service = place.config.threads == 0;
    signals::set_pythons(py, service)?;
    title::set(place.config.display_name.as_deref());
    let Some(process) = begin(py, place) else { end(EXIT_UNUSABLE) };
    py.detach(|| {
        log_start(process, place);
        load(process, place, &worker);
        if service {
            finish(process, place, NO_LIMIT);
        }
        telemetry::start(process);
        serve(process, place, worker)
    })
}

/// The exit code of a worker that cannot be one: its supervisor backs off.
const EXIT_UNUSABLE: i32 = 3;

/// Joins the Python that runs.
fn begin(py: Token<'_>, place: &'static Place) -> Option<&'static Process> {
    let log = ServerLog::new(&host::TABLE);
    let mut settings = place.config.with_start(&host::TABLE, Settings::new);
    settings.home = place.config.home.clone();
    let name = settings.place();
    let failed = |text: String| {
        py.detach(|| log::coded(&log, &WSGI0036.message([&name, &text])));
    };
    let runtime = match interp::Runtime::join(py) {
        Ok(runtime) => runtime,
        Err(error) => {
            failed(error.to_string());
            return None;
        }
    };
    let line = format!("Initializing Python runtime in {name}.");
    py.detach(|| {
        set_locale(place, &log);
        log::plain(&log, Level::Info, &line);
    });
    table::tell_of_other_patch_level(&log);
    fork::install();
    let recorder = settings.recorder();
    let handle = Some(place.handle.clone());
    let process = process::set(Process::new(settings, log, runtime, recorder, handle));
    // The main interpreter is there; this adds what makes it a group's.
    if process.all(b"").is_err() {
        py.detach(|| log::coded(&log, &WSGI0038.message([&name])));
        return None;
    }
    Some(process)
}

/// Has the C library use the locale that the group was given, all of it; Python as a program sets
/// one category.
fn set_locale(place: &Place, log: &ServerLog) {
    let Some(locale) = &place.config.locale else { return };
    let Ok(name) = CString::new(locale.as_slice()) else { return };
    // SAFETY: a C string; no other thread runs yet.
    if unsafe { libc::setlocale(libc::LC_ALL, name.as_ptr()) }.is_null() {
        log::coded(log, &WSGI0079.message([locale, &place.config.process_group]));
    }
}

fn log_start(process: &Process, place: &Place) {
    let name = String::from_utf8_lossy(&place.config.process_group);
    let threads = place.config.threads;
    // SAFETY: these always succeed.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    let line = format!(
        "Starting daemon process '{name}' with uid={uid}, gid={gid} and threads={threads}."
    );
    log::plain(&process.log, Level::Info, &line);
}

/// Loads what the configuration names, and what earlier workers of the group had loaded.
fn load(process: &'static Process, place: &Place, worker: &Worker) {
    let preloads = &place.config.preloads;
    for preload in preloads {
        let loaded = table::load(process, &preload.load());
        if loaded.is_ok() {
            report_loaded(process, preload);
            warm_up(process, place, preload);
        }
    }
    for key in &worker.start().loads {
        let Ok(preload) = postcard::from_bytes::<Preload>(key) else { continue };
        if preloads.contains(&preload) {
            continue;
        }
        match table::load(process, &preload.load()) {
            Ok(()) => {
                report_loaded(process, &preload);
                warm_up(process, place, &preload);
            }
            Err(fault) => place.handle.failed(key, fault.text.as_bytes()),
        }
    }
}

/// Asks an application for what the configuration wants to be asked. One that fails is as good as one
/// that cannot be loaded.
fn warm_up(process: &'static Process, place: &Place, preload: &Preload) {
    let Some(url) = &place.config.warm_up else { return };
    if let Err(text) = warm::ask(process, &place.config, preload, url)
        && let Some(key) = requests::key(preload)
    {
        let script = String::from_utf8_lossy(&preload.script);
        // The supervisor logs it, once for all processes.
        let line = format!("The script '{script}' has failed to warm up: {text}.");
        place.handle.failed(&key, line.as_bytes());
    }
}

/// Serves, and ends the process.
fn serve(process: &'static Process, place: &'static Place, worker: Worker) -> ! {
    let ending = Arc::new(Ending::default());
    let watchdog = Watchdog::start(process, &place.config);
    if let Some(watchdog) = &watchdog {
        let _ = process.watchdog.set(Arc::clone(watchdog));
    }
    let requests = Requests::new(process, &place.config, Arc::clone(&ending));
    let runner: Arc<dyn Runner> = Arc::new(requests);
    let limit = Some(place.config.shutdown).filter(|limit| !limit.is_zero()).unwrap_or(NO_LIMIT);
    let served = std::thread::Builder::new().name("wsgi-worker".to_owned()).spawn(move || {
        let stopped = worker.serve(&runner);
        // The main thread is wanted for the callbacks.
        let told = ending.is_done_within(limit);
        process.runtime.leave_main_thread();
        (stopped, told)
    });
    let (stopped, told) = match served {
        Ok(thread) => {
            let _ = process.runtime.run_main_thread();
            thread.join().unwrap_or_else(|_| (Err(std::io::Error::other("a panic")), false))
        }
        Err(error) => (Err(error), false),
    };
    let name = String::from_utf8_lossy(&place.config.process_group);
    let stuck = match stopped {
        Ok(stopped) => stopped.stuck,
        Err(error) => {
            let line = format!("Daemon process '{name}' cannot serve: {error}.");
            log::plain(&process.log, Level::Error, &line);
            end(EXIT_UNUSABLE)
        }
    };
    if stuck > 0 {
        // The supervisor says which requests these are.
        let line = format!("Shutdown timeout expired; aborting daemon process '{name}'.");
        log::plain(&process.log, Level::Error, &line);
    }
    telemetry::stop(process, stuck as u64);
    let limit = match (told, stuck) {
        (true, 0) => limit,
        (true, _) => limit.min(LAST),
        (false, _) => Duration::ZERO,
    };
    finish(process, place, limit)
}

/// What Python may take when requests have used up the time there was: less than the supervisor
/// waits before it kills.
const LAST: Duration = Duration::from_millis(500);

/// Does what Python has for the end, within `limit`, and ends the process.
fn finish(process: &'static Process, place: &Place, limit: Duration) -> ! {
    let name = String::from_utf8_lossy(&place.config.process_group);
    log::plain(&process.log, Level::Info, &format!("Stopping process '{name}'."));
    process.stopping.store(true, Ordering::Release);
    if place.config.destroy
        && let Err(fault) = table::destroy_within(process, limit)
    {
        let place = process.settings.place();
        log::coded(&process.log, &WSGI1105.message([&place, &fault.text]));
    }
    log::plain(&process.log, Level::Info, &format!("Exiting daemon process '{name}'."));
    end(0)
}

/// As good as none: the supervisor has limits of its own.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// Ends the process without taking Python apart: other threads may be in it.
fn end(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}
