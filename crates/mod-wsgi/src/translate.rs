//! Mapping URLs to scripts: `WSGIScriptAlias` and `WSGIScriptAliasMatch`.

use std::ffi::CStr;

use httpd_sys::{Request, Status};
use wsgi_config::alias;

use crate::settings::{Alias, AliasOptions, Location};
use crate::{Pattern, Wsgi};

/// The handler that an alias forces, and the name of it in configuration files.
pub(crate) const HANDLER: &CStr = c"wsgi-script";

// Notes that other modules and log formats may look at.
const FORCED: &CStr = c"alias-forced-type";
const PROCESS_GROUP: &CStr = c"mod_wsgi.process_group";
const APPLICATION_GROUP: &CStr = c"mod_wsgi.application_group";
const CALLABLE_OBJECT: &CStr = c"mod_wsgi.callable_object";
const PASS_AUTHORIZATION: &CStr = c"mod_wsgi.pass_authorization";

/// Maps `request` by the first alias that takes it.
pub(crate) fn translate(request: &mut Request<'_>) -> Status {
    let Some(configured) = request.server().config::<Wsgi>() else {
        return Status::Declined;
    };
    let uri = request.uri();
    if !uri.starts_with(b"/") {
        return Status::Declined;
    }
    let found = configured
        .server
        .aliases
        .iter()
        .find_map(|alias| Some((alias, filename(alias, request, uri)?)));
    let Some((alias, filename)) = found else {
        return Status::Declined;
    };
    request.set_filename(&filename);
    request.set_handler(HANDLER);
    let (notes, pool) = (request.notes(), request.pool());
    notes.set_borrowed(FORCED, HANDLER);
    let options = &alias.options;
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
    Status::Ok
}

/// Whether an alias of ours mapped `request`.
pub(crate) fn is_aliased(request: &Request<'_>) -> bool {
    request.notes().get(FORCED) == Some(HANDLER.to_bytes())
}

/// The options of the alias that mapped `request`.
pub(crate) fn options(request: &Request<'_>) -> AliasOptions {
    let notes = request.notes();
    let note = |name| notes.get(name).map(<[u8]>::to_vec);
    AliasOptions {
        process_group: note(PROCESS_GROUP),
        application_group: note(APPLICATION_GROUP),
        callable_object: note(CALLABLE_OBJECT),
        pass_authorization: notes.get(PASS_AUTHORIZATION).map(|value| value == b"1"),
    }
}

/// The file that `uri` means under `alias`, if the alias takes it.
fn filename(alias: &Alias<Pattern>, request: &Request<'_>, uri: &[u8]) -> Option<Vec<u8>> {
    match &alias.location {
        Location::Prefix(prefix) => {
            let taken = alias::match_prefix(prefix, uri)?;
            Some(alias::filename(prefix, &alias.target, uri, taken))
        }
        Location::Pattern(regex) => {
            let (subject, pool) = (request.uri_c(), request.pool());
            let found = regex.find(subject)?;
            let target = found.substitute(pool, pool.string(&alias.target), subject)?;
            let taken = found.end().min(uri.len());
            Some(alias::filename(&uri[..taken], target, uri, taken))
        }
    }
}

fn flag(on: bool) -> &'static [u8] {
    if on { b"1" } else { b"0" }
}
