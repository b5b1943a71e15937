//! What a page shows: a server at one moment, as plain data.
//!
//! Text is bytes as they came, from clients, applications and the configuration; whoever renders it
//! escapes it. Times are microseconds since 1970, durations microseconds.

use crate::histogram::Totals;
use crate::memory::Stage;

/// A part of the time that a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the request's first line until it is handed to a process: the server's own work, and
    /// reading a body that is buffered.
    Read = 0,
    /// Until a process of the group has taken it.
    Queue = 1,
    /// Until the application is called: waiting for Python's lock, looking for the script and
    /// perhaps loading it.
    Start = 2,
    /// Until the application has given its whole response.
    Application = 3,
    /// Until the server has taken all of it.
    Send = 4,
    /// All of it.
    Total = 5,
}

impl Phase {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, in order.
    pub const ALL: [Phase; Phase::COUNT] =
        [Phase::Read, Phase::Queue, Phase::Start, Phase::Application, Phase::Send, Phase::Total];

    /// As machines are told it.
    pub const fn name(self) -> &'static str {
        ["read", "queue", "start", "application", "send", "total"][self as usize]
    }

    /// As people are.
    pub const fn title(self) -> &'static str {
        ["Client read", "Queue", "GIL wait", "Application", "Send", "Total"][self as usize]
    }
}

/// A server.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What this module calls itself.
    pub version: Vec<u8>,
    /// What the server calls itself.
    pub server: Vec<u8>,
    /// The name of the host that was asked.
    pub host: Vec<u8>,
    /// When this was.
    pub now: u64,
    /// The groups of processes.
    pub groups: Vec<Group>,
    /// What runs, the oldest first.
    pub running: Vec<Request>,
}

/// A group of processes.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its name; empty for the server's own children.
    pub name: Vec<u8>,
    /// Its processes are daemon processes.
    pub is_daemon: bool,
    /// What becomes of its requests.
    pub status: GroupStatus,
    /// The newest generation that takes requests.
    pub generation: u32,
    /// How often the next one could not be made.
    pub failures: u32,
    /// How many processes there are to be, and how many threads each.
    pub processes: u32,
    /// Threads of each process.
    pub threads: u32,
    /// Requests that wait for a thread.
    pub queued: u64,
    /// Requests that are with a process or wait for one.
    pub active: u64,
    /// Its processes.
    pub workers: Vec<Worker>,
    /// What was counted.
    pub totals: Totals,
    /// When somebody last looked, and how many requests there had been.
    pub looked: (u64, u64),
    /// How often processes were replaced or ended, by reason.
    pub restarts: Vec<(&'static str, u32)>,
    /// The last of these: reason, process, and how long ago.
    pub last_restart: Option<(&'static str, u32, u64)>,
}

/// What becomes of the requests of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupStatus {
    /// Nobody serves them, and nobody will.
    #[default]
    Down,
    /// They wait for a process.
    Starting,
    /// Some process takes them.
    Serving,
    /// They are refused: processes cannot be started.
    Failing,
    /// There are none, the group runs other things.
    Service,
}

impl GroupStatus {
    /// As machines and people are told it.
    pub const fn name(self) -> &'static str {
        match self {
            GroupStatus::Down => "down",
            GroupStatus::Starting => "starting",
            GroupStatus::Serving => "serving",
            GroupStatus::Failing => "failing",
            GroupStatus::Service => "service",
        }
    }
}

/// What a process is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerState {
    /// It loads.
    #[default]
    Starting,
    /// It could take requests, and stands by.
    Spare,
    /// It takes requests.
    Serving,
    /// It finishes what it has.
    Draining,
}

impl WorkerState {
    /// As machines and people are told it.
    pub const fn name(self) -> &'static str {
        match self {
            WorkerState::Starting => "starting",
            WorkerState::Spare => "spare",
            WorkerState::Serving => "serving",
            WorkerState::Draining => "draining",
        }
    }
}

/// A process.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    /// Its number.
    pub pid: u32,
    /// What it is good for.
    pub state: WorkerState,
    /// Its generation.
    pub generation: u32,
    /// For how long it has been there.
    pub age: Option<u64>,
    /// Bytes of memory that are its own or shared; `None` where the system does not tell.
    pub memory: Option<u64>,
    /// Its threads.
    pub threads: u32,
    /// Requests that it has, running or waiting.
    pub active: u32,
}

/// A request that runs.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where its group is in [`Snapshot::groups`].
    pub group: usize,
    /// The process that has it; 0 if none has.
    pub pid: u32,
    /// For how long it has been there.
    pub age: u64,
    /// How far it is.
    pub stage: Stage,
    /// Its method.
    pub method: Vec<u8>,
    /// What it asks for, perhaps cut.
    pub uri: Vec<u8>,
    /// It asks for more than that.
    pub is_cut: bool,
    /// Where it is in the application; `None` if it is with none.
    pub place: Option<Place>,
}

/// Where a request is in its application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In these frames, the innermost first.
    Frames(Vec<Frame>),
    /// In no Python code.
    Elsewhere,
    /// Python's lock was not to be had for so many milliseconds.
    Held(u64),
    /// This Python does not tell.
    Untold,
    /// Its process has not answered.
    NoAnswer,
}

/// A call that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The file of the code.
    pub file: String,
    /// The line there; 0 if it is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

impl Place {
    /// As machines are told it.
    pub const fn name(&self) -> &'static str {
        match self {
            Place::Frames(_) => "python",
            Place::Elsewhere => "elsewhere",
            Place::Held(_) => "gil_held",
            Place::Untold => "untold",
            Place::NoAnswer => "no_answer",
        }
    }
}

impl Group {
    /// Memory of all its processes, as far as it is known.
    pub fn memory(&self) -> Option<u64> {
        self.workers.iter().filter_map(|worker| worker.memory).reduce(u64::saturating_add)
    }

    /// Thousandths of requests per second since somebody last looked, and how long ago that was.
    pub fn rate(&self, now: u64) -> Option<(u64, u64)> {
        let (at, before) = self.looked;
        let passed = now.checked_sub(at).filter(|passed| at > 0 && *passed >= 100_000)?;
        let count = self.totals.requests().checked_sub(before)?;
        let rate = u128::from(count) * 1_000_000_000 / u128::from(passed);
        Some((u64::try_from(rate).ok()?, passed))
    }
}
