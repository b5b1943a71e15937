//! Keeping Python's collector away for a moment.
//!
//! Before Python 3.12 making an object may run the collector, which may run the application's code,
//! which may let another thread have the lock. Who looks at frames of other threads must not let that
//! happen: making the object of a frame would go on with one that has ended meanwhile. Since 3.12 only
//! Python code runs the collector.
//! <https://github.com/python/cpython/issues/106883>

use crate::ffi;
use crate::token::Token;

/// Until this is dropped, nothing that makes objects gives the lock away.
#[derive(Debug)]
pub struct NoCollector<'py> {
    was_enabled: bool,
    _attached: Token<'py>,
}

impl<'py> NoCollector<'py> {
    /// Begins it.
    pub fn begin(py: Token<'py>) -> NoCollector<'py> {
        // SAFETY: attached; sets a flag of the interpreter and returns what it was.
        let was_enabled = cfg!(not(Py_3_12)) && unsafe { ffi::PyGC_Disable() } != 0;
        NoCollector { was_enabled, _attached: py }
    }
}

impl Drop for NoCollector<'_> {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: attached, as the token says.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}
