//! The request's body: parts of it in answer to what the worker asks for.
//!
//! While one part is being sent the next is read, as long as that does not wait: so the last part can
//! be marked as such, and a client that sends slowly holds up nothing that has come.
//!
//! What lies in a file is not sent: the worker gets the file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Exchange;
use crate::client::error::{Error, ErrorKind};
use crate::client::event::{BodyFault, Part};
use crate::sys::send;
use crate::wire::{self, Fault, Flags, Header, Kind, MAX_PART};

/// Where the request's body comes from; see [`Exchange::pull`].
type Read<'f, 't> = dyn FnMut(&mut [u8], bool) -> Result<Part, BodyFault<'t>> + 'f;

/// Bytes of the request's body in one go.
const PULL: usize = 64 << 10;

impl Exchange<'_> {
    /// Answers [`Event::Read`](super::super::Event::Read): calls `read` for the body, the first time so that it waits for at
    /// least one byte, and then, while there is room, so that it does not wait.
    ///
    /// # Errors
    /// The worker does not take it. What `read` fails with is told to the worker, which will say
    /// more, so this is no error here.
    pub fn pull<'t>(
        &mut self,
        credit: u32,
        mut read: impl FnMut(&mut [u8], bool) -> Result<Part, BodyFault<'t>>,
    ) -> Result<(), Error> {
        let [mut now, mut next] = std::mem::take(&mut self.buffers);
        let done = self.pull_with(credit, &mut read, &mut now, &mut next);
        self.buffers = [now, next];
        done
    }

    /// Answers [`Event::Read`](super::super::Event::Read) with a part of the body, of which no more comes in answer to this
    /// READ if `pause`, and none at all if `end`.
    ///
    /// # Errors
    /// The worker does not take it, or did not ask for so much.
    pub fn data(&mut self, bytes: &[u8], pause: bool, end: bool) -> Result<(), Error> {
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Some(left) = self.credit.and_then(|credit| credit.checked_sub(count)) else {
            return Err(self.error(ErrorKind::Other, "the worker did not ask for so much"));
        };
        let end = end || (self.body_left >= 0 && self.body_left == i64::from(count));
        let pause = pause || left == 0;
        if self.body_left >= 0 {
            self.body_left = (self.body_left - i64::from(count)).max(0);
        }
        let flags = match (end, pause) {
            (true, _) => Flags::END,
            (_, true) => Flags::PAUSE,
            _ => Flags::NONE,
        };
        self.credit = if flags == Flags::NONE { Some(left) } else { None };
        debug_assert!(bytes.len() <= MAX_PART);
        let header = Header::new(Kind::Data, flags, self.id, bytes.len()).encode();
        self.say(&[&header, bytes])
    }

    /// Answers [`Event::Read`](super::super::Event::Read) with a file that has all the rest of the
    /// body, `length` bytes of it at `from`. It must be open for reading only, and what is in it must
    /// stay as it is.
    ///
    /// # Errors
    /// The worker does not take it, or did not ask.
    pub fn file(&mut self, file: BorrowedFd<'_>, from: u64, length: u64) -> Result<(), Error> {
        let fits = self.body_left < 0 || u64::try_from(self.body_left) == Ok(length);
        if self.credit.is_none() || !fits {
            return Err(self.error(ErrorKind::Other, "the worker did not ask for a file"));
        }
        if Self::is_past(self.deadline()) {
            return Err(self.too_late());
        }
        self.credit = None;
        self.body_left = 0;
        let Some((fd, _)) = &self.connection else {
            return Err(self.error(ErrorKind::Other, "it is over"));
        };
        // The worker waits for it and has read all that was sent, so there is room.
        match send(fd.as_fd(), &wire::encode_file(self.id, from, length), &[file], true) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let error = self.error(ErrorKind::Timeout, "the timeout has expired");
                self.drop_connection();
                Err(error)
            }
            Err(_) => Err(self.closed()),
        }
    }

    /// Answers [`Event::Read`](super::super::Event::Read): there is no more of the body.
    ///
    /// # Errors
    /// The worker does not take it.
    pub fn fail(&mut self, fault: &BodyFault<'_>) -> Result<(), Error> {
        let BodyFault { kind, status, errno, text } = *fault;
        let frame = Fault { kind, status, errno, text: text.as_bytes() };
        self.credit = None;
        self.say(&[&frame.encode(self.id, Flags::NONE)])
    }

    fn pull_with<'t>(
        &mut self,
        credit: u32,
        read: &mut Read<'_, 't>,
        now: &mut Vec<u8>,
        next: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let size = |left: u32| PULL.min(left as usize).max(1);
        let mut left = credit;
        now.resize(size(left), 0);
        let mut count = match read(now, true) {
            Ok(Part::Bytes(count)) => count.min(now.len()),
            Ok(Part::NotNow | Part::End) => return self.data(&[], true, true),
            Err(fault) => return self.fail(&fault),
        };
        loop {
            left -= count as u32;
            let known_end = self.body_left >= 0 && self.body_left <= count as i64;
            if left == 0 || known_end {
                return self.data(&now[..count], true, known_end);
            }
            next.resize(size(left), 0);
            match read(next, false) {
                Ok(Part::Bytes(more)) => {
                    self.data(&now[..count], false, false)?;
                    count = more.min(next.len());
                    std::mem::swap(now, next);
                }
                Ok(Part::NotNow) => return self.data(&now[..count], true, false),
                Ok(Part::End) => return self.data(&now[..count], true, true),
                Err(fault) => {
                    self.data(&now[..count], false, false)?;
                    return self.fail(&fault);
                }
            }
        }
    }
}
