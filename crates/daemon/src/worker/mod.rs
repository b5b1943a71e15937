//! The side of the workers: a loop that serves the requests of a server's children with a
//! [`Runner`].
//!
//! A worker is a process of its own, started by the supervisor, which hands it connections as
//! children make them. [`Worker::inherit`] takes what the process was given; then the application's
//! side sets itself up, loads what [`Start::loads`](crate::control::Start::loads) names, and calls
//! [`Worker::serve`] from its main thread. The threads that serve belong to *domains*, sets of
//! threads and interpreters that share one lock; what a domain is to mean is up to the runner.
//!
//! Left out: what an application is. There is no Python here, only a lock that a runner may have.

mod connection;
mod domain;
mod error;
mod fork;
mod handle;
mod inquiry;
mod lead;
mod output;
mod process;
mod signals;
mod status;
mod stream;

pub use crate::wire::Request;
pub use error::{Error, ErrorKind};
pub use handle::Handle;
pub use inquiry::Inquiry;
pub(crate) use process::inherited;
pub use process::{StopReason, Stopped, Worker};
pub use status::Inside;
pub(crate) use status::{length as status_length, running};
pub use stream::{Send, Stream};

/// What runs requests.
///
/// Implemented for Python by attaching a thread: `attached` takes the interpreter's lock, `run` swaps
/// to the interpreter that the request is for and, where it has to wait, detaches.
pub trait Runner: std::marker::Send + Sync {
    /// Calls `serve` with the lock of this domain held. It is called once for many requests, each of
    /// which then gets [`Runner::run`] on the same thread. If the lock cannot be taken, `serve` must
    /// not be called; the next request is answered with an error.
    ///
    /// While it waits for the lock nobody else of the domain begins to wait for it.
    fn attached(&self, domain: u16, serve: &mut dyn FnMut());

    /// Whether there is a lock which is worth keeping from one request to the next. If not, each
    /// request has its own call of `attached`, and threads wait side by side.
    fn batches(&self, domain: u16) -> bool {
        let _ = domain;
        true
    }

    /// Runs one request, inside [`Runner::attached`]. What the response lacks when it returns is
    /// added: an error if there is none, and a broken connection if it is not complete. A panic
    /// closes the connection and nothing else.
    ///
    /// Methods of the stream that may wait are to be called without the lock.
    fn run(&self, request: &Request<'_>, stream: &mut Stream<'_>);

    /// The worker begins to end: requests that run go on until they end or the time for it is over.
    /// Called once, on the thread that runs [`Worker::serve`], which must not wait.
    fn stopping(&self, reason: StopReason) {
        let _ = reason;
    }

    /// Somebody wants to know where the requests that run are. Called on the thread that runs
    /// [`Worker::serve`], which must not wait. An inquiry that is not to be answered is given back:
    /// its end may take long.
    ///
    /// # Errors
    /// There is no answer.
    fn inquire(&self, inquiry: Inquiry) -> Result<(), Inquiry> {
        Err(inquiry)
    }

    /// A signal for the application has come: SIGHUP or SIGUSR2. Called on the main thread, which
    /// must not wait for the application.
    fn signal(&self, signal: i32) {
        let _ = signal;
    }
}
