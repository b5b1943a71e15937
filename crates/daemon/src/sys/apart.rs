//! Closing what may take long where no thread can be had for it.
//!
//! Who closes a file last may have to wait (see [`super::Closer`]). Apache's parent has no threads, since
//! its image may be unloaded; it forks. The other process has copies and closes them with its end, at
//! which the system lets nothing linger.
//!
//! <https://man7.org/linux/man-pages/man7/socket.7.html>

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

/// Closes them, and waits for nothing but a process to start. If none can be started, they stay open.
pub(crate) fn close_apart(fds: Vec<OwnedFd>) {
    if fds.is_empty() {
        return;
    }
    let Ok((told, tells)) = pipe_with(PipeFlags::CLOEXEC) else { return leave(fds) };
    // SAFETY: the child makes a few system calls, on numbers, and ends (L1).
    match unsafe { libc::fork() } {
        -1 => leave(fds),
        // SAFETY: in the child, where nobody else uses the pipe.
        0 => unsafe { outlast(told.as_raw_fd(), tells.as_raw_fd()) },
        child => {
            while let Some(child) = Pid::from_raw(child)
                && let Err(Errno::INTR) = waitpid(Some(child), WaitOptions::empty())
            {}
            drop(fds);
            drop(tells);
        }
    }
}

/// Leaves them to the end of this process.
fn leave(fds: Vec<OwnedFd>) {
    for fd in fds {
        let _ = fd.into_raw_fd();
    }
}

/// Has a process that is nobody's child live until the other end of the pipe is closed.
///
/// # Safety
/// In a forked child; the numbers are of a pipe that is not used otherwise.
unsafe fn outlast(told: RawFd, tells: RawFd) -> ! {
    // SAFETY: system calls on numbers, and one byte that is there.
    unsafe {
        if libc::fork() == 0 {
            libc::close(tells);
            let mut byte = 0u8;
            while libc::read(told, (&raw mut byte).cast(), 1) < 0
                && *libc::__errno_location() == libc::EINTR
            {}
        }
        libc::_exit(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::{alone, is_shut, pair, send, slow};

    #[test]
    fn what_lies_unread_in_a_socket_keeps_nobody() {
        let _alone = alone();
        let begun = Instant::now();
        let (end, far) = slow(Duration::from_secs(600));
        let (near, other) = pair().unwrap();
        send(other.as_fd(), b"x", &[end.as_fd()], false).unwrap();
        drop(end);
        close_apart(vec![near]);
        scenario::patience::until("the end of what lay in it", || is_shut(other.as_fd()));
        assert!(begun.elapsed() < Duration::from_secs(60));
        drop(far);
    }
}
