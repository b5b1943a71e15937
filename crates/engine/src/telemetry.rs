//! What this process reports of itself: the record of its requests, those that take long, and what
//! its garbage collectors do, as [`telemetry`] wants it.
//!
//! The reporter's thread reads numbers only. What needs Python's lock is asked of another thread
//! ([`helper`]), which may hang without harm: a report is then made without it.

mod collector;
mod helper;
mod slow;

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use engine_api::Level;
use log_codes::{WSGI0132, WSGI0133};
use metrics::Interval;
use telemetry::{
    Collected, Collection, Identity, PhaseTimes, Reporter, Sample, Setup, Slot, Slow, Snapshot,
    Source, StartError, Totals,
};

use crate::log;
use crate::process::Process;
use helper::Helper;

pub(crate) use collector::Collector;
pub(crate) use collector::note_phase;
pub(crate) use slow::{Progress, Running, Tracker, track};

/// Begins to report, where that is configured and for as long as the process serves. On any thread,
/// detached.
pub(crate) fn start(process: &'static Process) {
    let settings = &process.settings.telemetry;
    let Some(target) = &settings.target else { return };
    if process.settings.is_service() {
        return;
    }
    let helper = match Helper::start(process) {
        Ok(helper) => helper,
        Err(_) => return log::coded(&process.log, &WSGI0133.message([])),
    };
    let setup = Setup {
        path: PathBuf::from(OsStr::from_bytes(target)),
        interval: Duration::try_from_secs_f64(settings.interval).unwrap_or(Duration::from_secs(1)),
        threshold: settings.slow_requests.max(0.0),
        identity: identity(process),
    };
    let shown = [b"unix:", target.as_slice()].concat();
    let interval = format!("{:.3}", setup.interval.as_secs_f64());
    match Reporter::start(setup, Numbers { process, helper }) {
        Ok(reporter) => {
            let line = format!(
                "Telemetry reporter started; target='{}', interval={interval}s.",
                String::from_utf8_lossy(&shown)
            );
            log::plain(&process.log, Level::Info, &line);
            // Nobody else starts one.
            let _ = process.reporter.set(reporter);
        }
        Err(StartError::Target(error)) => {
            let errno = error.raw_os_error().unwrap_or(0);
            log::coded_errno(&process.log, &WSGI0132.message([&shown]), errno);
        }
        Err(_) => log::coded(&process.log, &WSGI0133.message([])),
    }
}

/// Says that the process is going to end. Does not wait.
pub(crate) fn stopping(process: &Process, reason: &[u8]) {
    if let Some(reporter) = process.reporter.get() {
        let active = process.recorder.totals().map_or(0, |totals| totals.active);
        reporter.stopping(reason, active);
    }
}

/// Reports for the last time; the process ends with so many requests. However it stands with whoever
/// listens, it takes no longer than [`LAST`].
pub(crate) fn stop(process: &Process, active: u64) {
    if let Some(reporter) = process.reporter.get() {
        // With requests left, the time there was is used up.
        reporter.stop(active, if active > 0 { LAST / 2 } else { LAST });
    }
}

/// What the last report may take. With what else comes at a worker's end, it is less than the
/// supervisor waits before it kills.
const LAST: Duration = Duration::from_millis(300);
/// What a report waits for Python's lock, or what needs it.
const LOCK: Duration = Duration::from_millis(100);

fn identity(process: &Process) -> Identity {
    let settings = &process.settings;
    // SAFETY: a static C string, at any time.
    let python = unsafe { CStr::from_ptr(py::ffi::Py_GetVersion()) }.to_bytes();
    let python = python.split(|byte| *byte == b' ').next().unwrap_or_default();
    let dotted = |version: [u32; 3]| version.map(|number| number.to_string()).join(".");
    let switch_interval = process.runtime.main().attach(|py| {
        let interval = py.import(c"sys").and_then(|sys| sys.call_method(c"getswitchinterval", &[]));
        // SAFETY: attached; any object will do.
        let seconds = interval.map(|it| unsafe { py::ffi::PyFloat_AsDouble(it.as_ptr()) });
        drop(py::Error::take(py));
        seconds.unwrap_or(0.0)
    });
    Identity {
        parent_pid: settings.telemetry.parent_pid,
        mod_wsgi_version: dotted(settings.module_version).into_bytes(),
        python_version: python.to_vec(),
        apache_version: format!("Apache/{}", dotted(settings.server.version)).into_bytes(),
        mpm_name: settings.server.mpm_name.clone(),
        process_group: settings.process_group.clone(),
        switch_interval: switch_interval.unwrap_or(0.0),
        ..Identity::here()
    }
}

/// What is reported.
struct Numbers {
    process: &'static Process,
    helper: Helper,
}

impl Source for Numbers {
    fn sample(&mut self) -> Sample {
        self.process.recorder.interval().map_or_else(Sample::default, |interval| {
            let maximum = self.process.settings.threads_per_process;
            sample(&interval, maximum.max(1).into())
        })
    }

    fn slow(&mut self, report: &mut dyn FnMut(&Slow)) {
        let Some(tracker) = &self.process.slow else { return };
        tracker.ended().iter().for_each(&mut *report);
        let mut running = tracker.running();
        let stacks = self.helper.stacks(&running, LOCK).unwrap_or_default();
        for ((_, slow), stack) in running.iter_mut().zip(stacks) {
            slow.stack = stack;
        }
        running.iter().for_each(|(_, slow)| report(slow));
    }

    fn collectors(&mut self, report: &mut dyn FnMut(Collected<'_>)) {
        let groups = self.process.groups();
        let mut snapshots = self.helper.snapshots(LOCK).unwrap_or_default();
        snapshots.resize(groups.len().max(snapshots.len()), None);
        let several = groups.len() > 1;
        let each = groups.iter().zip(&snapshots).map(|(group, snapshot)| {
            let (runs, dropped) = group.collector.runs.take();
            (group, snapshot, Vec::from(runs), dropped)
        });
        if self.process.settings.telemetry.interpreter_names || !several {
            for (group, snapshot, runs, dropped) in each {
                let interpreter: &[u8] = if several { &group.name } else { b"" };
                report(Collected {
                    interpreter,
                    snapshot: snapshot.as_ref(),
                    runs: &runs,
                    dropped,
                });
            }
            return;
        }
        // A reader that is told no names takes all for one interpreter: it is told of one.
        let mut all: (Option<Snapshot>, Vec<Collection>, u64) = (None, Vec::new(), 0);
        for (_, snapshot, runs, dropped) in each {
            match (&mut all.0, snapshot) {
                (Some(sum), Some(snapshot)) => sum.add(snapshot),
                (sum, Some(snapshot)) => *sum = Some(snapshot.clone()),
                (_, None) => {}
            }
            all.1.extend(runs);
            all.2 += dropped;
        }
        let (snapshot, mut runs, dropped) = all;
        // Without one of them the sums would seem to fall.
        let snapshot = snapshot.filter(|_| snapshots.iter().all(Option::is_some));
        runs.sort_by(|one, other| one.start.total_cmp(&other.start));
        report(Collected { interpreter: b"", snapshot: snapshot.as_ref(), runs: &runs, dropped });
    }

    fn totals(&mut self) -> Totals {
        Totals { requests: self.process.recorder.totals().map_or(0, |totals| totals.requests) }
    }
}

/// An interval in the words of a report.
fn sample(interval: &Interval, maximum: u64) -> Sample {
    let cpu = interval.cpu_utilization();
    let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    let mut sample = Sample {
        period: interval.period,
        requests: interval.requests,
        capacity: interval.capacity_utilization(),
        cpu_user: cpu.user,
        cpu_system: cpu.system,
        memory: interval.memory.rss,
        memory_most: interval.memory.max_rss,
        threads_maximum: maximum,
        threads_started: interval.threads_started.into(),
        threads_active: interval.threads_active.into(),
        input_bytes: interval.input_bytes,
        input_reads: interval.input_reads,
        output_bytes: interval.output_bytes,
        output_writes: interval.output_writes,
        statuses: interval.statuses,
        ..Sample::default()
    };
    for (phase, (own, times)) in
        metrics::Phase::ALL.into_iter().zip(sample.phases.iter_mut().zip(&interval.phases))
    {
        let daemon_only = matches!(phase, metrics::Phase::Queue | metrics::Phase::Daemon);
        if daemon_only && (!interval.daemon || times.count == 0) {
            continue;
        }
        let seconds = |microseconds: u64| microseconds as f64 / 1e6;
        *own = Some(PhaseTimes {
            mean: times.mean(),
            range: times.extremes.map(|(least, most)| (seconds(least), seconds(most))),
            buckets: times.buckets.map(count),
        });
    }
    sample.slots = interval
        .threads
        .iter()
        .map(|thread| Slot {
            completed: count(thread.completed),
            busy: thread.busy,
            cpu: thread.cpu,
            elapsed: thread.current,
            longest: thread.longest,
        })
        .collect();
    sample
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use metrics::{BUCKETS, Called, Recorder, Request, Transfer};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn interval(daemon: bool, requests: usize) -> Interval {
        let recorder = Recorder::new(2, daemon);
        recorder.start();
        for _ in 0..requests {
            let transfer = daemon.then_some(Transfer { queue: 2 * MS, daemon: 3 * MS });
            let called = Called { server: MS, transfer, application: 4 * MS, ..Called::default() };
            recorder.enter(1).close(&Request { status: 200, called: Some(called) });
        }
        recorder.interval().unwrap()
    }

    #[test]
    fn phases_are_where_readers_look_for_them() {
        assert_eq!(BUCKETS, telemetry::BUCKETS);
        let sample = sample(&interval(true, 2), 2);
        let means: Vec<u32> = sample
            .phases
            .iter()
            .map(|times| (times.as_ref().unwrap().mean * 1e3).round() as u32)
            .collect();
        assert_eq!(means, [1, 2, 3, 4, 10, 0, 0, 0]);
        let times = sample.phases[telemetry::Phase::Queue as usize].as_ref().unwrap();
        assert_eq!(times.range, Some((0.002, 0.002)));
        assert_eq!(times.buckets[4], 2);
        assert_eq!((sample.requests, sample.statuses), (2, [0, 2, 0, 0, 0]));
        assert_eq!(sample.slots.len(), 2);
        assert_eq!(sample.slots[0].completed, 2);
    }

    #[test]
    fn what_there_is_not_is_not_said() {
        let is_said = |sample: &Sample| sample.phases.each_ref().map(Option::is_some);
        let idle = sample(&interval(true, 0), 2);
        assert_eq!(is_said(&idle), [true, false, false, true, true, true, true, true]);
        assert!(idle.phases.iter().flatten().all(|times| times.range.is_none()));
        let embedded = sample(&interval(false, 1), 2);
        assert_eq!(is_said(&embedded), [true, false, false, true, true, true, true, true]);
    }
}
