//! A part of a response as frames, and getting them out.
//!
//! What one call of `respond` sends is planned as a whole and written with as few system calls as
//! possible: one for a small response. An attempt without waiting may get out a part of it only; the
//! plan is then made again from the same arguments and goes on behind what was sent.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, socket_timeout};
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::wire::{Flags, HEADER, Head, Header, Kind, MAX_PART, Times, TooLarge};

/// Up to here chunks are copied into one buffer with the head: cheaper than pointing at them.
const COPY: usize = 16 << 10;
/// The kernel takes no more pieces in one call.
const PIECES: usize = 1024;

/// Reusable memory for plans.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Goes with the head.
    pub(super) times: Option<Times>,
    bytes: Vec<u8>,
    headers: Vec<[u8; HEADER]>,
}

/// Frames that are ready to be sent.
pub(super) struct Plan<'a> {
    pieces: Vec<IoSlice<'a>>,
    length: usize,
}

impl Scratch {
    /// Plans a head, if there is one, and chunks of a body. `None` if there is nothing to send.
    pub(super) fn plan<'a>(
        &'a mut self,
        id: u64,
        head: Option<&Head<'_>>,
        chunks: &'a [&'a [u8]],
        flags: Flags,
    ) -> Result<Option<Plan<'a>>, TooLarge> {
        let total: usize = chunks.iter().map(|chunk| chunk.len()).sum();
        self.bytes.clear();
        self.headers.clear();
        if let Some(head) = head {
            head.encode_with(self.times.as_ref(), &mut self.bytes)?;
        } else if total == 0 && flags == Flags::NONE {
            return Ok(None);
        }
        let first = total.min(MAX_PART);
        let frames = 1 + (total - first).div_ceil(MAX_PART);
        let head_length = self.bytes.len();
        for frame in 0..frames {
            let (kind, length) = match (frame, head_length) {
                (0, 0) => (Kind::Body, first),
                (0, head) => (Kind::Head, head - HEADER + first),
                _ => (Kind::Body, (total - frame * MAX_PART).min(MAX_PART)),
            };
            let flags = if frame + 1 == frames { flags } else { Flags::NONE };
            self.headers.push(Header::new(kind, flags, id, length).encode());
        }
        if head_length > 0 {
            self.bytes[..HEADER].copy_from_slice(&self.headers[0]);
        } else {
            self.bytes.extend_from_slice(&self.headers[0]);
        }
        if frames == 1 && total <= COPY {
            for chunk in chunks {
                self.bytes.extend_from_slice(chunk);
            }
            let length = self.bytes.len();
            return Ok(Some(Plan { pieces: vec![IoSlice::new(&self.bytes)], length }));
        }
        let mut pieces = Vec::with_capacity(chunks.len() + 2 * frames);
        pieces.push(IoSlice::new(&self.bytes));
        let mut frame = 0;
        let mut room = first;
        for chunk in chunks {
            let mut chunk = *chunk;
            while !chunk.is_empty() {
                if room == 0 {
                    frame += 1;
                    pieces.push(IoSlice::new(&self.headers[frame]));
                    room = MAX_PART;
                }
                let (now, later) = chunk.split_at(chunk.len().min(room));
                pieces.push(IoSlice::new(now));
                room -= now.len();
                chunk = later;
            }
        }
        let length = self.bytes.len() + (frames - 1) * HEADER + total;
        Ok(Some(Plan { pieces, length }))
    }
}

impl Plan<'_> {
    /// Sends what is left of it behind the first `sent` bytes, of which it keeps count. `false` if
    /// it would have to wait and may not. On a socket with a timeout, waiting ends with
    /// [`io::ErrorKind::WouldBlock`].
    pub(super) fn send(
        mut self,
        socket: BorrowedFd<'_>,
        sent: &mut usize,
        wait: bool,
    ) -> io::Result<bool> {
        let mut pieces = &mut self.pieces[..];
        IoSlice::advance_slices(&mut pieces, *sent);
        while *sent < self.length {
            let some = &pieces[..pieces.len().min(PIECES)];
            match send(socket, some) {
                Ok(count) => {
                    *sent += count;
                    IoSlice::advance_slices(&mut pieces, count);
                }
                Err(Errno::AGAIN) if !wait => return Ok(false),
                Err(Errno::AGAIN) => await_room(socket)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

fn send(socket: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match pieces {
        [one] => rustix::net::send(socket, one, flags),
        _ => sendmsg(socket, pieces, &mut SendAncillaryBuffer::default(), flags),
    }
}

/// Waits until the socket takes something. A child that gives a request up says that it will send
/// nothing more, and reads no more of what it is sent: that is an end, too.
fn await_room(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let limit = socket_timeout(socket, Timeout::Send)?;
    let limit = limit.map(|limit| Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    });
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::OUT | PollFlags::RDHUP)];
    match poll(&mut fds, limit.as_ref()) {
        Ok(0) => return Err(Errno::AGAIN),
        Err(Errno::INTR) => return Ok(()),
        other => other?,
    };
    let [fd] = fds;
    if fd.revents().contains(PollFlags::RDHUP) { Err(Errno::PIPE) } else { Ok(()) }
}

/// Sends bytes as [`Plan::send`] does.
pub(super) fn send_bytes(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    sent: &mut usize,
    wait: bool,
) -> io::Result<bool> {
    Plan { pieces: vec![IoSlice::new(bytes)], length: bytes.len() }.send(socket, sent, wait)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{Decoder, Item, Side};

    /// Flattens a plan and reads it back: the kinds, lengths and flags of its frames, and the body.
    fn said(plan: Option<Plan<'_>>) -> (Vec<(Kind, u8)>, usize) {
        let plan = plan.unwrap();
        let bytes: Vec<u8> = plan.pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        assert_eq!(bytes.len(), plan.length);
        let mut decoder = Decoder::new(Side::Child, 64);
        decoder.feed(&bytes);
        let (mut frames, mut body) = (Vec::new(), 0);
        while let Some(item) = decoder.take().unwrap() {
            match item {
                Item::Whole { header, .. } => frames.push((header.kind, header.flags.0)),
                Item::Part { header, bytes, last } => {
                    body += bytes.len();
                    if last && header.kind == Kind::Body {
                        frames.push((header.kind, header.flags.0));
                    }
                }
            }
        }
        assert!(decoder.is_between_frames());
        (frames, body)
    }

    #[test]
    fn plans_have_as_many_frames_as_they_need() {
        let mut scratch = Scratch::default();
        let head = Head { status: 200, reason: None, content_length: -1, headers: &[] };
        let large = vec![7; MAX_PART + 5];
        let end = Flags::END;
        assert!(scratch.plan(1, None, &[], Flags::NONE).unwrap().is_none());
        type Case<'c> = (Option<&'c Head<'c>>, &'c [&'c [u8]], Vec<(Kind, u8)>, usize);
        let cases: [Case<'_>; 6] = [
            (Some(&head), &[b"abc", b"d"], vec![(Kind::Head, 1)], 4),
            (Some(&head), &[], vec![(Kind::Head, 1)], 0),
            (None, &[], vec![(Kind::Body, 1)], 0),
            (None, &[&large[..COPY + 1]], vec![(Kind::Body, 1)], COPY + 1),
            (Some(&head), &[&large], vec![(Kind::Head, 0), (Kind::Body, 1)], MAX_PART + 5),
            (
                None,
                &[&large, b"x", &large],
                vec![(Kind::Body, 0), (Kind::Body, 0), (Kind::Body, 1)],
                2 * MAX_PART + 11,
            ),
        ];
        for (head, chunks, frames, body) in cases {
            assert_eq!(said(scratch.plan(1, head, chunks, end).unwrap()), (frames, body));
        }
    }
}
