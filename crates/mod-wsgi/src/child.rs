//! The engine of a child process.
//!
//! A child keeps its state in statics: it never reads the configuration again, and the image stays
//! in memory, since threads of Python may be in it until the process ends. Python starts with the
//! child where the configuration has an application in embedded mode; otherwise with the first
//! request that needs it, so that children which only serve files never load it.

use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use engine_api::find::Running;
use engine_api::{
    Bytes, Engine, HostTable, Load, Record, Slice, Start as StartPython, Stop, TelemetryOptions,
    host_table,
};
use httpd_sys::{ChildInit, Image, Logger, Mpm, Pool, Server};
use log_codes::{WSGI0001, WSGI0002, WSGI0036, WSGI1105};

use crate::settings::{Global, Preload};
use crate::sole::Tenants;
use crate::tenants::Sole;
use crate::{
    Configured, VERSION, Wsgi, configured, daemon, groups, interpreters, log, meter, scoreboard,
    shown, support,
};

/// What a child knows from its configuration.
struct Child {
    global: Global,
    preloads: Vec<Preload>,
    mpm: Process,
    /// `WSGIScriptReloading` of the main server.
    reload: bool,
    sole: Option<Sole>,
    /// The server's configuration reads variables that this module makes.
    shows_variables: bool,
}

/// What this process is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    /// Requests run in several threads.
    pub(crate) threaded: bool,
    /// Most threads that serve.
    pub(crate) threads: u32,
    /// Most processes like this one.
    pub(crate) processes: u32,
    /// Connections without a request are not their thread's to wait for.
    pub(crate) hands_over: bool,
    /// Its number. Asking for it is a call of the system, and requests tell it twice.
    pub(crate) pid: u32,
}

static CHILD: OnceLock<Child> = OnceLock::new();
/// The engine, once it was tried; `None` if it cannot be had.
static ENGINE: OnceLock<Option<Engine>> = OnceLock::new();
static HOST: HostTable = host_table::<ProcessLog>();

/// Python ends within this time or is left to the kernel: the server kills children that take
/// longer than a few seconds.
const STOP_LIMIT_MS: u32 = 2000;

/// The hook.
pub(crate) struct Start;

impl ChildInit for Start {
    fn run(pool: Pool<'_>, server: Server<'_>) {
        groups::start(server);
        httpd_sys::ignore_end_of_child();
        daemon::join(server);
        meter::join(pool, server);
        let Some(main) = server.config::<Wsgi>() else {
            return;
        };
        let configs = || configured(server);
        let restricted = main.global.restrict_embedded == Some(true);
        let child = Child {
            global: main.global.clone(),
            preloads: configs()
                .flat_map(|c| c.global.preloads.iter().cloned())
                .filter(|preload| preload.process_group.is_empty())
                // Requests for an alias are refused then; an import script is meant to run.
                .filter(|preload| !(restricted && preload.from_alias))
                .collect(),
            mpm: Process {
                threaded: Mpm.is_threaded(),
                threads: Mpm.max_threads(),
                processes: Mpm.max_daemons(),
                hands_over: Mpm.is_async(),
                pid: std::process::id(),
            },
            reload: main.server.settings.script_reloading.unwrap_or(true),
            sole: Tenants::read(server, &main.global).sole(b""),
            shows_variables: httpd_sys::lines().any(|line| shown::is_asked_for(line.arguments())),
        };
        let wanted = configs().any(has_embedded_alias) && !restricted || !child.preloads.is_empty();
        if CHILD.set(child).is_err() {
            return;
        }
        pool.at_end(stop);
        if wanted {
            engine();
        }
    }
}

/// Whether an alias is sure to run in this process.
fn has_embedded_alias(configured: &Configured) -> bool {
    let default = configured.server.settings.process_group.as_deref();
    configured.server.aliases.iter().any(|alias| {
        let group = alias.options.process_group.as_deref().or(default);
        matches!(group, None | Some(b"" | b"%{GLOBAL}"))
    })
}

/// The name under which the application group `name` runs in this process.
pub(crate) fn application_group(name: Vec<u8>) -> Vec<u8> {
    let sole = CHILD.get().and_then(|child| child.sole.as_ref());
    sole.filter(|sole| sole.is(&name)).map_or(name, |sole| sole.name.clone())
}

/// What the main server says.
pub(crate) fn global() -> &'static Global {
    static NOTHING: OnceLock<Global> = OnceLock::new();
    CHILD.get().map_or_else(|| NOTHING.get_or_init(Global::default), |child| &child.global)
}

/// What this process is.
pub(crate) fn process() -> Process {
    CHILD.get().map_or_else(
        || Process {
            threaded: false,
            threads: 1,
            processes: 1,
            hands_over: false,
            pid: std::process::id(),
        },
        |child| child.mpm,
    )
}

/// The number of this process, as applications get it.
pub(crate) fn pid_as_text() -> &'static [u8] {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| process().pid.to_string()).as_bytes()
}

/// Whether the server's configuration reads variables that this module makes.
pub(crate) fn shows_variables() -> bool {
    CHILD.get().is_some_and(|child| child.shows_variables)
}

/// The engine, which is started when it is first asked for; `None` if it cannot be, which is in the
/// log.
pub(crate) fn engine() -> Option<Engine> {
    *ENGINE.get_or_init(|| {
        let child = CHILD.get()?;
        match start(child) {
            Ok(engine) => {
                meter::answer_places(engine);
                preload(child, &engine);
                Some(engine)
            }
            Err(NoEngine::Python(reason)) => {
                log::process(WSGI0036.message([&"embedded mode", &reason]));
                log::process(WSGI0001.message([]));
                None
            }
            Err(NoEngine::SetUp) => {
                log::process(WSGI0002.message([]));
                None
            }
        }
    })
}

/// Why there is no engine.
enum NoEngine {
    /// Python cannot be had, or does not start.
    Python(String),
    /// Its main interpreter cannot be set up; the engine has said why.
    SetUp,
}

impl<T: Into<String>> From<T> for NoEngine {
    fn from(reason: T) -> NoEngine {
        NoEngine::Python(reason.into())
    }
}

fn start(child: &Child) -> Result<Engine, NoEngine> {
    let image = Image::of::<Wsgi>().ok_or("the file of mod_wsgi cannot be told (dladdr)")?;
    image.pin().map_err(|error| {
        format!("'{}' cannot be kept in memory: {error}", image.path().display())
    })?;
    let global = &child.global;
    let python = support::python(global, Running::Allowed)?;
    if let Some(home) = &global.python_home {
        let text = format!("Python home set to '{}' for embedded mode.", home.escape_ascii());
        let level = httpd_sys::Level::Info;
        Logger::process::<Wsgi>().log(level, httpd_sys::here!(), 0, text.as_bytes());
    }
    let engine = Engine::open(&python).map_err(|error| error.to_string())?;
    let warnings: Vec<Bytes<'_>> =
        global.python_warnings.iter().map(|text| Bytes::new(text)).collect();
    let interpreters = interpreters::options(global, b"", global.python_path.as_deref());
    let Process { threaded, threads, processes, .. } = child.mpm;
    let telemetry = global.telemetry(std::os::unix::process::parent_id());
    let start = StartPython {
        host: &HOST,
        executable: Bytes::new(python.executable.as_os_str().as_bytes()),
        python_home: python.python_home.as_deref().map(str::as_bytes).into(),
        process_group: Bytes::new(b""),
        main_group: child.sole.as_ref().map(|sole| sole.name.as_slice()).into(),
        python_eggs: global.python_eggs.as_deref().into(),
        warnings: Slice::new(&warnings),
        hash_seed: global.python_hash_seed.map_or(-1, i64::from),
        optimize: global.python_optimize.unwrap_or(0),
        dont_write_bytecode: global.dont_write_bytecode == Some(true),
        free_threading: interpreters::free_threading(global, b""),
        single_process: Mpm.single_process(),
        serve_on_this_thread: !threaded,
        interpreters: Slice::new(&interpreters),
        module_version: VERSION,
        server_version: httpd_sys::compiled_version(),
        server_description: Bytes::new(httpd_sys::server_description()),
        mpm_name: Bytes::new(Mpm.name()),
        server_build_date: Bytes::new(httpd_sys::server_built()),
        server_processes: processes,
        server_threads: threads,
        maximum_processes: processes,
        threads_per_process: threads,
        // What runs here is the server's business then, not an application's.
        telemetry: match global.restrict_embedded {
            Some(true) => TelemetryOptions::NONE,
            _ => telemetry.options(),
        },
    };
    engine.start(&start).map_err(|fault| match engine.interpreters() {
        0 => NoEngine::Python(fault.to_string()),
        _ => NoEngine::SetUp,
    })?;
    Ok(engine)
}

/// Loads the scripts that are known in advance. What goes wrong is in the log; requests try again.
fn preload(child: &Child, engine: &Engine) {
    for preload in &child.preloads {
        let _ = engine.load(&Load {
            script: Bytes::new(&preload.script),
            application_group: Bytes::new(&preload.application_group),
            reload: child.reload,
            lower_case: !child.global.is_case_sensitive(),
        });
    }
}

/// Ends Python with the child.
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
        log::process(WSGI1105.message([&"embedded mode", &fault.text]));
    }
}

/// The log of this process, for what belongs to no request.
struct ProcessLog;

impl engine_api::Server for ProcessLog {
    fn log(records: &[Record<'_>]) {
        log::records(None, records);
    }

    fn level() -> engine_api::Level {
        log::to_engine(&Logger::process::<Wsgi>())
    }

    fn scoreboard() -> Option<Vec<u8>> {
        if global().server_metrics == Some(true) { scoreboard::encoded() } else { None }
    }
}
