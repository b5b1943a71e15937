//! The service, and how to start it.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use interp::{Config, Runtime};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::error::{Error, Kind};
use crate::host::incoming;
use crate::load::{self, Source};
use crate::log::{Log, Stderr};
use crate::pool::{Job, Pool, Work, failure};

/// A WSGI application that runs. Clones are the same application.
///
/// It is a [`tower_service::Service`] of requests with any body, and always ready: it waits for a
/// place in its queue, and for its threads, in the future that a call returns.
#[derive(Clone)]
pub struct Wsgi {
    pool: Arc<Pool>,
    runtime: Runtime,
    connection: Connection,
}

/// What an application gets to know of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Becomes `SERVER_NAME` and `SERVER_PORT`.
    pub local: SocketAddr,
    /// Becomes `REMOTE_ADDR` and `REMOTE_PORT`.
    pub peer: SocketAddr,
    /// `wsgi.url_scheme` is `https`.
    pub https: bool,
}

impl Connection {
    /// A connection without TLS.
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Connection {
        Connection { local, peer, https: false }
    }
}

/// How to start an application.
#[derive(Clone)]
pub struct Builder {
    config: Config,
    source: Option<Source>,
    callable: String,
    interpreter: String,
    threads: usize,
    queue: usize,
    limit: Duration,
    log: Log,
}

impl Wsgi {
    /// Begins with the Python whose executable this is, of the version this was compiled for: one
    /// in a virtual environment stands for that environment.
    pub fn builder(python: impl Into<PathBuf>) -> Builder {
        Builder {
            config: Config::new(python),
            source: None,
            callable: "application".to_owned(),
            interpreter: String::new(),
            threads: 1,
            queue: 256,
            limit: Duration::from_secs(60),
            log: Arc::new(Stderr),
        }
    }

    /// The service for one connection.
    #[must_use]
    pub fn on(&self, connection: Connection) -> Wsgi {
        Wsgi { connection, ..self.clone() }
    }

    /// Serves what was accepted, answers 503 to everything else, and runs Python's `atexit`
    /// functions. Blocks: call it when the server's runtime is done, or on a thread of its own.
    ///
    /// # Errors
    /// It took longer than `limit`.
    pub fn stop(&self, limit: Duration) -> Result<(), Error> {
        let began = std::time::Instant::now();
        if !self.pool.stop(limit) {
            return Err(Error::new(Kind::Application, "requests were still running"));
        }
        let left = limit.saturating_sub(began.elapsed());
        self.runtime.stop(left).map_err(|error| Error::python(&error))
    }
}

impl<B> tower_service::Service<http::Request<B>> for Wsgi
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let pool = Arc::clone(&self.pool);
        let connection = self.connection;
        let (parts, body) = request.into_parts();
        let incoming = incoming(body);
        Box::pin(async move {
            if parts.method == http::Method::CONNECT {
                // A tunnel is nothing WSGI could answer with.
                return Ok(failure(501));
            }
            let (answer, response) = oneshot::channel();
            let job = Job { parts, connection, incoming, answer };
            if pool.submit(job).await.is_err() {
                return Ok(failure(503));
            }
            let Ok((response, leftover)) = response.await else { return Ok(failure(500)) };
            if let Some(leftover) = leftover {
                leftover.drain().await;
            }
            Ok(response)
        })
    }
}

impl fmt::Debug for Wsgi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wsgi").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Builder {
    /// The application is in this file.
    #[must_use]
    pub fn script(mut self, path: impl Into<PathBuf>) -> Builder {
        self.source = Some(Source::File(path.into()));
        self
    }

    /// The application is in this module on `sys.path`.
    #[must_use]
    pub fn module(mut self, name: impl Into<String>) -> Builder {
        self.source = Some(Source::Module(name.into()));
        self
    }

    /// Its name there; `application` unless said otherwise.
    #[must_use]
    pub fn callable(mut self, name: impl Into<String>) -> Builder {
        self.callable = name.into();
        self
    }

    /// Runs it in a sub-interpreter of this name instead of the main interpreter.
    #[must_use]
    pub fn interpreter(mut self, name: impl Into<String>) -> Builder {
        self.interpreter = name.into();
        self
    }

    /// Requests that run at the same time; 1 unless said otherwise.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Builder {
        self.threads = count.max(1);
        self
    }

    /// Requests that wait for a thread before the server is held back; 256 unless said otherwise.
    #[must_use]
    pub fn queue(mut self, count: usize) -> Builder {
        self.queue = count.max(1);
        self
    }

    /// The longest wait for the client, in either direction; a minute unless said otherwise.
    #[must_use]
    pub fn io_timeout(mut self, limit: Duration) -> Builder {
        self.limit = limit;
        self
    }

    /// Where `wsgi.errors` and tracebacks go; standard error unless said otherwise.
    #[must_use]
    pub fn log(mut self, log: Log) -> Builder {
        self.log = log;
        self
    }

    /// How Python is started, if this is the first application of the process.
    pub fn python(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Starts Python, unless it runs already, loads the application and starts its threads.
    ///
    /// # Errors
    /// Python does not start, or the application cannot be loaded.
    pub fn start(self) -> Result<Wsgi, Error> {
        let no_source = || Error::new(Kind::Application, "neither a script nor a module was named");
        let source = self.source.as_ref().ok_or_else(no_source)?;
        let failed = |error: interp::Error| Error::python(&error);
        let runtime = match Runtime::current() {
            Some(runtime) => runtime,
            None => Runtime::start(&self.config).map_err(failed)?,
        };
        let options = interp::Options::default();
        let interpreter = runtime.interpreter(&self.interpreter, options).map_err(failed)?;
        let loaded = interpreter.attach(|py| {
            let config = wsgi_core::Config { log: Arc::clone(&self.log), constants: &[] };
            let state = wsgi_core::State::new(py, &config)
                .map_err(|error| Error::new(Kind::Python, error.message()))?;
            Ok::<_, Error>((state, load::load(py, source, &self.callable)?))
        });
        let (state, application) = loaded.map_err(failed)??;
        let name = match source {
            Source::File(path) => path.display().to_string(),
            Source::Module(name) => name.clone(),
        };
        let work = Work {
            interpreter,
            state,
            application,
            name,
            threads: self.threads,
            limit: self.limit,
            log: self.log,
        };
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
        Ok(Wsgi {
            pool: Arc::new(Pool::start(work, self.queue)?),
            runtime,
            connection: Connection::new(nowhere, nowhere),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("source", &self.source)
            .field("callable", &self.callable)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
