//! Bytes that wait for somebody slower: in memory at first, then in a file without a name.
//!
//! First in, first out. The file is written from its start again once all of it was taken, so what it
//! takes of a disk is bounded by [`Limits::file`] and one more part. What cannot be written to a
//! file stays in memory, and no more is wanted then.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use daemon::client::Room;

/// How much may wait, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits<'a> {
    /// Bytes in memory, after which there is a file.
    pub(crate) memory: usize,
    /// Bytes in the file; 0 if there must be none.
    pub(crate) file: u64,
    /// Where the file is made; `None` for the system's place.
    pub(crate) directory: Option<&'a Path>,
}

/// Bytes that wait.
#[derive(Debug)]
pub(super) struct Spool<'a> {
    limits: Limits<'a>,
    /// What was put in before all that is in the file.
    head: Queue,
    /// Where that is once memory is not the place for it.
    first: Option<Part>,
    file: Option<Part>,
    /// What was put in after all that is in the file.
    tail: Queue,
    /// There is no file to be had, or no room in it.
    failed: bool,
    /// What all that waits for the group may take; `None` for any.
    room: Option<Room<'static>>,
    /// That is used up.
    over: bool,
}

/// What waits, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'s> {
    pub(super) head: &'s [u8],
    /// From some place on, so many bytes.
    pub(super) files: [Option<(BorrowedFd<'s>, u64, u64)>; 2],
    pub(super) tail: &'s [u8],
}

/// The file, and what of it is still to be taken.
#[derive(Debug)]
struct Part {
    file: File,
    taken: u64,
    written: u64,
}

/// Bytes in memory.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    taken: usize,
}

impl<'a> Spool<'a> {
    pub(super) fn new(limits: Limits<'a>, room: Option<Room<'static>>) -> Spool<'a> {
        let (head, tail) = (Queue::default(), Queue::default());
        Spool { limits, head, first: None, file: None, tail, failed: false, room, over: false }
    }

    /// Whether it is others that leave no room.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether there is no file where there should be one.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The room it takes, to be given back when nothing of it is left.
    pub(super) fn take_room(&mut self) -> Option<Room<'static>> {
        self.room.take()
    }

    /// Takes as much room as it needs, and sees whether there was any.
    fn hold(&mut self) {
        let in_file = self.file.as_ref().map_or(0, |part| part.written);
        let bytes = in_file.saturating_add(self.in_memory() as u64);
        self.over = self.room.as_mut().is_some_and(|room| !room.hold(bytes));
    }

    /// What is put in first goes into the file already: there will be more than memory takes.
    pub(super) fn begin_in_file(&mut self) {
        if self.limits.file > 0 && self.is_empty() {
            self.limits.memory = 0;
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.head.left().is_empty() && self.in_file() == 0 && self.tail.left().is_empty()
    }

    /// Whether no more should be put in until something was taken, here or from others of the group.
    pub(super) fn is_full(&mut self) -> bool {
        if self.over {
            self.hold();
        }
        if self.over {
            return true;
        }
        if self.failed || self.limits.file == 0 {
            return self.in_memory() >= self.limits.memory;
        }
        self.file.as_ref().is_some_and(|part| part.written >= self.limits.file)
    }

    /// Puts bytes in.
    ///
    /// # Errors
    /// They are in, but could not be written to a file. This is said once.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let pushed = self.put(bytes);
        self.hold();
        pushed
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let in_file = self.in_file() > 0;
        if !in_file && self.tail.left().is_empty() {
            let fits = self.head.left().len() + bytes.len() <= self.limits.memory;
            if fits || self.failed || self.limits.file == 0 {
                self.head.push(bytes);
                return Ok(());
            }
        }
        if self.failed {
            self.tail.push(bytes);
            return Ok(());
        }
        let written = self.write(bytes);
        if written.is_err() {
            self.failed = true;
            self.tail.push(bytes);
        }
        written
    }

    /// Takes bytes out, as many as there is room for, unless there are none.
    ///
    /// # Errors
    /// The file cannot be read: what was in it is lost.
    pub(super) fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = self.head.take(room);
        if count > 0 {
            return Ok(count);
        }
        if let Some(part) = self.file.as_mut().filter(|part| part.taken < part.written) {
            let left = usize::try_from(part.written - part.taken).unwrap_or(usize::MAX);
            let most = left.min(room.len());
            return part.take(room.get_mut(..most).unwrap_or_default());
        }
        Ok(self.tail.take(room))
    }

    /// What is left.
    pub(super) fn rest(&self) -> Rest<'_> {
        let files = [&self.first, &self.file].map(|part| {
            let part = part.as_ref().filter(|part| part.taken < part.written)?;
            Some((part.file.as_fd(), part.taken, part.written - part.taken))
        });
        Rest { head: self.head.left(), files, tail: self.tail.left() }
    }

    /// Bytes that are in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.head.left().len() + self.tail.left().len()
    }

    /// Puts what comes first into a file if it is in memory: for a server that waits where it would
    /// have to keep much. Nothing is to be put in or taken any more.
    ///
    /// # Errors
    /// It stays where it is.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.head.left().is_empty() || self.limits.file == 0 || self.failed {
            return Ok(());
        }
        let mut part = Part::new(self.limits.directory)?;
        part.write(self.head.left())?;
        self.first = Some(part);
        self.head = Queue::default();
        Ok(())
    }

    /// If all there is lies in the file: the file, opened for reading only, where in it that begins,
    /// and its length. It stays as it is until more is put in.
    pub(super) fn file(&self) -> Option<(File, u64, u64)> {
        let Rest { head: [], files: [None, Some((fd, from, length))], tail: [] } = self.rest()
        else {
            return None;
        };
        let file = File::open(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        Some((file, from, length))
    }

    fn in_file(&self) -> u64 {
        self.file.as_ref().map_or(0, |part| part.written - part.taken)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let part = match &mut self.file {
            Some(part) => part,
            slot => slot.insert(Part::new(self.limits.directory)?),
        };
        part.write(bytes)
    }
}

impl Part {
    fn new(directory: Option<&Path>) -> io::Result<Part> {
        let file = match directory {
            Some(directory) => tempfile::tempfile_in(directory)?,
            None => tempfile::tempfile()?,
        };
        Ok(Part { file, taken: 0, written: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// `room` has as much room as there is left, or less.
    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let count = loop {
            match self.file.read_at(room, self.taken) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                result => break result?,
            }
        };
        self.taken += count as u64;
        if self.taken >= self.written {
            (self.taken, self.written) = (0, 0);
        }
        Ok(count)
    }
}

impl Queue {
    fn left(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        // What was taken makes room, but is not moved for each few bytes.
        if self.taken > 0 && self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, room: &mut [u8]) -> usize {
        let left = self.left();
        let count = left.len().min(room.len());
        if let (Some(from), Some(to)) = (left.get(..count), room.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn drained(spool: &mut Spool<'_>, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut room = vec![0; step];
        loop {
            match spool.take(&mut room).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&room[..count]),
            }
        }
    }

    #[test]
    fn what_goes_in_comes_out_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { memory: 10, file: 1000, directory: Some(directory.path()) };
        let mut spool = Spool::new(limits, None);
        let mut expected = Vec::new();
        for number in 0..40u8 {
            assert!(!spool.is_full(), "{number}");
            spool.push(&[number; 4]).unwrap();
            expected.extend([number; 4]);
            if number % 7 == 6 {
                let mut room = [0; 21];
                let mut out = 0;
                while out < 21 {
                    let count = spool.take(&mut room[out..]).unwrap();
                    assert!(count > 0, "there is more");
                    out += count;
                }
                assert_eq!(room[..], expected[..21]);
                expected.drain(..21);
            }
        }
        assert!(!spool.is_empty());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
        assert_eq!(drained(&mut spool, 5), expected);
        assert!(spool.is_empty());
    }

    #[test]
    fn a_full_file_is_used_again_once_it_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool =
            Spool::new(Limits { memory: 2, file: 8, directory: Some(directory.path()) }, None);
        for _ in 0..3 {
            while !spool.is_full() {
                spool.push(b"abc").unwrap();
            }
            let mut room = [0; 2];
            assert_eq!(spool.take(&mut room).unwrap(), 2);
            assert!(spool.is_full(), "there is still something in the file");
            assert_eq!(drained(&mut spool, 4).len(), 7);
            assert!(!spool.is_full());
        }
    }

    #[test]
    fn without_a_file_it_stays_in_memory() {
        let none = Path::new("/nonexistent/directory");
        let mut spool = Spool::new(Limits { memory: 4, file: 100, directory: Some(none) }, None);
        spool.push(b"abc").unwrap();
        assert!(spool.push(b"de").is_err(), "it is said");
        assert!(spool.is_full());
        spool.push(b"fg").unwrap();
        assert_eq!(drained(&mut spool, 3), b"abcdefg");
        assert!(!spool.is_full());

        let mut spool = Spool::new(Limits { memory: 4, file: 0, directory: None }, None);
        spool.push(b"abcdef").unwrap();
        assert!(spool.is_full());
        assert_eq!(spool.rest().head, b"abcdef");
    }

    #[test]
    fn all_that_is_in_the_file_can_be_had_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { memory: 3, file: 10, directory: Some(directory.path()) };
        let mut spool = Spool::new(limits, None);
        spool.push(b"ab").unwrap();
        spool.push(b"cdef").unwrap();
        assert!(spool.file().is_none(), "some is in memory");
        let mut room = [0; 3];
        assert_eq!(spool.take(&mut room).unwrap(), 2);
        assert_eq!(spool.take(&mut room[..1]).unwrap(), 1);
        let (file, from, length) = spool.file().unwrap();
        assert_eq!((from, length), (1, 3));
        file.read_at(&mut room, from).unwrap();
        assert_eq!(&room, b"def");
        assert!(file.write_at(b"x", 0).is_err(), "it is for reading");

        let mut spool = Spool::new(limits, None);
        spool.begin_in_file();
        spool.push(b"ab").unwrap();
        assert_eq!(spool.file().map(|(_, from, length)| (from, length)), Some((0, 2)));
        let mut spool = Spool::new(Limits { file: 0, ..limits }, None);
        spool.begin_in_file();
        spool.push(b"ab").unwrap();
        assert!(spool.file().is_none() && !spool.is_full());
    }

    #[test]
    fn what_is_left_is_in_three_places() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool =
            Spool::new(Limits { memory: 3, file: 4, directory: Some(directory.path()) }, None);
        spool.push(b"abc").unwrap();
        spool.push(b"defg").unwrap();
        spool.failed = true;
        spool.push(b"hi").unwrap();
        let mut room = [0; 4];
        assert_eq!(spool.take(&mut room).unwrap(), 3);
        assert_eq!(spool.take(&mut room[..1]).unwrap(), 1);
        let Rest { head, files: [first, file], tail } = spool.rest();
        assert_eq!((head, tail), (&b""[..], &b"hi"[..]));
        assert!(first.is_none());
        assert_eq!(file.map(|(_, from, length)| (from, length)), Some((1, 3)));
    }

    #[test]
    fn what_is_in_memory_can_go_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { memory: 3, file: 40, directory: Some(directory.path()) };
        let mut spool = Spool::new(limits, None);
        spool.push(b"abc").unwrap();
        spool.push(b"defg").unwrap();
        assert_eq!(spool.in_memory(), 3);
        spool.settle().unwrap();
        assert_eq!(spool.in_memory(), 0);
        let lengths = spool.rest().files.map(|file| file.map(|(_, from, length)| (from, length)));
        assert_eq!(lengths, [Some((0, 3)), Some((0, 4))]);

        let mut spool = Spool::new(Limits { file: 0, ..limits }, None);
        spool.push(b"abc").unwrap();
        spool.settle().unwrap();
        assert_eq!(spool.rest().head, b"abc", "there is to be no file");
    }
}
