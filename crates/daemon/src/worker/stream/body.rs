//! The request's body: what came with the request, what a READ asks for, or a file that was passed.

use std::io;
use std::os::fd::AsFd;

use rustix::io::{Errno, pread};
use rustix::net::{RecvFlags, recv};

use super::{Error, ErrorKind, Phase, Stream, send_bytes};
use crate::sys::{above, receive};
use crate::wire::{self, Fault, Flags, Header, Item, Kind};
use crate::worker::fork::Own;

/// Bytes that are asked for at once, at least and at most: below what a socket buffers, so that a
/// child is rarely stopped by a worker which is busy with what it has got.
const CREDIT: (usize, usize) = (64 << 10, 128 << 10);
/// From so many bytes on they are read from the socket to where they are wanted.
const WORTH: usize = 8 << 10;

/// A part of a file that is still to be read.
#[derive(Debug)]
pub(super) struct Part {
    file: Own,
    from: u64,
    to: u64,
}

impl Stream<'_> {
    /// Reads some of the body: at least one byte unless at its end, where it is 0.
    ///
    /// # Errors
    /// The rest of the body cannot be had.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        match self.pull(buffer, true)? {
            Some(count) => Ok(count),
            None => Err(Error::slow()),
        }
    }

    /// As [`Self::read`]; `None` if it would have to wait.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Error>> {
        self.pull(buffer, false).transpose()
    }

    /// Takes what is still to come in answer to a READ, so that the child is not writing while we
    /// are. It sends that without waiting for its client, so this is short.
    pub(super) fn settle(&mut self, wait: bool) -> Result<bool, Error> {
        while self.credit.is_some() && self.fault.is_none() {
            match self.next_part(None, wait) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                // What the body cannot be had for is no reason not to respond, unless nobody is
                // there.
                Err(error) if error.kind == ErrorKind::ClientGone => return Err(error),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    /// `read`; `None` if it would have to wait and may not, or has waited too long.
    fn pull(&mut self, buffer: &mut [u8], wait: bool) -> Result<Option<usize>, Error> {
        if buffer.is_empty() {
            return Ok(Some(0));
        }
        if !self.inline.is_empty() {
            let (now, later) = self.inline.split_at(self.inline.len().min(buffer.len()));
            buffer[..now.len()].copy_from_slice(now);
            self.inline = later;
            return Ok(Some(now.len()));
        }
        loop {
            if !self.stash.is_empty() {
                let count = self.stash.len().min(buffer.len());
                buffer[..count].copy_from_slice(&self.stash[..count]);
                self.stash.drain(..count);
                return Ok(Some(count));
            }
            if let Some(part) = &mut self.file {
                // It may be on a disk.
                return if wait { part.read(buffer).map(Some) } else { Ok(None) };
            }
            if self.complete {
                return Ok(Some(0));
            }
            if let Some(fault) = &self.fault {
                return Err(fault.clone());
            }
            if matches!(self.phase, Phase::Complete | Phase::Broken) {
                return Err(Error::gone());
            }
            if self.credit.is_none() && !self.ask(buffer.len(), wait)? {
                return Ok(None);
            }
            match self.next_part(Some(&mut *buffer), wait)? {
                None => return Ok(None),
                Some(0) => {}
                Some(count) => return Ok(Some(count)),
            }
        }
    }

    /// Takes the file that has come with a frame.
    fn take_file(&mut self, place: Result<(u64, u64), wire::Malformed>) -> Result<(), Error> {
        let came = (place, self.passed.take(), self.credit.take());
        let (Ok((from, length)), Some(fd), Some(_)) = came else {
            self.phase = Phase::Broken;
            return Err(Error::new(ErrorKind::Other, "a file that makes no sense"));
        };
        self.file = Some(Part { file: Own::new(above(fd, 1024)), from, to: from + length });
        Ok(())
    }

    /// Sends READ.
    fn ask(&mut self, want: usize, wait: bool) -> Result<bool, Error> {
        if !self.flush_pending(wait)? {
            return Ok(false);
        }
        if !self.disarmed {
            self.domain.disarm(self.connection);
            self.disarmed = true;
        }
        let credit = want.clamp(CREDIT.0, CREDIT.1) as u32;
        let frame = wire::encode_read(self.id, credit);
        let mut sent = 0;
        if !send_bytes(self.connection.as_fd(), &frame, &mut sent, wait)? {
            if sent == 0 {
                return Ok(false);
            }
            send_bytes(self.connection.as_fd(), &frame, &mut sent, true)?;
        }
        self.credit = Some(credit.into());
        Ok(true)
    }

    /// Receives something in answer to a READ: into `buffer`, as far as it goes, and the stash.
    /// Returns how much is in `buffer`; `None` if it would have to wait, or has waited too long.
    fn next_part(
        &mut self,
        mut buffer: Option<&mut [u8]>,
        wait: bool,
    ) -> Result<Option<usize>, Error> {
        loop {
            if let Some(count) = self.take_item(buffer.as_deref_mut())? {
                return Ok(Some(count));
            }
            let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            let past = self.buffers.body.direct();
            let received = match &mut buffer {
                // Worth a call of its own, without the frame that may follow.
                Some(buffer) if past >= buffer.len().min(WORTH) => {
                    let most = past.min(buffer.len());
                    recv(self.connection, &mut buffer[..most], flags)
                        .map(|(_, count)| (count, true))
                }
                _ => {
                    let space = self.buffers.body.space();
                    receive(self.connection.as_fd(), space, wait)
                        .map(|mut received| {
                            self.passed = received.fds.pop().or(self.passed.take());
                            (received.length, false)
                        })
                        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
                }
            };
            match received {
                Ok((0, _)) => return Err(self.ended()),
                Ok((count, true)) => {
                    if let Some(header) = self.buffers.body.passed(count) {
                        self.account(&header, count, true)?;
                    } else if let Some(credit) = &mut self.credit {
                        *credit = credit.saturating_sub(count as u64);
                    }
                    return Ok(Some(count));
                }
                Ok((count, false)) => self.buffers.body.filled(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => {
                    self.phase = Phase::Broken;
                    return Err(io::Error::from(error).into());
                }
            }
        }
    }

    /// Takes what the decoder has, if that is something: a part of the body goes into `buffer`, as
    /// far as it goes, and the stash. Returns how much is in `buffer`.
    fn take_item(&mut self, buffer: Option<&mut [u8]>) -> Result<Option<usize>, Error> {
        let id = self.id;
        match self.buffers.body.take()? {
            None => Ok(None),
            Some(Item::Part { header, bytes, last })
                if header.kind == Kind::Data && header.id == id =>
            {
                let mut count = 0;
                if let Some(buffer) = buffer {
                    count = bytes.len().min(buffer.len());
                    buffer[..count].copy_from_slice(&bytes[..count]);
                }
                self.stash.extend_from_slice(&bytes[count..]);
                let arrived = bytes.len();
                self.account(&header, arrived, last)?;
                Ok(Some(count))
            }
            Some(Item::Whole { header, payload, .. }) if header.kind == Kind::Err => {
                let error = Error::from_fault(&Fault::decode(payload)?);
                self.credit = None;
                self.fault = Some(error.clone());
                Err(error)
            }
            Some(Item::Whole { header, payload, .. })
                if header.kind == Kind::File && header.id == id =>
            {
                let place = wire::decode_file(payload);
                self.take_file(place)?;
                Ok(Some(0))
            }
            Some(Item::Whole { header, .. }) if header.kind == Kind::Cancel => Err(self.ended()),
            Some(_) => {
                self.phase = Phase::Broken;
                Err(Error::new(ErrorKind::Other, "an unexpected frame"))
            }
        }
    }

    /// Nobody sends the rest of the body any more, or wants a response.
    fn ended(&mut self) -> Error {
        self.fault = Some(Error::gone());
        self.phase = Phase::Broken;
        Error::gone()
    }

    /// Holds what has come against what was asked for.
    fn account(&mut self, header: &Header, count: usize, last: bool) -> Result<(), Error> {
        let left = self.credit.and_then(|credit| credit.checked_sub(count as u64));
        let Some(left) = left else {
            self.phase = Phase::Broken;
            return Err(Error::new(ErrorKind::Other, "more of the body than was asked for"));
        };
        self.credit = Some(left);
        if last && header.flags.has(Flags::END) {
            self.complete = true;
        }
        if last && (header.flags.has(Flags::END) || header.flags.has(Flags::PAUSE)) {
            self.credit = None;
        }
        Ok(())
    }
}

impl Part {
    /// Reads at least one byte, unless at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = usize::try_from(self.to - self.from).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let buffer = &mut buffer[..room];
        loop {
            match pread(&self.file, &mut *buffer, self.from) {
                Ok(0) if room > 0 => {
                    return Err(Error::new(ErrorKind::Other, "a file of buffered data has shrunk"));
                }
                Ok(count) => {
                    self.from += count as u64;
                    return Ok(count);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}
