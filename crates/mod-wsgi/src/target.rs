//! Where a request runs: process group, application group and callable.
//!
//! A name that is not written out in the configuration is made for each request. What a client
//! sends can be part of it (the `Host` header with `%{HOST}`, the path with a pattern), and each
//! new name is a new interpreter with a copy of the application. So the port is ours and never the
//! client's, and the number of names that requests may make is bounded: here in a child that has the
//! interpreters, and by the processes of a group for theirs.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

use httpd_sys::{Request, Status};
use log_codes::WSGI1002;
use wsgi_config::{cgi, names};

use crate::groups::{self, ProcessGroup};
use crate::settings::Effective;
use crate::translate::Options;
use crate::{child, daemon, log};

/// Names that requests may make in one process, beside those the configuration writes out.
pub(crate) const MOST_NAMES: usize = 100;

/// Where a request runs.
pub(crate) struct Target<'a> {
    pub(crate) process_group: ProcessGroup,
    /// Empty is the main interpreter.
    pub(crate) application_group: Vec<u8>,
    /// The request, and not the configuration alone, has made that name.
    pub(crate) is_named: bool,
    pub(crate) callable: Cow<'a, [u8]>,
}

/// Resolves the target of `request`.
///
/// # Errors
/// The status to answer with; the reason is in the log.
pub(crate) fn resolve<'a>(
    request: &Request<'_>,
    effective: Effective<'a>,
    options: Options<'a>,
    script_name: &[u8],
    lower_case: bool,
) -> Result<Target<'a>, Status> {
    let parts = Parts { request, script_name, lower_case };
    let set = |field: fn(&crate::settings::Settings) -> &Option<Vec<u8>>| {
        effective.get(field).map(Vec::as_slice)
    };
    let process_group = options.process_group.or_else(|| set(|s| &s.process_group));
    let process_group = names::process_group(process_group, &parts);
    let allowed = effective.get(|s| &s.restrict_process);
    let process_group = groups::select(request, &process_group, allowed)?;
    let written = options.application_group.or_else(|| set(|s| &s.application_group));
    let application_group = names::application_group(written, &parts);
    let application_group = match process_group {
        ProcessGroup::Embedded => child::application_group(application_group),
        ProcessGroup::Daemon(known) => daemon::application_group(known, application_group),
    };
    let is_named = options.dispatched_group
        || !written.is_some_and(|name| names::is_static(name) || name == b"%{SERVER}");
    let here = matches!(process_group, ProcessGroup::Embedded);
    if here && is_named && !is_admitted(&application_group) {
        log::request(request, WSGI1002.message([&application_group, &MOST_NAMES]));
        return Err(Status::Http(503));
    }
    let callable = match (options.dispatched_callable, options.callable_object) {
        (Some(name), _) => names::callable(Some(name), &parts),
        // The option of an alias is taken literally.
        (None, Some(name)) => Cow::Borrowed(name),
        (None, None) => names::callable(set(|s| &s.callable_object), &parts),
    };
    Ok(Target { process_group, application_group, is_named, callable })
}

/// Whether a name that a request made may have an interpreter.
pub(crate) fn is_admitted(name: &[u8]) -> bool {
    static NAMES: Mutex<Option<HashSet<Vec<u8>>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    names.contains(name) || (names.len() < MOST_NAMES && names.insert(name.to_vec()))
}

/// What names are made of.
pub(crate) struct Parts<'a, 'r> {
    pub(crate) request: &'a Request<'r>,
    pub(crate) script_name: &'a [u8],
    pub(crate) lower_case: bool,
}

impl names::Request for Parts<'_, '_> {
    fn server(&self) -> &[u8] {
        self.request.server().hostname()
    }

    /// A host that is not one of the virtual host's own names would be an interpreter of the
    /// client's making.
    fn host(&self) -> &[u8] {
        self.request.hostname().filter(|host| self.request.is_own_name(host)).unwrap_or_default()
    }

    /// By the rules of `UseCanonicalName`, which may believe the client, but only a port that is
    /// really ours.
    fn port(&self) -> u16 {
        let default = if self.request.scheme() == b"https" { 443 } else { 80 };
        let configured = self.request.server().port().unwrap_or(default);
        let port = self.request.server_port();
        let ours = [configured, self.request.connection().local_port(), 80, 443];
        if ours.contains(&port) { port } else { configured }
    }

    fn script_name(&self) -> Cow<'_, [u8]> {
        let mut name = cgi::collapse_slashes(self.script_name);
        if self.lower_case {
            name.to_mut().make_ascii_lowercase();
        }
        name
    }

    fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
        let name = CString::new(name).ok()?;
        let request = self.request;
        let found = request.notes().get(&name).or_else(|| request.environment().get(&name));
        found.map(<[u8]>::to_vec).or_else(|| Request::process_variable(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_02_requests_cannot_make_names_without_bound() {
        for n in 0..MOST_NAMES {
            assert!(is_admitted(format!("host{n}").as_bytes()));
        }
        assert!(!is_admitted(b"one more"));
        assert!(is_admitted(b"host0"));
    }
}
