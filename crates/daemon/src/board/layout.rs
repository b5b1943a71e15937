//! Where things are, in bytes.

use crate::sys::PAGE;

/// How much room is made, once for the life of the server's parent. Room that is not used costs
/// address space only.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Different groups that are known over all configurations.
    pub groups: u32,
    /// Workers of all groups together; a group takes more than it has processes, for swaps.
    pub slots: u32,
    /// Children of the server at one time, old ones that still finish included. More than that
    /// share one area, and what they leave when they are killed is not cleared.
    pub children: u32,
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity { groups: 512, slots: 4096, children: 2048 }
    }
}

impl Capacity {
    /// Within what the layout can hold, and at least one of everything.
    pub(crate) fn bounded(self) -> Capacity {
        Capacity {
            groups: self.groups.clamp(1, 1 << 14),
            slots: self.slots.clamp(16, 1 << 16),
            children: self.children.clamp(1, 1 << 16),
        }
    }

    /// Length of the board.
    pub(crate) fn board(&self) -> u64 {
        (self.directory() + self.groups as usize * ENTRY) as u64
    }

    pub(super) fn group(&self, group: u32) -> usize {
        assert!(group < self.groups);
        PAGE + group as usize * GROUP
    }

    pub(super) fn slot(&self, slot: u32) -> usize {
        assert!(slot < self.slots);
        pages(PAGE + self.groups as usize * GROUP) + slot as usize * SLOT
    }

    pub(super) fn directory(&self) -> usize {
        self.slot(0) + pages(self.slots as usize * SLOT)
    }

    /// Length of the cells.
    pub(crate) fn cells(&self) -> u64 {
        self.area(0) + (u64::from(self.children) + 1) * self.area_length() as u64
    }

    pub(super) fn sums_length(&self) -> usize {
        PAGE + pages((self.slots + self.groups) as usize * 4)
    }

    pub(super) fn area(&self, area: u32) -> u64 {
        self.sums_length() as u64 + u64::from(area) * self.area_length() as u64
    }

    pub(super) fn area_length(&self) -> usize {
        pages(self.buffered(self.groups))
    }

    /// Where the sums count what is buffered for a group.
    pub(super) fn all_buffered(&self, group: u32) -> usize {
        assert!(group < self.groups);
        PAGE + (self.slots + group) as usize * 4
    }

    /// Where an area counts what a child has buffered for a group.
    pub(super) fn buffered(&self, group: u32) -> usize {
        assert!(group <= self.groups);
        CELLS + (2 * self.slots + group) as usize * 4
    }

    /// Where an area counts what a child has with a slot's worker.
    pub(super) fn cell(&self, slot: u32) -> usize {
        assert!(slot < self.slots);
        CELLS + slot as usize * 4
    }

    /// Where it counts what the child has given up, of which the worker may not know yet.
    pub(super) fn abandoned(&self, slot: u32) -> usize {
        assert!(slot <= self.slots);
        CELLS + (self.slots + slot) as usize * 4
    }
}

fn pages(length: usize) -> usize {
    length.next_multiple_of(PAGE)
}

/// A group's words.
pub(super) const GROUP: usize = 128;
/// A slot's words.
pub(super) const SLOT: usize = 32;
/// An entry of the directory.
pub(super) const ENTRY: usize = 256;
/// Where cells begin in an area.
const CELLS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        for capacity in [
            Capacity::default(),
            Capacity { groups: 0, slots: 0, children: 0 },
            Capacity { groups: u32::MAX, slots: u32::MAX, children: u32::MAX },
        ] {
            let capacity = capacity.bounded();
            assert!(capacity.group(capacity.groups - 1) + GROUP <= capacity.slot(0));
            assert!(capacity.slot(capacity.slots - 1) + SLOT <= capacity.directory());
            assert!(capacity.directory() as u64 + 256 <= capacity.board());
            assert!(
                capacity.area(capacity.children) + capacity.area_length() as u64
                    <= capacity.cells()
            );
            assert!(capacity.cell(capacity.slots - 1) + 4 <= capacity.abandoned(0));
            assert!(capacity.abandoned(capacity.slots - 1) + 4 <= capacity.buffered(0));
            assert!(capacity.buffered(capacity.groups - 1) + 4 <= capacity.area_length());
            assert!(capacity.all_buffered(capacity.groups - 1) + 4 <= capacity.sums_length());
            assert!(capacity.area(0).is_multiple_of(PAGE as u64));
            assert!(capacity.area_length().is_multiple_of(PAGE));
        }
    }
}
