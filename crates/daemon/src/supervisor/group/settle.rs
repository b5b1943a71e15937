//! Bringing about what should be: starting, routing, draining, ending.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::effects::{Effects, Level, New};
use super::member::{Member, Phase, Shown};
use super::{Cause, GRACE, Group, deadline};
use crate::board::{State, Status};
use crate::config::Swap;
use crate::control::{QuitReason, Retire};

impl Group {
    /// Brings about what should be.
    pub(in super::super) fn settle(&mut self, now: Instant, fx: &mut dyn Effects) {
        if self.stopping.is_none() {
            self.route(now, fx);
            self.start(now, fx);
        }
        self.show(fx);
    }

    /// Starts workers that are missing.
    fn start(&mut self, now: Instant, fx: &mut dyn Effects) {
        let wanted = (self.config.processes + self.config.spare) as usize;
        loop {
            let fresh = self.fresh().count();
            let starting = self.fresh().filter(|(_, one)| one.phase == Phase::Starting).count();
            let rolling = self.config.swap == Swap::Rolling && self.old_routed().next().is_some();
            if fresh >= wanted || (rolling && starting > 0) || !self.backoff.may_try(now) {
                return;
            }
            let first = self.config.first;
            let free =
                (first..first + self.config.slots).find(|slot| !self.members.contains_key(slot));
            let Some(slot) = free else { return };
            if !self.spawn(slot, now, fx) {
                self.backoff.fail(now);
                if self.is_changing_from_working() {
                    self.give_up("the new processes do not start", now, fx);
                }
                return;
            }
        }
    }

    fn spawn(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) -> bool {
        let epoch = fx.last_epoch(slot).wrapping_add(1).max(1);
        let new = New { slot, epoch, generation: self.target, loads: &self.loads };
        match fx.spawn(&self.config, &new) {
            Ok(pid) => {
                let member = Member {
                    epoch,
                    generation: self.target,
                    pid,
                    config: self.config_number,
                    phase: Phase::Starting,
                    started: now,
                    ready: None,
                    retiring: None,
                    loads: Some(self.loads.len()),
                    failed: false,
                };
                self.members.insert(slot, member);
                self.display(slot, fx);
                true
            }
            Err(why) => {
                let name = String::from_utf8_lossy(&self.config.name);
                let text = format!("Unable to start process '{name}': {why}");
                fx.log(Level::Error, &self.config, 0, &text);
                false
            }
        }
    }

    /// Routes requests to workers that are ready, and away from those that are to go.
    fn route(&mut self, now: Instant, fx: &mut dyn Effects) {
        if self.config.threads == 0 {
            return;
        }
        let processes = self.config.processes as usize;
        let mut ready: Vec<(bool, u32)> = self
            .fresh()
            .filter(|(_, member)| member.is_ready())
            .map(|(slot, member)| (member.phase != Phase::Routed, slot))
            .collect();
        // Those that take requests go on doing so.
        ready.sort_unstable();
        let old: Vec<u32> = self.old_routed().collect();
        let changing = old.iter().any(|slot| self.members[slot].generation != self.target);
        if changing && self.config.swap == Swap::Overlap && ready.len() < processes {
            return;
        }
        ready.truncate(processes);
        for (is_new, slot) in &ready {
            if let Some(member) = self.members.get_mut(slot).filter(|_| *is_new) {
                member.phase = Phase::Routed;
                self.rerouted = true;
                self.serving = self.serving.max(self.target);
                self.display(*slot, fx);
            }
        }
        // As many go as have been replaced.
        let surplus = (ready.len() + old.len()).saturating_sub(processes);
        for slot in old.into_iter().take(surplus) {
            self.drain(slot, now, fx);
        }
        let idle: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, one)| one.phase == Phase::Spare && !self.is_fresh(one))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in idle {
            self.end(slot, QuitReason::Replaced, now, fx);
        }
        if self.swap.is_some() && ready.len() >= processes && self.old_routed().next().is_none() {
            let name = String::from_utf8_lossy(&self.config.name);
            let text = format!("Process group '{name}' runs generation {}.", self.target);
            fx.log(Level::Info, &self.config, 0, &text);
            self.swap = None;
            self.bad = None;
        }
    }

    /// Workers of the generation that is to be, which are to stay.
    fn fresh(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.members.iter().filter(|(_, one)| self.is_fresh(one)).map(|(slot, one)| (*slot, one))
    }

    fn is_fresh(&self, member: &Member) -> bool {
        member.generation == self.target && member.retiring.is_none() && !member.is_leaving()
    }

    /// Workers that take requests and are to go, the oldest first.
    fn old_routed(&self) -> impl Iterator<Item = u32> {
        let mut old: Vec<(Instant, u32)> = self
            .members
            .iter()
            .filter(|(_, one)| one.phase == Phase::Routed && !self.is_fresh(one))
            .map(|(slot, one)| (one.started, *slot))
            .collect();
        old.sort_unstable();
        old.into_iter().map(|(_, slot)| slot)
    }

    /// The generation is changing, and the one before works.
    pub(super) fn is_changing_from_working(&self) -> bool {
        let works = |slot: u32| self.members[&slot].generation != self.target;
        self.swap.is_some() && self.old_routed().any(works)
    }

    /// The change of generation is off.
    pub(super) fn give_up(&mut self, why: &str, now: Instant, fx: &mut dyn Effects) {
        let name = String::from_utf8_lossy(&self.config.name).into_owned();
        let text =
            format!("Process group '{name}' goes on with the code that it has loaded: {why}.");
        fx.log(Level::Error, &self.config, 0, &text);
        let cause = self.swap.clone();
        self.abandon(now, fx);
        match cause {
            // The configuration is what it is; it is tried again, ever more slowly.
            Some(Cause::Config) => {
                self.wanted = Some(Cause::Config);
                if !self.backoff.is_failing() {
                    self.backoff.fail(now);
                }
            }
            Some(Cause::Reload { key, version }) => self.bad = Some((key, version)),
            None => {}
        }
        fx.count_failure(self.config.group);
        self.rerouted = true;
        self.show(fx);
    }

    /// Goes back to the generation that serves, if another one was being started.
    pub(super) fn abandon(&mut self, now: Instant, fx: &mut dyn Effects) {
        if self.swap.take().is_none() {
            return;
        }
        let target = self.target;
        let started: Vec<u32> = self
            .members
            .iter()
            .filter(|(_, one)| one.generation == target && !one.is_leaving())
            .filter(|(_, one)| one.phase != Phase::Routed)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in started {
            self.end(slot, QuitReason::NotWanted, now, fx);
        }
        self.target = self.serving.max(1);
    }

    /// No more requests for a worker; it ends when it has none.
    fn drain(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        if matches!(self.swap, Some(Cause::Reload { .. })) && member.generation != self.target {
            member.retiring.get_or_insert(Retire::Reload);
        }
        let limit = match member.retiring {
            Some(Retire::GracefulSignal) if !self.config.eviction.is_zero() => self.config.eviction,
            _ => self.config.graceful,
        };
        member.phase = Phase::Draining(deadline(now, limit));
        self.rerouted = true;
        self.display(slot, fx);
    }

    /// Ends a worker.
    pub(super) fn end(
        &mut self,
        slot: u32,
        reason: QuitReason,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        let limit = self.config.shutdown;
        match member.phase {
            Phase::Quitting(_) => return,
            Phase::Starting => {
                // It does not listen yet, or is just about to.
                let limit = if self.config.threads == 0 { limit } else { Duration::ZERO };
                member.phase = Phase::Quitting(Some(now + limit + GRACE));
                fx.quit(slot, reason, limit);
                fx.signal(slot, Signal::TERM);
            }
            _ => {
                member.phase = Phase::Quitting(deadline(now, limit).map(|at| at + GRACE));
                fx.quit(slot, reason, limit);
            }
        }
        self.rerouted = true;
        self.display(slot, fx);
    }

    pub(super) fn display(&self, slot: u32, fx: &mut dyn Effects) {
        let Some(member) = self.members.get(&slot) else { return };
        let state = match member.phase {
            Phase::Starting => State::Starting,
            Phase::Spare => State::Spare,
            Phase::Routed => State::Routed,
            Phase::Draining(_) | Phase::Quitting(_) => State::Draining,
        };
        fx.show(slot, &member.shown(state));
    }

    pub(super) fn clear(&mut self, slot: u32, member: &Member, fx: &mut dyn Effects) {
        self.rerouted = true;
        fx.show(slot, &Shown { pid: 0, ..member.shown(State::Free) });
    }

    pub(super) fn show(&mut self, fx: &mut dyn Effects) {
        let routed = self.members.values().any(|member| member.phase == Phase::Routed);
        let status = if self.config.threads == 0 {
            Status::Service
        } else if self.stopping.is_some() {
            Status::Down
        } else if routed {
            Status::Serving
        } else if self.backoff.is_failing() {
            Status::Failing
        } else {
            Status::Starting
        };
        let now = Some((status, self.serving));
        if std::mem::take(&mut self.rerouted) || self.shown != now {
            self.shown = now;
            fx.announce(self.config.group, status, self.serving);
        }
    }
}
