//! What Linux says about processes: who belongs to a server, and how big they are.
//!
//! Everything a server starts inherits an environment variable naming its directory, so what it
//! left behind is found even after it changed parents or sessions. Signals go to such processes
//! only, by pid.
//!
//! <https://man7.org/linux/man-pages/man5/proc.5.html>

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The variable that names a server's directory to everything it starts.
pub const MARK: &str = "WSGI_TEST_SERVER";

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: u32,
}

/// How big a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Resident memory in KiB.
    pub rss: u64,
    /// Open file descriptors.
    pub fds: usize,
    /// Mapped regions.
    pub maps: usize,
    /// Threads.
    pub threads: usize,
}

impl Process {
    /// The processes that carry the mark of this directory.
    pub fn marked(dir: &Path) -> Vec<Process> {
        let mark = format!("{MARK}={}\0", dir.display()).into_bytes();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut found: Vec<Process> = pids
            .map(|pid| Process { pid })
            .filter(|process| {
                let environ = fs::read(process.file("environ")).unwrap_or_default();
                environ.windows(mark.len()).any(|bytes| bytes == mark) && !process.is_zombie()
            })
            .collect();
        found.sort();
        found
    }

    /// A file of its /proc directory.
    pub fn file(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// A line of its `status`: `field("Threads")`.
    pub fn field(self, name: &str) -> Option<String> {
        let status = fs::read_to_string(self.file("status")).ok()?;
        let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    /// Its parent.
    pub fn parent(self) -> Option<Process> {
        Some(Process { pid: self.field("PPid")?.parse().ok()? })
    }

    /// Whether it has ended and nobody has asked how.
    pub fn is_zombie(self) -> bool {
        self.field("State").is_none_or(|state| state.starts_with('Z'))
    }

    /// Its arguments.
    pub fn command_line(self) -> String {
        let bytes = fs::read(self.file("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
    }

    /// The files mapped into it.
    pub fn mapped_files(self) -> Vec<String> {
        let maps = fs::read_to_string(self.file("maps")).unwrap_or_default();
        let path = |line: &str| Some(line.split_once('/')?.1).map(|path| format!("/{path}"));
        let mut files: Vec<String> = maps.lines().filter_map(path).collect();
        files.sort();
        files.dedup();
        files
    }

    /// How big it is; `None` once it is gone.
    pub fn stats(self) -> Option<Stats> {
        let kib = |text: String| text.split_whitespace().next()?.parse().ok();
        Some(Stats {
            rss: kib(self.field("VmRSS")?)?,
            fds: fs::read_dir(self.file("fd")).ok()?.count(),
            maps: fs::read_to_string(self.file("maps")).ok()?.lines().count(),
            threads: self.field("Threads")?.parse().ok()?,
        })
    }

    /// Processor time that it has used, in ticks of the kernel (10 ms); `None` once it is gone.
    pub fn ticks(self) -> Option<u64> {
        let stat = fs::read_to_string(self.file("stat")).ok()?;
        // The name of the program comes before, in parentheses; then state is field 3.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(14 - 3);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    }

    /// Sends a signal; the caller has made sure that this is a process of its own.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Waits until `done` gives something, asking often; `None` after `limit`.
pub fn wait_for<T>(limit: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = done() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
