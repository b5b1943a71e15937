//! What a worker writes down about what it is doing, so that the supervisor can say which requests
//! a process was running when it died.
//!
//! One file of memory for each worker, which no other worker sees. The supervisor reads it like any
//! file and takes nothing in it for true: it is shown in a log, escaped, and that is all. Each thread
//! writes a record of its own, with a counter that is odd while the record changes.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::io::pread;

use crate::sys::{Mapping, PAGE, monotonic_us};

const RECORD: usize = 128;
/// Most bytes of a request's name that are kept.
const ID: usize = 96;
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
    threads: u32,
}

impl Status {
    pub(super) fn new(fd: BorrowedFd<'_>, threads: u32) -> io::Result<Status> {
        Ok(Status { map: Mapping::new(fd, 0, length(threads) as usize, true)?, threads })
    }

    /// A thread begins a request.
    pub(super) fn begin(&self, thread: u32, id: &[u8]) {
        if thread >= self.threads {
            return;
        }
        let at = PAGE + thread as usize * RECORD;
        let id = &id[..id.len().min(ID)];
        let change = self.map.u32(at);
        let before = change.fetch_add(1, Ordering::AcqRel);
        self.map.u64(at + 8).store(monotonic_us(), Ordering::Relaxed);
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
        if thread < self.threads {
            let at = PAGE + thread as usize * RECORD;
            self.map.u32(at + 4).store(0, Ordering::Release);
            self.served().fetch_add(1, Ordering::Relaxed);
        }
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
        status.begin(1, b"abcdefg");
        status.begin(2, &[b'x'; 200]);
        status.begin(3, b"there is no such thread");
        let ids: Vec<_> = running(fd.as_fd(), 3).into_iter().map(|one| one.id).collect();
        assert_eq!(ids, [b"abcdefg".to_vec(), vec![b'x'; ID]]);
        status.end(1);
        status.end(2);
        assert!(running(fd.as_fd(), 3).is_empty());
        assert_eq!(status.served().load(Ordering::Relaxed), 2);
    }
}
