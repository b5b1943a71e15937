//! A worker process as the supervisor holds it: its descriptors and what has been read from them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::lines::Lines;
use super::spawn::Report;
use super::store::Store;
use crate::control::{Kept, Purpose, QuitReason, ToWorker};
use crate::sys::Watch;
use crate::worker::running;

/// Most requests that are named in one line.
const SHOWN: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    /// Its group's number and slot.
    pub(super) group: u32,
    pub(super) slot: u32,
    /// Which use of the slot.
    pub(super) epoch: u32,
    pub(super) watch: Watch,
    /// It is our child, so its end can be asked for.
    pub(super) child: bool,
    pub(super) control: Option<OwnedFd>,
    /// Since when there is no control socket, though the process lives.
    pub(super) lost: Option<Instant>,
    pub(super) output: Output,
    pub(super) status: OwnedFd,
    pub(super) threads: u32,
    pub(super) report: Option<OwnedFd>,
    pub(super) reports: Vec<u8>,
    /// We have killed it.
    pub(super) killed: bool,
    /// It was told to end, but could not hear it.
    pub(super) quit: Option<(QuitReason, Duration)>,
}

impl Process {
    /// Keeps its descriptors for the next supervisor; `false` if there is no room.
    pub(super) fn keep(&self, store: &mut Store) -> bool {
        let Some(control) = &self.control else { return true };
        let mut fds = vec![control.as_fd(), self.output.fd.as_fd(), self.status.as_fd()];
        fds.extend(self.watch.fd());
        let pid = self.watch.pid();
        let kept = Kept { group: self.group, slot: self.slot, epoch: self.epoch, pid };
        store.put(&kept, &fds).is_ok()
    }

    /// The requests that it runs for so long, as far as it says; shown, not obeyed.
    pub(super) fn requests(&self, longer: Duration) -> String {
        let all = running(self.status.as_fd(), self.threads);
        let long = all.iter().filter(|one| one.elapsed >= longer);
        long.take(SHOWN).map(|one| printable(&one.id)).collect::<Vec<_>>().join(", ")
    }

    /// Whether it runs a request for longer than that, as far as it says.
    pub(super) fn is_overdue(&self, limit: Duration) -> bool {
        running(self.status.as_fd(), self.threads).iter().any(|one| one.elapsed > limit)
    }

    /// Reads what it says about being started.
    pub(super) fn read_report(&mut self) {
        let Some(fd) = &self.report else { return };
        let mut buffer = [0; 256];
        loop {
            match read(fd, &mut buffer) {
                Ok(count) if count > 0 && self.reports.len() < 4096 => {
                    self.reports.extend_from_slice(&buffer[..count]);
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
        self.report = None;
    }

    /// What it has said so far.
    pub(super) fn reported(&self) -> Vec<Report> {
        Report::decode_all(&self.reports)
    }
}

/// The read end of a worker's output. Outlives the worker if processes that it has left behind still
/// write.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) group: Vec<u8>,
    pub(super) pid: i32,
    lines: Lines,
}

/// Most bytes of output that are taken at once: nobody's output keeps the others waiting.
const PIECE: usize = 64 << 10;

impl Output {
    /// `fd` does not wait.
    pub(super) fn new(fd: OwnedFd, group: &[u8], pid: i32) -> Output {
        Output { fd, group: group.to_vec(), pid, lines: Lines::default() }
    }

    /// Hands out lines that have come; `false` at the end.
    pub(super) fn read(&mut self, line: &mut dyn FnMut(&[u8])) -> bool {
        let mut buffer = [0; 8192];
        let mut taken = 0;
        while taken < PIECE {
            match read(&self.fd, &mut buffer) {
                Ok(0) => {
                    self.lines.end(line);
                    return false;
                }
                Ok(count) => {
                    taken += count;
                    self.lines.feed(&buffer[..count], line);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return false,
            }
        }
        true
    }

    /// Hands out a line that has no end: its writer is gone.
    pub(super) fn end(&mut self, line: &mut dyn FnMut(&[u8])) {
        self.lines.end(line);
    }
}

/// What a worker is told about an end that a child has for it, if that is what it should be.
pub(super) fn about(end: &OwnedFd, purpose: Purpose) -> Option<ToWorker> {
    match purpose {
        Purpose::Requests { domain } => {
            is_connection(end).then_some(ToWorker::Connection { domain })
        }
        Purpose::Inquiry => is_channel(end).then_some(ToWorker::Inquiry),
    }
}

/// Whether it is one end of a connection, so that nothing else is passed from one process to another.
fn is_connection(fd: &OwnedFd) -> bool {
    is_unix(fd, SocketType::STREAM)
}

/// Whether it is one end of a channel for an answer.
pub(super) fn is_channel(fd: &OwnedFd) -> bool {
    is_unix(fd, SocketType::SEQPACKET)
}

fn is_unix(fd: &OwnedFd, kind: SocketType) -> bool {
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) && sockopt::socket_type(fd) == Ok(kind)
}

fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    bytes.iter().map(shown).collect()
}
