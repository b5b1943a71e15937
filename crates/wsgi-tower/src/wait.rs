//! Waiting for a future on a thread that has no runtime.
//!
//! The future's own task runs elsewhere, on the server's runtime; here a thread that runs Python
//! parks until it is woken or has waited long enough. `Handle::block_on` would do, too, but ties the
//! thread to one runtime and has no limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(std::thread::current())));
}

/// Polls once; the thread will be woken for the rest.
pub(crate) fn poll<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    WAKER.with(|waker| poll(&mut Context::from_waker(waker)))
}

/// Polls until there is a result, or `limit` is over.
pub(crate) fn wait<T>(
    limit: Duration,
    mut ask: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let mut end = None;
    loop {
        if let Poll::Ready(value) = poll(&mut ask) {
            return Some(value);
        }
        // The clock is not asked where nothing has to be waited for.
        let now = Instant::now();
        let left = end.get_or_insert(now + limit).saturating_duration_since(now);
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

/// The same for a future.
pub(crate) fn wait_for<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    wait(limit, |context| future.as_mut().poll(context))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_thread_ends_the_wait() {
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            sender.send(7).unwrap();
        });
        let got = wait_for(Duration::from_secs(10), Pin::new(&mut receiver));
        assert_eq!(got, Some(Ok(7)));
        thread.join().unwrap();
    }

    #[test]
    fn a_limit_is_kept() {
        let began = Instant::now();
        let limit = Duration::from_millis(30);
        assert_eq!(wait(limit, |_| Poll::<()>::Pending), None);
        assert!(began.elapsed() >= limit);
        assert_eq!(wait(Duration::ZERO, |_| Poll::Ready(1)), Some(1));
    }
}
