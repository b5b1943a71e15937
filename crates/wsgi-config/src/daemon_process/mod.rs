//! `WSGIDaemonProcess`: what is said about a group of daemon processes.
//!
//! A pure reading of the words: users and groups keep the names they were written with, and no
//! path is looked at, since both need the machine. Numbers are read strictly: `60s` or `abc` is an
//! error in the words that the option has for numbers out of range, not 60 or 0. One entry per
//! option in `options.rs` yields the field, its default, its grammar and its documentation.
//!
//! See <https://modwsgi.readthedocs.io/en/master/configuration-directives/WSGIDaemonProcess.html>.

mod options;
#[cfg(test)]
mod tests;
mod timers;
mod values;

use std::borrow::Cow;
use std::fmt;

pub use options::{DaemonProcess, OPTIONS, OptionRule};
pub use timers::QueueLeft;
pub use values::{Account, Swap};

use crate::words::Words;

/// Most bytes of a name.
pub const MAX_NAME: usize = 256;

/// What is wrong with a definition, in the words that the server prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    /// An error with this text.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Invalid {
        Invalid(text.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for String {
    fn from(error: Invalid) -> String {
        error.0.into_owned()
    }
}

impl DaemonProcess {
    /// Reads the arguments of the directive: a name and options.
    ///
    /// # Errors
    /// The first thing that is wrong. Whether the name is taken is for the caller to say:
    /// [`Invalid::duplicate`].
    pub fn parse(arguments: &[u8]) -> Result<DaemonProcess, Invalid> {
        let mut words = Words::new(arguments);
        let name = words
            .word()
            .filter(|name| !name.is_empty())
            .ok_or(Invalid::new("Name of WSGI daemon process not supplied."))?;
        if name.len() > MAX_NAME {
            return Err(Invalid::new("Name of WSGI daemon process is too long."));
        }
        let mut process = DaemonProcess { name, ..DaemonProcess::default() };
        while let Some(option) = words.option() {
            const UNKNOWN: Invalid =
                Invalid(Cow::Borrowed("Invalid option to WSGI daemon process definition."));
            let (name, value) = option.map_err(|_| UNKNOWN)?;
            let rule = OPTIONS.iter().find(|rule| rule.name.as_bytes() == name).ok_or(UNKNOWN)?;
            (rule.set)(&mut process, &value).map_err(Invalid::new)?;
        }
        if process.script_user.is_some() && process.script_group.is_some() {
            return Err(Invalid::new("Only one of script-user and script-group allowed."));
        }
        Ok(process)
    }

    /// Arguments that mean the same, with the options that are not at their default.
    pub fn arguments(&self) -> Vec<u8> {
        let mut line = quoted(&self.name);
        for rule in OPTIONS {
            if let Some(value) = (rule.get)(self) {
                line.push(b' ');
                line.extend_from_slice(rule.name.as_bytes());
                line.push(b'=');
                line.extend_from_slice(&quoted(&value));
            }
        }
        line
    }

    /// The options that are not at their default.
    pub fn given(&self) -> impl Iterator<Item = &'static OptionRule> {
        OPTIONS.iter().filter(|rule| (rule.get)(self).is_some())
    }

    /// Whether some request can name the group: not if its name is one of the words that stand for
    /// another name.
    pub fn is_reachable(&self) -> bool {
        let name = self.name.as_slice();
        !matches!(name, b"%{GLOBAL}" | b"%{SERVER}" | b"%{HOST}" | b"%{RESOURCE}")
    }
}

impl Invalid {
    /// Two definitions have the same name.
    pub fn duplicate() -> Invalid {
        Invalid::new("Name duplicates previous WSGI daemon definition.")
    }
}

/// A word as it can be read back.
fn quoted(word: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.iter().all(is_plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in word {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}
