//! A connection as the worker keeps it, and who is using it.
//!
//! Readiness is reported once for each arrival (edge-triggered), to whichever thread waits, while
//! another may be busy with the same connection. The state makes sure that one thread at a time has
//! a connection and that no report is lost: one that comes while somebody is busy makes that thread
//! look again.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fork::Own;
use crate::sys::monotonic_us;

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const BUSY: u8 = 2;
const BUSY_AND_MORE: u8 = 3;

/// One end of a connection with a child.
#[derive(Debug)]
pub(super) struct Connection {
    fd: Own,
    /// What the events of epoll carry.
    pub(super) key: u64,
    state: AtomicU8,
    /// HELLO has come and fits.
    pub(super) greeted: AtomicBool,
    /// The beginning of a frame whose rest has not come.
    partial: Mutex<Vec<u8>>,
    /// When it was last used; microseconds of the monotonic clock.
    used: AtomicU64,
}

impl Connection {
    fn new(fd: OwnedFd, key: u64) -> Connection {
        Connection {
            fd: Own::new(fd),
            key,
            state: AtomicU8::new(IDLE),
            greeted: AtomicBool::new(false),
            partial: Mutex::new(Vec::new()),
            used: AtomicU64::new(monotonic_us()),
        }
    }

    /// Takes note that something has come; `true` if it is to be queued for a thread.
    pub(super) fn notify(&self) -> bool {
        let noted = self.state.fetch_update(SeqCst, SeqCst, |state| match state {
            IDLE => Some(QUEUED),
            BUSY => Some(BUSY_AND_MORE),
            _ => None,
        });
        noted == Ok(IDLE)
    }

    /// Takes it from the queue.
    pub(super) fn take(&self) -> bool {
        self.state.compare_exchange(QUEUED, BUSY, SeqCst, SeqCst).is_ok()
    }

    /// Gives it back; `true` if it is to be queued again.
    pub(super) fn release(&self) -> bool {
        self.used.store(monotonic_us(), SeqCst);
        if self.state.compare_exchange(BUSY, IDLE, SeqCst, SeqCst).is_ok() {
            return false;
        }
        self.state.store(QUEUED, SeqCst);
        true
    }

    /// The beginning of a frame, kept between two looks.
    pub(super) fn partial(&self) -> MutexGuard<'_, Vec<u8>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The connections of a domain.
#[derive(Debug, Default)]
pub(super) struct Table {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    last: AtomicU64,
}

impl Table {
    /// Adds a connection; the key is unique for the life of the table, so that a late event never
    /// means another one.
    pub(super) fn add(&self, fd: OwnedFd) -> Arc<Connection> {
        let key = self.last.fetch_add(1, SeqCst) + 1;
        let connection = Arc::new(Connection::new(fd, key));
        self.lock().insert(key, connection.clone());
        connection
    }

    /// The connection with this key, if it is still there.
    pub(super) fn get(&self, key: u64) -> Option<Arc<Connection>> {
        self.lock().get(&key).cloned()
    }

    /// Forgets it; it closes when the last user lets go of it.
    pub(super) fn remove(&self, key: u64) {
        let removed = self.lock().remove(&key);
        drop(removed);
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Closes idle connections: those that were not used for so long, and beyond `most` the ones
    /// that were not used for longest. If a request arrives at one in this moment, its child sees a
    /// reset, knows that nobody has read it, and sends it again. Returns them.
    pub(super) fn sweep(&self, idle: Duration, most: usize) -> Vec<Arc<Connection>> {
        let now = monotonic_us();
        let limit = u64::try_from(idle.as_micros()).unwrap_or(u64::MAX);
        let mut open = self.lock();
        let mut unused: Vec<(u64, u64)> = open
            .iter()
            .filter(|(_, connection)| connection.state.load(SeqCst) == IDLE)
            .map(|(key, connection)| (connection.used.load(SeqCst), *key))
            .collect();
        unused.sort_unstable();
        let surplus = open.len().saturating_sub(most);
        let mut closing = Vec::new();
        for (index, (used, key)) in unused.into_iter().enumerate() {
            if index < surplus || now.saturating_sub(used) > limit {
                closing.extend(open.remove(&key));
            }
        }
        closing
    }

    /// Closes all that no thread has.
    pub(super) fn close_unused(&self) {
        let mut open = self.lock();
        let used = |connection: &Connection| connection.state.load(SeqCst) >= BUSY;
        let (kept, closing): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut *open).into_iter().partition(|(_, one)| used(one));
        *open = kept;
        drop(open);
        drop(closing);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::stream_pair;

    fn end() -> (OwnedFd, OwnedFd) {
        stream_pair(Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn one_thread_has_it_and_no_report_is_lost() {
        let connection = Connection::new(end().0, 1);
        assert!(connection.notify());
        assert!(!connection.notify(), "it is queued already");
        assert!(connection.take());
        assert!(!connection.take());
        assert!(!connection.release());
        assert!(connection.notify() && connection.take());
        assert!(!connection.notify(), "somebody is busy with it");
        assert!(connection.release(), "and looks again");
        assert!(connection.take() && !connection.release());
    }

    #[test]
    fn those_unused_for_longest_are_closed() {
        let table = Table::default();
        let ends: Vec<_> = (0..4).map(|_| end()).collect();
        let mut far = Vec::new();
        let mut keys = Vec::new();
        for (near, other) in ends {
            let connection = table.add(near);
            connection.used.fetch_sub(1000 * (10 - connection.key), SeqCst);
            keys.push(connection.key);
            far.push(other);
        }
        let busy = table.get(keys[0]).unwrap();
        assert!(busy.notify());
        table.sweep(Duration::from_secs(100), 3);
        assert!(table.get(keys[1]).is_none() && table.len() == 3);
        table.sweep(Duration::ZERO, 3);
        assert_eq!(table.len(), 1, "only the one that is not idle");
        let mut buffer = [0; 1];
        assert_eq!(crate::sys::receive(far[2].as_fd(), &mut buffer, false).unwrap().length, 0);
    }
}
