//! What repeats in the variables of requests: names, some values, and whole sequences of names.
//!
//! The `str` of each name is kept, in a list of bounded size, since clients choose the names of
//! header fields. Values are made anew, but for a few that belong to the server and hardly change:
//! a value from a client (`HTTP_COOKIE`, `HTTP_AUTHORIZATION`, any other field) is never kept.
//! Measured with 29 entries on CPython 3.11, this makes half of all instructions of a small
//! request unnecessary.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ptr;

use py::{Bound, Result, Token, ffi};

use crate::environ::{Template, set, set_uncached};
use crate::request::Request;
use crate::state::{Ref, intern, to_object};

/// Names starting like this are between the server and the engine, not for applications.
const HIDDEN: &[u8] = b"mod_wsgi.x-";

/// How many names are kept, and how long they may be. A request has about forty.
const MOST_NAMES: usize = 512;
const LONGEST_NAME: usize = 64;

/// Values longer than this are not kept.
const LONGEST_VALUE: usize = 256;

/// What to do with a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
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

    /// The `str` of a value.
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
    shapes: Vec<Shape>,
    /// The shape to replace next.
    oldest: usize,
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

/// A sequence of names that came more than once, and a dictionary that has them all: to copy it and
/// to change some of its values takes a third of the time of building one.
///
/// Values that are not kept stand as `None` in it.
struct Shape {
    flags: [bool; 4],
    /// The variables' names, then those of the extra entries, as places in [`Names::list`].
    names: Vec<u32>,
    /// For each name the value that the dictionary has, if that is a kept one.
    values: Vec<*mut ffi::PyObject>,
    entries: Ref,
}

// SAFETY: the pointers are only compared.
unsafe impl Send for Shape {}

/// How many shapes there are.
const MOST_SHAPES: usize = 8;

impl Names {
    pub(crate) fn build<'py>(
        &mut self,
        py: Token<'py>,
        template: &Template,
        request: &Request<'_>,
    ) -> Result<'py, Bound<'py>> {
        let environ = template.copy(py)?;
        for (name, value) in request.environ {
            let place =
                if name.len() <= LONGEST_NAME { self.place(py, template, name)? } else { None };
            let Some(place) = place else {
                set_uncached(py, template, &environ, name, value)?;
                continue;
            };
            let (value, _) = self.value(py, place, value)?;
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
            shape.entries.release(py);
        }
        self.oldest = 0;
        for name in self.list.drain(..) {
            name.text.release(py);
            if let Some((_, last)) = name.last {
                last.release(py);
            }
        }
    }

    /// The `str` for the value of a variable, and whether it is kept.
    fn value<'py>(
        &mut self,
        py: Token<'py>,
        place: u32,
        value: &[u8],
    ) -> Result<'py, (Bound<'py>, bool)> {
        let Some(name) = self.list.get_mut(place as usize) else {
            return Ok((py.latin1(value)?, false));
        };
        let keep = matches!(name.kind, Kind::Kept | Kind::File) && value.len() <= LONGEST_VALUE;
        if keep
            && let Some((bytes, text)) = &name.last
            && **bytes == *value
        {
            return Ok((text.bind(py), true));
        }
        let text = name.kind.decode(py, value)?;
        if keep {
            let new = (value.into(), Ref::new(text.clone()));
            if let Some((_, old)) = name.last.replace(new) {
                old.release(py);
            }
        }
        Ok((text, keep))
    }

    /// The shape of this request, if it has one.
    pub(crate) fn find_shape(&self, request: &Request<'_>) -> Option<usize> {
        let flags = flags(request);
        let count = request.environ.len() + request.extra.len();
        self.shapes.iter().position(|shape| {
            let known = |(place, name): (&u32, &[u8])| {
                self.list.get(*place as usize).is_some_and(|known| *known.bytes == *name)
            };
            shape.names.len() == count
                && shape.flags == flags
                && shape.names.iter().zip(sequence(request)).all(known)
        })
    }

    pub(crate) fn build_from<'py>(
        &mut self,
        py: Token<'py>,
        index: usize,
        request: &Request<'_>,
    ) -> Result<'py, Bound<'py>> {
        let Some(entries) = self.shapes.get(index).map(|shape| shape.entries) else {
            return py.dict();
        };
        // SAFETY: attached; a dict.
        let environ = unsafe { Bound::from_owned(py, ffi::PyDict_Copy(entries.as_ptr()))? };
        for (i, (_, value)) in request.environ.iter().enumerate() {
            let Some((place, there)) = self.slot(index, i) else {
                continue;
            };
            let (value, kept) = self.value(py, place, value)?;
            if value.as_ptr() == there {
                continue;
            }
            let Some(name) = self.list.get(place as usize).map(|name| name.text) else {
                continue;
            };
            set(&environ, &name.bind(py), &value)?;
            if kept {
                // The dictionary's reference keeps the pointer meaningful.
                set(&entries.bind(py), &name.bind(py), &value)?;
                let slot = self.shapes.get_mut(index).and_then(|shape| shape.values.get_mut(i));
                if let Some(slot) = slot {
                    *slot = value.as_ptr();
                }
            }
        }
        for (i, (_, value)) in request.extra.iter().enumerate() {
            let value = to_object(py, *value)?;
            let slot = self.slot(index, request.environ.len() + i);
            if let Some(name) = slot.and_then(|(place, _)| self.list.get(place as usize)) {
                set(&environ, &name.text.bind(py), &value)?;
            }
        }
        Ok(environ)
    }

    fn slot(&self, shape: usize, i: usize) -> Option<(u32, *mut ffi::PyObject)> {
        let shape = self.shapes.get(shape)?;
        Some((*shape.names.get(i)?, *shape.values.get(i)?))
    }

    /// Makes a shape of this request if it looks as if there will be more like it.
    pub(crate) fn learn<'py>(
        &mut self,
        py: Token<'py>,
        request: &Request<'_>,
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
        let mut names = Vec::with_capacity(request.environ.len() + request.extra.len());
        for name in sequence(request) {
            match self.places.get(name) {
                // A name twice: which value wins depends on the order.
                Some(place) if names.contains(place) => return Ok(()),
                Some(place) => names.push(*place),
                None => return Ok(()),
            }
        }
        // SAFETY: attached; a dict.
        let entries = unsafe { Bound::from_owned(py, ffi::PyDict_Copy(environ.as_ptr()))? };
        let mut values = Vec::with_capacity(names.len());
        for (i, place) in names.iter().enumerate() {
            let Some(name) = self.list.get(*place as usize) else {
                return Ok(());
            };
            match &name.last {
                // Not those that are longer than what is kept.
                Some((bytes, last))
                    if request.environ.get(i).is_some_and(|(_, value)| **bytes == **value) =>
                {
                    set(&entries, &name.text.bind(py), &last.bind(py))?;
                    values.push(last.as_ptr());
                }
                _ => {
                    set(&entries, &name.text.bind(py), &py.none())?;
                    values.push(ptr::null_mut());
                }
            }
        }
        let shape = Shape { flags: flags(request), names, values, entries: Ref::new(entries) };
        if self.shapes.len() < MOST_SHAPES {
            self.shapes.push(shape);
        } else if let Some(old) = self.shapes.get_mut(self.oldest % MOST_SHAPES) {
            std::mem::replace(old, shape).entries.release(py);
            self.oldest += 1;
        }
        Ok(())
    }
}

/// The names of a request in order.
fn sequence<'a>(request: &Request<'a>) -> impl Iterator<Item = &'a [u8]> {
    let variables = request.environ.iter().map(|(name, _)| *name);
    variables.chain(request.extra.iter().map(|(name, _)| name.as_bytes()))
}

fn flags(request: &Request<'_>) -> [bool; 4] {
    [request.https, request.multithread, request.multiprocess, request.run_once]
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
