//! Signals to the supervisor, as messages.
//!
//! It has one thread and starts no programs but workers, which get a clean mask; so the signals are
//! simply held back and read.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// See the module.
#[derive(Debug)]
pub(super) struct Signals {
    fd: OwnedFd,
}

/// Faults of this program, which end it. All others are held back, to be read: two of them say that it
/// is to end, one that a child has ended, and the rest are not for us and must not end us either: a
/// terminal may be closed, and somebody may mean the server.
const FAULTS: [libc::c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
];

impl Signals {
    /// Holds signals back from now on.
    pub(super) fn new() -> io::Result<Signals> {
        // SAFETY: all zeroes is storage for a set, which sigfillset makes one; the calls change
        // this process only, and signalfd makes a descriptor that is ours.
        unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&mut set);
            for signal in FAULTS {
                libc::sigdelset(&mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals { fd: OwnedFd::from_raw_fd(fd) })
        }
    }

    /// What becomes readable when one has come.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next one, if there is one.
    pub(super) fn take(&self) -> Option<libc::c_int> {
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: all zeroes is a siginfo; read writes at most one.
        unsafe {
            let mut info: libc::signalfd_siginfo = mem::zeroed();
            let count = libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size);
            (count == size as isize).then_some(info.ssi_signo as libc::c_int)
        }
    }
}
