//! What goes wrong, told to the person at the terminal.
//!
//! The exit status says whose turn it is: 2 if the command line has to change, 1 if something on
//! the machine has to. No error of this program is a backtrace.

use std::fmt;
use std::path::Path;

use crate::command::Command;

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Error {
    /// The command whose usage line helps, for mistakes on the command line.
    usage: Option<Command>,
    text: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The command line is wrong.
    pub(crate) fn usage(command: Command, text: impl Into<String>) -> Error {
        Error { usage: Some(command), text: text.into() }
    }

    /// The machine is not as it should be.
    pub(crate) fn other(text: impl Into<String>) -> Error {
        Error { usage: None, text: text.into() }
    }

    /// Something could not be done with a file.
    pub(crate) fn file(what: &str, path: &Path, error: &std::io::Error) -> Error {
        Error::other(format!("cannot {what} {}: {}", path.display(), plain(error)))
    }

    /// The line to show above the message.
    pub(crate) fn usage_line(&self) -> Option<String> {
        self.usage.map(Command::usage)
    }

    pub(crate) fn exit_status(&self) -> u8 {
        if self.usage.is_some() { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// "Permission denied" rather than "Permission denied (os error 13)".
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
