//! What comes with time: limits that are reached, workers that have drained.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::effects::{Effects, Level};
use super::member::{Member, Phase};
use super::{Group, deadline};
use crate::control::{QuitReason, Retire};

/// When nothing new has been loaded for so long, spares are renewed that have not loaded what there is.
const QUIET: Duration = Duration::from_secs(1);

/// How often a draining worker is looked at.
const LOOK: Duration = Duration::from_millis(10);

impl Group {
    /// When [`Self::tick`] has something to do at the latest.
    pub(in super::super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let member = |member: &Member| match (member.phase, member.ready) {
            (Phase::Draining(_), _) => Some(now + LOOK),
            (Phase::Quitting(until), _) => until,
            (Phase::Starting, _) => deadline(member.started, self.config.startup),
            (_, Some(ready)) if member.retiring.is_none() => deadline(ready, self.config.interval),
            _ => None,
        };
        let members = self.members.values().filter_map(member);
        // Once it was looked at after that time, waiting is over.
        let retry = self.backoff.until().filter(|until| self.ticked.is_none_or(|at| at < *until));
        members.chain(retry).min()
    }

    /// Time has passed.
    pub(in super::super) fn tick(&mut self, now: Instant, fx: &mut dyn Effects) {
        self.ticked = Some(now);
        let slots: Vec<u32> = self.members.keys().copied().collect();
        for slot in slots {
            self.tick_member(slot, now, fx);
        }
        self.settle(now, fx);
    }

    fn tick_member(&mut self, slot: u32, now: Instant, fx: &mut dyn Effects) {
        let Some(member) = self.members.get_mut(&slot) else { return };
        let name = String::from_utf8_lossy(&self.config.name).into_owned();
        let pid = member.pid;
        match member.phase {
            Phase::Starting => {
                let limit = self.config.startup;
                if !limit.is_zero() && now - member.started >= limit {
                    let text = format!("Process '{name}' (pid={pid}) is not ready in time.");
                    fx.log(Level::Error, &self.config, pid, &text);
                    member.started = now;
                    fx.signal(slot, Signal::KILL);
                }
            }
            Phase::Routed | Phase::Spare => {
                let limit = self.config.interval;
                if !limit.is_zero() && member.ready.is_some_and(|ready| now - ready >= limit) {
                    self.retire(slot, Retire::Interval, now, fx);
                } else if member.phase == Phase::Spare
                    && member.loads.is_some_and(|count| count < self.loads.len())
                    && self.learned.is_some_and(|at| now - at >= QUIET)
                    && self.swap.is_none()
                    && self.wanted.is_none()
                {
                    // It was there before a request made the others load something: it would not be
                    // ready for one.
                    self.end(slot, QuitReason::Replaced, now, fx);
                }
            }
            Phase::Draining(until) => {
                let reason = member.retiring.map_or(QuitReason::Replaced, QuitReason::Retired);
                if fx.in_flight(slot) == 0 {
                    self.end(slot, reason, now, fx);
                } else if until.is_some_and(|until| now >= until) {
                    let text = format!(
                        "Process '{name}' (pid={pid}) still has requests; forcing shutdown."
                    );
                    fx.log(Level::Warning, &self.config, pid, &text);
                    self.end(slot, reason, now, fx);
                }
            }
            Phase::Quitting(until) => {
                if until.is_some_and(|until| now >= until) {
                    let text =
                        format!("Shutdown timeout expired; aborting process '{name}' (pid={pid}).");
                    fx.log(Level::Error, &self.config, pid, &text);
                    member.phase = Phase::Quitting(None);
                    fx.signal(slot, Signal::KILL);
                }
            }
        }
    }
}
