//! The Python of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use py::{Token, ffi};

use crate::attach::{self, State};
use crate::config::{Config, MainThread};
use crate::error::{Error, ErrorKind};
use crate::interpreter::{self, Inner, Interpreter, Options};
use crate::main_thread::{self, Jobs, SignalGate};
use crate::slot;

/// The Python of this process. Copies are the same one.
#[derive(Clone, Copy)]
pub struct Runtime(&'static Process);

struct Process {
    main: Interpreter,
    jobs: Jobs,
    named: RwLock<HashMap<Vec<u8>, Interpreter>>,
}

static PROCESS: OnceLock<Process> = OnceLock::new();

/// Held while Python starts; true once somebody tried.
static STARTED: Mutex<bool> = Mutex::new(false);

/// Stack of a main thread that we make: as large as that of a process usually is.
const STACK: usize = 8 << 20;

impl Runtime {
    /// Starts Python. Once per process: after a failure, too, it cannot be tried again.
    ///
    /// # Errors
    /// Python does not start, or was started before, by whomever.
    pub fn start(config: &Config) -> Result<Runtime, Error> {
        let _started = claim()?;
        match config.main_thread {
            MainThread::Caller => begin(config),
            MainThread::Parked => {
                let config = config.clone();
                let (sender, receiver) = mpsc::sync_channel(1);
                let body = move || {
                    let gate = SignalGate::of_this_thread();
                    let started = begin(&config).inspect(|runtime| runtime.0.jobs.expect());
                    // The receiver waits for this; the thread lives as long as the process.
                    let _ = sender.send(started.clone().map(|_| ()));
                    if let Ok(runtime) = started {
                        runtime.0.jobs.run(|open| gate.set(open));
                    }
                };
                thread::Builder::new()
                    .name("wsgi-python".to_owned())
                    .stack_size(STACK)
                    .spawn(body)
                    .map_err(|error| {
                        let text = format!("no thread for Python: {error}");
                        Error::new(ErrorKind::Start, text)
                    })?;
                let gone = |_| Error::new(ErrorKind::Start, "Python's thread ended");
                receiver.recv().map_err(gone)??;
                Runtime::current().ok_or_else(|| Error::new(ErrorKind::Start, "not started"))
            }
        }
    }

    /// Joins the Python that is running in this process.
    ///
    /// The calling thread is Python's main thread. It should call [`Runtime::run_main_thread`] when
    /// it has nothing else to do.
    ///
    /// # Errors
    /// It was joined before.
    pub fn join(py: Token<'_>) -> Result<Runtime, Error> {
        let _started = claim_running()?;
        take_over(py)
    }

    /// The Python of this process, once it was started or joined.
    pub fn current() -> Option<Runtime> {
        PROCESS.get().map(Runtime)
    }

    /// The main interpreter.
    pub fn main(self) -> Interpreter {
        self.0.main
    }

    /// The interpreter of this name, which is made if there is none; the empty name is the main
    /// interpreter.
    ///
    /// `options` count when it is made. Interpreters are made one after the other on the main
    /// thread; the calling thread is detached while it waits.
    ///
    /// # Errors
    /// It cannot be made; the next call tries again.
    pub fn interpreter(
        self,
        name: impl AsRef<[u8]>,
        options: Options,
    ) -> Result<Interpreter, Error> {
        let name = name.as_ref();
        if let Some(interpreter) = self.existing(name) {
            return Ok(interpreter);
        }
        let name = name.to_owned();
        self.on_main_thread(move || {
            if let Some(interpreter) = self.existing(&name) {
                return Ok(interpreter);
            }
            let made = self.main().attach(|py| interpreter::create(py, &name, options))??;
            self.0.named.write().unwrap_or_else(PoisonError::into_inner).insert(name, made);
            Ok(made)
        })?
    }

    /// The interpreter of this name, if it was made.
    pub fn existing(self, name: &[u8]) -> Option<Interpreter> {
        if name.is_empty() {
            return Some(self.main());
        }
        self.0.named.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// All interpreters, the main one first.
    pub fn interpreters(self) -> Vec<Interpreter> {
        let named = self.0.named.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Interpreter> = named.values().copied().collect();
        all.sort_by_key(|interpreter| interpreter.id());
        all.insert(0, self.main());
        all
    }

    /// Has Python's main thread run `job`, detached, and waits for the result.
    ///
    /// # Errors
    /// The main thread is not there for jobs.
    pub fn on_main_thread<R: Send + 'static>(
        self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.0.jobs.call(None, job)
    }

    /// Like [`Runtime::on_main_thread`], but waits no longer than `limit`.
    ///
    /// # Errors
    /// Also if the time is up; the job runs on.
    pub fn on_main_thread_within<R: Send + 'static>(
        self,
        limit: Duration,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.0.jobs.call(Some(limit), job)
    }

    /// Whether the caller is Python's main thread.
    pub fn is_main_thread(self) -> bool {
        self.0.jobs.is_current()
    }

    /// Makes the main thread, which calls this, wait for jobs until [`Runtime::leave_main_thread`].
    ///
    /// # Errors
    /// The caller is another thread.
    pub fn run_main_thread(self) -> Result<(), Error> {
        if !self.is_main_thread() {
            let text = "only the main thread can wait for its jobs";
            return Err(Error::new(ErrorKind::NoMainThread, text));
        }
        attach::detached(|| self.0.jobs.run(|_| ()));
        Ok(())
    }

    /// Lets [`Runtime::run_main_thread`] return.
    pub fn leave_main_thread(self) {
        self.0.jobs.leave();
    }

    pub(crate) fn main_thread(self) -> &'static Jobs {
        &self.0.jobs
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.interpreters()).finish()
    }
}

/// Says that Python is being started, if that has not been tried before.
fn claim() -> Result<MutexGuard<'static, bool>, Error> {
    // SAFETY: may be called at any time.
    if unsafe { ffi::Py_IsInitialized() } != 0 {
        let text = "Python already runs in this process, started by something else";
        return Err(Error::new(ErrorKind::Running, text));
    }
    claim_running()
}

fn claim_running() -> Result<MutexGuard<'static, bool>, Error> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if *started {
        let text = "Python was started, or an attempt made, before in this process";
        return Err(Error::new(ErrorKind::Running, text));
    }
    *started = true;
    Ok(started)
}

/// Starts Python on this thread and leaves the thread detached.
fn begin(config: &Config) -> Result<Runtime, Error> {
    let sigint = main_thread::Disposition::of(libc::SIGINT);
    config.initialize()?;
    // SAFETY: just attached to the main interpreter; the token is gone before the thread is
    // detached.
    unsafe {
        let py = Token::assume(py::InterpreterId::MAIN);
        let runtime = take_over(py);
        // On the main thread, the first import of `signal` takes SIGINT for KeyboardInterrupt.
        let _ = py.import(c"signal");
        sigint.restore();
        ffi::PyEval_SaveThread();
        runtime
    }
}

/// Makes the main interpreter, which this thread is attached to, ours.
fn take_over(py: Token<'_>) -> Result<Runtime, Error> {
    // SAFETY: attached (token), to an interpreter that lasts as long as the process.
    let (inner, state) =
        unsafe { (Inner::of_current(Vec::new(), false), State(ffi::PyThreadState_Get())) };
    attach::adopt(inner, state)?;
    slot::find();
    interpreter::first_steps(py);
    let process = Process {
        main: Interpreter(inner),
        jobs: Jobs::of_this_thread(),
        named: RwLock::default(),
    };
    Ok(Runtime(PROCESS.get_or_init(|| process)))
}
