//! Faults of a host as the exceptions that applications see.
//!
//! mod_wsgi raises plain `OSError` without a number. The texts are the same here, but the classes
//! are those that Python's own sockets raise, so `except ConnectionError` works, and `errno` is set.

use py::{Error, Token, ffi};

use crate::host::{Fault, FaultKind};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The exception for `fault`.
pub(crate) fn to_exception<'py>(py: Token<'py>, direction: Direction, fault: &Fault) -> Error<'py> {
    let text = match (direction, fault.kind) {
        (Direction::Read, _) => format!("mod_wsgi request data read error: {}", fault.text),
        (Direction::Write, FaultKind::ClientGone) => "mod_wsgi client connection closed".to_owned(),
        (Direction::Write, _) => format!("mod_wsgi failed to write response data: {}", fault.text),
    };
    // SAFETY: static classes of libpython.
    let class = unsafe {
        match (fault.kind, direction) {
            (FaultKind::ClientGone, Direction::Read) => ffi::PyExc_ConnectionResetError,
            (FaultKind::ClientGone, Direction::Write) => ffi::PyExc_BrokenPipeError,
            (FaultKind::Timeout, _) => ffi::PyExc_TimeoutError,
            _ => ffi::PyExc_OSError,
        }
    };
    let errno = fault.errno.unwrap_or(match (fault.kind, direction) {
        (FaultKind::ClientGone, Direction::Read) => libc::ECONNRESET,
        (FaultKind::ClientGone, Direction::Write) => libc::EPIPE,
        (FaultKind::Timeout, _) => libc::ETIMEDOUT,
        (FaultKind::TooLarge, _) => libc::EFBIG,
        (FaultKind::Malformed, _) => libc::EPROTO,
        (FaultKind::Other, _) => libc::EIO,
    });
    // SAFETY: `class` is a static class of libpython.
    let error = unsafe { Error::new(py, class, &text) };
    // With the number as an argument, `str()` would begin with it.
    match py.int(errno.into()).and_then(|errno| error.value().set_attr(c"errno", &errno)) {
        Ok(()) => error,
        Err(other) => other,
    }
}

/// The exception for a body that failed before.
pub(crate) fn in_error_state(py: Token<'_>) -> Error<'_> {
    let text = "mod_wsgi request data read error: input is already in error state";
    // SAFETY: a static class of libpython.
    unsafe { Error::new(py, ffi::PyExc_OSError, text) }
}
