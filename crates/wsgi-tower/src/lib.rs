//! A WSGI application as a [`tower_service::Service`], for hyper, axum and whatever speaks tower.
//!
//! ```no_run
//! use hyper::server::conn::http1;
//! use hyper_util::{rt::TokioIo, service::TowerToHyperService};
//! use wsgi_tower::{Connection, Wsgi};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wsgi = Wsgi::builder("/usr/bin/python3").script("app.py").threads(4).start()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
//! loop {
//!     let (stream, peer) = listener.accept().await?;
//!     let wsgi = wsgi.on(Connection::new(stream.local_addr()?, peer));
//!     let service = TowerToHyperService::new(wsgi);
//!     tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
//! }
//! # }
//! ```
//!
//! Python runs in threads of its own and never on the server's. The request's body is read when the
//! application reads it, and no faster; the response is produced as fast as the client takes it.
//! A client that leaves is noticed: reads and writes fail, and an iterable is closed.
//!
//! What is not here: reloading, several applications behind one service (use a router), trust in
//! proxies' header fields, WebSocket upgrades, ASGI. `CONNECT` is answered with 501. Names of
//! response fields keep no capitals, since the `http` crate's do not.
//!
//! The standard is [PEP 3333](https://peps.python.org/pep-3333/); the engine is [`wsgi_core`].

mod body;
mod buffers;
mod environ;
mod error;
mod host;
mod leftover;
mod load;
mod log;
mod pool;
mod service;
mod wait;

pub use body::{Body, Truncated};
pub use error::Error;
pub use log::Log;
pub use service::{Builder, Connection, Wsgi};
pub use wsgi_core::{Level, Record, ServerLog};
