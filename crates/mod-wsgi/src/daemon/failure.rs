//! What becomes of a request without a response, or with a part of one: status and log line.
//!
//! A status is the server's to render, with an `ErrorDocument` if there is one. Where the response
//! has begun, the client must see that it is cut short.

use daemon::client::{Error, ErrorKind};
use engine_api::{Fault, FaultKind};
use httpd_sys::{Level, Status};
use log_codes::{
    WSGI0116, WSGI0117, WSGI0118, WSGI0119, WSGI0120, WSGI0121, WSGI0124, WSGI0126, WSGI0144,
    WSGI0145, WSGI0146, WSGI0147, WSGI0148,
};

use crate::groups::Known;
use crate::host::RequestHost;
use crate::log;

/// What stands where mod_wsgi names its socket.
const CHANNEL: &str = "(supervisor)";

/// The exchange with a worker has failed.
pub(super) fn of_exchange(host: &mut RequestHost<'_, '_>, known: &Known, error: &Error) -> Status {
    let name = known.group.process.name.as_slice();
    let errno = error.errno().unwrap_or(0);
    let request = host.request();
    let status = match error.kind() {
        ErrorKind::NotReady | ErrorKind::Full => {
            log::request(request, WSGI0116.message([&name, &CHANNEL]));
            503
        }
        ErrorKind::Down | ErrorKind::Failing => {
            let name = name.escape_ascii();
            let text = format!("Daemon process '{name}' cannot take requests: {error}.");
            log::text(request, Level::Error, &text);
            503
        }
        ErrorKind::NoSupervisor => {
            let uid = nix::unistd::geteuid().as_raw();
            log::request_errno(request, WSGI0117.message([&name, &CHANNEL, &uid]), errno);
            503
        }
        ErrorKind::TooManyRestarts => {
            let attempts = 2 * known.group.process.process_count() + 1;
            log::request(request, WSGI0124.message([&name, &attempts]));
            503
        }
        // The worker has said so, or would have.
        ErrorKind::QueueTimeout => {
            log::request(request, log_codes::WSGI0084.message([&name]));
            504
        }
        ErrorKind::Service | ErrorKind::Timeout | ErrorKind::Deadline => {
            log::request(request, WSGI0145.message([&name]));
            504
        }
        ErrorKind::SendTimeout => {
            log::request_errno(request, WSGI0121.message([&name, &CHANNEL]), errno);
            504
        }
        ErrorKind::Closed if errno == 0 => {
            log::request(request, WSGI0146.message([&name]));
            502
        }
        ErrorKind::Closed => {
            log::request(request, WSGI0147.message([&name, &error.to_string()]));
            502
        }
        ErrorKind::Truncated => {
            log::request_errno(request, WSGI0119.message([]), errno);
            502
        }
        ErrorKind::Malformed => {
            log::request(request, WSGI0148.message([&error.to_string(), &name]));
            500
        }
        _ => {
            log::request_errno(request, WSGI0121.message([&name, &CHANNEL]), errno);
            500
        }
    };
    let retry = matches!(error.kind(), ErrorKind::NotReady | ErrorKind::Full);
    if retry && !host.is_begun() {
        host.request().error_headers_out().set(c"Retry-After", c"1");
    }
    host.fail(status)
}

/// The client's side of the response has failed.
pub(super) fn of_client(host: &mut RequestHost<'_, '_>, fault: &Fault) -> Status {
    let request = host.request();
    match fault.kind {
        FaultKind::Timeout => log::request_errno(request, WSGI0120.message([]), fault.errno),
        // Clients may go when they like.
        FaultKind::ClientGone => {}
        _ => log::request_errno(request, WSGI0118.message([]), fault.errno),
    }
    host.break_off()
}

/// The request's body cannot be had, before anybody was asked to handle the request.
pub(super) fn no_body(host: &mut RequestHost<'_, '_>, fault: &Fault) -> Status {
    let text = fault.text.as_str();
    log::request_errno(host.request(), WSGI0126.message([&text]), fault.errno);
    let status = if fault.status == 0 { 400 } else { fault.status };
    host.fail(status)
}

/// The request is larger than one may be.
pub(super) fn too_large(host: &mut RequestHost<'_, '_>, known: &Known) -> Status {
    let name = known.group.process.name.as_slice();
    log::request(host.request(), WSGI0121.message([&name, &CHANNEL]));
    host.fail(500)
}

/// The response's head has a line that is longer than one may be.
pub(super) fn header_too_long(host: &mut RequestHost<'_, '_>, known: &Known) -> Status {
    let name = known.group.process.name.as_slice();
    log::request(host.request(), WSGI0144.message([&name]));
    host.fail(500)
}

/// This child does not know how to reach the group.
pub(super) fn not_run(host: &mut RequestHost<'_, '_>, known: &Known) -> Status {
    let name = known.group.process.name.as_slice();
    log::request(host.request(), WSGI0117.message([&name, &CHANNEL, &0]));
    host.fail(503)
}

/// The worker has no response.
pub(super) fn rendered(host: &mut RequestHost<'_, '_>, status: u16, text: &[u8]) -> Status {
    if !text.is_empty() {
        log::text(host.request(), Level::Error, &String::from_utf8_lossy(text));
    }
    host.fail(status)
}

/// Words for an application whose client's body cannot be had.
pub(super) fn phrase(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::ClientGone => "the client closed the connection",
        FaultKind::Timeout => "the timeout has expired",
        FaultKind::TooLarge => "the request body is too large",
        FaultKind::Malformed => "the request body is malformed",
        _ => "the request body cannot be read",
    }
}
