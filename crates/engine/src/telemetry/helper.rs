//! The thread that asks what needs Python's lock: counters of collectors, stacks of slow requests.
//!
//! It hangs while an application holds the lock, and is not waited for then. What it finds out too
//! late is thrown away.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use engine_api::{Frame, Level, Record};
use log_codes::WSGI1006;
use telemetry::{Slow, Snapshot};

use super::collector;
use super::slow::Progress;
use crate::frames::{self, Names};
use crate::log;
use crate::process::Process;

/// Whoever wants to know something.
pub(super) struct Helper(SyncSender<Errand>);

/// A request, and what is known of it.
type Asked = (Arc<Progress>, Slow);

enum Errand {
    /// One for each group, in their order.
    Snapshots(SyncSender<Vec<Option<Snapshot>>>),
    /// One for each request.
    Stacks(Vec<Asked>, SyncSender<Vec<Vec<u8>>>),
}

impl Helper {
    pub(super) fn start(process: &'static Process) -> io::Result<Helper> {
        let (sender, errands) = sync_channel(2);
        telemetry::spawn("wsgi-tele-help", move || run(process, &errands))?;
        Ok(Helper(sender))
    }

    /// The counters of all interpreters, if they can be had in time.
    pub(super) fn snapshots(&self, limit: Duration) -> Option<Vec<Option<Snapshot>>> {
        self.ask(limit, Errand::Snapshots)
    }

    /// Where requests are, if that can be found out in time. Those that were not asked for before are
    /// logged as well, then or later.
    pub(super) fn stacks(&self, requests: &[Asked], limit: Duration) -> Option<Vec<Vec<u8>>> {
        if requests.is_empty() {
            return None;
        }
        let requests = requests.to_vec();
        self.ask(limit, |answer| Errand::Stacks(requests, answer))
    }

    fn ask<R>(&self, limit: Duration, errand: impl FnOnce(SyncSender<R>) -> Errand) -> Option<R> {
        let (answer, answered) = sync_channel(1);
        self.0.try_send(errand(answer)).ok()?;
        answered.recv_timeout(limit).ok()
    }
}

fn run(process: &'static Process, errands: &Receiver<Errand>) {
    for errand in errands {
        match errand {
            Errand::Snapshots(answer) => {
                let groups = process.groups().into_iter();
                let ask =
                    |group: &crate::group::Group| group.interpreter.attach(collector::snapshot);
                let _ = answer.try_send(groups.map(|group| ask(group).ok().flatten()).collect());
            }
            Errand::Stacks(requests, answer) => {
                let stacks: Vec<_> = requests.iter().map(|(progress, _)| stack(progress)).collect();
                let _ = answer.try_send(stacks.clone());
                for ((progress, slow), stack) in requests.iter().zip(&stacks) {
                    if !stack.is_empty() && progress.is_news() {
                        tell(process, slow, stack);
                    }
                }
            }
        }
    }
}

/// Logs where a request is.
fn tell(process: &Process, slow: &Slow, stack: &[u8]) {
    let details = &slow.details;
    let path = [details.script_name.as_slice(), &details.path_info].concat();
    let seconds = format!("{:.3}", slow.duration);
    log::coded(&process.log, &WSGI1006.message([&details.method, &path, &seconds]));
    let lines = stack.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records: Vec<_> = lines.map(|line| Record::new(Level::Warning, 0, line)).collect();
    process.log.log(&records);
}

/// Where a request is: a line per frame, the innermost last. Empty if it is in no Python code.
fn stack(progress: &Progress) -> Vec<u8> {
    let interpreter = progress.group.interpreter;
    let found = interpreter.attach(|py| {
        let frames = || match frames::innermost(py, interpreter, progress.ident)? {
            Some(frame) => frames::from(frame, MOST_FRAMES, Names::Plain),
            None => Ok(Vec::new()),
        };
        let frames: py::Result<'_, _> = frames();
        // The thread may be in its next request.
        if progress.is_running() { frames.unwrap_or_default() } else { Vec::new() }
    });
    let line = |Frame { file, line, function }: Frame| {
        let [file, function] = [file, function].map(|name| name.replace('\n', " "));
        format!("File \"{file}\", line {line}, in {function}\n")
    };
    found.unwrap_or_default().into_iter().rev().map(line).collect::<String>().into_bytes()
}

/// As many frames of a stack are told.
const MOST_FRAMES: usize = 100;
