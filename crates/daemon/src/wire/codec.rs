//! Numbers and byte strings in and out of a message.
//!
//! Everything is little-endian; a byte string is its length as `u32` and its bytes, so any byte may
//! stand in it. A reader never trusts a length further than the bytes that are there, and makes no
//! copies. This is not serde on purpose: the hot message is an environment of a hundred short
//! strings that is read where it lies.

use super::Malformed;

/// Reads what a [`Put`] wrote.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A byte string of at most `limit` bytes.
    ///
    /// # Errors
    /// It is longer than that, or than what is there.
    pub fn string(&mut self, limit: usize) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        if length > limit {
            return Err(Malformed("a string is too long"));
        }
        self.bytes(length)
    }

    /// A count of things that take at least `size` bytes each, so that a count which cannot be
    /// true is refused before anybody makes room for it.
    ///
    /// # Errors
    /// There is not enough left for that many.
    pub fn count(&mut self, size: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        match count.checked_mul(size) {
            Some(least) if least <= self.rest.len() => Ok(count),
            _ => Err(Malformed("a count is too large")),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// The message is cut short, or it is neither 0 nor 1.
    pub fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("a flag is neither 0 nor 1")),
        }
    }

    /// What may be absent.
    ///
    /// # Errors
    /// As `read`, or it is unclear whether it is there.
    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        Ok(if self.flag()? { Some(read(self)?) } else { None })
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// Something is.
    pub fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("longer than it should be")) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Malformed("cut short"))?;
        self.rest = rest;
        Ok(*bytes)
    }
}

macro_rules! numbers {
    ($($name:ident)*) => {
        impl Reader<'_> {$(
            /// A number.
            ///
            /// # Errors
            /// The message is cut short.
            pub fn $name(&mut self) -> Result<$name, Malformed> {
                Ok($name::from_le_bytes(self.array()?))
            }
        )*}
    };
}

numbers! { u8 u16 u32 u64 i32 i64 }

/// Appends to a message.
pub trait Put {
    /// Bytes as they are.
    fn put(&mut self, bytes: &[u8]);

    /// A byte string: its length and its bytes. Longer ones than 4 GiB are cut; limits far below
    /// are checked where messages are sent.
    fn put_string(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.put(&length.to_le_bytes());
        self.put(&bytes[..length as usize]);
    }

    /// A number of things that follow.
    fn put_count(&mut self, count: usize) {
        self.put(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }

    /// A truth value.
    fn put_flag(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    /// A number.
    fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    /// A number.
    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    /// A number.
    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// A number.
    fn put_i32(&mut self, value: i32) {
        self.put(&value.to_le_bytes());
    }

    /// A number.
    fn put_i64(&mut self, value: i64) {
        self.put(&value.to_le_bytes());
    }

    /// What may be absent.
    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.put_flag(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        message.put_u16(7);
        message.put_string(b"a\0b");
        message.put_option(Some(-5), |to, value| to.put_i64(value));
        message.put_option(None::<u32>, |to, value| to.put_u32(value));
        message.put_flag(true);
        let mut reader = Reader::new(&message);
        assert_eq!(reader.u16().unwrap(), 7);
        assert_eq!(reader.string(3).unwrap(), b"a\0b");
        assert_eq!(reader.option(Reader::i64).unwrap(), Some(-5));
        assert_eq!(reader.option(Reader::u32).unwrap(), None);
        assert!(reader.flag().unwrap());
        reader.end().unwrap();
        assert!(reader.u8().is_err());
    }

    #[test]
    fn lengths_and_counts_are_held_against_what_is_there() {
        let mut message = Vec::new();
        message.put_u32(u32::MAX);
        message.put(b"abc");
        assert!(Reader::new(&message).string(usize::MAX).is_err());
        assert!(Reader::new(&message).count(1).is_err());
        assert_eq!(Reader::new(&message).count(0).unwrap(), u32::MAX as usize);
        let mut message = Vec::new();
        message.put_string(b"abcd");
        assert!(Reader::new(&message).string(3).is_err());
        assert!(Reader::new(&[2]).flag().is_err());
    }
}
