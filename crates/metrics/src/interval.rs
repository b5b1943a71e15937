//! What a recorder has, added up for whoever asks.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::histogram::BUCKETS;
use crate::recorder::{Phase, Recorder, Sums, Times, lock};
use crate::usage::{Cpu, Memory};

/// Since the interval before, or since recording began. Times are in seconds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Interval {
    /// When it began, in seconds since 1970.
    pub start: f64,
    /// When it ended.
    pub stop: f64,
    /// How long it was, by a clock that nobody sets; never 0.
    pub period: f64,
    /// This is a process of daemon mode.
    pub daemon: bool,
    /// Processor time of the process.
    pub cpu: Cpu,
    /// At the end.
    pub memory: Memory,
    /// Requests that ended.
    pub requests: u64,
    /// The same by class of status, `1xx` first; together they are `requests`.
    pub statuses: [u64; 5],
    /// Time that threads were in requests, those that have not ended included.
    pub busy: f64,
    /// Threads that have ever served.
    pub threads_started: u32,
    /// Threads that have served in this interval, or serve.
    pub threads_active: u32,
    /// As many as there may be, by number.
    pub threads: Vec<ThreadTimes>,
    /// Reads of bodies of requests.
    pub input_reads: u64,
    /// Bytes of these.
    pub input_bytes: u64,
    /// Blocks of bodies of responses.
    pub output_writes: u64,
    /// Bytes of these.
    pub output_bytes: u64,
    /// How often a thread of a request had to get Python's lock.
    pub gil_waits: u64,
    /// By [`Phase`].
    pub phases: [PhaseTimes; 8],
}

/// Times of a phase. They are those of requests whose application was called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PhaseTimes {
    /// Requests.
    pub count: u64,
    /// All together, in seconds.
    pub sum: f64,
    /// The shortest and the longest, in microseconds; `None` if there is none.
    pub extremes: Option<(u64, u64)>,
    /// How many there are of each length, see [`crate::bucket`].
    pub buckets: [u64; BUCKETS],
}

impl PhaseTimes {
    /// The mean in seconds; 0 if there is none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

/// One thread in an interval. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ThreadTimes {
    /// Requests that ended.
    pub completed: u64,
    /// In requests.
    pub busy: f64,
    /// Processor time of requests, those that have not ended included.
    pub cpu: f64,
    /// Age of the request it is in; 0 if it is in none.
    pub current: f64,
    /// The longest request that ended.
    pub longest: f64,
}

impl Interval {
    /// The times of a phase.
    pub fn phase(&self, phase: Phase) -> &PhaseTimes {
        &self.phases[phase as usize]
    }

    /// Requests per second.
    pub fn throughput(&self) -> f64 {
        self.requests as f64 / self.period
    }

    /// Which part of what the threads could have done they did, from 0 to 1.
    pub fn capacity_utilization(&self) -> f64 {
        (self.busy / (self.period * self.threads.len().max(1) as f64)).min(1.0)
    }

    /// Processors used, in programs and in the kernel.
    pub fn cpu_utilization(&self) -> Cpu {
        Cpu { user: self.cpu.user / self.period, system: self.cpu.system / self.period }
    }
}

/// Since the process began.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Totals {
    /// When it began, in seconds since 1970.
    pub start: f64,
    /// Now.
    pub now: f64,
    /// How long that is, in seconds, by a clock that nobody sets.
    pub running: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Requests that have not.
    pub active: u64,
    /// Time that threads were in requests since recording began, in seconds.
    pub busy: f64,
    /// Threads that have ever served.
    pub threads_started: u32,
    /// Those of them that have a number within the limit.
    pub threads: Vec<ThreadTotal>,
    /// Processor time.
    pub cpu: Cpu,
    /// Now.
    pub memory: Memory,
}

/// One thread since the process began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadTotal {
    /// Its number.
    pub thread: u32,
    /// Applications it has called.
    pub calls: u64,
}

impl Recorder {
    /// Ends the interval and begins the next. `None` if nothing is recorded, or the process is a copy
    /// of the one that records.
    pub fn interval(&self) -> Option<Interval> {
        if !self.is_on() || !self.is_ours() {
            return None;
        }
        // For as long as it takes: intervals that two threads ask for do not mix.
        let mut baseline = lock(&self.baseline);
        let next = self.baseline_now(baseline.gaps);
        let start = std::mem::replace(&mut *baseline, next);
        let period = (baseline.at.saturating_sub(start.at) as f64 / 1e9).max(SHORTEST);
        let cpu = baseline.cpu.since(start.cpu);
        let (from, to) = (since_1970(start.wall), since_1970(baseline.wall));

        let mut all = Sums::default();
        let mut threads = Vec::with_capacity(self.threads());
        let mut used = Vec::with_capacity(self.threads());
        let mut active = 0;
        for (index, slot) in self.slots().iter().enumerate() {
            let (sums, current, is_in_request, own) = {
                let mut slot = lock(slot);
                // Not the time of the baseline: a request may have begun since.
                let now = self.now();
                slot.count_until(now);
                let is_in_request = slot.active > 0;
                let current = if is_in_request { now.saturating_sub(slot.begun) } else { 0 };
                let sums = std::mem::take(&mut slot.sums);
                (sums, current, is_in_request, slot.processor.take(!is_in_request))
            };
            active += u32::from(is_in_request || sums.completed > 0);
            if index < self.threads() {
                threads.push(ThreadTimes {
                    completed: sums.completed,
                    busy: seconds(sums.busy),
                    cpu: 0.0,
                    current: seconds(current),
                    longest: seconds(sums.longest),
                });
            }
            baseline.gaps.add(own.gaps);
            used.push(own);
            all.merge(&sums);
        }
        for (thread, used) in threads.iter_mut().zip(used) {
            // An estimate, see there.
            thread.cpu = seconds(used.in_requests(baseline.gaps)).min(thread.busy);
        }
        let called = all.phases[Phase::Request as usize].count;
        for phase in Phase::PARTS {
            all.phases[phase as usize].fill(called);
        }
        Some(Interval {
            start: from,
            stop: to,
            period,
            daemon: self.daemon,
            cpu,
            memory: Memory::of_process(),
            requests: all.completed,
            statuses: all.statuses,
            busy: seconds(all.busy),
            threads_started: self.threads_started(),
            threads_active: active,
            threads,
            input_reads: all.input_reads,
            input_bytes: all.input_bytes,
            output_writes: all.output_writes,
            output_bytes: all.output_bytes,
            gil_waits: all.gil_waits,
            phases: all.phases.map(|times| times.shown()),
        })
    }

    /// What there is since the process began; takes nothing from intervals. `None` if the process is
    /// a copy of the one that records.
    pub fn totals(&self) -> Option<Totals> {
        if !self.is_ours() {
            return None;
        }
        let mut busy = 0;
        for slot in self.slots() {
            let mut slot = lock(slot);
            slot.count_until(self.now());
            busy += slot.busy_total;
        }
        // Ends first: a request that ends in between is one that is active, and not less than none.
        let sum = |count: fn(&crate::recorder::Counts) -> u64| self.counts.iter().map(count).sum();
        let requests: u64 = sum(|counts| counts.ended.load(Relaxed));
        let begun: u64 = sum(|counts| counts.begun.load(Relaxed));
        let threads = self.counts.iter().take(self.threads());
        Some(Totals {
            start: since_1970(self.born),
            now: since_1970(SystemTime::now()),
            running: seconds(self.now()),
            requests,
            active: begun.saturating_sub(requests),
            busy: seconds(busy),
            threads_started: self.threads_started(),
            threads: threads
                .filter(|counts| counts.begun.load(Relaxed) > 0)
                .map(|counts| ThreadTotal {
                    thread: counts.thread.load(Relaxed),
                    calls: counts.called.load(Relaxed),
                })
                .collect(),
            cpu: Cpu::of_process(),
            memory: Memory::of_process(),
        })
    }

    fn threads_started(&self) -> u32 {
        let threads = self.counts.iter().take(self.threads());
        let listed = threads.filter(|counts| counts.begun.load(Relaxed) > 0).count();
        // Threads get their numbers in order, when they serve for the first time.
        let others = self.highest.load(Relaxed).saturating_sub(self.threads() as u32);
        u32::try_from(listed).unwrap_or(u32::MAX).saturating_add(others)
    }
}

/// The shortest an interval is said to be: rates are divided by it.
const SHORTEST: f64 = 1e-6;

impl Sums {
    fn merge(&mut self, other: &Sums) {
        self.completed += other.completed;
        self.busy += other.busy;
        self.gil_waits += other.gil_waits;
        self.input_reads += other.input_reads;
        self.input_bytes += other.input_bytes;
        self.output_writes += other.output_writes;
        self.output_bytes += other.output_bytes;
        for (to, from) in self.statuses.iter_mut().zip(other.statuses) {
            *to += from;
        }
        for (to, from) in self.phases.iter_mut().zip(&other.phases) {
            to.count += from.count;
            to.sum = to.sum.saturating_add(from.sum);
            to.min = to.min.min(from.min);
            to.max = to.max.max(from.max);
            for (to, from) in to.buckets.iter_mut().zip(from.buckets) {
                *to = to.saturating_add(from);
            }
        }
    }
}

impl Times {
    fn shown(self) -> PhaseTimes {
        PhaseTimes {
            count: self.count,
            sum: seconds(self.sum),
            extremes: (self.count > 0).then_some((self.min / 1000, self.max / 1000)),
            buckets: self.buckets.map(u64::from),
        }
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread::{self, sleep};
    use std::time::Duration;

    use super::*;
    use crate::recorder::{Called, Request, Transfer};

    const MS: Duration = Duration::from_millis(1);

    fn answered(status: u16) -> Request {
        let called = Called {
            server: MS,
            transfer: Some(Transfer { queue: 2 * MS, daemon: 3 * MS }),
            application: 4 * MS,
            gil_wait: MS,
            gil_waits: 5,
            input_read: Duration::ZERO,
            output_write: 2 * MS,
            input_reads: 1,
            input_bytes: 100,
            output_writes: 2,
            output_bytes: 200,
        };
        Request { status, called: Some(called) }
    }

    #[test]
    fn nothing_is_recorded_until_somebody_asks() {
        let recorder = Recorder::new(2, true);
        recorder.enter(1).close(&answered(200));
        assert!(recorder.interval().is_none());
        let totals = recorder.totals().unwrap();
        assert_eq!((totals.requests, totals.active, totals.busy), (1, 0, 0.0));
        recorder.start();
        let interval = recorder.interval().unwrap();
        assert_eq!(interval.requests, 0);
        assert!(interval.phases.iter().all(|times| times.count == 0 && times.extremes.is_none()));
    }

    #[test]
    fn an_interval_holds_each_request_once() {
        let recorder = Recorder::new(2, true);
        recorder.start();
        for status in [200, 302, 404, 500, 0, 999, 101] {
            recorder.enter(1).close(&answered(status));
        }
        drop(recorder.enter(2));
        recorder.enter(2).cancel();
        let interval = recorder.interval().unwrap();
        assert_eq!(interval.requests, 8);
        assert_eq!(interval.statuses, [1, 1, 1, 1, 4]);
        let totals = recorder.totals().unwrap();
        assert_eq!((totals.requests, totals.active), (8, 0));
        assert_eq!((interval.input_bytes, interval.output_writes), (700, 14));
        assert_eq!(interval.gil_waits, 35);
        let times = |phase| {
            let times = interval.phase(phase);
            ((times.mean() * 1e3).round() as u32, times.extremes.unwrap())
        };
        assert_eq!(times(Phase::Server), (1, (1000, 1000)));
        assert_eq!(times(Phase::Queue), (2, (2000, 2000)));
        assert_eq!(times(Phase::Daemon), (3, (3000, 3000)));
        assert_eq!(times(Phase::Application), (4, (4000, 4000)));
        assert_eq!(times(Phase::Request), (10, (10_000, 10_000)));
        assert_eq!(times(Phase::OutputWrite), (2, (2000, 2000)));
        // The one that was not called is in no phase.
        for phase in Phase::ALL {
            assert_eq!(interval.phase(phase).count, 7);
            assert_eq!(interval.phase(phase).buckets.iter().sum::<u64>(), 7);
        }
        assert_eq!(times(Phase::InputRead), (0, (0, 0)));
        assert_eq!(interval.phase(Phase::Queue).buckets[4], 7);
        let completed: Vec<_> = interval.threads.iter().map(|it| it.completed).collect();
        assert_eq!(completed, [7, 1]);
        assert_eq!(recorder.interval().unwrap().requests, 0);
    }

    #[test]
    fn time_counts_while_a_request_runs() {
        let recorder = Recorder::new(2, false);
        recorder.start();
        let running = recorder.enter(2);
        sleep(20 * MS);
        let first = recorder.interval().unwrap();
        assert!(first.threads[1].current >= 0.02 && first.threads[1].busy >= 0.02);
        assert_eq!((first.threads[0], first.threads_active), (ThreadTimes::default(), 1));
        assert!(first.busy <= first.period * 1.5 && first.capacity_utilization() <= 1.0);
        sleep(20 * MS);
        running.close(&answered(200));
        let second = recorder.interval().unwrap();
        assert!(second.threads[1].busy >= 0.02 && second.threads[1].longest >= 0.04);
        assert_eq!(second.threads[1].current, 0.0);
        assert!(recorder.totals().unwrap().busy >= 0.04);
        assert_eq!(recorder.interval().unwrap().busy, 0.0);
    }

    #[test]
    fn d03_an_interval_begins_where_the_one_before_ended() {
        let recorder = Recorder::new(1, false);
        recorder.start();
        sleep(5 * MS);
        let first = recorder.interval().unwrap();
        sleep(5 * MS);
        let second = recorder.interval().unwrap();
        assert!(first.start < first.stop && first.stop < second.stop);
        assert_eq!(second.start, first.stop);
        assert!((second.stop - second.start - second.period).abs() < 0.004);
    }

    #[test]
    fn threads_beyond_the_limit_count_and_are_not_listed() {
        let recorder = Recorder::new(2, false);
        recorder.start();
        for thread in [1, 2, 3, 4, 4] {
            recorder.enter(thread).close(&answered(200));
        }
        let interval = recorder.interval().unwrap();
        assert_eq!((interval.requests, interval.threads.len()), (5, 2));
        assert_eq!((interval.threads_started, interval.threads_active), (4, 3));
        assert_eq!(recorder.totals().unwrap().threads.len(), 2);
    }

    #[test]
    fn a_request_inside_another_is_one_more() {
        let recorder = Recorder::new(1, false);
        recorder.start();
        let outer = recorder.enter(0);
        recorder.enter(0).close(&answered(200));
        assert_eq!(recorder.totals().unwrap().active, 1);
        outer.close(&answered(200));
        let interval = recorder.interval().unwrap();
        assert_eq!((interval.requests, interval.threads_started), (2, 1));
        assert_eq!(recorder.totals().unwrap().threads[0].thread, 0);
    }

    #[test]
    fn a_request_that_began_before_recording_is_only_counted() {
        let recorder = Recorder::new(1, false);
        let early = recorder.enter(1);
        recorder.start();
        assert!(!early.is_recorded());
        early.close(&answered(200));
        assert_eq!(recorder.interval().unwrap().requests, 0);
        assert_eq!(recorder.totals().unwrap().requests, 1);
    }

    #[test]
    fn threads_record_while_intervals_are_taken() {
        let recorder = Recorder::new(4, true);
        recorder.start();
        let mut seen = 0;
        thread::scope(|scope| {
            let serving: Vec<_> = (1..=6)
                .map(|thread| {
                    let recorder = &recorder;
                    scope.spawn(move || {
                        for _ in 0..500 {
                            let bracket = recorder.enter(thread);
                            bracket.call();
                            bracket.close(&answered(200));
                        }
                    })
                })
                .collect();
            while serving.iter().any(|thread| !thread.is_finished()) {
                let interval = recorder.interval().unwrap();
                assert_eq!(interval.statuses[1], interval.requests);
                assert_eq!(interval.phase(Phase::Request).count, interval.requests);
                seen += interval.requests;
            }
        });
        assert_eq!(seen + recorder.interval().unwrap().requests, 3000);
        let totals = recorder.totals().unwrap();
        assert_eq!((totals.requests, totals.active), (3000, 0));
        assert!(totals.threads.iter().all(|it| it.calls == 500));
    }
}
