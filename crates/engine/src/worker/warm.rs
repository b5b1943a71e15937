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
/// It does not answer, or with a status of 500 and above: one sentence's end.
pub(super) fn ask(
    process: &'static Process,
    config: &Config,
    preload: &Preload,
    url: &[u8],
) -> Result<(), String> {
    if !has_application(process, preload) {
        return Ok(());
    }
    let url = Url::parse(url);
    let script = Bytes::new(&preload.script);
    let id = format!("warm-up-{:016x}", RandomState::new().hash_one(std::process::id()));
    let pairs = [
        (&b"GATEWAY_INTERFACE"[..], &b"CGI/1.1"[..]),
        (b"SERVER_PROTOCOL", b"HTTP/1.1"),
        (b"SERVER_SOFTWARE", &config.server_description),
        (b"REQUEST_METHOD", b"GET"),
        (b"REQUEST_SCHEME", if url.https { b"https" } else { b"http" }),
        (b"SCRIPT_NAME", b""),
        (b"PATH_INFO", &url.path),
        (b"QUERY_STRING", url.query),
        (b"REQUEST_URI", url.uri),
        (b"SCRIPT_FILENAME", &preload.script),
        (b"SERVER_NAME", url.name),
        (b"SERVER_PORT", url.port),
        (b"HTTP_HOST", url.host),
        (b"HTTP_USER_AGENT", b"mod_wsgi warm-up"),
        (b"REMOTE_ADDR", b"127.0.0.1"),
        (b"mod_wsgi.process_group", &config.process_group),
        (b"mod_wsgi.application_group", &preload.application_group),
        (b"mod_wsgi.callable_object", CALLABLE),
        (b"mod_wsgi.script_name", b""),
        (b"mod_wsgi.path_info", &url.path),
        (b"mod_wsgi.request_handler", b"wsgi-script"),
        (b"mod_wsgi.warm_up", b"1"),
    ];
    let environ = pairs.map(|(name, value)| Pair::new(name, value));
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
        https: url.https,
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
    match reply {
        Err(fault) => Err(fault.text),
        Ok(reply) if reply.status >= 500 => {
            Err(format!("it answers {} with status {}", url.shown(), reply.status))
        }
        Ok(reply) if reply.kind == ReplyKind::Truncated && !nobody.is_full() => {
            Err(format!("its answer to {} breaks off", url.shown()))
        }
        Ok(_) => Ok(()),
    }
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

/// A URL in the parts that an environment has.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    https: bool,
    /// With the port, if it has one.
    host: &'a [u8],
    name: &'a [u8],
    port: &'a [u8],
    uri: &'a [u8],
    /// Without escapes.
    path: Vec<u8>,
    query: &'a [u8],
}

impl<'a> Url<'a> {
    /// What the configuration has checked.
    fn parse(url: &'a [u8]) -> Url<'a> {
        let https = url.starts_with(b"https://");
        let rest = url.strip_prefix(b"https://").or_else(|| url.strip_prefix(b"http://"));
        let (host, uri) = match rest {
            Some(rest) => cut(rest, |byte| byte == b'/').unwrap_or((rest, b"/")),
            None => (&b"localhost"[..], url),
        };
        let (path, query) = match cut(uri, |byte| byte == b'?') {
            Some((path, query)) => (path, query.get(1..).unwrap_or_default()),
            None => (uri, &b""[..]),
        };
        // The colons of an address in brackets are none of a port.
        let from = host.iter().rposition(|byte| *byte == b']').unwrap_or(0);
        let colon = host.get(from..).unwrap_or_default().iter().position(|byte| *byte == b':');
        let (name, port) = match colon.and_then(|at| host.split_at_checked(from + at)) {
            Some((name, port)) => (name, port.get(1..).unwrap_or_default()),
            None => (host, if https { &b"443"[..] } else { b"80" }),
        };
        Url { https, host, name, port, uri, path: unescape(path), query }
    }

    fn shown(&self) -> String {
        format!("'{}'", self.uri.escape_ascii())
    }
}

fn cut(text: &[u8], is_end: impl Fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    text.split_at_checked(text.iter().position(|byte| is_end(*byte))?)
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                plain.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    plain
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
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let path = Url::parse(b"/a%20b/%c3%A4%zz%4?x=%20");
        assert_eq!(
            (path.host, path.name, path.port),
            (&b"localhost"[..], &b"localhost"[..], &b"80"[..])
        );
        assert_eq!(path.path, b"/a b/\xc3\xa4%zz%4");
        assert_eq!((path.query, path.uri), (&b"x=%20"[..], &b"/a%20b/%c3%A4%zz%4?x=%20"[..]));
        let all = Url::parse(b"https://example.org:8443/x");
        assert_eq!((all.https, all.host), (true, &b"example.org:8443"[..]));
        assert_eq!((all.name, all.port), (&b"example.org"[..], &b"8443"[..]));
        assert_eq!((all.path.as_slice(), all.query), (&b"/x"[..], &b""[..]));
        let six = Url::parse(b"https://[::1]/");
        assert_eq!((six.name, six.port), (&b"[::1]"[..], &b"443"[..]));
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
