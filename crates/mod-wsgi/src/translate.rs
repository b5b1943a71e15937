//! Mapping URLs to scripts: `WSGIScriptAlias` and `WSGIScriptAliasMatch`.
//!
//! Runs for every request of the server, so it declines early and allocates only for a match. What
//! an alias says beyond the file travels in notes, which other modules and log formats may read.

use std::ffi::{CStr, CString};

use httpd_sys::{Request, RequestHook, Status};
use wsgi_config::alias;

use crate::settings::{Alias, AliasOptions, Location};
use crate::{Pattern, Wsgi};

/// The handler that an alias forces, and the name of it in configuration files.
pub(crate) const HANDLER: &CStr = c"wsgi-script";

const FORCED: &CStr = c"alias-forced-type";
const PROCESS_GROUP: &CStr = c"mod_wsgi.process_group";
const APPLICATION_GROUP: &CStr = c"mod_wsgi.application_group";
const CALLABLE_OBJECT: &CStr = c"mod_wsgi.callable_object";
const PASS_AUTHORIZATION: &CStr = c"mod_wsgi.pass_authorization";

/// The hook.
pub(crate) struct Aliases;

impl RequestHook for Aliases {
    fn run(request: &mut Request<'_>) -> Status {
        let Some(configured) = request.server().config::<Wsgi>() else {
            return Status::Declined;
        };
        let uri = request.uri();
        if configured.server.aliases.is_empty() || !uri.starts_with(b"/") {
            return Status::Declined;
        }
        let mut aliases = configured.server.aliases.iter();
        let found = aliases.find_map(|alias| Some((alias, place(alias, request, uri)?)));
        let Some((alias, (target, rest))) = found else {
            return Status::Declined;
        };
        if !alias::is_path_info(target, rest) || !request.map_to_file(target, rest) {
            request.set_filename(&[target, rest].concat());
        }
        request.set_handler(HANDLER);
        note_options(request, &alias.options);
        Status::Ok
    }
}

fn note_options<'r>(request: &Request<'r>, options: &AliasOptions) {
    let (notes, pool) = (request.notes(), request.pool());
    notes.set_borrowed(FORCED, HANDLER);
    for (note, value) in [
        (PROCESS_GROUP, options.process_group.as_deref()),
        (APPLICATION_GROUP, options.application_group.as_deref()),
        (CALLABLE_OBJECT, options.callable_object.as_deref()),
        (PASS_AUTHORIZATION, options.pass_authorization.map(flag)),
    ] {
        if let Some(value) = value {
            notes.set_borrowed(note, pool.string(value));
        }
    }
}

/// Whether an alias of ours mapped `request`.
fn is_aliased(request: &Request<'_>) -> bool {
    request.notes().get(FORCED) == Some(HANDLER.to_bytes())
}

/// The options of what mapped a request, and what a dispatch script says instead.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options<'r> {
    pub(crate) process_group: Option<&'r [u8]>,
    pub(crate) application_group: Option<&'r [u8]>,
    pub(crate) callable_object: Option<&'r [u8]>,
    pub(crate) pass_authorization: Option<bool>,
    /// The application group is what a script said for this request.
    pub(crate) dispatched_group: bool,
    /// The callable that a script said for this request.
    pub(crate) dispatched_callable: Option<&'r [u8]>,
}

/// The options of the alias that mapped `request`, if one did.
pub(crate) fn options<'r>(request: &Request<'r>) -> Option<Options<'r>> {
    if !is_aliased(request) {
        return None;
    }
    let notes = request.notes();
    Some(Options {
        process_group: notes.get(PROCESS_GROUP),
        application_group: notes.get(APPLICATION_GROUP),
        callable_object: notes.get(CALLABLE_OBJECT),
        pass_authorization: notes.get(PASS_AUTHORIZATION).map(|value| value == b"1"),
        ..Options::default()
    })
}

/// The target of `alias` and what of `uri` stands behind it, if the alias takes it.
fn place<'a>(
    alias: &'a Alias<Pattern>,
    request: &Request<'a>,
    uri: &'a [u8],
) -> Option<(&'a [u8], &'a [u8])> {
    match &alias.location {
        Location::Prefix(prefix) => {
            let taken = alias::match_prefix(prefix, uri)?;
            Some((&alias.target, alias::rest(prefix, uri, taken)))
        }
        Location::Pattern(regex) => {
            let found = regex.find(request.uri_c())?;
            let template = CString::new(alias.target.as_slice()).ok()?;
            let target = found.substitute(request.pool(), &template, request.uri_c())?;
            let taken = found.end().min(uri.len());
            Some((target, alias::rest(&uri[..taken], uri, taken)))
        }
    }
}

fn flag(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}
