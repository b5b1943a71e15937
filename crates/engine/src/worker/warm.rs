//! What each application is asked before a worker says that it is ready, so that what it does for its
//! first request only (templates, connections, caches) is done before there is one.
//!
//! It is a GET as Apache would pass on, less what is known only of a real one. Nobody reads the
//! answer: only its status counts, and a body without end is cut.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::fd::BorrowedFd;

use engine_api::worker::{Config, Preload};
use engine_api::{
    Bytes, Client, Fault, FaultKind, Flags, Head, Host, Level, Pair, Record, ReplyKind, Request,
    Slice,
};
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use percent_encoding::percent_decode_str;

use super::host::{self, ProcessLog};
use crate::process::Process;
use crate::request;
use crate::script::{Ask, OnChange};

/// What is asked of the script, if it is one that has an application.
const CALLABLE: &[u8] = b"application";
/// A body that is longer is read no further.
const ENOUGH: u64 = 16 << 20;

/// Asks the application of a script that is loaded.
///
/// # Errors
/// It does not answer, or with a status of 500 and above. The text is the end of a sentence.
pub(super) fn ask(
    process: &'static Process,
    config: &Config,
    preload: &Preload,
    url: &[u8],
) -> Result<(), String> {
    if !has_application(process, preload) {
        return Ok(());
    }
    let url = Url::parse(url)?;
    let (path, port) = (url.path(), url.port().to_string());
    let script = Bytes::new(&preload.script);
    let id = format!("warm-up-{:016x}", RandomState::new().hash_one(std::process::id()));
    let environ = variables(&url, &path, &port, config, preload);
    let environ = environ.map(|(name, value)| Pair::new(name, value));
    let described = Request {
        environ: Slice::new(&environ),
        script,
        resource: script,
        handler_script: Bytes::ABSENT,
        script_mtime: -1,
        application_group: Bytes::new(&preload.application_group),
        callable: Bytes::new(CALLABLE),
        request_id: Bytes::new(id.as_bytes()),
        connection_id: Bytes::ABSENT,
        request_start: engine_api::now(),
        queue_start: 0,
        daemon_start: engine_api::now(),
        content_length: 0,
        server_pid: 0,
        daemon_connects: 0,
        daemon_restarts: 0,
        request_rec: std::ptr::null_mut(),
        https: url.is_https(),
        multithread: config.threads > 1,
        multiprocess: config.multiprocess,
        run_once: config.run_once,
        head: false,
        // It was loaded just now.
        reload: false,
        lower_case: preload.lower_case,
        measure: false,
    };
    let mut nobody = Nobody::default();
    let reply = Client::with(&host::TABLE, &mut nobody, |client| {
        request::handle(process, &described, client)
    });
    let reply = reply.map_err(|fault| fault.text)?;
    if reply.status >= 500 {
        return Err(format!("it answers '{}' with status {}", url.target(), reply.status));
    }
    if reply.kind == ReplyKind::Truncated && !nobody.is_full() {
        return Err(format!("its answer to '{}' breaks off", url.target()));
    }
    Ok(())
}

/// The variables that Apache would have for such a request.
fn variables<'a>(
    url: &'a Url,
    path: &'a [u8],
    port: &'a str,
    config: &'a Config,
    preload: &'a Preload,
) -> [(&'static [u8], &'a [u8]); 22] {
    [
        (b"GATEWAY_INTERFACE", b"CGI/1.1"),
        (b"SERVER_PROTOCOL", b"HTTP/1.1"),
        (b"SERVER_SOFTWARE", &config.server_description),
        (b"REQUEST_METHOD", b"GET"),
        (b"REQUEST_SCHEME", if url.is_https() { b"https" } else { b"http" }),
        (b"SCRIPT_NAME", b""),
        (b"PATH_INFO", path),
        (b"QUERY_STRING", url.query().as_bytes()),
        (b"REQUEST_URI", url.target().as_bytes()),
        (b"SCRIPT_FILENAME", &preload.script),
        (b"SERVER_NAME", url.name().as_bytes()),
        (b"SERVER_PORT", port.as_bytes()),
        (b"HTTP_HOST", url.host().as_bytes()),
        (b"HTTP_USER_AGENT", b"mod_wsgi warm-up"),
        (b"REMOTE_ADDR", b"127.0.0.1"),
        (b"mod_wsgi.process_group", &config.process_group),
        (b"mod_wsgi.application_group", &preload.application_group),
        (b"mod_wsgi.callable_object", CALLABLE),
        (b"mod_wsgi.script_name", b""),
        (b"mod_wsgi.path_info", path),
        (b"mod_wsgi.request_handler", b"wsgi-script"),
        (b"mod_wsgi.warm_up", b"1"),
    ]
}

/// Whether the script is more than one that is only to be imported.
fn has_application(process: &'static Process, preload: &Preload) -> bool {
    let Ok(groups) = process.all(&preload.application_group) else { return false };
    groups.iter().any(|group| {
        let found = group.interpreter.attach(|py| {
            let ask = Ask {
                path: &preload.script,
                mtime: None,
                reload: false,
                lower_case: preload.lower_case,
                resource: None,
                callable: None,
                group,
                log: &process.log,
                request: false,
                on_change: OnChange::Keep,
            };
            let globals = group.scripts.globals(py, &ask).ok()?;
            globals.dict_item(&py.latin1(CALLABLE).ok()?).ok().flatten().map(drop)
        });
        matches!(found, Ok(Some(())))
    })
}

/// A URL, or a path from the root of an application at `localhost`.
#[derive(Debug)]
struct Url(Uri);

impl Url {
    fn parse(text: &[u8]) -> Result<Url, String> {
        let shown = || format!("'{}' cannot be asked for", text.escape_ascii());
        Uri::try_from(text).map(Url).map_err(|error| format!("{}: {error}", shown()))
    }

    fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// With the port, if it has one.
    fn host(&self) -> &str {
        self.0.authority().map_or("localhost", Authority::as_str)
    }

    fn name(&self) -> &str {
        self.0.host().unwrap_or("localhost")
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Without escapes.
    fn path(&self) -> Vec<u8> {
        percent_decode_str(self.0.path()).collect()
    }

    fn query(&self) -> &str {
        self.0.query().unwrap_or_default()
    }

    /// As a client sends it.
    fn target(&self) -> &str {
        self.0.path_and_query().map_or("/", PathAndQuery::as_str)
    }
}

/// The host of a request that nobody has made.
#[derive(Default)]
struct Nobody {
    taken: u64,
}

impl Nobody {
    fn is_full(&self) -> bool {
        self.taken >= ENOUGH
    }

    fn take(&mut self, count: u64) -> Result<(), Fault> {
        self.taken = self.taken.saturating_add(count);
        if self.is_full() {
            return Err(Fault::new(FaultKind::ClientGone, "that is enough"));
        }
        Ok(())
    }
}

impl Host for Nobody {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Fault> {
        Ok(0)
    }

    fn respond(
        &mut self,
        _: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        _: Flags,
    ) -> Result<(), Fault> {
        self.take(chunks.iter().map(|chunk| chunk.or_empty().len() as u64).sum())
    }

    fn send_file(
        &mut self,
        _: Option<&Head<'_>>,
        _: BorrowedFd<'_>,
        _: u64,
        length: u64,
        _: Flags,
    ) -> Result<u64, Fault> {
        Ok(length)
    }

    fn client_gone(&mut self) -> bool {
        self.is_full()
    }

    fn ssl_is_https(&mut self) -> bool {
        false
    }

    fn ssl_var_lookup(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn log(&mut self, records: &[Record<'_>]) {
        <ProcessLog as engine_api::Server>::log(records);
    }

    fn level(&mut self) -> Level {
        <ProcessLog as engine_api::Server>::level()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let url = |text: &str| Url::parse(text.as_bytes()).unwrap();
        let path = url("/a%20b/%c3%A4%zz%4?x=%20");
        assert_eq!((path.host(), path.name(), path.port()), ("localhost", "localhost", 80));
        assert_eq!(path.path(), b"/a b/\xc3\xa4%zz%4");
        assert_eq!((path.query(), path.target()), ("x=%20", "/a%20b/%c3%A4%zz%4?x=%20"));
        let all = url("https://example.org:8443/x");
        assert_eq!((all.is_https(), all.host()), (true, "example.org:8443"));
        assert_eq!((all.name(), all.port()), ("example.org", 8443));
        assert_eq!((all.path().as_slice(), all.query()), (&b"/x"[..], ""));
        let six = url("https://[::1]/");
        assert_eq!((six.name(), six.port()), ("[::1]", 443));
    }

    #[test]
    fn what_no_client_could_send_is_an_error() {
        let error = Url::parse(b"/a<b").unwrap_err();
        assert!(error.starts_with("'/a<b' cannot be asked for: "), "{error}");
    }

    #[test]
    fn a_body_without_end_is_cut() {
        let mut nobody = Nobody::default();
        let chunk = vec![0; 1 << 20];
        let mut chunks = 0;
        while nobody.respond(None, &[Bytes::new(&chunk)], Flags::NONE).is_ok() {
            chunks += 1;
        }
        assert_eq!(chunks, 15);
        assert!(nobody.is_full());
    }
}
