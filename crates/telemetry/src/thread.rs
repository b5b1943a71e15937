//! Threads that no signal is handled on: a server's handlers may take the thread for its own.

use std::{io, thread};

/// Starts a thread that nobody joins, with all signals blocked.
///
/// # Errors
/// There are no more threads.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    without_signals(|| thread::Builder::new().name(name.to_owned()).spawn(body)).map(drop)
}

/// Runs `f` with all signals blocked, which a thread that it starts keeps: a signal for the process
/// must not be handled on it.
fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call fills the set that the second one reads, and the third one's is filled
    // by it unless it fails, which it does for a wrong first argument only.
    unsafe {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let result = f();
    // SAFETY: filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;

    use scenario::patience::PATIENCE;

    use super::*;

    fn is_blocked(signal: i32) -> bool {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: without a set the call only fills the one it is given.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            libc::sigismember(set.as_ptr(), signal) == 1
        }
    }

    #[test]
    fn signals_are_for_others() {
        let (told, wait) = channel();
        spawn("test", move || told.send(is_blocked(libc::SIGTERM)).unwrap()).unwrap();
        assert!(wait.recv_timeout(PATIENCE).unwrap());
        assert!(!is_blocked(libc::SIGTERM));
    }
}
