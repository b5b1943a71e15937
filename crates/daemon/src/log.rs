//! Records on their way from the supervisor to the server's log.
//!
//! The supervisor has no idea of the server's log formats, so it sends what it and its workers say,
//! one record to a message, to a *relay*: a process of the server that logs each as its own, with
//! the right virtual host. If there is none, or it does not keep up, lines go to the descriptor of
//! the main log.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys::{pair, receive};
use crate::wire::{Malformed, Put, Reader, Record};

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The supervisor's.
    Supervisor = 0,
    /// A worker's engine.
    Worker = 1,
    /// A line that a worker wrote to its standard output or error.
    Output = 2,
}

/// A record and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose words they are.
    pub source: Source,
    /// Name of the group; empty if it is about none.
    pub group: &'a [u8],
    /// The process it is about; 0 for none.
    pub pid: i32,
    /// The record.
    pub record: Record<'a>,
}

/// Most bytes of an entry as a message.
pub const MAX: usize = Record::MAX + 300;

impl<'a> Entry<'a> {
    /// As a message.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64 + self.record.text.len());
        to.put_u64(crate::ABI);
        to.put(&[self.source as u8]);
        to.put_string(&self.group[..self.group.len().min(256)]);
        to.put_i32(self.pid);
        self.record.encode(&mut to);
        to
    }

    /// From a message.
    ///
    /// # Errors
    /// It makes no sense, or is of another version.
    pub fn decode(bytes: &'a [u8]) -> Result<Entry<'a>, Malformed> {
        let mut from = Reader::new(bytes);
        if from.u64()? != crate::ABI {
            return Err(Malformed("another version"));
        }
        let source = match from.u8()? {
            0 => Source::Supervisor,
            1 => Source::Worker,
            2 => Source::Output,
            _ => return Err(Malformed("an entry of unknown source")),
        };
        let entry = Entry {
            source,
            group: from.string(256)?,
            pid: from.i32()?,
            record: Record::decode(&mut from)?,
        };
        from.end()?;
        Ok(entry)
    }
}

/// A channel to a relay: the supervisor's end, and the relay's.
///
/// # Errors
/// The system has no more descriptors.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    pair()
}

/// The relay's work: waits for entries and hands each to `log`, until the supervisor and the
/// server's parent have closed the channel. Entries that make no sense are skipped.
///
/// # Errors
/// The channel fails.
pub fn relay(channel: BorrowedFd<'_>, mut log: impl FnMut(&Entry<'_>)) -> io::Result<()> {
    let mut buffer = vec![0; MAX];
    loop {
        let received = receive(channel, &mut buffer, true)?;
        if received.length == 0 {
            return Ok(());
        }
        if let Ok(entry) = Entry::decode(&buffer[..received.length]) {
            log(&entry);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::send;

    #[test]
    fn entries_pass_the_relay() {
        let (near, far) = pair().unwrap();
        let long = vec![b'x'; 1 << 20];
        let entry = Entry {
            source: Source::Output,
            group: b"g",
            pid: 7,
            record: Record::new(3, 0, b"a line"),
        };
        send(near.as_fd(), &entry.encode(), &[], true).unwrap();
        send(near.as_fd(), b"nonsense", &[], true).unwrap();
        let longest = Entry { record: Record { file: &long, ..Record::new(6, 1, &long) }, ..entry };
        assert!(longest.encode().len() <= MAX);
        send(near.as_fd(), &longest.encode(), &[], true).unwrap();
        drop(near);
        let mut lengths = Vec::new();
        relay(far.as_fd(), |entry| lengths.push((entry.pid, entry.record.text.len()))).unwrap();
        assert_eq!(lengths, [(7, 6), (7, 32 << 10)]);
    }
}
