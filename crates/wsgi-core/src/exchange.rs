//! One request as the Python objects made for it see it: the host while it lasts, the state of the
//! response, the body, the log.
//!
//! Applications may keep these objects for ever and use them from any thread, so they share this
//! structure, and the host, which is only borrowed, is taken out of it at the end.
//!
//! Locks are taken in the order input, host, anything else. The first two may be held by a thread
//! that waits for a client: nobody waits for these while attached (they try, and detach if that
//! fails). Nobody runs Python code while holding any of them.

use std::cell::Cell;
use std::mem;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use py::Token;

use crate::body::{Body, Source};
use crate::host::{Fault, FaultKind, Flags, Host, Level, Record, Style};
use crate::lines::{Lines, Unfinished};
use crate::reply::{NotStarted, Reply, Step};
use crate::request::{Observer, Summary, Variables};
use crate::state::State;

/// What the objects of one request share.
pub(crate) struct Exchange {
    pub(crate) state: Arc<State>,
    /// Present while `serve` runs.
    host: Mutex<Option<HostPointer>>,
    pub(crate) reply: Mutex<Reply>,
    pub(crate) input: Mutex<Input>,
    log: Mutex<Log>,
    /// Entries that came while the host was busy in another thread.
    backlog: Mutex<Vec<Entry>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) content_length: Option<u64>,
    measure: bool,
    counters: Counters,
}

/// The host, with its lifetime forgotten.
struct HostPointer(NonNull<dyn Host>);

// SAFETY: `Host` is `Send`, and this is an exclusive reference to one.
unsafe impl Send for HostPointer {}

/// The request's body and what is known about it.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) body: Body,
    /// A read failed; nothing more can be had.
    pub(crate) failed: bool,
    /// The status the host wants for that.
    pub(crate) status: Option<u16>,
}

/// The text of the request that is not yet in the log.
#[derive(Default)]
struct Log {
    /// One per thread that left a line unfinished, by `thread_key`.
    unfinished: Vec<(usize, Unfinished)>,
    closed: bool,
}

/// A record that owns its text.
struct Entry {
    level: Level,
    style: Style,
    code: u16,
    text: Vec<u8>,
    source: Option<(Vec<u8>, u32)>,
}

impl Entry {
    fn of(record: &Record<'_>) -> Entry {
        Entry {
            level: record.level,
            style: record.style,
            code: record.code,
            text: record.text.to_vec(),
            source: record.source.map(|(file, line)| (file.to_vec(), line)),
        }
    }

    fn record(&self) -> Record<'_> {
        Record {
            level: self.level,
            style: self.style,
            code: self.code,
            text: &self.text,
            source: self.source.as_ref().map(|(file, line)| (&file[..], *line)),
        }
    }
}

/// Sums for [`Summary`]; times in nanoseconds.
#[derive(Default)]
struct Counters {
    input_reads: AtomicU64,
    input_length: AtomicU64,
    input_time: AtomicU64,
    output_time: AtomicU64,
}

/// Why data did not go out.
pub(crate) enum SendError {
    /// `start_response` was not called.
    NotStarted,
    /// The request is over.
    Expired,
    /// The host cannot.
    Fault(Fault),
}

impl From<NotStarted> for SendError {
    fn from(_: NotStarted) -> SendError {
        SendError::NotStarted
    }
}

impl Exchange {
    /// Begins with `host`, until [`Exchange::expire`].
    ///
    /// # Safety
    /// `host` is not used, and stays valid, until `expire` has returned.
    pub(crate) unsafe fn new(
        state: &Arc<State>,
        request: &crate::Request<'_, impl Variables>,
        host: &mut dyn Host,
    ) -> Exchange {
        // SAFETY: only the lifetime changes; `expire` makes up for it, by contract.
        let host = unsafe {
            mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host + 'static>>(NonNull::from(
                host,
            ))
        };
        Exchange {
            host: Mutex::new(Some(HostPointer(host))),
            reply: Mutex::new(Reply::new(request.head)),
            observer: request.observer.clone(),
            content_length: request.content_length,
            measure: request.measure,
            ..Exchange::over(state)
        }
    }

    /// One that is over, and never was a request.
    #[inline]
    pub(crate) fn over(state: &Arc<State>) -> Exchange {
        Exchange {
            state: Arc::clone(state),
            host: Mutex::default(),
            reply: Mutex::default(),
            input: Mutex::default(),
            log: Mutex::default(),
            backlog: Mutex::default(),
            observer: None,
            content_length: None,
            measure: false,
            counters: Counters::default(),
        }
    }

    /// Ends the use of the host; waits for another thread's use of it to end.
    pub(crate) fn expire(&self, py: Token<'_>) {
        *acquire(py, &self.host) = None;
    }

    /// Whether the request is over. Another thread may end it right afterwards.
    pub(crate) fn is_expired(&self) -> bool {
        match self.host.try_lock() {
            Ok(host) => host.is_none(),
            Err(TryLockError::Poisoned(host)) => host.into_inner().is_none(),
            // In use, so it is there, or was a moment ago.
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Uses the host, which nobody else does meanwhile; `None` once the request is over.
    ///
    /// `body` must not run Python code.
    #[inline]
    pub(crate) fn with_host<R>(
        &self,
        py: Token<'_>,
        body: impl FnOnce(&mut dyn Host) -> R,
    ) -> Option<R> {
        let mut slot = acquire(py, &self.host);
        // SAFETY: present, so `expire` has not returned (contract of `new`); the lock makes this
        // the only use.
        let host = unsafe { slot.as_mut()?.0.as_mut() };
        let result = body(host);
        drop(slot);
        self.drain(py);
        Some(result)
    }

    /// Sends what `decide` wants of `block`.
    ///
    /// The decision is made under the host's lock, so that the head goes first and blocks go in
    /// order whichever threads send them.
    pub(crate) fn send(
        &self,
        py: Token<'_>,
        block: &[u8],
        decide: impl FnOnce(&mut Reply) -> Result<Option<Step>, NotStarted>,
    ) -> Result<Sent, SendError> {
        let started = self.measure.then(Instant::now);
        let result = self.with_host(py, |host| {
            let step = {
                let mut reply = lock(&self.reply);
                if let Some(fault) = reply.fault() {
                    return Err(SendError::Fault(fault.clone()));
                }
                decide(&mut reply)?
            };
            let Some(step) = step else {
                return Ok(Sent { stop: true });
            };
            let data = block.get(..step.take).unwrap_or(block);
            let chunks = if data.is_empty() { &[][..] } else { &[data][..] };
            if step.head.is_none() && chunks.is_empty() && step.flags == Flags::NONE {
                return Ok(Sent { stop: step.stop });
            }
            let head = step.head.as_ref();
            let result = host
                .try_respond(head, chunks, step.flags)
                .unwrap_or_else(|| py.detach(|| host.respond(head, chunks, step.flags)));
            match result {
                Ok(()) => Ok(Sent { stop: step.stop }),
                Err(fault) => {
                    lock(&self.reply).broke(Some(fault.clone()));
                    Err(SendError::Fault(fault))
                }
            }
        });
        if let Some(started) = started {
            self.counters.output_time.fetch_add(nanoseconds(started), Ordering::Relaxed);
        }
        result.unwrap_or(Err(SendError::Expired))
    }

    /// Sends a head and part of a file.
    #[cfg(unix)]
    pub(crate) fn send_file(
        &self,
        py: Token<'_>,
        step: &Step,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        length: u64,
    ) -> Result<(), SendError> {
        let started = self.measure.then(Instant::now);
        let result = self.with_host(py, |host| {
            let head = step.head.as_ref();
            py.detach(|| {
                if length == 0 {
                    return host.respond(head, &[], step.flags).map(|()| 0);
                }
                host.send_file(head, file, offset, length, step.flags)
            })
        });
        if let Some(started) = started {
            self.counters.output_time.fetch_add(nanoseconds(started), Ordering::Relaxed);
        }
        match result {
            None => Err(SendError::Expired),
            Some(Ok(sent)) => {
                if sent < length {
                    lock(&self.reply).broke(None);
                }
                Ok(())
            }
            Some(Err(fault)) => {
                lock(&self.reply).broke(Some(fault.clone()));
                Err(SendError::Fault(fault))
            }
        }
    }

    /// Logs a text as messages of the application.
    pub(crate) fn log_lines(&self, py: Token<'_>, lines: &Lines) {
        let entry = |text| Entry::of(&Record::new(Level::Error, 0, text));
        if !lines.is_empty() {
            lock(&self.backlog).extend(lines.iter().map(entry));
            self.drain(py);
        }
    }

    /// Logs records; after the end of the request they are lost.
    pub(crate) fn log(&self, py: Token<'_>, records: &[Record<'_>]) {
        lock(&self.backlog).extend(records.iter().map(Entry::of));
        self.drain(py);
    }

    /// Gives what waits in the backlog to the host, unless that is in use: then its user does it.
    fn drain(&self, py: Token<'_>) {
        while !lock(&self.backlog).is_empty() {
            let mut slot = match self.host.try_lock() {
                Ok(slot) => slot,
                Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let entries = mem::take(&mut *lock(&self.backlog));
            let Some(host) = slot.as_mut() else {
                return;
            };
            // SAFETY: as in `with_host`.
            let host = unsafe { host.0.as_mut() };
            py.detach(|| {
                let records: Vec<Record<'_>> = entries.iter().map(Entry::record).collect();
                host.log(&records);
            });
        }
    }

    /// Takes text for the log; `false` if the application closed it.
    pub(crate) fn write_log(&self, py: Token<'_>, text: &[u8]) -> bool {
        let mut lines = Lines::default();
        {
            let mut log = lock(&self.log);
            if log.closed {
                return false;
            }
            let key = thread_key();
            let at = log.unfinished.iter().position(|(thread, _)| *thread == key);
            let at = at.unwrap_or_else(|| {
                log.unfinished.push((key, Unfinished::default()));
                log.unfinished.len() - 1
            });
            if let Some((_, unfinished)) = log.unfinished.get_mut(at) {
                unfinished.write(text, &mut lines);
                if unfinished.is_empty() {
                    log.unfinished.swap_remove(at);
                }
            }
        }
        self.log_lines(py, &lines);
        true
    }

    /// Makes an entry of what this thread left unfinished.
    pub(crate) fn flush_log(&self, py: Token<'_>) {
        let mut lines = Lines::default();
        {
            let mut log = lock(&self.log);
            let key = thread_key();
            if let Some(at) = log.unfinished.iter().position(|(thread, _)| *thread == key) {
                log.unfinished.swap_remove(at).1.finish(&mut lines);
            }
        }
        self.log_lines(py, &lines);
    }

    /// Makes entries of what all threads left unfinished, and takes no more.
    pub(crate) fn finish_log(&self, py: Token<'_>) {
        let mut lines = Lines::default();
        {
            let mut log = lock(&self.log);
            log.closed = true;
            for (_, mut unfinished) in log.unfinished.drain(..) {
                unfinished.finish(&mut lines);
            }
        }
        self.log_lines(py, &lines);
    }

    /// Whether there is text that is not in the log.
    pub(crate) fn has_unfinished_log(&self) -> bool {
        !lock(&self.log).unfinished.is_empty()
    }

    /// Numbers so far, but for what the thread has waited.
    #[inline]
    pub(crate) fn summary(&self) -> Summary {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = |counter: &AtomicU64| count(counter) as f64 / 1e9;
        let reply = lock(&self.reply);
        let counters = &self.counters;
        Summary {
            status: if reply.status() == 0 { 500 } else { reply.status() },
            input_reads: count(&counters.input_reads),
            input_length: count(&counters.input_length),
            input_time: seconds(&counters.input_time),
            output_writes: reply.blocks,
            output_length: reply.produced,
            output_time: seconds(&counters.output_time),
            ..Summary::default()
        }
    }
}

/// What [`Exchange::send`] did.
pub(crate) struct Sent {
    /// Nothing further is wanted from the application.
    pub(crate) stop: bool,
}

/// The host as the source of a body.
pub(crate) struct HostSource<'a, 'py> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) py: Token<'py>,
}

impl Source for HostSource<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let exchange = self.exchange;
        let counters = &exchange.counters;
        let started = exchange.measure.then(Instant::now);
        let result = exchange.with_host(self.py, |host| {
            if let Some(result) = host.try_read(buffer) {
                return result;
            }
            self.py.detach(|| host.read(buffer))
        });
        // The methods that read check for the end of the request first; this is one that came in
        // between.
        let result = result
            .unwrap_or_else(|| Err(Fault::new(FaultKind::Other, "the request has been completed")));
        if let Some(started) = started {
            counters.input_time.fetch_add(nanoseconds(started), Ordering::Relaxed);
        }
        counters.input_reads.fetch_add(1, Ordering::Relaxed);
        if let Ok(count) = result {
            counters.input_length.fetch_add(count as u64, Ordering::Relaxed);
        }
        result
    }
}

/// Locks what is never held for long, or across anything that could wait.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under a lock has ended its request already; the data is plain.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks what may be held by a thread that waits for a client: detached, if it has to wait.
pub(crate) fn acquire<'a, T: Send>(py: Token<'_>, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(guard)) => guard.into_inner(),
        Err(TryLockError::WouldBlock) => py.detach(|| lock(mutex)),
    }
}

thread_local! {
    /// The request this thread serves, innermost if they nest; NULL for none. No destructor.
    static CURRENT: Cell<*const Exchange> = const { Cell::new(ptr::null()) };
}

/// A number that tells this thread from others that are alive.
fn thread_key() -> usize {
    CURRENT.with(|current| ptr::from_ref(current) as usize)
}

/// Makes an exchange the thread's current one until drop.
pub(crate) struct Current<'a> {
    outer: *const Exchange,
    /// Alive for as long as the thread-local pointer to it is set.
    _exchange: &'a Arc<Exchange>,
}

impl<'a> Current<'a> {
    #[inline]
    pub(crate) fn enter(exchange: &'a Arc<Exchange>) -> Current<'a> {
        let outer = CURRENT.with(|current| current.replace(Arc::as_ptr(exchange)));
        Current { outer, _exchange: exchange }
    }
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.outer));
    }
}

/// The exchange that this thread serves in `py`'s interpreter, if it serves one.
pub(crate) fn current(py: Token<'_>) -> Option<Arc<Exchange>> {
    let current = CURRENT.with(Cell::get);
    if current.is_null() {
        return None;
    }
    // SAFETY: set by a `Current` of this thread that is alive, since drop resets it; that borrows
    // the `Arc` it got the pointer from, so the count is at least one and may be raised.
    let exchange = unsafe {
        Arc::increment_strong_count(current);
        Arc::from_raw(current)
    };
    (exchange.state.interpreter() == py.interpreter()).then_some(exchange)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
