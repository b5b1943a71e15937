//! In-flight cells: how many requests each child has with each worker.
//!
//! Beside the cells there is one sum per slot, from which children choose without looking at each
//! other's areas. A child that is killed between the two writes leaves the sum off by one; a new use
//! of the slot sets it right. Whether a worker is idle is judged by the cells.
//!
//! What children have buffered for each group is counted in the same way, in blocks; there the sum is
//! all that is asked for, and what a death between two writes leaves is one block or a few.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::layout::Capacity;
use crate::sys::{Mapping, is_locked, lock, unlock};

/// All cells, as the supervisor sees them.
#[derive(Debug)]
pub(crate) struct Cells {
    fd: OwnedFd,
    map: Mapping,
    capacity: Capacity,
}

impl Cells {
    /// Maps all of it.
    pub(crate) fn map(fd: OwnedFd, capacity: Capacity) -> io::Result<Cells> {
        let length = usize::try_from(capacity.cells()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let map = Mapping::new(fd.as_fd(), 0, length, true)?;
        Ok(Cells { fd, map, capacity })
    }

    /// Requests that living children have with a slot's worker. Clears what dead ones left.
    pub(crate) fn in_flight(&self, slot: u32) -> u64 {
        let count = |area| u64::from(self.cell(area, slot).load(SeqCst));
        let mut sum = count(0);
        for area in 1..=self.used() {
            if count(area) > 0 {
                self.clear_if_dead(area);
            }
            sum += count(area);
        }
        sum
    }

    /// Clears what dead children left.
    pub(crate) fn clear_dead(&self) {
        for area in 1..=self.used() {
            self.clear_if_dead(area);
        }
    }

    /// Sets the sum of a slot right, for a new worker in it.
    pub(crate) fn reset(&self, slot: u32) {
        let count = self.in_flight(slot);
        self.map.u32(sum(slot)).store(count as u32, SeqCst);
    }

    /// The oldest configuration that a living child was made for.
    pub(crate) fn oldest_config(&self) -> Option<u32> {
        let alive = (1..=self.used()).filter(|area| self.is_alive(*area));
        alive.map(|area| self.map.u32(self.at(area)).load(SeqCst)).min()
    }

    /// Highest area in use. Written by children, so it is held against the room there is.
    fn used(&self) -> u32 {
        self.map.u32(0).load(SeqCst).min(self.capacity.children)
    }

    fn is_alive(&self, area: u32) -> bool {
        // In doubt it lives: what that costs is bounded by a timeout.
        is_locked(self.fd.as_fd(), u64::from(area)).unwrap_or(true)
    }

    fn clear_if_dead(&self, area: u32) {
        if self.is_alive(area) || !lock(self.fd.as_fd(), u64::from(area)).unwrap_or(false) {
            return;
        }
        let at = self.at(area);
        clear(&self.map, &self.map, at, &self.capacity);
        let _ = unlock(self.fd.as_fd(), u64::from(area));
    }

    fn at(&self, area: u32) -> usize {
        self.capacity.area(area) as usize
    }

    fn cell(&self, area: u32, slot: u32) -> &AtomicU32 {
        self.map.u32(self.at(area) + self.capacity.cell(slot))
    }
}

fn sum(slot: u32) -> usize {
    crate::sys::PAGE + slot as usize * 4
}

/// Takes the cells of an area out of the sums.
fn clear(area: &Mapping, sums: &Mapping, at: usize, capacity: &Capacity) {
    for group in 0..capacity.groups {
        let cell = area.u32(at + capacity.buffered(group));
        if cell.load(SeqCst) != 0 {
            let left = cell.swap(0, SeqCst);
            sums.u32(capacity.all_buffered(group)).fetch_sub(left, SeqCst);
        }
    }
    for slot in 0..capacity.slots {
        for place in [capacity.cell(slot), capacity.abandoned(slot)] {
            let cell = area.u32(at + place);
            if cell.load(SeqCst) != 0 {
                let left = cell.swap(0, SeqCst);
                sums.u32(sum(slot)).fetch_sub(left, SeqCst);
            }
        }
    }
}

/// The cells of one child.
#[derive(Debug)]
pub(crate) struct Area {
    sums: Mapping,
    own: Mapping,
    number: u32,
    capacity: Capacity,
}

impl Area {
    /// Takes an area for this process, which keeps it until it ends and must not close any
    /// descriptor of this memory before.
    pub(crate) fn claim(fd: BorrowedFd<'_>, capacity: Capacity, config: u32) -> io::Result<Area> {
        let sums = Mapping::new(fd, 0, capacity.sums_length(), true)?;
        let mut number = 0;
        for area in 1..=capacity.children {
            if lock(fd, u64::from(area))? {
                number = area;
                break;
            }
        }
        sums.u32(0).fetch_max(number, SeqCst);
        let own = Mapping::new(fd, capacity.area(number), capacity.area_length(), true)?;
        if number > 0 {
            clear(&own, &sums, 0, &capacity);
            own.u32(0).store(config, SeqCst);
        }
        Ok(Area { sums, own, number, capacity })
    }

    /// The area's number; 0 is the one that is shared when there are no more.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// About how many requests a slot's worker has from all children.
    pub(crate) fn load(&self, slot: u32) -> i32 {
        (self.sums.u32(sum(slot)).load(SeqCst) as i32).max(0)
    }

    /// Takes note that an abandoned request has ended.
    pub(crate) fn forgive(&self, slot: u32) {
        self.own.u32(self.capacity.abandoned(slot)).fetch_sub(1, SeqCst);
        self.sums.u32(sum(slot)).fetch_sub(1, SeqCst);
    }

    /// Counts so many blocks more as buffered for a group, unless all children together would have
    /// more than `most`.
    pub(crate) fn reserve(&self, group: u32, blocks: u32, most: u32) -> bool {
        let sum = self.sums.u32(self.capacity.all_buffered(group));
        // Below zero is what another child's death may leave for a moment.
        let before = (sum.load(SeqCst) as i32).max(0).cast_unsigned();
        if before.saturating_add(blocks) > most {
            return false;
        }
        self.own.u32(self.capacity.buffered(group)).fetch_add(blocks, SeqCst);
        sum.fetch_add(blocks, SeqCst);
        true
    }

    /// Takes back what [`Area::reserve`] has counted.
    pub(crate) fn release(&self, group: u32, blocks: u32) {
        self.sums.u32(self.capacity.all_buffered(group)).fetch_sub(blocks, SeqCst);
        self.own.u32(self.capacity.buffered(group)).fetch_sub(blocks, SeqCst);
    }

    /// Counts one request with a slot's worker until the result is dropped.
    pub(crate) fn enter(&self, slot: u32) -> InFlight<'_> {
        self.own.u32(self.capacity.cell(slot)).fetch_add(1, SeqCst);
        self.sums.u32(sum(slot)).fetch_add(1, SeqCst);
        InFlight { area: self, slot }
    }
}

/// A request that counts as being with a worker.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    area: &'a Area,
    slot: u32,
}

impl InFlight<'_> {
    /// The worker's slot.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Nobody waits for it, but the worker may be busy with it: it counts where a worker is chosen,
    /// until [`Area::forgive`], and nowhere else. Returns the slot.
    pub(crate) fn abandon(self) -> u32 {
        let (area, slot) = (self.area, self.slot);
        std::mem::forget(self);
        area.own.u32(area.capacity.abandoned(slot)).fetch_add(1, SeqCst);
        area.own.u32(area.capacity.cell(slot)).fetch_sub(1, SeqCst);
        slot
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.area.sums.u32(sum(self.slot)).fetch_sub(1, SeqCst);
        self.area.own.u32(self.area.capacity.cell(self.slot)).fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sys::shared;

    #[test]
    fn cells_of_the_dead_are_cleared() {
        let capacity = Capacity { groups: 1, slots: 16, children: 4 }.bounded();
        let fd = shared(c"cells", capacity.cells()).unwrap();
        let cells = Cells::map(fd.try_clone().unwrap(), capacity).unwrap();
        // A child in a process of its own: it dies with two requests under way.
        // SAFETY: the child calls what is async-signal-safe, and memory it has; then _exit.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let area = Area::claim(fd.as_fd(), capacity, 3);
            if let Ok(area) = &area {
                std::mem::forget((area.enter(2), area.enter(2)));
                area.enter(2).abandon();
                area.reserve(0, 5, 8);
            }
            // SAFETY: ends this process only.
            unsafe {
                libc::raise(libc::SIGSTOP);
                libc::_exit(0)
            }
        }
        let mut status = 0;
        // SAFETY: our child; status is writable.
        unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
        assert!(libc::WIFSTOPPED(status));
        assert_eq!(cells.in_flight(2), 2);
        assert_eq!(cells.oldest_config(), Some(3));
        cells.clear_dead();
        assert_eq!(cells.in_flight(2), 2, "it lives");
        // SAFETY: our child.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, &mut status, 0);
        }
        assert_eq!(cells.in_flight(2), 0);
        assert_eq!(cells.oldest_config(), None);

        let area = Area::claim(fd.as_fd(), capacity, 4).unwrap();
        assert_eq!(area.number(), 1);
        assert_eq!(area.load(2), 0, "what it had given up is forgotten, too");
        assert!(!area.reserve(0, 9, 8));
        assert!(area.reserve(0, 8, 8), "what it had buffered is gone with it");
        assert!(!area.reserve(0, 1, 8));
        area.release(0, 3);
        assert!(area.reserve(0, 3, 8));
        let one = area.enter(2);
        assert_eq!(area.load(2), 1);
        drop(one);
        assert_eq!(area.load(2), 0);
        assert_eq!(area.enter(2).abandon(), 2);
        assert_eq!((area.load(2), cells.in_flight(2)), (1, 0));
        area.forgive(2);
        assert_eq!(area.load(2), 0);
    }

    #[test]
    fn what_children_write_is_bounded() {
        let capacity = Capacity { groups: 1, slots: 16, children: 4 }.bounded();
        let fd = shared(c"cells", capacity.cells()).unwrap();
        rustix::io::pwrite(&fd, &[0xff; 4], 0).unwrap();
        let cells = Cells::map(fd, capacity).unwrap();
        assert_eq!(cells.in_flight(15), 0);
        cells.reset(15);
    }
}
