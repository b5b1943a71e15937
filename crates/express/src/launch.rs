//! Starting Apache, and staying with it as long as that helps.
//!
//! Under a supervisor (standard output is no terminal) this process *becomes* Apache, so that the
//! supervised process id, its signals and its exit status are Apache's own. On a terminal it stays:
//! signals are passed on, the logs are shown, and Apache ends with it whatever happens.

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};
use crate::follow::Follower;
use crate::plan::{Mode, Plan};
use crate::root::{self, Root};

/// Fails if it could not be started anyway, before anything is written.
pub(crate) fn check(plan: &Plan) -> Result<()> {
    let paths = &plan.paths;
    if let Some(pid) = root::serving(&paths.pid_file, &paths.conf) {
        return Err(Error::other(format!(
            "a server is running in {} already (process {pid}); stop it with `{} stop`, or choose \
             another --port or --server-root",
            paths.root,
            crate::quote::shell(&paths.apachectl)
        )));
    }
    if crate::machine::program(&plan.programs.httpd).is_none() {
        return Err(Error::other(format!(
            "Apache's executable was not found: there is no {}; install Apache, or name it with \
             --httpd-executable",
            plan.programs.httpd
        )));
    }
    let mut ports = vec![plan.names.port];
    ports.extend(plan.tls.as_ref().map(|tls| tls.port));
    ports.into_iter().try_for_each(|port| free(plan, port))
}

/// Fails if Apache could not listen there. Other obstacles are for Apache to tell.
fn free(plan: &Plan, port: i64) -> Result<()> {
    let host = if plan.o.contains_key("host") { plan.names.host.as_str() } else { "::" };
    let Ok(port) = u16::try_from(port) else { return Ok(()) };
    let bound = TcpListener::bind((host, port));
    let why = match bound.as_ref().map_err(std::io::Error::kind) {
        Err(std::io::ErrorKind::AddrInUse) => "is in use by another program; choose another --port",
        Err(std::io::ErrorKind::PermissionDenied) => {
            "needs root; choose a --port of 1024 or more, or run as root with --user and --group"
        }
        _ => return Ok(()),
    };
    Err(Error::other(format!("port {port} {why}")))
}

/// Runs Apache until it ends.
pub(crate) fn start(plan: &Plan, root: Root) -> Result<ExitCode> {
    let mut command = Command::new(&plan.paths.apachectl);
    command.args(["start", "-DFOREGROUND"]);
    let attended = std::io::stdout().is_terminal() || in_foreground();
    if plan.mode != Mode::Debug && attended {
        let follower = Follower::new(plan);
        let child = spawn(&mut command, plan)?;
        drop(root);
        return stay(child, plan, follower);
    }
    if plan.modules.mpm.is_none_or(|mpm| mpm == "prefork") && plan.mode != Mode::Debug {
        // This MPM stops by killing its whole process group, and a script that called us should
        // not be part of it. A process that leads a group already cannot change that.
        let _ = rustix::process::setpgid(None, None);
    }
    drop(root);
    let error = command.exec();
    Err(Error::file("run", plan.paths.apachectl.as_ref(), &error))
}

/// Whether Ctrl-C on some terminal is meant for us, though our output goes elsewhere.
fn in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

fn spawn(command: &mut Command, plan: &Plan) -> Result<Child> {
    // A group of its own: Ctrl-C comes to us, and we pass it on once.
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec only the system calls prctl and getppid are made, which do not
    // allocate or lock.
    unsafe {
        let us = rustix::process::getpid();
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
            if rustix::process::getppid() != Some(us) {
                return Err(rustix::io::Errno::SRCH.into());
            }
            Ok(())
        });
    }
    command.spawn().map_err(|e| Error::file("run", plan.paths.apachectl.as_ref(), &e))
}

/// Passes signals on until Apache is gone.
fn stay(mut child: Child, plan: &Plan, follower: Follower) -> Result<ExitCode> {
    let failed = |e: std::io::Error| Error::other(format!("cannot handle signals: {e}"));
    // A changed window would be a graceful stop to Apache, so that one goes nowhere.
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGWINCH, SIGCHLD]).map_err(failed)?;
    let follower = follower.start(plan);
    let pid = Pid::from_child(&child);
    let status = 'gone: loop {
        // A child that ended before the handlers were there is noticed here.
        if let Some(status) = child.try_wait().map_err(failed)? {
            break 'gone status;
        }
        for signal in signals.wait() {
            let pass_on = match signal {
                SIGINT => Signal::INT,
                SIGTERM => Signal::TERM,
                SIGHUP => Signal::HUP,
                SIGUSR1 => Signal::USR1,
                _ => continue,
            };
            let _ = rustix::process::kill_process(pid, pass_on);
        }
    };
    follower.finish();
    let _ = std::io::stdout().flush();
    Ok(exit_code(status))
}

/// Apache's own exit status, or what a shell says of a process that a signal ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
