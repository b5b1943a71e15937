//! One request's server, as `wsgi-core` wants it, over a body and a channel.
//!
//! The request's body is polled by the thread that runs Python: nothing is read before the
//! application asks (which is when hyper tells a client that expects `100-continue` to go on), and
//! no more than it asks for. The response goes through a bounded channel, so an application is as
//! fast as its client. What can be done without waiting is done without giving the GIL away.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use wsgi_core::{Fault, FaultKind, Flags, Head, Host, Record};

use crate::body::{Body, Part};
use crate::buffers::{Buffers, PIECE};
use crate::leftover::Leftover;
use crate::log::Log;
use crate::wait;

/// Parts that may wait for the client.
const PARTS: usize = 8;

/// A request's body, whatever its type was.
pub(crate) type Incoming =
    Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> + Send>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Forgets the type of a body; `None` where there is none.
pub(crate) fn incoming<B>(body: B) -> Option<Incoming>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return None;
    }
    let mut body = Box::pin(body);
    Some(Box::new(move |context| {
        loop {
            return Poll::Ready(match std::task::ready!(body.as_mut().poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    // No copy where the data is `Bytes` already.
                    Ok(mut data) => Some(Ok(data.copy_to_bytes(data.remaining()))),
                    // Trailers have no place in WSGI.
                    Err(_) => continue,
                },
                Some(Err(error)) => Some(Err(error.into())),
                None => None,
            });
        }
    }))
}

/// Where the answer goes, with what was not read if the response is complete.
pub(crate) type Answer = oneshot::Sender<(http::Response<Body>, Option<Leftover>)>;

/// The server of one request.
pub(crate) struct Exchange {
    incoming: Option<Incoming>,
    /// The client sends its body only when asked to.
    waits: bool,
    /// The application has asked.
    asked: bool,
    /// What was received and not yet read.
    received: Bytes,
    /// Until the head is sent.
    answer: Option<Answer>,
    /// From the head to the end.
    parts: Option<mpsc::Sender<Part>>,
    /// How much of the chunks that are being sent is on its way, where a try did not do it all.
    begun: usize,
    buffers: Arc<Buffers>,
    limit: Duration,
    log: Log,
}

impl Exchange {
    pub(crate) fn new(
        incoming: Option<Incoming>,
        waits: bool,
        answer: Answer,
        buffers: Arc<Buffers>,
        limit: Duration,
        log: Log,
    ) -> Exchange {
        let (received, answer) = (Bytes::new(), Some(answer));
        let (asked, parts, begun) = (false, None, 0);
        Exchange { incoming, waits, asked, received, answer, parts, begun, buffers, limit, log }
    }

    /// Sends all of a response, if none was begun.
    pub(crate) fn send(&mut self, response: http::Response<Body>) -> Result<(), Fault> {
        let leftover = leftover(&mut self.incoming, self.asked || !self.waits);
        self.answer(response, leftover)
    }

    fn answer(
        &mut self,
        response: http::Response<Body>,
        leftover: Option<Leftover>,
    ) -> Result<(), Fault> {
        let Some(answer) = self.answer.take() else { return Ok(()) };
        answer.send((response, leftover)).map_err(|_| client_gone())
    }

    /// Hands out what was received.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.received.len().min(buffer.len());
        self.received.copy_to_slice(&mut buffer[..count]);
        count
    }

    /// Makes `received` have something in it, unless the body is at its end.
    fn receive(&mut self, next: Option<Result<Bytes, BoxError>>) -> Result<(), Fault> {
        match next {
            Some(Ok(data)) => self.received = data,
            None => self.incoming = None,
            Some(Err(error)) => {
                self.incoming = None;
                let text = format!("the request's body broke off: {error}");
                return Err(Fault::new(FaultKind::ClientGone, text));
            }
        }
        Ok(())
    }

    /// Sends a response that is complete, or the head of one that is not.
    fn begin(&mut self, head: &Head, chunks: &[&[u8]], flags: Flags) -> Result<(), Fault> {
        let length: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        if flags.has(Flags::END) && length <= PIECE {
            let body = match chunks {
                [chunk] => self.buffers.copy(chunk),
                _ => chunks.concat().into(),
            };
            return self.send(response(head, Body::whole(body)));
        }
        let (sender, receiver) = mpsc::channel(PARTS);
        self.parts = Some(sender);
        self.answer(response(head, Body::stream(receiver)), None)
    }

    /// Sends parts from where an earlier try stopped, as long as `room` gets places for them.
    fn pieces(
        &mut self,
        chunks: &[&[u8]],
        flags: Flags,
        room: impl for<'a> Fn(&'a mpsc::Sender<Part>) -> Result<mpsc::Permit<'a, Part>, Stopped>,
    ) -> Result<(), Stopped> {
        let Some(parts) = &self.parts else { return Ok(()) };
        let mut skip = self.begun;
        for chunk in chunks {
            let mut rest = chunk.get(skip.min(chunk.len())..).unwrap_or_default();
            skip = skip.saturating_sub(chunk.len());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(rest.len().min(PIECE));
                room(parts)?.send(Part::Data(self.buffers.copy(piece)));
                self.begun += piece.len();
                rest = tail;
            }
        }
        if flags.has(Flags::END) {
            let room = room(parts)?;
            room.send(Part::End(leftover(&mut self.incoming, self.asked || !self.waits)));
        }
        if flags.has(Flags::END) || flags.has(Flags::TRUNCATED) {
            self.parts = None;
        }
        self.begun = 0;
        Ok(())
    }
}

/// Why no more parts were taken.
enum Stopped {
    Full,
    Gone,
    Slow,
}

impl Host for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.asked = true;
        while self.received.is_empty() {
            let Some(incoming) = &mut self.incoming else { return Ok(0) };
            let Some(next) = wait::wait(self.limit, incoming) else {
                let text = "the client sent nothing for too long";
                return Err(Fault::new(FaultKind::Timeout, text).with_status(408));
            };
            self.receive(next)?;
        }
        Ok(self.take(buffer))
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        self.asked = true;
        while self.received.is_empty() {
            let Some(incoming) = &mut self.incoming else { return Some(Ok(0)) };
            match wait::poll(incoming) {
                Poll::Pending => return None,
                Poll::Ready(next) => {
                    if let Err(fault) = self.receive(next) {
                        return Some(Err(fault));
                    }
                }
            }
        }
        Some(Ok(self.take(buffer)))
    }

    fn respond(
        &mut self,
        head: Option<&Head>,
        chunks: &[&[u8]],
        flags: Flags,
    ) -> Result<(), Fault> {
        if let (Some(head), true) = (head, self.answer.is_some()) {
            self.begin(head, chunks, flags)?;
        }
        let limit = self.limit;
        let sent = self.pieces(chunks, flags, |parts| {
            match wait::wait_for(limit, pin!(parts.reserve())) {
                None => Err(Stopped::Slow),
                Some(permit) => permit.map_err(|_| Stopped::Gone),
            }
        });
        match sent {
            Ok(()) => Ok(()),
            Err(Stopped::Slow) => {
                self.parts = None;
                let text = "the client took nothing for too long";
                Err(Fault::new(FaultKind::Timeout, text))
            }
            Err(Stopped::Gone | Stopped::Full) => {
                self.parts = None;
                Err(client_gone())
            }
        }
    }

    fn try_respond(
        &mut self,
        head: Option<&Head>,
        chunks: &[&[u8]],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        if let (Some(head), true) = (head, self.answer.is_some())
            && let Err(fault) = self.begin(head, chunks, flags)
        {
            return Some(Err(fault));
        }
        let sent = self.pieces(chunks, flags, |parts| {
            parts.try_reserve().map_err(|error| match error {
                TrySendError::Full(()) => Stopped::Full,
                TrySendError::Closed(()) => Stopped::Gone,
            })
        });
        match sent {
            Ok(()) => Some(Ok(())),
            Err(Stopped::Full) => None,
            Err(Stopped::Gone | Stopped::Slow) => {
                self.parts = None;
                Some(Err(client_gone()))
            }
        }
    }

    fn send_file(
        &mut self,
        head: Option<&Head>,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        let mut head = head;
        let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
        let mut sent = 0;
        while sent < length {
            let room = usize::try_from(length - sent).unwrap_or(PIECE).min(buffer.len());
            let count =
                rustix::io::pread(file, &mut buffer[..room], offset + sent).map_err(broken_file)?;
            if count == 0 {
                // Shorter than it was thought to be: what is missing must show.
                self.respond(head, &[], Flags::TRUNCATED)?;
                return Ok(sent);
            }
            self.respond(head.take(), &[&buffer[..count]], Flags::NONE)?;
            sent += count as u64;
        }
        self.respond(head, &[], flags)?;
        Ok(sent)
    }

    fn log(&mut self, records: &[Record<'_>]) {
        self.log.log(records);
    }

    fn client_gone(&mut self) -> bool {
        match (&self.answer, &self.parts) {
            (Some(answer), _) => answer.is_closed(),
            (None, Some(parts)) => parts.is_closed(),
            (None, None) => false,
        }
    }
}

/// What the application did not read. A client that waits for `100-continue` has not sent it unless
/// it was `asked` to, and is not asked now.
fn leftover(incoming: &mut Option<Incoming>, asked: bool) -> Option<Leftover> {
    incoming.take().filter(|_| asked).map(Leftover::new)
}

fn client_gone() -> Fault {
    Fault::new(FaultKind::ClientGone, "the client closed the connection")
}

fn broken_file(error: rustix::io::Errno) -> Fault {
    let text = format!("the file cannot be read: {error}");
    Fault::new(FaultKind::Other, text).with_errno(error.raw_os_error())
}

/// A response with this head.
pub(crate) fn response(head: &Head, body: Body) -> http::Response<Body> {
    let mut response = http::Response::new(body);
    // The engine lets no other status through.
    *response.status_mut() = http::StatusCode::from_u16(head.status()).unwrap_or_default();
    let headers = response.headers_mut();
    headers.reserve(head.headers().len());
    for (name, value) in head.headers() {
        // Nor any other name or value.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    #[cfg(feature = "hyper")]
    if let Some(reason) = head.reason()
        && response.status().canonical_reason().map(str::as_bytes) != Some(reason)
        && let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason)
    {
        response.extensions_mut().insert(reason);
    }
    response
}
