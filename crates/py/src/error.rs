//! A raised Python exception, taken out of the thread state so that Rust's `?` can carry it.

use std::ffi::CStr;
use std::fmt;

use crate::compat;
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

/// Shorthand for a result whose error is a Python exception.
pub type Result<'py, T> = std::result::Result<T, Error<'py>>;

/// A Python exception that is no longer set in the thread state.
///
/// Always an instance (normalised), with its traceback attached.
pub struct Error<'py> {
    value: Bound<'py>,
}

impl<'py> Error<'py> {
    /// Takes the exception that is set.
    ///
    /// A C function that fails without setting one is a defect of that function; it becomes a
    /// `SystemError`, as in CPython itself, so that nothing is lost.
    pub fn fetch(py: Token<'py>) -> Error<'py> {
        if let Some(error) = Error::take(py) {
            return error;
        }
        // SAFETY: attached; the type is a static of libpython and the message a C string.
        unsafe {
            ffi::PyErr_SetString(
                ffi::PyExc_SystemError,
                c"error return without exception set".as_ptr(),
            );
        }
        Error::take(py).unwrap_or_else(|| unreachable!("PyErr_SetString always sets an exception"))
    }

    /// Takes the exception that is set, if one is.
    pub fn take(py: Token<'py>) -> Option<Error<'py>> {
        // SAFETY: attached (token); the result is a new reference or NULL with nothing set.
        let value = unsafe { Bound::from_owned_or_none(py, compat::get_raised_exception()) }?;
        Some(Error { value })
    }

    /// Makes an exception of type `class` with a message.
    ///
    /// # Safety
    /// `class` is an exception class of `py`'s interpreter (such as `ffi::PyExc_ValueError`).
    pub unsafe fn new(py: Token<'py>, class: *mut ffi::PyObject, message: &str) -> Error<'py> {
        // SAFETY: attached; `class` by contract; the buffer is valid for its length. A failure to
        // make the string leaves its own exception set, which is then the one we fetch.
        unsafe {
            let text = ffi::PyUnicode_FromStringAndSize(
                message.as_ptr().cast(),
                message.len() as ffi::Py_ssize_t,
            );
            if !text.is_null() {
                ffi::PyErr_SetObject(class, text);
                ffi::Py_DECREF(text);
            }
        }
        Error::fetch(py)
    }

    /// The exception instance.
    pub fn value(&self) -> &Bound<'py> {
        &self.value
    }

    /// The instance, owned.
    pub fn into_value(self) -> Bound<'py> {
        self.value
    }

    /// Sets the exception in the thread state again, for returning NULL to Python.
    pub fn restore(self) {
        // SAFETY: attached (the value's token); the reference is given away.
        unsafe { compat::set_raised_exception(self.value.into_ptr()) }
    }

    /// Whether it is an instance of `class`.
    ///
    /// # Safety
    /// `class` is an exception class, or tuple of such, of the same interpreter.
    pub unsafe fn matches(&self, class: *mut ffi::PyObject) -> bool {
        // SAFETY: attached (the value's token); `class` by contract.
        unsafe { ffi::PyErr_GivenExceptionMatches(self.value.as_ptr(), class) != 0 }
    }

    /// The class name as the interpreter prints it, without the module.
    pub fn type_name(&self) -> String {
        self.value.type_name()
    }

    /// `str(exception)`, or a placeholder if that raises.
    pub fn message(&self) -> String {
        // SAFETY: attached (the value's token); PyObject_Str returns a new reference or NULL with
        // an exception, which is dropped on purpose; AsUTF8 borrows from the string object.
        unsafe {
            let Ok(text) =
                Bound::from_owned(self.value.py(), ffi::PyObject_Str(self.value.as_ptr()))
            else {
                return "<exception str() failed>".to_owned();
            };
            let utf8 = ffi::PyUnicode_AsUTF8(text.as_ptr());
            if utf8.is_null() {
                ffi::PyErr_Clear();
                return "<exception str() failed>".to_owned();
            }
            CStr::from_ptr(utf8).to_string_lossy().into_owned()
        }
    }
}

impl fmt::Debug for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({:?})", self.type_name(), self.message())
    }
}

impl fmt::Display for Error<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.type_name(), self.message())
    }
}
