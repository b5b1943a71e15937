//! One interpreter, and how it is made.
//!
//! Interpreters are never ended while the process runs, so a handle is a plain copy.
//! See <https://docs.python.org/3/c-api/init.html#sub-interpreter-support> and PEP 684.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use py::{Bound, InterpreterId, NoCollector, Token, ffi};

use crate::attach::{self, State};
use crate::error::{Error, ErrorKind};
use crate::slot;

/// How a named interpreter is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// With a GIL of its own (PEP 684). Extension modules that do not support this refuse to be
    /// imported there. Says nothing to builds without a GIL.
    pub own_gil: bool,
}

impl Options {
    /// Whether this build of Python has interpreters with a GIL of their own: 3.12 and newer.
    pub const OWN_GIL: bool = cfg!(all(Py_3_12, not(Py_GIL_DISABLED)));
}

/// An interpreter of this process.
#[derive(Clone, Copy)]
pub struct Interpreter(pub(crate) &'static Inner);

impl Interpreter {
    /// Its number, as in [`Token::interpreter`].
    pub fn id(self) -> InterpreterId {
        self.0.id
    }

    /// Its name; empty for the main interpreter.
    pub fn name(self) -> &'static [u8] {
        &self.0.name
    }

    /// Whether it is the main interpreter.
    pub fn is_main(self) -> bool {
        self.0.id == InterpreterId::MAIN
    }

    /// Whether it has a GIL of its own.
    pub fn has_own_gil(self) -> bool {
        self.0.own_gil
    }

    /// Runs `f` attached to this interpreter, waiting for the GIL if it must.
    ///
    /// The calling thread may be attached already, here or elsewhere; it is afterwards, as before.
    ///
    /// # Errors
    /// There is no memory for the thread's state.
    pub fn attach<R>(self, f: impl for<'py> FnOnce(Token<'py>) -> R) -> Result<R, Error> {
        attach::attach(self.0, f)
    }

    /// Whether the thread, which is as `pthread_self` says, was ever attached to this interpreter.
    pub fn knows(self, thread: u64) -> bool {
        self.0.states().iter().any(|(known, _)| *known == thread)
    }

    /// The threads that were attached to this interpreter and have not ended, or not long ago.
    pub fn threads(self) -> Vec<u64> {
        let mut threads: Vec<u64> = self.0.states().iter().map(|(thread, _)| *thread).collect();
        threads.sort_unstable();
        threads.dedup();
        threads
    }

    /// The innermost frame of Python code that a thread is in here; `None` if it is in none, and
    /// always where it could run meanwhile ([`Interpreter::TELLS_FRAMES`]).
    ///
    /// Unlike `sys._current_frames` this looks at one interpreter, whose lock the caller has: others
    /// may run, with a lock of their own.
    pub fn frame_of<'py>(self, py: Token<'py>, thread: u64) -> Option<Bound<'py>> {
        if !Self::TELLS_FRAMES || py.interpreter() != self.id() {
            return None;
        }
        // P6 holds as long as this does: a frame's object may have to be made.
        let _alone = NoCollector::begin(py);
        let at = |index: usize| {
            let states = self.0.states();
            states.iter().filter(|(known, _)| *known == thread).nth(index).map(|(_, state)| *state)
        };
        // A thread has one state, or several if the system gives the same identity out again.
        (0..).map_while(at).find_map(|State(state)| {
            // SAFETY: P6. Attached to the interpreter of the state, whose lock is held since the state
            // was found on the list, from which it is taken under that lock before it is deleted. The
            // result is a new reference or NULL, without an exception.
            unsafe { Bound::from_owned_or_none(py, ffi::PyThreadState_GetFrame(state).cast()) }
        })
    }

    /// Whether [`Interpreter::frame_of`] can tell: one thread may look at another only if a lock keeps
    /// that from running.
    pub const TELLS_FRAMES: bool = cfg!(not(Py_GIL_DISABLED));
}

impl PartialEq for Interpreter {
    fn eq(&self, other: &Interpreter) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Interpreter {}

impl fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interpreter({}, \"{}\")", self.0.id.as_raw(), self.0.name.escape_ascii())
    }
}

/// `main interpreter` or `sub-interpreter 'NAME'`.
impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_main() {
            f.write_str("main interpreter")
        } else {
            write!(f, "sub-interpreter '{}'", String::from_utf8_lossy(&self.0.name))
        }
    }
}

/// What a handle points at; lives as long as the process.
pub(crate) struct Inner {
    pub(crate) id: InterpreterId,
    pub(crate) name: Vec<u8>,
    pub(crate) own_gil: bool,
    /// Lives as long as the process.
    pointer: NonNull<ffi::PyInterpreterState>,
    dead: Mutex<Vec<State>>,
    /// All states of threads, of those that are dead as well, with the thread's identity.
    states: Mutex<Vec<(u64, State)>>,
}

// SAFETY: the pointer is given to functions that may be called from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above; the rest is behind a lock or does not change.
unsafe impl Sync for Inner {}

impl Inner {
    /// Takes over the interpreter of the attached state.
    ///
    /// # Safety
    /// The thread is attached, and the interpreter is never ended.
    pub(crate) unsafe fn of_current(name: Vec<u8>, own_gil: bool) -> &'static Inner {
        // SAFETY: attached.
        let (pointer, id) = unsafe {
            let pointer = ffi::PyInterpreterState_Get();
            (NonNull::new_unchecked(pointer), ffi::PyInterpreterState_GetID(pointer))
        };
        let id = InterpreterId::from_raw(id);
        let (dead, states) = (Mutex::default(), Mutex::default());
        Box::leak(Box::new(Inner { id, name, own_gil, pointer, dead, states }))
    }

    pub(crate) fn pointer(&self) -> *mut ffi::PyInterpreterState {
        self.pointer.as_ptr()
    }

    /// Whether `state`, which the calling thread has attached, is of this interpreter.
    pub(crate) fn owns(&self, state: State) -> bool {
        // SAFETY: an attached state is alive.
        unsafe { ffi::PyThreadState_GetInterpreter(state.0) == self.pointer() }
    }

    /// All states that threads have here. Nobody waits for anything while holding it.
    pub(crate) fn states(&self) -> MutexGuard<'_, Vec<(u64, State)>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// States whose threads are gone.
    pub(crate) fn dead(&self) -> MutexGuard<'_, Vec<State>> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an interpreter. On the main thread, attached to the main interpreter.
pub(crate) fn create(
    _main: Token<'_>,
    name: &[u8],
    options: Options,
) -> Result<Interpreter, Error> {
    let own_gil = options.own_gil && Options::OWN_GIL;
    // SAFETY: the main interpreter's state, which is attached, and is attached again at the end
    // whatever happens. The new interpreter is never ended; its first state is this thread's.
    slot::unbound(|| unsafe {
        let main = ffi::PyThreadState_Get();
        let made = new_interpreter(name, own_gil).and_then(|state| {
            let inner = Inner::of_current(name.to_owned(), own_gil);
            let adopted = attach::adopt(inner, state).map(|()| Interpreter(inner));
            // Importing `threading` now makes this thread its `main_thread()`.
            first_steps(Token::assume(inner.id));
            ffi::PyEval_SaveThread();
            ffi::PyEval_RestoreThread(main);
            adopted
        });
        debug_assert_eq!(ffi::PyThreadState_Get(), main);
        made
    })
}

/// What every interpreter gets first, on the main thread.
pub(crate) fn first_steps(py: Token<'_>) {
    // Both can fail only if the standard library is broken, which whoever uses it will notice.
    let _ = py.import(c"threading");
    let _ = py.import(c"sys").and_then(|sys| sys.set_attr(c"orig_argv", &py.list([])?));
}

/// Makes an interpreter and attaches the thread to it, instead of the one it was attached to.
///
/// # Safety
/// The thread is attached.
#[cfg(Py_3_12)]
unsafe fn new_interpreter(name: &[u8], own_gil: bool) -> Result<State, Error> {
    use std::ffi::CStr;

    let mut config = ffi::_PyInterpreterConfig_LEGACY_INIT;
    if own_gil {
        // Daemon threads are safe for us: they are a problem when an interpreter is ended.
        config =
            ffi::PyInterpreterConfig { allow_daemon_threads: 1, ..ffi::_PyInterpreterConfig_INIT };
    }
    let mut state = std::ptr::null_mut();
    // SAFETY: attached, by contract; writes the new state, which is then current, or leaves the
    // old one current.
    let status = unsafe { ffi::Py_NewInterpreterFromConfig(&mut state, &config) };
    // SAFETY: a plain question, and a C string or NULL.
    let reason = unsafe {
        match ffi::PyStatus_Exception(status) {
            0 => None,
            _ if status.err_msg.is_null() => Some(String::new()),
            _ => Some(CStr::from_ptr(status.err_msg).to_string_lossy().into_owned()),
        }
    };
    match reason {
        None => Ok(State(state)),
        Some(reason) => Err(failed(name, &reason)),
    }
}

/// Makes an interpreter and attaches the thread to it, instead of the one it was attached to.
///
/// # Safety
/// The thread is attached.
#[cfg(not(Py_3_12))]
unsafe fn new_interpreter(name: &[u8], _own_gil: bool) -> Result<State, Error> {
    // SAFETY: attached, by contract; the new state is current, or NULL and the old one is.
    let state = unsafe { ffi::Py_NewInterpreter() };
    if state.is_null() { Err(failed(name, "no reason given")) } else { Ok(State(state)) }
}

fn failed(name: &[u8], reason: &str) -> Error {
    let name = String::from_utf8_lossy(name);
    Error::new(ErrorKind::Create, format!("cannot make sub-interpreter '{name}': {reason}"))
}
