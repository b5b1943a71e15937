//! The content handler: admission, targets, and what became of a request.
//!
//! The checks come in the order of the reference, each with its status and log line; nothing of
//! Python is touched before the last of them.

use std::borrow::Cow;

use engine_api::{Bytes, ReplyKind, Slice};
use httpd_sys::{FileType, Level, Mpm, PathInfo, Request, Status};
use log_codes::{
    WSGI0134, WSGI0135, WSGI0136, WSGI0137, WSGI0138, WSGI0139, WSGI0141, WSGI0143, WSGI0150,
    WSGI0210,
};
use wsgi_config::{cgi, names};

use crate::environ::{self, Environ};
use crate::host::RequestHost;
use crate::runtime;
use crate::settings::{AliasOptions, Effective, Settings};
use crate::{Wsgi, log, translate};

/// The name under which `AddType` reaches this handler.
const TYPE: &[u8] = b"application/x-httpd-wsgi";

/// Answers `request` if it is for a script.
pub(crate) fn handle(request: &mut Request<'_>) -> Status {
    let handler = request.handler().unwrap_or_default();
    if handler != translate::HANDLER.to_bytes() && handler != TYPE {
        return Status::Declined;
    }
    let nothing = Settings::default();
    let section = request.section::<Wsgi>().map_or(&nothing, |section| &section.0);
    let server = request.server().config::<Wsgi>();
    let server = server.map_or(&nothing, |configured| &configured.server.settings);
    let effective = Effective { section, server };
    match admit(request, effective) {
        Ok(content_length) => run(request, effective, content_length),
        Err(status) => status,
    }
}

/// Checks that `request` may run. Returns the length of its body, negative if unknown.
fn admit(request: &Request<'_>, effective: Effective<'_>) -> Result<i64, Status> {
    if !translate::is_aliased(request) && !request.may_execute() {
        log::code(request, &WSGI0134);
        return Err(Status::Http(403));
    }
    match request.file_type() {
        FileType::Missing => {
            log::code(request, &WSGI0135);
            return Err(Status::Http(404));
        }
        FileType::Directory => {
            log::code(request, &WSGI0136);
            return Err(Status::Http(403));
        }
        FileType::Regular | FileType::Other => {}
    }
    if request.accept_path_info() == PathInfo::Reject && !request.path_info().is_empty() {
        log::code(request, &WSGI0137);
        return Err(Status::Http(404));
    }
    let headers = request.headers_in();
    if let Some(coding) = headers.get(c"Transfer-Encoding") {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            log::request(request, WSGI0138.message([&coding]));
            return Err(Status::Http(501));
        }
        if !effective.flag(|s| &s.chunked_request, false) {
            log::code(request, &WSGI0139);
            return Err(Status::Http(411));
        }
        return Ok(-1);
    }
    let Some(value) = headers.get(c"Content-Length") else {
        return Ok(-1);
    };
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    let Some(length) = length.filter(|_| digits) else {
        log::request(request, WSGI0141.message([&value]));
        return Err(Status::Http(400));
    };
    if request.body_limit().is_some_and(|limit| length.unsigned_abs() > limit) {
        return Err(Status::Http(413));
    }
    Ok(length)
}

fn run(request: &mut Request<'_>, effective: Effective<'_>, content_length: i64) -> Status {
    let options = if translate::is_aliased(request) {
        translate::options(request)
    } else {
        AliasOptions::default()
    };
    let global = runtime::global();
    let lower_case = !global.is_case_sensitive();
    let mut environ = Environ::new(request);
    let names = Names { request, script_name: environ.script_name(), lower_case };
    let process_group = options.process_group.as_ref().or(effective.get(|s| &s.process_group));
    let process_group = names::process_group(process_group.map(Vec::as_slice), &names);
    if !process_group.is_empty() {
        log::request(request, WSGI0150.message([&process_group]));
        return Status::INTERNAL_SERVER_ERROR;
    }
    let group = options.application_group.as_ref().or(effective.get(|s| &s.application_group));
    let application_group = names::application_group(group.map(Vec::as_slice), &names);
    // The option of an alias is taken literally.
    let callable = options.callable_object.clone().unwrap_or_else(|| {
        names::callable(effective.get(|s| &s.callable_object).map(Vec::as_slice), &names)
    });
    if global.restrict_embedded == Some(true) {
        log::code(request, &WSGI0143);
        return Status::INTERNAL_SERVER_ERROR;
    }
    let Some(engine) = runtime::engine() else {
        log::code(request, &WSGI0210);
        return Status::INTERNAL_SERVER_ERROR;
    };
    let pass_authorization = options
        .pass_authorization
        .unwrap_or_else(|| effective.flag(|s| &s.pass_authorization, false));
    environ.collect(request, effective, pass_authorization);
    let https = environ.take_https(request, effective);
    let pairs = environ.pairs();
    let pass_record = effective.flag(|s| &s.pass_apache_request, false);
    let described = engine_api::Request {
        environ: Slice::new(&pairs),
        script: Bytes::new(request.filename()),
        resource: Bytes::new(request.filename()),
        handler_script: Bytes::ABSENT,
        script_mtime: request.file_modified(),
        application_group: Bytes::new(&application_group),
        callable: Bytes::new(&callable),
        request_id: Bytes::maybe(request.log_id()),
        connection_id: Bytes::maybe(request.connection().log_id()),
        request_start: request.time(),
        queue_start: 0,
        daemon_start: 0,
        content_length,
        server_pid: std::process::id(),
        daemon_connects: 0,
        daemon_restarts: 0,
        request_rec: if pass_record { request.as_ptr().cast() } else { std::ptr::null_mut() },
        https,
        multithread: Mpm.is_threaded() && Mpm.max_threads() != 1,
        multiprocess: Mpm.max_daemons() != 1,
        run_once: false,
        head: request.header_only(),
        reload: effective.flag(|s| &s.script_reloading, true),
        lower_case,
    };
    let sendfile = effective.flag(|s| &s.enable_sendfile, false);
    let mut host = RequestHost::new(request, sendfile);
    let reply = engine.handle(&described, &mut host);
    let begun = host.is_begun();
    let (kind, status) = match reply {
        Ok(reply) => (reply.kind, reply.status),
        Err(fault) => {
            log::text(host.request(), Level::Error, &fault.text);
            (ReplyKind::Render, 500)
        }
    };
    match kind {
        ReplyKind::Sent => Status::Ok,
        // Apache has answered itself, because of what it found in the request's body.
        ReplyKind::Render if !begun && host.request().is_answered() => Status::Done,
        ReplyKind::Render if !begun => Status::Http(status),
        // What was sent cannot be taken back, and a second response must not follow it.
        ReplyKind::Render | ReplyKind::Truncated => {
            host.abort();
            Status::Ok
        }
    }
}

/// What group names are made of.
struct Names<'a, 'r> {
    request: &'a Request<'r>,
    script_name: &'r [u8],
    lower_case: bool,
}

impl names::Request for Names<'_, '_> {
    fn server(&self) -> &[u8] {
        self.request.server().hostname()
    }

    /// A name that is not the virtual host's own would be an interpreter of the client's making.
    fn host(&self) -> &[u8] {
        let host = self.request.hostname().unwrap_or_default();
        if self.request.is_own_name(host) { host } else { b"" }
    }

    /// The port in `ServerName`, else the one that the connection came in on; never the one that
    /// the client wrote behind its host.
    fn port(&self) -> u16 {
        self.request.server().port().unwrap_or_else(|| self.request.connection().local_port())
    }

    fn script_name(&self) -> Cow<'_, [u8]> {
        let mut name = cgi::collapse_slashes(self.script_name);
        if self.lower_case {
            name.to_mut().make_ascii_lowercase();
        }
        name
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        environ::variable(self.request, name)
    }
}
