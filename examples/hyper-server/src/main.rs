//! A WSGI server made of hyper and `wsgi-tower`: `hyper-server --bind 127.0.0.1:8000 app.py`.
//!
//! An example of embedding, and the second host of the conformance suite. It serves HTTP/1.1; TLS,
//! several processes, reloading and logs of requests are a real server's business.
//! <https://docs.rs/hyper>

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use wsgi_tower::{Connection, Wsgi};

/// Serve a WSGI application.
#[derive(Debug, Parser)]
struct Cli {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    bind: SocketAddr,
    /// Requests that run at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Threads that read from and write to clients
    #[arg(long, value_name = "N", default_value_t = 1)]
    io_threads: usize,
    /// Seconds requests may take to finish when the server stops
    #[arg(long, value_name = "N", default_value_t = 10)]
    grace: u64,
    /// Python installation or virtual environment, of the version this was compiled for
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The application's callable
    #[arg(long, value_name = "NAME", default_value = "application")]
    callable: String,
    /// File of the application
    app: PathBuf,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let python = match &cli.home {
        Some(home) => home.join("bin/python3"),
        None => PathBuf::from(env!("HYPER_SERVER_PYTHON")),
    };
    // Before there are other threads: starting Python may set environment variables.
    let wsgi = Wsgi::builder(python)
        .script(&cli.app)
        .callable(&cli.callable)
        .threads(cli.threads)
        .start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.io_threads.max(1))
        .enable_all()
        .build()?;
    let grace = Duration::from_secs(cli.grace);
    let served = runtime.block_on(serve(cli.bind, &wsgi, grace));
    // First who talks to clients, then who answers them.
    runtime.shutdown_timeout(Duration::from_millis(100));
    let stopped = wsgi.stop(grace);
    served.and(stopped.map_err(Into::into))
}

/// Serves until a signal comes, and then what was begun.
async fn serve(bind: SocketAddr, wsgi: &Wsgi, grace: Duration) -> Result<()> {
    let listener = TcpListener::bind(bind).await.with_context(|| bind.to_string())?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // A client that has nothing more to say still gets its answer.
    http.half_close(true);
    // Clients that do not finish their head in time are dropped, which takes a timer.
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = term.recv() => break,
            _ = int.recv() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: connections that end make room.
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // The client may be gone already, which must not end the server.
        let (Ok(local), Ok(())) = (stream.local_addr(), stream.set_nodelay(true)) else { continue };
        let wsgi = wsgi.on(Connection::new(local, peer));
        let service = TowerToHyperService::new(wsgi);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        // How a connection ends is the client's affair.
        tokio::spawn(connections.watch(connection));
    }
    drop(listener);
    if tokio::time::timeout(grace, connections.shutdown()).await.is_err() {
        eprintln!("requests were still running after {grace:?}");
    }
    Ok(())
}
