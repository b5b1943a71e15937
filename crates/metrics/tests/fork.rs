//! A process that an application has forked in the middle of a request ends its request, too, and does
//! not wait for locks that threads of its parent had.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use metrics::{Recorder, Request};
use scenario::patience::{Deadline, finally};

#[test]
fn a_forked_child_waits_for_no_thread_of_its_parent() {
    let _deadline = Deadline::start();
    let recorder = Recorder::new(1, false);
    recorder.start();
    let done = AtomicBool::new(false);
    let status = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    recorder.enter(1).close(&Request::default());
                }
            });
        }
        let _done = finally(|| done.store(true, SeqCst));
        (0..500).map(|_| fork(&recorder)).find(|status| *status != DONE << 8)
    });
    assert_eq!(status, None, "14 is the alarm");
}

const DONE: i32 = 7;

/// How a child ends that runs a request.
fn fork(recorder: &Recorder) -> i32 {
    let mut status = 0;
    // SAFETY: the child only does what is tested, which takes locks and no memory, and ends; it is
    // waited for.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(60);
            recorder.start();
            recorder.enter(1).close(&Request::default());
            libc::_exit(DONE);
        }
        assert!(child > 0 && libc::waitpid(child, &mut status, 0) == child);
    }
    status
}
