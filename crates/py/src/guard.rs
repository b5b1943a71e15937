//! The one door through which Python calls Rust.
//!
//! Every `extern "C"` function that is put into a type or a method table runs its body through
//! [`object`] or [`run`]: a Rust error becomes the Python exception it holds, a panic becomes a
//! `RuntimeError`, and neither unwinds into C frames.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::error::{Error, Result};
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

/// Runs a body that returns an object; NULL with an exception set on failure.
///
/// # Safety
/// Call it only from a function that Python called, so that the thread is attached.
pub unsafe fn object<F>(body: F) -> *mut ffi::PyObject
where
    F: for<'py> FnOnce(Token<'py>) -> Result<'py, Bound<'py>>,
{
    // SAFETY: passed on to the caller.
    unsafe { run(ptr::null_mut(), |py| body(py).map(Bound::into_ptr)) }
}

/// Runs a body that returns any C value; `failure` with an exception set on failure.
///
/// # Safety
/// As [`object`].
pub unsafe fn run<T, F>(failure: T, body: F) -> T
where
    F: for<'py> FnOnce(Token<'py>) -> Result<'py, T>,
{
    // SAFETY: Python called us, so the thread is attached; the closure picks the lifetime.
    let py = unsafe { Token::assume_current() };
    match catch_unwind(AssertUnwindSafe(|| body(py).map_err(Error::restore))) {
        Ok(Ok(value)) => value,
        Ok(Err(())) => failure,
        Err(panic) => {
            let text = format!("internal error in mod_wsgi: {}", panic_text(&*panic));
            // SAFETY: the class is a static of libpython; attached, as above.
            unsafe { Error::new(py, ffi::PyExc_RuntimeError, &text) }.restore();
            failure
        }
    }
}

/// The text of a panic's payload.
pub fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "panic with no message"
    }
}
