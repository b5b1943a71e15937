//! Building `environ`: bytes become the dictionary that an application gets.
//!
//! Names repeat from request to request, so the `str` of each is kept; in a cache of bounded size,
//! since clients choose the names of header fields. Values are made anew, but for a few that
//! belong to the server and hardly change: a value from a client (`HTTP_COOKIE`,
//! `HTTP_AUTHORIZATION`, any other field) is never kept. What is the same in all requests is in a
//! template that is copied.
//!
//! <https://peps.python.org/pep-3333/#environ-variables>

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, TryLockError};

use py::{Bound, Error, Result, Token, ffi};

use crate::request::{Request, Value};
use crate::state::{Ref, State, intern, to_object};

/// Names starting like this are between the server and the engine, not for applications.
const HIDDEN: &[u8] = b"mod_wsgi.x-";

/// How many names are kept, and how long they may be. A request has about forty.
const MOST_NAMES: usize = 512;
const LONGEST_NAME: usize = 64;

/// Values longer than this are not kept.
const LONGEST_VALUE: usize = 256;

/// What to do with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A value in Latin-1, made anew.
    Text,
    /// The same under a name that is a constant in many applications, and so is interned. Others
    /// are not: in CPython 3.12 that would be for ever.
    Common,
    /// A value in Latin-1, of which the last one is kept.
    Kept,
    /// A file name, of which the last one is kept.
    File,
}

impl Kind {
    /// `None` if applications do not get this variable.
    fn of(name: &[u8]) -> Option<Kind> {
        Some(match name {
            b"DOCUMENT_ROOT" | b"SCRIPT_FILENAME" => Kind::File,
            b"CONTEXT_DOCUMENT_ROOT"
            | b"CONTEXT_PREFIX"
            | b"GATEWAY_INTERFACE"
            | b"REQUEST_METHOD"
            | b"REQUEST_SCHEME"
            | b"SCRIPT_NAME"
            | b"SERVER_ADDR"
            | b"SERVER_ADMIN"
            | b"SERVER_NAME"
            | b"SERVER_PORT"
            | b"SERVER_PROTOCOL"
            | b"SERVER_SOFTWARE"
            | b"mod_wsgi.application_group"
            | b"mod_wsgi.callable_object"
            | b"mod_wsgi.handler_script"
            | b"mod_wsgi.listener_host"
            | b"mod_wsgi.listener_port"
            | b"mod_wsgi.process_group"
            | b"mod_wsgi.request_handler"
            | b"mod_wsgi.script_name"
            | b"mod_wsgi.server_pid" => Kind::Kept,
            b"CONTENT_LENGTH"
            | b"CONTENT_TYPE"
            | b"HTTP_ACCEPT"
            | b"HTTP_ACCEPT_ENCODING"
            | b"HTTP_ACCEPT_LANGUAGE"
            | b"HTTP_AUTHORIZATION"
            | b"HTTP_CACHE_CONTROL"
            | b"HTTP_CONNECTION"
            | b"HTTP_COOKIE"
            | b"HTTP_HOST"
            | b"HTTP_IF_MODIFIED_SINCE"
            | b"HTTP_IF_NONE_MATCH"
            | b"HTTP_ORIGIN"
            | b"HTTP_RANGE"
            | b"HTTP_REFERER"
            | b"HTTP_USER_AGENT"
            | b"HTTP_X_CSRFTOKEN"
            | b"HTTP_X_FORWARDED_FOR"
            | b"HTTP_X_FORWARDED_HOST"
            | b"HTTP_X_FORWARDED_PROTO"
            | b"HTTP_X_REQUESTED_WITH"
            | b"PATH_INFO"
            | b"QUERY_STRING"
            | b"REMOTE_ADDR"
            | b"REMOTE_PORT"
            | b"REMOTE_USER"
            | b"REQUEST_URI"
            | b"mod_wsgi.application_start"
            | b"mod_wsgi.daemon_start"
            | b"mod_wsgi.path_info"
            | b"mod_wsgi.queue_start"
            | b"mod_wsgi.request_id"
            | b"mod_wsgi.request_start"
            | b"mod_wsgi.thread_id" => Kind::Common,
            _ if name.starts_with(HIDDEN) => return None,
            _ => Kind::Text,
        })
    }
}

/// What every `environ` begins as, and the names of entries that are made for each.
pub(crate) struct Template {
    entries: Ref,
    url_scheme: Ref,
    multithread: Ref,
    multiprocess: Ref,
    run_once: Ref,
    input: Ref,
    errors: Ref,
    http: Ref,
    https: Ref,
}

impl Template {
    pub(crate) fn new<'py>(
        py: Token<'py>,
        file_wrapper: &Bound<'py>,
        constants: &[(&str, Value<'_>)],
    ) -> Result<'py, Template> {
        let entries = py.dict()?;
        for (name, value) in constants {
            set(&entries, &intern(py, name)?, &to_object(py, *value)?)?;
        }
        let version = py.tuple([py.int(1)?, py.int(0)?])?;
        set(&entries, &intern(py, "wsgi.version")?, &version)?;
        set(&entries, &intern(py, "wsgi.input_terminated")?, &py.bool(true))?;
        set(&entries, &intern(py, "wsgi.file_wrapper")?, file_wrapper)?;
        let name = |text| intern(py, text).map(Ref::new);
        Ok(Template {
            entries: Ref::new(entries),
            url_scheme: name("wsgi.url_scheme")?,
            multithread: name("wsgi.multithread")?,
            multiprocess: name("wsgi.multiprocess")?,
            run_once: name("wsgi.run_once")?,
            input: name("wsgi.input")?,
            errors: name("wsgi.errors")?,
            http: name("http")?,
            https: name("https")?,
        })
    }
}

/// The names that were seen before.
#[derive(Default)]
pub(crate) struct Names(HashMap<Box<[u8]>, Name, BuildHasherDefault<EndsHasher>>);

struct Name {
    text: Ref,
    kind: Kind,
    /// The last value, for the kinds that keep it: what it was made of, and the string.
    last: Option<(Box<[u8]>, Ref)>,
}

/// Builds the dictionary.
pub(crate) fn build<'py>(
    py: Token<'py>,
    state: &State,
    request: &Request<'_>,
    input: &Bound<'py>,
    errors: &Bound<'py>,
) -> Result<'py, Bound<'py>> {
    let template = &state.template;
    // SAFETY: attached; the template is a dict.
    let environ = unsafe { Bound::from_owned(py, ffi::PyDict_Copy(template.entries.as_ptr()))? };
    {
        // Making objects may let another thread run, and that may come here: it does without.
        let mut names = try_names(&state.names);
        for (name, value) in request.environ {
            match names.as_deref_mut() {
                Some(names) if name.len() <= LONGEST_NAME => {
                    names.set(py, &environ, name, value)?;
                }
                _ => set_uncached(py, &environ, name, value)?,
            }
        }
        for (name, value) in request.extra {
            let value = to_object(py, *value)?;
            let known = names.as_deref_mut().map(|names| names.name(py, name.as_bytes()));
            match known {
                Some(Some(name)) => set(&environ, &name?.text.bind(py), &value)?,
                Some(None) => {}
                None => set(&environ, &py.str(name)?, &value)?,
            }
        }
    }
    let scheme = if request.https { template.https } else { template.http };
    set(&environ, &template.url_scheme.bind(py), &scheme.bind(py))?;
    set(&environ, &template.multithread.bind(py), &py.bool(request.multithread))?;
    set(&environ, &template.multiprocess.bind(py), &py.bool(request.multiprocess))?;
    set(&environ, &template.run_once.bind(py), &py.bool(request.run_once))?;
    set(&environ, &template.input.bind(py), input)?;
    set(&environ, &template.errors.bind(py), errors)?;
    Ok(environ)
}

fn try_names(names: &Mutex<Names>) -> Option<std::sync::MutexGuard<'_, Names>> {
    match names.try_lock() {
        Ok(names) => Some(names),
        Err(TryLockError::Poisoned(names)) => Some(names.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl Names {
    /// Sets `environ[name] = value`.
    fn set<'py>(
        &mut self,
        py: Token<'py>,
        environ: &Bound<'py>,
        name: &[u8],
        value: &[u8],
    ) -> Result<'py, ()> {
        let Some(name) = self.name(py, name) else {
            return Ok(());
        };
        let name = name?;
        let keep = matches!(name.kind, Kind::Kept | Kind::File);
        if keep
            && let Some((bytes, text)) = &name.last
            && **bytes == *value
        {
            return set(environ, &name.text.bind(py), &text.bind(py));
        }
        let text = decode(py, name.kind, value)?;
        set(environ, &name.text.bind(py), &text)?;
        if keep && value.len() <= LONGEST_VALUE {
            let old = name.last.replace((value.into(), Ref::new(text)));
            if let Some((_, old)) = old {
                old.release(py);
            }
        }
        Ok(())
    }

    /// The entry for a name; `None` if applications do not get the variable.
    fn name<'py>(&mut self, py: Token<'py>, name: &[u8]) -> Option<Result<'py, &mut Name>> {
        // Looked up twice where it is missing: the borrow checker does not follow an early return.
        if !self.0.contains_key(name) {
            let kind = Kind::of(name)?;
            let text = match (kind, std::str::from_utf8(name)) {
                (_, Err(_)) => return None,
                (Kind::Text, Ok(name)) => py.str(name),
                (_, Ok(name)) => intern(py, name),
            };
            let text = match text {
                Ok(text) => Ref::new(text),
                Err(error) => return Some(Err(error)),
            };
            if self.0.len() >= MOST_NAMES {
                for (_, old) in self.0.drain() {
                    old.text.release(py);
                    if let Some((_, last)) = old.last {
                        last.release(py);
                    }
                }
            }
            self.0.insert(name.into(), Name { text, kind, last: None });
        }
        self.0.get_mut(name).map(Ok)
    }
}

fn set_uncached<'py>(
    py: Token<'py>,
    environ: &Bound<'py>,
    name: &[u8],
    value: &[u8],
) -> Result<'py, ()> {
    match (Kind::of(name), std::str::from_utf8(name)) {
        (Some(kind), Ok(name)) => set(environ, &py.str(name)?, &decode(py, kind, value)?),
        _ => Ok(()),
    }
}

fn decode<'py>(py: Token<'py>, kind: Kind, value: &[u8]) -> Result<'py, Bound<'py>> {
    if kind == Kind::File
        && let Ok(text) = py.fs_str(value)
    {
        return Ok(text);
    }
    py.latin1(value)
}

fn set<'py>(dict: &Bound<'py>, name: &Bound<'py>, value: &Bound<'py>) -> Result<'py, ()> {
    // SAFETY: attached; a dict and two live objects, of which it takes references of its own.
    let status = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if status < 0 { Err(Error::fetch(dict.py())) } else { Ok(()) }
}

/// Hashes length, beginning and end of a name. Names that collide are as few as the cache is small,
/// so this needs no defence.
#[derive(Default)]
pub(crate) struct EndsHasher(u64);

impl Hasher for EndsHasher {
    fn write(&mut self, bytes: &[u8]) {
        let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (first, last) = if bytes.len() < 8 {
            (bytes.iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte)), 0)
        } else {
            (word(bytes.first_chunk()), word(bytes.last_chunk()))
        };
        let mixed = (self.0 ^ first).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ last;
        let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.0 = mixed ^ mixed >> 32;
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_from_clients_are_not_kept() {
        for name in ["HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_X", "REMOTE_USER", "PATH_INFO"] {
            let kind = Kind::of(name.as_bytes());
            assert!(matches!(kind, Some(Kind::Text | Kind::Common)), "{name}");
        }
        assert_eq!(Kind::of(b"SERVER_NAME"), Some(Kind::Kept));
        assert_eq!(Kind::of(b"DOCUMENT_ROOT"), Some(Kind::File));
    }

    #[test]
    fn variables_of_the_transport_are_hidden() {
        assert_eq!(Kind::of(b"mod_wsgi.x-anything"), None);
        assert_eq!(Kind::of(b"mod_wsgi.custom"), Some(Kind::Text));
    }
}
