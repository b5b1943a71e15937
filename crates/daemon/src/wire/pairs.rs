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

/// Appends pairs, with one look at the room there is; says how many.
///
/// # Panics
/// A clone of `pairs` gives others.
pub(super) fn put_all<'p>(
    buffer: &mut Vec<u8>,
    pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
) -> usize {
    let length = pairs.clone().map(|(name, value)| 8 + name.len() + value.len()).sum::<usize>();
    let begin = buffer.len();
    buffer.resize(begin + length, 0);
    let mut rest = &mut buffer[begin..];
    let mut count = 0;
    for (name, value) in pairs {
        let (lengths, behind) = rest.split_at_mut(8);
        let (to_name, behind) = behind.split_at_mut(name.len());
        let (to_value, behind) = behind.split_at_mut(value.len());
        let both = u64::from(name.len() as u32) | u64::from(value.len() as u32) << 32;
        lengths.copy_from_slice(&both.to_le_bytes());
        to_name.copy_from_slice(name);
        to_value.copy_from_slice(value);
        rest = behind;
        count += 1;
    }
    count
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
