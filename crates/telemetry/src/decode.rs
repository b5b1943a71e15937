//! Reading a datagram, for tests and tools. Total: any bytes give a value or an error.
//!
//! Stricter than the consumer, which takes a text that ends early.

use std::fmt;

use crate::frame::{HEADER, MAGIC, tag};

/// A datagram, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Datagram {
    /// Of the format.
    pub version: u8,
    /// See [`crate::Kind`].
    pub kind: u8,
    /// Who sent it.
    pub pid: u32,
    /// Counts the datagrams of a process.
    pub sequence: u32,
    /// In seconds since 1970.
    pub stamp: f64,
    /// In order.
    pub fields: Vec<(u16, Value)>,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names are those of the types they hold")]
pub enum Value {
    U64(u64),
    F64(f64),
    I64(i64),
    Bytes(Vec<u8>),
    I32s(Vec<i32>),
    F64s(Vec<f64>),
}

/// It is no datagram of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

impl Datagram {
    /// The value of a field; the last one if there are several.
    pub fn get(&self, id: u16) -> Option<&Value> {
        self.fields.iter().rev().find(|(own, _)| *own == id).map(|(_, value)| value)
    }

    /// A count.
    pub fn count(&self, id: u16) -> Option<u64> {
        match self.get(id) {
            Some(Value::U64(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number.
    pub fn number(&self, id: u16) -> Option<f64> {
        match self.get(id) {
            Some(Value::F64(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, id: u16) -> Option<&[u8]> {
        match self.get(id) {
            Some(Value::Bytes(value)) => Some(value),
            _ => None,
        }
    }
}

/// Reads a datagram.
///
/// # Errors
/// It is cut off, or not one of these.
pub fn decode(bytes: &[u8]) -> Result<Datagram, Malformed> {
    let mut rest = Rest(bytes);
    if bytes.len() < HEADER {
        return Err(Malformed("too short for a header"));
    }
    if rest.take::<4>()? != *MAGIC {
        return Err(Malformed("another magic number"));
    }
    let [version, kind, _, _] = rest.take()?;
    let pid = u32::from_le_bytes(rest.take()?);
    let sequence = u32::from_le_bytes(rest.take()?);
    let stamp = f64::from_le_bytes(rest.take()?);
    let mut fields = Vec::new();
    while !rest.0.is_empty() {
        let id = u16::from_le_bytes(rest.take()?);
        let [tag] = rest.take()?;
        let value = match tag {
            tag::U64 => Value::U64(u64::from_le_bytes(rest.take()?)),
            tag::F64 => Value::F64(f64::from_le_bytes(rest.take()?)),
            tag::I64 => Value::I64(i64::from_le_bytes(rest.take()?)),
            tag::BYTES => Value::Bytes(rest.list::<1>()?.map(|[byte]| byte).collect()),
            tag::I32S => Value::I32s(rest.list()?.map(i32::from_le_bytes).collect()),
            tag::F64S => Value::F64s(rest.list()?.map(f64::from_le_bytes).collect()),
            _ => return Err(Malformed("an unknown type")),
        };
        fields.push((id, value));
    }
    Ok(Datagram { version, kind, pid, sequence, stamp, fields })
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed("cut off"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// A count, and as many items of `N` bytes.
    fn list<const N: usize>(
        &mut self,
    ) -> Result<impl Iterator<Item = [u8; N]> + use<'a, N>, Malformed> {
        let count = usize::from(u16::from_le_bytes(self.take()?));
        let (items, rest) = self.0.split_at_checked(count * N).ok_or(Malformed("cut off"))?;
        self.0 = rest;
        Ok(items.chunks_exact(N).filter_map(|item| item.first_chunk().copied()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Frame, Kind};

    fn example() -> Vec<u8> {
        let mut frame = Frame::new(Kind::Sample, 77, 1.5);
        frame.u64(20, u64::MAX);
        frame.f64(21, -0.5);
        frame.text(5, b"host\xff", 127);
        frame.i32s(110, [1, -2].into_iter());
        frame.f64s(111, [0.25].into_iter());
        frame.number(3)
    }

    #[test]
    fn what_is_written_can_be_read() {
        let read = decode(&example()).unwrap();
        assert_eq!((read.version, read.kind, read.pid, read.sequence), (1, 2, 77, 3));
        assert_eq!(read.stamp, 1.5);
        assert_eq!(read.count(20), Some(u64::MAX));
        assert_eq!(read.number(21), Some(-0.5));
        assert_eq!(read.text(5), Some(&b"host\xff"[..]));
        assert_eq!(read.get(110), Some(&Value::I32s(vec![1, -2])));
        assert_eq!(read.get(111), Some(&Value::F64s(vec![0.25])));
        assert_eq!(read.get(112), None);
    }

    #[test]
    fn cut_off_is_an_error_except_between_fields() {
        let bytes = example();
        let whole = (0..=bytes.len()).filter(|end| decode(&bytes[..*end]).is_ok()).count();
        // Nothing, or 1 to 5 fields.
        assert_eq!(whole, 6);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_change_is_survived(at in 0usize..100, to in any::<u8>()) {
            let mut bytes = example();
            let at = at % bytes.len();
            bytes[at] = to;
            let _ = decode(&bytes);
        }
    }
}
