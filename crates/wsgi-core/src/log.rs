//! `mod_wsgi.Log`, and the text streams over it: `wsgi.errors`, `sys.stdout` and `sys.stderr`.
//!
//! A `Log` takes bytes and makes log entries of its lines. One for `wsgi.errors` belongs to a
//! request. One for a standard stream belongs to the interpreter: what a thread writes while it
//! serves a request goes to that request, together with its `wsgi.errors`, and anything else to the
//! server's log, with a buffer per thread for lines that are not finished.
//!
//! <https://peps.python.org/pep-3333/#input-and-error-streams>

mod errors;
mod tails;

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use py::class::{self, Arguments, END_OF_GETTERS, END_OF_METHODS, Table};
use py::text::Buffer;
use py::{Bound, Error, Result, Token, ffi, guard, text};

use crate::exchange::{self, Exchange, lock};
use crate::host::{Level, Record, ServerLog};
use crate::state::State;

pub(crate) use errors::{Spare, errors};
use tails::{finish_unfinished, log_to_server, write_unfinished};

/// What an instance holds.
struct Log {
    name: &'static str,
    target: Target,
    /// A method has been called since the stream was handed out.
    touched: AtomicBool,
}

enum Target {
    /// The request, until it is over; for the next one after that, see [`Spare`].
    Request(Mutex<Option<Arc<Exchange>>>),
    /// What the thread serves, else the server's log.
    Thread { stream: u64, log: Arc<dyn ServerLog> },
}

/// Makes the type.
pub(crate) fn make_class(py: Token<'_>) -> Result<'_, Bound<'_>> {
    let slots = [
        class::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast_mut().cast()),
        class::slot(ffi::Py_tp_getset, GETTERS.0.as_ptr().cast_mut().cast()),
    ];
    // SAFETY: methods and getters take instances of this type only, which is what CPython checks.
    unsafe { class::make::<Log>(py, c"mod_wsgi.Log", &slots) }
}

impl State {
    /// A text stream for `sys.stdout` or `sys.stderr` (`name` is what it calls itself:
    /// `<stdout>`).
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn stream<'py>(&self, py: Token<'py>, name: &'static str) -> Result<'py, Bound<'py>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        self.check(py);
        let stream = NEXT.fetch_add(1, Ordering::Relaxed);
        let target = Target::Thread { stream, log: Arc::clone(&self.log) };
        let log = Log { name, target, touched: AtomicBool::new(false) };
        // SAFETY: the class was made for `Log` in this interpreter.
        let log = unsafe { class::instance(py, self.refs.log.as_ptr(), log)? };
        self.wrap(py, &log)
    }

    /// Logs records with the request that this thread serves, else with the server.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn log(&self, py: Token<'_>, records: &[Record<'_>]) {
        self.check(py);
        match exchange::current(py) {
            Some(exchange) => exchange.log(py, records),
            None => py.detach(|| self.log.log(records)),
        }
    }

    /// The level down to which the request that this thread serves, or else the server, logs.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn log_level(&self, py: Token<'_>) -> Level {
        self.check(py);
        exchange::current(py)
            .and_then(|exchange| exchange.with_host(py, |host| host.log_level()))
            .unwrap_or_else(|| self.log.level())
    }

    /// `io.TextIOWrapper(log, encoding='utf-8', errors='replace', line_buffering=True,
    /// write_through=True)`
    fn wrap<'py>(&self, py: Token<'py>, log: &Bound<'py>) -> Result<'py, Bound<'py>> {
        let kwargs = py.dict()?;
        kwargs.dict_set(c"encoding", &py.str("utf-8")?)?;
        kwargs.dict_set(c"errors", &py.str("replace")?)?;
        kwargs.dict_set(c"line_buffering", &py.bool(true))?;
        kwargs.dict_set(c"write_through", &py.bool(true))?;
        self.refs.text_stream.bind(py).call_with(&py.tuple([log.clone()])?, Some(&kwargs))
    }
}

static METHODS: Table<[ffi::PyMethodDef; 10]> = Table([
    class::method(c"write", write_method),
    class::method(c"writelines", writelines_method),
    class::method0(c"flush", flush_method),
    class::method0(c"close", close_method),
    class::method0(c"isatty", no),
    class::method0(c"readable", no),
    class::method0(c"seekable", no),
    class::method0(c"writable", yes),
    class::method0(c"fileno", fileno_method),
    END_OF_METHODS,
]);

static GETTERS: Table<[ffi::PyGetSetDef; 5]> = Table([
    getter(c"closed", get_closed),
    getter(c"name", get_name),
    getter(c"encoding", get_encoding),
    getter(c"errors", get_errors),
    END_OF_GETTERS,
]);

const fn getter(name: &'static std::ffi::CStr, get: ffi::getter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

impl Log {
    fn write<'py>(&self, py: Token<'py>, method: &str, data: &[u8]) -> Result<'py, ()> {
        let exchange = match &self.target {
            Target::Request(slot) => {
                let exchange = lock(slot).clone();
                match exchange.filter(|exchange| !exchange.is_expired()) {
                    Some(exchange) => Some(exchange),
                    None => return Err(expired(py, method)),
                }
            }
            Target::Thread { .. } => exchange::current(py),
        };
        if let Some(exchange) = exchange
            && exchange.write_log(py, data)
        {
            return Ok(());
        }
        match &self.target {
            // Closed by the application.
            Target::Request(_) => Err(expired(py, method)),
            Target::Thread { stream, log } => {
                let lines = write_unfinished(*stream, log, data);
                log_to_server(py, &**log, &lines);
                Ok(())
            }
        }
    }

    fn flush<'py>(&self, py: Token<'py>) -> Result<'py, ()> {
        match &self.target {
            Target::Request(slot) => {
                let exchange = lock(slot).clone();
                if let Some(exchange) = exchange {
                    if exchange.is_expired() && exchange.has_unfinished_log() {
                        return Err(expired(py, "flush"));
                    }
                    exchange.flush_log(py);
                }
            }
            Target::Thread { stream, log } => {
                if let Some(exchange) = exchange::current(py) {
                    exchange.flush_log(py);
                }
                let lines = finish_unfinished(*stream);
                log_to_server(py, &**log, &lines);
            }
        }
        Ok(())
    }

    /// A request takes no more text after this; a standard stream goes on without it.
    fn close(&self, py: Token<'_>) {
        match &self.target {
            Target::Request(slot) => {
                let exchange = lock(slot).take();
                if let Some(exchange) = exchange {
                    exchange.finish_log(py);
                }
            }
            Target::Thread { stream, log } => {
                if let Some(exchange) = exchange::current(py) {
                    exchange.finish_log(py);
                }
                let lines = finish_unfinished(*stream);
                log_to_server(py, &**log, &lines);
            }
        }
    }
}

/// The instance a method was called with.
///
/// # Safety
/// `object` is a live instance of the type.
unsafe fn touch<'a>(object: *mut ffi::PyObject) -> &'a Log {
    // SAFETY: by contract.
    let log = unsafe { class::value::<Log>(object) };
    log.touched.store(true, Ordering::Relaxed);
    log
}

unsafe extern "C" fn write_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance of the type and arguments by the fast convention.
    unsafe {
        guard::object(|py| {
            let log = touch(object);
            let data = only(py, &Arguments::new(py, args, count, names), "write")?;
            let length = write_object(py, log, "write", data)?;
            py.int(length as i64)
        })
    }
}

unsafe extern "C" fn writelines_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write_method`; the argument is alive for the call.
    unsafe {
        guard::object(|py| {
            let log = touch(object);
            let lines = only(py, &Arguments::new(py, args, count, names), "writelines")?;
            let iterator = ffi::PyObject_GetIter(lines);
            if iterator.is_null() {
                let error = Error::fetch(py);
                if !error.matches(ffi::PyExc_TypeError) {
                    return Err(error);
                }
                let text = "writelines() argument must be an iterable of bytes-like objects";
                return Err(Error::new(py, ffi::PyExc_TypeError, text));
            }
            let iterator = Bound::from_owned(py, iterator)?;
            loop {
                let line = ffi::PyIter_Next(iterator.as_ptr());
                let Some(line) = Bound::from_owned_or_none(py, line) else {
                    return Error::take(py).map_or(Ok(py.none()), Err);
                };
                write_object(py, log, "writelines", line.as_ptr())?;
            }
        })
    }
}

/// Writes a bytes-like object or, with a warning, a `str`.
///
/// # Safety
/// `data` is a live object.
unsafe fn write_object<'py>(
    py: Token<'py>,
    log: &Log,
    method: &str,
    data: *mut ffi::PyObject,
) -> Result<'py, usize> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    // SAFETY: by contract. A buffer of an exporter other than `bytes` is copied, since it may
    // change while this thread is detached.
    unsafe {
        if let Some(bytes) = text::bytes(data) {
            log.write(py, method, bytes)?;
            return Ok(bytes.len());
        }
        if ffi::PyUnicode_Check(data) != 0 {
            if !WARNED.swap(true, Ordering::Relaxed) {
                let text = c"Writing str to wsgi.errors.buffer / sys.stderr.buffer is deprecated; \
                             write a bytes-like object instead.";
                if ffi::PyErr_WarnEx(ffi::PyExc_DeprecationWarning, text.as_ptr(), 1) < 0 {
                    return Err(Error::fetch(py));
                }
            }
            let (codec, errors) = (c"utf-8".as_ptr(), c"replace".as_ptr());
            let encoded = ffi::PyUnicode_AsEncodedString(data, codec, errors);
            let encoded = Bound::from_owned(py, encoded)?;
            let bytes = encoded.as_bytes()?;
            log.write(py, method, bytes)?;
            return Ok(bytes.len());
        }
        let bytes = Buffer::get(py, data)?.as_slice().to_vec();
        log.write(py, method, &bytes)?;
        Ok(bytes.len())
    }
}

unsafe extern "C" fn flush_method(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write_method`.
    unsafe { guard::object(|py| touch(object).flush(py).map(|()| py.none())) }
}

unsafe extern "C" fn close_method(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `write_method`.
    unsafe {
        guard::object(|py| {
            touch(object).close(py);
            Ok(py.none())
        })
    }
}

unsafe extern "C" fn no(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls this.
    unsafe { guard::object(|py| Ok(py.bool(false))) }
}

unsafe extern "C" fn yes(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls this.
    unsafe { guard::object(|py| Ok(py.bool(true))) }
}

unsafe extern "C" fn fileno_method(
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls this; a static class of libpython.
    unsafe {
        guard::object(|py| {
            let text = "wsgi.errors log object has no file descriptor";
            Err(Error::new(py, ffi::PyExc_OSError, text))
        })
    }
}

unsafe extern "C" fn get_closed(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls this.
    unsafe { guard::object(|py| Ok(py.bool(false))) }
}

unsafe extern "C" fn get_name(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance of the type.
    unsafe { guard::object(|py| py.str(class::value::<Log>(object).name)) }
}

unsafe extern "C" fn get_encoding(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls this.
    unsafe { guard::object(|py| py.str("utf-8")) }
}

unsafe extern "C" fn get_errors(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls this.
    unsafe { guard::object(|py| py.str("replace")) }
}

/// The argument of a function that takes exactly one.
fn only<'py>(
    py: Token<'py>,
    args: &Arguments<'_, 'py>,
    method: &str,
) -> Result<'py, *mut ffi::PyObject> {
    let text = match args.get(0) {
        _ if args.has_names() => format!("Log.{method}() takes no keyword arguments"),
        Some(argument) if args.len() == 1 => return Ok(argument),
        _ => format!("{method}() takes exactly 1 argument ({} given)", args.len()),
    };
    // SAFETY: a static class of libpython.
    Err(unsafe { Error::new(py, ffi::PyExc_TypeError, &text) })
}

fn expired<'py>(py: Token<'py>, method: &str) -> Error<'py> {
    let text = format!("{method}() called on wsgi.errors after request completed");
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, &text) }
}
