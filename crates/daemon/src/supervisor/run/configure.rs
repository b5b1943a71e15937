//! What the server's parent wants: the first configuration, with what an earlier supervisor has left,
//! and those that follow.

use std::os::fd::AsFd;
use std::time::Instant;

use super::Supervisor;
use crate::board::{Slot, State};
use crate::config::Config;
use crate::control::QuitReason;
use crate::supervisor::group::{Effects, Group, Shown};
use crate::supervisor::machine::{About, Adopted};
use crate::sys::{Received, read_blob};

impl Supervisor {
    /// Does from now on what a message of the parent says.
    pub(super) fn configure(&mut self, number: u32, received: Received) {
        let mut fds = received.fds.into_iter();
        let Some(blob) = fds.next() else { return };
        self.machine.logger.set(fds.next(), fds.next());
        let bytes = read_blob(blob.as_fd(), Config::MAX);
        let config = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| Config::decode(&bytes).map_err(|error| error.to_string()));
        let config = match config {
            Ok(config) => config,
            Err(error) => {
                let text = format!("Unable to read the configuration of process groups: {error}.");
                self.machine.logger.say(3, &text);
                return;
            }
        };
        self.machine.logger.set_level(config.level);
        if self.config == 0 {
            self.machine.logger.say(6, "Process supervisor started.");
        }
        let slots = self.machine.board.capacity().slots;
        let groups = self.machine.board.capacity().groups;
        let first = std::mem::replace(&mut self.config, number) == 0;
        self.swaps = config.swaps as usize;
        let now = Instant::now();
        let mut known: Vec<u32> = self.groups.keys().copied().collect();
        for group in config.groups {
            let fits = group.first.checked_add(group.slots).is_some_and(|end| end <= slots);
            if !fits || group.group >= groups {
                self.machine.logger.say(3, "A process group does not fit the board.");
                continue;
            }
            known.retain(|number| *number != group.group);
            match self.groups.get_mut(&group.group) {
                Some(known) => known.configure(group, number, now, &mut self.machine),
                None => {
                    let mut new = Group::new(group, number);
                    if !first {
                        new.settle(now, &mut self.machine);
                    }
                    self.groups.insert(new.config().group, new);
                }
            }
        }
        for number in known {
            if let Some(group) = self.groups.get_mut(&number) {
                group.remove();
            }
        }
        if first {
            self.adopt(now);
            if self.machine.watch(self.children.as_fd(), About::Children, 0).is_err() {
                self.machine.logger.say(3, "Unable to listen to the server's children.");
            }
        }
        if self.is_stopping() {
            for group in self.groups.values_mut() {
                group.stop(QuitReason::Stop, now, &mut self.machine);
            }
        }
    }

    /// Takes over what an earlier supervisor has left, and starts the rest.
    fn adopt(&mut self, now: Instant) {
        let mut adopted = Vec::new();
        let groups = &mut self.groups;
        self.machine.adopt_all(|kept, at| {
            let group = groups.get_mut(&kept.group)?;
            let config = group.config();
            let (name, threads) = (config.name.clone(), config.all_threads());
            if !(config.first..config.first + config.slots).contains(&kept.slot) {
                return None;
            }
            let Slot { state, epoch, generation, pid, config } = *at;
            let shown = Shown { state, epoch, generation, pid, config };
            adopted.push(kept.slot);
            group.adopt(kept.slot, &shown, now).then_some(Adopted { name, threads })
        });
        for group in self.groups.values_mut() {
            let config = group.config();
            for slot in config.first..config.first + config.slots {
                let Slot { state, epoch, generation, config, .. } = self.machine.board.slot(slot);
                if state != State::Free && !adopted.contains(&slot) {
                    let state = State::Free;
                    let shown = Shown { state, epoch, generation, pid: 0, config };
                    self.machine.show(slot, &shown);
                }
            }
            group.settle(now, &mut self.machine);
        }
    }
}
