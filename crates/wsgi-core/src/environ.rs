//! Building `environ`: bytes become the dictionary that an application gets.
//!
//! What is the same in all requests is in a template that is copied. What repeats from request to
//! request is kept by `names.rs`.
//!
//! <https://peps.python.org/pep-3333/#environ-variables>

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, TryLockError};

use py::{Bound, Error, Result, Token, ffi};

use crate::names::{Kind, Names};
use crate::request::{Request, Value, Variables};
use crate::state::{Ref, State, intern, to_object};

/// What every `environ` begins as, and the names of entries that are made for each.
pub(crate) struct Template {
    entries: Ref,
    /// Names that variables cannot have, since they are the server's.
    reserved: HashSet<Box<[u8]>>,
    url_scheme: Ref,
    multithread: Ref,
    multiprocess: Ref,
    run_once: Ref,
    input: Ref,
    errors: Ref,
    http: Ref,
    https: Ref,
}

/// The names of PEP 3333, and one that servers agree on.
const WSGI: &[&str] = &[
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
    "wsgi.input",
    "wsgi.input_terminated",
    "wsgi.errors",
    "wsgi.file_wrapper",
];

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
        let constants = constants.iter().map(|(name, _)| name.as_bytes().into());
        let reserved = WSGI.iter().map(|name| name.as_bytes().into()).chain(constants).collect();
        Ok(Template {
            entries: Ref::new(entries),
            reserved,
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

impl Template {
    /// What to do with a variable; `None` if applications do not get it.
    pub(crate) fn kind(&self, name: &[u8]) -> Option<Kind> {
        if self.reserved.contains(name) { None } else { Kind::of(name) }
    }

    /// The names of what is set last.
    pub(crate) fn streams(&self) -> [Ref; 2] {
        [self.input, self.errors]
    }

    pub(crate) fn copy<'py>(&self, py: Token<'py>) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; the template is a dict.
        unsafe { Bound::from_owned(py, ffi::PyDict_Copy(self.entries.as_ptr())) }
    }

    pub(crate) fn set_flags<'py>(
        &self,
        py: Token<'py>,
        environ: &Bound<'py>,
        request: &Request<'_, impl Variables>,
    ) -> Result<'py, ()> {
        let scheme = if request.https { self.https } else { self.http };
        set(environ, &self.url_scheme.bind(py), &scheme.bind(py))?;
        set(environ, &self.multithread.bind(py), &py.bool(request.multithread))?;
        set(environ, &self.multiprocess.bind(py), &py.bool(request.multiprocess))?;
        set(environ, &self.run_once.bind(py), &py.bool(request.run_once))
    }
}

/// Builds the dictionary.
pub(crate) fn build<'py>(
    py: Token<'py>,
    state: &State,
    request: &Request<'_, impl Variables>,
    input: &Bound<'py>,
    errors: &Bound<'py>,
) -> Result<'py, Bound<'py>> {
    let template = &state.template;
    // Making objects may let another thread run, and that may come here: it does without.
    let environ = match try_names(&state.names) {
        Some(mut names) => match names.shape(request) {
            Some(shape) => shape.build(py, request)?,
            None => {
                let environ = names.build(py, template, request)?;
                names.learn(py, template, request, &environ)?;
                environ
            }
        },
        None => build_uncached(py, template, request)?,
    };
    set(&environ, &template.input.bind(py), input)?;
    set(&environ, &template.errors.bind(py), errors)?;
    Ok(environ)
}

#[inline]
fn try_names(names: &Mutex<Names>) -> Option<MutexGuard<'_, Names>> {
    match names.try_lock() {
        Ok(names) => Some(names),
        Err(TryLockError::Poisoned(names)) => Some(names.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn build_uncached<'py>(
    py: Token<'py>,
    template: &Template,
    request: &Request<'_, impl Variables>,
) -> Result<'py, Bound<'py>> {
    let environ = template.copy(py)?;
    for (name, value) in request.environ.pairs() {
        set_uncached(py, template, &environ, name, value)?;
    }
    for (name, value) in request.extra {
        set(&environ, &py.str(name)?, &to_object(py, *value)?)?;
    }
    template.set_flags(py, &environ, request)?;
    Ok(environ)
}

/// Sets a variable without help of the cache.
pub(crate) fn set_uncached<'py>(
    py: Token<'py>,
    template: &Template,
    environ: &Bound<'py>,
    name: &[u8],
    value: &[u8],
) -> Result<'py, ()> {
    match (template.kind(name), std::str::from_utf8(name)) {
        (Some(kind), Ok(name)) => set(environ, &py.str(name)?, &kind.decode(py, value)?),
        _ => Ok(()),
    }
}

/// `dict[name] = value`
#[inline]
pub(crate) fn set<'py>(
    dict: &Bound<'py>,
    name: &Bound<'py>,
    value: &Bound<'py>,
) -> Result<'py, ()> {
    // SAFETY: attached; a dict and two live objects, of which it takes references of its own.
    let status = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if status < 0 { Err(Error::fetch(dict.py())) } else { Ok(()) }
}
