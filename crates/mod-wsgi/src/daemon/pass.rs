//! A request, from a child to a worker and back.
//!
//! The body is there before a worker is asked ([`Upload`]), unless the client waits for
//! `100-continue`: it gets that when the application reads. What comes back is passed on as it comes
//! and as the client takes it ([`Drain`]); the client gets what there is when nothing more comes for
//! a moment. A response that is cut short on this way is cut short for the client, too.

use std::os::fd::AsFd;

use daemon::client::{BodyFault, Error, Event, Exchange, Options, Part};
use daemon::wire::{
    CancelReason, EnvironWriter, Facts, FaultKind as Told, ResponseHead, TooLarge, Value, field,
};
use engine_api::{Bytes, Fault, FaultKind, Flags, Head, Host, Pair, Record, Slice};
use httpd_sys::Status;

use super::client::{Line, line};
use super::drain::Drain;
use super::failure;
use super::redirect::Redirect;
use super::spool::Limits;
use super::upload::Upload;
use crate::groups::Known;
use crate::host::RequestHost;
use crate::log;
use crate::shown;

/// What is said about a request beside its description: of its body before it is read, and of how
/// a worker is to count it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    /// Its length; `None` if that is not known before.
    pub(crate) length: Option<u64>,
    /// The client waits until it is told to send it.
    pub(crate) waits: bool,
    /// `WSGIIgnoreActivity`: neither body nor request counts as a worker's work.
    pub(crate) ignore_activity: bool,
    /// The request has made the name of its application group.
    pub(crate) is_named: bool,
}

/// What may be buffered, so that no worker waits for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffering<'a> {
    /// Of the request's body; `None` if it goes to the worker as it comes.
    pub(crate) requests: Option<Limits<'a>>,
    /// Of the response; `None` if the worker waits for the client.
    pub(crate) responses: Option<Limits<'a>>,
}

/// Has a worker of the group handle the request, and passes its response on.
pub(crate) fn pass(
    known: &Known,
    request: &engine_api::Request<'_>,
    body: Body,
    buffering: &Buffering<'_>,
    host: &mut RequestHost<'_, '_>,
) -> Status {
    let Some((child, line)) = line(known) else {
        return failure::not_run(host, known);
    };
    let room = || child.room(&line.group, line.buffer_limit);
    let mut upload = match Upload::receive(host, body, buffering.requests, room) {
        Ok(upload) => upload,
        Err(fault) => return failure::no_body(host, &fault),
    };
    let small = upload.small();
    let mut frame = Vec::with_capacity(4096 + small.map_or(0, <[u8]>::len));
    if write(&mut frame, request, body, small, host).is_err() {
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
    let drain = Drain::new(host, buffering.responses, line, room());
    let status = relay(request, known, line, exchange, &mut upload, drain, host);
    // The connection may have other requests to come.
    before.map(|before| connection.set_timeout(before));
    status
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
        queue_start: host.hand(),
        measure: host.metered.is_some(),
        body_length: body.length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
        ..Facts::default()
    };
    let mut environ = EnvironWriter::new(frame, &facts);
    let pairs = request.environ.get().iter();
    environ.pairs(pairs.map(|pair| (pair.name.or_empty(), pair.value.or_empty())));
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
        (field::NAMED_GROUP, body.is_named),
    ] {
        if flag {
            fields.field(number, Value::Flag(true));
        }
    }
    fields.finish(small.unwrap_or_default(), small.is_some())
}

/// Passes on what the worker says.
fn relay(
    request: &engine_api::Request<'_>,
    known: &Known,
    line: &Line,
    mut exchange: Exchange<'_>,
    upload: &mut Upload<'_>,
    mut drain: Drain<'_>,
    host: &mut RequestHost<'_, '_>,
) -> Status {
    let mut redirect: Option<Redirect> = None;
    loop {
        if let Some(metered) = &mut host.metered {
            metered.with_worker(exchange.worker(), exchange.generation());
        }
        if let Err(fault) = drain.turn(&mut exchange, host) {
            return give_up(exchange, host, &fault);
        }
        let sent = match exchange.next_event() {
            Ok(Event::Read(credit)) => {
                // A client may wait for what it is sent before it sends more.
                if let Err(fault) = drain.write_out(host) {
                    return give_up(exchange, host, &fault);
                }
                match give(&mut exchange, credit, upload, host) {
                    Ok(()) => continue,
                    Err(error) => return broken(known, drain, host, &error),
                }
            }
            Ok(Event::Head { head, .. }) if longest_line(&head) > line.header_limit => {
                exchange.cancel(CancelReason::ClientGone);
                return failure::header_too_long(host, known);
            }
            Ok(Event::Head { head, flush, end }) => {
                if let Some(metered) = &mut host.metered {
                    metered.answered(head.times());
                }
                redirect = Redirect::of(&head, host);
                if redirect.is_some() {
                    // What is served instead finds them as `REDIRECT_HTTP_HOST` and so on.
                    shown::show_pairs(host.request(), request.environ.get());
                    continue;
                }
                let flush = drain.flushes(flush);
                drain.has_head(flush, end);
                begin(host, &head, flags(flush, end))
            }
            Ok(Event::Body { bytes, flush, end }) => match &mut redirect {
                Some(redirect) => {
                    if redirect.take(bytes.len()) {
                        continue;
                    }
                    exchange.cancel(CancelReason::ClientGone);
                    return redirect.follow(host);
                }
                None => drain.body(host, bytes, flush, end),
            },
            Ok(Event::Log(records)) => {
                let records: Vec<Record<'_>> = records.iter().map(log::of_worker).collect();
                host.log(&records);
                continue;
            }
            Ok(Event::Render { status, text }) => {
                return failure::rendered(host, status, text);
            }
            Ok(Event::End) => {
                if let Some(metered) = &mut host.metered {
                    metered.complete();
                }
                // From here on the worker does other things.
                drop(exchange);
                return match redirect {
                    Some(redirect) => redirect.follow(host),
                    None => finish(drain, host),
                };
            }
            Err(error) => return broken(known, drain, host, &error),
        };
        if let Err(fault) = sent {
            return give_up(exchange, host, &fault);
        }
    }
}

/// Gives the worker some of the body, as much as it asked for or all of it as a file.
fn give(
    exchange: &mut Exchange<'_>,
    credit: u32,
    upload: &mut Upload<'_>,
    host: &mut RequestHost<'_, '_>,
) -> Result<(), Error> {
    match upload.file() {
        Some((file, from, length)) => exchange.file(file.as_fd(), from, length),
        None => exchange.pull(credit, |buffer, wait| read(upload, host, buffer, wait)),
    }
}

/// The response is complete: the client gets what is left of it.
fn finish(drain: Drain<'_>, host: &mut RequestHost<'_, '_>) -> Status {
    match drain.finish(host) {
        Ok(()) => Status::Ok,
        Err(fault) => failure::of_client(host, &fault),
    }
}

/// The worker says nothing more: the client gets what there was.
fn broken(
    known: &Known,
    mut drain: Drain<'_>,
    host: &mut RequestHost<'_, '_>,
    error: &Error,
) -> Status {
    if host.is_begun()
        && let Err(fault) = drain.write_out(host)
    {
        return failure::of_client(host, &fault);
    }
    failure::of_exchange(host, known, error)
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
        reason: head.reason().into(),
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
    upload: &mut Upload<'_>,
    host: &mut RequestHost<'_, '_>,
    buffer: &mut [u8],
    wait: bool,
) -> Result<Part, BodyFault<'static>> {
    let Some(count) = upload.read(host, buffer, wait) else { return Ok(Part::NotNow) };
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
