//! What the application's side tells the supervisor, from any thread and without waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::fork::{Own, is_forked};
use crate::control::{FromWorker, MAX_KEY, MAX_LOADS, Retire};
use crate::sys::{pair, read_blob, receive, send};
use crate::wire::Record;

/// Most messages that wait for a supervisor which does not read.
const WAITING: usize = 512;

/// Most bytes of an answer about the server: more than the largest server has to say.
const MOST: usize = 64 << 20;

/// The worker's side of its control socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    control: ArcSwapOption<Own>,
    /// Messages that could not be sent yet.
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// What has been loaded, for a supervisor that takes over.
    loaded: Mutex<Vec<Vec<u8>>>,
    retiring: Mutex<Option<Retire>>,
    served: AtomicU64,
}

impl Handle {
    pub(super) fn new(control: OwnedFd) -> Handle {
        let inner = Inner::default();
        inner.control.store(Some(Arc::new(Own::new(control))));
        Handle { inner: Arc::new(inner) }
    }

    /// Something was loaded: later workers load it before they are ready. What it is called is
    /// between the application's side of this worker and of those; at most 8 KiB.
    pub fn loaded(&self, key: &[u8]) {
        if key.len() > MAX_KEY || is_forked() {
            return;
        }
        let mut loaded = lock(&self.inner.loaded);
        if loaded.len() >= MAX_LOADS || loaded.iter().any(|other| other == key) {
            return;
        }
        loaded.push(key.to_vec());
        drop(loaded);
        self.tell(&FromWorker::Loaded(key));
    }

    /// Something that this worker was told to load could not be. Say it before
    /// [`Worker::serve`](super::Worker::serve).
    pub fn failed(&self, key: &[u8], text: &[u8]) {
        self.tell(&FromWorker::Failed { key, text });
    }

    /// What has been loaded under this name is out of date; `version` tells this change from others.
    /// The request that found it should be given back with [`Stream::later`](super::Stream::later).
    pub fn reload(&self, key: &[u8], version: u64) {
        self.tell(&FromWorker::Reload { key, version });
    }

    /// Asks to be replaced. The worker goes on serving until it is told to end.
    pub fn retire(&self, reason: Retire) {
        if is_forked() {
            return;
        }
        let mut retiring = lock(&self.inner.retiring);
        if retiring.is_none() {
            *retiring = Some(reason);
            drop(retiring);
            self.tell(&FromWorker::Retire(reason));
        }
    }

    /// Why it asked to be replaced, if it did.
    pub fn retiring(&self) -> Option<Retire> {
        *lock(&self.inner.retiring)
    }

    /// Logs what belongs to no request. It is lost only if nobody has read the log for long.
    ///
    /// A process that the application has forked has no control socket, and a lock may be held by a
    /// thread that is not there. What it says goes where what it prints goes, which it still has.
    pub fn log(&self, records: &[Record<'_>]) {
        if is_forked() {
            return records.iter().for_each(print);
        }
        for record in records {
            self.tell(&FromWorker::Log(*record));
        }
    }

    /// Asks what the server knows of its processes; one of these answers.
    ///
    /// # Errors
    /// The group may not ask, or nobody has answered within `limit`.
    pub fn scoreboard(&self, limit: Duration) -> io::Result<Vec<u8>> {
        if is_forked() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let (near, far) = pair()?;
        set_socket_timeout(&near, Timeout::Recv, Some(limit))?;
        {
            let control = self.inner.control.load();
            let Some(control) = &*control else { return Err(io::ErrorKind::NotConnected.into()) };
            send(control.as_fd(), &FromWorker::Scoreboard.encode(), &[far.as_fd()], false)?;
        }
        // The channel ends when nobody has the other end any more.
        drop(far);
        let received = receive(near.as_fd(), &mut [0; 8], true)?;
        let Some(blob) = received.fds.first() else { return Err(io::ErrorKind::NotFound.into()) };
        read_blob(blob.as_fd(), MOST)
    }

    /// Requests that were answered so far.
    pub fn served(&self) -> u64 {
        self.inner.served.load(SeqCst)
    }

    /// Counts an answered request, and returns how many there were.
    pub(super) fn count(&self) -> u64 {
        self.inner.served.fetch_add(1, SeqCst) + 1
    }

    pub(super) fn ready(&self) {
        self.tell(&FromWorker::Ready);
    }

    pub(super) fn tell(&self, message: &FromWorker<'_>) {
        if is_forked() {
            return;
        }
        let mut waiting = lock(&self.inner.waiting);
        if waiting.len() < WAITING {
            waiting.push_back(message.encode());
        }
        self.flush_locked(&mut waiting);
    }

    /// Sends what could not be sent before.
    pub(super) fn flush(&self) {
        self.flush_locked(&mut lock(&self.inner.waiting));
    }

    fn flush_locked(&self, waiting: &mut VecDeque<Vec<u8>>) {
        let control = self.inner.control.load();
        let Some(control) = &*control else { return };
        while let Some(message) = waiting.front() {
            match send(control.as_fd(), message, &[], false) {
                Ok(()) => {
                    waiting.pop_front();
                }
                // No supervisor, or a slow one: it, or the next one, gets it later.
                Err(_) => break,
            }
        }
    }

    /// The control socket of this moment.
    pub(super) fn control(&self) -> Option<Arc<Own>> {
        self.inner.control.load_full()
    }

    pub(super) fn drop_control(&self) {
        self.inner.control.store(None);
    }

    /// Tells a new supervisor what the last one knew.
    pub(super) fn repeat(&self) {
        let loaded = lock(&self.inner.loaded).clone();
        for key in &loaded {
            self.tell(&FromWorker::Loaded(key));
        }
        if let Some(reason) = self.retiring() {
            self.tell(&FromWorker::Retire(reason));
        }
        self.flush();
    }
}

/// Writes a record to the process' standard error, as a line.
fn print(record: &Record<'_>) {
    let mut line = match record.code {
        0 => Vec::new(),
        code => format!("WSGI{code:04}: ").into_bytes(),
    };
    line.extend_from_slice(record.text);
    line.push(b'\n');
    // If the application has closed it there is nowhere left to say so.
    let _ = rustix::io::write(io::stderr(), &line);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
