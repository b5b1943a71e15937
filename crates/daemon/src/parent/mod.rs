//! The server's parent: what it makes once and keeps, starting the supervisor, telling it what to
//! run, ending it.
//!
//! The parent's own image may be unloaded and loaded again between configurations, so what lives on
//! is plain data ([`Retained`]) in memory that the server keeps: numbers of descriptors and of a
//! process. The parent has no loop and no threads; everything here returns at once, but
//! [`Parent::stop`], which waits as long as it is told.
//!
//! Both ends of the channels stay open here. So nothing that is under way is lost when the supervisor
//! dies, and the next one takes over where it was.

mod retained;
mod start;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{
    Timeout, set_socket_send_buffer_size, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::process::Signal;

pub use retained::Retained;

use crate::board::{Board, Capacity, Directory};
use crate::client::Handles;
use crate::config::Config;
use crate::control::{FromParent, milliseconds};
use crate::sys::{
    Exit, Watch, is_shut, monotonic_us, pair, reap, send, shared, shared_read_only, write_blob,
};

/// What a supervisor is started with.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The program `wsgi-supervisor`. The one that was given with a configuration is kept and started
    /// again if need be: what an upgrade puts in its place meanwhile is of another version.
    pub program: BorrowedFd<'a>,
    /// The server's main log.
    pub log: BorrowedFd<'a>,
    /// The supervisor's end of the channel to the log relay, if there is one: see [`crate::log`].
    pub relay: Option<BorrowedFd<'a>>,
}

/// How long a child waits for a supervisor that does not react before its request fails.
const CHANNEL: Duration = Duration::from_secs(10);
/// The longest that a supervisor may take to kill workers and end.
const LAST: Duration = Duration::from_secs(2);
/// The longest that one is waited for which was killed: the system may wait for something in it.
const KILLED: Duration = Duration::from_secs(3);
/// Room for what supervisors keep of their workers, about 1 KiB for each.
const STORE: usize = 4 << 20;
/// Between two supervisors that end at once: doubles up to the second.
const BACKOFF: (u64, u64) = (250_000, 60_000_000);

/// The parent's view of what it keeps.
#[derive(Debug)]
pub struct Parent<'r> {
    retained: &'r mut Retained,
    /// For the next time that something is made.
    capacity: Capacity,
}

impl<'r> Parent<'r> {
    /// Takes up what was kept, making channels and shared memory the first time.
    ///
    /// # Safety
    /// `retained` is all zeroes or as this left it, in the process that it was left in, and is not
    /// used for anything else meanwhile.
    ///
    /// # Errors
    /// It was left by another version ([`Retained::retire`] ends that one's supervisor), or there
    /// are no descriptors or memory.
    pub unsafe fn new(retained: &'r mut Retained, capacity: Capacity) -> io::Result<Parent<'r>> {
        let capacity = capacity.bounded();
        if retained.is_empty() {
            *retained = make(capacity)?;
        }
        if !retained.is_ours() {
            let text = "what was kept is of another version";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Parent { retained, capacity })
    }

    /// Gives the groups their numbers and slots, and tells the supervisor to run them, starting one
    /// if there is none. Children that are made from now on find them by name. Returns the
    /// supervisor's process, and whether it is a new one.
    ///
    /// # Errors
    /// The groups do not fit, or the supervisor cannot be started.
    pub fn configure(
        &mut self,
        mut config: Config,
        launch: &Launch<'_>,
    ) -> io::Result<(i32, bool)> {
        match self.enter(&mut config) {
            // Names that are not used any more take up the room: begin anew, with another supervisor.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let new = make(self.capacity)?;
                std::mem::replace(self.retained, new).abandon();
                self.enter(&mut config)?;
            }
            entered => entered?,
        }
        let bytes = config.encode();
        if bytes.len() > Config::MAX {
            let text = "the configuration of process groups is too large";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let blob = write_blob(c"wsgi-config", &bytes)?;
        self.retained.set_config(blob);
        self.retained.set_program(launch.program.try_clone_to_owned()?);
        if is_shut(self.retained.connections_fd()) {
            self.replace_channel()?;
        }
        if self.is_running() && self.tell(launch).is_ok() {
            return Ok((self.retained.supervisor, false));
        }
        Ok((self.start(launch)?, true))
    }

    /// Makes another channel for children that are made from now on. Only a supervisor that is started
    /// with it can use it; it takes over the workers.
    fn replace_channel(&mut self) -> io::Result<()> {
        let (children, connections) = channel()?;
        self.retained.set_channel(children, connections);
        if let Some(pid) = self.supervisor() {
            signal(&Watch::new(pid)?, Signal::KILL);
            let until = Instant::now() + KILLED;
            while self.is_running() {
                if Instant::now() >= until {
                    let text = "the process supervisor cannot be ended";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Gives the groups their places on the board.
    fn enter(&self, config: &mut Config) -> io::Result<()> {
        let board = self.retained.board_fd();
        let mut directory = Directory::read(board, self.retained.capacity)?;
        for group in &mut config.groups {
            let entry = directory.enter(board, &group.name, group.wanted_slots())?;
            (group.group, group.first, group.slots) = (entry.group, entry.first, entry.slots);
        }
        Ok(())
    }

    /// Starts a supervisor in the place of one that has ended; it takes over its workers. `None` if
    /// it is too early for another attempt: ask again.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart(&mut self, launch: &Launch<'_>) -> io::Result<Option<i32>> {
        if self.is_running() {
            return Ok(Some(self.retained.supervisor));
        }
        if monotonic_us() < self.retained.not_before {
            return Ok(None);
        }
        self.start(launch).map(Some)
    }

    /// The supervisor's process, if there is one.
    pub fn supervisor(&self) -> Option<i32> {
        (self.retained.supervisor > 0).then_some(self.retained.supervisor)
    }

    /// Takes note that the supervisor has ended, as somebody else has found.
    pub fn ended(&mut self, pid: i32) {
        if pid == self.retained.supervisor {
            self.retained.forget_supervisor();
            let lived = monotonic_us().saturating_sub(self.retained.started);
            if lived > BACKOFF.1 {
                self.retained.failures = 0;
            }
            let failures = self.retained.failures.min(16);
            // The first time at once.
            let delay = if failures == 0 { 0 } else { BACKOFF.0 << failures };
            self.retained.failures += 1;
            self.retained.not_before = monotonic_us() + delay.min(BACKOFF.1);
        }
    }

    /// What children need to be clients.
    pub fn handles(&self) -> Handles {
        self.retained.handles()
    }

    /// Ends the supervisor and all workers. Waits for them up to `limit`; what is left then is
    /// killed as far as it is known, and `false` is returned. Where there is no supervisor any more,
    /// workers find out by themselves, and are not waited for.
    pub fn stop(&mut self, limit: Duration) -> bool {
        let (clean, exit) = self.stop_supervisor(limit);
        // It has ended when no worker was left. What it has kept of them goes with this process then:
        // closing it may take as long as a worker that was killed has seen to.
        if exit != Some(Exit::Code(0)) {
            // The last ends of what workers listen to.
            self.retained.empty_store();
        }
        clean
    }

    /// Whether it took no longer than that, and how the supervisor has ended, if there was one.
    fn stop_supervisor(&mut self, limit: Duration) -> (bool, Option<Exit>) {
        let Some(pid) = self.supervisor() else { return (true, None) };
        let control = self.retained.control_fd();
        // It has the same limit for its workers, but for the time that it needs to end them.
        let quit = FromParent::Quit { limit_ms: milliseconds(limit - limit.min(LAST) / 2) };
        let told = control.map(|fd| send(fd, &quit.encode(), &[], false));
        let watch = Watch::new(pid).ok().flatten();
        if !matches!(told, Some(Ok(()))) {
            signal(&watch, Signal::TERM);
        }
        let until = Instant::now() + limit;
        let mut clean = true;
        let exit = loop {
            match reap(pid) {
                Some(Exit::Unknown) if watch.as_ref().is_some_and(|it| !it.has_ended()) => {}
                Some(exit) => break Some(exit),
                None => {}
            }
            if clean && Instant::now() >= until {
                clean = false;
                signal(&watch, Signal::KILL);
            }
            if Instant::now() >= until + KILLED {
                // The system keeps it.
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.retained.forget_supervisor();
        (clean, exit)
    }

    /// Whether the supervisor runs, asking the system.
    fn is_running(&mut self) -> bool {
        let Some(pid) = self.supervisor() else { return false };
        match reap(pid) {
            None => true,
            Some(_) => {
                self.ended(pid);
                false
            }
        }
    }

    fn start(&mut self, launch: &Launch<'_>) -> io::Result<i32> {
        let (near, far) = pair()?;
        let pid = start::start(self.retained, far, launch)?;
        self.retained.set_supervisor(pid, near, monotonic_us());
        self.tell(launch)?;
        Ok(pid)
    }

    fn tell(&self, launch: &Launch<'_>) -> io::Result<()> {
        let (Some(control), Some(config)) = (self.retained.control_fd(), self.retained.config_fd())
        else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let message = FromParent::Configure { config: self.retained.config_number }.encode();
        let mut fds = vec![config, launch.log];
        fds.extend(launch.relay);
        send(control, &message, &fds, false)
    }
}

fn signal(watch: &Option<Watch>, signal: Signal) {
    if let Some(watch) = watch {
        let _ = watch.signal(signal);
    }
}

/// The channel on which children ask for connections: their end and the supervisor's.
fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let (children, connections) = pair()?;
    set_socket_timeout(&children, Timeout::Send, Some(CHANNEL))?;
    Ok((children, connections))
}

fn make(capacity: Capacity) -> io::Result<Retained> {
    let board = shared(c"wsgi-board", capacity.board())?;
    // Marks it as being of this version, so that children can be made before there is a supervisor.
    drop(Board::map(board.as_fd(), capacity, true)?);
    let reader = shared_read_only(board.as_fd()).map_err(|error| {
        let text = format!("/proc is needed to share memory for reading: {error}");
        io::Error::new(error.kind(), text)
    })?;
    let cells = shared(c"wsgi-cells", capacity.cells())?;
    let (children, connections) = channel()?;
    let (inlet, outlet) = pair()?;
    // As much room as we may have: each worker takes some.
    if set_socket_send_buffer_size_force(&inlet, STORE).is_err() {
        set_socket_send_buffer_size(&inlet, STORE)?;
    }
    Ok(Retained {
        board: board.into_raw_fd(),
        reader: reader.into_raw_fd(),
        cells: cells.into_raw_fd(),
        children: children.into_raw_fd(),
        connections: connections.into_raw_fd(),
        inlet: inlet.into_raw_fd(),
        outlet: outlet.into_raw_fd(),
        capacity,
        ..Retained::ours()
    })
}
