//! Scripts that take part in a request before an application does: who may come in ([`access`]),
//! who somebody is and which groups he is in ([`auth`]), and where the request runs ([`dispatch`]).
//!
//! They run in the server's own children, whichever process the application is in, and Python starts
//! for them when it must, also where `WSGIRestrictEmbedded On` keeps applications out. Nothing that
//! goes wrong opens a door: the log has the reason, and the client gets 403 or 500.
//!
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/access-control-mechanisms.html>

pub(crate) mod access;
pub(crate) mod auth;
pub(crate) mod dispatch;

use std::sync::LazyLock;

use engine_api::{Bytes, Decision, Pair, Slice, Verdict};
use httpd_sys::{Level, Request};
use log_codes::{Code, WSGI0210, WSGI1002};
use wsgi_config::names::{self, Keywords};

use crate::environ::Environ;
use crate::host::RequestHost;
use crate::settings::{Effective, HookScript, Settings};
use crate::target::{self, Parts};
use crate::{Wsgi, child, log};

/// What is asked of a script.
struct Ask<'a> {
    script: &'a HookScript,
    decision: Decision,
    /// Behind `environ`.
    arguments: &'a [&'a [u8]],
    /// What to log if there is no interpreter for it.
    unavailable: &'static Code<1>,
}

/// The settings of a request, in both trees.
pub(crate) fn effective<'r>(request: &Request<'r>) -> Effective<'r> {
    /// Where a tree says nothing at all.
    static NOTHING: LazyLock<Settings> = LazyLock::new(Settings::default);
    let nothing = &*NOTHING;
    let server = request.server().config::<Wsgi>();
    Effective {
        section: request.section::<Wsgi>().unwrap_or(nothing),
        server: server.map_or(nothing, |configured| &configured.server.settings),
    }
}

/// Asks a script that is about the client. What it names goes to `names`.
fn ask(
    request: &mut Request<'_>,
    effective: Effective<'_>,
    ask: &Ask<'_>,
    names: &mut (dyn FnMut(u32, &[u8]) + Send),
) -> Verdict {
    let mut environ = Environ::new(request);
    environ.collect_for_hook(request);
    let script_name = environ.place();
    ask_with(request, effective, ask, script_name, environ.pairs(), names)
}

/// Asks a script, with these variables.
fn ask_with(
    request: &mut Request<'_>,
    effective: Effective<'_>,
    ask: &Ask<'_>,
    script_name: &[u8],
    pairs: &[Pair<'_>],
    names: &mut (dyn FnMut(u32, &[u8]) + Send),
) -> Verdict {
    let lower_case = !child::global().is_case_sensitive();
    let Some(group) = application_group(request, ask.script, script_name, lower_case) else {
        return Verdict::Failed;
    };
    let Some(engine) = child::engine() else {
        log::code(request, &WSGI0210);
        return Verdict::Failed;
    };
    let arguments: Vec<Bytes<'_>> = ask.arguments.iter().map(|text| Bytes::new(text)).collect();
    let pass_record = effective.flag(|s| &s.pass_apache_request, false);
    let hook = engine_api::Hook {
        decision: ask.decision,
        environ: Slice::new(pairs),
        script: Bytes::new(&ask.script.path),
        application_group: Bytes::new(&group),
        arguments: Slice::new(&arguments),
        request_rec: if pass_record { request.as_ptr().cast() } else { std::ptr::null_mut() },
        reload: effective.flag(|s| &s.script_reloading, true),
        lower_case,
    };
    let mut host = RequestHost::new(request, false);
    engine.decide(&hook, &mut host, names).unwrap_or_else(|fault| {
        let title = match group.as_slice() {
            b"" => "main interpreter".to_owned(),
            name => format!("sub-interpreter '{}'", String::from_utf8_lossy(name)),
        };
        log::request(request, ask.unavailable.message([&title]));
        log::text(request, Level::Error, &fault.text);
        Verdict::Failed
    })
}

/// The interpreter of a script: the main one unless the configuration says otherwise. `None` if
/// clients have named too many.
fn application_group(
    request: &Request<'_>,
    script: &HookScript,
    script_name: &[u8],
    lower_case: bool,
) -> Option<Vec<u8>> {
    let written = script.application_group.as_deref().unwrap_or_default();
    let parts = Parts { request, script_name, lower_case };
    let group = child::application_group(names::group(written, Keywords::Hook, &parts));
    if written == b"%{HOST}" && !target::is_admitted(&group) {
        log::request(request, WSGI1002.message([&group, &target::MOST_NAMES]));
        return None;
    }
    Some(group)
}
