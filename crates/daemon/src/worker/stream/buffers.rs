//! What a thread needs for streams, kept from one to the next.

use super::ROOM;
use crate::wire::{Decoder, Side};
use crate::worker::output::Scratch;

/// See the module.
#[derive(Debug)]
pub(in crate::worker) struct Buffers {
    pub(super) body: Decoder,
    pub(super) scratch: Scratch,
}

impl Buffers {
    pub(in crate::worker) fn new() -> Buffers {
        Buffers { body: Decoder::new(Side::Worker, ROOM), scratch: Scratch::default() }
    }

    pub(in crate::worker) fn is_between_frames(&self) -> bool {
        self.body.is_between_frames()
    }
}
