//! What outlives the supervisor: the descriptors of its workers.
//!
//! They lie in a socket of which the server's parent holds both ends, as messages that nobody reads
//! until there is another supervisor. So a worker whose supervisor is killed notices nothing: its
//! control socket and its output stay open, and what it writes waits for the next one. And nothing
//! needs to be believed: only supervisors have these ends, and with the control socket of a worker
//! comes its pidfd, which means that process and no other.
//!
//! Left out: more workers than the socket has room for (some hundreds) are served and watched all the
//! same, but end with their supervisor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::control::Kept;
use crate::sys::{receive, send};

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    inlet: OwnedFd,
    outlet: OwnedFd,
    /// Messages that are in it.
    messages: usize,
    /// How many of them are about workers that have ended since.
    stale: usize,
}

/// A worker's descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) control: OwnedFd,
    /// The read end of its output.
    pub(super) output: OwnedFd,
    /// Its status memory.
    pub(super) status: OwnedFd,
    /// Not there where the kernel has none.
    pub(super) pidfd: Option<OwnedFd>,
}

/// Stale messages are taken out when there are so many, and as many as others.
const STALE: usize = 16;

impl Store {
    pub(super) fn new(inlet: OwnedFd, outlet: OwnedFd) -> Store {
        Store { inlet, outlet, messages: 0, stale: 0 }
    }

    /// Keeps the descriptors of a worker.
    pub(super) fn put(&mut self, kept: &Kept, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        send(self.inlet.as_fd(), &kept.encode(), fds, false)?;
        self.messages += 1;
        Ok(())
    }

    /// Takes everything out.
    pub(super) fn take_all(&mut self) -> Vec<(Kept, Descriptors)> {
        (self.messages, self.stale) = (0, 0);
        std::iter::from_fn(|| self.take()).flatten().collect()
    }

    /// A worker that is kept has ended; says whether it is time to [`Self::clean`].
    pub(super) fn is_dirty(&mut self, living: usize) -> bool {
        self.stale += 1;
        self.stale >= living.max(STALE)
    }

    /// Takes out what is about workers that have ended. One message is out at any moment, so that no
    /// more than one is lost if this process is killed meanwhile.
    /// Returns their control sockets, in which anything may lie that they have sent.
    pub(super) fn clean(&mut self, lives: impl Fn(&Kept) -> bool) -> Vec<OwnedFd> {
        self.stale = 0;
        let mut ended = Vec::new();
        for _ in 0..std::mem::take(&mut self.messages) {
            match self.take() {
                Some(Some((kept, fds))) if lives(&kept) => {
                    let _ = self.put(&kept, &fds.borrowed());
                }
                Some(Some((_, fds))) => ended.push(fds.control),
                Some(None) => {}
                None => break,
            }
        }
        ended
    }

    /// The next message; the inner `None` is nonsense.
    fn take(&self) -> Option<Option<(Kept, Descriptors)>> {
        let mut buffer = [0; 64];
        let received = receive(self.outlet.as_fd(), &mut buffer, false).ok()?;
        if received.length == 0 {
            return None;
        }
        let kept = Kept::decode(&buffer[..received.length]).ok();
        let mut fds = received.fds.into_iter();
        Some(kept.and_then(|kept| {
            let (control, output, status) = (fds.next()?, fds.next()?, fds.next()?);
            Some((kept, Descriptors { control, output, status, pidfd: fds.next() }))
        }))
    }
}

impl Descriptors {
    pub(super) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        let Descriptors { control, output, status, pidfd } = self;
        let all = [Some(control), Some(output), Some(status), pidfd.as_ref()];
        all.into_iter().flatten().map(AsFd::as_fd).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::pair;

    fn kept(slot: u32) -> Kept {
        Kept { group: 1, slot, epoch: 7, pid: 100 }
    }

    fn slots(store: &mut Store) -> Vec<u32> {
        store.take_all().iter().map(|(kept, _)| kept.slot).collect()
    }

    #[test]
    fn what_was_put_is_there_for_the_next_one() {
        let (inlet, outlet) = pair().unwrap();
        let (inlet_again, outlet_again) = (inlet.try_clone().unwrap(), outlet.try_clone().unwrap());
        let mut first = Store::new(inlet, outlet);
        let (near, far) = pair().unwrap();
        first.put(&kept(3), &[near.as_fd(); 3]).unwrap();
        first.put(&kept(4), &[near.as_fd(); 4]).unwrap();
        // Not a whole set.
        first.put(&kept(5), &[near.as_fd(); 2]).unwrap();
        drop((first, near));
        let mut second = Store::new(inlet_again, outlet_again);
        let all = second.take_all();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].0, all[1].0), (kept(3), kept(4)));
        assert!(all[0].1.pidfd.is_none() && all[1].1.pidfd.is_some());
        send(all[1].1.control.as_fd(), b"hello", &[], false).unwrap();
        assert_eq!(receive(far.as_fd(), &mut [0; 9], false).unwrap().length, 5);
        drop(all);
        assert_eq!(receive(far.as_fd(), &mut [0; 9], false).unwrap().length, 0, "nobody has it");
        assert!(second.take_all().is_empty());
    }

    #[test]
    fn the_ended_are_taken_out() {
        let (inlet, outlet) = pair().unwrap();
        let mut store = Store::new(inlet, outlet);
        let (near, _far) = pair().unwrap();
        for slot in 0..40 {
            store.put(&kept(slot), &[near.as_fd(); 3]).unwrap();
        }
        assert_eq!(store.clean(|kept| kept.slot % 4 == 0).len(), 30);
        assert_eq!(slots(&mut store), [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]);
        let dirty = (0..100).filter(|_| store.is_dirty(20)).count();
        assert_eq!(dirty, 81, "from the 20th on, until it is cleaned");
        // When it is full it says so.
        let full = (0..5_000).find(|slot| store.put(&kept(*slot), &[near.as_fd(); 3]).is_err());
        assert!(full.is_some_and(|count| count > 100), "{full:?}");
    }
}
