//! Room for what waits in buffers of the server's children: so much for each group, over all of them.

use super::child::{Child, Group};

/// What is counted at a time.
const BLOCK: u64 = 64 << 10;

/// The room that one request or response takes. Dropping it gives it back.
#[derive(Debug)]
pub struct Room<'c> {
    child: &'c Child,
    group: u32,
    /// Most blocks of the group; `None` for any.
    most: Option<u32>,
    /// Blocks that are taken.
    blocks: u32,
}

impl Child {
    /// No room yet, for something of a group that may have so many bytes in all; 0 for any.
    pub fn room<'c>(&'c self, group: &Group, limit: u64) -> Room<'c> {
        let most = (limit > 0).then(|| u32::try_from(limit.div_ceil(BLOCK)).unwrap_or(u32::MAX));
        Room { child: self, group: group.number(), most, blocks: 0 }
    }
}

impl Room<'_> {
    /// Takes room for `bytes` in all, if there is so much.
    pub fn hold(&mut self, bytes: u64) -> bool {
        let Some(most) = self.most else { return true };
        let blocks = u32::try_from(bytes.div_ceil(BLOCK)).unwrap_or(u32::MAX);
        let more = blocks.saturating_sub(self.blocks);
        if more == 0 {
            return true;
        }
        if !self.child.area.reserve(self.group, more, most) {
            return false;
        }
        self.blocks = blocks;
        true
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.blocks > 0 {
            self.child.area.release(self.group, self.blocks);
        }
    }
}
