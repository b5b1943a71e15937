//! Attaching: one thread state per thread and interpreter, restored by hand.
//!
//! The states of a thread hang on a pthread key whose destructor touches no Python: it only hands
//! them to their interpreters for deletion (`reap.rs`), since the thread is half gone by then and
//! must not wait for a GIL.
//!
//! Attachments nest. A thread that is attached, or was detached inside an attachment, may attach
//! again, to the same or another interpreter: what was current before is current after.
//! See <https://docs.python.org/3/c-api/init.html#non-python-created-threads>.

use std::ffi::c_void;
use std::ptr;
use std::sync::OnceLock;

use py::{Token, ffi};

use crate::error::{Error, ErrorKind};
use crate::interpreter::{Inner, Interpreter};
use crate::reap;
use crate::slot;

/// A thread state that is used only by the thread it belongs to, or once that thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(pub(crate) *mut ffi::PyThreadState);

// SAFETY: only the pointer moves; see the type's comment for who uses it.
unsafe impl Send for State {}

/// Runs `f` attached to `interpreter`.
pub(crate) fn attach<R>(
    interpreter: &'static Inner,
    f: impl for<'py> FnOnce(Token<'py>) -> R,
) -> Result<R, Error> {
    let before = current();
    if before.is_some_and(|state| interpreter.owns(state)) {
        // SAFETY: the thread is attached to this very interpreter; the closure picks the lifetime.
        return Ok(f(unsafe { Token::assume(interpreter.id) }));
    }
    let state = own_state(interpreter)?;
    // SAFETY: `before`, if any, is attached by this thread; `state` is this thread's and is not
    // attached, for it is not `before` and only one state of a thread can be.
    unsafe {
        if before.is_some() {
            ffi::PyEval_SaveThread();
        }
        py::waiting(|| ffi::PyEval_RestoreThread(state.0));
    }
    let _attached = Attached { before, slot: slot::Bound::to(state) };
    // SAFETY: attached to this interpreter until `_attached` is dropped, after `f`.
    Ok(f(unsafe { Token::assume(interpreter.id) }))
}

/// Runs `f` detached, whatever the thread was attached to; attaches it again after.
pub(crate) fn detached<R>(f: impl FnOnce() -> R) -> R {
    struct Again(Option<State>);
    impl Drop for Again {
        fn drop(&mut self) {
            if let Some(State(state)) = self.0 {
                // SAFETY: saved below by this thread.
                py::waiting(|| unsafe { ffi::PyEval_RestoreThread(state) });
            }
        }
    }
    let before = current();
    if before.is_some() {
        // SAFETY: the thread is attached.
        unsafe { ffi::PyEval_SaveThread() };
    }
    let _again = Again(before);
    f()
}

/// Makes `state` known as this thread's for `interpreter`.
pub(crate) fn adopt(interpreter: &'static Inner, state: State) -> Result<(), Error> {
    with_states(|states| states.push((interpreter, state)))?;
    // SAFETY: always succeeds.
    interpreter.states().push((unsafe { libc::pthread_self() } as u64, state));
    Ok(())
}

/// The state of this thread that is attached now.
fn current() -> Option<State> {
    // SAFETY: may be called at any time; the pointer is compared before it is used.
    let state = unsafe { ffi::compat::PyThreadState_GetUnchecked() };
    if state.is_null() || !is_own(State(state)) {
        return None;
    }
    Some(State(state))
}

#[cfg(Py_3_12)]
fn is_own(_state: State) -> bool {
    true
}

/// Before 3.12 "current" is the process's, not the thread's: it may be another thread's state.
#[cfg(not(Py_3_12))]
fn is_own(state: State) -> bool {
    let known = existing(|states| states.iter().any(|(_, own)| *own == state));
    // SAFETY: may be called at any time once Python runs, and it does if there is a state.
    known.unwrap_or(false) || state.0 == unsafe { ffi::PyGILState_GetThisThreadState() }
}

/// Ends an attachment.
struct Attached {
    /// What was attached before.
    before: Option<State>,
    /// What the thread's slot was filled with for it.
    slot: slot::Bound,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: `attach` attached this thread, and nested attachments and detachments have
        // restored what they found.
        unsafe {
            ffi::PyEval_SaveThread();
            self.slot.undo();
            if let Some(State(before)) = self.before {
                py::waiting(|| ffi::PyEval_RestoreThread(before));
            }
        }
    }
}

/// The states of one thread. Few: a thread serves a handful of applications.
type States = Vec<(&'static Inner, State)>;

/// Key of the thread's `Box<States>`.
static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();

fn own_state(interpreter: &'static Inner) -> Result<State, Error> {
    let of = |states: &mut States| {
        states.iter().find(|(owner, _)| ptr::eq(*owner, interpreter)).map(|(_, state)| *state)
    };
    if let Some(state) = existing(of).flatten() {
        return Ok(state);
    }
    // SAFETY: the interpreter lives; needs no GIL and runs no Python code.
    let state = unsafe { ffi::PyThreadState_New(interpreter.pointer()) };
    if state.is_null() {
        return Err(no_memory(interpreter));
    }
    adopt(interpreter, State(state))?;
    // Threads come and go here, so there may be something to clear away.
    reap::occasion();
    Ok(State(state))
}

fn no_memory(interpreter: &'static Inner) -> Error {
    let text = format!("no Python thread state for {}", Interpreter(interpreter));
    Error::new(ErrorKind::ThreadState, text)
}

/// Runs `f` on the states of this thread, if it has any.
///
/// `f` must not attach or detach: the reference is exclusive.
fn existing<R>(f: impl FnOnce(&mut States) -> R) -> Option<R> {
    let key = *KEY.get()?;
    // SAFETY: values of the key are boxes that live until their thread ends; only this thread has
    // this one, and `f` does not come back here.
    unsafe { libc::pthread_getspecific(key).cast::<States>().as_mut() }.map(f)
}

/// As `existing`, after making an empty list.
fn with_states<R>(f: impl FnOnce(&mut States) -> R) -> Result<R, Error> {
    let failed = || Error::new(ErrorKind::ThreadState, "no room for thread-specific data");
    if existing(|_| ()).is_none() {
        let states = Box::into_raw(Box::new(States::new()));
        // SAFETY: the box is given to the key, or taken back.
        unsafe {
            if libc::pthread_setspecific(key()?, states.cast()) != 0 {
                drop(Box::from_raw(states));
                return Err(failed());
            }
        }
    }
    existing(f).ok_or_else(failed)
}

fn key() -> Result<libc::pthread_key_t, Error> {
    if let Some(key) = KEY.get() {
        return Ok(*key);
    }
    let mut key = 0;
    // SAFETY: writes the key; the destructor is in an image that is never unloaded.
    if unsafe { libc::pthread_key_create(&mut key, Some(ended)) } != 0 {
        return Err(Error::new(ErrorKind::ThreadState, "no pthread keys left"));
    }
    // Two threads at once: one of the keys stays unused.
    Ok(*KEY.get_or_init(|| key))
}

/// Runs when a thread that was attached once ends.
unsafe extern "C" fn ended(states: *mut c_void) {
    // SAFETY: the box made in `with_states`; the thread does not come here again with it.
    let states = unsafe { Box::from_raw(states.cast::<States>()) };
    for (interpreter, state) in *states {
        interpreter.dead().push(state);
    }
    reap::wake();
}
