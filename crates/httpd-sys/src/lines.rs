//! The lines of the configuration, of all modules, as the server keeps them.
//!
//! For questions about the configuration as a whole that a module's own directives cannot answer:
//! whether any section sets a handler, say. Blocks that the server resolves while it reads
//! (`<IfModule>`, `<IfDefine>`, `Include`) are not there; what they hold is, if they hold.
//! See `ap_conftree` in <https://github.com/apache/httpd/blob/2.4.x/include/http_config.h>.

use std::ptr::NonNull;

use apr_sys as raw;

use crate::text::bytes;

/// A line of the configuration, or the first line of a block.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Lives until the configuration is read anew (A12).
    raw: NonNull<raw::ap_directive_t>,
}

/// All lines, blocks before what they hold. Once the configuration has been read: from
/// `post_config` on.
pub fn lines() -> impl Iterator<Item = Line> {
    // SAFETY: the tree is complete and does not change any more (A12).
    let first = unsafe { Line::from_raw(raw::ap_conftree) };
    std::iter::successors(first, |line| {
        line.first_child().or_else(|| {
            std::iter::successors(Some(*line), |line| line.parent()).find_map(|line| line.next())
        })
    })
}

impl Line {
    /// # Safety
    /// NULL, or a node of a configuration that lasts.
    pub(crate) unsafe fn from_raw(raw: *mut raw::ap_directive_t) -> Option<Line> {
        Some(Line { raw: NonNull::new(raw)? })
    }

    fn get(&self) -> &raw::ap_directive_t {
        // SAFETY: alive, and nobody writes to it (field).
        unsafe { self.raw.as_ref() }
    }

    /// The directive as written; of a block with its bracket: `<Directory`.
    pub fn directive(&self) -> &[u8] {
        // SAFETY: a string or NULL (A8).
        unsafe { bytes(self.get().directive) }.unwrap_or_default()
    }

    /// The rest of the line, variables replaced; of a block with its closing bracket.
    pub fn arguments(&self) -> &[u8] {
        // SAFETY: a string or NULL (A8).
        unsafe { bytes(self.get().args) }.unwrap_or_default()
    }

    /// The lines of the block that it begins.
    pub fn inside(&self) -> impl Iterator<Item = Line> + use<> {
        std::iter::successors(self.first_child(), |line| line.next())
    }

    pub(crate) fn as_ptr(&self) -> *mut raw::ap_directive_t {
        self.raw.as_ptr()
    }

    /// The block that holds it.
    pub fn parent(&self) -> Option<Line> {
        // SAFETY: a node of the same tree.
        unsafe { Line::from_raw(self.get().parent) }
    }

    fn first_child(&self) -> Option<Line> {
        // SAFETY: as above.
        unsafe { Line::from_raw(self.get().first_child) }
    }

    fn next(&self) -> Option<Line> {
        // SAFETY: as above.
        unsafe { Line::from_raw(self.get().next) }
    }
}
