//! The engine table: the process's one Python, started, used and stopped through it.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine_api::{
    Client, EngineTable, Fault, FaultKind, Hook, Level, Load, Names, Place, Reply, Request,
    ServerLog, Start, Stop, Verdict, Version, engine_table,
};
use interp::{Config, HashSeed, MainThread};
use log_codes::{WSGI0040, WSGI0104};
use py::{Bound, Token, ffi};

use crate::fork;
use crate::group::{Group, interpreter_name};
use crate::hook;
use crate::log;
use crate::module::{Event, publish};
use crate::places;
use crate::process::{self, Process};
use crate::request;
use crate::script::{Ask, OnChange};
use crate::settings::Settings;
use crate::telemetry;

/// What the module gets.
pub(crate) static TABLE: EngineTable = engine_table::<Runtime>(Version {
    major: 3,
    minor: MINOR,
    micro: micro(),
    free_threaded: cfg!(Py_GIL_DISABLED),
});

/// The minor version compiled for.
const MINOR: u8 = if cfg!(Py_3_16) {
    16
} else if cfg!(Py_3_15) {
    15
} else if cfg!(Py_3_14) {
    14
} else if cfg!(Py_3_13) {
    13
} else if cfg!(Py_3_12) {
    12
} else if cfg!(Py_3_11) {
    11
} else {
    10
};

/// The patch level compiled for; 0 if the build could not know.
const fn micro() -> u8 {
    let text = env!("ENGINE_PYTHON_MICRO").as_bytes();
    let (mut number, mut i) = (0, 0);
    while i < text.len() {
        number = number * 10 + (text[i] - b'0');
        i += 1;
    }
    number
}

const fn micro_is_known() -> bool {
    !env!("ENGINE_PYTHON_MICRO").is_empty()
}

struct Runtime;

impl engine_api::Runtime for Runtime {
    fn start(start: &Start<'_>) -> Result<(), Fault> {
        let settings = Settings::new(start);
        let recorder = settings.recorder();
        let server = ServerLog::new(start.host);
        let place = settings.place();
        let free = if settings.free_threading { " with free-threading enabled" } else { "" };
        let line = format!("Initializing Python runtime in {place}{free}.");
        log::plain(&server, Level::Info, &line);
        let config = config(start)?;
        let runtime =
            interp::Runtime::start(&config).map_err(|error| unavailable(&error.to_string()))?;
        tell_of_other_patch_level(&server);
        fork::install();
        let process = process::set(Process::new(settings, server, runtime, recorder, None));
        process.all(b"")?;
        telemetry::start(process);
        Ok(())
    }

    fn handle(request: &Request<'_>, client: Client<'_>) -> Result<Reply, Fault> {
        let reply = request::handle(process()?, request, client);
        fork::end_if_forked();
        reply
    }

    fn decide(
        hook: &Hook<'_>,
        client: Client<'_>,
        names: &mut Names<'_>,
    ) -> Result<Verdict, Fault> {
        let verdict = hook::decide(process()?, hook, client, names);
        fork::end_if_forked();
        verdict
    }

    fn load(load: &Load<'_>) -> Result<(), Fault> {
        self::load(process()?, load)
    }

    fn interpreters() -> usize {
        process::get().map_or(0, |process| process.runtime.interpreters().len())
    }

    fn places(threads: &[u64]) -> Vec<Place> {
        process::get().map_or_else(Vec::new, |process| places::of(process, threads))
    }

    fn stop(stop: &Stop<'_>) -> Result<(), Fault> {
        let process = process()?;
        if process.stopping.swap(true, Ordering::AcqRel) {
            return Err(unavailable("Python was stopped before"));
        }
        let limit = Duration::from_millis(stop.limit_ms.into());
        end(process, stop.reason.or_empty(), stop.destroy, limit)
    }
}

/// Loads a script in all replicas of its group. What goes wrong is logged, and told.
pub(crate) fn load(process: &'static Process, load: &Load<'_>) -> Result<(), Fault> {
    let name = load.application_group.or_empty();
    let groups = process.all(name).inspect_err(|_| {
        let interpreter = interpreter_name(name);
        log::coded(&process.log, &WSGI0040.message([&interpreter]));
    })?;
    for group in groups {
        preload(group, load)?;
    }
    Ok(())
}

/// Runs what is to run at the end: the event, and if `destroy` what Python itself has.
pub(crate) fn end(
    process: &'static Process,
    reason: &[u8],
    destroy: bool,
    limit: Duration,
) -> Result<(), Fault> {
    let began = Instant::now();
    telemetry::stopping(process, reason);
    let reason = reason.to_vec();
    let told = process.runtime.at_end(limit, move || publish_stopping(process, &reason));
    // The server has let go of its threads.
    telemetry::stop(process, 0);
    told.map_err(timed_out)?;
    if !destroy {
        return Ok(());
    }
    destroy_within(process, limit.saturating_sub(began.elapsed()))
}

fn timed_out(error: interp::Error) -> Fault {
    Fault::new(FaultKind::Timeout, error.to_string())
}

/// Runs what Python itself has for the end.
pub(crate) fn destroy_within(process: &'static Process, limit: Duration) -> Result<(), Fault> {
    let place = process.settings.place();
    log::plain(&process.log, Level::Info, &format!("Terminating Python runtime in {place}."));
    process.runtime.stop(limit).map_err(timed_out)?;
    log::plain(&process.log, Level::Info, &format!("Python runtime has shut down in {place}."));
    Ok(())
}

fn process() -> Result<&'static Process, Fault> {
    process::get().ok_or_else(|| unavailable("Python was not started"))
}

/// Loads a script on the main thread, as `import` at the start of a program would.
fn preload(group: &'static Group, load: &Load<'_>) -> Result<(), Fault> {
    let path = load.script.or_empty().to_vec();
    let (reload, lower_case) = (load.reload, load.lower_case);
    let loaded = group.process.runtime.on_main_thread(move || {
        let ask = Ask {
            path: &path,
            mtime: None,
            reload,
            lower_case,
            resource: None,
            callable: None,
            group,
            log: &group.process.log,
            request: false,
            on_change: OnChange::Reload,
        };
        group.interpreter.attach(|py| group.scripts.globals(py, &ask).map(drop))
    });
    match loaded {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(_))) => Err(Fault::new(FaultKind::Other, "the script cannot be loaded")),
        Ok(Err(error)) | Err(error) => Err(Fault::new(FaultKind::Unavailable, error.to_string())),
    }
}

fn unavailable(text: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, text)
}

fn config(start: &Start<'_>) -> Result<Config, Fault> {
    let text = |bytes: &[u8], what: &str| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            let text = format!("{what} '{}' is not valid UTF-8", bytes.escape_ascii());
            Fault::new(FaultKind::Other, text)
        })
    };
    let executable = PathBuf::from(OsStr::from_bytes(start.executable.or_empty()));
    let mut config = Config::new(executable);
    config.argv = vec!["mod_wsgi".to_owned()];
    config.home = start.python_home.get().map(|home| text(home, "Python home")).transpose()?;
    for warning in start.warnings.get() {
        config.warnings.push(text(warning.or_empty(), "warning filter")?);
    }
    config.optimize = (start.optimize > 0).then_some(start.optimize);
    config.dont_write_bytecode = start.dont_write_bytecode;
    // What does not fit is no seed; the directive has checked it.
    config.hash_seed = u32::try_from(start.hash_seed).map_or(HashSeed::Default, HashSeed::Fixed);
    config.free_threading = start.free_threading;
    if let Some(eggs) = start.python_eggs.get() {
        let eggs = text(eggs, "egg cache")?;
        config.environment.push(("PYTHON_EGG_CACHE".to_owned(), eggs));
    }
    config.main_thread =
        if start.serve_on_this_thread { MainThread::Caller } else { MainThread::Parked };
    Ok(config)
}

/// Patch levels are compatible, but somebody who looks for a fault will want to know.
pub(crate) fn tell_of_other_patch_level(log: &ServerLog) {
    // SAFETY: a static C string, at any time.
    let running = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let running = running.split(' ').next().unwrap_or_default();
    let compiled = format!("3.{MINOR}.{}", env!("ENGINE_PYTHON_MICRO"));
    if micro_is_known() && running != compiled {
        log::plain(log, Level::Notice, &format!("Compiled for Python/{compiled}."));
        log::plain(log, Level::Notice, &format!("Runtime using Python/{running}."));
    }
}

/// Says in an event of a worker which generation it belongs to.
pub(crate) fn add_generation<'py>(py: Token<'py>, payload: &Bound<'py>) -> py::Result<'py, ()> {
    match crate::worker::generation() {
        Some(generation) => payload.dict_set(c"generation", &py.int(generation.into())?),
        None => Ok(()),
    }
}

/// Publishes `process_stopping` in every interpreter.
pub(crate) fn publish_stopping(process: &'static Process, reason: &[u8]) {
    for group in process.groups() {
        let published = group.interpreter.attach(|py| {
            let payload = || {
                let payload = py.dict()?;
                payload.dict_set(c"shutdown_reason", &py.latin1(reason)?)?;
                add_generation(py, &payload)?;
                Ok(payload)
            };
            let payload: py::Result<'_, _> = payload();
            let Ok(payload) = payload else { return false };
            publish(py, group, Event::ProcessStopping, &payload);
            true
        });
        if !published.unwrap_or(false) {
            log::coded(&process.log, &WSGI0104.message([&group.title]));
        }
    }
}
