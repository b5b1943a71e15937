//! What repeats in the variables of requests: names, some values, and whole sequences of names.
//!
//! The `str` of each name is kept, in a list of bounded size, since clients choose the names of
//! header fields. Values are made anew, but for some that belong to the server or are the same for
//! many requests: nothing that could be a secret (`HTTP_COOKIE`, `HTTP_AUTHORIZATION`, any field
//! that is not known here) is ever kept. For sequences see `shape.rs`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use py::{Bound, Result, Token};

use crate::environ::{Template, set, set_uncached};
use crate::request::{Request, Variables};
use crate::shape::{LONGEST_VALUE, Shape};
use crate::state::{Ref, intern, to_object};

/// Names starting like this are between the server and the engine, not for applications.
const HIDDEN: &[u8] = b"mod_wsgi.x-";

/// How many names are kept, and how long they may be. A request has about forty.
const MOST_NAMES: usize = 512;
const LONGEST_NAME: usize = 64;

/// What to do with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value in Latin-1, made anew.
    Text,
    /// The same under a name that is a constant in many applications, and so is interned. Others
    /// are not: in CPython 3.12 that would be for ever.
    Common,
    /// A value in Latin-1 that is the server's, of which the last one is kept.
    Kept,
    /// A value in Latin-1 that is a client's, but the same for many: kept once it has come twice.
    Repeated,
    /// A file name, of which the last one is kept.
    File,
}

impl Kind {
    /// `None` if applications do not get this variable.
    pub(crate) fn of(name: &[u8]) -> Option<Kind> {
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
            b"HTTP_ACCEPT"
            | b"HTTP_ACCEPT_ENCODING"
            | b"HTTP_ACCEPT_LANGUAGE"
            | b"HTTP_CACHE_CONTROL"
            | b"HTTP_CONNECTION"
            | b"HTTP_HOST"
            | b"HTTP_USER_AGENT"
            | b"HTTP_X_FORWARDED_HOST"
            | b"HTTP_X_FORWARDED_PROTO"
            | b"REMOTE_ADDR" => Kind::Repeated,
            b"CONTENT_LENGTH"
            | b"CONTENT_TYPE"
            | b"HTTP_AUTHORIZATION"
            | b"HTTP_COOKIE"
            | b"HTTP_IF_MODIFIED_SINCE"
            | b"HTTP_IF_NONE_MATCH"
            | b"HTTP_ORIGIN"
            | b"HTTP_RANGE"
            | b"HTTP_REFERER"
            | b"HTTP_X_CSRFTOKEN"
            | b"HTTP_X_FORWARDED_FOR"
            | b"HTTP_X_REQUESTED_WITH"
            | b"PATH_INFO"
            | b"QUERY_STRING"
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

    /// The `str` of a value.
    #[inline]
    pub(crate) fn decode<'py>(self, py: Token<'py>, value: &[u8]) -> Result<'py, Bound<'py>> {
        if self == Kind::File
            && let Ok(text) = py.fs_str(value)
        {
            return Ok(text);
        }
        py.latin1(value)
    }
}

/// The names that were seen before, and in which sequences.
#[derive(Default)]
pub(crate) struct Names {
    /// By what they are made of; the value is the place in `list`.
    places: HashMap<Box<[u8]>, u32, BuildHasherDefault<EndsHasher>>,
    list: Vec<Name>,
    /// The one that was used last comes first.
    shapes: Vec<Shape>,
    /// Hashes of sequences that were seen lately and have no shape.
    candidates: [u64; 16],
    candidate: usize,
}

struct Name {
    bytes: Box<[u8]>,
    text: Ref,
    kind: Kind,
    /// The last value, for the kinds that keep it: what it was made of, and the string.
    last: Option<(Box<[u8]>, Ref)>,
}

/// How many shapes there are: browsers, crawlers and probes, with and without cookies.
const MOST_SHAPES: usize = 16;

impl Names {
    pub(crate) fn build<'py>(
        &mut self,
        py: Token<'py>,
        template: &Template,
        request: &Request<'_, impl Variables>,
    ) -> Result<'py, Bound<'py>> {
        let environ = template.copy(py)?;
        for (name, value) in request.environ.pairs() {
            let place =
                if name.len() <= LONGEST_NAME { self.place(py, template, name)? } else { None };
            let Some(place) = place else {
                set_uncached(py, template, &environ, name, value)?;
                continue;
            };
            let value = self.value(py, place, value)?;
            if let Some(name) = self.list.get(place as usize) {
                set(&environ, &name.text.bind(py), &value)?;
            }
        }
        for (name, value) in request.extra {
            let value = to_object(py, *value)?;
            let place = self.place(py, template, name.as_bytes())?;
            match place.and_then(|place| self.list.get(place as usize)) {
                Some(name) => set(&environ, &name.text.bind(py), &value)?,
                None => set(&environ, &py.str(name)?, &value)?,
            }
        }
        template.set_flags(py, &environ, request)?;
        Ok(environ)
    }

    /// Where a name is in the list; `None` if applications do not get the variable, or if it is
    /// no text.
    fn place<'py>(
        &mut self,
        py: Token<'py>,
        template: &Template,
        name: &[u8],
    ) -> Result<'py, Option<u32>> {
        if let Some(place) = self.places.get(name) {
            return Ok(Some(*place));
        }
        let (Some(kind), Ok(text)) = (template.kind(name), std::str::from_utf8(name)) else {
            return Ok(None);
        };
        let text = if kind == Kind::Text { py.str(text)? } else { intern(py, text)? };
        if self.list.len() >= MOST_NAMES {
            self.clear(py);
        }
        let place = self.list.len() as u32;
        self.list.push(Name { bytes: name.into(), text: Ref::new(text), kind, last: None });
        self.places.insert(name.into(), place);
        Ok(Some(place))
    }

    fn clear(&mut self, py: Token<'_>) {
        self.places.clear();
        for shape in self.shapes.drain(..) {
            shape.release(py);
        }
        for name in self.list.drain(..) {
            name.text.release(py);
            if let Some((_, last)) = name.last {
                last.release(py);
            }
        }
    }

    /// The `str` for the value of a variable.
    fn value<'py>(&mut self, py: Token<'py>, place: u32, value: &[u8]) -> Result<'py, Bound<'py>> {
        let Some(name) = self.list.get_mut(place as usize) else {
            return py.latin1(value);
        };
        if !matches!(name.kind, Kind::Kept | Kind::File) || value.len() > LONGEST_VALUE {
            return name.kind.decode(py, value);
        }
        if let Some((bytes, text)) = &name.last
            && **bytes == *value
        {
            return Ok(text.bind(py));
        }
        let text = name.kind.decode(py, value)?;
        if let Some((_, old)) = name.last.replace((value.into(), Ref::new(text.clone()))) {
            old.release(py);
        }
        Ok(text)
    }

    /// The shape of this request, if it has one.
    pub(crate) fn shape(&mut self, request: &Request<'_, impl Variables>) -> Option<&mut Shape> {
        let at = self.shapes.iter().position(|shape| shape.fits(request))?;
        if at > 0 {
            self.shapes.get_mut(..=at)?.rotate_right(1);
        }
        self.shapes.first_mut()
    }

    /// Makes a shape of this request if it looks as if there will be more like it.
    pub(crate) fn learn<'py>(
        &mut self,
        py: Token<'py>,
        template: &Template,
        request: &Request<'_, impl Variables>,
        environ: &Bound<'py>,
    ) -> Result<'py, ()> {
        let mut hasher = EndsHasher::default();
        for name in sequence(request) {
            name.hash(&mut hasher);
        }
        let hash = hasher.finish();
        if !self.candidates.contains(&hash) {
            if let Some(candidate) = self.candidates.get_mut(self.candidate % 16) {
                *candidate = hash;
            }
            self.candidate = self.candidate.wrapping_add(1);
            return Ok(());
        }
        let mut places = Vec::with_capacity(request.environ.pairs().len() + request.extra.len());
        for name in sequence(request) {
            match self.places.get(name) {
                // A name twice: which value wins depends on the order.
                Some(place) if places.contains(place) => return Ok(()),
                Some(place) => places.push(*place),
                None => return Ok(()),
            }
        }
        let names = places.iter().filter_map(|place| self.list.get(*place as usize));
        let names = names.map(|name| (name.bytes.clone(), name.text, name.kind));
        let shape = Shape::new(py, request, names, environ, template.streams())?;
        if self.shapes.len() >= MOST_SHAPES
            && let Some(last) = self.shapes.pop()
        {
            last.release(py);
        }
        self.shapes.insert(0, shape);
        Ok(())
    }
}

/// The names of a request in order.
fn sequence<'a>(request: &'a Request<'_, impl Variables>) -> impl Iterator<Item = &'a [u8]> {
    let variables = request.environ.pairs().map(|(name, _)| name);
    variables.chain(request.extra.iter().map(|(name, _)| name.as_bytes()))
}

/// Hashes length, beginning and end of a name. Names that collide are as few as the cache is small,
/// so this needs no defence.
#[derive(Default)]
pub(crate) struct EndsHasher(u64);

impl EndsHasher {
    /// The hash of some bytes.
    pub(crate) fn hash(bytes: &[u8]) -> u64 {
        let mut hasher = EndsHasher::default();
        bytes.hash(&mut hasher);
        hasher.finish()
    }
}

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
