//! Asking workers where their requests are, for somebody who looks at a page.
//!
//! All are asked at once, over the supervisor, and waited for together, for a short time: a worker
//! whose application keeps everybody out has no answer, and that is one, too. Nobody else waits
//! meanwhile, neither here nor there.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::child::Child;
use crate::control::{Connect, MAX_PLACES, Purpose, decode_places};
use crate::sys::{pair, receive, refuse_descriptors, send};

pub use crate::control::Places;

/// Where a worker is asked something. One that has ended does not answer, nor does another in its
/// place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub(super) group: u32,
    pub(super) slot: u32,
    pub(super) epoch: u32,
}

impl Child {
    /// What workers say about where their requests are, as far as they answer within `limit`.
    pub fn inquire(&self, workers: &[Address], limit: Duration) -> Vec<Option<Places>> {
        let until = Instant::now() + limit;
        let mut channels: Vec<_> = workers.iter().map(|worker| self.ask(*worker)).collect();
        let mut answers: Vec<Option<Places>> = workers.iter().map(|_| None).collect();
        let mut buffer = vec![0; MAX_PLACES];
        while let Some(left) = until.checked_duration_since(Instant::now())
            && wait(&channels, left)
        {
            for (channel, answer) in channels.iter_mut().zip(&mut answers) {
                let Some(open) = channel else { continue };
                // Descriptors that come along are closed.
                match receive(open.as_fd(), &mut buffer, false) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Ok(received) if !received.cut => {
                        *answer =
                            buffer.get(..received.length).and_then(|it| decode_places(it).ok());
                    }
                    _ => {}
                }
                *channel = None;
            }
        }
        answers
    }

    fn ask(&self, worker: Address) -> Option<OwnedFd> {
        let (near, far) = pair().ok()?;
        refuse_descriptors(near.as_fd());
        let Address { group, slot, epoch } = worker;
        let message = Connect { group, slot, epoch, purpose: Purpose::Inquiry };
        // A supervisor that does not read has other worries.
        send(self.channel, &message.encode(), &[far.as_fd()], false).ok()?;
        Some(near)
    }
}

/// Waits until one of them has something; `false` if the time has passed or there is none.
fn wait(channels: &[Option<OwnedFd>], left: Duration) -> bool {
    let mut fds: Vec<_> =
        channels.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    !fds.is_empty()
        && match poll(&mut fds, Some(&timeout)) {
            Ok(count) => count > 0,
            Err(error) => error == rustix::io::Errno::INTR,
        }
}
