//! The engine's side of the host table: safe calls.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::failure::{Failure, Fault};
use crate::host::{self, Host};
use crate::scoreboard::Scoreboard;
use crate::slice::{Bytes, Slice};
use crate::table::{Flags, Head, HostTable, Level, Record};

/// The server, for the request that is being handled.
///
/// `&mut self` everywhere: the border allows one call at a time per request.
pub struct Client<'a> {
    table: &'static HostTable,
    /// The context of a running `handle`, which lives for `'a`.
    context: *mut c_void,
    request: PhantomData<&'a mut ()>,
}

// SAFETY: the border's contract (see `Host`) lets calls come from any thread, one at a time, and
// `&mut self` makes it one at a time.
unsafe impl Send for Client<'_> {}

impl<'a> Client<'a> {
    /// # Safety
    /// `context` was passed to `handle` with `table` and the call lasts for `'a`. There is one
    /// `Client` for it.
    pub(crate) unsafe fn new(table: &'static HostTable, context: *mut c_void) -> Client<'a> {
        Client { table, context, request: PhantomData }
    }

    /// Runs `f` with a client of `host`, for an engine and a server in one program. `table` was made
    /// by [`crate::host_table`].
    pub fn with<R>(
        table: &'static HostTable,
        mut host: &mut dyn Host,
        f: impl FnOnce(Client<'_>) -> R,
    ) -> R {
        let context = host::context(&mut host);
        // SAFETY: the host is borrowed for longer than `f` runs, and by this client only; `f` cannot
        // keep it, for it works with any lifetime.
        f(unsafe { Client::new(table, context) })
    }

    /// Reads a part of the body; 0 at its end. May block: call it detached.
    ///
    /// # Errors
    /// What the server says.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut failure = Failure::new();
        // SAFETY: the context is alive and not in use (fields, `&mut self`); the buffer is ours.
        let n = unsafe {
            (self.table.read)(self.context, buffer.as_mut_ptr(), buffer.len(), &mut failure)
        };
        usize::try_from(n).map(|n| n.min(buffer.len())).map_err(|_| failure.fault())
    }

    /// Sends a part of the response. May block: call it detached.
    ///
    /// # Errors
    /// What the server says.
    pub fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault> {
        let mut failure = Failure::new();
        let head = head.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: as in `read`; head and chunks are borrowed for the call.
        let status = unsafe {
            (self.table.respond)(self.context, head, &Slice::new(chunks), flags, &mut failure)
        };
        if status < 0 { Err(failure.fault()) } else { Ok(()) }
    }

    /// [`Client::read`] without waiting; `None` if it would have to.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        if buffer.is_empty() {
            return Some(Ok(0));
        }
        let mut failure = Failure::new();
        // SAFETY: as in `read`.
        let n = unsafe {
            (self.table.try_read)(self.context, buffer.as_mut_ptr(), buffer.len(), &mut failure)
        };
        match usize::try_from(n) {
            Ok(n) => Some(Ok(n.min(buffer.len()))),
            Err(_) if n == -2 => None,
            Err(_) => Some(Err(failure.fault())),
        }
    }

    /// [`Client::respond`] without waiting; `None` if it would have to, and then that must be called
    /// with the same arguments, next.
    pub fn try_respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        let mut failure = Failure::new();
        let head = head.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: as in `respond`.
        let status = unsafe {
            (self.table.try_respond)(self.context, head, &Slice::new(chunks), flags, &mut failure)
        };
        match status {
            0 => Some(Ok(())),
            1 => None,
            _ => Some(Err(failure.fault())),
        }
    }

    /// Sends part of a file, says how much of it there was. May block: call it detached.
    ///
    /// # Errors
    /// What the server says.
    pub fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        let fd = file.as_raw_fd();
        let mut failure = Failure::new();
        let head = head.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: as in `read`; the head is borrowed for the call.
        let sent = unsafe {
            (self.table.send_file)(self.context, head, fd, offset, length, flags, &mut failure)
        };
        u64::try_from(sent).map_err(|_| failure.fault())
    }

    /// Whether the client is known to be gone.
    pub fn client_gone(&mut self) -> bool {
        // SAFETY: as in `read`.
        unsafe { (self.table.client_gone)(self.context) }
    }

    /// Whether mod_ssl says this connection is TLS.
    pub fn ssl_is_https(&mut self) -> bool {
        // SAFETY: as in `read`.
        unsafe { (self.table.ssl_is_https)(self.context) }
    }

    /// One of mod_ssl's variables; `None` without mod_ssl.
    pub fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let name = Bytes::new(name);
        let mut buffer = vec![0; 256];
        loop {
            // SAFETY: as in `read`; name and buffer are ours.
            let n = unsafe {
                let room = buffer.len();
                (self.table.ssl_var_lookup)(self.context, &name, buffer.as_mut_ptr(), room)
            };
            let n = usize::try_from(n).ok()?;
            let fits = n <= buffer.len();
            buffer.resize(n, 0);
            if fits {
                return Some(buffer);
            }
        }
    }

    /// Logs with this request.
    pub fn log(&mut self, records: &[Record<'_>]) {
        // SAFETY: as in `read`; the records are borrowed for the call.
        unsafe { (self.table.log)(self.context, &Slice::new(records)) }
    }

    /// The level down to which this request logs.
    pub fn level(&mut self) -> Level {
        // SAFETY: as in `read`.
        Level::from_raw(unsafe { (self.table.level)(self.context) })
    }

    /// The log without a request.
    pub fn server(&self) -> ServerLog {
        ServerLog { table: self.table }
    }
}

/// The server's log, and what else belongs to no request. Any thread.
#[derive(Clone, Copy)]
pub struct ServerLog {
    table: &'static HostTable,
}

impl ServerLog {
    /// The log of the host with this table.
    pub fn new(table: &'static HostTable) -> ServerLog {
        ServerLog { table }
    }

    /// Logs.
    pub fn log(&self, records: &[Record<'_>]) {
        // SAFETY: NULL is allowed for this function; the records are borrowed for the call.
        unsafe { (self.table.log)(ptr::null_mut(), &Slice::new(records)) }
    }

    /// The level down to which the server logs.
    pub fn level(&self) -> Level {
        // SAFETY: NULL is allowed for this function.
        Level::from_raw(unsafe { (self.table.level)(ptr::null_mut()) })
    }

    /// What the server knows of its processes; `None` if nobody is to know, or nobody knows. May take
    /// a moment: call it detached.
    pub fn scoreboard(&self) -> Option<Scoreboard> {
        unsafe extern "C" fn take(context: *mut c_void, bytes: *const Bytes<'_>) {
            // SAFETY: the context is that of the call below, which lasts; the bytes are valid.
            unsafe {
                *context.cast::<Option<Scoreboard>>() = Scoreboard::decode((*bytes).or_empty())
            }
        }
        let mut board: Option<Scoreboard> = None;
        // SAFETY: the function goes with the context, which nobody else uses meanwhile.
        unsafe { (self.table.scoreboard)(take, (&raw mut board).cast()) }
        board
    }
}
