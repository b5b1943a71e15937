//! How long a request took, where the child asks: said with the head of its response.

use super::Stream;
use crate::wire::Times;

impl Stream<'_> {
    /// Has the response's head say how long the request took. What was said first counts.
    pub fn measured(&mut self, times: impl FnOnce() -> Times) {
        self.buffers.scratch.times.get_or_insert_with(times);
    }
}
