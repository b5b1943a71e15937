//! A server's parent with children, as threads of this process.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use daemon::Capacity;
use daemon::client::{Child, Group as Known};
use daemon::config::{Config, Group};
use daemon::parent::{Launch, Parent, Retained};

use crate::ask::{Ask, Response};
pub(crate) use scenario::patience::until;
use scenario::patience::{PATIENCE, finally};

/// See the module.
pub(crate) struct Server {
    parent: Mutex<Parent<'static>>,
    pub(crate) child: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) program: File,
    log: File,
    relay: Option<OwnedFd>,
    stopped: bool,
}

/// What was asked under load, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) good: usize,
    pub(crate) bad: Vec<Response>,
    /// The longest time without an answer.
    pub(crate) gap: Duration,
}

/// A group of workers that are this executable.
pub(crate) fn group(name: &str, processes: u32, threads: u32) -> Group {
    let program = std::env::current_exe().unwrap();
    Group {
        name: name.as_bytes().to_vec(),
        program: program.into_os_string().into_encoded_bytes(),
        args: vec![b"worker-of-tests".to_vec(), b"worker".to_vec()],
        processes,
        threads,
        domains: 1,
        idle: Duration::from_secs(15),
        graceful: Duration::from_secs(15),
        shutdown: Duration::from_secs(5),
        allow_root: true,
        ..Group::default()
    }
}

pub(crate) fn payload(lines: &[(&str, &str)]) -> Vec<u8> {
    lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>().into_bytes()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie is not.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}

/// Stops a process, each of its threads: they go on for a moment after the signal.
pub(crate) fn halt(pid: i32) {
    kill(pid, libc::SIGSTOP);
    until("a stop", || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        threads.flatten().all(|thread| {
            std::fs::read_to_string(thread.path().join("stat"))
                .is_ok_and(|stat| stat.rsplit(')').next().unwrap_or_default().starts_with(" T"))
        })
    });
}

/// Processor time of a process, in hundredths of a second.
pub(crate) fn processor_time(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    [fields[11], fields[12]].map(|time| time.parse::<u64>().unwrap()).iter().sum()
}

/// How many descriptors a process has.
pub(crate) fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

pub(crate) fn until_gone(pid: i32) {
    until(&format!("the end of {pid}"), || !is_alive(pid));
}

pub(crate) fn kill(pid: i32, signal: i32) {
    assert!(pid > 1);
    // SAFETY: a process that this test has started.
    unsafe { libc::kill(pid, signal) };
}

impl Server {
    pub(crate) fn new(groups: Vec<Group>) -> Server {
        Server::with(groups, Capacity { groups: 8, slots: 128, children: 200 })
    }

    pub(crate) fn with(groups: Vec<Group>, capacity: Capacity) -> Server {
        Server::with_relay(groups, capacity, None)
    }

    /// With the supervisor's end of a channel for the log.
    pub(crate) fn with_relay(
        groups: Vec<Group>,
        capacity: Capacity,
        relay: Option<OwnedFd>,
    ) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(directory.path().join("error.log"))
            .unwrap();
        let program = File::open(env!("CARGO_BIN_EXE_wsgi-supervisor")).unwrap();
        let retained: &'static mut Retained = Box::leak(Box::new(Retained::EMPTY));
        // SAFETY: new, and used by this server only.
        let mut parent = unsafe { Parent::new(retained, capacity) }.unwrap();
        let relay_fd = relay.as_ref().map(AsFd::as_fd);
        let launch = Launch { program: program.as_fd(), log: log.as_fd(), relay: relay_fd };
        parent.configure(Config { groups, swaps: 1, level: u8::MAX }, &launch).unwrap();
        let child = Child::join(&parent.handles()).unwrap();
        let parent = Mutex::new(parent);
        Server { parent, child, directory, program, log, relay, stopped: false }
    }

    /// Renames the log, as rotation does; the next configuration goes on in a new one.
    pub(crate) fn rotate(&mut self) -> String {
        std::fs::rename(self.log_path(), self.directory.path().join("old.log")).unwrap();
        self.log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        "old.log".to_owned()
    }

    /// Reads the configuration again, as for a graceful restart. This process goes on as a child of
    /// before. Says whether the supervisor is a new one.
    pub(crate) fn configure(&self, groups: Vec<Group>) -> bool {
        let config = Config { groups, swaps: 1, level: u8::MAX };
        self.parent.lock().unwrap().configure(config, &self.launch()).unwrap().1
    }

    /// The same, and becomes a child that was made after it.
    pub(crate) fn restart(&mut self, groups: Vec<Group>) -> bool {
        let new = self.configure(groups);
        self.renew();
        new
    }

    /// The channel that all children have to the supervisor. Nothing but this test sends on it what
    /// it should not, so there is no function for it; what is printed says which descriptor it is.
    pub(crate) fn channel(&self) -> BorrowedFd<'static> {
        let text = format!("{:?}", self.parent.lock().unwrap().handles());
        let number = text.split("channel: BorrowedFd { fd: ").nth(1).unwrap();
        let number = number.split(' ').next().unwrap().parse().unwrap();
        // SAFETY: it is open for as long as this process lives.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    pub(crate) fn supervisor(&self) -> i32 {
        self.parent.lock().unwrap().supervisor().unwrap()
    }

    pub(crate) fn kill_supervisor(&self) -> i32 {
        let pid = self.supervisor();
        kill(pid, libc::SIGKILL);
        until_gone(pid);
        pid
    }

    /// Finds that the supervisor has ended, and starts another.
    pub(crate) fn another_supervisor(&self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(pid) = self.parent.lock().unwrap().restart(&self.launch()).unwrap() {
                return pid;
            }
            assert!(begun.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn launch(&self) -> Launch<'_> {
        let relay = self.relay.as_ref().map(AsFd::as_fd);
        Launch { program: self.program.as_fd(), log: self.log.as_fd(), relay }
    }

    /// A child as it is made now: it has no connections yet.
    pub(crate) fn renew(&mut self) {
        self.child = Child::join(&self.parent.lock().unwrap().handles()).unwrap();
    }

    pub(crate) fn group(&self, name: &str) -> &Arc<Known> {
        self.child.group(name.as_bytes()).unwrap()
    }

    pub(crate) fn ask(&self, name: &str, path: &str, ask: &Ask<'_>) -> Response {
        ask.send(&self.child, self.group(name), path)
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.ask("g", path, &Ask::default())
    }

    /// Asks the application to print something.
    pub(crate) fn print(&self, name: &str, text: &str) -> Response {
        self.ask(name, "print", &Ask { pairs: &[("TEXT", text)], ..Ask::default() })
    }

    /// Text of a good answer.
    pub(crate) fn text(&self, path: &str) -> String {
        let response = self.get(path);
        assert!(response.ended && response.status == 200, "{response:?}\n{}", self.log());
        response.text().to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.text("pid").parse().unwrap()
    }

    /// All processes of the group that answer.
    pub(crate) fn pids(&self, count: usize) -> Vec<i32> {
        let mut pids: Vec<i32> = Vec::new();
        until("an answer of every process", || {
            thread::scope(|scope| {
                let asking: Vec<_> =
                    (0..count * 2).map(|_| scope.spawn(|| self.get("sleep/30").worker)).collect();
                for one in asking {
                    let pid = one.join().unwrap();
                    if pid > 0 && !pids.contains(&pid) {
                        pids.push(pid);
                    }
                }
            });
            pids.len() >= count
        });
        pids
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.directory.path().join("error.log")
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap()).into_owned()
    }

    pub(crate) fn until_logged(&self, what: &str) {
        until(&format!("{what:?} in the log"), || self.log().contains(what));
    }

    /// Asks from so many threads for as long as `meanwhile` takes.
    pub(crate) fn load<R>(
        &self,
        threads: usize,
        path: &str,
        meanwhile: impl FnOnce() -> R,
    ) -> (Load, R) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut good, mut bad) = (Vec::new(), Vec::new());
                        while !done.load(SeqCst) {
                            let response = self.get(path);
                            if response.ended && response.status == 200 {
                                good.push(Instant::now());
                            } else {
                                bad.push(response);
                            }
                        }
                        (good, bad)
                    })
                })
                .collect();
            let told = finally(|| done.store(true, SeqCst));
            let result = meanwhile();
            drop(told);
            let mut load = Load::default();
            let mut times = Vec::new();
            for one in asking {
                let (good, bad) = one.join().unwrap();
                times.extend(good);
                load.bad.extend(bad);
            }
            times.sort();
            load.good = times.len();
            load.gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
            (load, result)
        })
    }

    /// Ends everything; nothing may be left.
    pub(crate) fn stop(&mut self) {
        self.stop_quietly();
        let log = self.log();
        assert!(log.contains("Process supervisor stopped."), "{log}");
    }

    /// The same where the log is not in the file.
    pub(crate) fn stop_quietly(&mut self) {
        self.stopped = true;
        assert!(self.stop_within(Duration::from_secs(15)), "{}", self.log());
    }

    /// Whether it has stopped by itself in that time.
    pub(crate) fn stop_within(&self, limit: Duration) -> bool {
        self.parent.lock().unwrap().stop(limit)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.stopped {
            let parent = self.parent.lock();
            parent.unwrap_or_else(PoisonError::into_inner).stop(Duration::from_secs(10));
        }
        if thread::panicking() {
            eprintln!("--- the log:\n{}", self.log());
        }
    }
}
