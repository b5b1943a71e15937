//! A question to a worker: where are the requests that run?
//!
//! It comes from a child that shows a page, over the supervisor, with the end of a channel to answer
//! on. The worker knows which of its threads have a request; where a thread is, the application's
//! side tells, which may take as long as it likes: nobody is kept waiting but the asker, who does not
//! wait for long.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::fork::Own;
use super::status::{Inside, Status};
use crate::control::{encode_places, room};
use crate::sys::{above, send};

/// Somebody who wants to know where the requests are.
#[derive(Debug)]
pub struct Inquiry {
    to: Own,
    status: Arc<Status>,
    inside: Vec<Inside>,
}

impl Inquiry {
    pub(super) fn new(to: OwnedFd, status: Arc<Status>) -> Inquiry {
        Inquiry { to: Own::new(above(to, 1024)), inside: status.inside(), status }
    }

    /// Where the answer was to go, if there is to be none.
    pub(super) fn into_channel(self) -> Own {
        self.to
    }

    /// The requests, as they were when the question came.
    pub fn inside(&self) -> &[Inside] {
        &self.inside
    }

    /// How many bytes there may be about each.
    pub fn room(&self) -> usize {
        room(self.inside.len())
    }

    /// Says where they are, in the order of [`Inquiry::inside`]. Of one that has ended meanwhile
    /// nothing is said: its thread may be in the next. Who has not waited misses it.
    pub fn answer(self, places: Vec<Vec<u8>>) {
        let still = self.status.inside();
        let places: Vec<_> = self
            .inside
            .iter()
            .zip(places)
            .filter(|(inside, _)| still.contains(inside))
            .map(|(inside, text)| (inside.started, text))
            .collect();
        let _ = send(self.to.as_fd(), &encode_places(&places), &[], false);
    }
}
