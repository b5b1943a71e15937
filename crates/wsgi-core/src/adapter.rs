//! `mod_wsgi.Adapter`: the object behind `start_response` and `write`.
//!
//! Checks what an application says about a response; when and how it is sent is `reply.rs` and
//! `respond.rs`. Texts and types of exceptions are mod_wsgi's.
//!
//! <https://peps.python.org/pep-3333/#the-start-response-callable>

use std::ptr;
use std::sync::Arc;

use py::class::{self, Arguments, END_OF_METHODS, Table};
use py::{Bound, Error, Result, Token, compat, ffi, guard, text};

use crate::exchange::{Exchange, SendError, lock};
use crate::fault::{Direction, to_exception};
use crate::handles::Handle;
use crate::head::Head;
use crate::host::{Level, Record};
use crate::state::State;
use crate::validate::{self, Field};

/// What an instance holds.
struct Adapter(Handle);

/// Makes the type.
pub(crate) fn make_class(py: Token<'_>) -> Result<'_, Bound<'_>> {
    let slots = [class::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast_mut().cast())];
    // SAFETY: the methods take instances of this type only, which is what CPython checks.
    unsafe { class::make::<Adapter>(py, c"mod_wsgi.Adapter", &slots) }
}

/// Makes an adapter for `exchange`.
pub(crate) fn new<'py>(
    py: Token<'py>,
    state: &State,
    exchange: &Arc<Exchange>,
) -> Result<'py, Bound<'py>> {
    // SAFETY: the class was made for `Adapter` in this interpreter.
    unsafe { class::instance(py, state.refs.adapter.as_ptr(), Adapter(Handle::new(exchange))) }
}

/// What `new` has put into an adapter.
pub(crate) fn handle<'a>(adapter: &'a Bound<'_>) -> &'a Handle {
    // SAFETY: the callers have it from `new`; alive for as long as it is borrowed.
    &unsafe { class::value::<Adapter>(adapter.as_ptr()) }.0
}

/// The method `start_response` of an adapter.
pub(crate) fn start_response<'py>(adapter: &Bound<'py>) -> Result<'py, Bound<'py>> {
    bind(adapter.py(), &METHODS.0[0], adapter.as_ptr())
}

/// The method `write` of an adapter.
pub(crate) fn write<'py>(adapter: &Bound<'py>) -> Result<'py, Bound<'py>> {
    bind(adapter.py(), &METHODS.0[1], adapter.as_ptr())
}

/// The exchange of an adapter.
///
/// # Safety
/// Attached; `object` is an adapter, which lives for `'a`.
pub(crate) unsafe fn exchange<'a>(object: *mut ffi::PyObject) -> &'a Exchange {
    // SAFETY: by contract.
    unsafe { class::value::<Adapter>(object).0.get() }
}

static METHODS: Table<[ffi::PyMethodDef; 5]> = Table([
    class::method(c"start_response", start_response_method),
    class::method(c"write", write_method),
    class::method0(c"ssl_is_https", ssl_is_https_method),
    class::method(c"ssl_var_lookup", ssl_var_lookup_method),
    END_OF_METHODS,
]);

/// A bound method, without the lookup.
fn bind<'py>(
    py: Token<'py>,
    method: &'static ffi::PyMethodDef,
    object: *mut ffi::PyObject,
) -> Result<'py, Bound<'py>> {
    // SAFETY: attached; the definition is static and CPython only reads it; the object is an
    // instance of the type the method is for.
    unsafe {
        let method = ptr::from_ref(method).cast_mut();
        let function = ffi::PyCMethod_New(method, object, ptr::null_mut(), ptr::null_mut());
        Bound::from_owned(py, function)
    }
}

unsafe extern "C" fn start_response_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance of the type and arguments by the fast convention.
    unsafe {
        guard::object(|py| {
            let args = Arguments::new(py, args, count, names);
            let handle = &class::value::<Adapter>(object).0;
            accept(py, handle.get(), &args)?;
            handle.write(py).map_or_else(|| bind(py, &METHODS.0[1], object), Ok)
        })
    }
}

/// `start_response(status, headers, exc_info=None)`
fn accept<'py>(py: Token<'py>, exchange: &Exchange, args: &Arguments<'_, 'py>) -> Result<'py, ()> {
    if exchange.is_expired() {
        return Err(expired(py, "start_response"));
    }
    if args.has_names() {
        return Err(type_error(py, "start_response() takes no keyword arguments"));
    }
    let (Some(status), Some(headers)) = (args.get(0), args.get(1)) else {
        let given = args.len();
        let text = format!("start_response() takes at least 2 arguments ({given} given)");
        return Err(type_error(py, &text));
    };
    if args.len() > 3 {
        let given = args.len();
        let text = format!("start_response() takes at most 3 arguments ({given} given)");
        return Err(type_error(py, &text));
    }
    // SAFETY: arguments are alive for the call; None is a static.
    let (exc_info, is_list, is_tuple) = unsafe {
        let exc_info = args.get(2).unwrap_or(ffi::Py_None());
        (exc_info, ffi::PyList_Check(headers) != 0, ffi::PyTuple_Check(exc_info) != 0)
    };
    if !is_list {
        // SAFETY: alive, as above.
        let found = unsafe {
            if headers == ffi::Py_None() { "None".to_owned() } else { text::type_name(headers) }
        };
        let text = format!("start_response() argument 2 must be list, not {found}");
        return Err(type_error(py, &text));
    }
    // SAFETY: a static.
    let has_exc_info = exc_info != unsafe { ffi::Py_None() };
    if has_exc_info && !is_tuple {
        let text = "start_response() argument 'exc_info' must be a 3-tuple or None";
        return Err(runtime_error(py, text));
    }
    if let Some(observer) = &exchange.observer {
        // SAFETY: arguments, alive for the call and never NULL.
        let objects = unsafe {
            let bound = |object| Bound::from_borrowed(py, object);
            (bound(status), bound(headers), bound(exc_info))
        };
        if let (Some(status), Some(headers), Some(exc_info)) = objects {
            observer.response_started(py, &status, &headers, &exc_info);
        }
    }
    let (is_started, is_committed) = {
        let reply = lock(&exchange.reply);
        (reply.is_started(), reply.is_committed())
    };
    if has_exc_info && is_committed {
        // SAFETY: a live tuple.
        return Err(unsafe { reraise(py, exc_info) });
    }
    if is_started && !has_exc_info {
        return Err(runtime_error(py, "start_response() called more than once without exc_info"));
    }
    // SAFETY: a live `str`, or not; and a live list.
    let (head, dropped) = unsafe { make_head(py, status, headers)? };
    lock(&exchange.reply).accept(head);
    if let Some(name) = dropped {
        let text = format!("Dropped hop-by-hop response header '{name}' set by the application.");
        exchange.log(py, &[Record::new(Level::Info, 0, text.as_bytes())]);
    }
    Ok(())
}

/// Checks and copies status and headers. Also returns the name of a field that was dropped.
///
/// # Safety
/// Both are live objects and `headers` is a list.
unsafe fn make_head<'py>(
    py: Token<'py>,
    status: *mut ffi::PyObject,
    headers: *mut ffi::PyObject,
) -> Result<'py, (Head, Option<String>)> {
    let invalid = |error: validate::Invalid| value_error(py, &error.to_string());
    // SAFETY: `status` is alive. The list is: its items are borrowed, but between taking one and
    // copying its strings no Python code runs and nothing is freed, other than when an error is
    // made, and then they are not used any more. On builds without a GIL the item is owned.
    unsafe {
        let line = text::latin1(py, status)?;
        let (code, reason) = validate::status(line).map_err(invalid)?;
        let count = ffi::PyList_Size(headers).max(0) as usize;
        let mut head = Head::with_capacity(code, reason, count + 1, 32 * count + 32);
        let mut dropped = None;
        let mut index = 0;
        // The size is asked for each time: another thread may shorten the list.
        while index < ffi::PyList_Size(headers) {
            let item = compat::list_item(py, headers, index)?;
            index += 1;
            let item = item.as_ptr();
            if ffi::PyTuple_Check(item) == 0 {
                let found = text::type_name(item);
                let text = format!("each header must be a 2-tuple, not {found}");
                return Err(type_error(py, &text));
            }
            let length = ffi::PyTuple_GET_SIZE(item);
            if length != 2 {
                let text = format!("each header must be a 2-tuple, got length {length}");
                return Err(value_error(py, &text));
            }
            let name = text::latin1(py, ffi::PyTuple_GET_ITEM(item, 0))?;
            let value = text::latin1(py, ffi::PyTuple_GET_ITEM(item, 1))?;
            match validate::field(name, value).map_err(invalid)? {
                Field::Send => head.push(name, value),
                Field::Drop => dropped = Some(String::from_utf8_lossy(name).into_owned()),
                Field::Close => head.push(b"Connection", b"close"),
                Field::ContentLength(length) => head.set_content_length(length),
                Field::ContentType => {
                    head.remove("content-type");
                    head.push(name, value);
                }
            }
        }
        Ok((head, dropped))
    }
}

/// The exception that `exc_info` describes.
///
/// # Safety
/// `exc_info` is a live tuple.
unsafe fn reraise<'py>(py: Token<'py>, exc_info: *mut ffi::PyObject) -> Error<'py> {
    // SAFETY: a live tuple of three, whose items it keeps alive; the functions check their types.
    unsafe {
        let length = ffi::PyTuple_GET_SIZE(exc_info);
        if length != 3 {
            let text = format!("function takes exactly 3 arguments ({length} given)");
            return type_error(py, &text);
        }
        let class = ffi::PyTuple_GET_ITEM(exc_info, 0);
        let value = ffi::PyTuple_GET_ITEM(exc_info, 1);
        let traceback = ffi::PyTuple_GET_ITEM(exc_info, 2);
        if ffi::PyExceptionInstance_Check(value) != 0 {
            if (traceback == ffi::Py_None() || ffi::PyTraceBack_Check(traceback) != 0)
                && ffi::PyException_SetTraceback(value, traceback) < 0
            {
                return Error::fetch(py);
            }
            ffi::PyErr_SetObject(ffi::Py_TYPE(value).cast(), value);
        } else if ffi::PyExceptionClass_Check(class) != 0 {
            // Calls the class with the value, as `raise` of old did.
            ffi::PyErr_SetObject(class, value);
        } else {
            return type_error(py, "exceptions must derive from BaseException");
        }
        Error::fetch(py)
    }
}

unsafe extern "C" fn write_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `start_response_method`.
    unsafe {
        guard::object(|py| {
            let args = Arguments::new(py, args, count, names);
            write_block(py, class::value::<Adapter>(object).0.get(), &args)?;
            Ok(py.none())
        })
    }
}

/// `write(data)`
fn write_block<'py>(
    py: Token<'py>,
    exchange: &Exchange,
    args: &Arguments<'_, 'py>,
) -> Result<'py, ()> {
    if exchange.is_expired() {
        return Err(expired(py, "write"));
    }
    if args.has_names() {
        return Err(type_error(py, "write() takes no keyword arguments"));
    }
    let data = match args.get(0) {
        Some(data) if args.len() == 1 => data,
        _ => {
            let text = format!("write() takes exactly 1 argument ({} given)", args.len());
            return Err(type_error(py, &text));
        }
    };
    // SAFETY: the argument is alive for the call, which is longer than `data` is used.
    let Some(bytes) = (unsafe { text::bytes(data) }) else {
        // SAFETY: as above.
        let found = unsafe { text::type_name(data) };
        return Err(type_error(py, &format!("write() argument must be bytes, not {found}")));
    };
    if bytes.is_empty() {
        // Nothing is said about when a head without body is sent, so it stays changeable.
        return Ok(());
    }
    let sent = exchange.send(py, bytes, |reply| reply.block(bytes.len()).map(Some));
    match sent {
        Ok(_) => Ok(()),
        Err(SendError::Expired) => Err(expired(py, "write")),
        Err(SendError::NotStarted) => Err(not_started(py)),
        Err(SendError::Fault(fault)) => Err(to_exception(py, Direction::Write, &fault)),
    }
}

unsafe extern "C" fn ssl_is_https_method(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `start_response_method`.
    unsafe {
        guard::object(|py| {
            let exchange = class::value::<Adapter>(object).0.get();
            let answer = exchange.with_host(py, |host| host.ssl_is_https());
            py.int(answer.ok_or_else(|| expired(py, "ssl_is_https"))?.into())
        })
    }
}

unsafe extern "C" fn ssl_var_lookup_method(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as in `start_response_method`.
    unsafe {
        guard::object(|py| {
            let args = Arguments::new(py, args, count, names);
            let exchange = class::value::<Adapter>(object).0.get();
            if exchange.is_expired() {
                return Err(expired(py, "ssl_var_lookup"));
            }
            let (Some(name), 1, false) = (args.get(0), args.len(), args.has_names()) else {
                let given = args.len();
                let text = format!("ssl_var_lookup() takes exactly 1 argument ({given} given)");
                return Err(type_error(py, &text));
            };
            let name = ssl_name(py, name)?;
            match exchange.with_host(py, |host| host.ssl_var_lookup(name)) {
                None => Err(expired(py, "ssl_var_lookup")),
                Some(None) => Ok(py.none()),
                Some(Some(value)) => py.latin1(&value),
            }
        })
    }
}

/// The name of a variable, from `bytes` or a `str` in Latin-1.
///
/// # Safety
/// `name` is a live object, which lives for `'a`.
unsafe fn ssl_name<'a, 'py>(py: Token<'py>, name: *mut ffi::PyObject) -> Result<'py, &'a [u8]> {
    // SAFETY: by contract.
    unsafe {
        if let Some(bytes) = text::bytes(name) {
            return Ok(bytes);
        }
        if ffi::PyUnicode_Check(name) == 0 {
            let found = text::type_name(name);
            let text = format!("ssl_var_lookup() argument must be bytes, not {found}");
            return Err(type_error(py, &text));
        }
        text::latin1(py, name)
            .map_err(|_| type_error(py, "ssl_var_lookup() argument must be bytes or a latin-1 str"))
    }
}

/// What is raised where a response has a body but no head.
pub(crate) fn not_started(py: Token<'_>) -> Error<'_> {
    runtime_error(py, "start_response() must be called before response content is produced")
}

fn expired<'py>(py: Token<'py>, method: &str) -> Error<'py> {
    runtime_error(py, &format!("{method}() called after request completed"))
}

fn type_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_TypeError, text) }
}

fn value_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_ValueError, text) }
}

fn runtime_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, text) }
}
