//! A domain: the threads, interpreters and connections that share one lock, such as Python's GIL.
//!
//! Leader and followers, with batches. At most one idle thread, the leader, waits in `epoll_wait`
//! and puts what is ready into a queue. It takes the lock *while it still is the leader*, so that at
//! most one idle thread ever waits for the lock; then another thread may lead, if need be ([`Lead`]).
//! Having served a request, a thread keeps the lock and takes the next ready connection, for giving
//! the lock away and getting it back costs more than a small request. It gives the lock away as soon as
//! another request is inside the application, which would otherwise wait for each of its own steps
//! until the interpreter forces a switch, and in any case after a millisecond.
//!
//! Sockets are read and written without waiting while the lock is held; what would have to wait
//! gives it away first ([`Stream`]). Where there is no such lock ([`Runner::batches`]) threads take
//! one connection each.
//!
//! Connections are watched edge-triggered. Only a request that pulls its body takes its connection
//! out of the watch, so that the parts of the body wake nobody else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst, fence};
use std::time::Duration;

use crossbeam::queue::SegQueue;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Runner;
use super::connection::{Connection, Table};
use super::fork::{self, Own};
use super::lead::{Lead, Leading, Lent, Measure};
use super::output::send_bytes;
use super::process::Counter;
use super::status::Status;
use super::stream::{Buffers, Stream};
use crate::sys::{above, monotonic_us};
use crate::wire::{
    self, Decoder, Fault, FaultKind, Flags, Hello, Item, Kind, Malformed, Side, encode_drain, field,
};

/// A thread keeps the lock no longer than this for one request after another.
const BATCH: Duration = Duration::from_millis(1);
/// Room for a request in one read.
const ROOM: usize = 8 << 10;
/// What the events of the descriptor that wakes everybody carry.
const KICK: u64 = 0;

/// See the module.
#[derive(Debug)]
pub(super) struct Domain {
    number: u16,
    group: u32,
    epoch: u32,
    epoll: Own,
    kick: Own,
    lead: Lead,
    /// The leader waits in `epoll_wait`, or is about to.
    asleep: AtomicBool,
    ready: SegQueue<Arc<Connection>>,
    connections: Table,
    /// Requests that are inside the application.
    inside: AtomicUsize,
    stopping: AtomicBool,
}

/// What one thread needs.
pub(super) struct Thread<'a> {
    pub(super) number: u32,
    pub(super) status: Option<&'a Status>,
    counter: Counter,
    decoder: Decoder,
    buffers: Buffers,
    measure: Measure,
}

impl<'a> Thread<'a> {
    pub(super) fn new(number: u32, status: Option<&'a Status>, counter: Counter) -> Thread<'a> {
        let decoder = Decoder::new(Side::Worker, ROOM);
        Thread {
            number,
            status,
            counter,
            decoder,
            buffers: Buffers::new(),
            measure: Measure::new(),
        }
    }
}

/// What is to become of a connection that a thread had.
enum Next {
    Keep,
    Close,
}

impl Domain {
    pub(super) fn new(number: u16, group: u32, epoch: u32) -> io::Result<Domain> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let [epoll, kick] = [epoll, kick].map(|fd| Own::new(above(fd, 1024)));
        epoll::add(&epoll, &kick, EventData::new_u64(KICK), EventFlags::IN)?;
        Ok(Domain {
            number,
            group,
            epoch,
            epoll,
            kick,
            lead: Lead::new(),
            asleep: AtomicBool::new(false),
            ready: SegQueue::new(),
            connections: Table::default(),
            inside: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// Adds a connection.
    pub(super) fn add(&self, fd: OwnedFd) -> io::Result<()> {
        let connection = self.connections.add(fd);
        let data = EventData::new_u64(connection.key);
        if let Err(error) = epoll::add(&self.epoll, &*connection, data, WATCH) {
            self.connections.remove(connection.key);
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes out connections that nobody uses, to be closed; see [`Table::sweep`].
    pub(super) fn sweep(&self, idle: Duration, most: usize) -> Vec<Arc<Connection>> {
        self.connections.sweep(idle, most)
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Makes the threads end after what they are doing. Requests that nobody has read are given
    /// back: their connections close.
    pub(super) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.wake();
        while self.ready.pop().is_some() {}
        self.connections.close_unused();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(SeqCst)
    }

    /// Closes everything, once the threads have ended.
    pub(super) fn close(&self) {
        while self.ready.pop().is_some() {}
        self.connections.clear();
    }

    /// Takes a connection out of the watch.
    pub(super) fn disarm(&self, connection: &Connection) {
        self.watch(connection, EventFlags::empty());
    }

    /// Puts it back; reports what has come meanwhile.
    pub(super) fn arm(&self, connection: &Connection) {
        self.watch(connection, WATCH);
    }

    fn watch(&self, connection: &Connection, flags: EventFlags) {
        let data = EventData::new_u64(connection.key);
        // Fails only for a descriptor that was never added.
        let _ = epoll::modify(&self.epoll, connection, data, flags);
    }

    /// The life of a thread.
    pub(super) fn serve(&self, runner: &dyn Runner, thread: &mut Thread<'_>) {
        let mut lead: Option<Leading<'_>> = None;
        while !self.is_stopping() {
            let leading = lead.take().unwrap_or_else(|| self.lead.take());
            if self.ready.is_empty() && !self.is_stopping() {
                self.sleep();
            }
            if self.ready.is_empty() || self.is_stopping() {
                lead = Some(leading);
                continue;
            }
            if !runner.batches(self.number) {
                let connection = self.pop();
                drop(leading);
                if let Some(connection) = connection {
                    self.look_at(&connection, Some(runner), thread);
                }
                self.wake_leader();
                continue;
            }
            lead = Some(leading);
            let mut is_attached = false;
            runner.attached(self.number, &mut || {
                is_attached = true;
                self.batch(runner, thread, &mut lead);
            });
            if !is_attached {
                // It could not be, and would not be the next time.
                self.refuse(thread);
            }
            if lead.is_none() {
                self.wake_leader();
            }
        }
    }

    /// Waits until something is ready.
    fn sleep(&self) {
        self.asleep.store(true, SeqCst);
        fence(SeqCst);
        if self.ready.is_empty() && !self.is_stopping() {
            self.poll(None);
        }
        self.asleep.store(false, SeqCst);
    }

    /// Something was put into the queue, or left there, and the only one who would look may be
    /// waiting for something else.
    fn wake_leader(&self) {
        fence(SeqCst);
        if !self.ready.is_empty() && self.asleep.load(SeqCst) {
            self.wake();
        }
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.kick, &1u64.to_ne_bytes());
    }

    /// Queues what is ready, waiting for it without limit or not at all.
    fn poll(&self, timeout: Option<&Timespec>) {
        let mut events =
            [epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 64];
        let Ok(count) = epoll::wait(&self.epoll, &mut events[..], timeout) else { return };
        for event in &events[..count] {
            let key = event.data.u64();
            if key == KICK {
                // It stays readable while we stop, so that every thread sees it.
                if !self.is_stopping() {
                    let _ = rustix::io::read(&self.kick, &mut [0; 8]);
                }
                continue;
            }
            if let Some(connection) = self.connections.get(key)
                && connection.notify()
            {
                self.ready.push(connection);
            }
        }
    }

    fn pop(&self) -> Option<Arc<Connection>> {
        loop {
            let connection = self.ready.pop()?;
            if connection.take() {
                return Some(connection);
            }
        }
    }

    /// Serves one request after another while attached.
    fn batch<'l>(
        &'l self,
        runner: &dyn Runner,
        thread: &mut Thread<'_>,
        lead: &mut Option<Leading<'l>>,
    ) {
        let mut begun = None;
        loop {
            let connection = self.pop().or_else(|| {
                self.poll(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
                self.pop()
            });
            let Some(connection) = connection else { break };
            if self.lead.is_eager() {
                *lead = None;
            }
            let lent = lead.take().map(Leading::lend);
            let leads = lent.is_some();
            let now = thread.measure.begin(begun.is_none());
            let begun = *begun.get_or_insert(now);
            self.look_at(&connection, Some(runner), thread);
            *lead = lent.and_then(Lent::reclaim);
            let now = thread.measure.end(&self.lead, leads && lead.is_none());
            if self.inside.load(SeqCst) > 0 || now - begun >= BATCH || self.is_stopping() {
                break;
            }
        }
    }

    /// Serves what has come on a connection that this thread has.
    fn look_at(
        &self,
        connection: &Arc<Connection>,
        runner: Option<&dyn Runner>,
        thread: &mut Thread<'_>,
    ) {
        let next = catch_unwind(AssertUnwindSafe(|| self.receive(connection, runner, thread)));
        match next {
            Ok(Ok(Next::Keep)) => {
                if connection.release() {
                    self.ready.push(connection.clone());
                }
            }
            Ok(Ok(Next::Close) | Err(_)) | Err(_) => self.connections.remove(connection.key),
        }
    }

    /// `runner` is missing if nothing can be run.
    fn receive(
        &self,
        connection: &Connection,
        runner: Option<&dyn Runner>,
        thread: &mut Thread<'_>,
    ) -> Result<Next, Malformed> {
        thread.decoder.reset(8 * ROOM);
        {
            let mut partial = connection.partial();
            if !partial.is_empty() {
                thread.decoder.feed(&partial);
                *partial = Vec::new();
            }
        }
        loop {
            let Thread { decoder, buffers, status, number, counter, .. } = thread;
            match decoder.take_with_rest()? {
                Some((Item::Whole { header, payload, .. }, rest)) => match header.kind {
                    Kind::Hello => self.greet(connection, payload)?,
                    Kind::Request if connection.greeted.load(SeqCst) => {
                        let request = wire::Request::decode(&header, payload)?;
                        let running =
                            Running { domain: self, status: *status, thread: *number, counter };
                        return Ok(running.answer(connection, runner, &request, buffers, rest));
                    }
                    // It came too late for the request that it is about.
                    Kind::Cancel | Kind::Err => {}
                    _ => return Err(Malformed("a frame out of order")),
                },
                Some(_) => return Err(Malformed("a frame out of order")),
                None => match recv(connection, decoder.space(), RecvFlags::DONTWAIT) {
                    Ok((_, 0)) => return Ok(Next::Close),
                    Ok((_, count)) => decoder.filled(count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        connection.partial().extend_from_slice(decoder.rest());
                        return Ok(Next::Keep);
                    }
                    Err(_) => return Ok(Next::Close),
                },
            }
        }
    }

    fn greet(&self, connection: &Connection, payload: &[u8]) -> Result<(), Malformed> {
        let hello = Hello::decode(payload)?;
        let meant = (hello.domain, hello.group, hello.epoch);
        if meant != (self.number, self.group, self.epoch) {
            return Err(Malformed("meant for another worker"));
        }
        connection.greeted.store(true, SeqCst);
        Ok(())
    }

    /// Ends the next request without running it.
    fn refuse(&self, thread: &mut Thread<'_>) {
        if let Some(connection) = self.pop() {
            self.look_at(&connection, None, thread);
        }
    }
}

/// One request, in one thread.
struct Running<'d> {
    domain: &'d Domain,
    status: Option<&'d Status>,
    thread: u32,
    counter: &'d Counter,
}

impl Running<'_> {
    fn answer(
        &self,
        connection: &Connection,
        runner: Option<&dyn Runner>,
        request: &wire::Request<'_>,
        buffers: &mut Buffers,
        rest: &[u8],
    ) -> Next {
        let say = |frame: &[u8]| {
            let _ = send_bytes(connection.as_fd(), frame, &mut 0, false);
        };
        if self.domain.is_stopping() {
            say(&encode_drain(request.id()));
            return Next::Close;
        }
        let deadline = request.facts().queue_deadline;
        if deadline > 0 && monotonic_us() > deadline {
            let fault = Fault { kind: FaultKind::QueueTimeout, status: 504, errno: 0, text: b"" };
            say(&fault.encode(request.id(), Flags::END));
            return Next::Keep;
        }
        let Some(runner) = runner else {
            let text = b"the interpreter cannot be entered";
            let fault = Fault { kind: FaultKind::Render, status: 500, errno: 0, text };
            say(&fault.encode(request.id(), Flags::END));
            return Next::Keep;
        };
        let mut stream = Stream::new(connection, self.domain, buffers, request, rest);
        {
            let _inside = Inside::enter(self, request);
            if runner.batches(self.domain.number) {
                runner.run(request, &mut stream);
            } else {
                let run = &mut || runner.run(request, &mut stream);
                runner.attached(self.domain.number, run);
            }
        }
        fork::end_if_forked();
        self.counter.count();
        // Whatever else came is nothing that a child sends before it has the whole response.
        if stream.finish() && buffers.is_between_frames() { Next::Keep } else { Next::Close }
    }
}

/// Counts a request as being inside the application.
struct Inside<'r, 'd>(&'r Running<'d>);

impl<'r, 'd> Inside<'r, 'd> {
    fn enter(running: &'r Running<'d>, request: &wire::Request<'_>) -> Inside<'r, 'd> {
        running.domain.inside.fetch_add(1, SeqCst);
        if let Some(status) = running.status {
            let id = request.text(field::REQUEST_ID).unwrap_or_default();
            status.begin(running.thread, id, request.facts().request_start);
        }
        Inside(running)
    }
}

impl Drop for Inside<'_, '_> {
    fn drop(&mut self) {
        if let Some(status) = self.0.status {
            status.end(self.0.thread);
        }
        self.0.domain.inside.fetch_sub(1, SeqCst);
    }
}

const WATCH: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
