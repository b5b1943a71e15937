//! Asking workers, as a child of a server would.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use daemon::client::{Child, Error, Event, Exchange, Group, Options, Part};
use daemon::wire::{EnvironWriter, Facts, Value, field};

/// How to ask.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub body: &'a [u8],
    /// How much of it comes with the request.
    pub inline: usize,
    /// Its length is not known before.
    pub chunked: bool,
    /// What does not come with the request is in a file.
    pub in_file: bool,
    pub pairs: &'a [(&'a str, &'a str)],
    pub options: Options,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let options = Options {
            connect_timeout: 20 * second,
            socket_timeout: 10 * second,
            ..Options::default()
        };
        Ask { body: b"", inline: 0, chunked: false, in_file: false, pairs: &[], options }
    }
}

impl Ask<'_> {
    /// Asks, and takes all that comes.
    pub fn send(&self, child: &Child, group: &Arc<Group>, path: &str) -> Response {
        self.send_then(child, group, path, || {})
    }

    /// Asks, does something when the request was sent, and takes all that comes.
    pub fn send_then(
        &self,
        child: &Child,
        group: &Arc<Group>,
        path: &str,
        then: impl FnOnce(),
    ) -> Response {
        let mut request = self.request(path);
        match child.send(group, &mut request, &self.options) {
            Ok(exchange) => {
                then();
                take(exchange, &self.body[self.inline..], self.in_file)
            }
            Err(error) => Response { error: Some(error), ..Response::default() },
        }
    }

    pub fn request(&self, path: &str) -> Vec<u8> {
        let length = if self.chunked { -1 } else { self.body.len() as i64 };
        let mut request = Vec::new();
        let facts = Facts { body_length: length, ..Facts::default() };
        let mut environ = EnvironWriter::new(&mut request, &facts);
        environ.pair(b"PATH", path.as_bytes());
        let domain = self.options.domain.to_string();
        environ.pair(b"DOMAIN", domain.as_bytes());
        for (name, value) in self.pairs {
            environ.pair(name.as_bytes(), value.as_bytes());
        }
        let mut fields = environ.fields();
        fields.field(field::REQUEST_ID, Value::Bytes(path.as_bytes()));
        fields.finish(&self.body[..self.inline], self.inline == self.body.len()).unwrap();
        request
    }
}

/// All that came in answer.
#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    pub name: String,
    pub body: Vec<u8>,
    pub rendered: Option<(u16, Vec<u8>)>,
    pub logged: Vec<Vec<u8>>,
    pub flushes: usize,
    pub reads: usize,
    pub ended: bool,
    pub error: Option<Error>,
    pub restarts: u16,
    pub worker: i32,
}

impl Response {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn is_hello(&self) -> bool {
        self.ended && self.status == 200 && self.body == b"Hello"
    }
}

/// What is in a file before the body.
const BEFORE: &[u8] = b"something else";

/// A file with a body in it, for reading.
fn file_of(body: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(BEFORE).unwrap();
    file.write_all(body).unwrap();
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

/// Takes the whole response; `left` is what did not come with the request.
fn take(mut exchange: Exchange<'_>, mut left: &[u8], in_file: bool) -> Response {
    let mut response = Response::default();
    loop {
        // It may have gone to another one meanwhile.
        response.worker = exchange.worker().unwrap_or(response.worker);
        match exchange.next_event() {
            Ok(Event::Head { head, flush, .. }) => {
                response.flushes += usize::from(flush);
                response.status = head.status();
                response.name =
                    head.headers().map(|(_, v)| String::from_utf8_lossy(v).into_owned()).collect();
            }
            Ok(Event::Body { bytes, flush, .. }) => {
                response.body.extend_from_slice(bytes);
                response.flushes += usize::from(flush);
            }
            Ok(Event::Read(_)) if in_file => {
                response.reads += 1;
                let file = file_of(left);
                exchange.file(file.as_fd(), BEFORE.len() as u64, left.len() as u64).unwrap();
            }
            Ok(Event::Read(credit)) => {
                response.reads += 1;
                let pulled = exchange.pull(credit, |buffer, _| {
                    let count = left.len().min(buffer.len()).min(30_000);
                    buffer[..count].copy_from_slice(&left[..count]);
                    left = &left[count..];
                    Ok(if count == 0 { Part::End } else { Part::Bytes(count) })
                });
                if let Err(error) = pulled {
                    response.error = Some(error);
                    break;
                }
            }
            Ok(Event::Log(records)) => {
                response.logged.extend(records.iter().map(|record| record.text.to_vec()));
            }
            Ok(Event::Render { status, text }) => {
                response.rendered = Some((status, text.to_vec()));
            }
            Ok(Event::End) => {
                response.ended = true;
                break;
            }
            Err(error) => {
                response.error = Some(error);
                break;
            }
        }
    }
    response.restarts = exchange.restarts();
    response
}
