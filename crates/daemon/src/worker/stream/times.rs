//! How long a request took, where the child asks: said with the head of its response.

use super::Stream;
use crate::wire::Times;

impl Stream<'_> {
    /// Microseconds that this request has waited for the lock that threads of its domain share,
    /// after it was there: a part of the time before a thread had taken it. Told once.
    pub fn lock_wait(&mut self) -> u32 {
        std::mem::take(&mut self.buffers.waited)
    }

    /// Has the response's head say how long the request took. What was said first counts.
    pub fn measured(&mut self, times: impl FnOnce() -> Times) {
        self.buffers.scratch.times.get_or_insert_with(times);
    }
}
