//! One datagram: a header of 24 bytes, then fields of number, type and value, all little-endian.
//!
//! A frame never becomes larger than a reader takes: a field that does not fit is left out as a
//! whole, so what is sent is always well-formed.

use crate::field;

/// What a datagram is about. Only what the consumer knows: another number would be taken for a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Numbers of an interval.
    Sample = 2,
    /// A request that takes long, or took long.
    Slow = 4,
    /// The process is there.
    Started = 5,
    /// It has been decided that the process ends.
    Stopping = 6,
    /// It has.
    Stopped = 7,
    /// Counters of Python's garbage collector.
    GcSnapshot = 8,
    /// It has run once.
    GcEvent = 9,
}

/// Types of values.
pub(crate) mod tag {
    pub(crate) const U64: u8 = 1;
    pub(crate) const F64: u8 = 2;
    pub(crate) const I64: u8 = 3;
    pub(crate) const BYTES: u8 = 4;
    pub(crate) const I32S: u8 = 5;
    pub(crate) const F64S: u8 = 6;
}

pub(crate) const MAGIC: &[u8; 4] = b"WSGI";
pub(crate) const VERSION: u8 = 1;
pub(crate) const HEADER: usize = 24;
/// Readers take 65536 bytes.
pub(crate) const MAX: usize = 60_000;

/// A datagram in the making.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// One without fields. `stamp` is in seconds since 1970.
    pub fn new(kind: Kind, pid: u32, stamp: f64) -> Frame {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(MAGIC);
        bytes.extend([VERSION, kind as u8, 0, 0]);
        bytes.extend(pid.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(finite(stamp).to_le_bytes());
        Frame(bytes)
    }

    /// Says the how-manieth of the process's datagrams it is, from 1 on.
    pub(crate) fn number(mut self, sequence: u32) -> Vec<u8> {
        self.0[12..16].copy_from_slice(&sequence.to_le_bytes());
        self.0
    }

    /// Adds a count.
    pub fn u64(&mut self, id: u16, value: u64) {
        self.add(id, tag::U64, &value.to_le_bytes());
    }

    /// Adds a number. What is none becomes 0: a reader may not expect it.
    pub fn f64(&mut self, id: u16, value: f64) {
        self.add(id, tag::F64, &finite(value).to_le_bytes());
    }

    /// Adds a text, cut short to `most` bytes; an empty one is left out.
    pub fn text(&mut self, id: u16, value: &[u8], most: usize) {
        self.bytes(id, cut(value, most));
    }

    /// As [`Frame::text`], but what was cut short ends with `...`.
    pub fn marked_text(&mut self, id: u16, value: &[u8], most: usize) {
        if value.len() <= most {
            return self.bytes(id, value);
        }
        let mut shorter = cut(value, most.saturating_sub(3)).to_vec();
        shorter.extend_from_slice(b"...");
        self.bytes(id, &shorter);
    }

    /// Adds a list of counts.
    pub fn i32s(&mut self, id: u16, values: impl ExactSizeIterator<Item = i32>) {
        let Ok(count) = u16::try_from(values.len()) else { return };
        let mut bytes = count.to_le_bytes().to_vec();
        values.for_each(|value| bytes.extend(value.to_le_bytes()));
        self.add(id, tag::I32S, &bytes);
    }

    /// Adds a list of numbers.
    pub fn f64s(&mut self, id: u16, values: impl ExactSizeIterator<Item = f64>) {
        let Ok(count) = u16::try_from(values.len()) else { return };
        let mut bytes = count.to_le_bytes().to_vec();
        values.for_each(|value| bytes.extend(finite(value).to_le_bytes()));
        self.add(id, tag::F64S, &bytes);
    }

    fn bytes(&mut self, id: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(value.len()) else { return };
        if length == 0 {
            return;
        }
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(value);
        self.add(id, tag::BYTES, &bytes);
    }

    fn add(&mut self, id: u16, tag: u8, value: &[u8]) {
        if self.0.len() + 3 + value.len() <= MAX {
            self.0.extend(id.to_le_bytes());
            self.0.push(tag);
            self.0.extend_from_slice(value);
        }
    }

    /// Adds the interpreter something is about; without a name it is left out.
    pub(crate) fn interpreter(&mut self, name: &[u8]) {
        self.text(field::INTERPRETER_NAME, name, 127);
    }
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// The first `most` bytes, or a few less so as to cut no character of UTF-8 in two.
fn cut(value: &[u8], most: usize) -> &[u8] {
    if value.len() <= most {
        return value;
    }
    let is_inside = |end: usize| value.get(end).is_some_and(|byte| byte & 0xc0 == 0x80);
    let mut end = most;
    while end > 0 && most - end < 3 && is_inside(end) {
        end -= 1;
    }
    if is_inside(end) { &value[..most] } else { &value[..end] }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::decode::{Value, decode};

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(b"abc", 3), b"abc");
        assert_eq!(cut(b"abcd", 3), b"abc");
        assert_eq!(cut("aé".as_bytes(), 2), b"a");
        assert_eq!(cut("a€".as_bytes(), 3), b"a");
        assert_eq!(cut(&[0x80; 9], 7), [0x80; 7]);
        assert_eq!(cut(&[0x80; 9], 0), b"");
    }

    #[test]
    fn what_was_cut_is_marked() {
        let mut frame = Frame::new(Kind::Slow, 1, 2.0);
        frame.marked_text(1, b"abcdefgh", 7);
        frame.marked_text(2, b"abcdefg", 7);
        frame.marked_text(3, b"", 7);
        let bytes = frame.number(9);
        let read = decode(&bytes).unwrap();
        assert_eq!(read.sequence, 9);
        assert_eq!(
            read.fields,
            [(1, Value::Bytes(b"abcd...".to_vec())), (2, Value::Bytes(b"abcdefg".to_vec()))]
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut frame = Frame::new(Kind::Sample, 1, f64::NAN);
        frame.f64s(1, vec![1.0; 7000].into_iter());
        frame.f64s(2, vec![1.0; 7000].into_iter());
        frame.i32s(3, vec![1; 70_000].into_iter());
        frame.u64(4, 5);
        let bytes = frame.number(1);
        assert!(bytes.len() <= MAX);
        let read = decode(&bytes).unwrap();
        assert_eq!(read.stamp, 0.0);
        let ids: Vec<u16> = read.fields.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [1, 4]);
    }
}
