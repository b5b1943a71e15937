//! What a supervisor leaves to the next one beside descriptors.

use super::message::{address, addressed};
use crate::wire::{Malformed, Put, Reader};

/// From a supervisor to the next one, with the descriptors of a worker; see `supervisor::store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The group's number.
    pub group: u32,
    /// The worker's slot.
    pub slot: u32,
    /// Which use of the slot.
    pub epoch: u32,
    /// The worker's process.
    pub pid: i32,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = addressed(self.group, self.slot, self.epoch);
        message.put_i32(self.pid);
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Kept, Malformed> {
        let mut reader = Reader::new(bytes);
        let (group, slot, epoch) = address(&mut reader)?;
        let kept = Kept { group, slot, epoch, pid: reader.i32()? };
        reader.end()?;
        Ok(kept)
    }
}
