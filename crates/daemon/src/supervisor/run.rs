//! The supervisor's loop: what it hears, and whom it concerns.

mod configure;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use super::group::{Effects, Group};
use super::machine::{About, Machine};
use super::process::{Process, is_channel};
use super::signals::Signals;
use super::spawn::Surroundings;
use super::store::Store;
use crate::board::{Board, Capacity, Cells};
use crate::control::{Connect, FromParent, FromWorker, MAX_MESSAGE, Question, QuitReason};
use crate::log::{Entry, Source};
use crate::sys::{Closer, Exit, Received, Watch, is_shut, reap, receive, send, set_cloexec};

/// Numbers of the descriptors that the supervisor is started with.
pub(crate) mod given {
    /// Its end of the socket to the server's parent.
    pub(crate) const PARENT: i32 = 3;
    /// Where children's connections come in.
    pub(crate) const CHILDREN: i32 = 4;
    /// Where it keeps what outlives it.
    pub(crate) const INLET: i32 = 5;
    /// Where it finds what an earlier supervisor has kept.
    pub(crate) const OUTLET: i32 = 6;
    /// The board, for writing.
    pub(crate) const BOARD: i32 = 7;
    /// The cells.
    pub(crate) const CELLS: i32 = 8;
}

/// Most messages that are taken from one sender before the others get their turn.
const TURN: usize = 64;
/// How often it looks after what nobody reports.
const LOOK: Duration = Duration::from_secs(1);
/// What is due so soon is done now.
const SOON: Duration = Duration::from_millis(10);
/// How long workers may take to end when nobody says so: the parent is gone, or somebody has sent a
/// signal. Their own limit may be shorter.
const STOP: Duration = Duration::from_secs(30);
/// How long a worker without a control socket is believed to be just ending.
const LOST: Duration = Duration::from_secs(2);

/// The supervisor.
struct Supervisor {
    machine: Machine,
    parent: OwnedFd,
    parent_watch: Watch,
    children: OwnedFd,
    /// For what comes from children.
    closer: Closer<OwnedFd>,
    signals: Signals,
    groups: BTreeMap<u32, Group>,
    swaps: usize,
    /// The group whose turn it is to replace its workers.
    turn: u32,
    /// Number of the configuration; 0 before there is one.
    config: u32,
    /// All is to end, and what is left then is killed.
    stopping: Option<Instant>,
    looked: Instant,
}

/// Is the supervisor, until everything has ended. The arguments are the parent's process and the
/// capacity of the board; descriptors are at fixed numbers.
///
/// # Errors
/// It was not started as a supervisor is.
///
/// # Safety
/// Nothing else in this process uses descriptors 3 to 8, and it has one thread.
pub unsafe fn run(args: impl Iterator<Item = OsString>) -> io::Result<()> {
    let numbers: Vec<u32> =
        args.skip(1).filter_map(|arg| arg.to_str().and_then(|arg| arg.parse().ok())).collect();
    let [parent, groups, slots, children] = numbers[..] else {
        let text = "this program is started by a web server's module, not by hand";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let capacity = Capacity { groups, slots, children }.bounded();
    let take = |number: RawFd| -> io::Result<OwnedFd> {
        // SAFETY: F_GETFD takes no argument.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open (just asked), and by contract nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        set_cloexec(fd.as_fd())?;
        Ok(fd)
    };
    let socket = take(given::PARENT)?;
    let children = take(given::CHILDREN)?;
    let store = Store::new(take(given::INLET)?, take(given::OUTLET)?);
    let board = Board::map(take(given::BOARD)?.as_fd(), capacity, true)?;
    let cells = Cells::map(take(given::CELLS)?, capacity)?;
    let around = Surroundings::new(raise_descriptors())?;
    let machine = Machine::new(board, cells, store, around)?;
    let signals = Signals::new()?;
    let _ = rustix::thread::set_name(c"wsgi-supervisor");
    let parent = i32::try_from(parent).unwrap_or(0);
    let Some(parent_watch) = Watch::new(parent)?.filter(|_| is_child_of(parent)) else {
        // It was gone before we looked.
        return Ok(());
    };
    machine.watch(socket.as_fd(), About::Parent, 0)?;
    machine.watch(signals.fd(), About::Signals, 0)?;
    if let Some(fd) = parent_watch.fd() {
        machine.watch(fd, About::ParentEnd, 0)?;
    }
    // Children are heard once there is a configuration.
    let mut supervisor = Supervisor {
        machine,
        parent: socket,
        parent_watch,
        children,
        closer: Closer::default(),
        signals,
        groups: BTreeMap::new(),
        swaps: 1,
        turn: 0,
        config: 0,
        stopping: None,
        looked: Instant::now(),
    };
    supervisor.run();
    supervisor.machine.logger.say(6, "Process supervisor stopped.");
    Ok(())
}

/// Each worker takes some descriptors. The workers get the limit as it was.
fn raise_descriptors() -> (u64, u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

fn is_child_of(parent: i32) -> bool {
    rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent)
}

impl Supervisor {
    fn run(&mut self) {
        let mut events =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        while !self.is_over() {
            let now = Instant::now();
            let ticks = self.groups.values().filter_map(|group| group.next_tick(now));
            let next = ticks.chain(self.stopping.filter(|until| *until > now)).min();
            let wait = next.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
            let wait = if self.is_ending_unseen() { wait.min(SOON) } else { wait };
            // Rounded up, so that what is due is due.
            let wait = wait + Duration::from_millis(1);
            let timeout = rustix::event::Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: wait.subsec_nanos().into(),
            };
            let count = epoll::wait(&self.machine.epoll, &mut events[..], Some(&timeout));
            let count = count.unwrap_or_default();
            for event in &events[..count] {
                if let Some((about, number)) = About::decode(event.data.u64()) {
                    self.on_event(about, number);
                }
            }
            self.tick();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    fn is_over(&self) -> bool {
        self.is_stopping() && self.groups.values().all(Group::is_over)
    }

    fn on_event(&mut self, about: About, number: u32) {
        match about {
            About::Parent => self.read_parent(),
            About::ParentEnd => self.stop(STOP),
            About::Children => self.read_children(),
            About::Signals => self.read_signals(),
            About::Control => self.read_control(number),
            About::End => self.on_end(number),
            About::Output => self.machine.read_output(number),
            About::Report => self.read_report(number),
            About::Orphan => self.machine.read_orphan(number),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some_and(|until| now >= until) {
            self.machine.kill_all();
        }
        if now - self.looked >= LOOK {
            self.looked = now;
            self.look_around(now);
        }
        if self.is_ending_unseen() {
            self.find_ended();
        }
        for group in self.groups.values_mut() {
            // Draining ones are looked at each time, as they are asked for by the tick they need.
            if group.next_tick(now).is_some_and(|at| at <= now + SOON) {
                group.tick(now, &mut self.machine);
            }
        }
        self.begin_swaps(now);
    }

    /// Lets as many groups as may replace their workers begin with it, one after another: one that
    /// always wants to waits until all others had their turn.
    fn begin_swaps(&mut self, now: Instant) {
        let mut swapping = self.groups.values().filter(|group| group.is_swapping(now)).count();
        let (before, after) = (self.groups.range(..self.turn), self.groups.range(self.turn..));
        let waiting: Vec<u32> = after
            .chain(before)
            .filter(|(_, group)| group.wants_swap(now))
            .map(|(number, _)| *number)
            .collect();
        for number in waiting {
            if swapping >= self.swaps {
                return;
            }
            if let Some(group) = self.groups.get_mut(&number) {
                group.begin_swap(now, &mut self.machine);
                swapping += usize::from(group.is_swapping(now));
                self.turn = number + 1;
            }
        }
    }

    /// What nobody reports.
    fn look_around(&mut self, now: Instant) {
        self.machine.cells.clear_dead();
        self.machine.repeat_quits();
        self.machine.reap_strays();
        if self.parent_watch.has_ended() || !is_child_of(self.parent_watch.pid()) {
            self.stop(STOP);
        }
        self.find_ended();
        let lost: Vec<(u32, u32)> = self
            .machine
            .processes
            .values_mut()
            .filter(|process| process.lost.is_some_and(|since| now - since >= LOST))
            .map(|process| {
                process.lost = None;
                (process.group, process.slot)
            })
            .collect();
        for (group, slot) in lost {
            let Some(group) = self.groups.get_mut(&group) else { continue };
            group.on_lost(slot, now, &mut self.machine);
        }
        self.find_overdue(now);
        for group in self.groups.values_mut() {
            group.tick(now, &mut self.machine);
        }
        // A group that is configured no longer serves children which know it until they are gone.
        let unneeded = self.machine.cells.oldest_config().is_none_or(|old| old >= self.config);
        for group in self.groups.values_mut().filter(|group| group.is_removed() && unneeded) {
            group.stop(QuitReason::Replaced, now, &mut self.machine);
        }
        if !self.is_stopping() {
            self.groups.retain(|_, group| !group.is_over());
        }
    }

    /// Where there are no pidfds: processes that have ended and are not our children.
    fn find_ended(&mut self) {
        let ended: Vec<u32> = self
            .machine
            .processes
            .iter()
            .filter(|(_, process)| process.watch.fd().is_none() && !process.child)
            .filter(|(_, process)| process.watch.has_ended() || process.watch.is_zombie())
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.finish(number, Exit::Unknown);
        }
    }

    /// Whether a process has closed its control socket that nobody tells us the end of.
    fn is_ending_unseen(&self) -> bool {
        let mut all = self.machine.processes.values();
        all.any(|process| process.lost.is_some() && process.watch.fd().is_none())
    }

    /// Requests that take too long. Their worker may have limits of its own and better manners; but it
    /// needs to do nothing for this, and can do nothing about it but say that it does not run them,
    /// which is its own loss.
    fn find_overdue(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for process in self.machine.processes.values() {
            let Some(group) = self.groups.get(&process.group) else { continue };
            let limit = group.config().request;
            if !limit.is_zero() && process.is_overdue(limit) {
                overdue.push((process.group, process.slot, process.requests(limit)));
            }
        }
        for (group, slot, requests) in overdue {
            if let Some(group) = self.groups.get_mut(&group) {
                group.on_overdue(slot, &requests, now, &mut self.machine);
            }
        }
    }

    /// Ends everything; what is left after `limit` is killed.
    fn stop(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        if let Some(before) = &mut self.stopping {
            *before = until.min(*before);
            return;
        }
        self.stopping = Some(until);
        if let Some(fd) = self.parent_watch.fd() {
            let _ = epoll::delete(&self.machine.epoll, fd);
        }
        let now = Instant::now();
        for group in self.groups.values_mut() {
            group.stop(QuitReason::Stop, now, &mut self.machine);
        }
    }

    fn read_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            match signal {
                libc::SIGTERM | libc::SIGINT => self.stop(STOP),
                libc::SIGCHLD => {
                    let children: Vec<(u32, i32)> = self
                        .machine
                        .processes
                        .iter()
                        .filter(|(_, process)| process.child && process.watch.fd().is_none())
                        .map(|(number, process)| (*number, process.watch.pid()))
                        .collect();
                    for (number, pid) in children {
                        if let Some(exit) = reap(pid) {
                            self.finish(number, exit);
                        }
                    }
                    self.machine.reap_strays();
                }
                _ => {}
            }
        }
    }

    fn read_parent(&mut self) {
        let mut buffer = [0; 64];
        for _ in 0..TURN {
            match receive(self.parent.as_fd(), &mut buffer, false) {
                Ok(received) if received.length > 0 => {
                    match FromParent::decode(&buffer[..received.length]) {
                        Ok(FromParent::Quit { limit_ms }) => {
                            self.stop(Duration::from_millis(limit_ms.into()));
                        }
                        Ok(FromParent::Configure { config }) => self.configure(config, received),
                        Err(error) => {
                            let text = format!("Unable to understand the server: {error}.");
                            self.machine.logger.say(3, &text);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The parent makes another one if it lives; whether it lives is asked elsewhere.
                _ => {
                    let _ = epoll::delete(&self.machine.epoll, &self.parent);
                    return;
                }
            }
        }
    }

    /// Ends of connections, to be passed on. Anybody who can run code in a child can send anything
    /// here, so only what fits a worker that is there is passed on, and only sockets.
    fn read_children(&mut self) {
        let mut buffer = [0; 64];
        for _ in 0..TURN {
            let received = receive(self.children.as_fd(), &mut buffer, false);
            let Ok(Received { length, fds, strays, .. }) = received else { return };
            self.closer.close(strays);
            if length == 0 && is_shut(self.children.as_fd()) {
                self.closer.close(fds);
                self.machine.unwatch(&self.children);
                let text = "A child of the server has shut down the channel on which children ask \
                            for connections; it is there again after a restart of the server.";
                // A server of one process that ends closes this, too, and maybe first.
                std::thread::sleep(SOON);
                if !is_shut(self.parent.as_fd()) {
                    self.machine.logger.say(3, text);
                }
                return;
            }
            if !self.pass_on(&buffer[..length], &fds) {
                self.closer.close(fds);
            }
            if self.closer.is_stuck() {
                self.machine.unwatch(&self.children);
                let text = "A child of the server hands over what cannot be closed, so no child is \
                            given connections any more until the server is restarted.";
                return self.machine.logger.say(3, text);
            }
        }
    }

    /// Passes on what a child has sent, if it makes sense.
    fn pass_on(&mut self, message: &[u8], fds: &[OwnedFd]) -> bool {
        let (Ok(connect), [end]) = (Connect::decode(message), fds) else { return false };
        let epoch = self.groups.get(&connect.group).and_then(|group| group.epoch(connect.slot));
        epoch == Some(connect.epoch) && self.machine.pass_on(&connect, end)
    }

    /// What a worker says.
    fn read_control(&mut self, number: u32) {
        let mut buffer = vec![0; MAX_MESSAGE];
        let now = Instant::now();
        for _ in 0..TURN {
            let Some(process) = self.machine.processes.get(&number) else { return };
            let Some(control) = &process.control else { return };
            let (slot, pid) = (process.slot, process.watch.pid());
            let received = receive(control.as_fd(), &mut buffer, false);
            let (length, fds, strays) = match received {
                Ok(Received { length, fds, strays, .. }) => (length, fds, strays),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.machine.lose_control(number, now),
            };
            let group = process.group;
            let machine = &mut self.machine;
            let has_given = !(fds.is_empty() && strays.is_empty());
            machine.closer.close(strays);
            let Some(group) = self.groups.get_mut(&group).filter(|_| length > 0) else {
                machine.closer.close(fds);
                return machine.lose_control(number, now);
            };
            if has_given && machine.closer.is_stuck() {
                machine.closer.close(fds);
                let text = "A process hands over what cannot be closed.";
                machine.log(super::group::Level::Error, group.config(), pid, text);
                return machine.lose_control(number, now);
            }
            match FromWorker::decode(&buffer[..length]) {
                Ok(FromWorker::Ready) => group.on_ready(slot, now, machine),
                Ok(FromWorker::Loaded(key)) => group.on_loaded(slot, key, now),
                Ok(FromWorker::Failed { key, text }) => {
                    if group.on_failed(slot, key) {
                        let text = String::from_utf8_lossy(text);
                        machine.log(super::group::Level::Error, group.config(), pid, &text);
                    }
                }
                Ok(FromWorker::Reload { key, version }) => {
                    group.on_reload(slot, key, version, now, machine);
                }
                Ok(FromWorker::Retire(reason)) => group.on_retire(slot, reason, now, machine),
                Ok(FromWorker::Log(record)) => {
                    let group = &group.config().name;
                    machine.logger.log(&Entry { source: Source::Worker, group, pid, record });
                }
                Ok(FromWorker::Stopping) => group.on_stopping(slot, now, machine),
                Ok(FromWorker::Scoreboard) => {
                    // Without an answer the channel ends here.
                    if let [to] = &fds[..]
                        && group.config().scoreboard
                        && is_channel(to)
                    {
                        let question = Question::Scoreboard.encode();
                        let _ = send(self.children.as_fd(), &question, &[to.as_fd()], false);
                    }
                }
                Err(error) => {
                    let text = format!("Unable to understand a process: {error}.");
                    machine.log(super::group::Level::Error, group.config(), pid, &text);
                    machine.closer.close(fds);
                    return machine.lose_control(number, now);
                }
            }
            machine.closer.close(fds);
        }
    }

    fn read_report(&mut self, number: u32) {
        let Some(process) = self.machine.processes.get_mut(&number) else { return };
        let open = process.report.is_some();
        process.read_report();
        if process.report.is_some() || !open {
            return;
        }
        let (reports, pid) = (process.reported(), process.watch.pid());
        let Some(group) = self.groups.get(&process.group) else { return };
        for report in reports.iter().filter(|report| report.is_warning()) {
            let config = group.config();
            let name = String::from_utf8_lossy(&config.name);
            let text = format!("Process '{name}' (pid={pid}): {}.", report.explain(config));
            self.machine.log(super::group::Level::Warning, config, pid, &text);
        }
    }

    /// A process' pidfd says that it has ended.
    fn on_end(&mut self, number: u32) {
        let Some(process) = self.machine.processes.get(&number) else { return };
        let exit = match process.child {
            true => match reap(process.watch.pid()) {
                Some(exit) => exit,
                None => return,
            },
            false => Exit::Unknown,
        };
        self.finish(number, exit);
    }

    /// A process has ended.
    fn finish(&mut self, number: u32, exit: Exit) {
        // What it said before comes first.
        self.read_control(number);
        let Some((process, hint)) = self.machine.remove(number, exit) else { return };
        let reports = process.reported();
        let Process { group, slot, output, .. } = process;
        self.machine.leave_output(output);
        let Some(group) = self.groups.get_mut(&group) else { return };
        let why = reports.iter().find(|report| !report.is_warning());
        let why = why.map(|report| report.explain(group.config()));
        let now = Instant::now();
        group.on_end(slot, exit, why.as_deref(), &hint, now, &mut self.machine);
    }
}
