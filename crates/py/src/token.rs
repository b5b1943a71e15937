//! The attach token: proof that the running thread may call Python, and in which interpreter.
//!
//! The lifetime is invariant and every attachment makes a fresh one (`for<'py> FnOnce(Token<'py>)`
//! in `interp`), so two attachments that are alive on one thread at the same time, as during a
//! subrequest, have tokens and objects of different types that do not mix.

use std::marker::PhantomData;

use crate::ffi;
use crate::wait::waiting;

/// Number of an interpreter, unique for the life of the process.
///
/// 0 is the main interpreter. See `PyInterpreterState_GetID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterpreterId(i64);

impl InterpreterId {
    /// The main interpreter of every process.
    pub const MAIN: InterpreterId = InterpreterId(0);

    /// Wraps a number got from `PyInterpreterState_GetID`.
    pub const fn from_raw(id: i64) -> InterpreterId {
        InterpreterId(id)
    }

    /// The number as CPython counts it.
    pub const fn as_raw(self) -> i64 {
        self.0
    }
}

/// Invariant in `'py`; `*mut ()` makes it neither `Send` nor `Sync`.
type Brand<'py> = (fn(&'py ()) -> &'py (), *mut ());

/// Proof that this thread is attached to one interpreter for `'py`.
///
/// Copy it freely; it is two words and never leaves the thread.
#[derive(Clone, Copy)]
pub struct Token<'py> {
    interpreter: InterpreterId,
    brand: PhantomData<Brand<'py>>,
}

impl<'py> Token<'py> {
    /// States that the thread is attached to `interpreter`.
    ///
    /// # Safety
    /// For all of `'py`, except inside [`Token::detach`], the calling thread must have a current
    /// thread state that belongs to `interpreter` (and hold its GIL, where there is one). `'py`
    /// must be chosen by the callee, as a `for<'py> FnOnce(Token<'py>)` does, or must not be
    /// mixed with another live attachment of this thread.
    pub unsafe fn assume(interpreter: InterpreterId) -> Token<'py> {
        Token { interpreter, brand: PhantomData }
    }

    /// The same, asking CPython which interpreter the thread is attached to.
    ///
    /// # Safety
    /// As [`Token::assume`], for the interpreter that is current.
    pub unsafe fn assume_current() -> Token<'py> {
        // SAFETY: the caller promises a current thread state, so there is a current interpreter.
        let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
        Token { interpreter: InterpreterId(id), brand: PhantomData }
    }

    /// The interpreter this thread is attached to.
    pub fn interpreter(self) -> InterpreterId {
        self.interpreter
    }

    /// Runs `f` detached: other threads may run Python meanwhile.
    ///
    /// `f` must be `Send`, which keeps this token and everything bound to it out. A panic in `f`
    /// attaches again before it travels on.
    pub fn detach<R>(self, f: impl FnOnce() -> R + Send) -> R {
        struct Reattach(*mut ffi::PyThreadState);
        impl Drop for Reattach {
            fn drop(&mut self) {
                // SAFETY: the state came from PyEval_SaveThread on this thread, just below, and
                // nobody else restores it.
                waiting(|| unsafe { ffi::PyEval_RestoreThread(self.0) });
            }
        }
        // SAFETY: the token proves that the thread is attached.
        let _reattach = Reattach(unsafe { ffi::PyEval_SaveThread() });
        f()
    }
}

impl std::fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(interpreter {})", self.interpreter.0)
    }
}
