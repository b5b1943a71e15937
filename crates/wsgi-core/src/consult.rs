//! Asking Python about a request without serving it: authentication scripts and their like.
//!
//! What is asked gets a dictionary of variables with `wsgi.errors` and two functions about TLS, but
//! nothing to read the body or to respond with. All of these expire with the question.
//!
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/access-control-mechanisms.html>

use std::ptr;
use std::sync::Arc;

use py::class::{self, Arguments, Table};
use py::{Bound, Error, Result, Token, ffi, guard, text};

use crate::environ::{set, set_uncached};
use crate::exchange::{Current, Exchange};
use crate::host::Host;
use crate::request::{Request, Variables};
use crate::serve::{Context, Ending};
use crate::state::{State, to_object};
use crate::{adapter, log};

/// Runs `ask` with the variables of `request` as a dictionary.
///
/// Of the request, `environ` and `extra` are used; of the host, log, level and the questions about
/// TLS. The thread is attached, and still is on return.
///
/// # Errors
/// The dictionary cannot be made.
///
/// # Panics
/// `state` was made in another interpreter than `py` is attached to.
pub fn consult<'py, R>(
    py: Token<'py>,
    state: &Arc<State>,
    request: &Request<'_, impl Variables>,
    host: &mut dyn Host,
    ask: impl FnOnce(&Bound<'py>) -> R,
) -> Result<'py, R> {
    state.check(py);
    // SAFETY: `Ending` expires the exchange before this function is left, however it is left; the
    // exclusive borrow of the host lasts as long.
    let exchange = Arc::new(unsafe { Exchange::new(state, request, host) });
    let _ending = Ending { py, exchange: &exchange };
    let _current = Current::enter(&exchange);
    let context = Context::enter(py);
    let errors = log::errors(py, state, &exchange)?;
    let result = environ(py, state, request, &exchange, &errors.stream).map(|environ| {
        let result = ask(&environ);
        drop(environ);
        result
    });
    errors.retire(state);
    drop(context);
    exchange.finish_log(py);
    result
}

fn environ<'py>(
    py: Token<'py>,
    state: &State,
    request: &Request<'_, impl Variables>,
    exchange: &Arc<Exchange>,
    errors: &Bound<'py>,
) -> Result<'py, Bound<'py>> {
    let environ = py.dict()?;
    for (name, value) in request.environ.pairs() {
        set_uncached(py, &state.template, &environ, name, value)?;
    }
    for (name, value) in request.extra {
        set(&environ, &py.str(name)?, &to_object(py, *value)?)?;
    }
    environ.dict_set(c"wsgi.errors", errors)?;
    let holder = adapter::new(py, state, exchange)?;
    for (name, definition) in
        [(c"mod_ssl.is_https", &FUNCTIONS.0[0]), (c"mod_ssl.var_lookup", &FUNCTIONS.0[1])]
    {
        // SAFETY: attached; the definition is static and CPython only reads it; the functions are
        // for adapters, and this is one.
        let function = unsafe {
            let definition = ptr::from_ref(definition).cast_mut();
            let function =
                ffi::PyCMethod_New(definition, holder.as_ptr(), ptr::null_mut(), ptr::null_mut());
            Bound::from_owned(py, function)?
        };
        environ.dict_set(name, &function)?;
    }
    Ok(environ)
}

static FUNCTIONS: Table<[ffi::PyMethodDef; 2]> =
    Table([class::method0(c"is_https", is_https), class::method(c"var_lookup", var_lookup)]);

unsafe extern "C" fn is_https(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the adapter that the function was made with.
    unsafe {
        guard::object(|py| {
            let answer = adapter::exchange(object).with_host(py, |host| host.ssl_is_https());
            py.int(answer.ok_or_else(|| expired(py))?.into())
        })
    }
}

unsafe extern "C" fn var_lookup(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as above, with arguments by the fast convention.
    unsafe {
        guard::object(|py| {
            let args = Arguments::new(py, args, count, names);
            let exchange = adapter::exchange(object);
            if exchange.is_expired() {
                return Err(expired(py));
            }
            let (Some(name), 1, false) = (args.get(0), args.len(), args.has_names()) else {
                let given = args.len();
                let text = format!("var_lookup() takes exactly 1 argument ({given} given)");
                return Err(type_error(py, &text));
            };
            let name = name_of_variable(py, name)?;
            match exchange.with_host(py, |host| host.ssl_var_lookup(name)) {
                None => Err(expired(py)),
                Some(None) => Ok(py.none()),
                Some(Some(value)) => py.latin1(&value),
            }
        })
    }
}

/// # Safety
/// `name` is a live object, which lives for `'a`.
unsafe fn name_of_variable<'a, 'py>(
    py: Token<'py>,
    name: *mut ffi::PyObject,
) -> Result<'py, &'a [u8]> {
    // SAFETY: by contract.
    unsafe {
        if let Some(bytes) = text::bytes(name) {
            return Ok(bytes);
        }
        let expected = "byte string value expected, value";
        if ffi::PyUnicode_Check(name) == 0 {
            let found = text::type_name(name);
            return Err(type_error(py, &format!("{expected} of type {found} found")));
        }
        text::latin1(py, name).map_err(|_| {
            type_error(py, &format!("{expected} containing non 'latin-1' characters found"))
        })
    }
}

fn expired(py: Token<'_>) -> Error<'_> {
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, "request object has expired") }
}

fn type_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_TypeError, text) }
}
