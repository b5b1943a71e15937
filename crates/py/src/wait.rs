//! How long a thread has waited for the interpreter's lock, wherever this crate or `interp` asked
//! for it.
//!
//! Not measured until somebody wants to know. What an application waits for inside Python, after a
//! system call or when the interpreter makes it take turns, happens where nobody can look.
//!
//! Per thread, in a place without a destructor; whoever wants the share of one piece of work takes
//! the difference.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What a thread has waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How often it asked for the lock.
    pub count: u64,
    /// How long it took to get it.
    pub time: Duration,
}

impl Waits {
    /// Never.
    pub const NONE: Waits = Waits { count: 0, time: Duration::ZERO };

    /// What the calling thread has waited since it is measured.
    pub fn of_this_thread() -> Waits {
        WAITS.get()
    }

    /// When the calling thread last got the lock, if it has waited since `start`: a point of time that
    /// is not worth another look at the clock.
    pub fn got_since(start: Waits) -> Option<Instant> {
        GOT.get().filter(|_| WAITS.get().count > start.count)
    }

    /// What came between `start` and this.
    #[must_use]
    pub fn since(self, start: Waits) -> Waits {
        Waits {
            count: self.count.saturating_sub(start.count),
            time: self.time.saturating_sub(start.time),
        }
    }
}

static MEASURED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WAITS: Cell<Waits> = const { Cell::new(Waits::NONE) };
    /// When the last one ended.
    static GOT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Measures from now on, for as long as the process runs, in all threads.
pub fn measure_waits() {
    if !MEASURED.load(Ordering::Relaxed) {
        MEASURED.store(true, Ordering::Relaxed);
    }
}

/// Runs `f`, which gets the lock, and counts how long it takes.
#[inline]
pub fn waiting<R>(f: impl FnOnce() -> R) -> R {
    if !MEASURED.load(Ordering::Relaxed) {
        return f();
    }
    measured(f)
}

#[cold]
#[inline(never)]
fn measured<R>(f: impl FnOnce() -> R) -> R {
    let begun = Instant::now();
    let result = f();
    let got = Instant::now();
    let time = got.saturating_duration_since(begun);
    let Waits { count, time: before } = WAITS.get();
    WAITS.set(Waits { count: count + 1, time: before + time });
    GOT.set(Some(got));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up_once_they_are_measured() {
        let pause = || std::thread::sleep(Duration::from_millis(2));
        waiting(pause);
        assert_eq!(Waits::of_this_thread(), Waits::default());
        assert_eq!(Waits::got_since(Waits::NONE), None);
        measure_waits();
        let begun = Instant::now();
        waiting(pause);
        let first = Waits::of_this_thread();
        let got = Waits::got_since(Waits::NONE);
        assert!(got.is_some_and(|got| got >= begun + Duration::from_millis(2)), "{got:?}");
        assert_eq!(Waits::got_since(first), None);
        assert!(first.count == 1 && first.time >= Duration::from_millis(2));
        waiting(pause);
        let share = Waits::of_this_thread().since(first);
        assert!(share.count == 1 && share.time >= Duration::from_millis(2));
        assert_eq!(first.since(Waits::of_this_thread()), Waits::default());
    }
}
