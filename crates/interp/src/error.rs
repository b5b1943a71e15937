//! What can go wrong with interpreters, as opposed to what goes wrong in them.

use std::fmt;

/// Why there is no interpreter, or no way into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    text: String,
}

/// Which case an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Python did not start.
    Start,
    /// Python runs in this process already, or ran.
    Running,
    /// An interpreter could not be made.
    Create,
    /// No memory for the state of a thread.
    ThreadState,
    /// The main thread is not there to do what only it can do.
    NoMainThread,
    /// It took longer than allowed.
    Timeout,
    /// This build of Python cannot do it.
    Unsupported,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    /// Which case it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
