//! The thread that Python calls its main thread, and the jobs that only it may do.
//!
//! It waits here while others serve. Between jobs all signals are blocked if the thread is ours, so
//! that a server's signal handling keeps to the server's threads; during a job the mask is the one
//! the process began with, since programs started by a job inherit it.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::attach;
use crate::error::{Error, ErrorKind};
use crate::reap;

type Job = Box<dyn FnOnce() + Send>;

/// The main thread's inbox.
pub(crate) struct Jobs {
    thread: ThreadId,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The thread is in `run`.
    waits: bool,
    reap: bool,
    leave: bool,
}

impl Jobs {
    /// The inbox of the calling thread.
    pub(crate) fn of_this_thread() -> Jobs {
        Jobs { thread: thread::current().id(), queue: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether the caller is the main thread.
    pub(crate) fn is_current(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Whether the main thread waits for jobs, or is busy with one.
    pub(crate) fn waits(&self) -> bool {
        self.lock().waits
    }

    /// Has dead thread states deleted, if the main thread is there.
    pub(crate) fn wake_to_reap(&self) {
        self.lock().reap = true;
        self.changed.notify_all();
    }

    /// Says that jobs may come: the main thread is about to `run`.
    pub(crate) fn expect(&self) {
        self.lock().waits = true;
    }

    /// Does jobs until told to leave. On the main thread, detached.
    ///
    /// `between` is told whether work begins (`true`) or waiting.
    pub(crate) fn run(&self, between: impl Fn(bool)) {
        self.expect();
        between(false);
        loop {
            let mut queue = self.lock();
            while queue.jobs.is_empty() && !queue.reap && !queue.leave {
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.leave && queue.jobs.is_empty() {
                queue.waits = false;
                queue.leave = false;
                break;
            }
            let reap = std::mem::take(&mut queue.reap);
            let job = queue.jobs.pop_front();
            drop(queue);
            between(true);
            if reap {
                reap::spawn();
            }
            if let Some(job) = job {
                job();
            }
            between(false);
        }
        between(true);
    }

    /// Makes `run` return once its jobs are done.
    pub(crate) fn leave(&self) {
        self.lock().leave = true;
        self.changed.notify_all();
    }

    /// Has the main thread run `job` and waits for it, detached and no longer than `limit`.
    ///
    /// A process that is forked in the job, and comes back from it, ends: nobody there waits for the
    /// result, and what this process goes on with is not the other one's to do as well.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        limit: Option<Duration>,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Error> {
        let job = || {
            let before = std::process::id();
            let result = catch_unwind(AssertUnwindSafe(job));
            if std::process::id() != before {
                // SAFETY: ends that process only, without running what this one has for its end.
                unsafe { libc::_exit(0) }
            }
            result.unwrap_or_else(|panic| resume_unwind(panic))
        };
        if self.is_current() {
            return Ok(job());
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        {
            let mut queue = self.lock();
            if !queue.waits {
                let text = "the thread that Python was started on does not wait for jobs";
                return Err(Error::new(ErrorKind::NoMainThread, text));
            }
            queue.jobs.push_back(Box::new(move || {
                // Nobody may be waiting any more.
                let _ = sender.send(catch_unwind(AssertUnwindSafe(job)));
            }));
        }
        self.changed.notify_all();
        let result = attach::detached(|| match limit {
            Some(limit) => receiver.recv_timeout(limit),
            None => receiver.recv().map_err(RecvTimeoutError::from),
        });
        match result {
            Ok(result) => result.map_err(|panic| resume_unwind(panic)),
            Err(RecvTimeoutError::Timeout) => {
                let text = "Python's main thread did not finish in time";
                Err(Error::new(ErrorKind::Timeout, text))
            }
            Err(RecvTimeoutError::Disconnected) => {
                let text = "Python's main thread has dropped a job";
                Err(Error::new(ErrorKind::NoMainThread, text))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the calling thread have signals only while it works.
pub(crate) struct SignalGate {
    original: libc::sigset_t,
    blocked: libc::sigset_t,
}

impl SignalGate {
    pub(crate) fn of_this_thread() -> SignalGate {
        let mut original = MaybeUninit::uninit();
        let mut blocked = MaybeUninit::uninit();
        // SAFETY: both calls fill the set they are given and cannot fail with these arguments.
        unsafe {
            libc::sigfillset(blocked.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), original.as_mut_ptr());
            SignalGate { original: original.assume_init(), blocked: blocked.assume_init() }
        }
    }

    /// Opens the gate for work, or closes it.
    pub(crate) fn set(&self, open: bool) {
        let set = if open { &self.original } else { &self.blocked };
        // SAFETY: a filled set; only this thread's mask changes.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, set, ptr::null_mut()) };
    }
}

/// What happens on a signal, to be put back later.
pub(crate) struct Disposition {
    signal: libc::c_int,
    action: libc::sigaction,
}

impl Disposition {
    pub(crate) fn of(signal: libc::c_int) -> Disposition {
        let mut action = MaybeUninit::zeroed();
        // SAFETY: writes the current action; zeros are a valid one if the signal has none.
        let action = unsafe {
            libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        Disposition { signal, action }
    }

    pub(crate) fn restore(&self) {
        // SAFETY: an action that was in force before.
        unsafe { libc::sigaction(self.signal, &self.action, ptr::null_mut()) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_forked_in_a_job_ends_with_it() {
        // SAFETY: what runs in the forked process asks for its number and ends (L1).
        let fork = || unsafe { libc::fork() };
        let pid = Jobs::of_this_thread().call(None, fork).unwrap();
        assert!(pid > 0);
        let mut status = -1;
        // SAFETY: a child of this process, and room for its status.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
    }
}
