//! Descriptors by number: what a process must do around `exec`, and to leave low numbers free.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Moves a descriptor to `floor` or above if the limit allows, so that an application which uses
/// `select`, and can only use descriptors below 1024 for that, finds them free.
pub(crate) fn above(fd: OwnedFd, floor: RawFd) -> OwnedFd {
    if fd.as_raw_fd() >= floor {
        return fd;
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, floor) };
    if copy < 0 {
        return fd;
    }
    // SAFETY: a new descriptor of which nobody else knows.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

/// Makes `number` a copy of `fd` that survives `exec`; closes what was there. For use between
/// `fork` and `exec`: async-signal-safe.
///
/// # Safety
/// Nobody owns `number`, unless it is 0, 1 or 2.
pub(crate) unsafe fn place(fd: RawFd, number: RawFd) -> io::Result<()> {
    // SAFETY: a system call on numbers; what `number` was is nobody's, by contract.
    if unsafe { libc::dup2(fd, number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if fd == number {
        // dup2 does nothing then, and the flag stays.
        // SAFETY: F_SETFD takes a number.
        if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on. For use between `fork` and `exec`: async-signal-safe.
///
/// # Safety
/// Nothing in this process uses them any more.
pub(crate) unsafe fn close_from(first: RawFd) {
    // SAFETY: a system call on numbers; by contract nobody misses what it closes.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if done == 0 {
        return;
    }
    // Before Linux 5.9, or in a sandbox: one by one, up to the limit there is.
    // SAFETY: all zeroes is an rlimit; getrlimit writes one.
    let limit = unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        match libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) {
            0 => limit.rlim_cur.min(1 << 20) as RawFd,
            _ => 65_536,
        }
    };
    for fd in first..limit {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// Makes `exec` close it.
pub(crate) fn set_cloexec(fd: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?)
}
