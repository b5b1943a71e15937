//! The module's side of the host table: traits it implements, and the C functions over them.
//!
//! The context of a request is a thin pointer to a `&mut dyn Host` on the stack of
//! [`crate::Engine::handle`], so one table serves every type, and no lifetime has to be forgotten.

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::slice;

use crate::abi::Header;
use crate::failure::{Failure, Fault, FaultKind};
use crate::slice::{Bytes, Slice};
use crate::table::{Flags, Head, HostTable, Level, Record, TakeBytes};

/// What the engine needs from the server for one request.
///
/// Calls come one at a time and only while `handle` runs, but not always from the thread that
/// called it: an application may read its body in a thread of its own. No thread holds the GIL
/// during a call that may block; `log`, `level` and the questions should not block for long.
pub trait Host: Send {
    /// Reads up to `buffer.len()` bytes of the body, at least one unless at its end. The first call
    /// makes the client continue (`100-continue`).
    ///
    /// # Errors
    /// The body cannot be had; a [`Fault::status`] says how to answer if the application does not.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault>;

    /// Sends a part of the response: its head, once and first, then any number of chunks, none of
    /// which is empty. With [`Flags::END`] in the first call it is the whole response.
    ///
    /// # Errors
    /// The response cannot be sent; [`crate::FaultKind::ClientGone`] if there is nobody to get it.
    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault>;

    /// Sends part of a regular file, whose descriptor stays the caller's. Returns how many bytes
    /// the file really had.
    ///
    /// # Errors
    /// As [`Host::respond`].
    fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault>;

    /// [`Host::read`] without waiting; `None` if it would have to, and then [`Host::read`] is called.
    /// The calling thread may hold the GIL.
    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        let _ = buffer;
        None
    }

    /// [`Host::respond`] without waiting; `None` if it would have to, and then [`Host::respond`] is
    /// called with the same arguments, next: what is out already is not sent again. The calling
    /// thread may hold the GIL.
    fn try_respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        let _ = (head, chunks, flags);
        None
    }

    /// Whether the client is known to have closed the connection.
    fn client_gone(&mut self) -> bool;

    /// mod_ssl's answer for this connection.
    fn ssl_is_https(&mut self) -> bool;

    /// The value of one of mod_ssl's variables; `None` without mod_ssl.
    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>>;

    /// Logs records with this request.
    fn log(&mut self, records: &[Record<'_>]);

    /// The level down to which this request logs.
    fn level(&mut self) -> Level;
}

/// What the engine needs from the server outside of requests.
pub trait Server {
    /// Logs records with the server that is responsible for this process. Any thread.
    fn log(records: &[Record<'_>]);

    /// The level down to which that server logs. Any thread.
    fn level() -> Level;

    /// What the server knows of its processes, as [`Scoreboard`](crate::Scoreboard) writes it; `None`
    /// if applications are not to know, or nobody can be asked. Any thread, detached: it may take a
    /// moment.
    fn scoreboard() -> Option<Vec<u8>> {
        None
    }
}

/// The table over [`Host`] for requests and `S` for the rest.
pub const fn host_table<S: Server>() -> HostTable {
    HostTable {
        header: Header::of::<HostTable>(),
        read,
        respond,
        try_read,
        try_respond,
        send_file,
        client_gone,
        ssl_is_https,
        ssl_var_lookup,
        log: log::<S>,
        level: level::<S>,
        scoreboard: scoreboard::<S>,
    }
}

/// The context pointer for `host`, valid while the reference is borrowed.
pub(crate) fn context(host: &mut &mut dyn Host) -> *mut c_void {
    ptr::from_mut(host).cast()
}

/// Runs `body` over the host behind `context`; a panic becomes a fault.
///
/// # Safety
/// `context` came from [`context`], whose borrow is alive, and no other call uses it now.
unsafe fn with<T>(
    context: *mut c_void,
    body: impl FnOnce(&mut dyn Host) -> Result<T, Fault>,
) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by contract, a `&mut dyn Host` that nobody else uses during the call.
        let host: &mut &mut dyn Host = unsafe { &mut *context.cast() };
        body(*host)
    }))
    .unwrap_or_else(|panic| Err(Fault::panic(&*panic)))
}

/// Writes the fault and returns `failed` if there is one.
///
/// # Safety
/// `failure` is NULL or a buffer of the caller.
unsafe fn report<T>(result: Result<T, Fault>, failed: T, failure: *mut Failure) -> T {
    result.unwrap_or_else(|fault| {
        // SAFETY: by contract.
        if let Some(failure) = unsafe { failure.as_mut() } {
            failure.set(&fault);
        }
        failed
    })
}

unsafe extern "C" fn read(
    context: *mut c_void,
    buffer: *mut u8,
    room: usize,
    failure: *mut Failure,
) -> isize {
    // SAFETY: `Client` passes the context of a running request, a buffer it borrows mutably and
    // knows to be initialised, and its own failure buffer.
    unsafe {
        let result = with(context, |host| {
            let buffer = slice::from_raw_parts_mut(buffer, room);
            host.read(buffer).map(|n| n.min(room) as isize)
        });
        report(result, -1, failure)
    }
}

unsafe extern "C" fn respond(
    context: *mut c_void,
    head: *const Head<'_>,
    chunks: *const Slice<'_, Bytes<'_>>,
    flags: Flags,
    failure: *mut Failure,
) -> i32 {
    // SAFETY: `Client` passes the context of a running request and borrows of its own; `head` may
    // be NULL.
    unsafe {
        let result =
            with(context, |host| host.respond(head.as_ref(), (*chunks).get(), flags).map(|()| 0));
        report(result, -1, failure)
    }
}

unsafe extern "C" fn try_read(
    context: *mut c_void,
    buffer: *mut u8,
    room: usize,
    failure: *mut Failure,
) -> isize {
    // SAFETY: as `read`.
    unsafe {
        let result = with(context, |host| {
            let buffer = slice::from_raw_parts_mut(buffer, room);
            host.try_read(buffer).map_or(Ok(-2), |read| read.map(|n| n.min(room) as isize))
        });
        report(result, -1, failure)
    }
}

unsafe extern "C" fn try_respond(
    context: *mut c_void,
    head: *const Head<'_>,
    chunks: *const Slice<'_, Bytes<'_>>,
    flags: Flags,
    failure: *mut Failure,
) -> i32 {
    // SAFETY: as `respond`.
    unsafe {
        let result = with(context, |host| {
            let done = host.try_respond(head.as_ref(), (*chunks).get(), flags);
            done.map_or(Ok(1), |sent| sent.map(|()| 0))
        });
        report(result, -1, failure)
    }
}

unsafe extern "C" fn send_file(
    context: *mut c_void,
    head: *const Head<'_>,
    fd: i32,
    offset: u64,
    length: u64,
    flags: Flags,
    failure: *mut Failure,
) -> i64 {
    if fd < 0 {
        let fault = Fault::new(FaultKind::Other, "no open file");
        // SAFETY: as `respond`.
        return unsafe { report(Err(fault), -1, failure) };
    }
    // SAFETY: as `respond`; `Client` lends an open descriptor for the length of the call.
    unsafe {
        let file = BorrowedFd::borrow_raw(fd);
        let result = with(context, |host| {
            let sent = host.send_file(head.as_ref(), file, offset, length, flags)?;
            Ok(i64::try_from(sent).unwrap_or(i64::MAX))
        });
        report(result, -1, failure)
    }
}

unsafe extern "C" fn client_gone(context: *mut c_void) -> bool {
    // SAFETY: `Client` passes the context of a running request.
    unsafe { with(context, |host| Ok(host.client_gone())) }.unwrap_or(false)
}

unsafe extern "C" fn ssl_is_https(context: *mut c_void) -> bool {
    // SAFETY: `Client` passes the context of a running request.
    unsafe { with(context, |host| Ok(host.ssl_is_https())) }.unwrap_or(false)
}

unsafe extern "C" fn ssl_var_lookup(
    context: *mut c_void,
    name: *const Bytes<'_>,
    buffer: *mut u8,
    room: usize,
) -> isize {
    // SAFETY: `Client` passes the context of a running request, a name and a buffer of `room`
    // bytes, both of its own.
    unsafe {
        let value = with(context, |host| Ok(host.ssl_var_lookup((*name).or_empty())));
        let Ok(Some(value)) = value else {
            return -1;
        };
        ptr::copy_nonoverlapping(value.as_ptr(), buffer, value.len().min(room));
        value.len() as isize
    }
}

unsafe extern "C" fn log<S: Server>(context: *mut c_void, records: *const Slice<'_, Record<'_>>) {
    // SAFETY: `Client` and `ServerLog` pass records of their own; the context is that of a running
    // request, or NULL. A panic while logging has nowhere to go.
    unsafe {
        let records = (*records).get();
        if context.is_null() {
            let _ = catch_unwind(|| S::log(records));
        } else {
            let _ = with(context, |host| {
                host.log(records);
                Ok(())
            });
        }
    }
}

unsafe extern "C" fn level<S: Server>(context: *mut c_void) -> u32 {
    if context.is_null() {
        return catch_unwind(|| S::level()).unwrap_or(Level::Error) as u32;
    }
    // SAFETY: the context of a running request.
    unsafe { with(context, |host| Ok(host.level())) }.unwrap_or(Level::Error) as u32
}

unsafe extern "C" fn scoreboard<S: Server>(take: TakeBytes, context: *mut c_void) {
    if let Ok(Some(bytes)) = catch_unwind(|| S::scoreboard()) {
        // SAFETY: `ServerLog` passes a function with the context that goes with it.
        unsafe { take(context, &Bytes::new(&bytes)) }
    }
}
