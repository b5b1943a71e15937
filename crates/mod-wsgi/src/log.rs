//! Lines in the error log, in the form that operators know.

use engine_api::{Record, Style};
use httpd_sys::{Level, Location, Logger, Request, Server, here};
use log_codes::{Code, Message};

use crate::Wsgi;

/// Logs a coded message with a request: `[script FILE] WSGInnnn: text`.
pub(crate) fn request<const N: usize>(request: &Request<'_>, message: Message<'_, N>) {
    let mut line = script_prefix(request);
    message.write_to(&mut |piece| line.extend_from_slice(piece));
    request.logger::<Wsgi>().log(level(message.entry().level()), here!(), 0, &line);
}

/// Logs a coded message without values with a request.
pub(crate) fn code(request_: &Request<'_>, code: &'static Code<0>) {
    request(request_, code.message([]));
}

/// Logs text with a request, at a level that needs no code.
pub(crate) fn text(request: &Request<'_>, level: Level, text: &str) {
    let logger = request.logger::<Wsgi>();
    if logger.enabled(level) {
        let mut line = script_prefix(request);
        line.extend_from_slice(text.as_bytes());
        logger.log(level, here!(), 0, &line);
    }
}

/// Logs text with a server.
pub(crate) fn plain(server: Server<'_>, level: Level, text: &str) {
    server.logger::<Wsgi>().log(level, here!(), 0, text.as_bytes());
}

/// Logs text with the main server of this process. Any thread.
pub(crate) fn process(level: Level, text: &str) {
    Logger::process::<Wsgi>().log(level, here!(), 0, text.as_bytes());
}

/// Logs a coded message with the main server of this process.
pub(crate) fn process_code(code: &'static Code<0>) {
    let text = code.message([]).to_bytes();
    Logger::process::<Wsgi>().log(level(code.level()), here!(), 0, &text);
}

/// Logs what an engine has to say: with the request if there is one, else with the process.
pub(crate) fn records(request: Option<&Request<'_>>, records: &[Record<'_>]) {
    let prefix = request.map(script_prefix).unwrap_or_default();
    let logger = match request {
        Some(request) => request.logger::<Wsgi>(),
        None => Logger::process::<Wsgi>(),
    };
    for record in records {
        let level = from_engine(record.level);
        if !logger.enabled(level) {
            continue;
        }
        let text = record.text.or_empty();
        let mut line = Vec::with_capacity(prefix.len() + text.len() + 16);
        let code = (record.code != 0).then(|| format!("WSGI{:04}: ", record.code));
        let code = code.as_deref().unwrap_or_default().as_bytes();
        if record.style == Style::Exception {
            line.extend_from_slice(code);
            line.extend_from_slice(&prefix);
        } else {
            line.extend_from_slice(&prefix);
            line.extend_from_slice(code);
        }
        line.extend_from_slice(text);
        let file = record.file.get().and_then(|file| std::ffi::CString::new(file).ok());
        let place = match &file {
            Some(file) => Location { file, line: record.line },
            None => here!(),
        };
        logger.log(level, place, record.errno, &line);
    }
}

fn script_prefix(request: &Request<'_>) -> Vec<u8> {
    [b"[script ", request.filename(), b"] "].concat()
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
    use engine_api::Level as Engine;
    match level {
        Engine::Alert => Level::Alert,
        Engine::Critical => Level::Critical,
        Engine::Error => Level::Error,
        Engine::Warning => Level::Warning,
        Engine::Notice => Level::Notice,
        Engine::Info => Level::Info,
        Engine::Debug => Level::Debug,
        Engine::Trace1 => Level::Trace1,
    }
}
