//! Record locks: who is alive, told by the kernel.
//!
//! A process that locks byte *n* of a file holds it until it ends, however it ends. A lock is not
//! inherited by `fork`, so no forked child hides a death, and it is there for whoever asks, so it
//! survives the asker. That is why this is a POSIX lock and not one of an open file description,
//! which forked children share. In return the process must never close any descriptor of that file.
//!
//! <https://man7.org/linux/man-pages/man2/fcntl_locking.2.html>

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Locks one byte for this process; `false` if another has it.
pub(crate) fn lock(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    match call(fd, libc::F_SETLK, libc::F_WRLCK, byte) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives a lock of this process back.
pub(crate) fn unlock(fd: BorrowedFd<'_>, byte: u64) -> io::Result<()> {
    call(fd, libc::F_SETLK, libc::F_UNLCK, byte).map(|_| ())
}

/// Whether another process has the byte. A lock of this process does not count.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, byte: u64) -> io::Result<bool> {
    Ok(call(fd, libc::F_GETLK, libc::F_WRLCK, byte)? != libc::F_UNLCK)
}

fn call(fd: BorrowedFd<'_>, command: i32, kind: i32, byte: u64) -> io::Result<i32> {
    let Ok(start) = libc::off_t::try_from(byte) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: these commands read and write one flock.
    match unsafe { libc::fcntl(fd.as_raw_fd(), command, &mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(i32::from(lock.l_type)),
    }
}
