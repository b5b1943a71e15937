//! Bytes in and out of a child's end of a connection, with an eye on the time and on the worker.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};

/// Whether there is something to receive, or the end of it, within `limit`.
pub(super) fn is_readable(socket: BorrowedFd<'_>, limit: Duration) -> bool {
    let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    !matches!(poll(&mut fds, Some(&timeout)), Ok(0))
}

/// Whether a socket takes bytes now, or is broken, which a write will tell.
pub fn is_writable(socket: BorrowedFd<'_>) -> bool {
    wait_for(None, socket, Duration::ZERO).1
}

/// Waits until one socket has something to receive or the other takes bytes; says which.
pub(super) fn wait_for(
    readable: Option<BorrowedFd<'_>>,
    writable: BorrowedFd<'_>,
    limit: Duration,
) -> (bool, bool) {
    let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let first = PollFd::from_borrowed_fd(writable, PollFlags::OUT);
    let done = match readable {
        Some(readable) => {
            let mut fds = [first, PollFd::from_borrowed_fd(readable, PollFlags::IN)];
            poll(&mut fds, Some(&timeout)).map(|_| fds.map(|fd| !fd.revents().is_empty()))
        }
        None => {
            let mut fds = [first];
            poll(&mut fds, Some(&timeout)).map(|_| [!fds[0].revents().is_empty(), false])
        }
    };
    match done {
        Ok([writable, readable]) => (readable, writable),
        // Whoever asks will ask again.
        Err(Errno::INTR) => (false, false),
        // What is wrong is told by the next call.
        Err(_) => (readable.is_some(), true),
    }
}

/// Receives, waiting no longer than this.
///
/// By `poll`, which is woken by what comes. A thread that waits in `recv` is also woken when the other
/// end takes what was sent to it, since there is room then; it would find nothing and wait again.
pub(super) fn receive_within(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    longest: Duration,
) -> Result<usize, Errno> {
    let timeout =
        Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    if poll(&mut fds, Some(&timeout))? == 0 {
        return Err(Errno::AGAIN);
    }
    recv(socket, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count)
}

/// Sends all pieces; [`io::ErrorKind::WouldBlock`] if nothing moves for `timeout`, and
/// [`io::ErrorKind::BrokenPipe`] if nobody will ever read it.
pub(super) fn send_all(
    socket: BorrowedFd<'_>,
    pieces: &[&[u8]],
    timeout: Duration,
    is_over: impl Fn() -> bool,
) -> io::Result<()> {
    let mut left: Vec<IoSlice<'_>> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| IoSlice::new(piece)).collect();
    let mut left = &mut left[..];
    // The clock is not asked before something has to be waited for.
    let mut stuck = None;
    while !left.is_empty() {
        let flags = SendFlags::NOSIGNAL;
        let sent = match left {
            [one] => rustix::net::send(socket, one, flags),
            _ => sendmsg(socket, left, &mut SendAncillaryBuffer::default(), flags),
        };
        match sent {
            Ok(count) => {
                IoSlice::advance_slices(&mut left, count);
                stuck = None;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if is_over() => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(Errno::AGAIN) if stuck.get_or_insert_with(Instant::now).elapsed() < timeout => {}
            // The other end was closed with something unread in it; nothing new was read either.
            Err(Errno::CONNRESET) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
