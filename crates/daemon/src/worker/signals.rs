//! Signals, as something the worker's main thread can wait for.
//!
//! Handlers and not a blocked mask with a signalfd: processes that the application starts inherit the
//! mask, and would not be stopped by SIGTERM. The handler notes the signal and writes to a
//! descriptor. In a forked child of the application that still has the handlers, such a signal ends
//! that child, as its default action would have.
//!
//! <https://man7.org/linux/man-pages/man7/signal-safety.7.html>

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

use rustix::event::{EventfdFlags, eventfd};

use super::fork::Own;

static PENDING: AtomicU64 = AtomicU64::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);
static EVENTS: OnceLock<Own> = OnceLock::new();

/// What becomes readable when a signal has come; lives as long as the process.
pub(super) fn events() -> io::Result<BorrowedFd<'static>> {
    if let Some(fd) = EVENTS.get() {
        return Ok(fd.as_fd());
    }
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let fd = EVENTS.get_or_init(|| Own::new(crate::sys::above(fd, 1024)));
    // SAFETY: getpid always succeeds.
    OWNER.store(unsafe { libc::getpid() }, SeqCst);
    WAKE.store(fd.as_fd().as_raw_fd(), SeqCst);
    Ok(fd.as_fd())
}

/// Makes these signals arrive at [`take`], instead of whatever they did.
pub(super) fn catch(signals: &[i32]) -> io::Result<()> {
    events()?;
    for signal in signals.iter().filter(|signal| (1..64).contains(*signal)) {
        // SAFETY: all zeroes is a sigaction with an empty mask; the handler is async-signal-safe
        // and lives as long as the image, which is never unloaded.
        let result = unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            // The application's system calls go on.
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(*signal, &action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The signals that have come since the last time.
pub(super) fn take() -> impl Iterator<Item = i32> {
    if let Some(fd) = EVENTS.get() {
        let _ = rustix::io::read(fd, &mut [0; 8]);
    }
    let pending = PENDING.swap(0, SeqCst);
    (1..64).filter(move |signal| pending & 1 << signal != 0)
}

extern "C" fn on_signal(signal: libc::c_int) {
    // SAFETY: all of these are async-signal-safe; errno is restored, for the code that was
    // interrupted may be about to look at it.
    unsafe {
        let errno = *libc::__errno_location();
        if libc::getpid() != OWNER.load(SeqCst) {
            libc::_exit(255);
        }
        PENDING.fetch_or(1 << signal, SeqCst);
        let one = 1u64;
        libc::write(WAKE.load(SeqCst), (&raw const one).cast(), 8);
        *libc::__errno_location() = errno;
    }
}
