//! What the engine needs from a server, for one request and for its log.
//!
//! The engine owns these traits, in hyper's manner, so that anything can drive it: a module in
//! Apache, a daemon's worker, an embedding server, a test. Methods that may wait for a client or a
//! disk are called while the thread is **detached** from Python; a host that can also try without
//! waiting says so with [`Host::try_read`] and [`Host::try_respond`], and spares the engine the
//! detaching. Left out on purpose: asynchronous forms. WSGI blocks a thread per request.

use std::borrow::Cow;
use std::fmt;

use crate::head::Head;

/// One request's server.
///
/// Calls come one at a time and only while [`serve`](crate::serve) runs, but not always from the
/// thread that runs it: an application may read its body in a thread of its own.
pub trait Host: Send {
    /// Reads up to `buffer.len()` bytes of the request's body, at least one unless at its end,
    /// where it is 0. The buffer is not empty. The first call makes a client that expects
    /// `100-continue` go on.
    ///
    /// # Errors
    /// The body cannot be had. [`Fault::status`] says how to answer if the application does not.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault>;

    /// Sends a part of the response: first its head, once, then any number of chunks, none of
    /// which is empty. [`Flags::END`] in the first call makes it the whole response.
    ///
    /// # Errors
    /// The response cannot be sent: [`FaultKind::ClientGone`] if there is nobody to get it.
    fn respond(&mut self, head: Option<&Head>, chunks: &[&[u8]], flags: Flags)
    -> Result<(), Fault>;

    /// Sends part of a regular file, whose descriptor stays the caller's and must keep its
    /// position. Returns how many bytes the file really had: if that is less than `length`, the
    /// response is cut short, whatever `flags` said.
    ///
    /// # Errors
    /// As [`Host::respond`].
    #[cfg(unix)]
    fn send_file(
        &mut self,
        head: Option<&Head>,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault>;

    /// [`Host::read`] without waiting, called attached to Python; `None` if it would have to wait,
    /// and then the engine detaches and calls [`Host::read`].
    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        let _ = buffer;
        None
    }

    /// [`Host::respond`] without waiting, called attached to Python; `None` if it would have to
    /// wait. The engine then detaches and calls [`Host::respond`] with the same arguments, next:
    /// a host that has sent a part already goes on behind it.
    fn try_respond(
        &mut self,
        head: Option<&Head>,
        chunks: &[&[u8]],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        let _ = (head, chunks, flags);
        None
    }

    /// Logs records with this request. Called detached; should not take long.
    fn log(&mut self, records: &[Record<'_>]);

    /// The level down to which this request logs. Called attached.
    fn log_level(&mut self) -> Level {
        Level::Info
    }

    /// Whether the client is known to have closed the connection. Called attached.
    fn client_gone(&mut self) -> bool {
        false
    }

    /// Whether this connection is TLS, as far as the server's TLS module knows. Called attached.
    fn ssl_is_https(&mut self) -> bool {
        false
    }

    /// A variable of the server's TLS module: empty if it knows none of this name, `None` if there
    /// is no such module. Called attached.
    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let _ = name;
        None
    }
}

/// The log of the server, for what belongs to no request. Any thread, attached or not.
pub trait ServerLog: Send + Sync {
    /// Logs records; should not take long.
    fn log(&self, records: &[Record<'_>]);

    /// The level down to which it logs.
    fn level(&self) -> Level {
        Level::Info
    }
}

/// What goes with a part of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// Nothing special.
    pub const NONE: Flags = Flags(0);
    /// The response ends here and is complete.
    pub const END: Flags = Flags(1);
    /// What was given so far goes to the client now.
    pub const FLUSH: Flags = Flags(2);
    /// The response ends here, short of what it should have been: close the connection without
    /// anything that makes it look complete.
    pub const TRUNCATED: Flags = Flags(4);

    /// The flags as bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// All flags of both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What went wrong with a client, as far as the engine tells cases apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The client closed the connection.
    ClientGone,
    /// The client was too slow.
    Timeout,
    /// The request's body is larger than allowed.
    TooLarge,
    /// What the client sent is not HTTP.
    Malformed,
    /// Anything else.
    Other,
}

/// Why a host could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which case it is.
    pub kind: FaultKind,
    /// A phrase for a person, without a full stop.
    pub text: Cow<'static, str>,
    /// The system's error number, if there is one.
    pub errno: Option<i32>,
    /// The status that fits, if one does.
    pub status: Option<u16>,
}

impl Fault {
    /// A fault with a text and nothing else.
    pub fn new(kind: FaultKind, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault { kind, text: text.into(), errno: None, status: None }
    }

    /// Adds the system's error number.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Fault {
        self.errno = Some(errno);
        self
    }

    /// Adds the status to answer with.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Fault {
        self.status = Some(status);
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// Levels of a server's log, worst first, as in syslog and in Apache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A part does not work at all.
    Critical,
    /// A request or a script failed.
    Error,
    /// Works, but not as meant.
    Warning,
    /// Life cycle, and what is worth knowing about a request.
    Info,
    /// For finding faults.
    Debug,
}

/// How a host decorates a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A message, or text of the application, which has no code.
    Message,
    /// The line that introduces an exception.
    Exception,
    /// A line of a traceback, which follows its introduction.
    Traceback,
}

/// One entry for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// How bad.
    pub level: Level,
    /// How to decorate it.
    pub style: Style,
    /// Number of the message; 0 for none.
    pub code: u16,
    /// The text: no newline, no NUL, of a length that a log line can hold. Not a format string.
    pub text: &'a [u8],
    /// File and line it comes from, if that is not the server itself.
    pub source: Option<(&'a [u8], u32)>,
}

impl<'a> Record<'a> {
    /// A message.
    pub const fn new(level: Level, code: u16, text: &'a [u8]) -> Record<'a> {
        Record { level, style: Style::Message, code, text, source: None }
    }
}
