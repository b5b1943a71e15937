//! How long to wait before something that keeps failing is tried again.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// The longest that whoever can end a worker by what it asks for can keep the group from serving.
const LONGEST_BRIEF: Duration = Duration::from_secs(1);
/// A process that lives for so long after it was ready was no failure.
pub(super) const LIVED: Duration = Duration::from_secs(1);

/// Doubles with every failure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// Processes that were ready, and then ended soon.
    brief: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// It has failed again.
    pub(super) fn fail(&mut self, now: Instant) {
        let delay = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + delay);
    }

    /// What was started did work, but not for long. The first time costs nothing.
    pub(super) fn fail_after_all(&mut self, now: Instant) {
        let delay = FIRST.saturating_mul(1 << self.brief.min(16)) / 2;
        let delay = if self.brief == 0 { Duration::ZERO } else { delay.min(LONGEST_BRIEF) };
        self.brief = self.brief.saturating_add(1);
        self.failures = 0;
        self.until = Some(now + delay);
    }

    /// It works.
    pub(super) fn reset(&mut self) {
        *self = Backoff::default();
    }

    /// Whether it may be tried.
    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// From when on it may be tried, if it has failed.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it has failed and not worked since.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// How often it has failed since it worked.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit() {
        let (mut backoff, begun) = (Backoff::default(), Instant::now());
        assert!(backoff.may_try(begun) && !backoff.is_failing());
        let mut now = begun;
        let mut delays = Vec::new();
        for _ in 0..10 {
            backoff.fail(now);
            let before = now;
            while !backoff.may_try(now) {
                now += Duration::from_millis(250);
            }
            delays.push((now - before).as_millis());
        }
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        backoff.reset();
        assert!(backoff.may_try(now) && !backoff.is_failing());
    }

    #[test]
    fn what_has_worked_is_tried_again_soon() {
        let (mut backoff, begun) = (Backoff::default(), Instant::now());
        let mut delays = Vec::new();
        for _ in 0..6 {
            backoff.fail_after_all(begun);
            assert!(!backoff.is_failing(), "requests wait for it");
            delays.push(backoff.until().map(|until| (until - begun).as_millis()));
        }
        assert_eq!(delays, [0, 250, 500, 1000, 1000, 1000].map(Some));
    }
}
