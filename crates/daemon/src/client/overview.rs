//! What a child can tell of a group, for somebody who looks: its workers and what became of others.
//!
//! From the board, which the supervisor alone writes, and the sums of the cells, which children do.

use super::child::{Child, Group};
use super::inquiry::Address;
use crate::board::State;
pub use crate::board::Status;
use crate::sys::monotonic_us;

/// A group as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// What becomes of its requests.
    pub status: Status,
    /// The newest generation that takes requests.
    pub generation: u32,
    /// How often another one could not be made.
    pub failures: u32,
    /// Its workers.
    pub workers: Vec<Seen>,
    /// How often workers have ended, by reason.
    pub ends: Vec<(&'static str, u32)>,
    /// The last of these: why, which process, and how many microseconds ago.
    pub last_end: Option<(&'static str, u32, u64)>,
}

/// A worker as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it is asked something.
    pub address: Address,
    /// Its process.
    pub pid: i32,
    /// What it is good for.
    pub state: WorkerState,
    /// Its generation.
    pub generation: u32,
    /// For how long it has been there, in microseconds.
    pub age: u64,
    /// About how many requests it has, running and waiting.
    pub load: u32,
}

/// What a worker is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It loads.
    Starting,
    /// It could take requests, but is not asked to.
    Spare,
    /// It takes requests.
    Serving,
    /// It finishes what it has.
    Draining,
}

impl Child {
    /// What is known of a group now.
    pub fn overview(&self, group: &Group) -> Overview {
        let now = monotonic_us();
        let number = group.number();
        let ends = self.board.ends(number);
        Overview {
            status: self.board.status(number),
            generation: self.board.generation(number),
            failures: self.board.failures(number),
            workers: group.places().filter_map(|slot| self.seen(number, slot, now)).collect(),
            ends: ends.counts,
            last_end: ends.last.map(|(why, pid, at)| (why, pid, now.saturating_sub(at))),
        }
    }

    fn seen(&self, group: u32, slot: u32, now: u64) -> Option<Seen> {
        let at = self.board.slot(slot);
        let state = match at.state {
            State::Free => return None,
            State::Starting => WorkerState::Starting,
            State::Spare => WorkerState::Spare,
            State::Routed => WorkerState::Serving,
            State::Draining => WorkerState::Draining,
        };
        Some(Seen {
            address: Address { group, slot, epoch: at.epoch },
            pid: at.pid,
            state,
            generation: at.generation,
            age: now.saturating_sub(self.board.started(slot)),
            load: self.area.load(slot).unsigned_abs(),
        })
    }
}
