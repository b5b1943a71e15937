//! What the engine keeps per interpreter: types, names, the template of `environ`.
//!
//! Objects belong to an interpreter, so none of this is static to the process; whoever keeps the
//! interpreter keeps its [`State`]. Interpreters are not ended while the process runs, and so the
//! references held here are never given back.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, OnceLock};

use py::{Bound, Error, InterpreterId, Result, Token, ffi};

use crate::environ::Template;
use crate::exchange::Exchange;
use crate::host::ServerLog;
use crate::names::Names;
use crate::request::Value;
use crate::{adapter, file_wrapper, handles, input, log, restricted};

/// The engine in one interpreter.
pub struct State {
    interpreter: InterpreterId,
    pub(crate) log: Arc<dyn ServerLog>,
    pub(crate) refs: Refs,
    pub(crate) template: Template,
    /// Only ever tried, never waited for: it is held while objects are made.
    pub(crate) names: Mutex<Names>,
    /// Streams for `wsgi.errors` that no application has any hold on.
    pub(crate) streams: Mutex<Vec<log::Spare>>,
    /// Handles that no application has any hold on.
    pub(crate) handles: Mutex<Vec<handles::Spare>>,
    /// What those lead to.
    pub(crate) over: OnceLock<Arc<Exchange>>,
}

/// How to make a [`State`].
#[derive(Clone)]
pub struct Config<'a> {
    /// Where text goes that belongs to no request.
    pub log: Arc<dyn ServerLog>,
    /// What is in every `environ`, beside what PEP 3333 asks for: `mod_wsgi.version`.
    pub constants: &'a [(&'a str, Value<'a>)],
}

/// A reference to an object of the state's interpreter, given back only by [`Ref::release`].
#[derive(Clone, Copy)]
pub(crate) struct Ref(NonNull<ffi::PyObject>);

// SAFETY: used with a token of the right interpreter only: `State::check` is the gate, and Python
// objects that hold a state live in its interpreter.
unsafe impl Send for Ref {}
// SAFETY: as above.
unsafe impl Sync for Ref {}

impl Ref {
    pub(crate) fn new(object: Bound<'_>) -> Ref {
        let object = object.into_ptr();
        // A `Bound` is never NULL.
        Ref(NonNull::new(object).unwrap_or(NonNull::dangling()))
    }

    pub(crate) fn as_ptr(self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives the reference back.
    #[inline]
    pub(crate) fn release(self, py: Token<'_>) {
        // SAFETY: a reference that we own (type invariant), given away.
        drop(unsafe { Bound::from_owned_or_none(py, self.0.as_ptr()) });
    }

    #[inline]
    pub(crate) fn bind(self, py: Token<'_>) -> Bound<'_> {
        // SAFETY: a live object that we own a reference to (type invariant).
        unsafe { Bound::from_borrowed(py, self.0.as_ptr()) }
            .unwrap_or_else(|| unreachable!("a reference is never NULL"))
    }
}

pub(crate) struct Refs {
    pub(crate) adapter: Ref,
    pub(crate) input: Ref,
    pub(crate) file_wrapper: Ref,
    pub(crate) log: Ref,
    pub(crate) restricted: Ref,
    pub(crate) request_timeout: Ref,
    /// `io.TextIOWrapper`
    pub(crate) text_stream: Ref,
    /// `close`
    pub(crate) close: Ref,
}

impl State {
    /// Makes types and names for `py`'s interpreter.
    ///
    /// # Errors
    /// What Python raises: no memory, or a standard library that cannot be imported.
    pub fn new<'py>(py: Token<'py>, config: &Config<'_>) -> Result<'py, Arc<State>> {
        let refs = Refs {
            adapter: Ref::new(adapter::make_class(py)?),
            input: Ref::new(input::make_class(py)?),
            file_wrapper: Ref::new(file_wrapper::make_class(py)?),
            log: Ref::new(log::make_class(py)?),
            restricted: Ref::new(restricted::make_class(py)?),
            request_timeout: Ref::new(make_request_timeout(py)?),
            text_stream: Ref::new(py.import(c"io")?.attr(c"TextIOWrapper")?),
            close: Ref::new(intern(py, "close")?),
        };
        let template = Template::new(py, &refs.file_wrapper.bind(py), config.constants)?;
        Ok(Arc::new(State {
            interpreter: py.interpreter(),
            log: Arc::clone(&config.log),
            refs,
            template,
            names: Mutex::default(),
            streams: Mutex::default(),
            handles: Mutex::default(),
            over: OnceLock::new(),
        }))
    }

    /// The interpreter it was made in.
    pub fn interpreter(&self) -> InterpreterId {
        self.interpreter
    }

    /// Panics unless `py` is attached to the interpreter of this state.
    ///
    /// A defect of the caller; touching the objects would corrupt both interpreters.
    pub(crate) fn check(&self, py: Token<'_>) {
        assert_eq!(self.interpreter, py.interpreter(), "state of another interpreter");
    }

    /// The type `mod_wsgi.FileWrapper`, which is `wsgi.file_wrapper` in every `environ`.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn file_wrapper<'py>(&self, py: Token<'py>) -> Bound<'py> {
        self.check(py);
        self.refs.file_wrapper.bind(py)
    }

    /// The exception class `mod_wsgi.RequestTimeout`. One that reaches the engine becomes a 504.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn request_timeout<'py>(&self, py: Token<'py>) -> Bound<'py> {
        self.check(py);
        self.refs.request_timeout.bind(py)
    }
}

/// An interned `str`.
pub(crate) fn intern<'py>(py: Token<'py>, text: &str) -> Result<'py, Bound<'py>> {
    let mut object = py.str(text)?.into_ptr();
    // SAFETY: attached; takes our reference over and gives one to the interned string.
    unsafe {
        ffi::PyUnicode_InternInPlace(&mut object);
        Bound::from_owned(py, object)
    }
}

/// Makes a Python object of `value`.
#[inline]
pub(crate) fn to_object<'py>(py: Token<'py>, value: Value<'_>) -> Result<'py, Bound<'py>> {
    match value {
        Value::None => Ok(py.none()),
        Value::Bool(value) => Ok(py.bool(value)),
        Value::Int(value) => py.int(value),
        Value::Float(value) => py.float(value),
        Value::Latin1(value) => py.latin1(value),
        Value::Str(value) => py.str(value),
        Value::Version([a, b, c]) => {
            py.tuple([py.int(a.into())?, py.int(b.into())?, py.int(c.into())?])
        }
        Value::Pointer(value) => capsule(py, value),
        Value::Object(value) => value.bind(py).map_err(|error| {
            // SAFETY: the class is a static of libpython.
            unsafe { Error::new(py, ffi::PyExc_SystemError, &error.to_string()) }
        }),
    }
}

fn capsule(py: Token<'_>, pointer: *mut c_void) -> Result<'_, Bound<'_>> {
    // SAFETY: attached; a capsule without name or destructor only stores the pointer, and refuses
    // NULL with an exception.
    unsafe { Bound::from_owned(py, ffi::PyCapsule_New(pointer, ptr::null(), None)) }
}

fn make_request_timeout(py: Token<'_>) -> Result<'_, Bound<'_>> {
    const NAME: &CStr = c"mod_wsgi.RequestTimeout";
    const DOC: &CStr = c"Raised in a request that has exceeded the request-timeout of its daemon \
                         process group, when interrupt-timeout is set.";
    // SAFETY: attached; C strings and a static class of libpython.
    unsafe {
        let base = ffi::PyExc_BaseException;
        let class =
            ffi::PyErr_NewExceptionWithDoc(NAME.as_ptr(), DOC.as_ptr(), base, ptr::null_mut());
        Bound::from_owned(py, class)
    }
}
