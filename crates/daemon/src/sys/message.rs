//! Messages with descriptors.
//!
//! Whatever a message brings that the reader has no use for is closed again: nothing that somebody
//! sends stays open. But closing may take as long as the sender likes, so all of it is handed out, and
//! the kernel is left nothing to close on its own: there is room for as many as it passes on.
//!
//! <https://man7.org/linux/man-pages/man3/cmsg.3.html>

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// Most descriptors in a message. A sender who adds more loses them all.
const MAX_FDS: usize = 4;
/// Most that the kernel passes on with one (`SCM_MAX_FD`).
const KERNELS_MOST: usize = 253;

/// Room for `KERNELS_MOST` descriptors, aligned as `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; ROOM]);

const ROOM: usize = 1056;

// SAFETY: CMSG_SPACE only computes.
const _: () =
    assert!(unsafe { libc::CMSG_SPACE((KERNELS_MOST * size_of::<RawFd>()) as u32) } <= ROOM as u32);
const _: () = assert!(MAX_FDS <= KERNELS_MOST);

/// What came with a message.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes written to the buffer. 0 is the end of the stream or an empty message.
    pub(crate) length: usize,
    /// The message was longer than the buffer, or had more descriptors than could be taken.
    pub(crate) cut: bool,
    /// Descriptors, close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// Those of a message that was cut: only to be closed.
    pub(crate) strays: Vec<OwnedFd>,
}

/// Receives one message.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: bool,
) -> io::Result<Received> {
    let mut control = MaybeUninit::<Control>::uninit();
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is an empty msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>();
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let length = loop {
        // SAFETY: the header points at one buffer and room for control data, both writable for the
        // lengths given and alive.
        let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) };
        if length >= 0 {
            break length as usize;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    let mut received = Received {
        length,
        cut: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        fds: Vec::new(),
        strays: Vec::new(),
    };
    // SAFETY: recvmsg filled `msg_control` and set its length; the CMSG functions stay within it,
    // and each payload is at least as long as `cmsg_len` says. Descriptors that arrive are ours and
    // nobody else's.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&header);
        while !message.is_null() {
            let data = libc::CMSG_DATA(message);
            let length = ((*message).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            if ((*message).cmsg_level, (*message).cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS)
            {
                for index in 0..length / size_of::<RawFd>() {
                    let fd = data.cast::<RawFd>().add(index).read_unaligned();
                    received.fds.push(OwnedFd::from_raw_fd(fd));
                }
            }
            message = libc::CMSG_NXTHDR(&header, message);
        }
    }
    received.cut |= received.fds.len() > MAX_FDS;
    if received.cut {
        received.strays = mem::take(&mut received.fds);
    }
    Ok(received)
}

/// Sends one message whole, with at most four descriptors. Never raises SIGPIPE.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<()> {
    let mut control = Control([0; ROOM]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes is an empty msghdr.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        if fds.len() > MAX_FDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let length = size_of_val(fds) as u32;
        header.msg_control = (&raw mut control).cast();
        // SAFETY: there is room for MAX_FDS descriptors (asserted above), so CMSG_FIRSTHDR and
        // CMSG_DATA point into `control`; a BorrowedFd is a RawFd in memory.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(length) as usize;
            let message = libc::CMSG_FIRSTHDR(&header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(length) as usize;
            fds.as_ptr()
                .cast::<u8>()
                .copy_to_nonoverlapping(libc::CMSG_DATA(message), length as usize);
        }
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    loop {
        // SAFETY: the header points at readable bytes and control data of the lengths given.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, flags) };
        if sent >= 0 {
            return match sent as usize == bytes.len() {
                true => Ok(()),
                false => Err(io::ErrorKind::WriteZero.into()),
            };
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Two ends of a channel of messages, close-on-exec.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Two ends of a connection, close-on-exec, both of which give up after `timeout`.
pub(crate) fn stream_pair(timeout: Duration) -> io::Result<(OwnedFd, OwnedFd)> {
    let (near, far) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for end in [near.as_fd(), far.as_fd()] {
        set_socket_timeout(end, Timeout::Recv, Some(timeout))?;
        set_socket_timeout(end, Timeout::Send, Some(timeout))?;
    }
    Ok((near, far))
}

/// Has the kernel refuse descriptors that somebody sends to this socket, as far as it can (Linux 6.16);
/// says whether it does. Otherwise what comes is closed as it is received, by the thread that receives.
pub(crate) fn refuse_descriptors(socket: BorrowedFd<'_>) -> bool {
    /// `SO_PASSRIGHTS` on these machines.
    const PASS_RIGHTS: Option<libc::c_int> = if cfg!(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "arm",
        target_arch = "riscv64"
    )) {
        Some(83)
    } else {
        None
    };
    let Some(option) = PASS_RIGHTS else { return false };
    let no: libc::c_int = 0;
    let length = size_of_val(&no) as libc::socklen_t;
    let value = (&raw const no).cast();
    // SAFETY: reads one int.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length) == 0 }
}

/// How many of the bytes sent on a unix socket its peer has not read yet (in units of the kernel's
/// bookkeeping: more than was sent, but 0 is 0).
pub(crate) fn unread(socket: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: TIOCOUTQ, which is SIOCOUTQ, writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut count) };
    if result < 0 { 0 } else { count.max(0) as usize }
}

/// Whether something waits on a stream to be read, and so possibly descriptors.
pub(crate) fn waits(socket: BorrowedFd<'_>) -> bool {
    rustix::io::ioctl_fionread(socket).map_or(true, |count| count > 0)
}

/// Whether nothing will come on a socket any more: the other end is closed, or somebody who has it has
/// shut it down. A message may be empty, so receiving nothing does not say so.
pub(crate) fn is_shut(socket: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_arrive() {
        let (near, far) = pair().unwrap();
        let (one, two) = pair().unwrap();
        send(near.as_fd(), b"hello", &[one.as_fd(), two.as_fd()], false).unwrap();
        let mut buffer = [0; 64];
        let received = receive(far.as_fd(), &mut buffer, true).unwrap();
        assert_eq!(&buffer[..received.length], b"hello");
        assert_eq!(received.fds.len(), 2);
        assert!(!received.cut);
        // The descriptors are the ones that were sent.
        send(received.fds[0].as_fd(), b"x", &[], false).unwrap();
        assert_eq!(receive(two.as_fd(), &mut buffer, false).unwrap().length, 1);
        drop(near);
        assert_eq!(receive(far.as_fd(), &mut buffer, true).unwrap().length, 0);
    }

    #[test]
    fn a_message_that_is_too_long_is_cut_and_loses_its_descriptors() {
        let (near, far) = pair().unwrap();
        send(near.as_fd(), &[7; 100], &[near.as_fd()], false).unwrap();
        let mut buffer = [0; 10];
        let received = receive(far.as_fd(), &mut buffer, true).unwrap();
        assert!(received.cut && received.fds.is_empty());
        assert_eq!(received.strays.len(), 1, "for whoever received it to close");
        let full = [near.as_fd(); 5];
        assert!(send(near.as_fd(), b"x", &full, false).is_err());
        assert_eq!(
            receive(far.as_fd(), &mut buffer, false).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    }

    #[test]
    fn descriptors_can_be_refused() {
        let (near, far) = stream_pair(Duration::from_secs(1)).unwrap();
        if !refuse_descriptors(near.as_fd()) {
            let release = rustix::system::uname().release().to_string_lossy().into_owned();
            let numbers: Vec<u32> =
                release.split('.').map_while(|part| part.parse().ok()).collect();
            assert!(numbers[..] < [6, 16][..], "Linux {release} can");
            return;
        }
        assert!(send(far.as_fd(), b"x", &[far.as_fd()], false).is_err());
        send(far.as_fd(), b"x", &[], false).unwrap();
        send(near.as_fd(), b"x", &[near.as_fd()], false).unwrap();
        assert_eq!(receive(far.as_fd(), &mut [0; 8], false).unwrap().fds.len(), 1);
    }

    #[test]
    fn an_empty_message_is_no_end() {
        let (near, far) = pair().unwrap();
        send(near.as_fd(), b"", &[], false).unwrap();
        assert!(!is_shut(far.as_fd()));
        assert_eq!(receive(far.as_fd(), &mut [0; 8], false).unwrap().length, 0);
        let same = near.try_clone().unwrap();
        rustix::net::shutdown(&same, rustix::net::Shutdown::Write).unwrap();
        assert!(is_shut(far.as_fd()), "though it is open");
    }

    #[test]
    fn unread_bytes_are_seen_from_the_other_end() {
        let (near, far) = stream_pair(Duration::from_secs(1)).unwrap();
        assert_eq!(unread(near.as_fd()), 0);
        assert!(!waits(far.as_fd()));
        rustix::net::send(&near, b"abc", rustix::net::SendFlags::empty()).unwrap();
        assert!(unread(near.as_fd()) > 0 && waits(far.as_fd()));
        let mut buffer = [0; 8];
        assert_eq!(receive(far.as_fd(), &mut buffer, false).unwrap().length, 3);
        assert_eq!(unread(near.as_fd()), 0);
    }
}
