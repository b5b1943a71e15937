//! What Python's garbage collector does: counters of an interpreter, and single runs of it.
//!
//! Runs are noted by code that holds Python's lock, so noting never waits: if somebody is just
//! taking them out, the run is counted as lost. That also keeps a forked child, in which nobody
//! lets go any more, from waiting for ever.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::field;
use crate::frame::{Frame, Kind};

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Collection {
    /// When it began, in seconds since 1970.
    pub start: f64,
    /// In seconds.
    pub duration: f64,
    /// 0 is the youngest.
    pub generation: u64,
    /// Objects it freed.
    pub collected: u64,
    /// Objects it could not free.
    pub uncollectable: u64,
}

/// Counters of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    /// Objects since its last run, or runs of the generation below.
    pub count: u64,
    /// What starts a run.
    pub threshold: u64,
    /// Runs.
    pub collections: u64,
    /// Objects freed.
    pub collected: u64,
    /// Objects that could not be.
    pub uncollectable: u64,
}

/// Counters of an interpreter's collector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The youngest first.
    pub generations: [Generation; 3],
    /// It runs by itself.
    pub is_enabled: bool,
    /// Objects it does not look at.
    pub frozen: u64,
}

impl Snapshot {
    /// Adds what another interpreter counts, for readers that know one collector per process. The
    /// thresholds stay.
    pub fn add(&mut self, other: &Snapshot) {
        for (own, other) in self.generations.iter_mut().zip(&other.generations) {
            own.count += other.count;
            own.collections += other.collections;
            own.collected += other.collected;
            own.uncollectable += other.uncollectable;
        }
        self.is_enabled |= other.is_enabled;
        self.frozen += other.frozen;
    }

    pub(crate) fn frame(&self, pid: u32, interpreter: &[u8], dropped: u64) -> Frame {
        let mut frame = Frame::new(Kind::GcSnapshot, pid, crate::now());
        frame.interpreter(interpreter);
        for (first, pick) in [
            (field::GC_COUNT, (|it| it.count) as fn(&Generation) -> u64),
            (field::GC_THRESHOLD, |it| it.threshold),
            (field::GC_COLLECTIONS, |it| it.collections),
            (field::GC_COLLECTED, |it| it.collected),
            (field::GC_UNCOLLECTABLE, |it| it.uncollectable),
        ] {
            for (id, generation) in (first..).zip(&self.generations) {
                frame.u64(id, pick(generation));
            }
        }
        frame.u64(field::GC_IS_ENABLED, self.is_enabled.into());
        frame.u64(field::GC_FREEZE_COUNT, self.frozen);
        frame.u64(field::GC_DROPPED_EVENTS, dropped);
        frame
    }
}

impl Collection {
    pub(crate) fn frame(&self, pid: u32, interpreter: &[u8]) -> Frame {
        let mut frame = Frame::new(Kind::GcEvent, pid, crate::now());
        frame.interpreter(interpreter);
        frame.f64(field::GC_EVENT_START_STAMP, self.start);
        frame.f64(field::GC_EVENT_DURATION, self.duration);
        frame.u64(field::GC_EVENT_GENERATION, self.generation);
        frame.u64(field::GC_EVENT_COLLECTED, self.collected);
        frame.u64(field::GC_EVENT_UNCOLLECTABLE, self.uncollectable);
        frame
    }
}

/// The last runs of an interpreter's collector.
#[derive(Debug, Default)]
pub struct Collections {
    runs: Mutex<VecDeque<Collection>>,
    dropped: AtomicU64,
}

/// So many runs are kept until they are sent.
const KEPT: usize = 256;

impl Collections {
    /// Notes a run, without waiting.
    pub fn note(&self, run: Collection) {
        let mut runs = match self.runs.try_lock() {
            Ok(runs) => runs,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.dropped.fetch_add(1, Relaxed);
                return;
            }
        };
        if runs.len() == KEPT {
            runs.pop_front();
            self.dropped.fetch_add(1, Relaxed);
        }
        runs.push_back(run);
    }

    /// Takes out all runs, and how many were lost since this was called last.
    pub fn take(&self) -> (VecDeque<Collection>, u64) {
        let mut empty = VecDeque::with_capacity(KEPT);
        std::mem::swap(&mut empty, &mut *self.runs.lock().unwrap_or_else(PoisonError::into_inner));
        (empty, self.dropped.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decode::decode;

    #[test]
    fn the_oldest_runs_are_lost_and_counted() {
        let runs = Collections::default();
        for number in 0..300 {
            runs.note(Collection { generation: number, ..Collection::default() });
        }
        let (kept, dropped) = runs.take();
        assert_eq!((kept.len(), dropped), (256, 44));
        assert_eq!(kept[0].generation, 44);
        assert_eq!(runs.take(), (VecDeque::new(), 0));
    }

    #[test]
    fn noting_does_not_wait() {
        let runs = Collections::default();
        let held = runs.runs.lock().unwrap();
        runs.note(Collection::default());
        drop(held);
        assert_eq!(runs.take(), (VecDeque::new(), 1));
    }

    #[test]
    fn frames() {
        let mut snapshot = Snapshot { is_enabled: true, frozen: 7, ..Snapshot::default() };
        for (index, generation) in (0..).zip(&mut snapshot.generations) {
            *generation = Generation {
                count: 1 + index,
                threshold: 10 + index,
                collections: 20 + index,
                collected: 30 + index,
                uncollectable: 40 + index,
            };
        }
        let read = decode(&snapshot.frame(5, b"", 3).number(1)).unwrap();
        assert_eq!(read.kind, 8);
        let counts: Vec<u64> = (300..318).filter_map(|id| read.count(id)).collect();
        let wanted = [1, 2, 3, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42, 1, 7, 3];
        assert_eq!(counts, wanted);
        assert_eq!(read.fields.len(), 18);
        let read = decode(&snapshot.frame(5, b"shop", 3).number(1)).unwrap();
        assert_eq!(read.text(8), Some(&b"shop"[..]));
        let run =
            Collection { start: 1.0, duration: 0.5, generation: 2, collected: 3, uncollectable: 4 };
        let read = decode(&run.frame(5, b"").number(1)).unwrap();
        let ids: Vec<u16> = read.fields.iter().map(|(id, _)| *id).collect();
        assert_eq!((read.kind, ids), (9, vec![320, 321, 322, 323, 324]));
    }

    #[test]
    fn interpreters_add_up() {
        let generation =
            Generation { count: 1, threshold: 700, collections: 2, ..Default::default() };
        let one = Snapshot { generations: [generation; 3], is_enabled: false, frozen: 1 };
        let mut sum = one.clone();
        sum.add(&Snapshot { is_enabled: true, ..one });
        assert_eq!(sum.generations[1].collections, 4);
        assert_eq!(sum.generations[1].threshold, 700);
        assert_eq!((sum.is_enabled, sum.frozen), (true, 2));
    }
}
