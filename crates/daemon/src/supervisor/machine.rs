//! The supervisor's hands: processes, their descriptors, and the board.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::process::Signal;

use super::group::{Effects, Level, New, Shown};
use super::logger::Logger;
use super::oom::OomKills;
use super::process::{Output, Process, about};
use super::spawn::{Spawned, Surroundings, spawn};
use super::store::Store;
use crate::board::{Board, Cells, End, Slot, Status};
use crate::config;
use crate::control::{Connect, Kept, QuitReason, Start, ToWorker, milliseconds};
use crate::log::{Entry, Source};
use crate::sys::{Closer, Exit, Watch, monotonic_us, reap, send, write_blob};
use crate::wire::Record;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum About {
    Parent = 1,
    ParentEnd = 2,
    Children = 3,
    Signals = 4,
    /// A process' control socket, and so on.
    Control = 5,
    End = 6,
    Output = 7,
    Report = 8,
    /// Output of a process that has ended.
    Orphan = 9,
}

impl About {
    /// From what an event carries, with the number of the process.
    pub(super) fn decode(data: u64) -> Option<(About, u32)> {
        let about = match data >> 32 {
            1 => About::Parent,
            2 => About::ParentEnd,
            3 => About::Children,
            4 => About::Signals,
            5 => About::Control,
            6 => About::End,
            7 => About::Output,
            8 => About::Report,
            9 => About::Orphan,
            _ => return None,
        };
        Some((about, data as u32))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) epoll: OwnedFd,
    pub(super) board: Board,
    pub(super) cells: Cells,
    pub(super) around: Surroundings,
    pub(super) logger: Logger,
    /// For what comes from workers.
    pub(super) closer: Closer<OwnedFd>,
    store: Store,
    oom: OomKills,
    /// By number; a number is not used twice.
    pub(super) processes: HashMap<u32, Process>,
    slots: HashMap<u32, u32>,
    orphans: HashMap<u32, Output>,
    /// Children that could not be kept, and were killed.
    strays: Vec<i32>,
    last: u32,
}

/// What is known of a process that is taken over.
#[derive(Debug)]
pub(super) struct Adopted {
    /// Its group's name.
    pub(super) name: Vec<u8>,
    /// The threads it has.
    pub(super) threads: u32,
}

/// Most processes whose output is read after their end.
const ORPHANS: usize = 64;
/// Descriptors that a worker keeps for its application.
const KEPT: u64 = 256;

impl Machine {
    pub(super) fn new(
        board: Board,
        cells: Cells,
        store: Store,
        around: Surroundings,
    ) -> io::Result<Machine> {
        Ok(Machine {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            board,
            cells,
            around,
            logger: Logger::default(),
            closer: Closer::default(),
            store,
            oom: OomKills::new(),
            processes: HashMap::new(),
            slots: HashMap::new(),
            orphans: HashMap::new(),
            strays: Vec::new(),
            last: 0,
        })
    }

    /// Watches a descriptor.
    pub(super) fn watch(&self, fd: BorrowedFd<'_>, about: About, number: u32) -> io::Result<()> {
        let data = EventData::new_u64((about as u64) << 32 | u64::from(number));
        Ok(epoll::add(&self.epoll, fd, data, EventFlags::IN)?)
    }

    /// Watches it no more. Closing it is not enough for what the [`Store`] has, too: as long as a file
    /// is open anywhere, its end is reported over and over.
    pub(super) fn unwatch(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Takes a process in, and keeps it for the next supervisor.
    fn take(&mut self, process: Process) -> io::Result<()> {
        self.last += 1;
        let number = self.last;
        self.watch(process.output.fd.as_fd(), About::Output, number)?;
        for (fd, about) in [
            (process.control.as_ref().map(AsFd::as_fd), About::Control),
            (process.report.as_ref().map(AsFd::as_fd), About::Report),
            (process.watch.fd(), About::End),
        ] {
            if let Some(fd) = fd {
                self.watch(fd, about, number)?;
            }
        }
        if !process.keep(&mut self.store) {
            let pid = process.watch.pid();
            let text = format!("Process (pid={pid}) would not outlive its supervisor.");
            self.logger.say(Level::Warning as u8, &text);
        }
        self.slots.insert(process.slot, number);
        self.processes.insert(number, process);
        Ok(())
    }

    /// Takes over what an earlier supervisor has left: `adopt` says which of it, going by what the
    /// board says about the slot.
    pub(super) fn adopt_all(&mut self, mut adopt: impl FnMut(&Kept, &Slot) -> Option<Adopted>) {
        for (kept, fds) in self.store.take_all() {
            let at = self.board.slot(kept.slot);
            let is_same = (at.epoch, at.pid) == (kept.epoch, kept.pid);
            // The pidfd says whether it still is the same process.
            let watch = Watch::go_on(kept.pid, fds.pidfd).ok().flatten().filter(|_| is_same);
            let adopted = watch.and_then(|watch| Some((watch, adopt(&kept, &at)?)));
            let Some((watch, Adopted { name, threads })) = adopted else {
                let quit = ToWorker::Quit { reason: QuitReason::NotWanted, limit_ms: 5000 };
                let _ = send(fds.control.as_fd(), &quit.encode(), &[], false);
                self.closer.close([fds.control]);
                continue;
            };
            let _ = send(fds.control.as_fd(), &ToWorker::Adopted.encode(), &[], false);
            let pid = kept.pid;
            let taken = self.take(Process {
                group: kept.group,
                slot: kept.slot,
                epoch: kept.epoch,
                watch,
                child: false,
                control: Some(fds.control),
                lost: None,
                output: Output::new(fds.output, &name, pid),
                status: fds.status,
                threads,
                report: None,
                reports: Vec::new(),
                killed: false,
                quit: None,
            });
            if let Err(error) = taken {
                let text = format!("Unable to take over process (pid={pid}): {error}.");
                self.logger.say(Level::Error as u8, &text);
            }
        }
    }

    /// The process in a slot.
    pub(super) fn at(&mut self, slot: u32) -> Option<&mut Process> {
        self.processes.get_mut(self.slots.get(&slot)?)
    }

    /// Passes an end that a child has sent on to the worker in a slot. If it is refused, or nobody
    /// reads it, it closes, and the child that holds the other end knows what that means. Whether it
    /// was passed on.
    pub(super) fn pass_on(&mut self, connect: &Connect, end: &OwnedFd) -> bool {
        let Some(message) = about(end, connect.purpose) else { return false };
        let control = self.at(connect.slot).and_then(|process| process.control.as_ref());
        let message = message.encode();
        control.is_some_and(|fd| send(fd.as_fd(), &message, &[end.as_fd()], false).is_ok())
    }

    /// Logs what a process has written.
    pub(super) fn read_output(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        if !read_output(&mut process.output, &self.logger) {
            // Closed, though the process lives: it has given its output away.
            let _ = epoll::delete(&self.epoll, &process.output.fd);
        }
    }

    /// Logs what is written by processes that a process has left behind.
    pub(super) fn read_orphan(&mut self, number: u32) {
        if let Some(output) = self.orphans.get_mut(&number)
            && !read_output(output, &self.logger)
        {
            self.orphans.remove(&number);
        }
    }

    /// A process has ended: takes it out and returns it, with what there is to say about its end.
    pub(super) fn remove(&mut self, number: u32, exit: Exit) -> Option<(Process, String)> {
        let mut process = self.processes.remove(&number)?;
        self.slots.remove(&process.slot);
        let watched = [process.control.as_ref(), process.report.as_ref()];
        let watched = watched.into_iter().flatten().map(AsFd::as_fd).chain(process.watch.fd());
        watched.for_each(|fd| self.unwatch(fd));
        self.closer.close(process.control.take());
        let living = self.processes.len();
        if self.store.is_dirty(living) {
            let epochs: HashMap<u32, u32> =
                self.processes.values().map(|one| (one.slot, one.epoch)).collect();
            let lives = |kept: &Kept| epochs.get(&kept.slot) == Some(&kept.epoch);
            let ended = self.store.clean(lives);
            self.closer.close(ended);
        }
        process.read_report();
        let mut hint = String::new();
        let ids = process.requests(Duration::ZERO);
        if !ids.is_empty() {
            hint += &format!("; it was running: {ids}");
        }
        if matches!(exit, Exit::Signal(libc::SIGKILL, _))
            && !process.killed
            && self.oom.have_risen()
        {
            hint += "; probably out of memory";
        }
        Some((process, hint))
    }

    /// Reads what an ended process has written last, and goes on reading if others write to the same
    /// pipe.
    pub(super) fn leave_output(&mut self, mut output: Output) {
        self.unwatch(&output.fd);
        if !read_output(&mut output, &self.logger) {
            return;
        }
        let logger = &self.logger;
        let (group, pid) = (output.group.clone(), output.pid);
        output.end(&mut |line| log_line(logger, &group, pid, line));
        if self.orphans.len() < ORPHANS {
            self.last += 1;
            if self.watch(output.fd.as_fd(), About::Orphan, self.last).is_ok() {
                self.orphans.insert(self.last, output);
            }
        }
    }

    /// The control socket of a process is gone, or of no use.
    pub(super) fn lose_control(&mut self, number: u32, now: Instant) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        process.lost = Some(now);
        if let Some(control) = process.control.take() {
            self.unwatch(&control);
            self.closer.close([control]);
        }
    }

    /// Says again what a process could not hear.
    pub(super) fn repeat_quits(&mut self) {
        for process in self.processes.values_mut() {
            if let Some((reason, limit)) = process.quit {
                tell_quit(process, reason, limit);
            }
        }
    }

    fn start(&mut self, group: &config::Group, new: &New<'_>) -> io::Result<i32> {
        let spawned = spawn(group, &self.around)?;
        let pid = spawned.pid;
        if let Err(error) = self.begin(group, new, spawned) {
            // It would live without anybody knowing.
            // SAFETY: our child, which was not waited for, so the number is still its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            self.strays.push(pid);
            return Err(error);
        }
        self.board.set_started(new.slot, monotonic_us());
        Ok(pid)
    }

    /// Kills all that is left.
    pub(super) fn kill_all(&mut self) {
        for process in self.processes.values_mut() {
            process.killed = true;
            let _ = process.watch.signal(Signal::KILL);
        }
    }

    /// Reaps children that nobody knows.
    pub(super) fn reap_strays(&mut self) {
        self.strays.retain(|pid| reap(*pid).is_none());
    }

    fn begin(&mut self, group: &config::Group, new: &New<'_>, spawned: Spawned) -> io::Result<()> {
        let threads = group.all_threads();
        let connections = match group.connections {
            0 => {
                let left = self.around.descriptors.0.saturating_sub(KEPT).max(32) / 2;
                u32::try_from(left).unwrap_or(u32::MAX).min(4096)
            }
            given => given,
        };
        let start = Start {
            name: group.name.clone(),
            group: group.group,
            slot: new.slot,
            epoch: new.epoch,
            generation: new.generation,
            threads: group.threads,
            stack_size: group.stack_size,
            domains: group.domains,
            connections,
            idle: group.idle,
            maximum_requests: group.maximum_requests,
            shutdown: group.shutdown,
            loads: new.loads.to_vec(),
            payload: group.payload.clone(),
        };
        let pid = spawned.pid;
        let blob = write_blob(c"wsgi-start", &start.encode())?;
        // There is nothing before it in this socket, so it fits.
        let _ = send(spawned.control.as_fd(), &ToWorker::Start.encode(), &[blob.as_fd()], false);
        let Some(watch) = Watch::new(pid)? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.cells.reset(new.slot);
        self.take(Process {
            group: group.group,
            slot: new.slot,
            epoch: new.epoch,
            watch,
            child: true,
            control: Some(spawned.control),
            lost: None,
            output: Output::new(spawned.log, &group.name, pid),
            status: spawned.status,
            threads,
            report: Some(spawned.report),
            reports: Vec::new(),
            killed: false,
            quit: None,
        })
    }
}

impl Effects for Machine {
    fn spawn(&mut self, group: &config::Group, new: &New<'_>) -> Result<i32, String> {
        self.start(group, new).map_err(|error| error.to_string())
    }

    fn last_epoch(&mut self, slot: u32) -> u32 {
        self.board.slot(slot).epoch
    }

    fn show(&mut self, slot: u32, shown: &Shown) {
        let Shown { state, epoch, generation, pid, config } = *shown;
        self.board.set_slot(slot, &Slot { state, epoch, generation, pid, config });
    }

    fn announce(&mut self, group: u32, status: Status, generation: u32) {
        self.board.set_status(group, status);
        self.board.set_generation(group, generation);
        self.board.announce(group);
    }

    fn count_failure(&mut self, group: u32) {
        self.board.count_failure(group);
    }

    fn count_end(&mut self, group: u32, end: End, pid: i32) {
        self.board.count_end(group, end, pid, monotonic_us());
    }

    fn quit(&mut self, slot: u32, reason: QuitReason, limit: Duration) {
        if let Some(process) = self.at(slot) {
            process.quit = Some((reason, limit));
            tell_quit(process, reason, limit);
        }
    }

    fn signal(&mut self, slot: u32, signal: Signal) {
        if let Some(process) = self.at(slot) {
            process.killed |= signal == Signal::KILL;
            let _ = process.watch.signal(signal);
        }
    }

    fn in_flight(&mut self, slot: u32) -> u64 {
        self.cells.in_flight(slot)
    }

    fn log(&mut self, level: Level, group: &config::Group, pid: i32, text: &str) {
        let record = Record::new(level as u8, 0, text.as_bytes());
        let source = Source::Supervisor;
        self.logger.log(&Entry { source, group: &group.name, pid, record });
    }
}

fn tell_quit(process: &mut Process, reason: QuitReason, limit: Duration) {
    let message = ToWorker::Quit { reason, limit_ms: milliseconds(limit) }.encode();
    let told = process.control.as_ref().map(|fd| send(fd.as_fd(), &message, &[], false));
    match told {
        Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
        _ => process.quit = None,
    }
}

fn read_output(output: &mut Output, logger: &Logger) -> bool {
    let (group, pid) = (output.group.clone(), output.pid);
    output.read(&mut |line| log_line(logger, &group, pid, line))
}

/// The level that the reference gives to what applications print.
const OUTPUT: u8 = 3;

fn log_line(logger: &Logger, group: &[u8], pid: i32, line: &[u8]) {
    let record = Record::new(OUTPUT, 0, line);
    logger.log(&Entry { source: Source::Output, group, pid, record });
}
