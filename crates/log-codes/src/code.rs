//! One row of the table, and how rows are written down.
//!
//! A row is a `static` of its own so that code names it (`WSGI0105`), and so that the number of its
//! arguments is part of its type. [`Entry`] is the same row without the count, for the table.

use crate::message::{Message, Value};
use std::fmt;
use std::ops::Deref;

/// How bad it is: the levels of syslog, worst first, as far as coded messages use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of syslog")]
pub enum Level {
    Alert,
    Crit,
    Error,
    Warn,
}

impl Level {
    /// The name as configuration files and logs spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Crit => "crit",
            Self::Error => "error",
            Self::Warn => "warn",
        }
    }
}

/// Whether a message can still be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It may be logged.
    Live,
    /// mod_wsgi 6.1.1 has the text but cannot log it. Logging it here is fine, expecting it is not.
    Dormant,
}

/// A row: everything about a code but the number of its arguments.
#[derive(Debug)]
pub struct Entry {
    number: u16,
    level: Level,
    status: Status,
    template: &'static str,
}

impl Entry {
    /// The number, at most four digits.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// The level it is logged at.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Whether it can still be seen.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The text without the code, `{}` for each value.
    #[must_use]
    pub const fn template(&self) -> &'static str {
        self.template
    }

    /// The text up to its first value: what a person would search for.
    #[must_use]
    pub fn leading(&self) -> &'static str {
        self.template.split("{}").next().unwrap_or_default()
    }
}

/// `WSGI0105`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WSGI{:04}", self.number)
    }
}

/// A code whose message takes `N` values.
#[derive(Debug)]
pub struct Code<const N: usize>(Entry);

impl<const N: usize> Code<N> {
    /// For the macro below: `name` is `WSGI` and four digits.
    pub(crate) const fn new(
        name: &'static str,
        level: Level,
        status: Status,
        template: &'static str,
    ) -> Self {
        let name = name.as_bytes();
        assert!(name.len() == 8, "a code is WSGI and four digits");
        let mut number = 0;
        let mut at = 4;
        while at < name.len() {
            assert!(name[at].is_ascii_digit());
            number = number * 10 + (name[at] - b'0') as u16;
            at += 1;
        }
        Self(Entry { number, level, status, template })
    }

    pub(crate) const fn entry(&self) -> &Entry {
        &self.0
    }

    /// The message with these values in their places.
    #[must_use]
    pub const fn message<'a>(&'static self, values: [&'a dyn Value; N]) -> Message<'a, N> {
        Message::new(&self.0, values)
    }
}

impl<const N: usize> Deref for Code<N> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

/// `WSGI0105`.
impl<const N: usize> fmt::Display for Code<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many values a template takes.
pub(crate) const fn holes(template: &str) -> usize {
    let text = template.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at + 1 < text.len() {
        if text[at] == b'{' && text[at + 1] == b'}' {
            count += 1;
        }
        at += 1;
    }
    count
}

/// One array out of several, sorted by number.
pub(crate) const fn merge<const N: usize>(parts: &[&[&'static Entry]]) -> [&'static Entry; N] {
    let mut all = [parts[0][0]; N];
    let (mut len, mut part) = (0, 0);
    while part < parts.len() {
        let mut row = 0;
        while row < parts[part].len() {
            let new = parts[part][row];
            let mut at = len;
            while at > 0 && all[at - 1].number > new.number {
                all[at] = all[at - 1];
                at -= 1;
            }
            all[at] = new;
            len += 1;
            row += 1;
        }
        part += 1;
    }
    assert!(len == N);
    all
}

/// Declares codes: `WSGI0105 Error Live "text with {}";`, under the name of the list of them.
macro_rules! codes {
    ($rows:ident $($name:ident $level:ident $status:ident $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub static $name: $crate::Code<{ $crate::code::holes($text) }> = $crate::Code::new(
                stringify!($name),
                $crate::Level::$level,
                $crate::Status::$status,
                $text,
            );
        )*
        pub(crate) const $rows: &[&$crate::Entry] = &[$($name.entry()),*];
    };
}
pub(crate) use codes;
