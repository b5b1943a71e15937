//! Lines for the error log, and exceptions as lines.
//!
//! Everything is made into records first and handed over in one call, detached: a log may be a pipe
//! that nobody empties.

use std::sync::{Mutex, PoisonError};

use engine_api::{Client, Level, Record, ServerLog, Style};
use log_codes::{Code, Message, WSGI0174, WSGI0175, WSGI0188, WSGI0189};
use py::{Bound, Error, Token, ffi};
use wsgi_core::lines::Lines;

/// Where lines go: to the log of the server, or of a request.
pub(crate) trait Log: Sync {
    /// Logs records, in order and with nothing between them. Detached.
    fn log(&self, records: &[Record<'_>]);

    /// The level down to which records are kept.
    fn level(&self) -> Level;
}

impl Log for ServerLog {
    fn log(&self, records: &[Record<'_>]) {
        ServerLog::log(self, records);
    }

    fn level(&self) -> Level {
        ServerLog::level(self)
    }
}

/// The server's side of a request, one call at a time.
impl Log for Mutex<Client<'_>> {
    fn log(&self, records: &[Record<'_>]) {
        self.lock().unwrap_or_else(PoisonError::into_inner).log(records);
    }

    fn level(&self) -> Level {
        self.lock().unwrap_or_else(PoisonError::into_inner).level()
    }
}

/// Logs a text without a code.
pub(crate) fn plain(log: &dyn Log, level: Level, text: &str) {
    if level <= log.level() {
        log.log(&[Record::new(level, 0, text.as_bytes())]);
    }
}

/// Logs a message with a code.
pub(crate) fn coded<const N: usize>(log: &dyn Log, message: &Message<'_, N>) {
    coded_errno(log, message, 0);
}

/// Logs a message with a code and the system's error number.
pub(crate) fn coded_errno<const N: usize>(log: &dyn Log, message: &Message<'_, N>, errno: i32) {
    let text = bytes_of(message);
    let entry = message.entry();
    let number = entry.number().into();
    log.log(&[Record { errno, ..Record::new(level(entry.level()), number, &text) }]);
}

/// An exception, as lines.
pub(crate) struct Report {
    code: u32,
    head: Lines,
    traceback: Lines,
}

impl Report {
    /// For an exception while a script is loaded or run: `WSGI0174`, or `WSGI0175` for `SystemExit`.
    pub(crate) fn of_script(error: &Error<'_>, script: &[u8], context: &str) -> Report {
        let class = error.type_name();
        if is_system_exit(error) {
            Report::new(&WSGI0175, [&class, &script, &context], error)
        } else {
            Report::new(&WSGI0174, [&class, &script, &context], error)
        }
    }

    /// For an exception while an interpreter is set up: `WSGI0188`, or `WSGI0189`.
    pub(crate) fn of_setup(error: &Error<'_>, context: &str) -> Report {
        let class = error.type_name();
        if is_system_exit(error) {
            Report::new(&WSGI0189, [&class, &context], error)
        } else {
            Report::new(&WSGI0188, [&class, &context], error)
        }
    }

    /// For any other message.
    pub(crate) fn new<const N: usize>(
        code: &'static Code<N>,
        values: [&dyn log_codes::Value; N],
        error: &Error<'_>,
    ) -> Report {
        let message = code.message(values);
        let mut head = Lines::default();
        head.push(&bytes_of(&message));
        Report { code: message.entry().number().into(), head, traceback: traceback(error) }
    }

    /// The traceback.
    pub(crate) fn traceback(&self) -> impl Iterator<Item = &[u8]> {
        self.traceback.iter()
    }

    /// Logs head line and traceback.
    pub(crate) fn log(&self, log: &dyn Log) {
        let record = |style, code, text| Record { style, ..Record::new(Level::Error, code, text) };
        let head = self.head.iter().map(|line| record(Style::Exception, self.code, line));
        let traceback = self.traceback.iter().map(|line| record(Style::Traceback, 0, line));
        log.log(&head.chain(traceback).collect::<Vec<_>>());
    }
}

/// Whether it is a `SystemExit`.
pub(crate) fn is_system_exit(error: &Error<'_>) -> bool {
    // SAFETY: the class is a static of libpython.
    unsafe { error.matches(ffi::PyExc_SystemExit) }
}

/// The stack of the calling Python code, innermost frame last, as lines.
pub(crate) fn stack(py: Token<'_>) -> Lines {
    let format = || py.import(c"traceback")?.call_method(c"format_stack", &[]);
    format().and_then(|parts| joined(&parts)).unwrap_or_default()
}

/// What `traceback.print_exception` prints, without empty lines.
fn traceback(error: &Error<'_>) -> Lines {
    let py = error.value().py();
    let format = || py.import(c"traceback")?.call_method(c"format_exception", &[error.value()]);
    format().and_then(|parts| joined(&parts)).unwrap_or_else(|_| {
        // One that cannot be formatted (recursion, no memory) must not hide the exception.
        let mut lines = Lines::default();
        lines.push_text(error.to_string().as_bytes());
        lines
    })
}

/// Joins strings that hold any number of lines each.
fn joined<'py>(parts: &Bound<'py>) -> py::Result<'py, Lines> {
    let mut text = String::new();
    for part in parts.items()? {
        text.push_str(&part.to_text()?);
    }
    let mut lines = Lines::default();
    text.split('\n').filter(|line| !line.is_empty()).for_each(|line| lines.push(line.as_bytes()));
    Ok(lines)
}

fn bytes_of<const N: usize>(message: &Message<'_, N>) -> Vec<u8> {
    let mut text = Vec::new();
    message.text().write_to(&mut |piece| text.extend_from_slice(piece));
    text
}

fn level(level: log_codes::Level) -> Level {
    match level {
        log_codes::Level::Alert => Level::Alert,
        log_codes::Level::Crit => Level::Critical,
        log_codes::Level::Error => Level::Error,
        log_codes::Level::Warn => Level::Warning,
    }
}
