//! A group: which workers it should have, which of them take requests, and how it gets from one
//! generation to the next.
//!
//! Only decisions are here. What they do to processes and shared memory goes through [`Effects`], so
//! that time and failures can be played in tests.
//!
//! A **generation** is a state of the application's code: it changes when the application is to be
//! loaded anew, not when one worker replaces another. New workers are started beside the old ones;
//! when enough of them are ready, requests are routed to them and no longer to the old ones, which
//! finish what they have. If the new ones cannot load what the old ones had loaded, the change is off
//! and the old ones stay.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

mod effects;
mod member;
mod settle;
#[cfg(test)]
mod tests;
mod ticks;

pub(super) use effects::{Effects, Level, New};
pub(super) use member::Shown;
use member::{Member, Phase};

use super::backoff::{Backoff, LIVED};
use crate::board::{End, State, Status};
use crate::config;
use crate::control::{MAX_LOADS, QuitReason, Retire};
use crate::sys::Exit;

/// Why a new generation is made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    /// The group's configuration is another one.
    Config,
    /// Something that was loaded has changed.
    Reload {
        /// What.
        key: Vec<u8>,
        /// Which change.
        version: u64,
    },
}

/// A group of workers.
#[derive(Debug)]
pub(super) struct Group {
    config: config::Group,
    config_number: u32,
    members: BTreeMap<u32, Member>,
    /// The generation that new workers belong to.
    target: u32,
    /// The newest generation that takes requests.
    serving: u32,
    /// The last number that was used for a generation.
    last: u32,
    /// The generation is changing.
    swap: Option<Cause>,
    /// Since when, or when it was last.
    swapping: Option<Instant>,
    /// It should change, when there is room for that.
    wanted: Option<Cause>,
    backoff: Backoff,
    /// What has been loaded, and new workers load before they are ready.
    loads: Vec<Vec<u8>>,
    /// When something was added to it last.
    learned: Option<Instant>,
    /// What the processes of a generation could not load.
    failed: (u32, Vec<Vec<u8>>),
    /// A change that could not be loaded, or not yet.
    bad: Option<(Vec<u8>, u64)>,
    /// All is to end.
    stopping: Option<QuitReason>,
    /// No longer in the configuration: ends when nobody needs it.
    removed: bool,
    shown: Option<(Status, u32)>,
    /// When it was last looked at.
    ticked: Option<Instant>,
    /// Routing has changed since it was shown.
    rerouted: bool,
}

/// How long other groups wait for one that is changing.
const LONG: Duration = Duration::from_secs(60);
/// How long a worker that hears nothing may take to end if there is no limit.
const LOST: Duration = Duration::from_secs(5);
/// Between telling a worker to end at the latest then, and killing it.
const GRACE: Duration = Duration::from_secs(1);

impl Group {
    /// A group that has no workers yet.
    pub(super) fn new(config: config::Group, config_number: u32) -> Group {
        Group {
            config,
            config_number,
            members: BTreeMap::new(),
            target: 1,
            serving: 0,
            last: 1,
            swap: None,
            swapping: None,
            wanted: None,
            backoff: Backoff::default(),
            loads: Vec::new(),
            learned: None,
            failed: (0, Vec::new()),
            bad: None,
            stopping: None,
            removed: false,
            shown: None,
            ticked: None,
            rerouted: false,
        }
    }

    /// Takes over a worker that an earlier supervisor has left, as the board shows it. Call it for
    /// all of them before anything else. `false` if it is of no use.
    pub(super) fn adopt(&mut self, slot: u32, shown: &Shown, now: Instant) -> bool {
        let phase = match shown.state {
            State::Routed => Phase::Routed,
            State::Spare => Phase::Spare,
            State::Draining => Phase::Draining(deadline(now, self.config.graceful)),
            // What it was to load, and for whom, is not known.
            State::Starting | State::Free => return false,
        };
        self.last = self.last.max(shown.generation);
        if phase == Phase::Routed {
            self.serving = self.serving.max(shown.generation);
            self.target = self.serving;
        }
        let member = Member {
            epoch: shown.epoch,
            generation: shown.generation,
            pid: shown.pid,
            config: shown.config,
            phase,
            started: now,
            ready: Some(now),
            retiring: None,
            loads: None,
            failed: false,
        };
        if member.config != self.config_number {
            self.wanted = Some(Cause::Config);
        }
        self.members.insert(slot, member);
        true
    }

    /// The configuration.
    pub(super) fn config(&self) -> &config::Group {
        &self.config
    }

    /// Which use of a slot its worker is, if it could be given a connection.
    pub(super) fn epoch(&self, slot: u32) -> Option<u32> {
        let member = self.members.get(&slot).filter(|member| !member.is_leaving())?;
        (member.phase != Phase::Starting).then_some(member.epoch)
    }

    /// Nothing is left of it.
    pub(super) fn is_over(&self) -> bool {
        self.stopping.is_some() && self.members.is_empty()
    }

    /// A generation is being replaced, and others wait for that. One that does not get ready is not
    /// waited for without end.
    pub(super) fn is_swapping(&self, now: Instant) -> bool {
        self.swap.is_some() && self.swapping.is_some_and(|since| now - since < LONG)
    }

    /// It waits for leave to replace its generation.
    pub(super) fn wants_swap(&self, now: Instant) -> bool {
        self.wanted.is_some()
            && self.swap.is_none()
            && self.stopping.is_none()
            && self.backoff.may_try(now)
    }

    /// The configuration has changed, or was read again.
    pub(super) fn configure(
        &mut self,
        config: config::Group,
        number: u32,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        self.removed = false;
        let keep = config == self.config && config.keep && self.stopping.is_none();
        self.config = config;
        self.config_number = number;
        if keep {
            let slots: Vec<u32> = self.members.keys().copied().collect();
            for slot in slots {
                if let Some(member) = self.members.get_mut(&slot) {
                    member.config = number;
                }
                self.display(slot, fx);
            }
            return;
        }
        // Whatever failed may work now.
        self.backoff.reset();
        self.bad = None;
        self.stopping = None;
        self.abandon(now, fx);
        if !self.members.is_empty() {
            self.wanted = Some(Cause::Config);
        }
        self.settle(now, fx);
    }

    /// The group is in the configuration no longer.
    pub(super) fn remove(&mut self) {
        self.removed = true;
    }

    /// Whether it waits for nobody to need it.
    pub(super) fn is_removed(&self) -> bool {
        self.removed && self.stopping.is_none()
    }

    /// Ends everything.
    pub(super) fn stop(&mut self, reason: QuitReason, now: Instant, fx: &mut dyn Effects) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(reason);
        self.swap = None;
        self.wanted = None;
        let slots: Vec<u32> = self.members.keys().copied().collect();
        for slot in slots {
            self.end(slot, reason, now, fx);
        }
        self.show(fx);
    }

    /// Leave to replace the generation.
    pub(super) fn begin_swap(&mut self, now: Instant, fx: &mut dyn Effects) {
        let Some(cause) = self.wanted.take() else { return };
        self.last += 1;
        self.target = self.last;
        self.swap = Some(cause);
        self.swapping = Some(now);
        self.settle(now, fx);
    }

    /// A worker is ready.
    pub(super) fn on_ready(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        if member.phase != Phase::Starting {
            return;
        }
        let is_new = member.generation == self.target;
        if member.failed && is_new && self.is_changing_from_working() {
            self.give_up("what was loaded before cannot be loaded any more", now, fx);
            return;
        }
        let Some(member) = self.members.get_mut(&slot) else { return };
        member.phase = Phase::Spare;
        member.ready = Some(now);
        self.display(slot, fx);
        self.settle(now, fx);
    }

    /// A worker could not load something that earlier ones had loaded. Says whether that is news: all
    /// processes of a generation find the same.
    pub(super) fn on_failed(&mut self, slot: u32, key: &[u8]) -> bool {
        let Some(member) = self.members.get_mut(&slot) else { return false };
        member.failed = true;
        if self.failed.0 != member.generation {
            self.failed = (member.generation, Vec::new());
        }
        let known = &mut self.failed.1;
        let is_new = known.len() < MAX_LOADS && !known.iter().any(|other| other == key);
        if is_new {
            known.push(key.to_vec());
        }
        is_new
    }

    /// A worker has loaded something.
    pub(super) fn on_loaded(&mut self, slot: u32, key: &[u8], now: Instant) {
        let known = self.members.contains_key(&slot);
        if known && self.loads.len() < MAX_LOADS && !self.loads.iter().any(|other| other == key) {
            self.loads.push(key.to_vec());
            self.learned = Some(now);
        }
    }

    /// A worker has found that something it had loaded has changed.
    pub(super) fn on_reload(
        &mut self,
        slot: u32,
        key: &[u8],
        version: u64,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        let Some(member) = self.members.get(&slot) else { return };
        let current = member.phase == Phase::Routed && member.generation == self.target;
        if !current || self.swap.is_some() || self.wanted.is_some() {
            return;
        }
        let is_bad = self.bad.as_ref().is_some_and(|bad| (&bad.0[..], bad.1) == (key, version));
        if is_bad && (self.backoff.failures() == 0 || !self.backoff.may_try(now)) {
            // It was tried, and the request that has found it shall not wait.
            fx.count_failure(self.config.group);
            self.rerouted = true;
            self.show(fx);
            return;
        }
        self.wanted = Some(Cause::Reload { key: key.to_vec(), version });
    }

    /// A worker wants to be replaced.
    pub(super) fn on_retire(
        &mut self,
        slot: u32,
        reason: Retire,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        self.retire(slot, reason, now, fx);
    }

    /// A worker runs requests, named here, for longer than it may.
    pub(super) fn on_overdue(
        &mut self,
        slot: u32,
        requests: &str,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        let Some(member) = self.members.get(&slot) else { return };
        if member.retiring.is_none() && !member.is_leaving() {
            let name = String::from_utf8_lossy(&self.config.name);
            let pid = member.pid;
            let text = format!("Process '{name}' (pid={pid}) takes too long for: {requests}");
            fx.log(Level::Error, &self.config, pid, &text);
        }
        self.retire(slot, Retire::RequestTimeout, now, fx);
    }

    fn retire(&mut self, slot: u32, reason: Retire, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        if member.retiring.is_some() || member.is_leaving() {
            return;
        }
        member.retiring = Some(reason);
        let name = String::from_utf8_lossy(&self.config.name);
        let (pid, why) = (member.pid, reason.name());
        let text = format!("Process '{name}' (pid={pid}) is being replaced: {why}.");
        // What somebody should look into shows without a change of the log level.
        let level = if reason.is_fault() { Level::Warning } else { Level::Info };
        fx.log(level, &self.config, pid, &text);
        self.settle(now, fx);
    }

    /// A worker ends without having been told to.
    pub(super) fn on_stopping(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        if !matches!(member.phase, Phase::Quitting(_)) {
            let limit = self.config.shutdown;
            member.phase = Phase::Quitting(deadline(now, limit).map(|at| at + GRACE));
            self.display(slot, fx);
            self.settle(now, fx);
        }
    }

    /// A worker cannot be told anything any more, though it lives.
    pub(super) fn on_lost(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        let limit = Some(self.config.shutdown).filter(|limit| !limit.is_zero()).unwrap_or(LOST);
        let until = now + limit + GRACE;
        match &mut member.phase {
            Phase::Quitting(before) => *before = Some(before.map_or(until, |at| at.min(until))),
            phase => {
                *phase = Phase::Quitting(Some(until));
                let name = String::from_utf8_lossy(&self.config.name);
                let pid = member.pid;
                let text = format!(
                    "Process '{name}' (pid={pid}) has closed what it is controlled by; ending it."
                );
                fx.log(Level::Error, &self.config, pid, &text);
            }
        }
        fx.signal(slot, Signal::TERM);
        self.rerouted = true;
        self.display(slot, fx);
        self.settle(now, fx);
    }

    /// A worker has ended. `why` is what it said about not having been started, if that is so.
    pub(super) fn on_end(
        &mut self,
        slot: u32,
        exit: Exit,
        why: Option<&str>,
        hint: &str,
        now: Instant,
        fx: &mut dyn Effects,
    ) {
        let Some(member) = self.members.remove(&slot) else { return };
        let name = String::from_utf8_lossy(&self.config.name).into_owned();
        let pid = member.pid;
        let expected = member.is_leaving() || self.stopping.is_some();
        let service = self.config.threads == 0 && exit == Exit::Code(0);
        let level = if expected || service { Level::Info } else { Level::Error };
        if let Some(why) = why {
            let text = format!("Unable to start process '{name}' (pid={pid}): {why}.");
            fx.log(Level::Error, &self.config, pid, &text);
        } else {
            if !expected && !service {
                let text = format!(
                    "Process '{name}' (pid={pid}) has died; deregistering and restarting it."
                );
                fx.log(Level::Info, &self.config, pid, &text);
            }
            let text = format!("Process '{name}' (pid={pid}) {exit}{hint}");
            fx.log(level, &self.config, pid, &text);
        }
        let end = match member.retiring {
            _ if why.is_some() => Some(End::NotStarted),
            _ if !expected && !service => Some(End::Died),
            Some(reason) => Some(End::Retired(reason)),
            None => (self.stopping.is_none() && !service).then_some(End::Replaced),
        };
        if let Some(end) = end {
            fx.count_end(self.config.group, end, pid);
        }
        self.clear(slot, &member, fx);
        // A service is never ready.
        let alive = if self.config.threads == 0 { Some(member.started) } else { member.ready };
        let lived = alive.is_some_and(|since| now - since >= LIVED);
        if !expected {
            if lived {
                self.backoff.reset();
            } else if member.ready.is_some() {
                self.backoff.fail_after_all(now);
            } else {
                self.backoff.fail(now);
            }
        }
        let fresh = member.generation == self.target && member.ready.is_none();
        if !expected && fresh && self.is_changing_from_working() {
            self.give_up("the new processes do not start", now, fx);
        }
        self.settle(now, fx);
    }
}

/// `None` if there is no limit.
fn deadline(now: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| now + limit)
}
