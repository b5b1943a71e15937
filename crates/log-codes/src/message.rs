//! A code with its values filled in, not yet a string.
//!
//! Logging in a server ends in a call that takes bytes, so a message can be written as bytes
//! unchanged ([`Message::write_to`]); `Display` shows what is not UTF-8 as replacement characters.
//! Values are borrowed and formatted once, while writing.

use crate::code::Entry;
use std::ffi::{CStr, OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// Something to put into a message: text, bytes or a number.
pub trait Value {
    /// Hands over the bytes, in one or more pieces.
    fn write_to(&self, out: &mut dyn FnMut(&[u8]));
}

impl<T: Value + ?Sized> Value for &T {
    fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        (**self).write_to(out);
    }
}

macro_rules! bytes_of {
    ($($type:ty => $bytes:ident;)*) => {
        $(impl Value for $type {
            fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
                out(self.$bytes());
            }
        })*
    };
}

bytes_of! {
    str => as_bytes;
    String => as_bytes;
    [u8] => as_ref;
    Vec<u8> => as_slice;
    CStr => to_bytes;
    OsStr => as_encoded_bytes;
    OsString => as_encoded_bytes;
}

impl Value for Path {
    fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        self.as_os_str().write_to(out);
    }
}

impl Value for PathBuf {
    fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        self.as_os_str().write_to(out);
    }
}

/// For what is only known as `Display`.
impl Value for fmt::Arguments<'_> {
    fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        format_to(*self, out);
    }
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Value for $type {
            fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
                format_to(format_args!("{self}"), out);
            }
        })*
    };
}

numbers! { i32 i64 isize u16 u32 u64 usize f64 char }

fn format_to(text: fmt::Arguments<'_>, out: &mut dyn FnMut(&[u8])) {
    struct Sink<'a>(&'a mut dyn FnMut(&[u8]));
    impl fmt::Write for Sink<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            (self.0)(text.as_bytes());
            Ok(())
        }
    }
    // The sink never fails; a `Display` that does has said all it had to say.
    let _ = fmt::write(&mut Sink(out), text);
}

/// A code and its values. Displays as the whole text of a log record: `WSGI0105: Could not …`.
#[derive(Clone, Copy)]
pub struct Message<'a, const N: usize> {
    entry: &'static Entry,
    values: [&'a dyn Value; N],
}

impl<'a, const N: usize> Message<'a, N> {
    pub(crate) const fn new(entry: &'static Entry, values: [&'a dyn Value; N]) -> Self {
        Self { entry, values }
    }

    /// The row of the table.
    #[must_use]
    pub const fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// The text alone, for lines that put something between the code and the text.
    #[must_use]
    pub const fn text(&self) -> Text<'_, 'a> {
        Text { template: self.entry.template(), values: &self.values }
    }

    /// Hands over code and text as bytes, in pieces.
    pub fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        format_to(format_args!("{}: ", self.entry), out);
        self.text().write_to(out);
    }

    /// Code and text as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        self.write_to(&mut |piece| bytes.extend_from_slice(piece));
        bytes
    }
}

impl<const N: usize> fmt::Display for Message<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.entry, self.text())
    }
}

impl<const N: usize> fmt::Debug for Message<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text of a [`Message`] without its code.
#[derive(Clone, Copy)]
pub struct Text<'m, 'a> {
    template: &'static str,
    values: &'m [&'a dyn Value],
}

impl Text<'_, '_> {
    /// Hands over the text as bytes, in pieces.
    pub fn write_to(&self, out: &mut dyn FnMut(&[u8])) {
        let mut values = self.values.iter();
        for (index, fixed) in self.template.split("{}").enumerate() {
            if index > 0
                && let Some(value) = values.next()
            {
                value.write_to(out);
            }
            out(fixed.as_bytes());
        }
    }
}

impl fmt::Display for Text<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        self.write_to(&mut |piece| {
            for chunk in piece.utf8_chunks() {
                result = result.and_then(|()| f.write_str(chunk.valid()));
                if !chunk.invalid().is_empty() {
                    result = result.and_then(|()| f.write_str("\u{fffd}"));
                }
            }
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use crate::{WSGI0001, WSGI0105, WSGI0174};

    #[test]
    fn values_take_their_places() {
        let message = WSGI0105.message([&"/srv/a.wsgi", &"main interpreter"]);
        let wanted = "Could not read or compile WSGI script '/srv/a.wsgi' for main interpreter.";
        assert_eq!(message.text().to_string(), wanted);
        assert_eq!(message.to_string(), format!("WSGI0105: {wanted}"));
        assert_eq!(message.to_bytes(), format!("WSGI0105: {wanted}").into_bytes());
        assert_eq!(WSGI0105.to_string(), "WSGI0105");
    }

    #[test]
    fn a_value_is_never_a_template() {
        let text = WSGI0174.message([&"{}%s%n", &"{}", &7]).text().to_string();
        assert_eq!(text, "{}%s%n exception raised processing WSGI script '{}' for 7.");
    }

    #[test]
    fn bytes_stay_bytes() {
        let path: &[u8] = b"/srv/caf\xe9";
        let message = WSGI0105.message([&path, &2]);
        assert!(message.to_bytes().windows(4).any(|w| w == b"f\xe9' "));
        assert!(message.to_string().contains("/srv/caf\u{fffd}' for 2."));
    }

    #[test]
    fn a_message_without_values() {
        assert!(WSGI0001.message([]).to_string().starts_with("WSGI0001: Python initialisation"));
    }
}
