//! Python in this process: its runtime, its interpreters, and getting threads in and out of them.
//!
//! A [`Runtime`] is started ([`Runtime::start`]) or, inside a running `python3`, joined
//! ([`Runtime::join`]); there is one per process and it lasts as long. It has a main
//! [`Interpreter`] and any number of named ones, each made once. A thread calls
//! [`Interpreter::attach`] and gets a [`py::Token`] that names the interpreter:
//!
//! ```no_run
//! # fn main() -> Result<(), interp::Error> {
//! let runtime = interp::Runtime::start(&interp::Config::new("/usr/bin/python3"))?;
//! let sub = runtime.interpreter("shop", interp::Options::default())?;
//! let number = sub.attach(|py| py.interpreter().as_raw())?;
//! assert_eq!(number, sub.id().as_raw());
//! # Ok(())
//! # }
//! ```
//!
//! Design choices, and what was left out:
//!
//! * Every attachment restores an explicit thread state. `PyGILState_Ensure` would attach to
//!   whichever interpreter the thread saw first (or, since 3.12, last), so it is not used. Extension
//!   modules do use it: see `slot.rs` for what is done so that they get where they are.
//! * A thread keeps one state per interpreter for its life, as `threading.local` expects. States of
//!   threads that ended are deleted by a helper thread: see `reap.rs` for why they are not reused.
//! * Interpreters are made, and Python's life-cycle functions run, on one *main thread*, so that
//!   `threading.main_thread()` is the same in all of them and never a thread that serves.
//! * No interpreter is ended in a running process: `Py_EndInterpreter` races with other threads.
//!   [`Runtime::stop`] runs what should run at the end and leaves the rest to the kernel.
//!
//! See <https://docs.python.org/3/c-api/init.html>. Nothing here knows WSGI or a server.

mod attach;
mod config;
mod error;
mod interpreter;
mod main_thread;
mod path;
mod reap;
mod runtime;
mod slot;
mod stop;

pub use config::{Config, HashSeed, MainThread};
pub use error::{Error, ErrorKind};
pub use interpreter::{Interpreter, Options};
pub use path::{PathError, add_to_path, set_switch_interval};
pub use py;
pub use runtime::Runtime;
