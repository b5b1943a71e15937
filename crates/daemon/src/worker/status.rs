//! What a worker writes down about what it is doing, so that the supervisor can say which requests
//! a process was running when it died.
//!
//! One file of memory for each worker, which no other worker sees. The supervisor reads it like any
//! file and takes nothing in it for true: it is shown in a log, escaped, and that is all. Each thread
//! writes a record of its own, with a counter that is odd while the record changes.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Duration;

use rustix::io::pread;

use crate::sys::{Mapping, PAGE, monotonic_us};

const RECORD: usize = 128;
/// Most bytes of a request's name that are kept.
const ID: usize = 96;
/// Which request it is, for the worker itself.
const STARTED: usize = 16 + ID;
/// Most threads that are looked at.
const MAX_THREADS: usize = 1 << 16;

/// Length of the memory for so many threads.
pub(crate) fn length(threads: u32) -> u64 {
    (PAGE + threads as usize * RECORD).next_multiple_of(PAGE) as u64
}

/// A worker's own view.
#[derive(Debug)]
pub(super) struct Status {
    map: Mapping,
    /// The threads, as [`Inside::thread`] has them; 0 for one that has not begun.
    threads: Box<[AtomicU64]>,
}

/// A request that is with the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The thread that runs it, as `pthread_self` says.
    pub thread: u64,
    /// [`Facts::request_start`](crate::wire::Facts::request_start): which request it is.
    pub started: i64,
}

impl Status {
    pub(super) fn new(fd: BorrowedFd<'_>, threads: u32) -> io::Result<Status> {
        let map = Mapping::new(fd, 0, length(threads) as usize, true)?;
        Ok(Status { map, threads: (0..threads).map(|_| AtomicU64::new(0)).collect() })
    }

    /// The calling thread has this number from now on.
    pub(super) fn enter(&self, thread: u32) {
        if let Some(place) = self.threads.get(thread as usize) {
            // SAFETY: always succeeds.
            place.store(unsafe { libc::pthread_self() } as u64, Ordering::Relaxed);
        }
    }

    /// A thread begins a request.
    pub(super) fn begin(&self, thread: u32, id: &[u8], started: i64) {
        if thread as usize >= self.threads.len() {
            return;
        }
        let at = PAGE + thread as usize * RECORD;
        let id = &id[..id.len().min(ID)];
        let change = self.map.u32(at);
        let before = change.fetch_add(1, Ordering::AcqRel);
        self.map.u64(at + 8).store(monotonic_us(), Ordering::Relaxed);
        self.map.u64(at + STARTED).store(started.cast_unsigned(), Ordering::Relaxed);
        for (index, part) in id.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..part.len()].copy_from_slice(part);
            let word = u32::from_le_bytes(word);
            self.map.u32(at + 16 + index * 4).store(word, Ordering::Relaxed);
        }
        // Last, so that nobody takes the time of the request before for this one's.
        self.map.u32(at + 4).store(1 | (id.len() as u32) << 8, Ordering::Release);
        change.store(before.wrapping_add(2), Ordering::Release);
    }

    /// A thread has ended a request.
    pub(super) fn end(&self, thread: u32) {
        if (thread as usize) < self.threads.len() {
            let at = PAGE + thread as usize * RECORD;
            self.map.u32(at + 4).store(0, Ordering::Release);
            self.served().fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The requests that are with the application.
    pub(super) fn inside(&self) -> Vec<Inside> {
        let each = self.threads.iter().enumerate();
        each.filter_map(|(index, thread)| {
            let at = PAGE + index * RECORD;
            let change = self.map.u32(at);
            let before = change.load(Ordering::Acquire);
            let runs = self.map.u32(at + 4).load(Ordering::Acquire) & 0xff == 1;
            let inside = Inside {
                thread: thread.load(Ordering::Relaxed),
                started: self.map.u64(at + STARTED).load(Ordering::Relaxed).cast_signed(),
            };
            fence(Ordering::Acquire);
            let is_whole = before & 1 == 0 && change.load(Ordering::Relaxed) == before;
            (runs && is_whole && inside.thread != 0).then_some(inside)
        })
        .collect()
    }

    fn served(&self) -> &AtomicU32 {
        self.map.u32(0)
    }
}

/// A request that was running, as far as its worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Name of the request.
    pub(crate) id: Vec<u8>,
    /// For how long.
    pub(crate) elapsed: Duration,
}

/// Reads what a worker wrote; what makes no sense is left out.
pub(crate) fn running(fd: BorrowedFd<'_>, threads: u32) -> Vec<Running> {
    let mut records = vec![0; (threads as usize).min(MAX_THREADS) * RECORD];
    let length = pread(fd, &mut records, PAGE as u64).unwrap_or(0);
    let now = monotonic_us();
    let mut found = Vec::new();
    for record in records[..length].chunks_exact(RECORD) {
        let &[_, _, _, _, state, length, _, _, ref rest @ ..] = record else { continue };
        let Some((since, id)) = rest.split_first_chunk::<8>() else { continue };
        if state == 1 {
            let elapsed = Duration::from_micros(now.saturating_sub(u64::from_le_bytes(*since)));
            found.push(Running { id: id[..usize::from(length).min(ID)].to_vec(), elapsed });
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::shared;

    #[test]
    fn requests_are_seen_while_they_run() {
        let fd = shared(c"status", length(3)).unwrap();
        let status = Status::new(fd.as_fd(), 3).unwrap();
        status.enter(2);
        status.begin(1, b"abcdefg", 11);
        status.begin(2, &[b'x'; 200], 12);
        status.begin(3, b"there is no such thread", 13);
        // SAFETY: always succeeds.
        let thread = unsafe { libc::pthread_self() } as u64;
        assert_eq!(status.inside(), [Inside { thread, started: 12 }], "of a thread that is known");
        let ids: Vec<_> = running(fd.as_fd(), 3).into_iter().map(|one| one.id).collect();
        assert_eq!(ids, [b"abcdefg".to_vec(), vec![b'x'; ID]]);
        status.end(1);
        status.end(2);
        assert!(running(fd.as_fd(), 3).is_empty() && status.inside().is_empty());
        assert_eq!(status.served().load(Ordering::Relaxed), 2);
    }
}
