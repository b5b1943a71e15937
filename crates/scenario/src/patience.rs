//! Waiting in tests: never without end, and never by the clock where an event will do.
//!
//! A test that waits for ever takes all the others with it, and says nothing; one that is short of
//! patience fails on a machine that has other things to do. So there is one limit for all of them,
//! which is far beyond what any machine needs. Two ways to hang deserve a guard of their own: a thread
//! of a [`std::thread::scope`] that goes on until it is told, where a failed assertion would leave
//! before telling it ([`finally`]), and a call into what is tested that never returns ([`Deadline`]).

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a single test may take.
pub const LIMIT: Duration = Duration::from_secs(240);

/// How long a test waits for one thing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
///
/// # Panics
/// It does not come, for [`PATIENCE`].
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Does something at the end of a block, however that comes about.
pub fn finally<F: FnOnce()>(what: F) -> Finally<F> {
    Finally(Some(what))
}

/// See [`finally`].
#[must_use = "it is done when this is dropped"]
#[derive(Debug)]
pub struct Finally<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Finally<F> {
    fn drop(&mut self) {
        if let Some(what) = self.0.take() {
            what();
        }
    }
}

/// Ends the process, which says why, when this is there for too long. For whatever waits inside of
/// what is tested.
#[must_use = "it holds for as long as this lives"]
#[derive(Debug)]
pub struct Deadline {
    _over: Sender<()>,
}

impl Deadline {
    /// From now on, for [`LIMIT`].
    pub fn start() -> Deadline {
        Deadline::of(thread::current().name().unwrap_or("a test"))
    }

    /// The same for a test of that name, where threads do not have the names of tests.
    pub fn of(test: &str) -> Deadline {
        Deadline::after(test, LIMIT)
    }

    fn after(test: &str, limit: Duration) -> Deadline {
        let (over, wait) = channel();
        let test = test.to_owned();
        thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // Not with a macro, whose output would be kept for a report that never comes.
                let text = format!("{test} has not ended after {limit:?}\n");
                let _ = std::io::stderr().write_all(text.as_bytes());
                std::process::abort();
            }
        });
        Deadline { _over: over }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::scenario;

    #[test]
    fn a_flag_is_raised_when_an_assertion_fails() {
        let done = AtomicBool::new(false);
        let failed = std::panic::catch_unwind(|| {
            thread::scope(|scope| {
                scope.spawn(|| until("the end", || done.load(Ordering::SeqCst)));
                let _done = finally(|| done.store(true, Ordering::SeqCst));
                std::panic::resume_unwind(Box::new("failed"));
            })
        });
        assert!(failed.is_err() && done.into_inner());
    }

    #[test]
    #[should_panic(expected = "it has not ended after 10ms")]
    fn a_test_that_hangs_ends() {
        scenario("patience::tests::a_test_that_hangs_ends", || {
            let _deadline = Deadline::after("it", Duration::from_millis(10));
            thread::sleep(LIMIT);
        });
    }

    #[test]
    fn a_deadline_ends_with_its_test() {
        drop(Deadline::after("it", Duration::from_millis(50)));
        thread::sleep(Duration::from_millis(100));
    }
}
