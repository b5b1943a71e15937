//! What the parent keeps over restarts, as plain data.

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use crate::ABI;
use crate::board::Capacity;
use crate::client::Handles;
use crate::sys::{close_apart, receive};

/// What the parent keeps over restarts. No pointers: the image that wrote it may be gone.
///
/// All zeroes is "nothing yet". The first three fields are where they are in every version, so that
/// another version can end this one's supervisor.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    pub(super) size: u32,
    /// The supervisor's process, or 0.
    pub(super) supervisor: i32,
    pub(super) abi: u64,
    pub(super) board: RawFd,
    pub(super) reader: RawFd,
    pub(super) cells: RawFd,
    pub(super) children: RawFd,
    pub(super) connections: RawFd,
    /// Both ends of where supervisors keep what outlives them.
    pub(super) inlet: RawFd,
    pub(super) outlet: RawFd,
    pub(super) control: RawFd,
    pub(super) config: RawFd,
    /// The supervisor's program, as it was when it was configured last.
    pub(super) program: RawFd,
    pub(super) config_number: u32,
    pub(super) capacity: Capacity,
    pub(super) failures: u32,
    /// When the supervisor was started, and before when the next must not be.
    pub(super) started: u64,
    pub(super) not_before: u64,
}

impl Default for Retained {
    fn default() -> Retained {
        Retained::EMPTY
    }
}

impl Retained {
    /// Nothing yet.
    pub const EMPTY: Retained = Retained {
        size: 0,
        supervisor: 0,
        abi: 0,
        board: 0,
        reader: 0,
        cells: 0,
        children: 0,
        connections: 0,
        inlet: 0,
        outlet: 0,
        control: 0,
        config: 0,
        program: 0,
        config_number: 0,
        capacity: Capacity { groups: 0, slots: 0, children: 0 },
        failures: 0,
        started: 0,
        not_before: 0,
    };

    pub(super) fn ours() -> Retained {
        Retained { size: size_of::<Retained>() as u32, abi: ABI, ..Retained::EMPTY }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.size == 0
    }

    pub(super) fn is_ours(&self) -> bool {
        self.size as usize == size_of::<Retained>() && self.abi == ABI
    }

    /// The supervisor's process, if there is one; of any version.
    pub fn supervisor(&self) -> Option<i32> {
        (self.supervisor > 0).then_some(self.supervisor)
    }

    /// What a child inherits from a parent that has kept this.
    ///
    /// # Panics
    /// Nothing was kept, or by another version.
    pub(super) fn handles(&self) -> Handles {
        assert!(self.is_ours());
        // SAFETY: the descriptors were made by `Parent::new` and are closed by nobody: not in the
        // parent, and in children only those that they must not have (`close_in_child`), which
        // these are not.
        unsafe {
            Handles {
                board: BorrowedFd::borrow_raw(self.reader),
                cells: BorrowedFd::borrow_raw(self.cells),
                channel: BorrowedFd::borrow_raw(self.children),
                capacity: self.capacity,
                config: self.config_number,
            }
        }
    }

    /// What a child inherits, in the child; closes there what only the parent and the supervisor may
    /// have. `None` if there are no process groups.
    ///
    /// # Safety
    /// The process was forked from the one that kept this, and nobody uses it as a parent any more:
    /// not where the server runs as a single process ([`super::Parent::handles`] is for that).
    /// Called once.
    pub unsafe fn enter_child(&self) -> Option<Handles> {
        if !self.is_ours() {
            return None;
        }
        for fd in self.of_the_parent() {
            if fd > 0 {
                // SAFETY: it was inherited with the parent's memory and is used by nobody here, by
                // contract.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        Some(self.handles())
    }

    /// What a server of one process, which is parent and child, uses as a client.
    pub fn in_parent(&self) -> Option<Handles> {
        self.is_ours().then(|| self.handles())
    }

    /// What children must not have.
    fn of_the_parent(&self) -> [RawFd; 7] {
        let Retained { board, connections, inlet, outlet, control, config, program, .. } = *self;
        [board, connections, inlet, outlet, control, config, program]
    }

    /// Ends the supervisor as [`Self::retire`] does, and closes what only the parent has. What
    /// children use stays open: this process may be one of them.
    pub(super) fn abandon(self) {
        self.retire();
        let fds = self.of_the_parent().into_iter().filter(|fd| *fd > 0);
        // What workers and children have sent may lie in some, and there may be no supervisor.
        // SAFETY: made by `Parent::new`; the value that knew the numbers is consumed.
        close_apart(fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect());
    }

    /// Tells a supervisor that another version has started to end when its workers have finished
    /// what they do. Its channels stay open for the children that use them.
    pub fn retire(&self) {
        if let Some(pid) = self.supervisor()
            && let Ok(Some(watch)) = crate::sys::Watch::new(pid)
        {
            let _ = watch.signal(rustix::process::Signal::TERM);
        }
    }

    pub(super) fn board_fd(&self) -> BorrowedFd<'static> {
        // SAFETY: made by `Parent::new`, closed by nobody in the parent.
        unsafe { BorrowedFd::borrow_raw(self.board) }
    }

    /// Closes what supervisors have left of their workers, in which anything may lie that these have
    /// sent.
    pub(super) fn empty_store(&self) {
        // SAFETY: made by `Parent::new`, closed by nobody in the parent.
        let outlet = unsafe { BorrowedFd::borrow_raw(self.outlet) };
        let mut left = Vec::new();
        while let Ok(received) = receive(outlet, &mut [0; 64], false)
            && received.length > 0
        {
            left.extend(received.fds);
            left.extend(received.strays);
        }
        close_apart(left);
    }

    pub(super) fn control_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: while it is not 0 it is open: `forget_supervisor` sets it to 0 and closes it.
        (self.control > 0).then(|| unsafe { BorrowedFd::borrow_raw(self.control) })
    }

    pub(super) fn config_fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: while it is not 0 it is open: `set_config` replaces it and closes the old one.
        (self.config > 0).then(|| unsafe { BorrowedFd::borrow_raw(self.config) })
    }

    pub(super) fn set_config(&mut self, blob: OwnedFd) {
        self.config_number += 1;
        replace(&mut self.config, blob);
    }

    pub(super) fn connections_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: made by `Parent::new`; `set_channel` replaces it and closes the old one.
        unsafe { BorrowedFd::borrow_raw(self.connections) }
    }

    /// The children's end of before stays open: this process may be one of them.
    pub(super) fn set_channel(&mut self, children: OwnedFd, connections: OwnedFd) {
        self.children = children.into_raw_fd();
        let old = std::mem::replace(&mut self.connections, connections.into_raw_fd());
        if old > 0 {
            // Whoever has shut it down may have left anything in it.
            // SAFETY: ours, and the number is not kept anywhere else.
            close_apart(vec![unsafe { OwnedFd::from_raw_fd(old) }]);
        }
    }

    pub(super) fn set_program(&mut self, program: OwnedFd) {
        replace(&mut self.program, program);
    }

    pub(super) fn set_supervisor(&mut self, pid: i32, control: OwnedFd, now: u64) {
        self.forget_supervisor();
        self.supervisor = pid;
        self.control = control.into_raw_fd();
        self.started = now;
    }

    pub(super) fn forget_supervisor(&mut self) {
        self.supervisor = 0;
        let old = std::mem::replace(&mut self.control, 0);
        if old > 0 {
            // SAFETY: ours, and the number is not kept anywhere else.
            drop(unsafe { OwnedFd::from_raw_fd(old) });
        }
    }
}

fn replace(place: &mut RawFd, fd: OwnedFd) {
    let old = std::mem::replace(place, fd.into_raw_fd());
    if old > 0 {
        // SAFETY: ours, and the number is not kept anywhere else.
        drop(unsafe { OwnedFd::from_raw_fd(old) });
    }
}
