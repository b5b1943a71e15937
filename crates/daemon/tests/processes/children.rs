//! A server's parent and its children as processes of their own: many of them, and deaths of either.
//!
//! Their parent is this executable, started anew, so that it has one thread and can fork.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use daemon::Capacity;
use daemon::client::Child;
use daemon::config::{Config, Group};
use daemon::parent::{Launch, Parent, Retained};

use crate::ask::Ask;
use crate::server::{Server, descriptors, group, is_alive, kill, until_gone};

crate::tests! {
    nothing_is_left_of_a_parent_that_is_killed
    nothing_is_left_of_a_parent_and_a_supervisor_that_are_killed
    many_children_share_few_descriptors
    a_child_that_is_killed_is_not_waited_for
    restarts_leave_nothing_open
}

/// A parent's process. Killed when the test ends.
struct Role {
    process: std::process::Child,
    says: BufReader<std::process::ChildStdout>,
    /// Where it leaves what it cannot remove when it is killed.
    _directory: tempfile::TempDir,
}

impl Role {
    fn start(what: &str) -> Role {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let directory = tempfile::tempdir().unwrap();
        command.args(["parent", what]).env("TMPDIR", directory.path());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Role { process, says, _directory: directory }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn pids(&mut self) -> Vec<i32> {
        self.line().split(' ').map(|pid| pid.parse().unwrap()).collect()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nothing_is_left_of_a_parent_that_is_killed() {
    let mut role = Role::start("serve");
    let pids = role.pids();
    assert_eq!(pids.len(), 4);
    for pid in &pids {
        assert!(is_alive(*pid), "{pid} of {pids:?}");
    }
    let begun = Instant::now();
    role.kill();
    for pid in pids {
        until_gone(pid);
    }
    assert!(begun.elapsed() < Duration::from_secs(40));
}

fn nothing_is_left_of_a_parent_and_a_supervisor_that_are_killed() {
    let mut role = Role::start("serve");
    let pids = role.pids();
    // Stopped first, so that it does not end its workers when it finds that the parent is gone.
    kill(pids[0], libc::SIGSTOP);
    role.kill();
    kill(pids[0], libc::SIGKILL);
    for pid in pids {
        until_gone(pid);
    }
}

fn many_children_share_few_descriptors() {
    let mut role = Role::start("prefork");
    assert_eq!(role.line(), "60 children are done: 0 failures");
    for _ in 0..2 {
        let line = role.line();
        let (_, sockets) = line.split_once("has ").unwrap();
        let sockets: usize = sockets.split(' ').next().unwrap().parse().unwrap();
        // The limit, the control socket, and some that are just being passed on.
        assert!(sockets <= 16 + 4, "{line}");
    }
    assert_eq!(role.line(), "stopped: true");
}

fn a_child_that_is_killed_is_not_waited_for() {
    let mut role = Role::start("killed");
    assert_eq!(role.line(), "stopped: true");
}

fn restarts_leave_nothing_open() {
    let mut role = Role::start("restarts");
    let counts = role.pids();
    let [parent, supervisor, parent_after, supervisor_after] = counts[..] else { panic!() };
    assert_eq!(parent, parent_after);
    // Ten restarts; what is just ending may differ.
    assert!((supervisor - supervisor_after).abs() < 5, "{supervisor} and {supervisor_after}");
    assert_eq!(role.line(), "stopped: true");
}

/// Plays a server's parent; the argument says what happens.
pub(crate) fn parent(mut args: std::env::Args) {
    match args.next().as_deref() {
        Some("serve") => serve(),
        Some("prefork") => prefork(),
        Some("killed") => killed(),
        Some("restarts") => restarts(),
        other => panic!("{other:?}"),
    }
}

fn serve() {
    let server = Server::new(vec![group("g", 2, 2), group("other", 1, 1)]);
    let mut pids = server.pids(2);
    pids.push(server.ask("other", "hello", &Ask::default()).worker);
    let pids: Vec<String> = pids.iter().map(i32::to_string).collect();
    println!("{} {}", server.supervisor(), pids.join(" "));
    std::thread::sleep(Duration::from_secs(60));
}

/// What a server's module has in its parent.
struct Module {
    retained: Retained,
    program: File,
    log: File,
    directory: tempfile::TempDir,
}

const CAPACITY: Capacity = Capacity { groups: 4, slots: 64, children: 100 };

impl Module {
    fn new() -> Module {
        let directory = tempfile::tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let program = File::open(env!("CARGO_BIN_EXE_wsgi-supervisor")).unwrap();
        Module { retained: Retained::EMPTY, program, log, directory }
    }

    fn parent(&mut self) -> (Parent<'_>, Launch<'_>) {
        let launch = Launch { program: self.program.as_fd(), log: self.log.as_fd(), relay: None };
        // SAFETY: it is as it was left, in this process.
        let parent = unsafe { Parent::new(&mut self.retained, CAPACITY) }.unwrap();
        (parent, launch)
    }

    fn configure(&mut self, groups: Vec<Group>) {
        let (mut parent, launch) = self.parent();
        parent.configure(Config { groups, swaps: 1, level: u8::MAX }, &launch).unwrap();
    }

    /// A child of the server, which ends when `run` is done; 0 if that was true.
    fn fork(&self, run: impl FnOnce(&Child) -> bool) -> i32 {
        // SAFETY: this process has one thread, so the child has all of it.
        match unsafe { libc::fork() } {
            -1 => panic!("{}", std::io::Error::last_os_error()),
            0 => {
                // SAFETY: just forked; the parent's part is not used here.
                let handles = unsafe { self.retained.enter_child() }.unwrap();
                let good = run(&Child::join(&handles).unwrap());
                // SAFETY: ends this process, without what belongs to its parent.
                unsafe { libc::_exit(i32::from(!good)) }
            }
            pid => pid,
        }
    }
}

fn get(child: &Child, path: &str) -> crate::ask::Response {
    Ask::default().send(child, child.group(b"g").unwrap(), path)
}

/// Sixty children with a connection each, and workers that keep sixteen.
fn prefork() {
    let mut module = Module::new();
    module.configure(vec![Group { connections: 16, ..group("g", 2, 4) }]);
    let (mut done, done_far) = std::io::pipe().unwrap();
    let (go_far, mut go) = std::io::pipe().unwrap();
    let pids: Vec<i32> = (0..60)
        .map(|_| {
            let (mut done, mut go) = (&done_far, &go_far);
            module.fork(move |child| {
                let good = (0..20).all(|_| get(child, "hello").is_hello());
                done.write_all(&[u8::from(good)]).unwrap();
                // All of them live until the last one is done.
                let _ = go.read(&mut [0; 1]);
                good
            })
        })
        .collect();
    let mut good = [0; 60];
    done.read_exact(&mut good).unwrap();
    println!("60 children are done: {} failures", good.iter().filter(|one| **one == 0).count());
    let (parent, _) = module.parent();
    let child = Child::join(&parent.handles()).unwrap();
    // Asked at once, so that both are asked.
    let mut pids_of_workers = BTreeSet::new();
    while pids_of_workers.len() < 2 {
        std::thread::scope(|scope| {
            let asking: Vec<_> =
                (0..4).map(|_| scope.spawn(|| get(&child, "sleep/50").worker)).collect();
            pids_of_workers.extend(asking.into_iter().map(|one| one.join().unwrap()));
        });
    }
    for pid in pids_of_workers {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = fds.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:")).count();
        println!("{pid} has {sockets} sockets");
    }
    go.write_all(&vec![1; pids.len()]).unwrap();
    for pid in pids {
        let mut status = 0;
        // SAFETY: our child; status is writable.
        unsafe { libc::waitpid(pid, &mut status, 0) };
    }
    let (mut parent, _) = module.parent();
    println!("stopped: {}", parent.stop(Duration::from_secs(10)));
}

/// One graceful restart after another.
fn restarts() {
    let mut module = Module::new();
    let log = module.directory.path().join("log");
    let pid = |module: &mut Module| module.parent().0.supervisor().unwrap();
    let mut counts = Vec::new();
    for round in 1..=11 {
        module.configure(vec![Group { umask: Some(round), ..group("g", 2, 1) }]);
        let said = match round {
            1 => "Process supervisor started.".to_owned(),
            _ => format!("runs generation {round}."),
        };
        let child = module.fork(|child| get(child, "hello").is_hello());
        // SAFETY: our child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        let both = [std::process::id() as i32, pid(&mut module)];
        crate::server::until(&said, || std::fs::read_to_string(&log).unwrap().contains(&said));
        // The workers of before have ended, too.
        let ended = 2 * (round as usize - 1);
        crate::server::until("the end of the old ones", || {
            let log = std::fs::read_to_string(&log).unwrap();
            log.matches("terminated normally").count() == ended
        });
        if round == 1 || round == 11 {
            counts.extend(both.map(|pid| descriptors(pid).to_string()));
        }
    }
    println!("{}", counts.join(" "));
    let (mut parent, _) = module.parent();
    println!("stopped: {}", parent.stop(Duration::from_secs(10)));
}

/// A child dies with a request under way, and a generation ends all the same.
fn killed() {
    let mut module = Module::new();
    let endless =
        |umask| Group { graceful: Duration::ZERO, umask: Some(umask), ..group("g", 1, 2) };
    module.configure(vec![endless(0o22)]);
    let log = module.directory.path().join("log");
    let said = |what: &str| {
        crate::server::until(what, || std::fs::read_to_string(&log).unwrap().contains(what));
    };
    let child = module.fork(|child| {
        let ask = Ask { pairs: &[("TEXT", "in a child")], ..Ask::default() };
        ask.send(child, child.group(b"g").unwrap(), "announce/1000").ended
    });
    said("running in a child");
    kill(child, libc::SIGKILL);
    // SAFETY: our child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    module.configure(vec![endless(0o27)]);
    said("runs generation 2");
    // Nobody waits for that request, so the old one ends.
    said("Quit(Replaced)");
    let (mut parent, _) = module.parent();
    println!("stopped: {}", parent.stop(Duration::from_secs(10)));
}
