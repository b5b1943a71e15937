//! The routing board: a word per slot, and per group what waiting children want to know.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use rustix::thread::futex;

use super::layout::{Capacity, GROUP, SLOT};
use crate::ABI;
use crate::control::Retire;
use crate::sys::{Mapping, PAGE};

/// What becomes of requests for a group as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Workers are being started, or nobody has begun to: wait.
    Starting = 0,
    /// Nobody serves it, and nobody will.
    Down = 1,
    /// Some worker takes requests.
    Serving = 2,
    /// Workers cannot be started; do not wait.
    Failing = 3,
    /// Runs things, but takes no requests.
    Service = 4,
}

/// What a slot's worker is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// No worker.
    Free = 0,
    /// Loads.
    Starting = 1,
    /// Could take requests, but is not asked to.
    Spare = 2,
    /// Takes requests.
    Routed = 3,
    /// Finishes what it has.
    Draining = 4,
}

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody knows, or it has crashed.
    Died,
    /// It did not become a worker.
    NotStarted,
    /// Its group has another configuration, or was changed as a whole.
    Replaced,
    /// It asked for it, or was due.
    Retired(Retire),
}

impl End {
    /// How many there are.
    const COUNT: usize = 13;

    fn index(self) -> usize {
        match self {
            End::Died => 0,
            End::NotStarted => 1,
            End::Replaced => 2,
            End::Retired(why) => (2 + why as usize).min(Self::COUNT - 1),
        }
    }

    fn name(index: usize) -> &'static str {
        match index {
            0 => "died",
            1 => "not_started",
            2 => "replaced",
            _ => Retire::from_raw((index - 2) as u8).map_or("unknown", Retire::name),
        }
    }
}

/// How often workers of a group have ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// By reason.
    pub(crate) counts: Vec<(&'static str, u32)>,
    /// The last one: why, which process, and when, in microseconds of the monotonic clock.
    pub(crate) last: Option<(&'static str, u32, u64)>,
}

/// A slot as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// What the worker is good for.
    pub(crate) state: State,
    /// Which use of the slot this is.
    pub(crate) epoch: u32,
    /// Which state of the application's code the worker has loaded.
    pub(crate) generation: u32,
    /// Its process.
    pub(crate) pid: i32,
    /// The configuration it was started for.
    pub(crate) config: u32,
}

/// The board, for reading or for writing.
#[derive(Debug)]
pub(crate) struct Board {
    map: Mapping,
    capacity: Capacity,
}

impl Board {
    /// Maps a board of this capacity. A new one (all zeroes) is marked as ours when it is mapped
    /// for writing; one of another version is refused.
    pub(crate) fn map(fd: BorrowedFd<'_>, capacity: Capacity, write: bool) -> io::Result<Board> {
        let map = Mapping::new(fd, 0, capacity.board() as usize, write)?;
        let board = Board { map, capacity };
        if write {
            let _ = board.map.u64(0).compare_exchange(0, ABI, SeqCst, SeqCst);
        }
        match board.map.u64(0).load(SeqCst) {
            ABI => Ok(board),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "of another version")),
        }
    }

    /// The room there is.
    pub(crate) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// What becomes of requests for the group.
    pub(crate) fn status(&self, group: u32) -> Status {
        match self.group(group, 4).load(SeqCst) {
            0 => Status::Starting,
            2 => Status::Serving,
            3 => Status::Failing,
            4 => Status::Service,
            _ => Status::Down,
        }
    }

    /// The newest generation that takes requests.
    pub(crate) fn generation(&self, group: u32) -> u32 {
        self.group(group, 8).load(SeqCst)
    }

    /// How many attempts to make a new generation have failed.
    pub(crate) fn failures(&self, group: u32) -> u32 {
        self.group(group, 12).load(SeqCst)
    }

    /// Changes whenever anything about the group does. Read it before what it guards.
    pub(crate) fn version(&self, group: u32) -> u32 {
        self.group(group, 0).load(SeqCst)
    }

    /// Waits until the group's version is another, or so long.
    pub(crate) fn wait(&self, group: u32, version: u32, longest: Duration) {
        let timeout = futex::Timespec {
            tv_sec: longest.as_secs() as i64,
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        // Whatever the reason for coming back, the caller looks again.
        let word = self.group(group, 0);
        let _ = futex::wait(word, futex::Flags::empty(), version, Some(&timeout));
    }

    /// A slot.
    pub(crate) fn slot(&self, slot: u32) -> Slot {
        let at = self.capacity.slot(slot);
        let word = self.map.u64(at).load(SeqCst);
        Slot {
            state: match word as u8 {
                1 => State::Starting,
                2 => State::Spare,
                3 => State::Routed,
                4 => State::Draining,
                _ => State::Free,
            },
            epoch: (word >> 32) as u32,
            generation: self.map.u32(at + 8).load(SeqCst),
            pid: self.map.u32(at + 12).load(SeqCst) as i32,
            config: self.map.u32(at + 16).load(SeqCst),
        }
    }

    /// Whether this use of the slot takes requests.
    pub(crate) fn is_routed(&self, slot: u32, epoch: u32) -> bool {
        self.map.u64(self.capacity.slot(slot)).load(SeqCst) == word(State::Routed, epoch)
    }

    /// Whether the worker of this use of the slot has ended, so that nothing comes from it.
    pub(crate) fn is_over(&self, slot: u32, epoch: u32) -> bool {
        let word = self.map.u64(self.capacity.slot(slot)).load(SeqCst);
        (word >> 32) as u32 != epoch || word as u8 == State::Free as u8
    }

    /// Writes a slot; the word last.
    pub(crate) fn set_slot(&self, slot: u32, to: &Slot) {
        let at = self.capacity.slot(slot);
        self.map.u32(at + 8).store(to.generation, SeqCst);
        self.map.u32(at + 12).store(to.pid as u32, SeqCst);
        self.map.u32(at + 16).store(to.config, SeqCst);
        self.map.u64(at).store(word(to.state, to.epoch), SeqCst);
    }

    /// Tells children that something about a group has changed.
    pub(crate) fn announce(&self, group: u32) {
        let version = self.group(group, 0);
        version.fetch_add(1, SeqCst);
        let _ = futex::wake(version, futex::Flags::empty(), i32::MAX as u32);
    }

    /// Says what becomes of requests for the group; [`Self::announce`] afterwards.
    pub(crate) fn set_status(&self, group: u32, status: Status) {
        self.group(group, 4).store(status as u32, SeqCst);
    }

    /// Says which generation is the newest that takes requests.
    pub(crate) fn set_generation(&self, group: u32, generation: u32) {
        self.group(group, 8).store(generation, SeqCst);
    }

    /// Counts an attempt to make a new generation that has failed.
    pub(crate) fn count_failure(&self, group: u32) {
        self.group(group, 12).fetch_add(1, SeqCst);
    }

    /// Counts the end of a worker.
    pub(crate) fn count_end(&self, group: u32, end: End, pid: i32, now: u64) {
        self.group(group, ENDS + end.index() * 4).fetch_add(1, SeqCst);
        self.group(group, LAST).store(end.index() as u32, SeqCst);
        self.group(group, LAST + 4).store(pid as u32, SeqCst);
        self.map.u64(self.capacity.group(group) + LAST + 8).store(now, SeqCst);
    }

    /// How often workers of a group have ended.
    pub(crate) fn ends(&self, group: u32) -> Ends {
        let count = |index: usize| self.group(group, ENDS + index * 4).load(SeqCst);
        let counts: Vec<_> = (0..End::COUNT).map(|at| (End::name(at), count(at))).collect();
        let at = self.map.u64(self.capacity.group(group) + LAST + 8).load(SeqCst);
        let why = self.group(group, LAST).load(SeqCst) as usize;
        let pid = self.group(group, LAST + 4).load(SeqCst);
        let last = (at > 0 && why < End::COUNT).then(|| (End::name(why), pid, at));
        Ends { counts, last }
    }

    /// Says when a slot's worker was started, in microseconds of the monotonic clock.
    pub(crate) fn set_started(&self, slot: u32, now: u64) {
        self.map.u64(self.capacity.slot(slot) + STARTED).store(now, SeqCst);
    }

    /// When a slot's worker was started.
    pub(crate) fn started(&self, slot: u32) -> u64 {
        self.map.u64(self.capacity.slot(slot) + STARTED).load(SeqCst)
    }

    fn group(&self, group: u32, word: usize) -> &AtomicU32 {
        self.map.u32(self.capacity.group(group) + word)
    }
}

/// Where a group's words about ends are: counts, and the last one.
const ENDS: usize = 16;
const LAST: usize = ENDS + (End::COUNT * 4).next_multiple_of(8);
const _: () = assert!(LAST + 16 <= GROUP && STARTED + 8 <= SLOT);
/// Where a slot says when its worker was started.
const STARTED: usize = 24;

fn word(state: State, epoch: u32) -> u64 {
    u64::from(epoch) << 32 | state as u64
}

const _: () = assert!(PAGE.is_multiple_of(8));

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;
    use crate::sys::{shared, shared_read_only};

    #[test]
    fn a_reader_is_woken_when_something_changes() {
        let capacity = Capacity::default().bounded();
        let fd = shared(c"board", capacity.board()).unwrap();
        let reader = shared_read_only(fd.as_fd()).unwrap();
        assert!(Board::map(reader.as_fd(), capacity, false).is_err(), "not written yet");
        let writer = Board::map(fd.as_fd(), capacity, true).unwrap();
        let reader = Board::map(reader.as_fd(), capacity, false).unwrap();
        let version = reader.version(3);
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                let slot =
                    Slot { state: State::Routed, epoch: 7, generation: 2, pid: 99, config: 1 };
                writer.set_slot(5, &slot);
                writer.set_generation(3, 2);
                writer.set_status(3, Status::Serving);
                writer.announce(3);
            });
            while reader.version(3) == version && begun.elapsed() < Duration::from_secs(20) {
                reader.wait(3, version, Duration::from_secs(20));
            }
        });
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!((reader.status(3), reader.generation(3)), (Status::Serving, 2));
        assert!(reader.is_routed(5, 7) && !reader.is_routed(5, 6));
        assert!(!reader.is_over(5, 7) && reader.is_over(5, 6) && reader.is_over(6, 1));
        assert_eq!(reader.slot(5).pid, 99);
        // Nobody changes anything: the wait ends by itself.
        reader.wait(3, reader.version(3), Duration::from_millis(5));
    }

    #[test]
    fn ends_are_counted_by_reason() {
        let capacity = Capacity { groups: 2, slots: 16, children: 1 }.bounded();
        let fd = shared(c"board", capacity.board()).unwrap();
        let board = Board::map(fd.as_fd(), capacity, true).unwrap();
        assert_eq!(board.ends(1).last, None);
        board.count_end(1, End::Retired(Retire::Reload), 5, 77);
        board.count_end(1, End::Died, 6, 78);
        board.count_end(1, End::Died, 7, 79);
        let ends = board.ends(1);
        assert_eq!(ends.last, Some(("died", 7, 79)));
        let found: Vec<_> = ends.counts.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(found, [&("died", 2), &("script_reload", 1)]);
        assert!(ends.counts.iter().all(|(name, _)| *name != "unknown"));
        assert!(board.ends(0).counts.iter().all(|(_, count)| *count == 0));
        board.set_started(3, 9);
        assert_eq!((board.started(3), board.started(4)), (9, 0));
        // Whatever else is in there.
        rustix::io::pwrite(&fd, &[0xff; 64], capacity.group(1) as u64 + 64).unwrap();
        assert_eq!(board.ends(1).last, None);
    }

    #[test]
    fn another_version_is_refused() {
        let capacity = Capacity::default().bounded();
        let fd = shared(c"board", capacity.board()).unwrap();
        rustix::io::pwrite(&fd, &[1], 0).unwrap();
        assert!(Board::map(fd.as_fd(), capacity, true).is_err());
    }
}
