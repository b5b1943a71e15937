//! Threads in processes whose signals are somebody else's business.

use std::mem::MaybeUninit;
use std::{io, thread};

/// Starts a thread that nobody joins and that no signal is handled on.
///
/// # Errors
/// There is no thread to be had.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn_on(thread::Builder::new().name(name.to_owned()), body)
}

/// As [`spawn`], with what the thread is to be.
pub(crate) fn spawn_on(
    builder: thread::Builder,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let before = block_signals();
    let spawned = builder.spawn(body);
    // SAFETY: the mask that this thread had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    spawned.map(drop)
}

/// Blocks all signals for this thread, and so for those that it makes; what they were before.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::zeroed();
    // SAFETY: both calls fill the set they are given and cannot fail with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}
