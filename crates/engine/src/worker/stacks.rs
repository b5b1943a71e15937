//! Where threads are, for the log, and interrupting one.
//!
//! A stack is asked for through Python's lock. If that cannot be had, `faulthandler` writes all of
//! them from a signal handler, which needs no lock and may be a little wrong.
//! See <https://docs.python.org/3/library/faulthandler.html> and
//! <https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc>.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use engine_api::{Frame, Level, Record};
use py::{Bound, ffi};

use crate::frames::{self, Innermost, Names};
use crate::group::Group;
use crate::log;
use crate::places;
use crate::process::Process;

/// The signal whose handler writes stacks; nobody else's, so far as one can know.
fn signal() -> i32 {
    libc::SIGRTMAX() - 3
}

/// Has `faulthandler` wait for the signal. On the main thread, detached.
pub(super) fn prepare(process: &'static Process) {
    // Without it, stacks are had through the lock only.
    let _ = process.runtime.main().attach(|py| {
        let register = || {
            let handler = py.import(c"faulthandler")?;
            handler.call_method(c"register", &[&py.int(signal().into())?, &py.int(2)?])
        };
        let _: py::Result<'_, Bound<'_>> = register();
    });
}

/// Logs the stacks of all threads, by whatever way there is: of those that serve, where interpreters
/// have locks of their own.
pub(super) fn dump(process: &'static Process, limit: Duration) {
    let (done, wait) = channel();
    let ask = move || {
        let locks = places::by_lock(process.groups());
        let is_one = locks.len() == 1;
        for (_, groups) in locks {
            // Whoever has the only lock sees the threads of all.
            for group in groups.iter().take(if is_one { 1 } else { groups.len() }) {
                let lines = group.interpreter.attach(|py| {
                    let innermost = match is_one {
                        true => frames::of_all_threads(py),
                        false => Ok(frames::of_known_threads(py, group.interpreter)),
                    };
                    innermost.and_then(lines_of).unwrap_or_default()
                });
                log_lines(process, &lines.unwrap_or_default());
            }
        }
        let _ = done.send(());
    };
    let asked = thread::Builder::new().name("wsgi-stacks".to_owned()).spawn(ask);
    if asked.is_ok() && wait.recv_timeout(limit).is_ok() {
        return;
    }
    let line = "Python's lock cannot be had; stacks as seen by faulthandler:";
    log::plain(&process.log, Level::Warning, line);
    // SAFETY: the signal is caught, by `prepare`; if that failed its default action would end the
    // process, so it is not sent then.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(signal(), std::ptr::null(), &mut action) == 0;
        if known && action.sa_sigaction != libc::SIG_DFL {
            libc::raise(signal());
        }
    }
}

fn log_lines(process: &Process, lines: &[String]) {
    let records = lines.iter().map(|line| Record::new(Level::Warning, 0, line.as_bytes()));
    process.log.log(&records.collect::<Vec<_>>());
}

/// The stacks of threads, innermost frame first.
fn lines_of(innermost: Innermost<'_>) -> py::Result<'_, Vec<String>> {
    let mut lines = Vec::new();
    for (thread, frame) in innermost {
        lines.extend(stack(frame, &thread.to_string())?);
    }
    Ok(lines)
}

/// The lines of one stack.
fn stack<'py>(innermost: Bound<'py>, thread: &str) -> py::Result<'py, Vec<String>> {
    let frames = frames::from(innermost, usize::MAX, Names::Plain)?;
    let last = frames.len().saturating_sub(1);
    let line = |(index, frame): (usize, Frame)| {
        let begin = if index == 0 {
            format!("Thread {thread} executing file")
        } else {
            "called from file".to_owned()
        };
        let Frame { file, line, function } = frame;
        let end = if index == last { "." } else { "," };
        format!("{begin} \"{file}\", line {line}, in {function}{end}")
    };
    Ok(frames.into_iter().enumerate().map(line).collect())
}

/// Raises `RequestTimeout` in a thread that is still in its request, after logging where it is.
/// Whether it was raised.
pub(super) fn interrupt(
    group: &'static Group,
    ident: u64,
    number: u64,
    head: &str,
    is_same: impl Fn() -> bool + Send,
) -> bool {
    let log = &group.process.log;
    let raised = group.interpreter.attach(|py| {
        let frames = || match frames::innermost(py, group.interpreter, ident)? {
            Some(frame) => stack(frame, &number.to_string()),
            None => Ok(Vec::new()),
        };
        let lines: py::Result<'_, Vec<String>> = frames();
        let lines = lines.unwrap_or_default();
        let Ok(objects) = group.objects() else { return false };
        // With the lock held the thread cannot come to its request's end.
        if !is_same() {
            return false;
        }
        let class = objects.core.request_timeout(py);
        // SAFETY: attached to the interpreter of the thread; a class.
        let count = unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, class.as_ptr()) };
        py.detach(|| {
            log::plain(log, Level::Info, head);
            lines.iter().for_each(|line| log::plain(log, Level::Info, line));
        });
        count > 0
    });
    raised.unwrap_or(false)
}

/// Takes back an exception that came too late for the request it was meant for. On that thread.
pub(super) fn forget_interrupt(process: &'static Process, ident: u64) {
    for group in process.groups() {
        // SAFETY: attached; no exception is what takes one back.
        let _ = group.interpreter.attach(|_| unsafe {
            ffi::PyThreadState_SetAsyncExc(ident as _, std::ptr::null_mut())
        });
    }
}
