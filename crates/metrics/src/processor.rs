//! What a thread's requests use of processors, without asking at each of them.
//!
//! Asking the kernel takes microseconds, which is a lot for a request that takes fifty. So a thread's
//! clock is read by whoever takes an interval, once for all its requests: that is everything the
//! thread has used. What it has used *between* requests is not theirs. It is measured where requests
//! are [`EVERY`] apart or further, and otherwise for about one gap in that time, or one in [`MOST`];
//! the others count as much as these do on average, in all threads and for a while. So what is
//! estimated is what the server does with a connection, which is much the same each time, and not what
//! applications do, which is not.
//!
//! Which gap it is, is a matter of counting: the first after a pause would be one in which nothing is
//! in the processor's caches.
//!
//! Where nobody can read another thread's clock (not on Linux), each thread reads its own at every end
//! and beginning.
//! <https://man7.org/linux/man-pages/man3/pthread_getcpuclockid.3.html>

use crate::usage::{ThreadClock, thread_time};

/// How often a gap is measured in which a thread is between requests, in nanoseconds. Two readings in
/// that time are a ten-thousandth of it.
const EVERY: u64 = if ThreadClock::IS_SHARED { 50_000_000 } else { 0 };
/// One gap of so many is measured at least.
const MOST: u64 = 64;

/// One thread. Times are nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Processor {
    /// None before its first request.
    clock: Option<ThreadClock>,
    /// What the clock showed when the interval began.
    start: u64,
    /// What it showed last, as far as this thread has looked.
    seen: u64,
    /// What looking uses.
    look: u64,
    /// Used between requests, as far as that was measured.
    between: u64,
    /// Gaps that were not.
    unmeasured: u64,
    /// Those that were, from end to end.
    whole: Gaps,
    gap: Option<Gap>,
    /// When the last began that is measured, how many were not to be after it, and how many of those
    /// are to come.
    last: u64,
    skipped: u64,
    left: u64,
}

/// Gaps of which it is known what was used in them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gaps {
    used: u64,
    count: u64,
}

impl Gaps {
    /// Adds those of a thread; of old ones every other is forgotten when there are many.
    pub(crate) fn add(&mut self, new: Gaps) {
        self.used = self.used.saturating_add(new.used);
        self.count += new.count;
        while self.count > MANY {
            self.used /= 2;
            self.count /= 2;
        }
    }
}

/// Enough gaps for an average.
const MANY: u64 = 1 << 13;

/// What a thread has used in an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    all: u64,
    between: u64,
    unmeasured: u64,
    /// The gaps that were measured.
    pub(crate) gaps: Gaps,
}

impl Used {
    /// Without what was used between requests, where `gaps` says how much that is on average.
    pub(crate) fn in_requests(&self, gaps: Gaps) -> u64 {
        // A sum that is divided last: a gap is a small number.
        let unmeasured = u128::from(self.unmeasured) * u128::from(gaps.used);
        let unmeasured = unmeasured.checked_div(gaps.count.into()).unwrap_or(0);
        let between = u128::from(self.between).saturating_add(unmeasured);
        self.all.saturating_sub(u64::try_from(between).unwrap_or(u64::MAX))
    }
}

/// Between requests, measured.
#[derive(Clone, Copy, Debug)]
struct Gap {
    start: u64,
    is_whole: bool,
}

impl Processor {
    /// The calling thread, whose this is, begins a request.
    pub(crate) fn begin(&mut self) {
        if self.clock.is_none() {
            self.clock = Some(ThreadClock::of_this_thread());
            let looks = [thread_time(), thread_time(), thread_time()];
            // In a gap the kernel's code and data are not in the caches as they are here: half as much
            // again brings the estimate close to what requests take by the wall clock.
            self.look = (looks[1] - looks[0]).min(looks[2] - looks[1]) * 3 / 2;
            (self.start, self.seen) = (looks[2], looks[2]);
        } else if let Some(gap) = self.gap.take() {
            let used = thread_time().saturating_sub(gap.start);
            self.between += used;
            if gap.is_whole {
                // In others nobody looks.
                let used = used.saturating_sub(self.look);
                self.whole.used += used;
                self.whole.count += 1;
            }
        }
    }

    /// It ends one, at this point of time.
    pub(crate) fn end(&mut self, now: u64) {
        if self.left > 0 {
            self.left -= 1;
            self.unmeasured += 1;
            return;
        }
        let passed = now.saturating_sub(self.last).max(1);
        self.skipped = ((self.skipped + 1).saturating_mul(EVERY) / passed).min(MOST - 1);
        (self.last, self.left) = (now, self.skipped);
        self.seen = thread_time();
        self.gap = Some(Gap { start: self.seen, is_whole: true });
    }

    /// What the thread has used since this was last asked, by any thread; `is_idle` while it is in no
    /// request.
    pub(crate) fn take(&mut self, is_idle: bool) -> Used {
        let Some(clock) = self.clock else { return Used::default() };
        // A thread that has ended has no clock.
        let now = clock.read().unwrap_or(self.seen);
        if is_idle {
            if let Some(gap) = self.gap {
                self.between += now.saturating_sub(gap.start);
            }
            // What is left of the gap, however long that is, is measured.
            self.gap = Some(Gap { start: now, is_whole: false });
        }
        Used {
            all: now.saturating_sub(std::mem::replace(&mut self.start, now)),
            between: std::mem::take(&mut self.between),
            unmeasured: std::mem::take(&mut self.unmeasured),
            gaps: std::mem::take(&mut self.whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// Uses so many microseconds; returns what it has used in fact.
    fn burn(us: u64) -> u64 {
        let start = thread_time();
        loop {
            let used = thread_time() - start;
            if used >= us * 1000 {
                return used;
            }
        }
    }

    /// Requests that burn this, and what is burnt after each.
    fn serve(processor: &mut Processor, requests: impl Iterator<Item = (u64, u64)>) -> u64 {
        let epoch = Instant::now();
        let mut expected = 0;
        for (request, gap) in requests {
            processor.begin();
            expected += burn(request);
            processor.end(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(0));
            burn(gap);
        }
        expected
    }

    /// What was used in requests.
    fn take(processor: &mut Processor, is_idle: bool) -> u64 {
        let used = processor.take(is_idle);
        used.in_requests(used.gaps)
    }

    #[test]
    fn what_is_not_measured_is_as_much_as_what_is() {
        let mut known = Gaps::default();
        let used = Used { all: 1000, between: 100, unmeasured: 10, gaps: Gaps::default() };
        assert_eq!(used.in_requests(known), 900, "nothing is known");
        known.add(Gaps { used: 90, count: 3 });
        assert_eq!(used.in_requests(known), 600);
        assert_eq!(Used { all: 300, ..used }.in_requests(known), 0);
        for _ in 0..5 {
            known.add(Gaps { used: 20 * MANY, count: MANY });
        }
        assert!(known.count <= MANY && (20..22).contains(&(known.used / known.count)));
    }

    #[track_caller]
    fn is_about(found: u64, expected: u64, percent: u64) {
        let most = expected * percent / 100;
        assert!(found.abs_diff(expected) <= most, "{found} is not about {expected}");
    }

    #[test]
    fn short_requests_add_up_without_what_is_between_them() {
        let mut processor = Processor::default();
        let expected = serve(&mut processor, (0..1500).map(|_| (60, 40)));
        // Each reading of `burn` that is not counted there is counted here.
        is_about(take(&mut processor, true), expected, 10);
        // In the next interval, too, which is none of the first.
        let expected = serve(&mut processor, (0..1500).map(|_| (20, 80)));
        is_about(take(&mut processor, true), expected, 30);
    }

    #[test]
    fn long_requests_are_exact_among_short_ones() {
        let mut processor = Processor::default();
        let length = |number| if number % 500 == 499 { 100_000 } else { 10 };
        let expected = serve(&mut processor, (0..1500).map(|number| (length(number), 10)));
        is_about(take(&mut processor, true), expected, 10);
    }

    #[test]
    fn what_a_thread_does_for_others_is_not_counted() {
        let mut processor = Processor::default();
        let expected = serve(&mut processor, (0..2).map(|_| (100, 0)));
        take(&mut processor, true);
        burn(50_000);
        assert!(take(&mut processor, true) < 5_000_000);
        // Nor in the interval in which the gap ends.
        burn(50_000);
        let expected = serve(&mut processor, std::iter::once((20_000, 0))).max(expected);
        is_about(take(&mut processor, true), expected, 10);
        assert!(take(&mut processor, true) < 1_000_000);
    }

    #[test]
    fn waiting_uses_nothing() {
        let mut processor = Processor::default();
        processor.begin();
        std::thread::sleep(Duration::from_millis(30));
        processor.end(0);
        assert!(take(&mut processor, true) < 10_000_000);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_thread_may_ask_while_it_runs_and_when_it_has_ended() {
        use std::sync::Mutex;
        use std::sync::mpsc::channel;

        let processor = Mutex::new(Processor::default());
        let lock = || processor.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (burnt, wait) = channel();
        let (go_on, going_on) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                lock().begin();
                let _ = burnt.send(burn(20_000));
                // Ends when the other has looked.
                let _ = going_on.recv();
                lock().end(0);
            });
            let expected = wait.recv().unwrap_or_default();
            is_about(take(&mut lock(), false), expected, 25);
            drop(go_on);
        });
        assert!(take(&mut lock(), true) < 5_000_000);
    }
}
