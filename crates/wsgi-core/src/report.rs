//! Exceptions in the log: a line that introduces them, and the traceback.
//!
//! Text is made while attached, logged later, so that the log is never waited for with the GIL.

use py::{Bound, Error, Result, Token, ffi};

use crate::host::{Level, Record, Style};
use crate::lines::Lines;
use crate::state::State;

/// An exception as text, ready for a log.
#[derive(Debug)]
pub struct Report {
    code: u16,
    introduction: Lines,
    traceback: Lines,
}

impl Report {
    /// Introduces `error` with `text`, the message numbered `code`.
    ///
    /// # Panics
    /// `py` is attached to another interpreter than `state`'s.
    pub fn new<'py>(
        py: Token<'py>,
        state: &State,
        error: &Error<'py>,
        code: u16,
        text: &[u8],
    ) -> Report {
        state.check(py);
        let mut introduction = Lines::default();
        introduction.push(text);
        let mut traceback = Lines::default();
        let text = format(py, error).unwrap_or_else(|_| error.to_string().into_bytes());
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            traceback.push(line);
        }
        Report { code, introduction, traceback }
    }

    /// The report of an exception that an application let through.
    pub(crate) fn of_application<'py>(
        py: Token<'py>,
        state: &State,
        error: &Error<'py>,
        script: &[u8],
        context: &str,
    ) -> Report {
        let class = error.type_name();
        let values: [&dyn log_codes::Value; 3] = [&class, &script, &context];
        // SAFETY: a static class of libpython.
        let (code, text) = if unsafe { error.matches(ffi::PyExc_SystemExit) } {
            let message = log_codes::WSGI0175.message(values);
            (175, message_bytes(|out| message.text().write_to(out)))
        } else {
            let message = log_codes::WSGI0174.message(values);
            (174, message_bytes(|out| message.text().write_to(out)))
        };
        Report::new(py, state, error, code, &text)
    }

    /// The records to log, in order.
    pub fn records(&self) -> Vec<Record<'_>> {
        let record =
            |style, code| move |text| Record { style, ..Record::new(Level::Error, code, text) };
        let introduction = self.introduction.iter().map(record(Style::Exception, self.code));
        introduction.chain(self.traceback.iter().map(record(Style::Traceback, 0))).collect()
    }
}

/// Collects a message that is handed over in pieces.
pub(crate) fn message_bytes(write: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut |piece| bytes.extend_from_slice(piece));
    bytes
}

/// What `traceback.print_exception` prints.
fn format<'py>(py: Token<'py>, error: &Error<'py>) -> Result<'py, Vec<u8>> {
    let value = error.value();
    // SAFETY: attached; an exception; a new reference, or NULL for none.
    let traceback =
        unsafe { Bound::from_owned_or_none(py, ffi::PyException_GetTraceback(value.as_ptr())) };
    let traceback = traceback.unwrap_or_else(|| py.none());
    // SAFETY: a live object's type, which is an object.
    let class = unsafe { Bound::from_borrowed(py, ffi::Py_TYPE(value.as_ptr()).cast()) };
    let class = class.unwrap_or_else(|| py.none());
    // Imported when it is needed: with what it imports, it is a megabyte in each interpreter.
    let format = py.import(c"traceback")?.attr(c"format_exception")?;
    let formatted = format.call_n([&class, value, &traceback])?;
    let mut text = Vec::new();
    for part in formatted.items()? {
        // SAFETY: attached; a live object. Lone surrogates are written as their code.
        let encoded = unsafe {
            let (codec, errors) = (c"utf-8".as_ptr(), c"backslashreplace".as_ptr());
            ffi::PyUnicode_AsEncodedString(part.as_ptr(), codec, errors)
        };
        // SAFETY: a new reference, or NULL with an exception.
        let encoded = unsafe { Bound::from_owned(py, encoded)? };
        text.extend_from_slice(encoded.as_bytes()?);
    }
    Ok(text)
}
