//! A server's parent with children, as threads of this process.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use daemon::Capacity;
use daemon::client::{Child, Group as Known};
use daemon::config::{Config, Group};
use daemon::parent::{Launch, Parent, Retained};

use crate::ask::{Ask, Response};

/// See the module.
pub(crate) struct Server {
    pub(crate) parent: Parent<'static>,
    pub(crate) child: Child,
    pub(crate) directory: tempfile::TempDir,
    program: File,
    log: File,
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

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie is not.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
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
        let launch = Launch { program: program.as_fd(), log: log.as_fd(), relay: None };
        parent.configure(Config { groups, swaps: 1 }, &launch).unwrap();
        let child = Child::join(&parent.handles()).unwrap();
        Server { parent, child, directory, program, log, stopped: false }
    }

    /// Reads the configuration again, as for a graceful restart; children are new.
    pub(crate) fn configure(&mut self, groups: Vec<Group>) -> bool {
        let program = self.program.as_fd();
        let launch = Launch { program, log: self.log.as_fd(), relay: None };
        let (_, new) = self.parent.configure(Config { groups, swaps: 1 }, &launch).unwrap();
        self.renew();
        new
    }

    /// Finds that the supervisor has ended, and starts another.
    pub(crate) fn restart(&mut self) -> i32 {
        let program = self.program.as_fd();
        let launch = Launch { program, log: self.log.as_fd(), relay: None };
        let begun = Instant::now();
        loop {
            if let Some(pid) = self.parent.restart(&launch).unwrap() {
                return pid;
            }
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A child as it is made now: it has no connections yet.
    pub(crate) fn renew(&mut self) {
        self.child = Child::join(&self.parent.handles()).unwrap();
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
            struct Done<'d>(&'d AtomicBool);
            impl Drop for Done<'_> {
                fn drop(&mut self) {
                    self.0.store(true, SeqCst);
                }
            }
            let finally = Done(&done);
            let result = meanwhile();
            drop(finally);
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
        self.stopped = true;
        let clean = self.parent.stop(Duration::from_secs(15));
        assert!(clean, "{}", self.log());
        let log = self.log();
        assert!(log.contains("Process supervisor stopped."), "{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.stopped {
            self.parent.stop(Duration::from_secs(10));
        }
        if thread::panicking() {
            eprintln!("--- the log:\n{}", self.log());
        }
    }
}
