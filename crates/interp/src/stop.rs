//! What runs when a process ends: threads are joined, `atexit` functions run, streams are flushed.
//!
//! This is the part of `Py_EndInterpreter` and `Py_FinalizeEx` that programs rely on. The rest,
//! taking interpreters apart, is left to the kernel: other threads may still be in them.
//! See <https://docs.python.org/3/c-api/init.html#c.Py_FinalizeEx>.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use py::Token;

use crate::error::{Error, ErrorKind};
use crate::interpreter::Interpreter;
use crate::runtime::Runtime;

impl Runtime {
    /// Joins non-daemon threads, runs `atexit` functions and flushes the streams, named
    /// interpreters first, within `limit`.
    ///
    /// It happens on the main thread where that waits for jobs. Where the caller is the main thread
    /// it happens on a helper thread, since it could not be given up otherwise.
    ///
    /// # Errors
    /// The time was up. What is left of it goes on until the process ends.
    pub fn stop(self, limit: Duration) -> Result<(), Error> {
        let mut interpreters = self.interpreters();
        interpreters.reverse();
        let finish = move || interpreters.into_iter().for_each(end);
        if !self.is_main_thread() && self.main_thread().waits() {
            return self.on_main_thread_within(limit, finish);
        }
        let (sender, receiver) = mpsc::channel();
        let body = move || {
            finish();
            // The caller may have given up.
            let _ = sender.send(());
        };
        thread::Builder::new().name("wsgi-stop".to_owned()).spawn(body).map_err(|error| {
            Error::new(ErrorKind::NoMainThread, format!("no thread to stop Python: {error}"))
        })?;
        crate::attach::detached(|| receiver.recv_timeout(limit))
            .map_err(|_| Error::new(ErrorKind::Timeout, "Python did not finish in time"))
    }
}

/// Ends what runs in an interpreter, as far as it can be ended.
fn end(interpreter: Interpreter) {
    // No thread state means no memory; then nothing can be run either.
    let _ = interpreter.attach(|py| {
        // Errors are printed by Python's own functions, or there is nobody left to tell.
        let _ = call(py, c"threading", c"_shutdown");
        let _ = call(py, c"atexit", c"_run_exitfuncs");
        for stream in [c"stdout", c"stderr"] {
            let _ = py.import(c"sys").and_then(|sys| sys.attr(stream)?.call_method(c"flush", &[]));
        }
    });
}

fn call<'py>(
    py: Token<'py>,
    module: &std::ffi::CStr,
    function: &std::ffi::CStr,
) -> py::Result<'py, ()> {
    py.import(module)?.call_method(function, &[])?;
    Ok(())
}
