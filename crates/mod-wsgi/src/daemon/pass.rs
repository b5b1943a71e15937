//! A request, from a child to a worker and back.
//!
//! The worker asks for the body when the application does, so a client that waits for `100-continue`
//! gets it then and not before. What comes back is passed on as it comes; the client gets what there
//! is when nothing more comes for a moment. A response that is cut short on this way is cut short
//! for the client, too.

use std::time::{SystemTime, UNIX_EPOCH};

use daemon::client::{BodyFault, Event, Exchange, Options, Part};
use daemon::wire::{
    CancelReason, EnvironWriter, Facts, FaultKind as Told, ResponseHead, TooLarge, Value, field,
};
use engine_api::{Bytes, Fault, FaultKind, Flags, Head, Host, Pair, Record, Slice, Style};
use httpd_sys::Status;

use super::client::{Line, line};
use super::failure;
use super::redirect::Redirect;
use crate::groups::Known;
use crate::host::RequestHost;

/// A body of so many bytes travels with the request.
const SMALL: usize = 16 << 10;

/// What is said about a request's body before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    /// Its length; `None` if that is not known before.
    pub(crate) length: Option<u64>,
    /// The client waits until it is told to send it.
    pub(crate) waits: bool,
    /// `WSGIIgnoreActivity`: neither body nor request counts as a worker's work.
    pub(crate) ignore_activity: bool,
}

/// Has a worker of the group handle the request, and passes its response on.
pub(crate) fn pass(
    known: &Known,
    request: &engine_api::Request<'_>,
    body: Body,
    host: &mut RequestHost<'_, '_>,
) -> Status {
    let Some((child, line)) = line(known) else {
        return failure::not_run(host, known);
    };
    let small = match small_body(host, body) {
        Ok(small) => small,
        Err(fault) => return failure::no_body(host, &fault),
    };
    let mut frame = Vec::with_capacity(4096 + small.as_ref().map_or(0, Vec::len));
    if write(&mut frame, request, body, small.as_deref(), host).is_err() {
        return failure::too_large(host, known);
    }
    let timeout = line.socket_timeout.unwrap_or_else(|| host.request().server().timeout());
    let options = Options { socket_timeout: timeout, ..line.options };
    let exchange = match child.send(&line.group, &mut frame, &options) {
        Ok(exchange) => exchange,
        Err(error) => return failure::of_exchange(host, known, &error),
    };
    let connection = host.request().connection();
    let before = line.client_timeout.and_then(|timeout| connection.set_timeout(timeout));
    let status = relay(known, line, exchange, host);
    // The connection may have other requests to come.
    before.map(|before| connection.set_timeout(before));
    status
}

/// Reads a body that is so small that it can travel with the request; `None` if it is not.
fn small_body(host: &mut RequestHost<'_, '_>, body: Body) -> Result<Option<Vec<u8>>, Fault> {
    let length = body.length.and_then(|length| usize::try_from(length).ok());
    let Some(length) = length.filter(|length| *length <= SMALL && !body.waits) else {
        return Ok(body.length.filter(|length| *length == 0).map(|_| Vec::new()));
    };
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match host.read(room)? {
            0 => return Err(Fault::new(FaultKind::ClientGone, "the body is not complete")),
            count => filled += count,
        }
    }
    Ok(Some(bytes))
}

/// Writes the request's frame.
fn write(
    frame: &mut Vec<u8>,
    request: &engine_api::Request<'_>,
    body: Body,
    small: Option<&[u8]>,
    host: &mut RequestHost<'_, '_>,
) -> Result<(), TooLarge> {
    let facts = Facts {
        request_start: request.request_start,
        queue_start: now(),
        body_length: body.length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
        ..Facts::default()
    };
    let mut environ = EnvironWriter::new(frame, &facts);
    for pair in request.environ.get() {
        environ.pair(pair.name.or_empty(), pair.value.or_empty());
    }
    let mut fields = environ.fields();
    let mut text = |number, bytes: &Bytes<'_>| {
        if let Some(bytes) = bytes.get() {
            fields.field(number, Value::Bytes(bytes));
        }
    };
    text(field::REQUEST_ID, &request.request_id);
    text(field::CONNECTION_ID, &request.connection_id);
    text(field::SCRIPT, &request.script);
    if request.resource.get() != request.script.get() {
        text(field::RESOURCE, &request.resource);
    }
    text(field::HANDLER_SCRIPT, &request.handler_script);
    text(field::APPLICATION_GROUP, &request.application_group);
    text(field::CALLABLE, &request.callable);
    fields.field(field::SCRIPT_MTIME, Value::Int(request.script_mtime));
    fields.field(field::SERVER_PID, Value::Int(request.server_pid.into()));
    fields.field(field::LOG_LEVEL, Value::Int(i64::from(host.level() as u32)));
    for (number, flag) in [
        (field::HTTPS, request.https),
        (field::HEAD, request.head),
        (field::RELOAD, request.reload),
        (field::LOWER_CASE, request.lower_case),
        (field::IGNORE_ACTIVITY, body.ignore_activity),
    ] {
        if flag {
            fields.field(number, Value::Flag(true));
        }
    }
    fields.finish(small.unwrap_or_default(), small.is_some())
}

/// Passes on what the worker says.
fn relay(
    known: &Known,
    line: &Line,
    mut exchange: Exchange<'_>,
    host: &mut RequestHost<'_, '_>,
) -> Status {
    let mut unflushed = 0;
    let mut has_head = false;
    let mut redirect: Option<Redirect> = None;
    loop {
        if has_head && !exchange.is_ready(line.flush_delay) {
            if let Err(fault) = host.respond(None, &[], Flags::FLUSH) {
                return give_up(exchange, host, &fault);
            }
            (unflushed, has_head) = (0, false);
        }
        let sent = match exchange.next_event() {
            Ok(Event::Read(credit)) => {
                let pulled = exchange.pull(credit, |buffer, wait| read(host, buffer, wait));
                match pulled {
                    Ok(()) => continue,
                    Err(error) => return failure::of_exchange(host, known, &error),
                }
            }
            Ok(Event::Head { head, .. }) if longest_line(&head) > line.header_limit => {
                exchange.cancel(CancelReason::ClientGone);
                return failure::header_too_long(host, known);
            }
            Ok(Event::Head { head, flush, end }) => {
                redirect = Redirect::of(&head, host);
                if redirect.is_some() {
                    continue;
                }
                has_head = !flush && !end;
                begin(host, &head, flags(flush, end))
            }
            Ok(Event::Body { bytes, flush, end }) => {
                if let Some(redirect) = &mut redirect {
                    if redirect.take(bytes.len()) {
                        continue;
                    }
                    exchange.cancel(CancelReason::ClientGone);
                    return redirect.follow(host);
                }
                unflushed += bytes.len();
                let flush = flush || unflushed >= line.flush_limit;
                if flush {
                    unflushed = 0;
                }
                has_head = !flush && !end;
                let chunk = [Bytes::new(bytes)];
                host.respond(None, if bytes.is_empty() { &[] } else { &chunk }, flags(flush, end))
            }
            Ok(Event::Log(records)) => {
                let records: Vec<Record<'_>> = records.iter().map(record).collect();
                host.log(&records);
                continue;
            }
            Ok(Event::Render { status, text }) => {
                return failure::rendered(host, status, text);
            }
            Ok(Event::End) => {
                return redirect.map_or(Status::Ok, |redirect| redirect.follow(host));
            }
            Err(error) => return failure::of_exchange(host, known, &error),
        };
        if let Err(fault) = sent {
            return give_up(exchange, host, &fault);
        }
    }
}

/// The client cannot be reached: tells the worker.
fn give_up(exchange: Exchange<'_>, host: &mut RequestHost<'_, '_>, fault: &Fault) -> Status {
    exchange.cancel(CancelReason::ClientGone);
    failure::of_client(host, fault)
}

/// Length of the longest line in a response's head, without its end.
fn longest_line(head: &ResponseHead<'_>) -> usize {
    head.headers().map(|(name, value)| name.len() + b": ".len() + value.len()).max().unwrap_or(0)
}

/// Sets the head of the response.
fn begin(
    host: &mut RequestHost<'_, '_>,
    head: &ResponseHead<'_>,
    flags: Flags,
) -> Result<(), Fault> {
    let headers: Vec<Pair<'_>> =
        head.headers().map(|(name, value)| Pair::new(name, value)).collect();
    let head = Head {
        status: head.status(),
        reason: Bytes::new(head.reason()),
        headers: Slice::new(&headers),
        content_length: head.content_length(),
    };
    host.respond(Some(&head), &[], flags)
}

fn flags(flush: bool, end: bool) -> Flags {
    match (flush, end) {
        (_, true) => Flags::END,
        (true, false) => Flags::FLUSH,
        (false, false) => Flags::NONE,
    }
}

/// Reads the body for the worker, waiting only if `wait`.
fn read(
    host: &mut RequestHost<'_, '_>,
    buffer: &mut [u8],
    wait: bool,
) -> Result<Part, BodyFault<'static>> {
    let count = match host.read_now(buffer) {
        Some(count) => count,
        None if !wait => return Ok(Part::NotNow),
        None => host.read(buffer),
    };
    match count {
        Ok(0) => Ok(Part::End),
        Ok(count) => Ok(Part::Bytes(count)),
        Err(fault) => Err(BodyFault {
            kind: match fault.kind {
                FaultKind::ClientGone => Told::ClientGone,
                FaultKind::Timeout => Told::ClientSlow,
                FaultKind::TooLarge => Told::TooLarge,
                FaultKind::Malformed => Told::NotHttp,
                _ => Told::Other,
            },
            status: fault.status,
            errno: fault.errno,
            text: failure::phrase(fault.kind),
        }),
    }
}

/// A record of the worker, in the engine's words.
fn record<'a>(record: &daemon::wire::Record<'a>) -> Record<'a> {
    let level = engine_api::Level::from_raw(record.level.into());
    Record {
        style: Style::from_raw(record.style.into()),
        errno: record.errno,
        file: Bytes::maybe(Some(record.file).filter(|file| !file.is_empty())),
        line: record.line,
        ..Record::new(level, record.code.into(), record.text)
    }
}

/// Now, as an `apr_time_t`.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
