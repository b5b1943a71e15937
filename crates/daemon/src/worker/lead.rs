//! Which of a domain's threads leads, that is, waits for connections to become ready, on behalf of all.
//!
//! Handing the lead to another thread before each request would cost more than a small request does:
//! that thread wakes up, waits for the lock, gets it, and finds nothing left to do. So a leader that
//! runs a request only *lends* the lead. It takes the lead back when the request is over, unless that
//! took longer than [`TICK`]: by then the *standby*, one of the waiting threads, has taken it. While
//! requests take so long, or wait for anything even for a moment, the leader hands the lead on before
//! each of them ([`Lead::is_eager`]), so that others can run meanwhile.
//!
//! The standby watches the clock while a request runs, and dozes while there is nothing to do.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex;

use crate::sys::voluntary_switches;

/// A request that takes longer does not keep the lead.
const TICK: Duration = Duration::from_millis(1);
/// After a request that has waited, the lead is handed on for so many requests.
const EAGER: u32 = 64;
/// Whether a request has waited is asked for one of so many.
const SAMPLE: u32 = 8;

/// The lead, and who may have it.
#[derive(Debug)]
pub(super) struct Lead {
    /// The state in the lowest bits, and above them a number that changes whenever the state does.
    word: AtomicU32,
    /// Held by the standby, and by a leader until it lends the lead or hands it on: so that handing on
    /// wakes one thread, and not also the one that becomes the next standby.
    standby: Mutex<()>,
    /// There is a standby.
    waits: AtomicBool,
    /// The standby does not look at the clock: it is to be woken when the lead is lent.
    dozes: AtomicBool,
    /// Before how many more requests the lead is to be handed on.
    eager: AtomicU32,
}

const FREE: u32 = 0;
const HELD: u32 = 1;
const LENT: u32 = 2;
/// The bits of the state.
const STATE: u32 = 3;

/// Being the leader, until this is dropped.
#[derive(Debug)]
pub(super) struct Leading<'l> {
    lead: &'l Lead,
    /// There can be no standby as long as this is held.
    alone: Option<MutexGuard<'l, ()>>,
}

/// Having lent the lead, which comes back unless another thread has taken it.
#[derive(Debug)]
pub(super) struct Lent<'l> {
    lead: &'l Lead,
    word: u32,
}

/// One thread's measure of the requests it runs.
#[derive(Debug)]
pub(super) struct Measure {
    since: Instant,
    requests: u32,
    switches: Option<u64>,
}

impl Lead {
    pub(super) fn new() -> Lead {
        Lead {
            word: AtomicU32::new(FREE),
            standby: Mutex::new(()),
            waits: AtomicBool::new(false),
            dozes: AtomicBool::new(false),
            eager: AtomicU32::new(0),
        }
    }

    /// Waits until the calling thread leads.
    pub(super) fn take(&self) -> Leading<'_> {
        let standby = self.standby.lock().unwrap_or_else(PoisonError::into_inner);
        self.waits.store(true, SeqCst);
        // The word that has been there for a whole tick.
        let mut same = None;
        loop {
            let word = self.word.load(SeqCst);
            let is_same = same == Some(word);
            match word & STATE {
                FREE => {
                    if self.change(word, HELD).is_some() {
                        break;
                    }
                }
                LENT if is_same => {
                    if self.change(word, HELD).is_some() {
                        self.eager.store(EAGER, Relaxed);
                        break;
                    }
                }
                _ if is_same => {
                    self.dozes.store(true, SeqCst);
                    fence(SeqCst);
                    // Does not wait if the word has changed: whoever changes it looks at `dozes` after.
                    let _ = self.wait(word, None);
                    self.dozes.store(false, SeqCst);
                    same = None;
                }
                _ => same = (self.wait(word, Some(TICK)) == Err(Errno::TIMEDOUT)).then_some(word),
            }
        }
        self.waits.store(false, SeqCst);
        Leading { lead: self, alone: Some(standby) }
    }

    /// Whether the lead is to be handed on before a request is run.
    pub(super) fn is_eager(&self) -> bool {
        self.eager.load(Relaxed) > 0
    }

    /// Takes note of a request that was run.
    fn note(&self, has_waited: bool) {
        let eager = self.eager.load(Relaxed);
        if has_waited {
            self.eager.store(EAGER, Relaxed);
        } else if eager > 0 {
            self.eager.store(eager - 1, Relaxed);
        }
    }

    /// Changes the state, if the word is still this one; gives the new word.
    fn change(&self, word: u32, state: u32) -> Option<u32> {
        let next = (word & !STATE).wrapping_add(STATE + 1) | state;
        self.word.compare_exchange(word, next, SeqCst, SeqCst).ok().map(|_| next)
    }

    fn wait(&self, word: u32, longest: Option<Duration>) -> Result<(), Errno> {
        let longest = longest.map(|longest| futex::Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: i64::from(longest.subsec_nanos()),
        });
        futex::wait(&self.word, futex::Flags::PRIVATE, word, longest.as_ref())
    }

    fn wake(&self) {
        let _ = futex::wake(&self.word, futex::Flags::PRIVATE, 1);
    }
}

impl<'l> Leading<'l> {
    /// Gives the lead away for the length of a request.
    pub(super) fn lend(mut self) -> Lent<'l> {
        let lead = self.lead;
        let alone = self.alone.take();
        std::mem::forget(self);
        let word = lead.word.load(SeqCst);
        // Nobody changes what is held.
        let word = lead.change(word, LENT).unwrap_or(word);
        fence(SeqCst);
        if lead.dozes.load(SeqCst) {
            lead.wake();
        }
        drop(alone);
        Lent { lead, word }
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        let word = self.lead.word.load(SeqCst);
        self.lead.change(word, FREE);
        fence(SeqCst);
        if self.lead.waits.load(SeqCst) {
            self.lead.wake();
        }
        // `alone` goes last: only now can there be another standby.
    }
}

impl<'l> Lent<'l> {
    /// Takes the lead back; `None` if somebody else has it.
    pub(super) fn reclaim(self) -> Option<Leading<'l>> {
        let Lent { lead, word } = self;
        std::mem::forget(self);
        lead.change(word, HELD).map(|_| Leading { lead, alone: None })
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if self.lead.change(self.word, HELD).is_some() {
            drop(Leading { lead: self.lead, alone: None });
        }
    }
}

impl Measure {
    pub(super) fn new() -> Measure {
        Measure { since: Instant::now(), requests: 0, switches: None }
    }

    /// A request begins, now or when the last one ended. Says when that was.
    pub(super) fn begin(&mut self, first: bool) -> Instant {
        if first {
            self.since = Instant::now();
        }
        self.switches = self.requests.is_multiple_of(SAMPLE).then(voluntary_switches).flatten();
        self.requests = self.requests.wrapping_add(1);
        self.since
    }

    /// It has ended, and did not give the lead back if `lost`. Says when that is.
    pub(super) fn end(&mut self, lead: &Lead, lost: bool) -> Instant {
        let now = Instant::now();
        let slow = now - std::mem::replace(&mut self.since, now) >= TICK;
        let has_slept = self.switches.is_some() && self.switches != voluntary_switches();
        lead.note(lost || slow || has_slept);
        now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    #[test]
    fn one_thread_leads_whoever_lends_and_takes() {
        let lead = Lead::new();
        let (leaders, most, turns) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = Instant::now();
        thread::scope(|scope| {
            for number in 0..4 {
                let (lead, leaders, most, turns) = (&lead, &leaders, &most, &turns);
                scope.spawn(move || {
                    let mut leading = None;
                    for turn in 0..400 {
                        let held = leading.take().unwrap_or_else(|| lead.take());
                        let now = leaders.fetch_add(1, SeqCst) + 1;
                        most.fetch_max(now, SeqCst);
                        turns.fetch_add(1, SeqCst);
                        leaders.fetch_sub(1, SeqCst);
                        let lent = held.lend();
                        // Some keep it long enough to lose it.
                        if (turn + number) % 100 == 0 {
                            thread::sleep(3 * TICK);
                        }
                        leading = lent.reclaim().filter(|_| turn % 7 != 0);
                    }
                });
            }
        });
        assert_eq!((most.into_inner(), turns.into_inner()), (1, 1600));
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(lead.word.load(SeqCst) & STATE, FREE);
    }

    #[test]
    fn what_is_lent_for_long_is_lost() {
        let lead = Lead::new();
        let lent = lead.take().lend();
        thread::scope(|scope| {
            let other = scope.spawn(|| drop(lead.take()));
            other.join().unwrap();
        });
        assert!(lead.is_eager());
        assert!(lent.reclaim().is_none());
    }

    #[test]
    fn a_standby_that_dozes_is_woken() {
        let lead = Lead::new();
        thread::scope(|scope| {
            let held = lead.take();
            let other = scope.spawn(|| drop(lead.take()));
            // Long enough for it to look twice.
            thread::sleep(100 * TICK);
            let lent = held.lend();
            other.join().unwrap();
            assert!(lent.reclaim().is_none());
            let held = lead.take();
            let other = scope.spawn(|| drop(lead.take()));
            thread::sleep(100 * TICK);
            drop(held);
            other.join().unwrap();
        });
    }

    #[test]
    fn requests_that_wait_make_it_eager_for_a_while() {
        let lead = Lead::new();
        let mut measure = Measure::new();
        let mut run = |request: &dyn Fn()| {
            measure.begin(true);
            request();
            measure.end(&lead, false);
        };
        run(&|| thread::sleep(Duration::from_micros(50)));
        assert!(lead.is_eager());
        // Whether a thread is stopped meanwhile is not ours to say.
        for _ in 0..100 * EAGER {
            run(&|| ());
            if !lead.is_eager() {
                break;
            }
        }
        assert!(!lead.is_eager());
        run(&|| thread::sleep(TICK));
        assert!(lead.is_eager());
    }
}
