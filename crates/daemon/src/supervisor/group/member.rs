//! One worker of a group, as the supervisor knows it.

use std::time::Instant;

use crate::board::State;
use crate::control::Retire;

/// What the board says about a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Shown {
    pub(in super::super) state: State,
    pub(in super::super) epoch: u32,
    pub(in super::super) generation: u32,
    pub(in super::super) pid: i32,
    pub(in super::super) config: u32,
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Has not said that it is ready.
    Starting,
    /// Ready, takes no requests.
    Spare,
    /// Takes requests.
    Routed,
    /// Finishes the requests it has, until then at the latest.
    Draining(Option<Instant>),
    /// Was told to end, and is killed then at the latest.
    Quitting(Option<Instant>),
}

/// A worker.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) epoch: u32,
    pub(super) generation: u32,
    pub(super) pid: i32,
    pub(super) config: u32,
    pub(super) phase: Phase,
    pub(super) started: Instant,
    pub(super) ready: Option<Instant>,
    /// It wants to be replaced.
    pub(super) retiring: Option<Retire>,
    /// How many of the things to load were known when it was started; no number for one that was
    /// taken over.
    pub(super) loads: Option<usize>,
    /// It could not load something that it should.
    pub(super) failed: bool,
}

impl Member {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Spare | Phase::Routed)
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Draining(_) | Phase::Quitting(_))
    }

    /// What the board says about it.
    pub(super) fn shown(&self, state: State) -> Shown {
        let Member { epoch, generation, pid, config, .. } = *self;
        Shown { state, epoch, generation, pid, config }
    }
}
