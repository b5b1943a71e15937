//! Starting the supervisor: fork, a session of its own, exec.
//!
//! A session of its own, because signals that a server sends to its group, or a terminal to its
//! processes, are not meant for it. It gets exactly the descriptors it is to have, by number. The
//! program is run by its descriptor and not by its path.
//!
//! The server's parent may be any program, so between `fork` and `exec` there is nothing that is not
//! async-signal-safe (fact L1 in SAFETY.md).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{Launch, Retained};
use crate::supervisor::given;
use crate::sys::{above, close_from, default_signals, place};

unsafe extern "C" {
    /// The environment of this process, as `exec` passes it on.
    static environ: *const *const libc::c_char;
}

/// The number of the program's descriptor, above the ones that are passed on.
const PROGRAM: RawFd = 9;

/// Starts a supervisor with `control` as its end of the socket to us. Returns its process.
pub(super) fn start(retained: &Retained, control: OwnedFd, launch: &Launch<'_>) -> io::Result<i32> {
    // SAFETY: getpid always succeeds.
    let parent = unsafe { libc::getpid() };
    let capacity = retained.capacity;
    let mut args = vec![c"wsgi-supervisor".to_owned()];
    for number in [parent as u32, capacity.groups, capacity.slots, capacity.children] {
        args.push(CString::new(number.to_string()).map_err(io::Error::from)?);
    }
    let pointers: Vec<_> =
        args.iter().map(|arg| arg.as_ptr()).chain(std::iter::once(ptr::null())).collect();
    let null: OwnedFd = std::fs::OpenOptions::new().read(true).open("/dev/null")?.into();
    let log = launch.log.as_raw_fd();
    let sources = [
        null.as_raw_fd(),
        log,
        log,
        control.as_raw_fd(),
        retained.connections,
        retained.inlet,
        retained.outlet,
        retained.board,
        retained.cells,
        retained.program,
    ];
    // Above the numbers they are to have, so that none is overwritten before it was copied.
    let mut copies = Vec::with_capacity(sources.len());
    for source in sources {
        // SAFETY: the descriptors are open for this call; the copy is ours.
        let source = unsafe { std::os::fd::BorrowedFd::borrow_raw(source) };
        copies.push(above(source.try_clone_to_owned()?, 64));
    }
    let numbers: Vec<RawFd> = copies.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the child only makes system calls on what was prepared, then execs or ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: in the child, once, with open sources above their places.
        0 => unsafe { become_supervisor(&numbers, &pointers) },
        pid => Ok(pid),
    }
}

/// # Safety
/// In a forked child in which nothing else runs; `sources` are open and above the numbers they are
/// copied to; `args` are C strings up to a NULL.
unsafe fn become_supervisor(sources: &[RawFd], args: &[*const libc::c_char]) -> ! {
    // SAFETY: system calls on numbers and prepared data; nothing in this process is used again.
    unsafe {
        libc::setsid();
        for (number, source) in sources.iter().enumerate() {
            if place(*source, number as RawFd).is_err() {
                libc::_exit(255);
            }
        }
        libc::fcntl(PROGRAM, libc::F_SETFD, libc::FD_CLOEXEC);
        close_from(PROGRAM + 1);
        if default_signals().is_err() {
            libc::_exit(255);
        }
        // Nobody's directory is kept busy by a process that outlives configurations.
        libc::chdir(c"/".as_ptr());
        let (argv, envp) = (args.as_ptr(), environ);
        let empty = c"".as_ptr();
        libc::syscall(libc::SYS_execveat, PROGRAM, empty, argv, envp, libc::AT_EMPTY_PATH);
        // In a sandbox that does not know this call.
        libc::execve(c"/proc/self/fd/9".as_ptr(), argv, envp);
        libc::_exit(255)
    }
}

const _: () = assert!(
    given::PARENT == 3
        && given::CHILDREN == 4
        && given::INLET == 5
        && given::OUTLET == 6
        && given::BOARD == 7
        && given::CELLS == 8
        && PROGRAM == 9
);
