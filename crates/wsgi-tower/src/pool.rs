//! The threads that run Python, and the queue in front of them.
//!
//! They are no threads of the server's runtime: an application may block for as long as it likes.
//! The queue is bounded by permits that are waited for asynchronously, so a full one holds back the
//! server's tasks, not its threads.
//!
//! A thread that finds another request waiting serves it without giving the GIL away in between,
//! as long as no other thread is busy and for a few requests at most, so that threads which the
//! application started get their turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};
use http::request::Parts;
use interp::Interpreter;
use py::{Global, Token};
use tokio::sync::Semaphore;
use wsgi_core::{Outcome, Request, State};

use crate::body::Body;
use crate::buffers::Buffers;
use crate::environ::Environ;
use crate::error::{Error, Kind};
use crate::host::{Answer, Exchange, Incoming, response};
use crate::log::Log;
use crate::service::Connection;

/// Requests served in a row without giving the GIL away.
const BATCH: usize = 16;

/// A request that waits for a thread.
pub(crate) struct Job {
    pub(crate) parts: Parts,
    pub(crate) connection: Connection,
    pub(crate) incoming: Option<Incoming>,
    pub(crate) answer: Answer,
}

/// What all threads share.
pub(crate) struct Work {
    pub(crate) interpreter: Interpreter,
    pub(crate) state: Arc<State>,
    pub(crate) application: Global,
    /// Its file or module, for the log.
    pub(crate) name: String,
    pub(crate) threads: usize,
    pub(crate) limit: Duration,
    pub(crate) log: Log,
}

/// Threads and queue.
pub(crate) struct Pool {
    /// Places in the queue.
    places: Arc<Semaphore>,
    /// `None` once it was stopped.
    jobs: RwLock<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the threads.
    pub(crate) fn start(work: Work, queue: usize) -> Result<Pool, Error> {
        let places = Arc::new(Semaphore::new(queue));
        let (sender, receiver) = bounded(queue);
        let busy = Arc::new(AtomicUsize::new(0));
        let buffers = Arc::new(Buffers::default());
        let count = work.threads;
        let work = Arc::new(work);
        let threads = (0..count)
            .map(|number| {
                let worker = Worker {
                    work: Arc::clone(&work),
                    jobs: receiver.clone(),
                    places: Arc::clone(&places),
                    busy: Arc::clone(&busy),
                    buffers: Arc::clone(&buffers),
                };
                thread::Builder::new()
                    .name(format!("wsgi-{number}"))
                    .spawn(move || worker.run())
                    .map_err(|error| Error::new(Kind::System, format!("no thread: {error}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Pool { places, jobs: RwLock::new(Some(sender)), threads: Mutex::new(threads) })
    }

    /// Waits for a place in the queue and puts a job there. Gives it back if the pool was stopped.
    pub(crate) async fn submit(&self, job: Job) -> Result<(), Job> {
        let Ok(place) = self.places.acquire().await else { return Err(job) };
        // The thread that takes the job gives the place back.
        place.forget();
        let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = jobs.as_ref() else { return Err(job) };
        // Never full: there are as many places.
        sender.try_send(job).map_err(crossbeam::channel::TrySendError::into_inner)
    }

    /// Takes no more requests and waits until those there are were served. Gives whether they were.
    pub(crate) fn stop(&self, limit: Duration) -> bool {
        self.places.close();
        self.jobs.write().unwrap_or_else(PoisonError::into_inner).take();
        let end = Instant::now() + limit;
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while !threads.iter().all(JoinHandle::is_finished) {
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        threads.clear();
        true
    }
}

struct Worker {
    work: Arc<Work>,
    jobs: Receiver<Job>,
    places: Arc<Semaphore>,
    /// Threads that serve, or wait for the GIL to do so.
    busy: Arc<AtomicUsize>,
    buffers: Arc<Buffers>,
}

impl Worker {
    fn run(&self) {
        let mut environ = Environ::default();
        while let Ok(job) = self.jobs.recv() {
            self.busy.fetch_add(1, Ordering::Relaxed);
            // A panic costs the request it happens in; its answer is dropped, which is an answer.
            let done = catch_unwind(AssertUnwindSafe(|| {
                self.work.interpreter.attach(|py| self.batch(py, job, &mut environ))
            }));
            self.busy.fetch_sub(1, Ordering::Relaxed);
            let text = match &done {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => py::guard::panic_text(panic.as_ref()).to_owned(),
            };
            let level = wsgi_core::Level::Critical;
            self.work.log.log(&[wsgi_core::Record::new(level, 0, text.as_bytes())]);
        }
    }

    fn batch(&self, py: Token<'_>, first: Job, environ: &mut Environ) {
        let mut job = first;
        for _ in 1..BATCH {
            self.serve(py, job, environ);
            if self.busy.load(Ordering::Relaxed) > 1 {
                return;
            }
            let Ok(next) = self.jobs.try_recv() else { return };
            job = next;
        }
        self.serve(py, job, environ);
    }

    fn serve(&self, py: Token<'_>, job: Job, environ: &mut Environ) {
        self.places.add_permits(1);
        let work = &*self.work;
        if job.answer.is_closed() {
            // The client left while the request waited.
            return;
        }
        let Job { parts, connection, incoming, answer } = job;
        environ.fill(&parts, &connection);
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        let request = Request {
            environ: &environ.pairs()[..],
            https: connection.https,
            multithread: work.threads > 1,
            head: parts.method == http::Method::HEAD,
            content_length: if incoming.is_some() { length } else { Some(0) },
            script: work.name.as_bytes(),
            context: "an embedding server",
            ..Request::default()
        };
        let buffers = Arc::clone(&self.buffers);
        let log = Arc::clone(&work.log);
        let waits = parts.headers.contains_key(http::header::EXPECT);
        let mut exchange = Exchange::new(incoming, waits, answer, buffers, work.limit, log);
        // The application was loaded in the interpreter of this token.
        let Ok(application) = work.application.bind(py) else { return };
        let served = wsgi_core::serve(py, &work.state, &application, &request, &mut exchange);
        // A client that is gone by now is nobody to tell.
        let _gone = match served.outcome {
            Outcome::Sent { .. } | Outcome::Truncated { .. } => Ok(()),
            Outcome::Collected(collected) => {
                let data = Bytes::from(collected.body);
                let body = if collected.truncated { Body::short(data) } else { Body::whole(data) };
                exchange.send(response(&collected.head, body))
            }
            Outcome::Failed { status } => exchange.send(failure(status)),
        };
    }
}

/// A page for a request that the application did not answer.
pub(crate) fn failure(status: u16) -> http::Response<Body> {
    let status =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!("{status}\n");
    let mut response = http::Response::new(Body::whole(text.into()));
    *response.status_mut() = status;
    let plain = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    response
}
