//! The way of a response to its client, which may be slower than the worker that makes it.
//!
//! As long as the client keeps up, everything is handed to the server at once. When its socket is
//! full, what comes from the worker waits in a [`Spool`] and goes out as the socket takes it; so the
//! worker is free as soon as it has sent everything. What is left by then is given to the server as a
//! file, for which an event-driven MPM needs no thread. When the spool is full, the worker waits for
//! the client, as it would without any of this.
//!
//! A stream of HTTP/2 has no socket of its own, which [`stream`] is about.
//!
//! The server keeps less than 64 KiB that a socket does not take, and waits if there is more. So it is
//! given less than that, and only when it keeps nothing.
//! <https://httpd.apache.org/docs/2.4/mod/core.html#flushmaxthreshold>

mod stream;

use std::io;
use std::time::{Duration, Instant};

use daemon::client::{Exchange, Room, is_writable};
use engine_api::{Bytes, Fault, FaultKind, Flags, Host};
use httpd_sys::Level;

use super::client::Line;
use super::spool::{Limits, Rest, Spool};
use crate::host::RequestHost;
use crate::log;

/// Most that the server is given at a time.
const PIECE: usize = 32 << 10;
/// Up to so many bytes are flushed at once: a socket that takes anything takes these.
const LITTLE: usize = 8 << 10;
/// Bytes of a response that go to a stream before anything is collected. The server keeps 64 KiB of each
/// (`H2StreamMaxMemSize`), its head included, and waits for the client with what is more.
const FIRST: u64 = 48 << 10;
/// Time between two looks whether other responses have left room.
const LOOK: Duration = Duration::from_millis(100);

/// A response on its way.
pub(super) struct Drain<'a> {
    /// `None` if the worker is to wait for the client.
    spool: Option<Spool<'a>>,
    /// How long to wait for more before the client gets what there is.
    flush_delay: Duration,
    /// Bytes after which there is a flush in any case.
    flush_limit: usize,
    /// How long the client may take nothing.
    patience: Duration,
    /// That is not the server's own timeout, so the rest of a response is not left to the server.
    stays: bool,
    /// The server has data that it may hold back until it is flushed.
    pending: bool,
    /// There is to be a flush once the server has all that waits.
    due: bool,
    /// Bytes since the last flush.
    unflushed: usize,
    /// Bytes of the body that the server has been given.
    sent: u64,
    /// Since when something is in the spool.
    since: Option<Instant>,
    /// The server has been told that the response is complete.
    complete: bool,
    /// When the client last took something, or could have.
    moved: Instant,
    /// For how long the worker has waited because a file could not be made or written.
    held: Duration,
    /// The log says already that the worker may have to wait.
    warned: bool,
}

impl<'a> Drain<'a> {
    pub(super) fn new(
        host: &RequestHost<'_, '_>,
        limits: Option<Limits<'a>>,
        line: &Line,
        room: Room<'static>,
    ) -> Drain<'a> {
        let request = host.request();
        let patience = request.connection().timeout();
        Drain {
            spool: limits.map(|limits| Spool::new(limits, Some(room))),
            flush_delay: line.flush_delay,
            flush_limit: line.flush_limit,
            patience: patience.unwrap_or_else(|| request.server().timeout()),
            stays: line.client_timeout.is_some(),
            pending: false,
            due: false,
            unflushed: 0,
            sent: 0,
            since: None,
            complete: false,
            moved: Instant::now(),
            held: Duration::ZERO,
            warned: false,
        }
    }

    /// Whether what an application wants to be sent goes out at once. If not, parts that follow each
    /// other closely go out together, after a pause of `response-flush-delay`.
    pub(super) fn flushes(&self, wanted: bool) -> bool {
        wanted && self.flush_delay.is_zero()
    }

    /// The server has the head.
    pub(super) fn has_head(&mut self, flushed: bool, complete: bool) {
        self.pending = !flushed && !complete;
        self.complete = complete;
    }

    /// Serves the client until the worker has something to say, or until the client has everything:
    /// then the caller waits for the worker.
    pub(super) fn turn(
        &mut self,
        exchange: &mut Exchange<'_>,
        host: &mut RequestHost<'_, '_>,
    ) -> Result<(), Fault> {
        loop {
            let waiting = !self.is_empty();
            if !waiting && !self.pending {
                return Ok(());
            }
            if !waiting && !self.due && exchange.is_ready(self.flush_delay) {
                return Ok(());
            }
            let Some(socket) = host.request().connection().socket() else {
                return self.turn_of_stream(exchange, host);
            };
            if !waiting && !self.is_behind(host) {
                return self.flush(host);
            }
            let full = self.is_full();
            if full {
                self.warn(host, "The buffer for a response to a slow client is full");
            }
            let left = self.patience.saturating_sub(self.moved.elapsed());
            let others = self.spool.as_ref().is_some_and(Spool::is_over);
            let asked = Instant::now();
            let ready = exchange.wait(socket, !full, if others { left.min(LOOK) } else { left });
            if full && self.spool.as_ref().is_some_and(Spool::has_failed) {
                self.hold(host, asked.elapsed())?;
            }
            if ready.other {
                self.moved = Instant::now();
                if waiting {
                    self.advance(host)?;
                } else {
                    host.request().connection().push_unsent();
                }
            }
            if host.request().connection().aborted() {
                return Err(Fault::new(FaultKind::ClientGone, "the client has gone"));
            }
            if !ready.other && self.moved.elapsed() >= self.patience {
                return Err(Fault::new(FaultKind::Timeout, "the client takes nothing"));
            }
            if ready.worker {
                return Ok(());
            }
        }
    }

    /// The worker has waited for so much longer because a disk is full or the like. It has other things
    /// to do, so that is limited.
    fn hold(&mut self, host: &RequestHost<'_, '_>, time: Duration) -> Result<(), Fault> {
        self.held += time;
        if self.held < self.patience {
            return Ok(());
        }
        let text = "A response to a slow client is cut short: it cannot be buffered in a file, and \
                    its process has waited for as long as a client may.";
        log::text(host.request(), Level::Error, text);
        Err(Fault::new(FaultKind::ClientGone, "the client is too slow"))
    }

    /// Passes on a part of the body.
    pub(super) fn body(
        &mut self,
        host: &mut RequestHost<'_, '_>,
        bytes: &[u8],
        flush: bool,
        end: bool,
    ) -> Result<(), Fault> {
        self.unflushed += bytes.len();
        if self.unflushed >= self.flush_limit {
            self.unflushed = 0;
            self.due = true;
        }
        self.due |= self.flushes(flush);
        let mut rest = bytes;
        while self.is_empty() && (!rest.is_empty() || end) && self.takes(host, rest.len(), end) {
            let most = if self.spool.is_some() { PIECE } else { usize::MAX };
            let piece = rest.split_at_checked(most).map_or(rest, |(piece, _)| piece);
            rest = rest.get(piece.len()..).unwrap_or_default();
            let last = rest.is_empty();
            let at_once = last && (self.spool.is_none() || piece.len() <= LITTLE);
            let flags = match (last && end, self.due && at_once) {
                (true, _) => Flags::END,
                (false, true) => Flags::FLUSH,
                (false, false) => Flags::NONE,
            };
            self.send(host, piece, flags)?;
            if self.complete {
                return Ok(());
            }
        }
        if !rest.is_empty() {
            self.keep(host, rest);
        }
        Ok(())
    }

    /// The worker has sent everything: sends what is left, waiting for the client.
    pub(super) fn finish(mut self, host: &mut RequestHost<'_, '_>) -> Result<(), Fault> {
        if self.complete {
            return Ok(());
        }
        if self.stays {
            self.write_out(host)?;
        }
        let Some(mut spool) = self.spool.take() else {
            return host.respond(None, &[], Flags::END);
        };
        if let Some(room) = spool.take_room().filter(|_| !spool.is_empty()) {
            // What the server is given stays with the request until the client has it.
            host.request().pool().keep(room);
        }
        if spool.in_memory() > LITTLE {
            // Without a file the server waits.
            let _ = spool.settle();
        }
        let Rest { head, files, tail } = spool.rest();
        respond(host, head, Flags::NONE)?;
        host.allow_sendfile();
        for (fd, from, length) in files.into_iter().flatten() {
            if host.send_file(None, fd, from, length, Flags::NONE)? != length {
                return Err(Fault::new(FaultKind::Other, "a file of buffered data has shrunk"));
            }
        }
        respond(host, tail, Flags::END)
    }

    /// Gives the server all there is, waiting for the client.
    // A function that has more than a page of the stack touches all of it first. Were this part of its
    // caller, each request would do that, and each thread keep the memory.
    #[inline(never)]
    pub(super) fn write_out(&mut self, host: &mut RequestHost<'_, '_>) -> Result<(), Fault> {
        let mut room = [0; PIECE];
        loop {
            let count = self.take(&mut room)?;
            if count == 0 {
                break;
            }
            self.send(host, room.get(..count).unwrap_or_default(), Flags::NONE)?;
        }
        if self.pending { self.flush(host) } else { Ok(()) }
    }

    /// Gives the server one piece of what waits, if it has none left.
    // Not inlined, as `write_out` is not.
    #[inline(never)]
    fn advance(&mut self, host: &mut RequestHost<'_, '_>) -> Result<(), Fault> {
        if self.is_behind(host) {
            return Ok(());
        }
        let mut room = [0; PIECE];
        let count = self.take(&mut room)?;
        self.send(host, room.get(..count).unwrap_or_default(), Flags::NONE)
    }

    fn take(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let Some(spool) = &mut self.spool else { return Ok(0) };
        let taken = spool.take(room).map_err(unreadable);
        if spool.is_empty() {
            self.since = None;
        }
        taken
    }

    /// Has a part wait for the client.
    fn keep(&mut self, host: &RequestHost<'_, '_>, bytes: &[u8]) {
        self.pending = true;
        if self.since.is_none() {
            self.moved = Instant::now();
            self.since = Some(self.moved);
        }
        let Some(spool) = &mut self.spool else { return };
        if let Err(error) = spool.push(bytes) {
            let text = format!("A response to a slow client cannot be buffered in a file: {error}");
            self.warn(host, &text);
        }
    }

    fn send(
        &mut self,
        host: &mut RequestHost<'_, '_>,
        bytes: &[u8],
        flags: Flags,
    ) -> Result<(), Fault> {
        self.sent += bytes.len() as u64;
        self.moved = Instant::now();
        self.pending = !flags.has(Flags::FLUSH) && !flags.has(Flags::END);
        if !self.pending {
            (self.due, self.unflushed) = (false, 0);
        }
        self.complete = flags.has(Flags::END);
        respond(host, bytes, flags)
    }

    fn flush(&mut self, host: &mut RequestHost<'_, '_>) -> Result<(), Fault> {
        self.send(host, &[], Flags::FLUSH)
    }

    fn is_empty(&self) -> bool {
        self.spool.as_ref().is_none_or(Spool::is_empty)
    }

    fn is_full(&mut self) -> bool {
        self.spool.as_mut().is_some_and(Spool::is_full)
    }

    /// Whether the server takes so many more bytes without waiting for the client.
    fn takes(&self, host: &RequestHost<'_, '_>, length: usize, end: bool) -> bool {
        let connection = host.request().connection();
        if self.spool.is_none() {
            return true;
        }
        match connection.socket() {
            None => self.sent + length.min(PIECE) as u64 <= FIRST || (end && length <= PIECE),
            // At the beginning a socket is empty, or nearly so.
            Some(_) if self.sent == 0 || (end && length <= PIECE) => !connection.has_unsent(),
            Some(_) => !self.is_behind(host),
        }
    }

    /// Whether the client has to take something before it is sent more.
    fn is_behind(&self, host: &RequestHost<'_, '_>) -> bool {
        let connection = host.request().connection();
        let Some(socket) = connection.socket().filter(|_| self.spool.is_some()) else {
            return false;
        };
        if !is_writable(socket) {
            return true;
        }
        // If nothing can be pushed there is no telling; then the server may wait for the client.
        connection.has_unsent() && connection.push_unsent() && connection.has_unsent()
    }

    /// Says once that a worker may have to wait for this client.
    fn warn(&mut self, host: &RequestHost<'_, '_>, text: &str) {
        if !std::mem::replace(&mut self.warned, true) {
            let text = format!("{text}; the process waits for the client.");
            log::text(host.request(), Level::Warning, &text);
        }
    }
}

fn unreadable(error: io::Error) -> Fault {
    Fault {
        errno: error.raw_os_error().unwrap_or(0),
        ..Fault::new(FaultKind::Other, "buffered data cannot be read")
    }
}

fn respond(host: &mut RequestHost<'_, '_>, bytes: &[u8], flags: Flags) -> Result<(), Fault> {
    let chunk = [Bytes::new(bytes)];
    host.respond(None, if bytes.is_empty() { &[] } else { &chunk }, flags)
}
