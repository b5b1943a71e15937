//! One request and its response.
//!
//! The request is kept until the first frame of the answer, for until then it can be sent again if it
//! was surely not looked at: the connection was closed under it (`EPIPE` while sending, `ECONNRESET`
//! before the first byte: the kernel says so only if bytes were left unread), or the worker said so
//! (DRAIN). A connection that ends without either may have run the request, which is then never
//! repeated.

mod again;
mod upload;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

use super::child::{Child, Chosen, Group};
use super::error::{Error, ErrorKind};
use super::event::{Event, Phase, understand};
use super::transfer::{is_readable, receive_within, send_all, wait_for};
use super::{Options, SLICE};
use crate::sys::{monotonic_us, unread};
use crate::wire::{self, Attempt, CancelReason, Decoder, Header, Hello, Kind};

/// One request and its response. Dropping it before its end closes the connection, which tells the
/// worker that the answer is not wanted.
#[derive(Debug)]
pub struct Exchange<'c> {
    child: &'c Child,
    group: &'c Arc<Group>,
    options: &'c Options,
    request: &'c mut [u8],
    begun: Instant,
    /// Since when it waits for a worker.
    queued: Instant,

    /// `None` once it is over.
    connection: Option<(OwnedFd, Chosen<'c>)>,
    /// Always there until dropped.
    decoder: Option<Decoder>,
    phase: Phase,
    id: u64,
    connects: u16,
    restarts: u16,
    /// The earliest generation that will do.
    generation: u32,
    /// How many attempts to make a new generation had failed when it was sent.
    failures: u32,
    /// For how many generations it has waited.
    waits: u32,
    /// Take what there is: a newer generation could not be had, or would be newer than the request.
    stay: bool,

    /// What the worker may still get in answer to READ.
    credit: Option<u32>,
    /// Bytes of the request's body that are not with the worker yet; negative if not known.
    body_left: i64,
    buffers: [Vec<u8>; 2],
}

/// What [`Exchange::wait`] has waited for; neither, if the time was up or a signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The worker has said something.
    pub worker: bool,
    /// The other one takes bytes.
    pub other: bool,
}

const NO_RESPONSE: &str = "there was no response in time";
const WAITED: &str = "it waited too long for a process";

impl Child {
    /// Sends a finished REQ to a worker of a group.
    ///
    /// # Errors
    /// There is no worker to take it; see [`ErrorKind`].
    ///
    /// # Panics
    /// `request` was not finished with [`wire::FieldWriter::finish`].
    pub fn send<'c>(
        &'c self,
        group: &'c Arc<Group>,
        request: &'c mut Vec<u8>,
        options: &'c Options,
    ) -> Result<Exchange<'c>, Error> {
        let (body_length, inline) = wire::body_of(request);
        let body_left = if body_length < 0 { -1 } else { body_length - inline };
        let begun = Instant::now();
        let mut exchange = Exchange {
            child: self,
            group,
            options,
            request,
            begun,
            queued: begun,
            connection: None,
            decoder: Some(self.decoder()),
            phase: Phase::Sent,
            id: self.number(),
            connects: 0,
            restarts: 0,
            generation: 0,
            failures: 0,
            waits: 0,
            stay: false,
            credit: None,
            body_left,
            buffers: [Vec::new(), Vec::new()],
        };
        exchange.start()?;
        Ok(exchange)
    }
}

impl Exchange<'_> {
    /// The next thing from the worker.
    ///
    /// # Errors
    /// There is no response, or it has broken off; see [`ErrorKind`].
    pub fn next_event(&mut self) -> Result<Event<'_>, Error> {
        if self.credit.is_some() {
            return Err(self.error(ErrorKind::Other, "the worker waits for the request's body"));
        }
        loop {
            match self.phase {
                Phase::Last { close } => {
                    self.end(close);
                    return Ok(Event::End);
                }
                Phase::Over => return Err(self.error(ErrorKind::Other, "it is over")),
                _ => {}
            }
            match self.peek()? {
                Some(header) if header.id != self.id => {
                    return Err(self.broken("an answer to another request"));
                }
                Some(header) if header.kind == Kind::Drain => self.again()?,
                Some(header) if header.kind == Kind::Err => {
                    if self.is_to_be_repeated()? {
                        self.later()?;
                    } else {
                        break;
                    }
                }
                Some(_) => break,
                None => self.receive()?,
            }
        }
        self.event()
    }

    /// Whether there is a next event already, or within `limit`.
    pub fn is_ready(&mut self, limit: Duration) -> bool {
        if matches!(self.phase, Phase::Last { .. } | Phase::Over)
            || !matches!(self.decoder().peek(), Ok(None))
        {
            return true;
        }
        self.connection.as_ref().is_none_or(|(fd, _)| is_readable(fd.as_fd(), limit))
    }

    /// Whether the next event is a part of the response's body; `None` if more of it has to come
    /// before that is known. Does not wait.
    pub fn is_body_next(&mut self) -> Option<bool> {
        if self.credit.is_some() || matches!(self.phase, Phase::Last { .. } | Phase::Over) {
            return Some(false);
        }
        if let (Some((fd, _)), Some(decoder)) = (&self.connection, &mut self.decoder)
            && matches!(decoder.peek(), Ok(None))
        {
            match recv(fd, decoder.space(), RecvFlags::DONTWAIT) {
                Ok((_, count)) if count > 0 => decoder.filled(count),
                Err(Errno::AGAIN | Errno::INTR) => return None,
                // Whoever asks for the event is told.
                _ => return Some(false),
            }
        }
        match self.decoder().peek() {
            Ok(None) => None,
            Ok(Some(header)) => Some(header.kind == Kind::Body && header.id == self.id),
            Err(_) => Some(false),
        }
    }

    /// Waits until there is a next event, if `worker` (then it may wait for the rest of it), or until
    /// `other` takes bytes, or is broken; at most for `limit`.
    pub fn wait(&mut self, other: BorrowedFd<'_>, worker: bool, limit: Duration) -> Ready {
        let there = matches!(self.phase, Phase::Last { .. } | Phase::Over)
            || !matches!(self.decoder().peek(), Ok(None));
        let connection = self.connection.as_ref().map(|(fd, _)| fd.as_fd());
        let there = there || connection.is_none();
        let limit = if worker && there { Duration::ZERO } else { limit };
        let (readable, other) = wait_for(connection.filter(|_| worker && !there), other, limit);
        Ready { worker: worker && (there || readable), other }
    }

    /// Gives up, telling the worker why.
    pub fn cancel(mut self, reason: CancelReason) {
        self.hang_up(reason);
    }

    /// The worker's process.
    pub fn worker(&self) -> Option<i32> {
        self.connection.as_ref().map(|(_, chosen)| chosen.pid)
    }

    /// The generation of that process.
    pub fn generation(&self) -> Option<u32> {
        self.connection.as_ref().map(|(_, chosen)| chosen.generation)
    }

    /// Connections that were tried for this request.
    pub fn connects(&self) -> u16 {
        self.connects
    }

    /// Workers it met that were going away.
    pub fn restarts(&self) -> u16 {
        self.restarts
    }

    /// Finds a worker and sends the request, again if need be.
    fn start(&mut self) -> Result<(), Error> {
        loop {
            self.connection = None;
            if u32::from(self.restarts) > 2 * self.group.slots() + 1 {
                let text = "its processes went away one after another";
                return Err(self.error(ErrorKind::TooManyRestarts, text));
            }
            // Before the request is sent: what it brings about may have failed before we hear of it.
            self.failures = self.child.board.failures(self.group.number());
            let limits = [self.queue_until(), self.deadline()];
            let until = limits.into_iter().flatten().min();
            let until = until.map_or(self.connect_until(), |at| at.min(self.connect_until()));
            let chosen = self.child.choose(self.group, self.generation, self.options, until);
            let chosen = chosen.map_err(|error| self.by_time(error))?;
            let idle = self.child.idle(self.group, &chosen, self.options.domain);
            let is_new = idle.is_none();
            let fd = match idle {
                Some(fd) => fd,
                None => {
                    self.connects = self.connects.saturating_add(1);
                    self.child.connect(self.group, &chosen, self.options)?
                }
            };
            let hello = is_new.then(|| {
                let domain = self.options.domain;
                let group = self.group.number();
                Hello { abi: wire::ABI, domain, group, epoch: chosen.epoch }.encode()
            });
            let queue_deadline = self.queue_deadline();
            let Exchange { id, connects, restarts, stay, .. } = *self;
            let attempt = Attempt { id, queue_deadline, connects, restarts, stay };
            wire::stamp(self.request, &attempt);
            self.connection = Some((fd, chosen));
            self.phase = Phase::Sent;
            let hello = hello.as_deref().unwrap_or_default();
            let pieces = [hello, &*self.request];
            let Some((fd, chosen)) = &self.connection else { continue };
            let sent = send_all(fd.as_fd(), &pieces, self.options.socket_timeout, || {
                self.child.board.is_over(chosen.in_flight.slot(), chosen.epoch)
            });
            match sent {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.child.forget(self.group, chosen);
                    if is_new {
                        self.restarts = self.restarts.saturating_add(1);
                    }
                }
                Err(error) => {
                    let kind = match error.kind() {
                        io::ErrorKind::WouldBlock => ErrorKind::SendTimeout,
                        _ => ErrorKind::Other,
                    };
                    return Err(Error { worker: self.worker(), ..Error::io(kind, &error) });
                }
            }
        }
    }

    fn connect_until(&self) -> Instant {
        self.queued + self.options.connect_timeout
    }

    /// When it has waited for too long, unless somebody looks at it.
    fn queue_until(&self) -> Option<Instant> {
        self.options.queue_timeout.map(|limit| self.queued + limit)
    }

    /// The same for the worker, in microseconds of the clock that all processes share; 0 for never.
    fn queue_deadline(&self) -> u64 {
        self.options.queue_timeout.map_or(0, |limit| {
            let waited = self.queued.elapsed().as_micros() as u64;
            let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
            monotonic_us().saturating_sub(waited).saturating_add(limit)
        })
    }

    /// When there must be a response.
    fn deadline(&self) -> Option<Instant> {
        let before_head = self.phase != Phase::Head;
        self.options.deadline.filter(|_| before_head).map(|limit| self.begun + limit)
    }

    fn is_past(limit: Option<Instant>) -> bool {
        limit.is_some_and(|at| Instant::now() >= at)
    }

    /// That no worker could be had in time is told by the time that was up first.
    fn by_time(&self, error: Error) -> Error {
        let waited = matches!(error.kind, ErrorKind::NotReady | ErrorKind::Full);
        if waited && Self::is_past(self.deadline()) {
            return self.error(ErrorKind::Deadline, NO_RESPONSE);
        }
        if waited && Self::is_past(self.queue_until()) {
            return self.error(ErrorKind::QueueTimeout, WAITED);
        }
        error
    }

    fn decoder(&mut self) -> &mut Decoder {
        self.decoder.get_or_insert_with(|| self.child.decoder())
    }

    fn peek(&mut self) -> Result<Option<Header>, Error> {
        match self.decoder().peek() {
            Ok(header) => Ok(header),
            Err(error) => Err(self.broken(error.0)),
        }
    }

    /// Makes an event of the item that is there.
    fn event(&mut self) -> Result<Event<'_>, Error> {
        let worker = self.worker();
        let after_head = self.phase == Phase::Head;
        let Exchange { decoder, phase, credit, connection, .. } = self;
        let item = match decoder {
            Some(decoder) => decoder.take(),
            None => Ok(None),
        };
        let event = match item {
            Ok(Some(item)) => understand(item, phase, credit),
            Ok(None) => Err((ErrorKind::Malformed, "nothing")),
            Err(error) => Err((ErrorKind::Malformed, error.0)),
        };
        event.map_err(|(kind, text)| {
            *connection = None;
            *phase = Phase::Over;
            Error { worker, after_head, ..Error::new(kind, text) }
        })
    }

    /// Receives something more.
    fn receive(&mut self) -> Result<(), Error> {
        let mut silent = None;
        let mut queue_until = self.queue_until().filter(|_| self.phase == Phase::Sent);
        let deadline = self.deadline();
        loop {
            // Whatever else the worker says meanwhile.
            if Self::is_past(deadline) {
                return Err(self.too_late());
            }
            let Some((fd, chosen)) = &self.connection else {
                return Err(self.error(ErrorKind::Other, "it is over"));
            };
            let slot = (chosen.in_flight.slot(), chosen.epoch);
            let decoder = match &mut self.decoder {
                Some(decoder) => decoder,
                slot => slot.insert(self.child.decoder()),
            };
            let next = [queue_until, deadline].into_iter().flatten().min();
            let left = next.map_or(SLICE, |at| at.saturating_duration_since(Instant::now()));
            let left = left.min(SLICE);
            match receive_within(fd.as_fd(), decoder.space(), left) {
                Ok(0) => return Err(self.closed()),
                Ok(count) => {
                    decoder.filled(count);
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let now = Instant::now();
                    // The clock is not asked before something has to be waited for.
                    let silent =
                        *silent.get_or_insert_with(|| now.checked_sub(left).unwrap_or(now));
                    if queue_until.is_some_and(|at| now >= at) {
                        if unread(fd.as_fd()) > 0 {
                            let error = self.error(ErrorKind::QueueTimeout, WAITED);
                            self.drop_connection();
                            return Err(error);
                        }
                        queue_until = None;
                    }
                    if now - silent >= self.options.socket_timeout {
                        let text = "the timeout has expired";
                        let error = self.error(ErrorKind::Timeout, text);
                        self.hang_up(CancelReason::Deadline);
                        return Err(error);
                    }
                    if self.child.board.is_over(slot.0, slot.1) {
                        return self.receive_last_words();
                    }
                }
                Err(Errno::CONNRESET)
                    if self.phase == Phase::Sent && decoder.is_between_frames() =>
                {
                    return self.again();
                }
                Err(error) => {
                    let error: io::Error = error.into();
                    let errno = error.raw_os_error();
                    return Err(Error { errno, ..self.closed() });
                }
            }
        }
    }

    /// The worker has ended, though the connection is open: that is the doing of a process it has left
    /// behind. What it said before lies here already, if it said anything.
    fn receive_last_words(&mut self) -> Result<(), Error> {
        let (Some((fd, _)), Some(decoder)) = (&self.connection, &mut self.decoder) else {
            return Err(self.closed());
        };
        match recv(fd, decoder.space(), RecvFlags::DONTWAIT) {
            Ok((_, count)) if count > 0 => {
                decoder.filled(count);
                Ok(())
            }
            // Nobody runs what was not read to its end.
            _ if self.phase == Phase::Sent
                && decoder.is_between_frames()
                && unread(fd.as_fd()) > 0 =>
            {
                self.again()
            }
            _ => Err(self.closed()),
        }
    }

    /// There is no response in the time for it.
    fn too_late(&mut self) -> Error {
        let error = self.error(ErrorKind::Deadline, NO_RESPONSE);
        self.hang_up(CancelReason::Deadline);
        error
    }

    /// The worker says nothing more.
    fn closed(&mut self) -> Error {
        let error = match self.phase {
            Phase::Head => self.error(ErrorKind::Truncated, "the response was cut short"),
            _ => self.error(ErrorKind::Closed, "the connection was closed before a response"),
        };
        self.drop_connection();
        error
    }

    fn broken(&mut self, text: &'static str) -> Error {
        let error = self.error(ErrorKind::Malformed, text);
        self.drop_connection();
        error
    }

    fn error(&self, kind: ErrorKind, text: &'static str) -> Error {
        let after_head = self.phase == Phase::Head;
        Error { worker: self.worker(), after_head, ..Error::new(kind, text) }
    }

    /// Says something that is no request.
    fn say(&mut self, pieces: &[&[u8]]) -> Result<(), Error> {
        let deadline = self.deadline();
        if Self::is_past(deadline) {
            return Err(self.too_late());
        }
        let timeout = self.options.socket_timeout;
        let timeout = deadline
            .map_or(timeout, |at| at.saturating_duration_since(Instant::now()).min(timeout));
        let Some((fd, chosen)) = &self.connection else {
            return Err(self.error(ErrorKind::Other, "it is over"));
        };
        let sent = send_all(fd.as_fd(), pieces, timeout, || {
            self.child.board.is_over(chosen.in_flight.slot(), chosen.epoch)
        });
        match sent {
            Ok(()) => Ok(()),
            Err(_) if Self::is_past(deadline) => Err(self.too_late()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let error = self.error(ErrorKind::Timeout, "the timeout has expired");
                self.drop_connection();
                Err(error)
            }
            Err(_) => Err(self.closed()),
        }
    }

    /// The response is complete.
    fn end(&mut self, close: bool) {
        let clean = self.decoder().is_between_frames();
        if let Some((fd, chosen)) = self.connection.take()
            && clean
            && !close
        {
            self.child.keep(self.group, &chosen, fd, self.options);
        }
        self.phase = Phase::Over;
    }

    fn hang_up(&mut self, reason: CancelReason) {
        if let Some((fd, chosen)) = self.connection.take() {
            let frame = wire::encode_cancel(self.id, reason);
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            // A request that was not looked at will not be, once its connection is closed.
            let seen = unread(fd.as_fd()) == 0;
            let _ = rustix::net::send(&fd, &frame, flags);
            if seen {
                self.child.abandon(fd, chosen);
            }
        }
        self.drop_connection();
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        self.phase = Phase::Over;
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if self.connection.is_some() {
            match self.phase {
                // The last event was taken, only the word that it was the last was not.
                Phase::Last { close } => self.end(close),
                _ => self.hang_up(CancelReason::ClientGone),
            }
        }
        if let Some(decoder) = self.decoder.take() {
            self.child.give_back(decoder);
        }
    }
}
