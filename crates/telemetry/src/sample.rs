//! The numbers of an interval.

use crate::field;
use crate::frame::{Frame, Kind};
use crate::identity::Identity;

/// Buckets of a histogram. The first one is everything below 1.25 ms; then each power of two of
/// milliseconds is cut in four, up to 65536 ms; the last one is everything from there on.
pub const BUCKETS: usize = 65;

/// Parts of a request's time, in the order of their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// From its arrival until it is passed on, or until the application is called.
    Server,
    /// Until a daemon takes it.
    Queue,
    /// Until the application is called.
    Daemon,
    /// In the application.
    Application,
    /// All of it.
    Request,
    /// Waiting for Python's lock, within.
    GilWait,
    /// Reading the body, within.
    InputRead,
    /// Writing the response, within.
    OutputWrite,
}

/// The order in which phases are written; the number of those that only daemons have.
const PHASES: usize = 8;

/// What is known of one phase. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseTimes {
    /// Per request.
    pub mean: f64,
    /// Least and most; none without requests.
    pub range: Option<(f64, f64)>,
    /// How many requests took how long.
    pub buckets: [i32; BUCKETS],
}

impl Default for PhaseTimes {
    fn default() -> PhaseTimes {
        PhaseTimes { mean: 0.0, range: None, buckets: [0; BUCKETS] }
    }
}

/// A thread that serves. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Slot {
    /// Requests it has finished.
    pub completed: i32,
    /// With requests.
    pub busy: f64,
    /// Of the processor, for requests it has finished.
    pub cpu: f64,
    /// Since the request it has began; 0 without one.
    pub elapsed: f64,
    /// The longest of the requests it has finished.
    pub longest: f64,
}

/// The numbers of an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// How long it was, in seconds.
    pub period: f64,
    /// Requests that ended.
    pub requests: u64,
    /// As a part of all threads' time.
    pub capacity: f64,
    /// Processors used by the process's own code.
    pub cpu_user: f64,
    /// Processors used by the kernel for it.
    pub cpu_system: f64,
    /// Bytes of memory.
    pub memory: u64,
    /// The most bytes of memory so far.
    pub memory_most: u64,
    /// Threads there may be.
    pub threads_maximum: u64,
    /// Threads that have served.
    pub threads_started: u64,
    /// Threads that have served in this interval.
    pub threads_active: u64,
    /// By [`Phase`]; those that say nothing are left out.
    pub phases: [Option<PhaseTimes>; PHASES],
    /// Bytes of bodies.
    pub input_bytes: u64,
    /// Reads of bodies.
    pub input_reads: u64,
    /// Bytes of responses.
    pub output_bytes: u64,
    /// Writes of responses.
    pub output_writes: u64,
    /// Responses of 1xx to 5xx.
    pub statuses: [u64; 5],
    /// One per thread.
    pub slots: Vec<Slot>,
}

/// More threads than a datagram has room for are left out.
const MOST_SLOTS: usize = 1400;

impl Sample {
    pub(crate) fn frame(&self, identity: &Identity, interval: f64, threshold: f64) -> Frame {
        let mut frame = Frame::new(Kind::Sample, identity.pid, crate::now());
        identity.write(&mut frame);
        frame.f64(field::SAMPLE_PERIOD, self.period);
        frame.f64(field::TELEMETRY_INTERVAL, interval);
        frame.f64(field::SLOW_REQUESTS_THRESHOLD, threshold);
        identity.write_switch_interval(&mut frame);
        frame.u64(field::REQUEST_COUNT, self.requests);
        frame.f64(field::REQUEST_THROUGHPUT, self.requests as f64 / self.period);
        frame.f64(field::CAPACITY_UTILIZATION, self.capacity);
        frame.f64(field::CPU_USER_UTILIZATION, self.cpu_user);
        frame.f64(field::CPU_SYSTEM_UTILIZATION, self.cpu_system);
        frame.f64(field::CPU_UTILIZATION, self.cpu_user + self.cpu_system);
        frame.u64(field::MEMORY_RSS, self.memory);
        frame.u64(field::MEMORY_MAX_RSS, self.memory_most);
        frame.u64(field::REQUEST_THREADS_MAXIMUM, self.threads_maximum);
        frame.u64(field::REQUEST_THREADS_STARTED, self.threads_started);
        frame.u64(field::REQUEST_THREADS_ACTIVE, self.threads_active);
        let phases =
            || (0..).zip(&self.phases).filter_map(|(id, times)| Some((id, times.as_ref()?)));
        for (id, times) in phases() {
            frame.f64(field::PHASE_MEAN + id, times.mean);
        }
        for (id, times) in phases() {
            if let Some((least, most)) = times.range {
                frame.f64(field::PHASE_MIN + id, least);
                frame.f64(field::PHASE_MAX + id, most);
            }
        }
        for (id, times) in phases() {
            frame.i32s(field::PHASE_BUCKETS + id, times.buckets.iter().copied());
        }
        frame.u64(field::INPUT_BYTES_TOTAL, self.input_bytes);
        frame.u64(field::INPUT_READS_TOTAL, self.input_reads);
        frame.u64(field::OUTPUT_BYTES_TOTAL, self.output_bytes);
        frame.u64(field::OUTPUT_WRITES_TOTAL, self.output_writes);
        for (id, count) in (field::STATUS_TOTAL..).zip(self.statuses) {
            frame.u64(id, count);
        }
        let slots = || self.slots.iter().take(MOST_SLOTS);
        frame.i32s(field::REQUEST_THREADS_COMPLETED, slots().map(|slot| slot.completed));
        frame.f64s(field::REQUEST_THREADS_BUSY_TIME, slots().map(|slot| slot.busy));
        frame.f64s(field::REQUEST_THREADS_CPU_TIME, slots().map(|slot| slot.cpu));
        frame.f64s(field::REQUEST_THREADS_CURRENT_ELAPSED, slots().map(|slot| slot.elapsed));
        frame.f64s(field::REQUEST_THREADS_MAX_DURATION, slots().map(|slot| slot.longest));
        frame
    }

    /// What is known of a phase.
    pub fn phase(&mut self, phase: Phase) -> &mut Option<PhaseTimes> {
        &mut self.phases[phase as usize]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decode::{Datagram, Value, decode};
    use crate::frame::MAX;

    fn read(sample: &Sample) -> Datagram {
        let bytes = sample.frame(&Identity::here(), 1.0, 0.5).number(1);
        assert!(bytes.len() <= MAX);
        decode(&bytes).unwrap()
    }

    fn times(mean: f64) -> Option<PhaseTimes> {
        let mut buckets = [0; BUCKETS];
        buckets[3] = 2;
        Some(PhaseTimes { mean, range: Some((mean / 2.0, mean * 2.0)), buckets })
    }

    #[test]
    fn of_a_daemon() {
        let mut sample = Sample { period: 2.0, requests: 8, ..Sample::default() };
        sample.phases = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0].map(times);
        sample.statuses = [1, 2, 3, 4, 5];
        sample.slots = vec![Slot { completed: 4, busy: 1.0, ..Slot::default() }; 3];
        let read = read(&sample);
        assert_eq!(read.number(21), Some(4.0));
        for id in 0..8 {
            let mean = f64::from(id) + 1.0;
            let id = id as u16;
            assert_eq!(read.number(60 + id), Some(mean));
            assert_eq!(read.number(70 + id), Some(mean / 2.0));
            assert_eq!(read.number(80 + id), Some(mean * 2.0));
            let Some(Value::I32s(buckets)) = read.get(90 + id) else { panic!("{id}") };
            assert_eq!((buckets.len(), buckets[3]), (65, 2));
        }
        let statuses: Vec<u64> = (120..125).filter_map(|id| read.count(id)).collect();
        assert_eq!(statuses, [1, 2, 3, 4, 5]);
        assert_eq!(read.get(110), Some(&Value::I32s(vec![4; 3])));
        assert_eq!(read.get(111), Some(&Value::F64s(vec![1.0; 3])));
    }

    #[test]
    fn of_an_idle_child_of_the_server() {
        let mut sample = Sample { period: 1.0, ..Sample::default() };
        sample.phases = std::array::from_fn(|_| Some(PhaseTimes::default()));
        *sample.phase(Phase::Queue) = None;
        *sample.phase(Phase::Daemon) = None;
        let read = read(&sample);
        for id in [61, 62, 70, 77, 80, 87, 91, 92] {
            assert_eq!(read.get(id), None, "{id}");
        }
        for id in [60, 63, 64, 67] {
            assert_eq!(read.number(id), Some(0.0), "{id}");
        }
        assert_eq!(read.get(90), Some(&Value::I32s(vec![0; 65])));
        assert_eq!(read.get(110), Some(&Value::I32s(Vec::new())));
    }

    /// The reference says nothing of threads beyond 128, and nobody notices.
    #[test]
    fn d05_every_thread_is_in_the_sample() {
        let sample = Sample { slots: vec![Slot::default(); 512], ..Sample::default() };
        let read = read(&sample);
        for id in 110..115 {
            let length = match read.get(id) {
                Some(Value::I32s(list)) => list.len(),
                Some(Value::F64s(list)) => list.len(),
                other => panic!("{id}: {other:?}"),
            };
            assert_eq!(length, 512, "{id}");
        }
    }

    #[test]
    fn lists_stay_equally_long() {
        let mut sample = Sample { slots: vec![Slot::default(); 9999], ..Sample::default() };
        sample.phases = std::array::from_fn(|_| times(1.0));
        let read = read(&sample);
        assert!((110..115).all(|id| read.get(id).is_some()));
    }
}
