//! Applications that fork keep nothing of ours open.
//!
//! A forked child with a copy of a connection would hide the end of its parent from the other side.
//! So each descriptor of the transport is noted in a bitmap, and an at-fork handler closes them in
//! the child (`exec` closes them anyway). Only what is surely ours at every moment is noted: a bit is
//! set after a descriptor was made and cleared before it is closed, so a fork in between at worst
//! keeps one open, and never closes one of the application's. The handler is async-signal-safe
//! (fact L1 in SAFETY.md). Children made without the handlers, by a system call of their own, are the
//! reason why nobody relies on end-of-file alone.
//!
//! <https://man7.org/linux/man-pages/man3/pthread_atfork.3.html>

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

const WORDS: usize = 1024;

static FORKED: AtomicBool = AtomicBool::new(false);
static OURS: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

/// Installs the handler, once for the process.
pub(super) fn install() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        // SAFETY: the handler only does what is allowed after fork. It lives as long as the image,
        // which is never unloaded: an extension module of Python, or an executable.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// A descriptor that forked children do not keep.
#[derive(Debug)]
pub(super) struct Own(Option<OwnedFd>);

impl Own {
    pub(super) fn new(fd: OwnedFd) -> Own {
        if let Some((word, bit)) = place(fd.as_raw_fd()) {
            word.fetch_or(bit, SeqCst);
        }
        Own(Some(fd))
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Some(fd) => fd.as_fd(),
            None => unreachable!("it is taken only while being dropped"),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(fd) = self.0.take() {
            if let Some((word, bit)) = place(fd.as_raw_fd()) {
                word.fetch_and(!bit, SeqCst);
            }
            drop(fd);
        }
    }
}

/// Whether this is a forked child of the worker. What was ours it has not.
pub(super) fn is_forked() -> bool {
    FORKED.load(SeqCst)
}

/// Ends the process if it is a forked child of the worker: an application that forks in a request
/// and lets the child return must not answer the request twice.
pub(super) fn end_if_forked() {
    if is_forked() {
        // SAFETY: ends this process only, without running what the worker has to run at its end.
        unsafe { libc::_exit(0) }
    }
}

fn place(fd: RawFd) -> Option<(&'static AtomicU64, u64)> {
    let fd = usize::try_from(fd).ok()?;
    Some((OURS.get(fd / 64)?, 1 << (fd % 64)))
}

extern "C" fn in_child() {
    FORKED.store(true, SeqCst);
    for (index, word) in OURS.iter().enumerate() {
        let mut bits = word.swap(0, SeqCst);
        while bits != 0 {
            let fd = index * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            // SAFETY: the descriptor was ours in the parent; in this process nobody uses it, for
            // the threads that did were not copied.
            unsafe { libc::close(fd as RawFd) };
        }
    }
}
