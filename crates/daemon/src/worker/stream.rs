//! A request's stream: its body, its response, its log records.
//!
//! Methods that begin with `try_` never wait and may be called while something like an interpreter's
//! lock is held; the others may wait for a client as long as the socket's timeout.

mod body;
mod buffers;
mod records;
mod send;
mod times;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, pread};
use rustix::net::{RecvFlags, recv};

use super::connection::Connection;
use super::domain::Domain;
use super::error::{Error, ErrorKind};
use super::output::send_bytes;
use crate::wire::{self, Fault, FaultKind, Flags, HEADER, Head, Header, Kind};

use body::Part;
pub(super) use buffers::Buffers;
pub use send::Send;

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    Before,
    /// The head was sent.
    Body,
    /// It is complete, and the connection can be used again.
    Complete,
    /// It is not complete and never will be; the connection closes.
    Broken,
}

/// A request's stream. Calls come one at a time, from whatever thread.
#[derive(Debug)]
pub struct Stream<'a> {
    connection: &'a Connection,
    domain: &'a Domain,
    buffers: &'a mut Buffers,
    id: u64,

    /// The part of the body that came with the request.
    inline: &'a [u8],
    /// Bytes that came while nobody read: what is left of a READ when the response begins.
    stash: Vec<u8>,
    /// Bytes that may still come in answer to the last READ; `None` between two of them.
    credit: Option<u64>,
    /// All of the body has come.
    complete: bool,
    /// The rest of the body.
    file: Option<Part>,
    /// A descriptor that has come, and is for the frame that it came with.
    passed: Option<OwnedFd>,
    /// What the child said instead of more of the body.
    fault: Option<Error>,
    /// Epoll does not look at the connection.
    disarmed: bool,

    phase: Phase,
    /// Bytes of the call that is to be repeated which are out already.
    sent: usize,
    /// The rest of a LOG frame that did not go out whole.
    pending: Vec<u8>,
    /// When it was last asked whether anybody is there; `None` before there was reason to.
    looked: Option<Instant>,
}

/// Between two looks at whether anybody is there, while a response goes out.
const LOOK: Duration = Duration::from_millis(100);

/// Room for the body in one read.
const ROOM: usize = 64 << 10;
/// Bytes of a file in one go.
const FILE: usize = 128 << 10;

impl<'a> Stream<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        domain: &'a Domain,
        buffers: &'a mut Buffers,
        request: &wire::Request<'a>,
        rest: &[u8],
    ) -> Stream<'a> {
        buffers.body.reset(ROOM);
        buffers.scratch.times = None;
        buffers.body.feed(rest);
        Stream {
            connection,
            domain,
            buffers,
            id: request.id(),
            inline: request.body(),
            stash: Vec::new(),
            credit: None,
            complete: request.is_complete(),
            file: None,
            passed: None,
            fault: None,
            disarmed: false,
            phase: Phase::Before,
            sent: 0,
            pending: Vec::new(),
            looked: None,
        }
    }

    /// Sends a part of the response: its head, once and first, and chunks of its body.
    ///
    /// # Errors
    /// There is nobody to receive it, or it cannot be sent: then nothing more can be, unless nothing
    /// of it was ([`Self::has_begun`]).
    pub fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[&[u8]],
        how: Send,
    ) -> Result<(), Error> {
        self.push(head, chunks, how, true).map(|_| ())
    }

    /// As [`Self::respond`]; `None` if it would have to wait. The next call must then be `respond`
    /// with the same arguments, which goes on behind what was sent already.
    pub fn try_respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[&[u8]],
        how: Send,
    ) -> Option<Result<(), Error>> {
        match self.push(head, chunks, how, false) {
            Ok(true) => Some(Ok(())),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Sends a part of a regular file, whose position stays as it is. Returns how many bytes it had;
    /// if that is less than `length`, the response ends here as truncated.
    ///
    /// # Errors
    /// As [`Self::respond`], or the file cannot be read.
    pub fn send_file(
        &mut self,
        mut head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        how: Send,
    ) -> Result<u64, Error> {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(FILE).clamp(1, FILE)];
        let mut done = 0;
        while done < length {
            let want = buffer.len().min(usize::try_from(length - done).unwrap_or(FILE));
            let count = match pread(file, &mut buffer[..want], offset + done) {
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            };
            if count == 0 {
                self.respond(head, &[], Send::TRUNCATED)?;
                return Ok(done);
            }
            done += count as u64;
            let how = if done == length { how } else { Send::NONE };
            self.respond(head.take(), &[&buffer[..count]], how)?;
        }
        if length == 0 {
            self.respond(head, &[], how)?;
        }
        Ok(done)
    }

    /// Ends a request that has no response: the server renders this status.
    ///
    /// # Errors
    /// A response has begun, or there is nobody to tell.
    pub fn render(&mut self, status: u16, text: &[u8]) -> Result<(), Error> {
        self.fail(FaultKind::Render, status, text)
    }

    /// Ends a request that was not run, for another worker with newer code to take.
    ///
    /// # Errors
    /// A response has begun, or there is nobody to tell.
    pub fn later(&mut self) -> Result<(), Error> {
        self.fail(FaultKind::Later, 0, b"")
    }

    /// Whether the client, or the child that serves it, is known to be gone. Does not wait.
    pub fn client_gone(&mut self) -> bool {
        if self.fault.as_ref().is_some_and(|fault| fault.kind == ErrorKind::ClientGone) {
            return true;
        }
        if self.credit.is_some() {
            return false;
        }
        if !self.buffers.body.is_between_frames() {
            // It has come with the request.
            let next = self.buffers.body.peek();
            return next.is_ok_and(|next| next.is_some_and(|it| it.kind == Kind::Cancel));
        }
        let mut first = [0; HEADER];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(self.connection, &mut first, flags) {
            Ok((_, 0)) => true,
            Ok((_, HEADER)) => Header::decode(&first).is_ok_and(|it| it.kind == Kind::Cancel),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => true,
        }
    }

    /// Whether anything of the response was sent.
    pub fn has_begun(&self) -> bool {
        self.phase != Phase::Before || self.sent > 0
    }

    /// The request is over: says what was not said. Whether the connection can be used again.
    pub(super) fn finish(mut self) -> bool {
        if self.phase == Phase::Before && self.sent == 0 {
            let _ = self.render(500, b"the application gave no response");
        }
        self.phase == Phase::Complete && !self.domain.is_stopping()
    }

    fn fail(&mut self, kind: FaultKind, status: u16, text: &[u8]) -> Result<(), Error> {
        if self.has_begun() {
            return Err(Error::new(ErrorKind::Other, "a response has begun"));
        }
        if !self.settle(true)? {
            return Err(Error::slow());
        }
        self.flush_pending(true)?;
        self.arm();
        let flags = self.last_flags();
        let frame = Fault { kind, status, errno: 0, text }.encode(self.id, flags);
        let sent = send_bytes(self.connection.as_fd(), &frame, &mut 0, true);
        self.phase = if sent.is_ok() { Phase::Complete } else { Phase::Broken };
        sent?;
        Ok(())
    }

    fn last_flags(&self) -> Flags {
        if self.domain.is_stopping() { Flags::END.with(Flags::CLOSE) } else { Flags::END }
    }

    /// `respond`; `false` if it would have to wait and may not.
    fn push(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[&[u8]],
        how: Send,
        wait: bool,
    ) -> Result<bool, Error> {
        match (self.phase, head.is_some()) {
            (Phase::Before, true) | (Phase::Body, false) => {}
            (Phase::Broken, _) => return Err(Error::gone()),
            _ => return Err(Error::new(ErrorKind::Other, "a response has one head, at first")),
        }
        let cut = how.has(Send::TRUNCATED);
        let end = how.has(Send::END) && !cut;
        if self.sent == 0 {
            if self.phase == Phase::Body && self.is_abandoned() {
                self.phase = Phase::Broken;
                return Err(Error::gone());
            }
            if !self.settle(wait)? || !self.flush_pending(wait)? {
                return if wait { Err(Error::slow()) } else { Ok(false) };
            }
            if end {
                self.arm();
            }
        }
        let mut flags = if end { self.last_flags() } else { Flags::NONE };
        if how.has(Send::FLUSH) {
            flags = flags.with(Flags::FLUSH);
        }
        let plan = match self.buffers.scratch.plan(self.id, head, chunks, flags) {
            Ok(plan) => plan,
            Err(wire::TooLarge) => {
                let text = "the response's header is too large";
                return Err(Error::new(ErrorKind::TooLarge, text));
            }
        };
        let done = match plan {
            Some(plan) => plan.send(self.connection.as_fd(), &mut self.sent, wait),
            None => Ok(true),
        };
        match done {
            Ok(true) => {
                self.sent = 0;
                self.phase = match (cut, end) {
                    (true, _) => Phase::Broken,
                    (_, true) => Phase::Complete,
                    _ => Phase::Body,
                };
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) => {
                self.phase = Phase::Broken;
                Err(error.into())
            }
        }
    }

    /// Whether the child has given the request up, asked now and then. It keeps its end open until we
    /// are done, so a response with long pauses would go into the socket's buffer for long.
    fn is_abandoned(&mut self) -> bool {
        let now = Instant::now();
        let looked = self.looked.get_or_insert(now);
        if now - *looked < LOOK {
            return false;
        }
        *looked = now;
        self.client_gone()
    }

    fn arm(&mut self) {
        if std::mem::take(&mut self.disarmed) {
            self.domain.arm(self.connection);
        }
    }
}
