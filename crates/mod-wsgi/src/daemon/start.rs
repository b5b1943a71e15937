//! The parent: has the supervisor run what is configured, looks after it, ends it.
//!
//! What is kept over restarts is plain data in the server's memory ([`Kept`]). Each configuration
//! starts a log relay of its own and tells the supervisor; the supervisor's death is noticed by the
//! server, which has another one take over.
//! <https://httpd.apache.org/docs/2.4/stopping.html>

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use daemon::Capacity;
use daemon::config::Config;
use daemon::parent::{Launch, Parent, Retained};
use httpd_sys::{
    Monitor, Mpm, PostConfigPass, ProcessEnded, Retain, Server, is_exiting, look_after,
    wake_at_end_of_child, with_retained,
};

use super::{groups, relay};
use crate::groups::defined as defined_groups;
use crate::{Wsgi, support};

/// What the server keeps for us.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Kept(pub(super) Retained);

// SAFETY: `Retained` is numbers; all zeroes is "nothing yet", and its first fields tell what another
// version has left.
unsafe impl Retain for Kept {}

/// Its name.
pub(super) const KEPT: &CStr = c"mod_wsgi daemon mode";

/// The executable, beside the engines.
const PROGRAM: &str = "wsgi-supervisor";

/// The end of the server waits no longer than this for processes that may take any time.
const LONGEST_STOP: Duration = Duration::from_secs(60);
/// What an end takes beside the time that processes are given.
const STOP_MARGIN: Duration = Duration::from_secs(2);

/// Has the supervisor run what is configured. In the pass that children follow.
///
/// # Errors
/// The server does not start: daemon mode is configured and cannot be had.
pub(crate) fn configure(pass: &PostConfigPass<'_>) -> Result<(), String> {
    let server = pass.server;
    let defined = defined_groups(server);
    // SAFETY: in the parent's only thread.
    let runs = unsafe { with_retained(KEPT, |Kept(kept): &mut Kept| kept.supervisor()) };
    if defined.is_empty() && runs.flatten().is_none() {
        return Ok(());
    }
    let groups = groups::described(server, &defined)?;
    let slots: u32 = groups.iter().map(daemon::config::Group::wanted_slots).sum();
    let capacity = Capacity {
        groups: (groups.len() as u32).saturating_mul(4).max(256),
        slots: slots.saturating_mul(4).max(2048),
        // Old children that still finish are there beside the new ones.
        children: Mpm.max_daemons().saturating_mul(4).max(512),
    };
    let level = server.logger::<Wsgi>().level() as u8;
    let config = Config { groups, swaps: groups::swaps(server), level };
    let told = with_launch(server, |launch| {
        with_parent(capacity, |parent| parent.configure(config, launch))
    });
    let (pid, _) = told.map_err(|error| format!("Daemon mode is not available: {error}."))?;
    look_after::<Wsgi, Supervisor>(pass.config, server, pid);
    if !defined.is_empty()
        && !Mpm.single_process()
        && [&b"event"[..], b"worker"].contains(&Mpm.name())
    {
        wake_at_end_of_child(pass.config);
    }
    let limit = stop_limit(&defined);
    let parent = std::process::id();
    pass.config.at_end(move || {
        if is_exiting() && std::process::id() == parent {
            let _ = with_parent(capacity, |parent| Ok(parent.stop(limit)));
        }
    });
    Ok(())
}

/// How long the end of the server may wait for its processes.
fn stop_limit(groups: &[crate::groups::Group]) -> Duration {
    let limits = groups.iter().map(|group| group.process.shutdown_timeout.unwrap_or(LONGEST_STOP));
    limits.max().unwrap_or_default().min(LONGEST_STOP) + STOP_MARGIN
}

/// The supervisor, as a process that the server looks after.
struct Supervisor;

impl ProcessEnded for Supervisor {
    fn ended(server: Server<'_>, pid: i32) {
        let gone = with_parent(Capacity::default(), |parent| {
            parent.ended(pid);
            Ok(())
        });
        if gone.is_ok() {
            relay::complain(server, "The process supervisor has died; starting another one.");
            start_again(server);
        }
    }
}

/// Starts a supervisor if there should be one and it has not been too early for it so far.
pub(crate) struct Again;

impl Monitor for Again {
    fn run(server: Server<'_>) {
        let defined = defined_groups(server);
        if defined.is_empty() || Mpm.is_stopping() {
            return;
        }
        // SAFETY: in the parent's only thread.
        let runs = unsafe { with_retained(KEPT, |Kept(kept): &mut Kept| kept.supervisor()) };
        if runs.flatten().is_none() {
            start_again(server);
        }
    }
}

fn start_again(server: Server<'_>) {
    let started = with_launch(server, |launch| {
        with_parent(Capacity::default(), |parent| parent.restart(launch))
    });
    match started {
        Ok(Some(pid)) => look_after::<Wsgi, Supervisor>(server.config_pool(), server, pid),
        // The monitor asks again.
        Ok(None) => {}
        Err(error) => {
            let text = format!("No process supervisor can be started: {error}.");
            relay::complain(server, &text);
        }
    }
}

/// Runs `f` with what a supervisor is started with: its program, the log, and a new relay.
fn with_launch<R>(
    server: Server<'_>,
    f: impl FnOnce(&Launch<'_>) -> io::Result<R>,
) -> io::Result<R> {
    let directory = support::directory().map_err(io::Error::other)?;
    let program = open(&directory.join(PROGRAM))?;
    let relay: Option<OwnedFd> = match relay::start(server) {
        Ok(channel) => Some(channel),
        Err(error) => {
            let text = format!("No process for the logs of daemon mode can be started: {error}.");
            relay::complain(server, &text);
            None
        }
    };
    let log = io::stderr();
    f(&Launch {
        program: program.as_fd(),
        log: log.as_fd(),
        relay: relay.as_ref().map(AsFd::as_fd),
    })
}

fn open(file: &Path) -> io::Result<File> {
    File::open(file).map_err(|error| {
        let text = format!("'{}' cannot be opened: {error}", file.display());
        io::Error::new(error.kind(), text)
    })
}

/// Runs `f` as the parent.
fn with_parent<R>(
    capacity: Capacity,
    f: impl FnOnce(&mut Parent<'_>) -> io::Result<R>,
) -> io::Result<R> {
    // SAFETY: in the parent's only thread, and what is kept is used here only. It is all zeroes or
    // as this left it.
    let result = unsafe {
        with_retained(KEPT, |Kept(kept): &mut Kept| match Parent::new(kept, capacity) {
            Ok(mut parent) => f(&mut parent),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                // Another version's supervisor ends when its workers have; its children still reach
                // it over descriptors of their own.
                kept.retire();
                *kept = Retained::EMPTY;
                f(&mut Parent::new(kept, capacity)?)
            }
            Err(error) => Err(error),
        })
    };
    result.unwrap_or_else(|| Err(io::Error::other("the server has no memory to keep data in")))
}
