//! Lines in the error log, in the form that operators know.
//!
//! `[script FILE] WSGInnnn: text` for messages of a request, `WSGInnnn: [script FILE] text` for the
//! head line of an exception, the bare line for a traceback. See `docs/` of log messages.

use std::ffi::CString;

use engine_api::{Bytes, Record, Style};
use httpd_sys::{Level, Location, Logger, Request, Server};
use log_codes::{Code, Message};

use crate::Wsgi;

/// Logs a coded message with a request.
pub(crate) fn request<const N: usize>(request: &Request<'_>, message: Message<'_, N>) {
    request_errno(request, message, 0);
}

/// Logs a coded message with a request, and the system's or APR's error number that goes with it.
pub(crate) fn request_errno<const N: usize>(
    request: &Request<'_>,
    message: Message<'_, N>,
    errno: i32,
) {
    let logger = request.logger::<Wsgi>();
    let level = level(message.entry().level());
    if logger.enabled(level) {
        let mut line = script_prefix(request);
        message.write_to(&mut |piece| line.extend_from_slice(piece));
        logger.log(level, httpd_sys::here!(), errno, &line);
    }
}

/// Logs a coded message that has no values with a request.
pub(crate) fn code(about: &Request<'_>, code: &'static Code<0>) {
    request(about, code.message([]));
}

/// Logs text with a request, at a level that needs no code.
pub(crate) fn text(request: &Request<'_>, level: Level, text: &str) {
    let logger = request.logger::<Wsgi>();
    if logger.enabled(level) {
        let mut line = script_prefix(request);
        line.extend_from_slice(text.as_bytes());
        logger.log(level, httpd_sys::here!(), 0, &line);
    }
}

/// Logs a coded message with the server of this process.
pub(crate) fn process<const N: usize>(message: Message<'_, N>) {
    let level = level(message.entry().level());
    Logger::process::<Wsgi>().log(level, httpd_sys::here!(), 0, &message.to_bytes());
}

/// Logs a text with the server of this process.
pub(crate) fn process_text(text: &str) {
    Logger::process::<Wsgi>().log(Level::Error, httpd_sys::here!(), 0, text.as_bytes());
}

/// A record of daemon mode, in the engine's words.
pub(crate) fn of_worker<'a>(record: &daemon::wire::Record<'a>) -> Record<'a> {
    let level = engine_api::Level::from_raw(record.level.into());
    Record {
        style: Style::from_raw(record.style.into()),
        errno: record.errno,
        file: Bytes::maybe(Some(record.file).filter(|file| !file.is_empty())),
        line: record.line,
        ..Record::new(level, record.code.into(), record.text)
    }
}

/// Logs what a process of daemon mode has to say, with the server it belongs to.
pub(crate) fn server(server: Server<'_>, record: &Record<'_>) {
    put(&server.logger::<Wsgi>(), b"", record);
}

/// Logs what an engine has to say, with the request if there is one.
pub(crate) fn records(request: Option<&Request<'_>>, records: &[Record<'_>]) {
    let logger = match request {
        Some(request) => request.logger::<Wsgi>(),
        None => Logger::process::<Wsgi>(),
    };
    let prefix = request.map(script_prefix).unwrap_or_default();
    for record in records {
        put(&logger, &prefix, record);
    }
}

fn put(logger: &Logger<'_>, prefix: &[u8], record: &Record<'_>) {
    let level = from_engine(record.level);
    if !logger.enabled(level) {
        return;
    }
    let line = line(record, prefix);
    // The place in the application's source, where it is known.
    let file = record.file.get().and_then(|file| CString::new(file).ok());
    let at = match &file {
        Some(file) => Location { file, line: record.line },
        None => httpd_sys::here!(),
    };
    logger.log(level, at, record.errno, &line);
}

fn line(record: &Record<'_>, prefix: &[u8]) -> Vec<u8> {
    let text = record.text.or_empty();
    let code = match record.code {
        0 => String::new(),
        code => format!("WSGI{code:04}: "),
    };
    let code = code.as_bytes();
    match record.style {
        Style::Message => [prefix, code, text].concat(),
        Style::Exception => [code, prefix, text].concat(),
        Style::Traceback => text.to_vec(),
    }
}

fn script_prefix(request: &Request<'_>) -> Vec<u8> {
    let file = request.filename();
    let mut prefix = Vec::with_capacity(file.len() + 200);
    prefix.extend_from_slice(b"[script ");
    prefix.extend_from_slice(file);
    prefix.extend_from_slice(b"] ");
    prefix
}

fn level(level: log_codes::Level) -> Level {
    match level {
        log_codes::Level::Alert => Level::Alert,
        log_codes::Level::Crit => Level::Critical,
        log_codes::Level::Error => Level::Error,
        log_codes::Level::Warn => Level::Warning,
    }
}

fn from_engine(level: engine_api::Level) -> Level {
    Level::from_raw(level as i32)
}

/// The engine's word for the least bad level that `logger` logs.
pub(crate) fn to_engine(logger: &Logger<'_>) -> engine_api::Level {
    engine_api::Level::from_raw(logger.level() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_style() {
        let mut record = Record::new(engine_api::Level::Error, 174, b"text %s");
        let shown = |record: &Record<'_>| {
            String::from_utf8_lossy(&line(record, b"[script /a] ")).into_owned()
        };
        assert_eq!(shown(&record), "[script /a] WSGI0174: text %s");
        record.style = Style::Exception;
        assert_eq!(shown(&record), "WSGI0174: [script /a] text %s");
        record.style = Style::Traceback;
        assert_eq!(shown(&record), "text %s");
        record = Record { code: 0, text: Bytes::from("print"), ..record };
        record.style = Style::Message;
        assert_eq!(shown(&record), "[script /a] print");
    }

    #[test]
    fn levels_have_the_same_numbers() {
        use engine_api::Level as Engine;
        for (engine, ours) in [
            (Engine::Alert, Level::Alert),
            (Engine::Critical, Level::Critical),
            (Engine::Error, Level::Error),
            (Engine::Warning, Level::Warning),
            (Engine::Notice, Level::Notice),
            (Engine::Info, Level::Info),
            (Engine::Debug, Level::Debug),
            (Engine::Trace1, Level::Trace1),
        ] {
            assert_eq!(from_engine(engine), ours);
            assert_eq!(Engine::from_raw(ours as u32), engine);
        }
    }
}
