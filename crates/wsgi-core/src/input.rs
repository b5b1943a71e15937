//! `mod_wsgi.Input`: the type of `wsgi.input`.
//!
//! Sizes are what Python's own files take: absent, `None` or negative for "all". Memory is
//! allocated as data arrives, not as the application or a client's `Content-Length` announces.
//! Like mod_wsgi's it is no `io` object: no `seek`, no `readinto`, no context manager.
//!
//! <https://peps.python.org/pep-3333/#input-and-error-streams>

use std::ffi::c_void;
use std::sync::Arc;

use py::class::{self, Arguments, END_OF_METHODS, Table};
use py::text::BytesBuilder;
use py::{Bound, Error, Result, Token, ffi, guard};

use crate::exchange::{self, Exchange, HostSource, acquire};
use crate::fault::{Direction, in_error_state, to_exception};
use crate::handles::Handle;
use crate::host::Fault;
use crate::state::State;

/// Allocated at first at most, whatever is asked for.
const FIRST: usize = 64 * 1024;

/// What an instance holds.
struct Input(Handle);

/// Makes the type.
pub(crate) fn make_class(py: Token<'_>) -> Result<'_, Bound<'_>> {
    let slots = [
        class::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast_mut().cast()),
        class::slot(ffi::Py_tp_iter, iter as *mut c_void),
        class::slot(ffi::Py_tp_iternext, next as *mut c_void),
    ];
    // SAFETY: methods and slots take instances of this type only, which is what CPython checks.
    unsafe { class::make::<Input>(py, c"mod_wsgi.Input", &slots) }
}

/// Makes the input of `exchange`.
pub(crate) fn new<'py>(
    py: Token<'py>,
    state: &State,
    exchange: &Arc<Exchange>,
) -> Result<'py, Bound<'py>> {
    // SAFETY: the class was made for `Input` in this interpreter.
    unsafe { class::instance(py, state.refs.input.as_ptr(), Input(Handle::new(exchange))) }
}

/// What `new` has put into an input.
pub(crate) fn handle<'a>(input: &'a Bound<'_>) -> &'a Handle {
    // SAFETY: the callers have it from `new`; alive for as long as it is borrowed.
    &unsafe { class::value::<Input>(input.as_ptr()) }.0
}

static METHODS: Table<[ffi::PyMethodDef; 5]> = Table([
    class::method(c"read", read_method),
    class::method(c"readline", readline_method),
    class::method(c"readlines", readlines_method),
    class::method0(c"close", close_method),
    END_OF_METHODS,
]);

unsafe extern "C" fn read_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance of the type and arguments by the fast convention.
    unsafe {
        guard::object(|py| {
            let exchange = class::value::<Input>(object).0.get();
            let args = Arguments::new(py, args, count, names);
            let size = size(py, &args, "read", "size")?;
            Reader::lock(py, exchange, "read")?.read(size)
        })
    }
}

unsafe extern "C" fn readline_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `read_method`.
    unsafe {
        guard::object(|py| {
            let exchange = class::value::<Input>(object).0.get();
            let args = Arguments::new(py, args, count, names);
            let size = size(py, &args, "readline", "size")?;
            Reader::lock(py, exchange, "readline")?.line(size)
        })
    }
}

unsafe extern "C" fn readlines_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `read_method`.
    unsafe {
        guard::object(|py| {
            let exchange = class::value::<Input>(object).0.get();
            let args = Arguments::new(py, args, count, names);
            let hint = size(py, &args, "readlines", "hint")?.filter(|&hint| hint > 0);
            let mut reader = Reader::lock(py, exchange, "readlines")?;
            let list = py.list([])?;
            let mut total = 0;
            loop {
                let line = reader.line(None)?;
                let length = line.as_bytes()?.len();
                if length == 0 {
                    return Ok(list);
                }
                if ffi::PyList_Append(list.as_ptr(), line.as_ptr()) < 0 {
                    return Err(Error::fetch(py));
                }
                total += length;
                if hint.is_some_and(|hint| total >= hint) {
                    return Ok(list);
                }
            }
        })
    }
}

unsafe extern "C" fn close_method(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `read_method`.
    unsafe {
        guard::object(|py| {
            if class::value::<Input>(object).0.get().is_expired() {
                return Err(expired(py, "close"));
            }
            Ok(py.none())
        })
    }
}

unsafe extern "C" fn iter(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `read_method`; returns a new reference to the object.
    unsafe {
        guard::object(|py| {
            if class::value::<Input>(object).0.get().is_expired() {
                return Err(iteration_expired(py));
            }
            Bound::from_borrowed(py, object).ok_or_else(|| Error::fetch(py))
        })
    }
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as in `read_method`; NULL without an exception ends the iteration.
    unsafe {
        guard::run(std::ptr::null_mut(), |py| {
            let exchange = class::value::<Input>(object).0.get();
            if exchange.is_expired() {
                return Err(iteration_expired(py));
            }
            let line = Reader::lock(py, exchange, "next")?.line(None)?;
            if line.as_bytes()?.is_empty() {
                return Ok(std::ptr::null_mut());
            }
            Ok(line.into_ptr())
        })
    }
}

/// The input while one call uses it.
struct Reader<'a, 'py> {
    py: Token<'py>,
    exchange: &'a Exchange,
    input: std::sync::MutexGuard<'a, exchange::Input>,
}

impl<'a, 'py> Reader<'a, 'py> {
    fn lock(py: Token<'py>, exchange: &'a Exchange, method: &str) -> Result<'py, Reader<'a, 'py>> {
        if exchange.is_expired() {
            return Err(expired(py, method));
        }
        let input = acquire(py, &exchange.input);
        if input.failed {
            return Err(in_error_state(py));
        }
        Ok(Reader { py, exchange, input })
    }

    /// `size` bytes, fewer only at the end; all there is without a size.
    fn read(&mut self, size: Option<usize>) -> Result<'py, Bound<'py>> {
        let mut source = HostSource { exchange: self.exchange, py: self.py };
        if size == Some(0) {
            let result = self.input.body.touch(&mut source);
            result.map_err(|fault| self.failed(fault))?;
            return self.py.bytes(b"");
        }
        if self.input.body.is_finished() {
            return self.py.bytes(b"");
        }
        let wanted = size.unwrap_or(usize::MAX);
        // What is known of the length saves growing, but a client may lie: see `FIRST`.
        let expected = self.exchange.content_length.and_then(|n| usize::try_from(n).ok());
        let first = wanted.min(expected.map_or(FIRST, |n| n.saturating_add(1))).min(FIRST);
        let mut bytes = BytesBuilder::new(self.py, first)?;
        while bytes.len() < wanted {
            if bytes.spare().is_empty() {
                let twice = bytes.len().saturating_mul(2).max(FIRST);
                bytes.grow(twice.min(wanted))?;
            }
            let missing = wanted - bytes.len();
            let spare = bytes.spare();
            let room = spare.len().min(missing);
            let spare = spare.get_mut(..room).unwrap_or_default();
            let result = self.input.body.read(&mut source, spare);
            match result.map_err(|fault| self.failed(fault))? {
                0 => break,
                count => bytes.advance(count),
            }
        }
        bytes.finish()
    }

    /// A line of at most `size` bytes.
    fn line(&mut self, size: Option<usize>) -> Result<'py, Bound<'py>> {
        let mut source = HostSource { exchange: self.exchange, py: self.py };
        match self.input.body.line(&mut source, size) {
            Ok(line) => self.py.bytes(line),
            Err(fault) => Err(self.failed(fault)),
        }
    }

    fn failed(&mut self, fault: Fault) -> Error<'py> {
        if self.exchange.is_expired() {
            return expired(self.py, "read");
        }
        self.input.failed = true;
        self.input.status = fault.status;
        to_exception(self.py, Direction::Read, &fault)
    }
}

/// The size a method was called with; `None` for "all".
fn size<'py>(
    py: Token<'py>,
    args: &Arguments<'_, 'py>,
    method: &str,
    name: &str,
) -> Result<'py, Option<usize>> {
    let Some(size) = args.at_most_one(method, name)? else {
        return Ok(None);
    };
    // SAFETY: attached; an argument, alive for the call. -1 is a failure only with an exception.
    let size = unsafe {
        if size == ffi::Py_None() {
            return Ok(None);
        }
        let index = Bound::from_owned(py, ffi::PyNumber_Index(size))?;
        ffi::PyLong_AsSsize_t(index.as_ptr())
    };
    if size == -1
        && let Some(error) = Error::take(py)
    {
        return Err(error);
    }
    Ok(usize::try_from(size).ok())
}

fn expired<'py>(py: Token<'py>, method: &str) -> Error<'py> {
    let text = format!("{method}() called on wsgi.input after request completed");
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, &text) }
}

fn iteration_expired(py: Token<'_>) -> Error<'_> {
    let text = "iteration of wsgi.input attempted after request completed";
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, text) }
}
