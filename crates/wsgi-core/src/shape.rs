//! A sequence of variables that came before, with a dictionary that is nearly right for the next.
//!
//! To copy a dictionary and to change some of its values takes a fraction of the time of building
//! one, and requests of one kind of client to one script differ in a few values only. What a slot
//! of the dictionary has is remembered as the bytes it was made of, so an unchanged value costs a
//! comparison. A value that changes with every request would cost more if it were remembered:
//! hence one is taken over only when it comes twice in a row.

use std::{mem, ptr};

use py::{Bound, Error, Result, Token, ffi};

use crate::names::{EndsHasher, Kind};
use crate::request::{Request, Value, Variables};
use crate::state::{Ref, to_object};

/// Values longer than this are not kept.
pub(crate) const LONGEST_VALUE: usize = 256;

/// A sequence of names, and a dictionary that has them all, besides `wsgi.input` and
/// `wsgi.errors`. Values that are not kept stand as `None` in it.
pub(crate) struct Shape {
    flags: [bool; 4],
    /// How many of the slots are CGI variables; the rest are the extra entries.
    variables: usize,
    slots: Vec<Slot>,
    entries: Ref,
}

/// A name, and what the dictionary has under it.
struct Slot {
    name: Box<[u8]>,
    /// Borrowed: whoever gives the `str` back has dropped the shape before.
    text: Ref,
    kind: Kind,
    known: Known,
    /// Hash of the last value that was not the known one.
    candidate: u64,
}

/// What the value in the dictionary was made of.
#[derive(Debug, PartialEq)]
enum Known {
    Nothing,
    Text(Box<[u8]>),
    Int(i64),
    /// The bits, since this is about the same object and not about numbers.
    Float(u64),
}

impl Shape {
    /// A shape like `environ`, which was made for `request`; `names` says what its names are, in
    /// order and without one that comes twice.
    pub(crate) fn new<'py>(
        py: Token<'py>,
        request: &Request<'_, impl Variables>,
        names: impl Iterator<Item = (Box<[u8]>, Ref, Kind)>,
        environ: &Bound<'py>,
        placeholders: [Ref; 2],
    ) -> Result<'py, Shape> {
        // SAFETY: attached; a dict.
        let entries = unsafe { Bound::from_owned(py, ffi::PyDict_Copy(environ.as_ptr()))? };
        let values = request.environ.pairs().map(|(_, value)| Value::Latin1(value));
        let values = values.chain(request.extra.iter().map(|(_, value)| *value));
        let mut slots = Vec::new();
        for ((name, text, kind), value) in names.zip(values) {
            let known = kind.keep(&value);
            if known == Known::Nothing {
                put(&entries, text, &py.none())?;
            }
            slots.push(Slot { name, text, kind, known, candidate: 0 });
        }
        for text in placeholders {
            put(&entries, text, &py.none())?;
        }
        let variables = request.environ.pairs().len();
        Ok(Shape { flags: flags(request), variables, slots, entries: Ref::new(entries) })
    }

    /// Whether this is the shape of `request`.
    pub(crate) fn fits(&self, request: &Request<'_, impl Variables>) -> bool {
        let Some((variables, extra)) = self.slots.split_at_checked(self.variables) else {
            return false;
        };
        variables.len() == request.environ.pairs().len()
            && extra.len() == request.extra.len()
            && self.flags == flags(request)
            && variables
                .iter()
                .zip(request.environ.pairs())
                .all(|(s, (name, _))| same(&s.name, name))
            && extra.iter().zip(request.extra).all(|(s, (name, _))| same(&s.name, name.as_bytes()))
    }

    /// The dictionary for a request that fits.
    pub(crate) fn build<'py>(
        &mut self,
        py: Token<'py>,
        request: &Request<'_, impl Variables>,
    ) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; a dict.
        let environ = unsafe { Bound::from_owned(py, ffi::PyDict_Copy(self.entries.as_ptr()))? };
        let (variables, extra) =
            self.slots.split_at_mut_checked(self.variables).unwrap_or_default();
        let mut last: Option<(&[u8], Bound<'py>)> = None;
        for (slot, (_, value)) in variables.iter_mut().zip(request.environ.pairs()) {
            if matches!(&slot.known, Known::Text(known) if same(known, value)) {
                continue;
            }
            // Some variables are the same memory under another name, such as PATH_INFO.
            let object = match &last {
                Some((text, object)) if ptr::eq(*text, value) && slot.kind != Kind::File => object,
                _ => &last.insert((value, slot.kind.decode(py, value)?)).1,
            };
            slot.set(&environ, self.entries, object, Value::Latin1(value))?;
            if slot.kind == Kind::File {
                last = None;
            }
        }
        for (slot, (_, value)) in extra.iter_mut().zip(request.extra) {
            if !slot.known.is(value) {
                slot.set(&environ, self.entries, &to_object(py, *value)?, *value)?;
            }
        }
        Ok(environ)
    }

    /// Gives the dictionary back.
    pub(crate) fn release(self, py: Token<'_>) {
        self.entries.release(py);
    }
}

impl Slot {
    /// Sets another value than the known one, and takes it over if it is likely to stay.
    #[inline]
    fn set<'py>(
        &mut self,
        environ: &Bound<'py>,
        entries: Ref,
        object: &Bound<'py>,
        value: Value<'_>,
    ) -> Result<'py, ()> {
        put(environ, self.text, object)?;
        let Some(hash) = self.kind.hash(&value) else {
            return Ok(());
        };
        if mem::replace(&mut self.candidate, hash) == hash {
            // Should it fail half-way, nothing is known.
            self.known = Known::Nothing;
            put(&entries.bind(environ.py()), self.text, object)?;
            self.known = self.kind.keep(&value);
        }
        Ok(())
    }
}

impl Known {
    #[inline]
    fn is(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Known::Text(known), Value::Latin1(value)) => same(known, value),
            (Known::Int(known), Value::Int(value)) => known == value,
            (Known::Float(known), Value::Float(value)) => *known == value.to_bits(),
            _ => false,
        }
    }
}

impl Kind {
    /// Whether a text may be kept. An empty one is the same object anyway.
    fn keeps(self, value: &[u8]) -> bool {
        let kept = matches!(self, Kind::Kept | Kind::Repeated | Kind::File);
        value.is_empty() || (kept && value.len() <= LONGEST_VALUE)
    }

    fn keep(self, value: &Value<'_>) -> Known {
        match *value {
            Value::Latin1(value) if self.keeps(value) => Known::Text(value.into()),
            Value::Int(value) => Known::Int(value),
            Value::Float(value) => Known::Float(value.to_bits()),
            _ => Known::Nothing,
        }
    }

    /// A number that tells most values from others, for those that may be kept.
    fn hash(self, value: &Value<'_>) -> Option<u64> {
        match *value {
            Value::Latin1(value) if self.keeps(value) => Some(EndsHasher::hash(value)),
            Value::Int(value) => Some(value as u64),
            Value::Float(value) => Some(value.to_bits()),
            _ => None,
        }
    }
}

#[inline]
fn flags(request: &Request<'_, impl Variables>) -> [bool; 4] {
    [request.https, request.multithread, request.multiprocess, request.run_once]
}

/// `dict[name] = value`
#[inline]
fn put<'py>(dict: &Bound<'py>, name: Ref, value: &Bound<'py>) -> Result<'py, ()> {
    // SAFETY: attached; a dict and two live objects, of which it takes references of its own.
    let status = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if status < 0 { Err(Error::fetch(dict.py())) } else { Ok(()) }
}

/// Whether both are equal. Names and values are short, and a call costs more than comparing them
/// by words that may overlap.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    /// Compares beginning and end by words of `N` bytes.
    #[inline(always)]
    fn ends<const N: usize>(a: &[u8], b: &[u8]) -> bool {
        a.first_chunk::<N>() == b.first_chunk() && a.last_chunk::<N>() == b.last_chunk()
    }
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0 => true,
        1..4 => ends::<1>(a, b) && a.get(1) == b.get(1),
        4..8 => ends::<4>(a, b),
        8..17 => ends::<8>(a, b),
        17..33 => ends::<16>(a, b),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_is_equal() {
        let text: Vec<u8> = (0..80).collect();
        for length in 0..80 {
            let a = &text[..length];
            assert!(same(a, &Box::<[u8]>::from(a)));
            assert!(!same(a, &text[..length + 1]));
            for at in 0..length {
                let mut b = a.to_vec();
                b[at] ^= 0x40;
                assert!(!same(a, &b), "{length} {at}");
            }
        }
    }

    #[test]
    fn secrets_are_not_kept() {
        for name in ["HTTP_COOKIE", "HTTP_AUTHORIZATION", "HTTP_X", "QUERY_STRING", "REMOTE_USER"] {
            let kind = Kind::of(name.as_bytes());
            let kept = kind.map(|kind| kind.keep(&Value::Latin1(b"secret")));
            assert_eq!(kept, Some(Known::Nothing), "{name}");
        }
        assert_eq!(Kind::Kept.keep(&Value::Latin1(b"a")), Known::Text((*b"a").into()));
        let long = [b'a'; LONGEST_VALUE + 1];
        assert_eq!(Kind::Kept.keep(&Value::Latin1(&long)), Known::Nothing);
    }
}
