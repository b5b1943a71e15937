//! `mod_wsgi.Restricted`: stands in for `sys.stdin` or `sys.stdout` where applications should not
//! use them, since they are the server's.

use std::ffi::c_void;

use py::class;
use py::{Bound, Error, Result, Token, ffi, guard};

use crate::state::State;

struct Restricted(String);

/// Makes the type.
pub(crate) fn make_class(py: Token<'_>) -> Result<'_, Bound<'_>> {
    let slots = [class::slot(ffi::Py_tp_getattro, getattro as *mut c_void)];
    // SAFETY: the slot takes instances of this type only, which is what CPython calls it with.
    unsafe { class::make::<Restricted>(py, c"mod_wsgi.Restricted", &slots) }
}

impl State {
    /// An object whose every attribute raises `OSError: NAME access restricted by mod_wsgi`.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// `py` is attached to another interpreter.
    pub fn restricted<'py>(&self, py: Token<'py>, name: &str) -> Result<'py, Bound<'py>> {
        self.check(py);
        // SAFETY: the class was made for `Restricted` in this interpreter.
        unsafe { class::instance(py, self.refs.restricted.as_ptr(), Restricted(name.to_owned())) }
    }
}

unsafe extern "C" fn getattro(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls this with an instance of the type.
    unsafe {
        guard::object(|py| {
            let name = &class::value::<Restricted>(object).0;
            let text = format!("{name} access restricted by mod_wsgi");
            Err(Error::new(py, ffi::PyExc_OSError, &text))
        })
    }
}
