//! A worker process as the supervisor holds it: its descriptors and what has been read from them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};

use super::lines::Lines;
use super::spawn::Report;
use crate::control::QuitReason;
use crate::sys::Watch;

/// See the module.
#[derive(Debug)]
pub(super) struct Process {
    /// Its group's number and slot.
    pub(super) group: u32,
    pub(super) slot: u32,
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

/// Whether it is one end of a connection, so that nothing else is passed from one process to another.
pub(super) fn is_connection(fd: &OwnedFd) -> bool {
    is_socket(fd, rustix::net::SocketType::STREAM)
}

/// Whether it can be a control socket.
pub(super) fn is_control(fd: &OwnedFd) -> bool {
    is_socket(fd, rustix::net::SocketType::SEQPACKET)
}

fn is_socket(fd: &OwnedFd, kind: rustix::net::SocketType) -> bool {
    use rustix::net::{AddressFamily, sockopt};
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) && sockopt::socket_type(fd) == Ok(kind)
}

/// Makes a pipe that somebody else gave us not wait.
pub(super) fn as_pipe(fd: &OwnedFd) -> io::Result<()> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode);
    if kind != rustix::fs::FileType::Fifo {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(rustix::io::ioctl_fionbio(fd.as_fd(), true)?)
}

/// Whether it is memory that can be read without waiting.
pub(super) fn is_memory(fd: &OwnedFd) -> bool {
    rustix::fs::fcntl_get_seals(fd).is_ok()
}
