//! From a request to the engine, and what became of it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use engine_api::{Bytes, Engine, Fault, Reply, ReplyKind, Slice};
use httpd_sys::{Level, Request, RequestHook, Status};
use log_codes::{WSGI0210, WSGI1004};

use crate::environ::Environ;
use crate::groups::ProcessGroup;
use crate::hooks::dispatch::dispatch;
use crate::host::RequestHost;
use crate::linger::Busy;
use crate::meter::{self, Metered};
use crate::settings::{Effective, HandlerScript};
use crate::translate::{self, HANDLER, Options};
use crate::{admission, child, daemon, hooks, log, shown, target};

/// The name under which `AddType` reaches this handler.
const TYPE: &[u8] = b"application/x-httpd-wsgi";

/// What is called in a handler script.
const ENTRY: &[u8] = b"handle_request";

/// The hook.
pub(crate) struct Scripts;

impl RequestHook for Scripts {
    fn run(request: &mut Request<'_>) -> Status {
        let Some(handler) = request.handler() else { return Status::Declined };
        let effective = hooks::effective(request);
        let by = if handler == HANDLER.to_bytes() || handler == TYPE {
            None
        } else {
            match effective.handler_script(handler) {
                Some(script) => Some(script),
                None => return Status::Declined,
            }
        };
        let threshold = child::global().slow_requests.filter(|threshold| *threshold > 0.0);
        let began = threshold.map(|threshold| (threshold, Instant::now()));
        let _busy = Busy::begin();
        let status = serve(request, effective, by).unwrap_or_else(|status| status);
        if let Some((threshold, began)) = began {
            tell_if_slow(request, threshold, began.elapsed());
        }
        status
    }
}

/// Says so if a request took longer than the administrator thinks it should.
fn tell_if_slow(request: &Request<'_>, threshold: f64, took: Duration) {
    let threshold = Duration::try_from_secs_f64(threshold).unwrap_or(Duration::MAX);
    if took > threshold {
        // Not as floating-point numbers, the printing of which takes much room in a library.
        let took = took.as_millis();
        let took = format!("{}.{:03}", took / 1000, took % 1000);
        let threshold = format!("{}.{:06}", threshold.as_secs(), threshold.subsec_micros());
        let threshold = threshold.trim_end_matches('0').trim_end_matches('.');
        let (method, uri) = (request.method(), request.uri());
        log::request(request, WSGI1004.message([&method, &uri, &took, &threshold]));
    }
}

/// Serves a request with its own file as the script, or with a handler script.
fn serve(
    request: &mut Request<'_>,
    effective: Effective<'_>,
    by: Option<&HandlerScript>,
) -> Result<Status, Status> {
    let options = options(request, by)?;
    let content_length = admission::check(request, effective)?;
    let global = child::global();
    let lower_case = !global.is_case_sensitive();
    let pass_authorization = options
        .pass_authorization
        .unwrap_or_else(|| effective.flag(|s| &s.pass_authorization, false));
    meter::take_trace(request, effective);
    let mut environ = Environ::new(request);
    environ.collect(request, effective, pass_authorization);
    let https = environ.take_https(request, effective);
    let (script_name, pairs) = (environ.place(), environ.pairs());
    let dispatched = dispatch(request, effective, script_name, pairs, https)?;
    let options = dispatched.over(options);
    let target = target::resolve(request, effective, options, script_name, lower_case)?;
    let metered = Metered::begin(request, target.process_group);
    let engine = match target.process_group {
        ProcessGroup::Embedded => Some(embedded(request)?),
        ProcessGroup::Daemon(_) => None,
    };

    let shown = child::shows_variables();
    if shown {
        shown::show(request, pairs, &target);
    }
    let resource = request.filename();
    let script = by.map_or(resource, |by| &by.script);
    let process = child::process();
    let pass_record = effective.flag(|s| &s.pass_apache_request, false);
    let described = engine_api::Request {
        environ: Slice::new(pairs),
        script: Bytes::new(script),
        resource: Bytes::new(resource),
        handler_script: by.map_or(Bytes::ABSENT, |by| Bytes::new(&by.script)),
        // Of a handler script, whoever runs it asks.
        script_mtime: if by.is_some() { -1 } else { request.file_modified() },
        application_group: Bytes::new(&target.application_group),
        callable: Bytes::new(&target.callable),
        request_id: request.log_id().into(),
        connection_id: request.connection().log_id().into(),
        request_start: request.time(),
        queue_start: 0,
        daemon_start: 0,
        content_length: content_length.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1),
        server_pid: process.pid,
        daemon_connects: 0,
        daemon_restarts: 0,
        request_rec: if pass_record { request.as_ptr().cast() } else { std::ptr::null_mut() },
        https,
        multithread: process.threaded && process.threads != 1,
        multiprocess: process.processes != 1,
        run_once: false,
        head: request.header_only(),
        reload: effective.flag(|s| &s.script_reloading, true),
        lower_case,
        measure: metered.is_some(),
    };
    let show = |request: &Request<'_>, status: Status| {
        // Whatever is served instead finds them again, as `REDIRECT_HTTP_HOST` and so on.
        if !shown && matches!(status, Status::Http(_)) {
            shown::show(request, pairs, &target);
        }
    };
    let sendfile = effective.flag(|s| &s.enable_sendfile, false);
    let mut host = RequestHost::new(request, sendfile);
    host.metered = metered;
    host.override_errors(effective.flag(|s| &s.error_override, false));
    let status = match (target.process_group, engine) {
        (ProcessGroup::Daemon(known), _) => {
            let body = body(&host, content_length, effective, target.is_named);
            let status = daemon::pass(known, &described, body, &buffering(effective), &mut host);
            host.overridden().unwrap_or(status)
        }
        (ProcessGroup::Embedded, Some(engine)) => run(&engine, &described, &mut host),
        (ProcessGroup::Embedded, None) => return Err(Status::INTERNAL_SERVER_ERROR),
    };
    let metered = host.metered.take();
    show(request, status);
    Ok(finish(metered, request, status))
}

/// What the alias or the handler script says, if the request may use it.
fn options<'s>(
    request: &Request<'s>,
    by: Option<&'s HandlerScript>,
) -> Result<Options<'s>, Status> {
    match by {
        Some(by) => Ok(Options {
            process_group: by.process_group.as_deref(),
            application_group: by.application_group.as_deref(),
            callable_object: Some(ENTRY),
            pass_authorization: by.pass_authorization,
            ..Options::default()
        }),
        None => {
            let options = translate::options(request);
            admission::check_file(request, options.is_some())?;
            Ok(options.unwrap_or_default())
        }
    }
}

/// What a worker is told of the request's body.
fn body(
    host: &RequestHost<'_, '_>,
    content_length: Option<u64>,
    effective: Effective<'_>,
    is_named: bool,
) -> daemon::Body {
    let request = host.request();
    let is_coded = request.headers_in().get(c"Transfer-Encoding").is_some();
    // What the client says of its length is nothing to go by behind a filter that may change it.
    let is_filtered = content_length != Some(0) && request.has_input_filter();
    let length = content_length.filter(|_| !is_filtered);
    daemon::Body {
        length: length.or((content_length.is_none() && !is_coded).then_some(0)),
        waits: request.expects_continue(),
        ignore_activity: effective.flag(|s| &s.ignore_activity, false),
        is_named,
    }
}

/// Runs the request in this process.
fn run(
    engine: &Engine,
    described: &engine_api::Request<'_>,
    host: &mut RequestHost<'_, '_>,
) -> Status {
    host.hand();
    let reply = engine.handle(described, host);
    let status = host.overridden().unwrap_or_else(|| outcome(host, &reply));
    match &reply {
        Ok(reply) => {
            if let Some(metered) = &mut host.metered {
                metered.replied(reply);
            }
        }
        Err(fault) => log::text(host.request(), Level::Error, &fault.text),
    }
    status
}

/// Records a request that is over, if it is recorded.
///
/// The server would send the response only when the request is logged and its memory gone. Sent now,
/// it is with the client meanwhile, whose next request may be there when the server looks for one:
/// then this thread has it, and neither listener nor another thread is woken. What is part of another
/// response is left to that, which may have more to say before it should go out.
fn finish(metered: Option<Metered>, request: &Request<'_>, status: Status) -> Status {
    // First: who has a small response finds it counted.
    if let Some(metered) = metered {
        metered.finish(request, status);
    }
    if status == Status::Ok && !request.is_subrequest() {
        request.connection().push_unsent();
    }
    status
}

/// What daemon mode may buffer for a request.
fn buffering(effective: Effective<'_>) -> daemon::Buffering<'_> {
    let memory = effective.get(|s| &s.buffer_memory).copied().unwrap_or(64 << 10);
    let limits = daemon::Limits {
        memory: usize::try_from(memory).unwrap_or(usize::MAX),
        file: effective.get(|s| &s.buffer_limit).copied().unwrap_or(64 << 20),
        directory: effective
            .get(|s| &s.buffer_directory)
            .map(|directory| Path::new(OsStr::from_bytes(directory))),
    };
    daemon::Buffering {
        requests: effective.flag(|s| &s.buffer_requests, true).then_some(limits),
        responses: effective.flag(|s| &s.buffer_responses, true).then_some(limits),
    }
}

/// The engine of this process, for a request that runs here.
fn embedded(request: &Request<'_>) -> Result<Engine, Status> {
    let restricted = child::global().restrict_embedded == Some(true);
    admission::check_embedded(request, restricted)?;
    child::engine().ok_or_else(|| {
        log::code(request, &WSGI0210);
        Status::INTERNAL_SERVER_ERROR
    })
}

/// What to tell the server. Whatever was sent cannot be taken back, and no second response may
/// follow it.
fn outcome(host: &mut RequestHost<'_, '_>, reply: &Result<Reply, Fault>) -> Status {
    match reply {
        Ok(Reply { kind: ReplyKind::Sent, .. }) if !host.is_answered() => Status::Ok,
        Ok(Reply { kind: ReplyKind::Render, status, .. }) => host.fail(*status),
        Ok(_) => host.break_off(),
        Err(fault) => host.fail(if fault.status == 0 { 500 } else { fault.status }),
    }
}
