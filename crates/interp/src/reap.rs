//! Deleting the thread states of threads that are gone.
//!
//! Servers whose threads come and go (mod_http2) would otherwise collect states without bound.
//! Handing a dead thread's state to a new thread looks cheaper and is wrong: a state remembers the
//! thread it was made for (`sys._current_frames`, `PyThreadState_SetAsyncExc`), and since 3.12 it
//! also claims to be bound to that thread's `PyGILState` slot, so that the new thread's slot stays
//! empty and a callback of a C extension there deadlocks.
//!
//! Deleting has a catch as well: `PyThreadState_Delete` of a foreign state empties the *caller's*
//! `PyGILState` slot. So it is done on a thread that lives only for that, whose slot nobody needs.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use py::ffi;

use crate::attach::State;
use crate::interpreter::Inner;
use crate::runtime::Runtime;

/// Whether a helper thread is at work.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Asks for dead states to be deleted soon, from a thread that is ending and can start no other:
/// the main thread will, if it waits for jobs, else the next [`occasion`] does.
pub(crate) fn wake() {
    if let Some(runtime) = Runtime::current() {
        runtime.main_thread().wake_to_reap();
    }
}

/// Sees to dead states, from a thread that attaches for the first time.
pub(crate) fn occasion() {
    if let Some(runtime) = Runtime::current()
        && !runtime.main_thread().waits()
    {
        spawn();
    }
}

/// Starts the helper thread if there is work for it and it is not at it.
pub(crate) fn spawn() {
    let Some(runtime) = Runtime::current() else { return };
    if !work(runtime) || BUSY.swap(true, Ordering::AcqRel) {
        return;
    }
    let spawned = thread::Builder::new().name("wsgi-reap".to_owned()).spawn(move || {
        loop {
            for interpreter in runtime.interpreters() {
                let dead = mem::take(&mut *interpreter.0.dead());
                if !dead.is_empty() {
                    delete(interpreter.0, &dead);
                }
            }
            BUSY.store(false, Ordering::Release);
            // What came in meanwhile has found us busy.
            if !work(runtime) || BUSY.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    });
    if spawned.is_err() {
        // No thread to be had: the states wait for the next occasion.
        BUSY.store(false, Ordering::Release);
    }
}

fn work(runtime: Runtime) -> bool {
    runtime.interpreters().iter().any(|interpreter| !interpreter.0.dead().is_empty())
}

/// Deletes `dead`, which belong to threads that ended, on a thread that has no state yet.
fn delete(interpreter: &'static Inner, dead: &[State]) {
    // SAFETY: the interpreter lives. The new state is this thread's, and is attached, cleared and
    // deleted here. The dead ones are not attached and never will be: their threads are gone, and
    // they were taken off the list.
    unsafe {
        let own = ffi::PyThreadState_New(interpreter.pointer());
        if own.is_null() {
            // No memory for it now; they are lost rather than tried for ever.
            return;
        }
        ffi::PyEval_RestoreThread(own);
        // Nobody who holds this lock finds them any more.
        interpreter.states().retain(|(_, state)| !dead.contains(state));
        for State(state) in dead {
            ffi::PyThreadState_Clear(*state);
            ffi::PyThreadState_Delete(*state);
        }
        ffi::PyThreadState_Clear(own);
        ffi::PyThreadState_DeleteCurrent();
    }
}
