//! Clocks, as microseconds.
//!
//! Read through the C library, as the standard library does: what finds the kernel's fast way by
//! itself finds none under valgrind, with which instructions per request are counted.

use std::mem::MaybeUninit;

/// Time since boot without sleep: the same in every process of the machine, never set back.
pub(crate) fn monotonic_us() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds as u64 * 1_000_000 + nanoseconds as u64 / 1000
}

/// Time since 1970.
pub(crate) fn wall_us() -> i64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_REALTIME);
    seconds * 1_000_000 + nanoseconds / 1000
}

fn read(clock: libc::clockid_t) -> (i64, i64) {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: both clocks exist everywhere, so it fills `now`; zeroes would be a time, too.
    let now = unsafe {
        libc::clock_gettime(clock, now.as_mut_ptr());
        now.assume_init()
    };
    (now.tv_sec, now.tv_nsec)
}
