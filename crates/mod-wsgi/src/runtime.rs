//! The engine of this child process.
//!
//! Nothing here runs in Apache's parent but [`find`], which only looks at files. A child keeps its
//! state in statics: it never reads the configuration again, and the module stays in memory, since
//! Python's threads may be in it until the process ends (`pin`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use engine_api::{
    Bytes, Engine, HostTable, InterpreterOptions, Load, Python, Record, Slice, Start, Stop, Switch,
    host_table,
};
use httpd_sys::{Image, Level, Logger, Mpm, Pool, Server};
use log_codes::WSGI0001;

use crate::settings::{Global, Preload};
use crate::{VERSION, Wsgi, log};

/// What this child knows.
struct Child {
    global: Global,
    preloads: Vec<Preload>,
}

static CHILD: OnceLock<Child> = OnceLock::new();
/// The engine once it was tried; `None` if it cannot be had.
static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
static HOST: HostTable = host_table::<ProcessLog>();

/// Python ends within this time or is left to the kernel; Apache kills a child that takes longer
/// than a few seconds.
const STOP_LIMIT_MS: u32 = 2000;

/// Finds the Python of `WSGIPythonHome`, or the one that the module was built for.
///
/// # Errors
/// One sentence for the administrator.
pub(crate) fn find(global: &Global) -> Result<Python, String> {
    let home = global.python_home.as_deref().map(|home| Path::new(OsStr::from_bytes(home)));
    let support = support_directory()?;
    engine_api::find(home, &support).map_err(|error| error.to_string())
}

/// Begins a child: remembers the configuration, and starts Python if something is sure to need it.
pub(crate) fn child_init(pool: Pool<'_>, server: Server<'_>) {
    let Some(configured) = server.config::<Wsgi>() else {
        return;
    };
    let configs = || server.and_following().filter_map(Server::config::<Wsgi>);
    let preloads: Vec<Preload> =
        configs().flat_map(|configured| configured.global.preloads.iter().cloned()).collect();
    let has_aliases = configs().any(|configured| !configured.server.aliases.is_empty());
    let restricted = configured.global.restrict_embedded == Some(true);
    let wanted = (has_aliases && !restricted) || !preloads.is_empty();
    let _ = CHILD.set(Child { global: configured.global.clone(), preloads });
    pool.at_end(stop);
    if wanted {
        engine();
    }
}

/// What the main server says.
pub(crate) fn global() -> &'static Global {
    static NOTHING: OnceLock<Global> = OnceLock::new();
    CHILD.get().map_or_else(|| NOTHING.get_or_init(Global::default), |child| &child.global)
}

/// The engine, which is started when it is first asked for; `None` if it cannot be, which is in the
/// log.
pub(crate) fn engine() -> Option<Engine> {
    *ENGINE.get_or_init(|| {
        let child = CHILD.get()?;
        match start(child) {
            Ok(engine) => {
                preload(child, &engine);
                Some(engine)
            }
            Err(reason) => {
                log::process_code(&WSGI0001);
                log::process(Level::Critical, &reason);
                None
            }
        }
    })
}

fn start(child: &Child) -> Result<Engine, String> {
    Image::of::<Wsgi>().ok_or(NO_IMAGE)?.pin()?;
    let global = &child.global;
    let python = find(global)?;
    let engine = Engine::open(&python).map_err(|error| error.to_string())?;
    let warnings: Vec<Bytes<'_>> =
        global.python_warnings.iter().map(|text| Bytes::new(text)).collect();
    let switch = |value: Option<bool>| match value {
        None => Switch::Unset,
        Some(true) => Switch::On,
        Some(false) => Switch::Off,
    };
    let interpreters = [InterpreterOptions {
        application_group: Bytes::ABSENT,
        specificity: 0,
        python_path: Bytes::maybe(global.python_path.as_deref()),
        switch_interval: global.switch_interval.unwrap_or(0.0),
        own_gil: switch(global.per_interpreter_gil),
        restrict_stdin: switch(global.restrict_stdin),
        restrict_stdout: switch(global.restrict_stdout),
        restrict_signal: switch(global.restrict_signal),
    }];
    let start = Start {
        host: &HOST,
        executable: Bytes::new(python.executable.as_os_str().as_bytes()),
        python_home: Bytes::maybe(python.python_home.as_deref().map(str::as_bytes)),
        process_group: Bytes::new(b""),
        python_eggs: Bytes::maybe(global.python_eggs.as_deref()),
        warnings: Slice::new(&warnings),
        hash_seed: global.python_hash_seed.map_or(-1, i64::from),
        optimize: global.python_optimize.unwrap_or(0),
        dont_write_bytecode: global.dont_write_bytecode == Some(true),
        free_threading: false,
        single_process: Mpm.single_process(),
        serve_on_this_thread: !Mpm.is_threaded(),
        interpreters: Slice::new(&interpreters),
        module_version: VERSION,
        server_version: httpd_sys::compiled_version(),
        server_description: Bytes::new(httpd_sys::server_description()),
        mpm_name: Bytes::new(Mpm.name()),
        server_build_date: Bytes::new(httpd_sys::server_built()),
        server_processes: Mpm.max_daemons(),
        server_threads: Mpm.max_threads(),
        maximum_processes: Mpm.max_daemons(),
        threads_per_process: Mpm.max_threads(),
    };
    engine.start(&start).map_err(|fault| fault.to_string())?;
    Ok(engine)
}

/// Loads the scripts that are known in advance. What goes wrong is in the log; requests try again.
fn preload(child: &Child, engine: &Engine) {
    for preload in &child.preloads {
        let _ = engine.load(&Load {
            script: Bytes::new(&preload.script),
            application_group: Bytes::new(&preload.application_group),
            reload: true,
            lower_case: !child.global.is_case_sensitive(),
        });
    }
}

fn stop() {
    let (Some(child), Some(Some(engine))) = (CHILD.get(), ENGINE.get()) else {
        return;
    };
    let stop = Stop {
        reason: Bytes::new(b""),
        destroy: child.global.destroy_interpreter.unwrap_or(true),
        limit_ms: STOP_LIMIT_MS,
    };
    if let Err(fault) = engine.stop(&stop) {
        log::process(Level::Warning, &format!("Python was not shut down completely: {fault}"));
    }
}

/// The log of this process, for what belongs to no request.
struct ProcessLog;

impl engine_api::Server for ProcessLog {
    fn log(records: &[Record<'_>]) {
        log::records(None, records);
    }

    fn level() -> engine_api::Level {
        engine_api::Level::from_raw(Logger::process::<Wsgi>().level() as u32)
    }
}

const NO_IMAGE: &str = "the file that mod_wsgi was loaded from cannot be told";

/// The directory that holds `engines/`: the module's own, or `mod_wsgi` beside it.
fn support_directory() -> Result<PathBuf, String> {
    let image = Image::of::<Wsgi>().ok_or(NO_IMAGE)?;
    let module = image.path();
    let module = module.canonicalize().map_err(|error| {
        format!("mod_wsgi's own file, '{}', is gone: {error}", module.display())
    })?;
    let directory = module.parent().unwrap_or(Path::new("/"));
    let installed = directory.join("mod_wsgi");
    let own = directory.join("engines").is_dir();
    Ok(if own || !installed.is_dir() { directory.to_owned() } else { installed })
}
