//! Errors over the border: a buffer that the caller lends, and the owned form both sides use.

use std::any::Any;
use std::fmt;
use std::mem::MaybeUninit;

/// What went wrong, as far as somebody wants to tell cases apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Anything not listed.
    Other = 0,
    /// The client closed the connection.
    ClientGone = 1,
    /// The client was too slow.
    Timeout = 2,
    /// The request body is larger than allowed.
    TooLarge = 3,
    /// What the client sent is not HTTP.
    Malformed = 4,
    /// The other side panicked.
    Panic = 5,
    /// Not in this state: not started, already stopped, no such thing here.
    Unavailable = 6,
}

impl FaultKind {
    fn from_raw(kind: u32) -> FaultKind {
        match kind {
            1 => FaultKind::ClientGone,
            2 => FaultKind::Timeout,
            3 => FaultKind::TooLarge,
            4 => FaultKind::Malformed,
            5 => FaultKind::Panic,
            6 => FaultKind::Unavailable,
            _ => FaultKind::Other,
        }
    }
}

/// An error that came, or goes, over the border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which case it is.
    pub kind: FaultKind,
    /// The system's error number; 0 if there is none.
    pub errno: i32,
    /// The HTTP status that fits; 0 if none does.
    pub status: u16,
    /// One sentence for a person.
    pub text: String,
}

impl Fault {
    /// A fault with a text and nothing else.
    pub fn new(kind: FaultKind, text: impl Into<String>) -> Fault {
        Fault { kind, errno: 0, status: 0, text: text.into() }
    }

    /// The fault that a caught panic becomes.
    pub(crate) fn panic(payload: &(dyn Any + Send)) -> Fault {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("panic with no message");
        Fault::new(FaultKind::Panic, format!("internal error: {text}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.errno != 0 {
            write!(f, " (errno {})", self.errno)?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// Room for text in a [`Failure`]; longer texts are cut at a character.
const TEXT: usize = 1000;

/// The buffer for a [`Fault`] that a caller lends to the other side.
#[repr(C)]
pub struct Failure {
    kind: u32,
    errno: i32,
    status: u32,
    /// At most [`TEXT`]; so many bytes of the text were written.
    len: u32,
    text: [MaybeUninit<u8>; TEXT],
}

impl Failure {
    /// An empty buffer.
    pub const fn new() -> Failure {
        // Every call over the border has one, and hardly any is written to.
        Failure { kind: 0, errno: 0, status: 0, len: 0, text: [MaybeUninit::uninit(); TEXT] }
    }

    /// Writes `fault` into the buffer.
    pub fn set(&mut self, fault: &Fault) {
        let mut len = fault.text.len().min(TEXT);
        while !fault.text.is_char_boundary(len) {
            len -= 1;
        }
        self.kind = fault.kind as u32;
        self.errno = fault.errno;
        self.status = fault.status.into();
        self.len = len as u32;
        for (to, from) in self.text.iter_mut().zip(&fault.text.as_bytes()[..len]) {
            to.write(*from);
        }
    }

    /// What was written; "no reason given" if nothing was.
    pub fn fault(&self) -> Fault {
        let text = &self.text[..TEXT.min(self.len as usize)];
        // SAFETY: written that far (field); the ABI hash vouches for the other side.
        let text = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
        let text = if text.is_empty() { b"no reason given" } else { text };
        Fault {
            kind: FaultKind::from_raw(self.kind),
            errno: self.errno,
            status: u16::try_from(self.status).unwrap_or(0),
            text: String::from_utf8_lossy(text).into_owned(),
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Failure::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let fault = Fault {
            kind: FaultKind::Timeout,
            errno: 5,
            status: 408,
            text: format!("x{}", "\u{e4}".repeat(TEXT)),
        };
        let mut buffer = Failure::new();
        buffer.set(&fault);
        let read = buffer.fault();
        assert_eq!((read.kind, read.errno, read.status), (FaultKind::Timeout, 5, 408));
        assert_eq!(read.text.len(), TEXT - 1);
        assert!(fault.text.starts_with(&read.text));
    }

    #[test]
    fn empty_buffer_still_says_something() {
        assert_eq!(Failure::new().fault().text, "no reason given");
    }
}
