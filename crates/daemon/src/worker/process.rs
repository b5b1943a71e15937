//! A worker process: what it was given, its main thread, its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::connection::Connection;
use super::domain::{Domain, Thread};
use super::fork::{self, Own};
use super::handle::Handle;
use super::inquiry::Inquiry;
use super::status::Status;
use super::{Runner, signals};
use crate::control::{FromWorker, MAX_MESSAGE, QuitReason, Retire, Start, ToWorker};
use crate::sys::{self, Closer, Received, read_blob, receive, set_cloexec, waits};
use crate::wire::Record;

/// Numbers of the descriptors that a worker process is started with.
pub(crate) mod inherited {
    /// Its control socket.
    pub(crate) const CONTROL: i32 = 3;
    /// The memory for its status.
    pub(crate) const STATUS: i32 = 4;
}

/// The longest a worker waits for its first message.
const FIRST: Duration = Duration::from_secs(30);
/// The level of an error in a log.
const ERROR: u8 = 3;
const TICK: Duration = Duration::from_secs(1);
/// After an error of the system's that should not be.
const AGAIN: Duration = Duration::from_millis(100);

/// A worker process.
#[derive(Debug)]
pub struct Worker {
    start: Start,
    handle: Handle,
    status: Option<Arc<Status>>,
    domains: Vec<Arc<Domain>>,
}

/// Why [`Worker::serve`] has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Why the worker was told to end.
    pub reason: StopReason,
    /// Threads that are still inside the application. They must not be waited for.
    pub stuck: usize,
}

/// Why a worker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The supervisor said so.
    Quit(QuitReason),
    /// It asked to be replaced, for this reason, and was.
    Retired(Retire),
    /// There is no supervisor, and nobody to start another one: a supervisor's death is not seen
    /// here, for its end of the control socket waits for the next one.
    Alone,
}

impl Worker {
    /// Takes what the supervisor gave this process: descriptors 3 and 4, and the first message, which
    /// says what it is to be. The descriptors are made invisible to processes that the application
    /// starts, and moved out of its way.
    ///
    /// # Safety
    /// Nobody else uses these descriptors: the process was started by a supervisor, and this is
    /// called once.
    ///
    /// # Errors
    /// They are not what they should be, or the supervisor is of another version.
    pub unsafe fn inherit() -> io::Result<Worker> {
        let take = |number: RawFd| -> io::Result<OwnedFd> {
            // SAFETY: F_GETFD takes no argument.
            if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it is open (just asked) and ours alone, by contract.
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            set_cloexec(fd.as_fd())?;
            Ok(sys::above(fd, 1024))
        };
        let control = take(inherited::CONTROL)?;
        let status = take(inherited::STATUS)?;
        let start = first_message(control.as_fd())?;
        Worker::new(start, control, Some(status.as_fd()))
    }

    /// A worker in this process, for tests and embeddings: `control` is what a supervisor would
    /// speak to.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new(
        start: Start,
        control: OwnedFd,
        status: Option<BorrowedFd<'_>>,
    ) -> io::Result<Worker> {
        fork::install();
        let status =
            status.map(|fd| Status::new(fd, start.all_threads())).transpose()?.map(Arc::new);
        let mut domains = Vec::new();
        for number in 0..start.domains.max(1) {
            domains.push(Arc::new(Domain::new(number, start.group, start.epoch)?));
        }
        let handle = Handle::new(control);
        Ok(Worker { start, handle, status, domains })
    }

    /// What the worker is to be.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// For talking to the supervisor from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Makes signals wait for [`Self::serve`] instead of doing what they did. Without this, it does
    /// so itself when it begins.
    ///
    /// # Errors
    /// A number is no signal that can be caught.
    pub fn catch_signals(&self, signals: &[i32]) -> io::Result<()> {
        signals::catch(signals)
    }

    /// Says that the worker is ready, and serves until it is to end. Call it from the main thread,
    /// holding no lock; it starts the threads that serve, and waits for the supervisor and for
    /// signals. Afterwards the process should do what is to be done at its end and then end, soon:
    /// the supervisor waits for it with the limit it has given.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn serve(&self, runner: &Arc<dyn Runner>) -> io::Result<Stopped> {
        signals::catch(SIGNALS)?;
        let ended = Arc::new(Ended::new()?);
        for domain in &self.domains {
            for _ in 0..self.start.threads {
                self.spawn(domain, runner, &ended)?;
            }
        }
        self.handle.ready();
        let mut main = Main {
            worker: self,
            runner,
            swept: Instant::now(),
            stopping: None,
            closer: Closer::default(),
            connections: Closer::default(),
        };
        let reason = main.run(&ended);
        for domain in &self.domains {
            domain.close();
        }
        Ok(Stopped { reason, stuck: ended.left() })
    }

    fn spawn(
        &self,
        domain: &Arc<Domain>,
        runner: &Arc<dyn Runner>,
        ended: &Arc<Ended>,
    ) -> io::Result<()> {
        let number = ended.begin();
        let mut builder = thread::Builder::new().name(format!("request-{number}"));
        if self.start.stack_size > 0 {
            builder = builder.stack_size(self.start.stack_size as usize);
        }
        let (domain, runner) = (domain.clone(), runner.clone());
        let status = self.status.clone();
        let end = End(ended.clone());
        let counter = Counter { handle: self.handle.clone(), most: self.start.maximum_requests };
        builder.spawn(move || {
            let _end = end;
            if let Some(status) = &status {
                status.enter(number as u32);
            }
            let mut thread = Thread::new(number as u32, status.as_deref(), counter);
            domain.serve(&*runner, &mut thread);
        })?;
        Ok(())
    }
}

/// Counts requests, up to where the worker is to be replaced.
#[derive(Debug)]
pub(super) struct Counter {
    handle: Handle,
    most: u64,
}

impl Counter {
    pub(super) fn count(&self) {
        if self.handle.count() == self.most {
            self.handle.retire(Retire::MaximumRequests);
        }
    }
}

/// The signals that a worker takes: to end, to be replaced, for the application.
const SIGNALS: &[i32] =
    &[libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGXCPU, libc::SIGHUP, libc::SIGUSR2];

fn first_message(control: BorrowedFd<'_>) -> io::Result<Start> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if !wait_for(&[control], FIRST)? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut buffer = [0; 64];
    let received = receive(control, &mut buffer, false)?;
    let message = ToWorker::decode(&buffer[..received.length]);
    match (message, &received.fds[..]) {
        (Ok(ToWorker::Start), [blob]) => {
            let bytes = read_blob(blob.as_fd(), Start::MAX)?;
            Start::decode(&bytes).map_err(|error| invalid(error.0))
        }
        (Err(error), _) => Err(invalid(error.0)),
        _ => Err(invalid("the first message is not about the start")),
    }
}

/// Waits until one of them is readable; `false` if the time has passed.
fn wait_for(fds: &[BorrowedFd<'_>], longest: Duration) -> io::Result<bool> {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let timeout =
        Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
    match poll(&mut fds, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How many threads there are, and a descriptor that says when one has ended.
#[derive(Debug)]
struct Ended {
    left: AtomicUsize,
    begun: AtomicUsize,
    event: Own,
}

impl Ended {
    fn new() -> io::Result<Ended> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let event = Own::new(sys::above(event, 1024));
        Ok(Ended { left: AtomicUsize::new(0), begun: AtomicUsize::new(0), event })
    }

    fn begin(&self) -> usize {
        self.left.fetch_add(1, SeqCst);
        self.begun.fetch_add(1, SeqCst)
    }

    fn left(&self) -> usize {
        self.left.load(SeqCst)
    }
}

/// A thread that has not ended.
struct End(Arc<Ended>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.left.fetch_sub(1, SeqCst);
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }
}

/// The main thread.
struct Main<'w> {
    worker: &'w Worker,
    runner: &'w Arc<dyn Runner>,
    swept: Instant,
    stopping: Option<(StopReason, Option<Instant>)>,
    /// For what children have sent: this thread has to be there for the supervisor.
    closer: Closer<Own>,
    connections: Closer<Arc<Connection>>,
}

impl Main<'_> {
    fn run(&mut self, ended: &Ended) -> StopReason {
        loop {
            if let Some((reason, deadline)) = self.stopping
                && (ended.left() == 0 || deadline.is_some_and(|at| Instant::now() >= at))
            {
                return reason;
            }
            self.wait(ended);
            for signal in signals::take() {
                self.on_signal(signal);
            }
            self.read_control();
            self.worker.handle.flush();
            self.tick();
        }
    }

    fn wait(&self, ended: &Ended) {
        let control = self.worker.handle.control();
        let mut fds = vec![ended.event.as_fd()];
        fds.extend(signals::events().ok());
        fds.extend(control.as_ref().map(|fd| fd.as_fd()));
        let mut longest = TICK;
        if let Some((_, Some(deadline))) = self.stopping {
            longest = longest.min(deadline.saturating_duration_since(Instant::now()));
        }
        if wait_for(&fds, longest).is_err() {
            thread::sleep(AGAIN);
        }
        let _ = rustix::io::read(&ended.event, &mut [0; 8]);
    }

    fn on_signal(&mut self, signal: i32) {
        let handle = &self.worker.handle;
        match signal {
            libc::SIGTERM | libc::SIGINT => match handle.retiring() {
                // Asked for a second time: do not wait for a replacement.
                Some(Retire::ShutdownSignal) => {
                    self.stop(StopReason::Retired(Retire::ShutdownSignal), self.limit());
                }
                _ => handle.retire(Retire::ShutdownSignal),
            },
            libc::SIGUSR1 => handle.retire(Retire::GracefulSignal),
            libc::SIGXCPU => handle.retire(Retire::CpuTime),
            _ => self.runner.signal(signal),
        }
    }

    /// Takes all messages there are.
    fn read_control(&mut self) {
        let Some(control) = self.worker.handle.control() else { return };
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            match receive(control.as_fd(), &mut buffer, false) {
                Ok(Received { length, fds, strays, .. }) if length > 0 => {
                    let refused = match ToWorker::decode(&buffer[..length]) {
                        Ok(message) => self.on_message(&message, fds),
                        Err(error) => {
                            self.complain("a message of the supervisor", &error);
                            fds
                        }
                    };
                    self.closer.close(refused.into_iter().chain(strays).map(Own::new));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => {
                    self.lose();
                    return;
                }
            }
        }
    }

    /// Does what the supervisor says; returns descriptors that are not wanted.
    fn on_message(&mut self, message: &ToWorker, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        match message {
            ToWorker::Start => fds,
            ToWorker::Connection { domain } => {
                let worker = self.worker;
                match worker.domains.get(usize::from(*domain)) {
                    Some(domain) if fds.len() == 1 && self.stopping.is_none() => {
                        self.connect(domain, fds)
                    }
                    _ => fds,
                }
            }
            ToWorker::Quit { reason, limit_ms } => {
                let limit = (*limit_ms > 0).then(|| Duration::from_millis((*limit_ms).into()));
                let reason = match (*reason, self.worker.handle.retiring()) {
                    (QuitReason::Retired(why), _) | (QuitReason::Replaced, Some(why)) => {
                        StopReason::Retired(why)
                    }
                    (reason, _) => StopReason::Quit(reason),
                };
                self.stop(reason, limit);
                fds
            }
            ToWorker::Adopted => {
                self.worker.handle.repeat();
                fds
            }
            ToWorker::Inquiry => {
                let Some(status) = &self.worker.status else { return fds };
                let inquiries = fds.into_iter().map(|to| Inquiry::new(to, status.clone()));
                let refused = inquiries.filter_map(|it| self.runner.inquire(it).err());
                self.closer.close(refused.map(Inquiry::into_channel));
                Vec::new()
            }
        }
    }

    fn connect(&mut self, domain: &Domain, fds: Vec<OwnedFd>) -> Vec<OwnedFd> {
        let worker = self.worker;
        let most = worker.start.connections.max(1) as usize;
        let open = || worker.domains.iter().map(|domain| domain.connections()).sum::<usize>();
        if open() >= most {
            // Make room for some at once; those that go are the ones that were idle for longest.
            let room = most - most.div_ceil(8);
            self.sweep(room / worker.domains.len());
            if open() >= most {
                // All are busy. The child sees that nobody has read its request.
                return fds;
            }
        }
        for fd in fds {
            if let Err(error) = domain.add(sys::above(fd, 1024)) {
                self.complain("a connection cannot be watched", &error);
            }
        }
        Vec::new()
    }

    /// How long an end may take that nobody else limits.
    fn limit(&self) -> Option<Duration> {
        Some(self.worker.start.shutdown).filter(|limit| !limit.is_zero())
    }

    fn complain(&self, what: &str, error: &dyn std::error::Error) {
        let text = format!("{what}: {error}");
        self.worker.handle.log(&[Record::new(ERROR, 0, text.as_bytes())]);
    }

    fn stop(&mut self, reason: StopReason, limit: Option<Duration>) {
        let deadline = limit.map(|limit| Instant::now() + limit);
        match &mut self.stopping {
            Some((_, before)) => {
                *before = match (*before, deadline) {
                    (Some(before), Some(deadline)) => Some(before.min(deadline)),
                    (before, deadline) => before.or(deadline),
                };
            }
            None => {
                self.stopping = Some((reason, deadline));
                self.worker.handle.tell(&FromWorker::Stopping);
                self.runner.stopping(reason);
                for domain in &self.worker.domains {
                    domain.stop();
                }
            }
        }
    }

    /// Nobody has the other end of the control socket.
    fn lose(&mut self) {
        self.worker.handle.drop_control();
        self.stop(StopReason::Alone, self.limit());
    }

    fn tick(&mut self) {
        if self.swept.elapsed() >= TICK {
            self.swept = Instant::now();
            self.sweep(usize::MAX);
        }
    }

    /// Closes connections that nobody uses, but for so many of each domain.
    fn sweep(&mut self, most: usize) {
        for domain in &self.worker.domains {
            let unused = domain.sweep(self.worker.start.idle, most).into_iter();
            // Nothing lies in most of them, so that no thread is needed.
            let full = unused.filter(|connection| waits(connection.as_fd()));
            self.connections.close(full);
        }
    }
}
