//! Requests that nobody waits for any more, though their worker may still run them.
//!
//! They do not keep a worker that is being replaced, but they count where a worker is chosen: if they
//! did not, one whose threads are all stuck would seem to be the least busy of all, and get every
//! request. Their connections stay open for reading, for the worker closes its end when it is done.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use crate::board::{Area, Board, InFlight};

/// Those of one child.
#[derive(Debug, Default)]
pub(super) struct Abandoned {
    count: AtomicUsize,
    all: Mutex<Vec<One>>,
}

#[derive(Debug)]
struct One {
    fd: OwnedFd,
    slot: u32,
    epoch: u32,
}

/// Most that are kept: a child has that many threads, or many more that are stuck than it has.
const MOST: usize = 1024;

impl Abandoned {
    /// Nobody waits for what a worker does on this connection, of which it has read all.
    pub(super) fn add(&self, fd: OwnedFd, in_flight: InFlight<'_>, epoch: u32) {
        if shutdown(&fd, Shutdown::Write).is_err() {
            return;
        }
        let mut all = self.lock();
        if all.len() < MOST {
            all.push(One { fd, slot: in_flight.abandon(), epoch });
            self.count.store(all.len(), SeqCst);
        }
    }

    /// Takes out those that have ended since.
    pub(super) fn sweep(&self, board: &Board, area: &Area) {
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let mut all = self.lock();
        all.retain(|one| {
            let ended = board.is_over(one.slot, one.epoch) || one.has_ended();
            if ended {
                area.forgive(one.slot);
            }
            !ended
        });
        self.count.store(all.len(), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<One>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl One {
    /// Whether the worker has closed its end. What it says meanwhile is read and forgotten.
    fn has_ended(&self) -> bool {
        let mut buffer = [0; 4096];
        // A little at a time: others wait.
        for _ in 0..16 {
            match recv(&self.fd, &mut buffer, RecvFlags::DONTWAIT) {
                Ok((_, count)) if count > 0 => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                _ => return true,
            }
        }
        false
    }
}
