//! `wsgi.errors` of requests, and those that are kept for the next.
//!
//! Making an `io.TextIOWrapper` costs more than the rest of a small request, so a stream is used
//! again, if the application has neither kept nor touched it.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use py::{Bound, Result, Token, class, ffi};

use super::{Log, Target};
use crate::exchange::{Exchange, lock};
use crate::state::{Ref, State};

/// A stream that nobody uses.
pub(crate) struct Spare {
    stream: Ref,
    log: Ref,
}

/// Spare streams kept: as many as requests run at once, within reason.
const MOST_SPARES: usize = 64;

/// The `wsgi.errors` of a request, to be given back at its end.
pub(crate) struct Errors<'py> {
    pub(crate) stream: Bound<'py>,
    log: Bound<'py>,
}

/// Makes `wsgi.errors` for `exchange`.
pub(crate) fn errors<'py>(
    py: Token<'py>,
    state: &State,
    exchange: &Arc<Exchange>,
) -> Result<'py, Errors<'py>> {
    let spare = lock(&state.streams).pop();
    if let Some(spare) = spare {
        // SAFETY: both references were given to the `Spare`; now they are ours.
        let (stream, log) = unsafe {
            let own = |object: Ref| Bound::from_owned(py, object.as_ptr());
            (own(spare.stream)?, own(spare.log)?)
        };
        // SAFETY: made for `Log` below.
        if let Target::Request(slot) = &unsafe { class::value::<Log>(log.as_ptr()) }.target {
            *lock(slot) = Some(Arc::clone(exchange));
        }
        return Ok(Errors { stream, log });
    }
    let log = Log {
        name: "<wsgi.errors>",
        target: Target::Request(Mutex::new(Some(Arc::clone(exchange)))),
        touched: AtomicBool::new(false),
    };
    // SAFETY: the class was made for `Log` in this interpreter.
    let log = unsafe { class::instance(py, state.refs.log.as_ptr(), log)? };
    let stream = state.wrap(py, &log)?;
    // Making the stream asked the log what it can do.
    // SAFETY: made for `Log`.
    unsafe { class::value::<Log>(log.as_ptr()) }.touched.store(false, Ordering::Relaxed);
    Ok(Errors { stream, log })
}

impl Errors<'_> {
    /// Cuts the stream off from its request, and keeps it for another if that cannot be noticed.
    pub(crate) fn retire(self, state: &State) {
        // SAFETY: an instance of `Log`; attached, so reference counts do not change meanwhile
        // (without a GIL another thread needs a reference of its own to change them, so that they
        // are higher then).
        let (log, unshared) = unsafe {
            let log = class::value::<Log>(self.log.as_ptr());
            // The stream holds the log, we hold both.
            let counts = (ffi::Py_REFCNT(self.stream.as_ptr()), ffi::Py_REFCNT(self.log.as_ptr()));
            (log, counts == (1, 2))
        };
        if let Target::Request(slot) = &log.target {
            drop(lock(slot).take());
        }
        if !unshared || log.touched.load(Ordering::Relaxed) || has_attributes(&self.stream) {
            return;
        }
        let mut spares = lock(&state.streams);
        if spares.len() < MOST_SPARES {
            spares.push(Spare { stream: Ref::new(self.stream), log: Ref::new(self.log) });
        }
    }
}

/// Whether somebody has set attributes of an `io` object. Makes its `__dict__`, which stays.
fn has_attributes(stream: &Bound<'_>) -> bool {
    // SAFETY: attached; a live object; a new reference, or NULL with an exception.
    unsafe {
        let dict = ffi::PyObject_GenericGetDict(stream.as_ptr(), ptr::null_mut());
        match Bound::from_owned(stream.py(), dict) {
            Ok(dict) => ffi::PyDict_Size(dict.as_ptr()) != 0,
            Err(_) => true,
        }
    }
}
