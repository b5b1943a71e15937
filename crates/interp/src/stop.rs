//! What runs when a process ends: threads are joined, `atexit` functions run, streams are flushed.
//!
//! This is the part of `Py_EndInterpreter` and `Py_FinalizeEx` that programs rely on. The rest,
//! taking interpreters apart, is left to the kernel: other threads may still be in them.
//! See <https://docs.python.org/3/c-api/init.html#c.Py_FinalizeEx>.

use std::ffi::CStr;
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
    /// It happens where [`Runtime::at_end`] says.
    ///
    /// # Errors
    /// The time was up. What is left of it goes on until the process ends.
    pub fn stop(self, limit: Duration) -> Result<(), Error> {
        let mut interpreters = self.interpreters();
        interpreters.reverse();
        let join = if self.has_waiting_main_thread() { JOIN_AS_MAIN } else { JOIN_AS_OTHER };
        self.at_end(limit, move || interpreters.into_iter().for_each(|own| end(own, join)))
    }

    /// Runs what is to run when the process ends, within `limit`.
    ///
    /// It happens on the main thread where that waits for jobs. Where the caller is the main thread
    /// it happens on a helper thread, since it could not be given up otherwise.
    ///
    /// # Errors
    /// The time was up. The job runs on.
    pub fn at_end(self, limit: Duration, job: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        if self.has_waiting_main_thread() {
            return self.on_main_thread_within(limit, job);
        }
        let (sender, receiver) = mpsc::channel();
        let body = move || {
            job();
            // The caller may have given up.
            let _ = sender.send(());
        };
        thread::Builder::new().name("wsgi-stop".to_owned()).spawn(body).map_err(|error| {
            Error::new(ErrorKind::NoMainThread, format!("no thread to stop Python: {error}"))
        })?;
        crate::attach::detached(|| receiver.recv_timeout(limit))
            .map_err(|_| Error::new(ErrorKind::Timeout, "Python did not finish in time"))
    }

    fn has_waiting_main_thread(self) -> bool {
        !self.is_main_thread() && self.main_thread().waits()
    }
}

/// What `Py_FinalizeEx` does about threads, on the main thread.
const JOIN_AS_MAIN: &CStr = c"import threading; threading._shutdown()";

/// The same on another thread, where `threading._shutdown` of 3.12 and older would wait for the
/// main thread, too, which never ends.
const JOIN_AS_OTHER: &CStr = c"\
import threading
for exiting in reversed(getattr(threading, '_threading_atexits', ())):
    exiting()
for thread in threading.enumerate():
    if not thread.daemon and thread not in (threading.main_thread(), threading.current_thread()):
        thread.join()
";

const RUN_AT_EXIT: &CStr = c"import atexit; atexit._run_exitfuncs()";
const FLUSH: &CStr = c"import sys; sys.stdout.flush(); sys.stderr.flush()";

/// Ends what runs in an interpreter, as far as it can be ended.
fn end(interpreter: Interpreter, join: &CStr) {
    // No thread state means no memory; then nothing can be run either.
    let _ = interpreter.attach(|py| {
        for code in [join, RUN_AT_EXIT, FLUSH] {
            run(py, code);
        }
    });
}

/// Runs code in a namespace of its own. Python's own functions print what they catch; of the rest
/// there is nobody left to tell.
fn run(py: Token<'_>, code: &CStr) {
    let code = code.to_str().unwrap_or_default();
    let _ = py.import(c"builtins").and_then(|builtins| {
        let (code, names) = (py.str(code)?, py.dict()?);
        builtins.call_method(c"exec", &[&code, &names])
    });
}
