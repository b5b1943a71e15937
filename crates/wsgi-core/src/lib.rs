//! The WSGI engine: PEP 3333 over a small trait, with no server in it.
//!
//! A server implements [`Host`] for its requests and calls [`serve`] with the application; what
//! belongs to the interpreter is in a [`State`]:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use wsgi_core::*;
//! # fn reply(_: Outcome) {}
//! # struct Stderr;
//! # impl ServerLog for Stderr { fn log(&self, _: &[Record<'_>]) {} }
//! # fn embed<'py>(py: py::Token<'py>, app: &py::Bound<'py>, host: &mut dyn Host) -> py::Result<'py, ()> {
//! let config = Config { log: Arc::new(Stderr), constants: &[] };
//! let state = State::new(py, &config)?;
//! let request: Request<'_> = Request {
//!     environ: &[(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/"), (b"HTTP_HOST", b"a.test")],
//!     multithread: true,
//!     script: b"app.py",
//!     ..Request::default()
//! };
//! let served = serve(py, &state, app, &request, host);
//! py.detach(|| reply(served.outcome));
//! # Ok(())
//! # }
//! ```
//!
//! Design choices:
//!
//! * Under the GIL there is only Python work. A host's methods that may wait are called detached; a
//!   small complete response is *collected* and returned, so that a request costs one attachment.
//! * What Python sees (`mod_wsgi.Input`, `mod_wsgi.FileWrapper`, ...) are heap types of each
//!   interpreter, named as in mod_wsgi. Nothing is static to the process.
//! * Applications may keep every object they get, for ever and in any thread. After the request
//!   they raise `RuntimeError`; the host is borrowed for the length of [`serve`] only.
//! * A response that was cut short never looks complete: [`Flags::TRUNCATED`].
//! * Exceptions, types and texts are those of mod_wsgi 6.1.1, except where it was wrong; the tests
//!   named `d01_` and so on are the list.
//!
//! With the feature `http`, a [`Head`] converts to and from `http::Response`.
//!
//! What is left out: HTTP itself, threads, interpreters, loading of scripts. The modules
//! [`validate`], [`body`] and [`lines`] do not use Python and can be used without it.
//!
//! <https://peps.python.org/pep-3333/>

mod adapter;
pub mod body;
mod consult;
mod environ;
mod exchange;
mod fault;
#[cfg(unix)]
mod file;
mod file_wrapper;
mod handles;
mod head;
mod host;
#[cfg(feature = "http")]
mod http;
mod input;
pub mod lines;
mod log;
mod names;
mod reply;
mod report;
mod request;
mod respond;
mod restricted;
mod serve;
mod shape;
mod state;
pub mod validate;

pub use consult::consult;
pub use head::Head;
pub use host::{Fault, FaultKind, Flags, Host, Level, Record, ServerLog, Style};
pub use py;
pub use report::Report;
pub use request::{Observer, Outcome, Request, Response, Served, Summary, Value, Variables};
pub use serve::serve;
pub use state::{Config, State};
