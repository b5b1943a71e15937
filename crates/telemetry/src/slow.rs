//! A request that takes longer than it should, while it runs and when it has ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::field;
use crate::frame::{Frame, Kind};

/// What is known of a request when it begins. Texts are as the server has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// `mod_wsgi.thread_id`
    pub thread_id: u64,
    /// The server's own process that has accepted it.
    pub server_pid: u64,
    /// The server's name for it.
    pub log_id: Vec<u8>,
    /// `GET`
    pub method: Vec<u8>,
    /// The client used TLS.
    pub https: bool,
    /// The host it asked for.
    pub hostname: Vec<u8>,
    /// The part of the path that leads to the application.
    pub script_name: Vec<u8>,
    /// The rest of it.
    pub path_info: Vec<u8>,
    /// `HTTP/1.1`
    pub protocol: Vec<u8>,
    /// The client's address.
    pub peer_ip: Vec<u8>,
    /// What the client says it is; empty unless that is asked for.
    pub user_agent: Vec<u8>,
    /// When it arrived, in seconds since 1970.
    pub start: f64,
    /// In the server, in seconds.
    pub server_time: f64,
    /// Waiting for a daemon.
    pub queue_time: f64,
    /// In a daemon, before the application was called.
    pub daemon_time: f64,
    /// Requests in the process, with this one.
    pub active: u64,
}

/// Whether it still runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowState {
    /// It does.
    #[default]
    Active = 0,
    /// It has ended.
    Completed = 1,
}

/// A request that takes longer than it should. Times are in seconds; what is not known yet is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slow {
    /// Whether it still runs.
    pub state: SlowState,
    /// What is known of it from its beginning.
    pub details: Arc<Details>,
    /// Since it arrived.
    pub duration: f64,
    /// In the application.
    pub application_time: f64,
    /// Waiting for Python's lock.
    pub gil_wait_time: f64,
    /// How often.
    pub gil_wait_count: u64,
    /// Bytes of the body.
    pub input_bytes: u64,
    /// Reads of it.
    pub input_reads: u64,
    /// Time these took.
    pub input_time: f64,
    /// Bytes of the response.
    pub output_bytes: u64,
    /// Writes of it.
    pub output_writes: u64,
    /// Time these took.
    pub output_time: f64,
    /// Of the response.
    pub status: u64,
    /// Time of the processor in own code.
    pub cpu_user: f64,
    /// Time of the processor in the kernel.
    pub cpu_system: f64,
    /// Requests in the process when it ended, with this one.
    pub active_at_completion: u64,
    /// Where its Python code is, a line per frame, the innermost last.
    pub stack: Vec<u8>,
}

/// A stack is cut to so many bytes.
const MOST_STACK: usize = 8192;

impl Slow {
    pub(crate) fn frame(&self, pid: u32, stamp: f64) -> Frame {
        let mut frame = Frame::new(Kind::Slow, pid, stamp);
        let own = &*self.details;
        frame.u64(field::SLOW_RECORD_STATE, self.state as u64);
        frame.f64(field::SLOW_START_STAMP, own.start);
        frame.f64(field::SLOW_DURATION, self.duration);
        frame.u64(field::SLOW_THREAD_ID, own.thread_id);
        frame.u64(field::SLOW_SERVER_PID, own.server_pid);
        frame.u64(field::SLOW_INPUT_BYTES, self.input_bytes);
        frame.u64(field::SLOW_INPUT_READS, self.input_reads);
        frame.u64(field::SLOW_OUTPUT_BYTES, self.output_bytes);
        frame.u64(field::SLOW_OUTPUT_WRITES, self.output_writes);
        frame.f64(field::SLOW_CPU_USER_TIME, self.cpu_user);
        frame.f64(field::SLOW_CPU_SYSTEM_TIME, self.cpu_system);
        frame.f64(field::SLOW_SERVER_TIME, own.server_time);
        frame.f64(field::SLOW_QUEUE_TIME, own.queue_time);
        frame.f64(field::SLOW_DAEMON_TIME, own.daemon_time);
        frame.f64(field::SLOW_APPLICATION_TIME, self.application_time);
        frame.f64(field::SLOW_GIL_WAIT_TIME, self.gil_wait_time);
        frame.u64(field::SLOW_GIL_WAIT_COUNT, self.gil_wait_count);
        frame.f64(field::SLOW_INPUT_READ_TIME, self.input_time);
        frame.f64(field::SLOW_OUTPUT_WRITE_TIME, self.output_time);
        frame.u64(field::SLOW_ACTIVE_AT_START, own.active);
        frame.u64(field::SLOW_ACTIVE_AT_COMPLETION, self.active_at_completion);
        frame.u64(field::SLOW_STATUS, self.status);
        frame.marked_text(field::SLOW_LOG_ID, &own.log_id, 63);
        frame.marked_text(field::SLOW_METHOD, &own.method, 15);
        let scheme: &[u8] = if own.https { b"https" } else { b"http" };
        frame.text(field::SLOW_SCHEME, scheme, 15);
        frame.marked_text(field::SLOW_HOSTNAME, &own.hostname, 255);
        frame.marked_text(field::SLOW_SCRIPT_NAME, &own.script_name, 255);
        frame.marked_text(field::SLOW_PATH_INFO, &own.path_info, 511);
        frame.marked_text(field::SLOW_PROTOCOL, &own.protocol, 15);
        frame.marked_text(field::SLOW_PEER_IP, &own.peer_ip, 45);
        frame.marked_text(field::SLOW_USER_AGENT, &own.user_agent, 511);
        frame.text(field::STACK, innermost(&self.stack), MOST_STACK);
        frame
    }
}

/// The last lines of a stack that is too long: the outermost frames are those of the server.
fn innermost(stack: &[u8]) -> &[u8] {
    let Some(first) = stack.len().checked_sub(MOST_STACK) else { return stack };
    let rest = &stack[first..];
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => &rest[end + 1..],
        None => rest,
    }
}

/// Requests that have ended, until they are sent; the oldest make room.
#[derive(Debug)]
pub struct SlowRing {
    most: usize,
    records: Mutex<VecDeque<Slow>>,
}

impl SlowRing {
    /// One with room for so many.
    pub fn new(most: usize) -> SlowRing {
        SlowRing { most: most.max(1), records: Mutex::default() }
    }

    /// Keeps a record.
    pub fn push(&self, record: Slow) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == self.most {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// Takes out all records, the oldest first.
    pub fn take(&self) -> VecDeque<Slow> {
        std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many requests that took longer than `threshold` can end in an `interval` (both in seconds),
/// five times over, within limits.
pub fn ring_size(threads: u32, interval: f64, threshold: f64) -> usize {
    // A division by 0 is infinite, and becomes the largest number.
    let rounds = (interval / threshold).ceil() as usize;
    rounds.saturating_mul(threads as usize).saturating_mul(5).clamp(32, 4096)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decode::decode;

    #[test]
    fn every_number_is_always_there() {
        let read = decode(&Slow::default().frame(1, 2.0).number(1)).unwrap();
        assert_eq!((read.kind, read.stamp), (4, 2.0));
        let mut ids: Vec<u16> = read.fields.iter().map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let numbers = [
            200, 201, 202, 203, 205, 220, 221, 222, 223, 224, 225, 230, 231, 232, 233, 234, 235,
            240, 250, 251, 260, 261,
        ];
        // Of the texts only the scheme is known without a request.
        let wanted: Vec<u16> =
            numbers.iter().copied().filter(|id| *id < 210).chain([211]).collect();
        let wanted: Vec<u16> =
            wanted.into_iter().chain(numbers.iter().copied().filter(|id| *id > 210)).collect();
        assert_eq!(ids, wanted);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = vec![b'x'; 2000];
        let details = Details {
            log_id: long.clone(),
            method: long.clone(),
            hostname: long.clone(),
            script_name: long.clone(),
            path_info: long.clone(),
            protocol: long.clone(),
            peer_ip: long.clone(),
            user_agent: long,
            ..Details::default()
        };
        let slow =
            Slow { details: Arc::new(details), stack: b"line\n".repeat(4000), ..Slow::default() };
        let read = decode(&slow.frame(1, 2.0).number(1)).unwrap();
        for (id, most) in [
            (204, 63),
            (210, 15),
            (212, 255),
            (213, 255),
            (214, 511),
            (215, 15),
            (216, 45),
            (217, 511),
        ] {
            let text = read.text(id).unwrap();
            assert!(text.len() == most && text.ends_with(b"..."), "{id}");
        }
        let stack = read.text(field::STACK).unwrap();
        assert!(stack.len() <= MOST_STACK && stack.starts_with(b"line\n"));
    }

    #[test]
    fn the_oldest_make_room() {
        let ring = SlowRing::new(2);
        for status in 1..=3 {
            ring.push(Slow { status, ..Slow::default() });
        }
        let kept: Vec<u64> = ring.take().iter().map(|slow| slow.status).collect();
        assert_eq!(kept, [2, 3]);
        assert!(ring.take().is_empty());
    }

    #[test]
    fn sizes() {
        assert_eq!(ring_size(3, 1.0, 1.0), 32);
        assert_eq!(ring_size(20, 1.0, 0.3), 400);
        assert_eq!(ring_size(25, 60.0, 0.001), 4096);
        assert_eq!(ring_size(1, 1.0, 0.0), 4096);
    }
}
