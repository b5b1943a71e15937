//! Process groups as the supervisor and their workers are told of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::config::{Group as Described, Limit, Swap, User as Becomes};
use engine_api::find;
use engine_api::worker::{self, Flags, Interpreter, Preload};
use httpd_sys::{Mpm, Server};
use wsgi_config::daemon_process::{self, DaemonProcess};

use super::relay::complain;
use crate::groups::{self, Group, Machine};
use crate::settings::Global;
use crate::sole::Tenants;
use crate::{VERSION, Wsgi, configured, interpreters, meter, support};

/// Idle connections are closed after so long: later than the children do.
const IDLE: Duration = Duration::from_secs(30);

/// The supervisor leaves requests that take too long to their worker for so much longer.
const OVERDUE: Duration = Duration::from_secs(5);

/// How many groups may change their workers at a time.
pub(super) fn swaps(server: Server<'_>) -> u32 {
    let configured = server.config::<Wsgi>().and_then(|it| it.global.swap_concurrency);
    configured.unwrap_or(1)
}

/// What the supervisor is told of the groups.
///
/// # Errors
/// One sentence, about the machine.
pub(super) fn described(server: Server<'_>, groups: &[Group]) -> Result<Vec<Described>, String> {
    let nothing = Global::default();
    let global = server.config::<Wsgi>().map_or(&nothing, |configured| &configured.global);
    let directory = if groups.is_empty() { None } else { Some(support::directory()?) };
    let tenants = Tenants::read(server, global);
    let mut all = Vec::with_capacity(groups.len());
    for group in groups {
        let Some(directory) = &directory else { break };
        all.push(describe(server, global, &tenants, directory, group)?);
    }
    Ok(all)
}

fn describe(
    server: Server<'_>,
    global: &Global,
    tenants: &Tenants<'_>,
    directory: &Path,
    group: &Group,
) -> Result<Described, String> {
    let process = &group.process;
    let (program, python_home) = python(server, global, directory, process);
    let flags = Flags {
        optimize: global.python_optimize.unwrap_or(0),
        dont_write_bytecode: global.dont_write_bytecode == Some(true),
        warnings: &global.python_warnings,
    };
    let engines = directory.join("engines");
    let args = worker::arguments(&program, &engines, &flags);
    let resolved = groups::resolve(group, &Machine::here())?;
    let mut env = resolved.env;
    env.extend(python_variables(global, process, python_home));
    let described = Described {
        name: process.name.clone(),
        program: program.as_os_str().as_bytes().to_vec(),
        args,
        env,
        directory: resolved.directory,
        user: resolved.user.map(|user| Becomes {
            uid: user.uid,
            gid: user.gid,
            groups: user.groups,
        }),
        allow_root: process.allow_root,
        chroot: process.chroot.clone(),
        umask: process.umask,
        nice: process.cpu_priority,
        limits: resolved
            .limits
            .iter()
            .map(|limit| Limit { resource: limit.resource, soft: limit.soft, hard: limit.hard })
            .collect(),
        processes: process.process_count(),
        spare: process.spare,
        threads: process.threads,
        stack_size: process.stack_size.unwrap_or(0),
        domains: 1,
        idle: IDLE,
        maximum_requests: process.maximum_requests.into(),
        // How long the application may take to load is the worker's business.
        // No time is at once, which the supervisor has no other word for.
        graceful: process.graceful_timeout.max(Duration::from_millis(1)),
        eviction: process.eviction_timeout.unwrap_or_default(),
        shutdown: process.shutdown_timeout.unwrap_or_default(),
        interval: process.restart_interval.unwrap_or_default(),
        // The worker sees to it first, and says more.
        request: process.request_end().map_or(Duration::ZERO, |limit| limit + OVERDUE),
        swap: match process.swap {
            daemon_process::Swap::Overlap => Swap::Overlap,
            daemon_process::Swap::Rolling => Swap::Rolling,
        },
        scoreboard: process.server_metrics,
        keep: process.keep,
        payload: payload(server, global, tenants, group)?,
        ..Described::default()
    };
    Ok(described)
}

/// The executable of a group's Python, and the home that it is to be told of.
fn python(
    server: Server<'_>,
    global: &Global,
    directory: &Path,
    process: &DaemonProcess,
) -> (PathBuf, Option<String>) {
    let home = process.python_home.as_deref().or(global.python_home.as_deref());
    let home = home.map(|home| Path::new(OsStr::from_bytes(home)));
    if process.chroot.is_some() {
        // What is inside is known there only.
        return (chrooted_program(home), None);
    }
    match find::program(home, directory) {
        Ok(program) => (program.executable, program.python_home),
        Err(error) => {
            // The supervisor tries, backs off, and says that it cannot be started: requests to
            // this group get a 503, all others are served.
            let name = process.name.escape_ascii();
            complain(server, &format!("Daemon process '{name}' has no Python: {error}"));
            (chrooted_program(home), None)
        }
    }
}

/// The Python of a home of which nothing can be looked at.
fn chrooted_program(home: Option<&Path>) -> PathBuf {
    home.unwrap_or(Path::new("/usr")).join("bin/python3")
}

/// What Python itself reads from its environment, beside what is the user's.
fn python_variables(
    global: &Global,
    process: &DaemonProcess,
    home: Option<String>,
) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut env: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let mut set = |name: &str, value: Vec<u8>| env.push((name.into(), Some(value)));
    if let Some(eggs) = &process.python_eggs {
        set("PYTHON_EGG_CACHE", eggs.clone());
    }
    if let Some(seed) = global.python_hash_seed {
        set("PYTHONHASHSEED", seed.to_string().into_bytes());
    }
    if let Some(home) = home {
        set("PYTHONHOME", home.into_bytes());
    }
    env
}

/// What the workers are told.
fn payload(
    server: Server<'_>,
    global: &Global,
    tenants: &Tenants<'_>,
    group: &Group,
) -> Result<Vec<u8>, String> {
    let process = &group.process;
    let home = group.place.find(server).unwrap_or(server);
    let mut options = interpreters::options(global, &process.name, process.python_path.as_deref());
    if let (Some(top), Some(interval)) = (options.first_mut(), process.switch_interval) {
        top.switch_interval = interval.as_secs_f64();
    }
    let interpreters = options.iter().map(Interpreter::new).collect();
    let preloads = configured(server)
        .flat_map(|configured| &configured.global.preloads)
        .filter(|preload| preload.process_group == process.name)
        .map(|preload| Preload {
            script: preload.script.clone(),
            application_group: preload.application_group.clone(),
            reload: true,
            lower_case: !global.is_case_sensitive(),
        })
        .collect();
    worker::Config {
        process_group: process.name.clone(),
        main_group: tenants.sole(&process.name).map(|sole| sole.name),
        free_threading: interpreters::free_threading(global, &process.name),
        interpreters,
        module_version: VERSION,
        server_version: httpd_sys::compiled_version(),
        server_description: httpd_sys::server_description().to_vec(),
        mpm_name: Mpm.name().to_vec(),
        server_build_date: httpd_sys::server_built().to_vec(),
        server_processes: Mpm.max_daemons(),
        server_threads: Mpm.max_threads(),
        processes: process.process_count(),
        threads: process.threads,
        multiprocess: process.is_multiprocess(),
        run_once: process.is_run_once(),
        preloads,
        destroy: global.destroy_interpreter.unwrap_or(true),
        log_level: home.logger::<Wsgi>().level() as u32,
        shutdown: process.shutdown_timeout.unwrap_or_default(),
        evicts: process.eviction_timeout.is_some_and(|limit| !limit.is_zero()),
        limits: worker::Limits {
            request_seconds: process.request_timeout.unwrap_or_default().as_secs(),
            request: process.request_limit(),
            interrupt: process.interrupt_timeout,
            inactivity: process.inactivity_timeout,
            deadlock: process.deadlock_timeout,
            startup: process.startup_timeout,
        },
        display_name: Some(process.title().unwrap_or_else(|| title(&process.name))),
        locale: process.locale.clone(),
        home: process.home.clone(),
        chroot: process.chroot.clone(),
        telemetry: global.telemetry(std::process::id()),
        warm_up: process.warm_up.clone(),
        tells_places: meter::has_page(),
    }
    .encode()
}

/// What `ps` shows where nothing is said: not the lines of Python that a worker begins with.
fn title(name: &[u8]) -> Vec<u8> {
    [b"(wsgi:", name, b")"].concat()
}
