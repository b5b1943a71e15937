//! Frames out of a stream of bytes, however they arrive.
//!
//! The caller reads from its socket into [`Decoder::space`] and takes items until there are none.
//! Frames that must be understood at once come whole; bodies come in the pieces in which they
//! arrive, so a body needs no more memory than one read. The buffer grows with what has arrived,
//! never with what a header announces: sixteen bytes do not make anybody allocate sixteen megabytes.

use super::Malformed;
use super::frame::{HEADER, Header, Kind, MAX_HEAD};

/// One step through a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A frame with its whole payload. Of a HEAD, the payload is what
    /// [`ResponseHead`](super::ResponseHead) reads; if `more`, the rest follows as parts.
    Whole {
        /// The frame's header.
        header: Header,
        /// Its payload.
        payload: &'a [u8],
        /// Parts of the same frame follow.
        more: bool,
    },
    /// A part of a DATA, BODY or HEAD frame.
    Part {
        /// The frame's header.
        header: Header,
        /// What has arrived of it; may be empty if it is the last.
        bytes: &'a [u8],
        /// The frame is complete.
        last: bool,
    },
}

/// Which end of a connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Reads what children send.
    Worker,
    /// Reads what workers send.
    Child,
}

impl Side {
    fn takes(self, kind: Kind) -> bool {
        match kind {
            Kind::Err => true,
            Kind::Hello | Kind::Request | Kind::Data | Kind::Cancel | Kind::File => {
                self == Side::Worker
            }
            Kind::Read | Kind::Head | Kind::Body | Kind::Log | Kind::Drain => self == Side::Child,
        }
    }
}

/// The state between reads.
#[derive(Debug)]
pub struct Decoder {
    side: Side,
    /// Empty until something arrives.
    buffer: Vec<u8>,
    /// Bytes of `buffer` to begin with.
    room: usize,
    /// `buffer[start..end]` has arrived and was not taken yet.
    start: usize,
    end: usize,
    /// The frame whose parts are being given out, and how much of it is still to come.
    streaming: Option<(Header, usize)>,
}

impl Decoder {
    /// With room for `room` bytes to begin with, which are allocated when they are needed: most
    /// threads of a worker never read a body, and many wait for their first request.
    pub fn new(side: Side, room: usize) -> Decoder {
        let room = room.max(HEADER);
        Decoder { side, buffer: Vec::new(), room, start: 0, end: 0, streaming: None }
    }

    /// Where the next bytes of the stream go; never empty. Say how many with [`Self::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.buffer.len() {
            if self.buffer.is_empty() {
                self.buffer = vec![0; self.room];
            } else if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                // Only an incomplete frame gets here, and it is within its kind's limit.
                let room = self.buffer.len() * 2;
                self.buffer.resize(room, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Takes note of `count` bytes that were written to [`Self::space`].
    ///
    /// # Panics
    /// There was not so much space.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.end);
        self.end += count;
    }

    /// Takes bytes that are at hand already.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }

    /// What has arrived and was not taken.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether the stream is between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.start == self.end && self.streaming.is_none()
    }

    /// Forgets everything, for the next connection; gives back memory beyond `keep` bytes.
    pub fn reset(&mut self, keep: usize) {
        (self.start, self.end, self.streaming) = (0, 0, None);
        if self.buffer.len() > keep.max(HEADER) {
            self.buffer.truncate(keep.max(HEADER));
            self.buffer.shrink_to_fit();
        }
    }

    /// The next item, or `None` if more must arrive first.
    ///
    /// # Errors
    /// The stream makes no sense, and nothing more can be had from it.
    pub fn take(&mut self) -> Result<Option<Item<'_>>, Malformed> {
        Ok(self.take_with_rest()?.map(|(item, _)| item))
    }

    /// As [`Self::take`], with what has arrived behind the item.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_with_rest(&mut self) -> Result<Option<(Item<'_>, &[u8])>, Malformed> {
        let Some(step) = self.step()? else { return Ok(None) };
        let bytes = &self.buffer[step.from..self.start];
        let header = step.header;
        let item = match step.is_part {
            true => Item::Part { header, bytes, last: !step.more },
            false => Item::Whole { header, payload: bytes, more: step.more },
        };
        Ok(Some((item, &self.buffer[self.start..self.end])))
    }

    /// The header of the next item, if it has arrived; the item stays.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn peek(&mut self) -> Result<Option<Header>, Malformed> {
        let before = (self.start, self.streaming);
        let step = self.step()?;
        if step.is_some() {
            (self.start, self.streaming) = before;
        }
        Ok(step.map(|step| step.header))
    }

    /// The payload of the next item, if [`Self::peek`] has found it to be whole.
    pub fn peek_payload(&self) -> Option<&[u8]> {
        let header = self.rest().first_chunk().and_then(|head| Header::decode(head).ok())?;
        self.rest().get(HEADER..HEADER + header.length as usize)
    }

    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        if let Some((header, left)) = self.streaming {
            return Ok(self.part(header, left));
        }
        let arrived = &self.buffer[self.start..self.end];
        let Some((head, payload)) = arrived.split_first_chunk::<HEADER>() else { return Ok(None) };
        let header = Header::decode(head)?;
        if !self.side.takes(header.kind) {
            return Err(Malformed("a frame of the other side"));
        }
        let length = header.length as usize;
        let whole = match header.kind {
            Kind::Data | Kind::Body => {
                self.start += HEADER;
                return Ok(self.part(header, length));
            }
            Kind::Head => {
                let Some((first, _)) = payload.split_first_chunk::<4>() else {
                    if length < 4 {
                        return Err(Malformed("a head is cut short"));
                    }
                    return Ok(None);
                };
                let whole = u32::from_le_bytes(*first) as usize;
                if whole > MAX_HEAD || whole + 4 > length {
                    return Err(Malformed("a head is too long"));
                }
                whole + 4
            }
            _ => length,
        };
        if payload.len() < whole {
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start = from + whole;
        let more = length > whole;
        if more {
            self.streaming = Some((header, length - whole));
        }
        let from = if header.kind == Kind::Head { from + 4 } else { from };
        Ok(Some(Step { header, from, more, is_part: false }))
    }

    /// How many bytes of a body may be read from the socket past the decoder, straight to where
    /// they are wanted: what is left of the current part, if nothing of it lies here. Say how many
    /// were with [`Self::passed`].
    pub fn direct(&self) -> usize {
        match self.streaming {
            Some((_, left)) if self.start == self.end => left,
            _ => 0,
        }
    }

    /// Takes note of `count` bytes of the current part that were read past the decoder. The header
    /// of the part, if they complete it.
    ///
    /// # Panics
    /// There are not so many left of it.
    pub fn passed(&mut self, count: usize) -> Option<Header> {
        assert!(count <= self.direct());
        let (header, left) = self.streaming.take()?;
        if count < left {
            self.streaming = Some((header, left - count));
            return None;
        }
        Some(header)
    }

    fn part(&mut self, header: Header, left: usize) -> Option<Step> {
        let from = self.start;
        let count = left.min(self.end - from);
        if count == 0 && left > 0 {
            self.streaming = Some((header, left));
            return None;
        }
        self.start += count;
        let more = count < left;
        self.streaming = if more { Some((header, left - count)) } else { None };
        Some(Step { header, from, more, is_part: true })
    }
}

/// An item, of which the bytes lie between `from` and the decoder's `start`.
struct Step {
    header: Header,
    from: usize,
    more: bool,
    is_part: bool,
}
