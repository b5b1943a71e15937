//! A child of the server as a client of workers: the groups it can reach, and the choice of a
//! worker.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::queue::SegQueue;
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_socket_timeout,
};

use super::abandoned::Abandoned;
use super::error::{Error, ErrorKind};
use super::pool::Pool;
use super::{Options, SLICE};
use crate::board::{Area, Board, Capacity, Directory, Entry, InFlight, Slot, State, Status};
use crate::control::{Connect, Purpose};
use crate::sys::{refuse_descriptors, send, stream_pair};
use crate::wire::{Decoder, Side};

/// What a child inherits from the server's parent. The descriptors stay open until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Handles {
    /// The board, opened for reading.
    pub(crate) board: BorrowedFd<'static>,
    /// The cells.
    pub(crate) cells: BorrowedFd<'static>,
    /// The children's end of the channel to the supervisor.
    pub(crate) channel: BorrowedFd<'static>,
    /// The room in board and cells.
    pub(crate) capacity: Capacity,
    /// The configuration this child is made for.
    pub(crate) config: u32,
}

/// A child of the server. One for the process, shared by its threads.
#[derive(Debug)]
pub struct Child {
    pub(super) board: Board,
    pub(super) area: Area,
    pub(super) channel: BorrowedFd<'static>,
    groups: HashMap<Vec<u8>, Arc<Group>>,
    requests: AtomicU64,
    decoders: SegQueue<Decoder>,
    abandoned: Abandoned,
}

/// A group of workers, as a child sees it.
#[derive(Debug)]
pub struct Group {
    entry: Entry,
    pools: Box<[Pool]>,
}

/// A worker that was chosen, and counts the request until this is dropped.
#[derive(Debug)]
pub(super) struct Chosen<'c> {
    pub(super) in_flight: InFlight<'c>,
    pub(super) epoch: u32,
    pub(super) generation: u32,
    pub(super) pid: i32,
}

/// Memory for reading responses.
const ROOM: usize = 64 << 10;
/// A child may know of a group for so long before the supervisor does.
const UNTOLD: Duration = Duration::from_secs(1);
/// Between two looks meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How long a full group is left alone before it is looked at again.
const FULL: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

impl Child {
    /// Becomes a client. Call it in the child, before it has threads.
    ///
    /// # Errors
    /// What was inherited is not what it should be, or of another version.
    pub fn join(handles: &Handles) -> io::Result<Child> {
        let board = Board::map(handles.board, handles.capacity, false)?;
        let area = Area::claim(handles.cells, handles.capacity, handles.config)?;
        let directory = Directory::read(handles.board, handles.capacity)?;
        let group = |entry: Entry| {
            let pools = (0..entry.slots).map(|_| Pool::default()).collect();
            Arc::new(Group { entry, pools })
        };
        let groups = directory.names().map(|(name, entry)| (name.to_vec(), group(entry))).collect();
        Ok(Child {
            board,
            area,
            channel: handles.channel,
            groups,
            requests: AtomicU64::new(0),
            decoders: SegQueue::new(),
            abandoned: Abandoned::default(),
        })
    }

    /// The group of this name, if the parent knew it when this child was made.
    pub fn group(&self, name: &[u8]) -> Option<&Arc<Group>> {
        self.groups.get(name)
    }

    /// The worker with the fewest requests, waiting for one to be there. `generation` is the
    /// earliest that will do.
    pub(super) fn choose(
        &self,
        group: &Group,
        generation: u32,
        options: &Options,
        until: Instant,
    ) -> Result<Chosen<'_>, Error> {
        self.abandoned.sweep(&self.board, &self.area);
        let mut pause = FULL.0;
        let mut told = None;
        loop {
            let version = self.board.version(group.entry.group);
            let Some((slot, at, load)) = self.least(group, generation) else {
                let now = Instant::now();
                let told = *told.get_or_insert((now + UNTOLD).min(until));
                let left = until.saturating_duration_since(now);
                let (kind, text) = match self.board.status(group.entry.group) {
                    // A group that comes again is as it was left until the supervisor has heard.
                    Status::Down if now < told => {
                        self.board.wait(group.entry.group, version, left.min(LOOK));
                        continue;
                    }
                    Status::Down => (ErrorKind::Down, "the process group is not run"),
                    Status::Service => (ErrorKind::Service, "the process group takes no requests"),
                    Status::Failing => (ErrorKind::Failing, "its processes cannot be started"),
                    Status::Starting | Status::Serving if left.is_zero() => {
                        (ErrorKind::NotReady, "none of its processes is ready")
                    }
                    Status::Starting | Status::Serving => {
                        self.board.wait(group.entry.group, version, left.min(SLICE));
                        continue;
                    }
                };
                return Err(Error::new(kind, text));
            };
            if options.capacity > 0 && load >= options.capacity as i32 {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Error::new(ErrorKind::Full, "all its processes are busy"));
                }
                thread::sleep(pause.min(left));
                pause = (pause * 2).min(FULL.1);
                continue;
            }
            let in_flight = self.area.enter(slot);
            // Having been counted, look again: whoever takes the slot out of use now waits for us.
            if self.board.is_routed(slot, at.epoch) {
                let Slot { epoch, generation, pid, .. } = at;
                return Ok(Chosen { in_flight, epoch, generation, pid });
            }
        }
    }

    /// The least loaded of the slots that take requests. Children begin to look at different places,
    /// so that they do not all find the same one.
    fn least(&self, group: &Group, generation: u32) -> Option<(u32, Slot, i32)> {
        let Entry { first, slots, .. } = group.entry;
        let begin = self.area.number() % slots.max(1);
        let mut best = None;
        for index in 0..slots {
            let slot = first + (begin + index) % slots;
            let at = self.board.slot(slot);
            if at.state != State::Routed || at.generation < generation {
                continue;
            }
            let load = self.area.load(slot);
            if best.is_none_or(|(_, _, least)| load < least) {
                best = Some((slot, at, load));
            }
        }
        best
    }

    /// An idle connection to a chosen worker.
    pub(super) fn idle(&self, group: &Group, chosen: &Chosen<'_>, domain: u16) -> Option<OwnedFd> {
        group.pool(chosen.in_flight.slot()).pop(chosen.epoch, domain)
    }

    /// A new connection to a chosen worker.
    pub(super) fn connect(
        &self,
        group: &Group,
        chosen: &Chosen<'_>,
        options: &Options,
    ) -> Result<OwnedFd, Error> {
        let fail = |error: io::Error| Error::io(ErrorKind::NoSupervisor, &error);
        let (near, far) = stream_pair(options.socket_timeout).map_err(fail)?;
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&near, timeout, Some(SLICE)).map_err(|error| fail(error.into()))?;
        }
        // A worker sends none; receiving what it takes long to close would keep this thread.
        refuse_descriptors(near.as_fd());
        // A system that does not want to has its own choice.
        if options.send_buffer > 0 {
            let _ = set_socket_send_buffer_size(&far, options.send_buffer as usize);
        }
        if options.receive_buffer > 0 {
            let _ = set_socket_recv_buffer_size(&far, options.receive_buffer as usize);
        }
        let message = Connect {
            group: group.entry.group,
            slot: chosen.in_flight.slot(),
            epoch: chosen.epoch,
            purpose: Purpose::Requests { domain: options.domain },
        };
        // Waits as long as the channel's own timeout if the supervisor does not read.
        send(self.channel, &message.encode(), &[far.as_fd()], true).map_err(fail)?;
        Ok(near)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, group: &Group, chosen: &Chosen<'_>, fd: OwnedFd, options: &Options) {
        let pool = group.pool(chosen.in_flight.slot());
        pool.push(fd, chosen.epoch, options.domain, options.idle);
    }

    /// Gives up waiting for what a worker does.
    pub(super) fn abandon(&self, fd: OwnedFd, chosen: Chosen<'_>) {
        self.abandoned.add(fd, chosen.in_flight, chosen.epoch);
    }

    /// Closes what is kept for a worker.
    pub(super) fn forget(&self, group: &Group, chosen: &Chosen<'_>) {
        group.pool(chosen.in_flight.slot()).clear();
    }

    /// A number for a request, unique in this process.
    pub(super) fn number(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn decoder(&self) -> Decoder {
        self.decoders.pop().unwrap_or_else(|| Decoder::new(Side::Child, ROOM))
    }

    pub(super) fn give_back(&self, mut decoder: Decoder) {
        decoder.reset(ROOM);
        self.decoders.push(decoder);
    }
}

#[cfg(test)]
impl Child {
    pub(crate) fn channel_for_tests(&self) -> BorrowedFd<'static> {
        self.channel
    }

    pub(crate) fn load_for_tests(&self, slot: u32) -> i32 {
        self.area.load(slot)
    }

    pub(crate) fn kept_for_tests(&self, group: &Group) -> usize {
        group.pools.iter().map(Pool::len_for_tests).sum()
    }
}

impl Group {
    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.entry.group
    }

    /// Its slots.
    pub(super) fn places(&self) -> std::ops::Range<u32> {
        self.entry.first..self.entry.first + self.entry.slots
    }

    /// How many slots it has.
    pub(super) fn slots(&self) -> u32 {
        self.entry.slots
    }

    fn pool(&self, slot: u32) -> &Pool {
        &self.pools[(slot - self.entry.first) as usize]
    }
}
