//! Where requests are in their applications, for somebody who looks at a page now.
//!
//! Whoever makes the page raises a number, for which a thread of each process waits that runs
//! applications itself. It writes where its requests are beside their records, and the number that
//! this answers; who asks looks for that, for a short time. A request does nothing for it.
//!
//! A slot has a counter that is odd while it is written, and says of which record it is: what is of
//! another request, or an answer to an earlier question, is not taken for this one's.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::fence;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex;

use super::{Child, Memory, RECORD, RECORDS, Record, Shape};

/// Where a request is: a turn, the turn of its record, the question, a length, text.
pub(super) const SLOT: usize = 512;
/// Where the text is.
const TEXT: usize = 16;
/// Longest text about one request.
pub const ROOM: usize = SLOT - TEXT;
/// Where the counter of questions is.
const ASKED: usize = 0;
/// Where an area has the last question that was answered.
const ANSWERED: usize = 24;

/// Which request a record was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) area: u32,
    pub(super) index: u32,
    pub(super) turn: u32,
}

impl Shape {
    fn slot(&self, key: Key) -> usize {
        assert!(key.index < self.threads);
        let slots = self.area(key.area) + RECORDS + self.threads as usize * RECORD;
        slots + key.index as usize * SLOT
    }
}

impl Memory {
    /// Asks all processes where their requests are. Returns the number of the question.
    pub fn ask(&self) -> u32 {
        let asked = self.u32(ASKED);
        let number = asked.fetch_add(1, AcqRel).wrapping_add(1);
        let _ = futex::wake(asked, futex::Flags::empty(), i32::MAX as u32);
        number
    }

    /// The number of the last question.
    pub fn questions(&self) -> u32 {
        self.u32(ASKED).load(Acquire)
    }

    /// Whether the process of a request has answered a question.
    pub fn has_answered(&self, key: Key, question: u32) -> bool {
        let answered = self.u32(self.shape.area(key.area) + ANSWERED).load(Acquire);
        is_since(answered, question)
    }

    /// What was said about a request, since that question.
    pub fn told(&self, key: Key, question: u32) -> Option<Vec<u8>> {
        let at = self.shape.slot(key);
        let turn = self.u32(at).load(Acquire);
        let of = self.u32(at + 4).load(Relaxed);
        let answers = self.u32(at + 8).load(Relaxed);
        let length = (self.u32(at + 12).load(Relaxed) as usize).min(ROOM);
        let mut text = Vec::with_capacity(SLOT);
        for word in (0..length).step_by(8) {
            text.extend_from_slice(&self.u64(at + TEXT + word).load(Relaxed).to_le_bytes());
        }
        text.truncate(length);
        fence(Acquire);
        let is_whole = turn & 1 == 0 && self.u32(at).load(Relaxed) == turn;
        (is_whole && of == key.turn && is_since(answers, question)).then_some(text)
    }
}

impl Child {
    /// Waits until somebody has asked since `before`, or for some time. Returns the number of the last
    /// question.
    pub fn next_question(&self, before: u32) -> u32 {
        let asked = self.memory.u32(ASKED);
        let longest = futex::Timespec { tv_sec: LONGEST.as_secs() as i64, tv_nsec: 0 };
        if asked.load(Acquire) == before {
            let told = futex::wait(asked, futex::Flags::empty(), before, Some(&longest));
            // A sandbox may refuse the call: then it is looked at now and then, and not in a circle.
            if told
                .is_err_and(|error| !matches!(error, Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT))
            {
                thread::sleep(Duration::from_millis(100));
            }
        }
        asked.load(Acquire)
    }

    /// The requests of a group that this process runs.
    pub fn records(&self, group: u32) -> Vec<Record> {
        let areas = self.area.into_iter();
        let records = areas.flat_map(|area| self.memory.records(area));
        records.filter(|record| record.group == group).collect()
    }

    /// Says where requests are, in answer to a question. Of those that have ended nothing is said.
    /// By one thread at a time.
    pub fn answer<'t>(&self, question: u32, places: impl Iterator<Item = (Key, &'t [u8])>) {
        let Some(area) = self.area else { return };
        for (key, text) in places {
            let is_there = self.memory.record(area, key.index).is_some_and(|it| it.key == key);
            if is_there {
                self.tell(key, question, &text[..text.len().min(ROOM)]);
            }
        }
        self.memory.u32(self.memory.shape.area(area) + ANSWERED).store(question, Release);
    }

    fn tell(&self, key: Key, question: u32, text: &[u8]) {
        let at = self.memory.shape.slot(key);
        let turn = self.memory.u32(at);
        // Odd, whatever somebody has made of it.
        let changing = turn.load(Relaxed) | 1;
        turn.swap(changing, AcqRel);
        self.memory.u32(at + 4).store(key.turn, Relaxed);
        self.memory.u32(at + 8).store(question, Relaxed);
        self.memory.u32(at + 12).store(text.len() as u32, Relaxed);
        for (index, part) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.memory.u64(at + TEXT + index * 8).store(u64::from_le_bytes(word), Relaxed);
        }
        turn.store(changing.wrapping_add(1), Release);
    }
}

/// The longest that a thread waits for a question at a time.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether a number is that of the question, or of a later one. The numbers go round.
fn is_since(number: u32, question: u32) -> bool {
    number.wrapping_sub(question) < 1 << 31
}
