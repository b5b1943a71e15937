//! Lists of names and values, each with both lengths in front.

use super::Malformed;
use super::codec::{Put, Reader};

/// Appends a pair.
#[inline]
pub(super) fn put(buffer: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let lengths = u64::from(name.len() as u32) | u64::from(value.len() as u32) << 32;
    buffer.reserve(8 + name.len() + value.len());
    buffer.put_u64(lengths);
    buffer.put(name);
    buffer.put(value);
}

/// Reads a pair.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    let name = reader.u32()? as usize;
    let value = reader.u32()? as usize;
    Ok((reader.bytes(name)?, reader.bytes(value)?))
}

/// Pairs of a list that was checked before.
#[derive(Clone, Debug)]
pub(super) struct Pairs<'a>(Reader<'a>);

impl<'a> Pairs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Pairs<'a> {
        Pairs(Reader::new(bytes))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        read(&mut self.0).ok()
    }
}
