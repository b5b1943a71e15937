//! Idle connections of one child to one worker.
//!
//! Last in, first out: the connections that are not needed grow old at the bottom and are closed,
//! the child's before the worker's own limit. A connection counts for one use of its slot only.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most idle connections of a child to one worker.
const MOST: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    fd: OwnedFd,
    epoch: u32,
    domain: u16,
    since: Instant,
}

impl Pool {
    /// The connection that was used last, to this use of the slot and this domain.
    pub(super) fn pop(&self, epoch: u32, domain: u16) -> Option<OwnedFd> {
        let mut idle = self.lock();
        if idle.iter().any(|one| one.epoch != epoch) {
            idle.retain(|one| one.epoch == epoch);
        }
        let index = idle.iter().rposition(|one| one.domain == domain)?;
        Some(idle.remove(index).fd)
    }

    /// Keeps a connection; closes those that were idle for longer than `limit`.
    pub(super) fn push(&self, fd: OwnedFd, epoch: u32, domain: u16, limit: Duration) {
        let now = Instant::now();
        let mut idle = self.lock();
        idle.push(Idle { fd, epoch, domain, since: now });
        let old = idle.iter().take_while(|one| now - one.since > limit).count();
        let surplus = idle.len().saturating_sub(MOST);
        let closing: Vec<Idle> = idle.drain(..old.max(surplus)).collect();
        drop(idle);
        drop(closing);
    }

    /// Closes all: the worker has closed one that was younger.
    pub(super) fn clear(&self) {
        let closing = std::mem::take(&mut *self.lock());
        drop(closing);
    }

    #[cfg(test)]
    pub(super) fn len_for_tests(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::sys::stream_pair;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_last_one_used_comes_first_and_only_for_its_worker() {
        let pool = Pool::default();
        let ends: Vec<OwnedFd> = (0..3).map(|_| stream_pair(LONG).unwrap().0).collect();
        let numbers: Vec<i32> = ends.iter().map(|fd| fd.as_raw_fd()).collect();
        for (domain, fd) in ends.into_iter().enumerate() {
            pool.push(fd, 7, domain as u16 / 2, LONG);
        }
        assert_eq!(pool.pop(7, 0).unwrap().as_raw_fd(), numbers[1]);
        assert_eq!(pool.pop(7, 1).unwrap().as_raw_fd(), numbers[2]);
        assert!(pool.pop(8, 0).is_none(), "another worker has the slot now");
        assert!(pool.pop(7, 0).is_none(), "so the old ones are gone");
    }

    #[test]
    fn old_ones_are_closed() {
        let pool = Pool::default();
        for _ in 0..3 {
            pool.push(stream_pair(LONG).unwrap().0, 1, 0, LONG);
        }
        std::thread::sleep(Duration::from_millis(5));
        pool.push(stream_pair(LONG).unwrap().0, 1, 0, Duration::from_millis(1));
        assert_eq!(pool.lock().len(), 1);
        pool.clear();
        assert!(pool.pop(1, 0).is_none());
    }
}
