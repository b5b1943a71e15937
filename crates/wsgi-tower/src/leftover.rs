//! What a client has sent and the application has not read.
//!
//! A connection can go on only once that is out of the way. A little of it, if it is there already,
//! is read and thrown away; otherwise the server closes the connection, as hyper does by itself.
//! There is no clock here, so "there already" is counted in turns that are given to the server.

use std::task::{Context, Poll};

use crate::host::Incoming;

/// Most that is thrown away.
const MOST: usize = 256 << 10;
/// Turns for the server to find more in its socket.
const TURNS: u32 = 16;

/// An unread body.
pub(crate) struct Leftover {
    incoming: Incoming,
    seen: usize,
    turns: u32,
}

impl Leftover {
    pub(crate) fn new(incoming: Incoming) -> Leftover {
        Leftover { incoming, seen: 0, turns: 0 }
    }

    /// Reads until the end, or until it is too much.
    pub(crate) fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.seen < MOST {
            match (self.incoming)(context) {
                Poll::Ready(Some(Ok(data))) => self.seen += data.len(),
                Poll::Ready(Some(Err(_)) | None) => break,
                Poll::Pending if self.turns < TURNS => {
                    self.turns += 1;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }

    /// The same as a future.
    pub(crate) async fn drain(mut self) {
        std::future::poll_fn(|context| self.poll_drain(context)).await;
    }
}

impl std::fmt::Debug for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leftover").field("seen", &self.seen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bytes::Bytes;

    use super::*;

    /// Turns it takes to drain what this gives.
    fn turns(mut next: impl FnMut(u32) -> Poll<Option<Bytes>> + Send + 'static) -> u32 {
        let mut count = 0;
        let incoming = move |_: &mut Context<'_>| {
            count += 1;
            next(count).map(|data| data.map(Ok))
        };
        let mut leftover = Leftover::new(Box::new(incoming));
        let mut context = Context::from_waker(Waker::noop());
        let mut turns = 0;
        while leftover.poll_drain(&mut context).is_pending() {
            turns += 1;
        }
        turns
    }

    #[test]
    fn what_is_there_is_read_to_its_end() {
        assert_eq!(turns(|count| Poll::Ready((count < 4).then(|| Bytes::from_static(b"x")))), 0);
        let slow = |count| match count % 2 {
            0 => Poll::Ready((count < 8).then(|| Bytes::from_static(b"x"))),
            _ => Poll::Pending,
        };
        assert_eq!(turns(slow), 4);
    }

    #[test]
    fn neither_a_silent_nor_an_endless_client_is_waited_for() {
        assert_eq!(turns(|_| Poll::Pending), TURNS);
        assert_eq!(turns(|_| Poll::Ready(Some(Bytes::from_static(&[0; 4096])))), 0);
    }
}
