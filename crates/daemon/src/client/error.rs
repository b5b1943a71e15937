//! Why a request got no response, or only a part of one.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// Which case. What status and which line in a log it becomes is up to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The group runs, but takes no requests.
    Service,
    /// Nobody runs the group (any more).
    Down,
    /// The group's workers cannot be started; the log says why. Said at once.
    Failing,
    /// No worker was ready in time.
    NotReady,
    /// All workers had as many requests as they may, for too long.
    Full,
    /// A connection could not be made: the supervisor is gone or does not react.
    NoSupervisor,
    /// Worker after worker went away before it looked at the request.
    TooManyRestarts,
    /// The request waited too long before a worker looked at it. It was not run.
    QueueTimeout,
    /// The request could not be handed over in time.
    SendTimeout,
    /// The worker said nothing for too long.
    Timeout,
    /// The response was not there in the time that the server gives it.
    Deadline,
    /// The worker ended, or closed the connection, before the response began. It may have run the
    /// request.
    Closed,
    /// The worker ended, or gave up, within the response.
    Truncated,
    /// The worker said what makes no sense.
    Malformed,
    /// The request is larger than a request may be.
    TooLarge,
    /// Anything else.
    Other,
}

/// An error of an exchange. Nothing more comes from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(super) kind: ErrorKind,
    pub(super) text: Cow<'static, str>,
    pub(super) errno: Option<i32>,
    pub(super) worker: Option<i32>,
    pub(super) after_head: bool,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, text: text.into(), errno: None, worker: None, after_head: false }
    }

    pub(super) fn io(kind: ErrorKind, error: &io::Error) -> Error {
        Error { errno: error.raw_os_error(), ..Error::new(kind, error.to_string()) }
    }

    /// Which case it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error number, if there is one.
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// The worker's process, if there was one.
    pub fn worker(&self) -> Option<i32> {
        self.worker
    }

    /// Whether the response had begun: then the client must see that it is cut short.
    pub fn is_after_head(&self) -> bool {
        self.after_head
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
