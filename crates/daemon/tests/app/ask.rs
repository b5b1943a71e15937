//! Asking workers, as a child of a server would.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

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
    pub pairs: &'a [(&'a str, &'a str)],
    pub options: Options,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let options = Options {
            connect_timeout: 5 * second,
            socket_timeout: 10 * second,
            ..Options::default()
        };
        Ask { body: b"", inline: 0, chunked: false, pairs: &[], options }
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
                take(exchange, &self.body[self.inline..])
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

/// Takes the whole response; `left` is what did not come with the request.
fn take(mut exchange: Exchange<'_>, mut left: &[u8]) -> Response {
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
