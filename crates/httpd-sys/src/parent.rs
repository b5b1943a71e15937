//! What the parent does beside its configuration: what it keeps over restarts, processes of a
//! module that it looks after, its end.
//!
//! A module's image is unloaded and loaded again with each configuration, so what outlives one is
//! plain data in memory of the server, and what calls back is registered anew each time and goes
//! with the configuration's pool. <https://httpd.apache.org/docs/2.4/developer/modguide.html>

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::ptr;

use apr_sys as raw;

use crate::config::report;
use crate::guard::guarded;
use crate::module::Module;
use crate::mpm::Mpm;
use crate::pool::Pool;
use crate::server::Server;

/// Plain data that the server may keep for versions of a module to come.
///
/// # Safety
/// All zeroes is a value, so is what another version of the module has left, and dropping it does
/// nothing.
pub unsafe trait Retain: Copy + 'static {}

/// Bytes that are set aside, so that versions with more to keep find room.
const ROOM: usize = 512;

/// Runs `f` with what the server keeps under this name, all zeroes at first.
///
/// `None` where the server has no memory for it.
///
/// # Safety
/// In the parent's only thread, and not from within `f` for the same name.
pub unsafe fn with_retained<T: Retain, R>(name: &CStr, f: impl FnOnce(&mut T) -> R) -> Option<R> {
    const {
        assert!(size_of::<T>() <= ROOM && align_of::<T>() <= 8);
    }
    // SAFETY: memory of the process's pool, zeroed when it is made, large and aligned enough for
    // any `T`, which any content is a value of (contract of the trait); used by nobody else now (by
    // contract).
    unsafe {
        let mut kept = raw::ap_retained_data_get(name.as_ptr());
        if kept.is_null() {
            kept = raw::ap_retained_data_create(name.as_ptr(), ROOM);
        }
        Some(f(kept.cast::<T>().as_mut()?))
    }
}

/// A process of the module that has ended.
pub trait ProcessEnded {
    /// It has ended, or cannot be found, while the server goes on. Must not wait.
    fn ended(server: Server<'_>, pid: i32);
}

/// Has the server look after a child process until the configuration's pool is cleared.
pub fn look_after<M: Module, E: ProcessEnded>(config: Pool<'_>, server: Server<'_>, pid: i32) {
    // SAFETY: memory of the pool, with which the registration goes; the process is only looked at.
    unsafe {
        let process = raw::apr_palloc(config.as_ptr(), size_of::<Watched>()).cast::<Watched>();
        ptr::write_bytes(process, 0, 1);
        (*process).process.pid = pid;
        (*process).server = server.as_ptr();
        raw::apr_proc_other_child_register(
            &raw mut (*process).process,
            Some(maintenance::<M, E>),
            process.cast(),
            ptr::null_mut(),
            config.as_ptr(),
        );
    }
}

/// What [`maintenance`] gets.
#[repr(C)]
struct Watched {
    process: raw::apr_proc_t,
    server: *mut raw::server_rec,
}

unsafe extern "C" fn maintenance<M: Module, E: ProcessEnded>(
    reason: c_int,
    data: *mut c_void,
    _status: c_int,
) {
    guarded((), report::<M>, || {
        if reason != raw::APR_OC_REASON_DEATH as c_int && reason != raw::APR_OC_REASON_LOST as c_int
        {
            return;
        }
        // SAFETY: what `look_after` has registered, in memory of the configuration's pool, which is
        // there as long as the registration; the server is of the same configuration.
        let (pid, server) = unsafe {
            let watched = data.cast::<Watched>();
            let pid = (*watched).process.pid;
            raw::apr_proc_other_child_unregister(data);
            (pid, Server::from_raw((*watched).server))
        };
        if !Mpm.is_stopping() {
            E::ended(server, pid);
        }
    });
}

/// Has the end of a child wake the parent, until the configuration's pool is cleared.
///
/// The parent of a threaded MPM looks after its children once a second, so in a graceful restart a
/// child that was the last to serve may be replaced up to a second after its end. Its sleep is a
/// `select`, which any handler of a signal ends. Where somebody else handles the signal already, it
/// is theirs. In the parent's only thread, while the configuration is complete.
pub fn wake_at_end_of_child(config: Pool<'_>) {
    if !handle_end_of_child(libc::SIG_DFL, end_of_child as *const () as usize) {
        return;
    }
    let parent = std::process::id();
    // The handler is code of this image, which may be unloaded once the pool is gone (A13).
    config.at_end(move || {
        if std::process::id() == parent {
            handle_end_of_child(end_of_child as *const () as usize, libc::SIG_DFL);
        }
    });
}

/// Undoes [`wake_at_end_of_child`] in a child: what it runs should find the signal as usual. Before
/// it has threads.
pub fn ignore_end_of_child() {
    handle_end_of_child(end_of_child as *const () as usize, libc::SIG_DFL);
}

/// It is enough that it is called.
extern "C" fn end_of_child(_: c_int) {}

/// Replaces the handler of SIGCHLD if it is `from`; says whether it was.
fn handle_end_of_child(from: libc::sighandler_t, to: libc::sighandler_t) -> bool {
    // SAFETY: plain structures, filled before they are used. The handler does nothing, which is
    // allowed at any time, and is there as long as it is installed (A13). Calls that other parts of
    // the server wait in are begun again; `select` never is.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGCHLD, ptr::null(), &mut action) != 0
            || action.sa_sigaction != from
        {
            return false;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = to;
        action.sa_flags =
            if to == libc::SIG_DFL { 0 } else { libc::SA_RESTART | libc::SA_NOCLDSTOP };
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGCHLD, &action, ptr::null_mut()) == 0
    }
}

/// Whether the server ends, as opposed to reading its configuration again.
pub fn is_exiting() -> bool {
    // SAFETY: the query changes nothing.
    unsafe { raw::ap_state_query(raw::AP_SQ_MAIN_STATE) == raw::AP_SQ_MS_EXITING }
}

/// What a process that only writes logs is to do.
pub trait Relay {
    /// Does it, until nobody has anything for the log.
    fn run(server: Server<'_>, channel: File);
}

/// Forks a process that only writes this server's logs: it keeps their descriptors and `channel`,
/// has a session of its own, and calls `R` with the configuration as it is now. Its lines carry the
/// number of a process of its choice ([`crate::speak_as`]).
///
/// # Errors
/// There is no process to be had.
pub fn fork_relay<M: Module, R: Relay>(
    server: Server<'_>,
    channel: BorrowedFd<'_>,
) -> io::Result<()> {
    let channel = channel.as_raw_fd();
    let mut keep = log_descriptors(server);
    keep.extend([0, 1, 2, channel]);
    // SAFETY: the parent has one thread, so what it has allocated and locked is consistent in the
    // child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: in a process that nobody else is in: descriptors other than those to keep are
            // used no more; the channel was inherited and is used by nobody else here. It ends
            // without the server's clean-ups, which are the parent's.
            unsafe {
                libc::setsid();
                // The server would wonder about a child that it does not know.
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
                for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGUSR1, libc::SIGINT] {
                    libc::signal(signal, libc::SIG_IGN);
                }
                libc::signal(libc::SIGCHLD, libc::SIG_DFL);
                close_others(&keep);
                crate::speaker::speak_for_others(server);
                let file = File::from_raw_fd(channel);
                guarded((), report::<M>, || R::run(server, file));
                libc::_exit(0)
            }
        }
        pid => {
            // SAFETY: our own child, which ends at once.
            unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

/// The descriptors of all error logs.
fn log_descriptors(server: Server<'_>) -> Vec<RawFd> {
    let mut found = Vec::new();
    for server in server.and_following() {
        // SAFETY: alive; a log is NULL or an open file of the configuration's pool.
        unsafe {
            let log = (*server.as_ptr()).error_log;
            let mut fd = -1;
            if !log.is_null() && raw::apr_os_file_get(&mut fd, log) == raw::APR_SUCCESS && fd >= 0 {
                found.push(fd);
            }
        }
    }
    found
}

/// Closes all descriptors but these.
///
/// # Safety
/// Nobody in this process uses them.
unsafe fn close_others(keep: &[RawFd]) {
    let open: Vec<RawFd> = match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
        }
        Err(_) => (3..1024).collect(),
    };
    for fd in open.into_iter().filter(|fd| !keep.contains(fd)) {
        // SAFETY: by contract; closing what is not open does nothing.
        unsafe { libc::close(fd) };
    }
}
