//! The board's last part: which number and which slots a group has, by name.
//!
//! Written by the server's parent before it forks the children of a configuration; they read it once.
//! A name keeps its number over restarts, so that children of the old and of the new configuration
//! mean the same group. A group that needs more slots than it was given gets another entry; the last
//! entry of a name counts.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::{pread, pwrite};

use super::layout::{Capacity, ENTRY};
use crate::wire::{Put, Reader};

/// What the directory says about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) group: u32,
    /// Its first slot.
    pub(crate) first: u32,
    /// How many it has.
    pub(crate) slots: u32,
}

/// All names, as they were when they were read.
#[derive(Debug)]
pub(crate) struct Directory {
    capacity: Capacity,
    entries: Vec<(Vec<u8>, Entry)>,
}

/// Longest name.
const NAME: usize = ENTRY - 12;

impl Directory {
    /// Reads all entries.
    pub(crate) fn read(board: BorrowedFd<'_>, capacity: Capacity) -> io::Result<Directory> {
        let mut entries = Vec::new();
        for group in 0..capacity.groups {
            let mut bytes = [0; ENTRY];
            if pread(board, &mut bytes, place(&capacity, group))? != ENTRY {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut reader = Reader::new(&bytes);
            let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
            let first = reader.u32().map_err(invalid)?;
            let slots = reader.u32().map_err(invalid)?;
            let name = reader.string(NAME).map_err(invalid)?;
            if slots == 0 {
                break;
            }
            if first.checked_add(slots).is_none_or(|end| end > capacity.slots) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            entries.push((name.to_vec(), Entry { group, first, slots }));
        }
        Ok(Directory { capacity, entries })
    }

    /// The group of this name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Entry> {
        self.entries.iter().rev().find(|(other, _)| other == name).map(|(_, entry)| *entry)
    }

    /// All names, with those entries that count.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&[u8], Entry)> {
        self.entries
            .iter()
            .filter(|(name, entry)| self.find(name) == Some(*entry))
            .map(|(name, entry)| (&name[..], *entry))
    }

    /// The group of this name with at least `slots` slots, entered now if there is none.
    pub(crate) fn enter(
        &mut self,
        board: BorrowedFd<'_>,
        name: &[u8],
        slots: u32,
    ) -> io::Result<Entry> {
        if let Some(entry) = self.find(name).filter(|entry| entry.slots >= slots) {
            return Ok(entry);
        }
        let full = |what| Err(io::Error::new(io::ErrorKind::StorageFull, what));
        if name.len() > NAME {
            return full("the name of a process group is too long");
        }
        let group = self.entries.len() as u32;
        let first = self.entries.last().map_or(0, |(_, last)| last.first + last.slots);
        // Some more than asked for, so that a slightly larger group stays where it is.
        let wide = slots.max(1).checked_next_power_of_two().unwrap_or(u32::MAX);
        let left = self.capacity.slots - first;
        let slots = if wide <= left { wide } else { slots.max(1) };
        if group >= self.capacity.groups || slots > left {
            return full("too many process groups since the server was started");
        }
        let mut bytes = Vec::with_capacity(ENTRY);
        bytes.put_u32(first);
        bytes.put_u32(slots);
        bytes.put_string(name);
        pwrite(board, &bytes, place(&self.capacity, group))?;
        let entry = Entry { group, first, slots };
        self.entries.push((name.to_vec(), entry));
        Ok(entry)
    }
}

fn place(capacity: &Capacity, group: u32) -> u64 {
    (capacity.directory() + group as usize * ENTRY) as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::shared;

    #[test]
    fn a_name_keeps_its_number() {
        let capacity = Capacity { groups: 3, slots: 64, children: 1 }.bounded();
        let fd = shared(c"board", capacity.board()).unwrap();
        let mut directory = Directory::read(fd.as_fd(), capacity).unwrap();
        let a = directory.enter(fd.as_fd(), b"a", 6).unwrap();
        assert_eq!(a, Entry { group: 0, first: 0, slots: 8 });
        let b = directory.enter(fd.as_fd(), b"b", 8).unwrap();
        assert_eq!(b, Entry { group: 1, first: 8, slots: 8 });
        assert_eq!(directory.enter(fd.as_fd(), b"a", 8).unwrap(), a);

        let mut directory = Directory::read(fd.as_fd(), capacity).unwrap();
        assert_eq!(directory.find(b"a"), Some(a));
        assert_eq!(directory.find(b"c"), None);
        // It has outgrown its slots.
        let larger = directory.enter(fd.as_fd(), b"a", 9).unwrap();
        assert_eq!(larger, Entry { group: 2, first: 16, slots: 16 });
        let names: Vec<_> = directory.names().collect();
        assert_eq!(names, [(&b"b"[..], b), (&b"a"[..], larger)]);
        assert!(directory.enter(fd.as_fd(), b"c", 1).is_err());
        assert!(directory.enter(fd.as_fd(), &[b'x'; 300], 1).is_err());
    }

    #[test]
    fn slots_run_out() {
        let capacity = Capacity { groups: 9, slots: 20, children: 1 }.bounded();
        let fd = shared(c"board", capacity.board()).unwrap();
        let mut directory = Directory::read(fd.as_fd(), capacity).unwrap();
        directory.enter(fd.as_fd(), b"a", 12).unwrap();
        assert_eq!(directory.enter(fd.as_fd(), b"b", 3).unwrap().slots, 4);
        assert!(directory.enter(fd.as_fd(), b"c", 1).is_err());
    }
}
