//! Why a request's body cannot be had or its response cannot be sent.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::wire::{Fault, FaultKind, Malformed};

/// What went wrong, as far as an application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is nobody to read from or to answer.
    ClientGone,
    /// The other side was too slow.
    Timeout,
    /// The body is larger than the server allows, or a head than the format does.
    TooLarge,
    /// What the client sent is not HTTP.
    NotHttp,
    /// Anything else.
    Other,
}

/// An error of a request's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which case it is.
    pub kind: ErrorKind,
    /// A phrase for a person.
    pub text: Cow<'static, str>,
    /// The system's error number, if there is one.
    pub errno: Option<i32>,
    /// The status that fits, if one does.
    pub status: Option<u16>,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, text: &'static str) -> Error {
        Error { kind, text: text.into(), errno: None, status: None }
    }

    pub(super) fn gone() -> Error {
        Error::new(ErrorKind::ClientGone, "the connection was closed")
    }

    pub(super) fn slow() -> Error {
        Error::new(ErrorKind::Timeout, "the timeout has expired")
    }

    /// What the child said about the body.
    pub(super) fn from_fault(fault: &Fault<'_>) -> Error {
        let kind = match fault.kind {
            FaultKind::ClientGone => ErrorKind::ClientGone,
            FaultKind::ClientSlow => ErrorKind::Timeout,
            FaultKind::TooLarge => ErrorKind::TooLarge,
            FaultKind::NotHttp => ErrorKind::NotHttp,
            _ => ErrorKind::Other,
        };
        Error {
            kind,
            text: String::from_utf8_lossy(fault.text).into_owned().into(),
            errno: (fault.errno != 0).then_some(fault.errno),
            status: (fault.status != 0).then_some(fault.status),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected => ErrorKind::ClientGone,
            // What a socket with a timeout says when it has passed.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ErrorKind::Timeout,
            _ => ErrorKind::Other,
        };
        let errno = error.raw_os_error();
        let text = match kind {
            ErrorKind::ClientGone => "the connection was closed".into(),
            ErrorKind::Timeout => "the timeout has expired".into(),
            _ => error.to_string().into(),
        };
        Error { kind, text, errno, status: None }
    }
}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Error {
        Error::new(ErrorKind::Other, error.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
