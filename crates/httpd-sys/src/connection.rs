//! Connections. Under HTTP/2 a stream has one of its own (A3), so none may be kept.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::time::Duration;

use apr_sys as raw;

use crate::text::bytes;

/// The connection of a request.
#[derive(Clone, Copy)]
pub struct Connection<'r> {
    /// Alive for `'r`, on the thread of its request.
    raw: NonNull<raw::conn_rec>,
    life: PhantomData<&'r ()>,
}

impl<'r> Connection<'r> {
    /// # Safety
    /// `connection` is alive for `'r` and belongs to this thread.
    pub(crate) unsafe fn from_raw(connection: *mut raw::conn_rec) -> Connection<'r> {
        // SAFETY: by contract.
        Connection { raw: unsafe { NonNull::new_unchecked(connection) }, life: PhantomData }
    }

    /// The C pointer.
    pub fn as_ptr(self) -> *mut raw::conn_rec {
        self.raw.as_ptr()
    }

    /// Whether the server knows that the client is gone.
    pub fn aborted(self) -> bool {
        // SAFETY: alive (field); read through a copy of no reference's lifetime.
        unsafe { (*self.as_ptr()).aborted != 0 }
    }

    /// Has the connection closed after this response.
    pub fn close_after_response(self) {
        // SAFETY: alive, and the request's thread is the one that may write.
        unsafe { (*self.as_ptr()).keepalive = raw::AP_CONN_CLOSE }
    }

    /// Sets how long a read or a write may wait for the client, and returns how long it might so
    /// far. `None`, with nothing set, where the connection is a stream among others, which share
    /// that time.
    pub fn set_timeout(self, time: Duration) -> Option<Duration> {
        // SAFETY: alive, and the request's thread is the one that may use its socket.
        unsafe {
            let socket = self.raw_socket()?;
            // One that waits for ever, which the server has no use for, is left alone.
            let before = self.timeout()?;
            let new = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
            raw::apr_socket_timeout_set(socket, new);
            Some(before)
        }
    }

    /// How long a read or a write may wait for the client; `None` where that is not this
    /// connection's to say, as with a stream among others, or has no end.
    pub fn timeout(self) -> Option<Duration> {
        let socket = self.raw_socket()?;
        let mut time = 0;
        // SAFETY: a socket of this connection, which is alive.
        unsafe { raw::apr_socket_timeout_get(socket, &mut time) };
        Some(Duration::from_micros(u64::try_from(time).ok()?))
    }

    /// The socket, to wait for; `None` where it is not this connection's own.
    pub fn socket(self) -> Option<BorrowedFd<'r>> {
        let socket = self.raw_socket()?;
        let mut fd = -1;
        // SAFETY: a socket of this connection, which is open as long as the connection lives, unless
        // APR says that it is not (-1).
        unsafe {
            let status = raw::apr_os_sock_get(&mut fd, socket);
            (status == raw::APR_SUCCESS && fd >= 0).then(|| BorrowedFd::borrow_raw(fd))
        }
    }

    fn raw_socket(self) -> Option<*mut raw::apr_socket_t> {
        // SAFETY: alive; a secondary connection would give its primary one's, which others use.
        unsafe {
            if !(*self.as_ptr()).master.is_null() {
                return None;
            }
            let socket = raw::ap_get_conn_socket(self.as_ptr());
            (!socket.is_null()).then_some(socket)
        }
    }

    /// Whether the server keeps something for the client that the socket did not take.
    pub fn has_unsent(self) -> bool {
        // SAFETY: alive.
        unsafe { (*self.as_ptr()).data_in_output_filters != 0 }
    }

    /// Whether the server means to take another request from it after this response.
    pub fn is_kept(self) -> bool {
        // SAFETY: alive.
        let connection = unsafe { &*self.as_ptr() };
        connection.keepalive == raw::AP_CONN_KEEPALIVE && connection.aborted == 0
    }

    /// Waits until the client has sent something, or is gone, at most so long; says which.
    pub fn wait_for_input(self, longest: Duration) -> bool {
        let Some(socket) = self.socket() else { return false };
        #[cfg(target_os = "linux")]
        {
            let mut fd = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let time = libc::timespec {
                tv_sec: longest.as_secs() as libc::time_t,
                tv_nsec: longest.subsec_nanos() as libc::c_long,
            };
            // SAFETY: one descriptor, which is open; a time; no signal mask.
            unsafe { libc::ppoll(&mut fd, 1, &time, std::ptr::null()) > 0 }
        }
        #[cfg(not(target_os = "linux"))]
        {
            // Milliseconds are too long.
            let _ = (socket.as_raw_fd(), longest);
            false
        }
    }

    /// Sends as much as the socket takes now of what the server keeps, as event-driven MPMs do once
    /// a request is over. Does not wait.
    pub fn push_unsent(self) -> bool {
        // SAFETY: alive. The last filter of a connection is the server's own, which takes NULL for
        // "send what you have"; filters live as long as their connection.
        unsafe {
            let mut filter = (*self.as_ptr()).output_filters;
            while let Some(next) = filter.as_ref().map(|it| it.next).filter(|it| !it.is_null()) {
                filter = next;
            }
            let Some(record) = filter.as_ref().and_then(|it| it.frec.as_ref()) else {
                return false;
            };
            // Another one in its place would make nothing of NULL.
            if bytes(record.name) != Some(b"core") {
                return false;
            }
            let Some(send) = record.filter_func.out_func else { return false };
            // An error shows in the connection, and in whatever is sent next.
            let _ = send(filter, std::ptr::null_mut());
            true
        }
    }

    /// Our address.
    pub fn local_ip(self) -> &'r [u8] {
        // SAFETY: alive; a string of the connection or NULL (A8).
        unsafe { bytes((*self.as_ptr()).local_ip) }.unwrap_or_default()
    }

    /// Our host name, if it was looked up.
    pub fn local_host(self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes((*self.as_ptr()).local_host) }
    }

    /// The host name in our address, if it has one.
    pub fn local_address_hostname(self) -> Option<&'r [u8]> {
        // SAFETY: as above; an address lives with its connection.
        unsafe { bytes((*self.as_ptr()).local_addr.as_ref()?.hostname) }
    }

    /// The port we listen on.
    pub fn local_port(self) -> u16 {
        // SAFETY: alive; an address lives with its connection, or is NULL.
        unsafe { (*self.as_ptr()).local_addr.as_ref().map_or(0, |address| address.port) }
    }

    /// The port of the peer.
    pub fn peer_port(self) -> u16 {
        // SAFETY: as above.
        unsafe { (*self.as_ptr()).client_addr.as_ref().map_or(0, |address| address.port) }
    }

    /// The identifier in the log, if one was made.
    pub fn log_id(self) -> Option<&'r [u8]> {
        // SAFETY: alive; a string or NULL (A8).
        unsafe { bytes((*self.as_ptr()).log_id) }
    }
}
