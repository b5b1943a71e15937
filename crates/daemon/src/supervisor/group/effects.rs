//! What a group can do to the world.

use std::time::Duration;

use rustix::process::Signal;

use super::member::Shown;
use crate::board::{End, Status};
use crate::config;
use crate::control::QuitReason;

/// See the module.
pub(in super::super) trait Effects {
    /// Starts a worker, and returns its process. Nothing is known of it until
    /// [`Group::on_ready`] or [`Group::on_end`].
    fn spawn(&mut self, group: &config::Group, new: &New<'_>) -> Result<i32, String>;
    /// The last use of a slot, by whatever supervisor.
    fn last_epoch(&mut self, slot: u32) -> u32;
    /// Shows a slot on the board.
    fn show(&mut self, slot: u32, member: &Shown);
    /// Shows the group on the board, and tells children that something has changed.
    fn announce(&mut self, group: u32, status: Status, generation: u32);
    /// Counts on the board that a new generation could not be made.
    fn count_failure(&mut self, group: u32);
    /// Counts on the board that a worker has ended.
    fn count_end(&mut self, group: u32, end: End, pid: i32);
    /// Tells a worker to end.
    fn quit(&mut self, slot: u32, reason: QuitReason, limit: Duration);
    /// Sends a worker a signal.
    fn signal(&mut self, slot: u32, signal: Signal);
    /// How many requests children have with a worker.
    fn in_flight(&mut self, slot: u32) -> u64;
    /// Says something in the log: about a group, and a process if not 0.
    fn log(&mut self, level: Level, group: &config::Group, pid: i32, text: &str);
}

/// How bad something is, numbered as in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// A worker to start.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct New<'l> {
    pub(in super::super) slot: u32,
    pub(in super::super) epoch: u32,
    pub(in super::super) generation: u32,
    pub(in super::super) loads: &'l [Vec<u8>],
}
