//! The server being judged, and the ways cases talk to it.

use super::plan::Plan;
use crate::http::{self, Connection, Response};
use crate::process::wait_for;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a server may take for what is instant.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs the probe application.
#[derive(Clone, Debug)]
pub struct Target {
    address: SocketAddr,
    /// What goes before every path: `/app` for an application mounted there.
    prefix: String,
}

impl Target {
    /// The probe at this address, below this prefix (empty for the root).
    pub fn new(address: SocketAddr, prefix: &str) -> Target {
        Target { address, prefix: prefix.trim_end_matches('/').to_owned() }
    }

    /// The probe at `http://host:port/prefix`.
    ///
    /// # Errors
    /// That is no such address.
    pub fn from_url(url: &str) -> Result<Target> {
        let rest = url.strip_prefix("http://").context("only http:// is spoken")?;
        let (host, prefix) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, String::new()),
        };
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let address = host.to_socket_addrs().with_context(|| host.clone())?.next();
        Ok(Target::new(address.context("no address")?, &prefix))
    }

    /// Whether the probe application answers there.
    ///
    /// # Errors
    /// Something else does, or nothing.
    pub fn is_probe(&self) -> Result<()> {
        let response = self.get("/hello")?;
        ensure!(response.text() == "\"hello\"", "this is not the probe application: {response:?}");
        Ok(())
    }

    /// Where it is mounted.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(self.address)?;
        connection.patience(PATIENCE)?;
        Ok(connection)
    }

    /// The head of a request to a path of the probe.
    pub(super) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        http::head(method, &format!("{}{path}", self.prefix), headers, 0)
    }

    /// A GET that gets a whole, well-formed answer with nothing behind it.
    pub(super) fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], b"")
    }

    pub(super) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        http::request(self.address, method, &format!("{}{path}", self.prefix), headers, body)
    }

    /// A request with this plan that gets a whole, well-formed answer.
    pub(super) fn carry_out(&self, plan: &Plan) -> Result<Response> {
        self.get(&plan.path())
    }

    /// A request with this plan whose answer may be cut short, and what follows it until the
    /// server closes the connection.
    pub(super) fn carry_out_raw(&self, plan: &Plan) -> Result<(Response, Vec<u8>)> {
        let mut connection = self.connect()?;
        connection.send(self.head("GET", &plan.path(), &[]))?;
        let response = connection.response("GET")?;
        Ok((response, connection.rest()?))
    }

    /// A request with this plan, after which the connection could go on, whose answer is a clean
    /// error or is cut short at once by closing the connection; nothing follows it.
    pub(super) fn cut_short(&self, plan: &Plan) -> Result<Response> {
        let mut connection = self.connect()?;
        // Less than a server keeps an idle connection: waiting for that is no way to tell.
        connection.patience(Duration::from_secs(3))?;
        connection.send(self.head("GET", &plan.path(), &[("Connection", "keep-alive")]))?;
        let response = connection.response("GET").context("it is not cut short")?;
        let error = matches!(response.status, 500 | 502) && response.is_complete();
        ensure!(error || !response.is_complete(), "it looks whole: {response:?}");
        if !error {
            let rest = connection.rest()?;
            ensure!(rest.is_empty(), "{} bytes follow: {response:?}", rest.len());
        }
        Ok(response)
    }

    /// The JSON that a path of the probe answers.
    pub(super) fn json(&self, path: &str) -> Result<Value> {
        let response = self.get(path)?;
        ensure!(response.status == 200, "{response:?}");
        Ok(serde_json::from_slice(&response.body)?)
    }

    /// What the environ looks like to a GET of this path.
    pub(super) fn environ(&self, path: &str, headers: &[(&str, &str)]) -> Result<Value> {
        let response = self.request("GET", path, headers, b"")?;
        ensure!(response.status == 200, "{response:?}");
        Ok(serde_json::from_slice(&response.body)?)
    }

    /// The events of a plan, once `enough` of them are there.
    pub(super) fn events(
        &self,
        plan: &Plan,
        enough: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let path = format!("/events?token={}", plan.token());
        let read = || -> Result<Vec<String>> { Ok(serde_json::from_value(self.json(&path)?)?) };
        let found = wait_for(PATIENCE, || match read() {
            Ok(events) if enough(&events) => Some(Ok(events)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        match found {
            Some(events) => events,
            None => bail!("not what was to happen: {:?}", read()?),
        }
    }

    /// Waits until `close()` was called, gives a second call a moment to happen, and fails unless
    /// there was exactly one.
    pub(super) fn closed_once(&self, plan: &Plan) -> Result<Vec<String>> {
        let is_close = |event: &String| event == "close";
        let waited = self.events(plan, |events| events.iter().any(is_close));
        waited.context("close() was not called")?;
        std::thread::sleep(Duration::from_millis(50));
        let events = self.events(plan, |_| true)?;
        let count = events.iter().filter(|event| is_close(event)).count();
        ensure!(count == 1, "close() was called {count} times");
        Ok(events)
    }

    /// Whether it still answers.
    pub(super) fn is_well(&self) -> Result<()> {
        self.is_probe().context("afterwards the server does not answer")
    }

    /// Waits until it answers again.
    pub(super) fn recover(&self) {
        wait_for(PATIENCE, || self.is_well().ok());
    }
}

/// A name no other plan has.
pub(super) fn token() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{time:x}p{:x}n{count:x}", std::process::id())
}
