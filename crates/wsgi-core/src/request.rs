//! What a server says about a request, and what it gets to know afterwards.

use std::ffi::c_void;
use std::sync::Arc;

use py::{Bound, Error, Global, Token, Waits};

use crate::head::Head;

/// A request, borrowed for [`serve`](crate::serve).
#[derive(Clone, Default)]
pub struct Request<'a, V = &'a [(&'a [u8], &'a [u8])]> {
    /// CGI variables, and others that are text: name and value. Names are UTF-8 (anything else is
    /// left out); values become `str` by Latin-1, but `DOCUMENT_ROOT` and `SCRIPT_FILENAME` as
    /// file names do. Later ones replace earlier ones of the same name. Left out are names that
    /// start with `mod_wsgi.x-`, the `wsgi.*` ones of PEP 3333 and those of
    /// [`Config::constants`](crate::Config::constants), which are the server's.
    pub environ: V,
    /// Further entries, of other types. They replace those above.
    pub extra: &'a [(&'a str, Value<'a>)],
    /// `wsgi.url_scheme` is `https`.
    pub https: bool,
    /// `wsgi.multithread`
    pub multithread: bool,
    /// `wsgi.multiprocess`
    pub multiprocess: bool,
    /// `wsgi.run_once`
    pub run_once: bool,
    /// The client will see no body of the response, whatever `REQUEST_METHOD` says.
    pub head: bool,
    /// Length of the request's body, if known: what `read` allocates at first. It is not enforced.
    pub content_length: Option<u64>,
    /// File of the script, for the log.
    pub script: &'a [u8],
    /// Where it runs, for the log: `main interpreter in embedded mode`.
    pub context: &'a str,
    /// Who wants to know what happens.
    pub observer: Option<Arc<dyn Observer>>,
    /// Whether to take times for [`Summary`].
    pub measure: bool,
    /// What this thread had waited before the request came: what it waited to get attached is the
    /// request's, too. Without it the request begins with [`serve`](crate::serve).
    pub waited: Option<Waits>,
}

/// Variables of a request, however the server has them: they are looked at in order, more than once,
/// and need not be written down anew for it.
pub trait Variables: Copy {
    /// Names and values.
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])>;
}

impl Variables for &[(&[u8], &[u8])] {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.iter().copied()
    }
}

/// An entry of `environ` that is no text in Latin-1.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`, from Latin-1
    Latin1(&'a [u8]),
    /// `str`
    Str(&'a str),
    /// `tuple` of three `int`
    Version([u32; 3]),
    /// `PyCapsule` without a name
    Pointer(*mut c_void),
    /// An object that is there already
    Object(&'a Global),
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// The host has got all of a complete response.
    Sent {
        /// Its status.
        status: u16,
    },
    /// The host has got nothing yet: send this, after detaching.
    Collected(Response),
    /// The host has got nothing, and there is nothing to send: answer with a page of your own.
    Failed {
        /// The status for it.
        status: u16,
    },
    /// The response broke off: the connection must be closed, so that the client can tell. The
    /// host was told with [`Flags::TRUNCATED`](crate::Flags::TRUNCATED), unless it said first that
    /// it can send no more.
    Truncated {
        /// The status that was sent.
        status: u16,
    },
}

impl Outcome {
    /// The status that the client has seen, or will see.
    pub fn status(&self) -> u16 {
        match self {
            Outcome::Sent { status }
            | Outcome::Failed { status }
            | Outcome::Truncated { status } => *status,
            Outcome::Collected(response) => response.head.status(),
        }
    }
}

/// A response that fits into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body; empty also where the status or the request's method allows none.
    pub body: Vec<u8>,
    /// The body is shorter than the head promises: close the connection after it.
    pub truncated: bool,
}

/// Numbers about a request.
///
/// Times are in seconds and 0 unless [`Request::measure`] asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// The status that the client sees; 500 if the application gave none.
    pub status: u16,
    /// Reads from the host, including the one that finds the end.
    pub input_reads: u64,
    /// Bytes of the body that the host delivered.
    pub input_length: u64,
    /// Time in these reads.
    pub input_time: f64,
    /// Blocks of body that the application produced; none for a file sent as such.
    pub output_writes: u64,
    /// Their bytes, including what `Content-Length` cut off.
    pub output_length: u64,
    /// Time the host took for them.
    pub output_time: f64,
    /// Time in which the thread of the request waited for the interpreter's lock, as far as it was
    /// not the application that had let go of it.
    pub gil_wait_time: f64,
    /// How often that was.
    pub gil_wait_count: u64,
}

/// What became of a request, and numbers about it.
#[derive(Debug)]
pub struct Served {
    /// What became of it.
    pub outcome: Outcome,
    /// Numbers.
    pub summary: Summary,
}

/// Somebody who is told what happens while a request is served, and may run Python.
///
/// All methods are called attached to the interpreter of the request, in the thread where it
/// happens. An exception that is raised in one is that method's to deal with.
pub trait Observer: Send + Sync {
    /// The application is about to be called. What this returns is called instead.
    fn request_started<'py>(
        &self,
        py: Token<'py>,
        application: &Bound<'py>,
        environ: &Bound<'py>,
    ) -> Option<Bound<'py>> {
        let _ = (py, application, environ);
        None
    }

    /// `start_response` was called with these arguments, which have not been checked.
    fn response_started<'py>(
        &self,
        py: Token<'py>,
        status: &Bound<'py>,
        headers: &Bound<'py>,
        exc_info: &Bound<'py>,
    ) {
        let _ = (py, status, headers, exc_info);
    }

    /// The application, its iterable or `close()` raised this.
    fn request_exception<'py>(&self, py: Token<'py>, error: &Error<'py>) {
        let _ = (py, error);
    }

    /// The application is done, and `close()` was called.
    fn request_finished(&self, py: Token<'_>, summary: &Summary) {
        let _ = (py, summary);
    }
}
