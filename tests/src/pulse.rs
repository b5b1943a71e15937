//! A client that asks again and again over one connection, and how long each answer took.
//!
//! One client with a pause between requests: it measures how a server answers, not how much it can
//! take, and so says something on a machine that has other things to do.

use crate::http::{Connection, Response, head};
use anyhow::{Result, ensure};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A client at work.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Times>>>,
}

/// What it found, sorted.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Pulse {
    /// Begins to ask for `path`, pausing after each answer.
    pub fn start(address: SocketAddr, path: &str, pause: Duration) -> Pulse {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, path) = (stop.clone(), path.to_owned());
        let thread = std::thread::spawn(move || {
            let mut client = Client::new(address, &path);
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let (response, took) = client.ask()?;
                ensure!(response.status == 200 && response.is_complete(), "{response:?}");
                times.push(took);
                std::thread::sleep(pause);
            }
            Ok(Times::of(times))
        });
        Pulse { stop, thread: Some(thread) }
    }

    /// Stops it.
    ///
    /// # Panics
    /// When a request was not answered, or there was none.
    #[track_caller]
    pub fn finish(mut self) -> Times {
        self.stop.store(true, Ordering::Relaxed);
        let times = match self.thread.take().unwrap().join().unwrap() {
            Ok(times) => times,
            Err(error) => panic!("a request was not answered: {error:#}"),
        };
        assert!(!times.0.is_empty(), "there was no request");
        times
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A connection that is there for the next request, as long as the server leaves it open.
#[derive(Debug)]
pub struct Client<'a> {
    address: SocketAddr,
    path: &'a str,
    connection: Option<Connection>,
}

impl<'a> Client<'a> {
    /// A client that asks for this path.
    pub fn new(address: SocketAddr, path: &'a str) -> Client<'a> {
        Client { address, path, connection: None }
    }

    /// Asks, and says how long the answer took.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&mut self) -> Result<(Response, Duration)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        let begun = Instant::now();
        connection.send(head("GET", self.path, &[("Connection", "keep-alive")], 0))?;
        let response = connection.response("GET")?;
        let took = begun.elapsed();
        if response.header("Connection").is_none_or(|value| value != "close") {
            self.connection = Some(connection);
        }
        Ok((response, took))
    }
}

impl Times {
    /// Sorts them.
    pub fn of(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// What so many of a hundred do not exceed; nothing if there are none.
    pub fn percentile(&self, of_hundred: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        self.0.get((self.0.len() * of_hundred / 100).min(last)).copied().unwrap_or_default()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most] = [50, 99].map(|number| self.percentile(number));
        write!(f, "p50 {half:.1?}, p99 {most:.1?} of {}", self.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let times = Times::of((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(times.percentile(50), Duration::from_millis(101));
        assert_eq!(times.percentile(99), Duration::from_millis(199));
        assert_eq!(times.percentile(100), Duration::from_millis(200));
        assert_eq!(Times::default().percentile(50), Duration::ZERO);
    }
}
