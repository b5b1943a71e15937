//! Why an application could not be started.

use std::fmt;

/// The application does not run.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Python,
    Application,
    System,
}

impl Error {
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    pub(crate) fn python(error: &interp::Error) -> Error {
        Error::new(Kind::Python, error.to_string())
    }

    /// Whether the application is at fault: it cannot be found, or raised while it was loaded.
    pub fn is_application(&self) -> bool {
        self.kind == Kind::Application
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
