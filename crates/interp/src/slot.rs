//! The slot of a thread in which `PyGILState_Ensure` looks for a thread state.
//!
//! Callbacks of extension modules (sqlite3's, those of ctypes) call it on a thread that serves a
//! request, and mean the interpreter that the thread is in. Since 3.12 the slot follows whatever is
//! attached. Before, it keeps the first state the thread ever had: a callback in another interpreter
//! then waits for the GIL that its own thread holds, for ever. So for those versions the slot is set
//! here, by the rule of the newer ones.
//!
//! The slot is thread-specific data under a key that CPython does not tell. It is found by trying:
//! of all keys, it is the one that `PyGILState_GetThisThreadState` reads. Where it cannot be found,
//! the slot is left alone.
//!
//! <https://docs.python.org/3/c-api/init.html#bugs-and-caveats>

#[cfg(not(Py_3_12))]
pub(crate) use before_3_12::{Bound, find, unbound};

#[cfg(Py_3_12)]
pub(crate) use since_3_12::{Bound, find, unbound};

#[cfg(not(Py_3_12))]
mod before_3_12 {
    use std::ptr;
    use std::sync::OnceLock;

    use py::ffi;

    use crate::attach::State;

    static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

    /// Finds the slot. On a thread whose slot is filled, while no other thread runs Python.
    pub(crate) fn find() {
        KEY.get_or_init(|| {
            // SAFETY: plain questions.
            let (own, keys) = unsafe {
                (ffi::PyGILState_GetThisThreadState(), libc::sysconf(libc::_SC_THREAD_KEYS_MAX))
            };
            let keys = libc::pthread_key_t::try_from(keys).unwrap_or(0);
            (0..keys).find(|key| !own.is_null() && is_slot(*key, own))
        });
    }

    fn is_slot(key: libc::pthread_key_t, own: *mut ffi::PyThreadState) -> bool {
        // SAFETY: a key below the limit (L2). Only a key that holds the very state is written to,
        // and the state is put back before anybody but CPython's question below can miss it.
        unsafe {
            if libc::pthread_getspecific(key) != own.cast()
                || libc::pthread_setspecific(key, ptr::null()) != 0
            {
                return false;
            }
            let is_slot = ffi::PyGILState_GetThisThreadState().is_null();
            libc::pthread_setspecific(key, own.cast());
            is_slot
        }
    }

    fn set(state: *mut ffi::PyThreadState) {
        if let Some(Some(key)) = KEY.get() {
            // SAFETY: CPython's key, whose values are states of the thread or NULL. Fails only for
            // want of memory, where the thread has had no value yet: then things are as before.
            unsafe { libc::pthread_setspecific(*key, state.cast()) };
        }
    }

    /// A state in the slot of the calling thread, in place of another.
    pub(crate) struct Bound {
        before: *mut ffi::PyThreadState,
    }

    impl Bound {
        /// Puts a state of this thread into its slot.
        pub(crate) fn to(state: State) -> Bound {
            // SAFETY: a plain question, once Python runs, and it does if there is a state.
            let before = unsafe { ffi::PyGILState_GetThisThreadState() };
            if before != state.0 {
                set(state.0);
            }
            Bound { before }
        }

        /// Puts back what was there; if nothing was, the state stays.
        pub(crate) fn undo(&self) {
            if !self.before.is_null() {
                set(self.before);
            }
        }
    }

    /// Runs `f` with an empty slot, into which CPython puts the first state that `f` makes.
    pub(crate) fn unbound<R>(f: impl FnOnce() -> R) -> R {
        // SAFETY: as in `Bound::to`.
        let before = unsafe { ffi::PyGILState_GetThisThreadState() };
        set(ptr::null_mut());
        let result = f();
        set(before);
        result
    }
}

#[cfg(Py_3_12)]
mod since_3_12 {
    use crate::attach::State;

    pub(crate) fn find() {}

    pub(crate) struct Bound;

    impl Bound {
        pub(crate) fn to(_state: State) -> Bound {
            Bound
        }

        pub(crate) fn undo(&self) {}
    }

    pub(crate) fn unbound<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
}
