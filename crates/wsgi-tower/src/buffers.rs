//! Memory for the parts of streams, used again and again.
//!
//! A part is filled by a thread that runs Python and freed by the server's, many thousand times a
//! second. The C library would get each from the kernel and give it back, page faults included;
//! that was a quarter of the cost of a large response.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Largest part.
pub(crate) const PIECE: usize = 64 << 10;
/// Below this the C library keeps memory itself.
const SMALL: usize = 8 << 10;
/// Buffers that are kept: 2 MiB of them.
const KEPT: usize = 32;

/// Buffers that wait for use.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A copy of `piece`, which is no longer than [`PIECE`].
    pub(crate) fn copy(self: &Arc<Self>, piece: &[u8]) -> Bytes {
        if piece.len() < SMALL {
            return Bytes::copy_from_slice(piece);
        }
        let waiting = self.lock().pop();
        let mut data = waiting.unwrap_or_else(|| Vec::with_capacity(PIECE));
        data.extend_from_slice(piece);
        Bytes::from_owner(Lent { data, home: Arc::clone(self) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer in use.
struct Lent {
    data: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        let mut waiting = self.home.lock();
        if waiting.len() < KEPT {
            waiting.push(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again() {
        let buffers = Arc::new(Buffers::default());
        let first = buffers.copy(&[b'a'; PIECE]);
        let place = first.as_ptr();
        drop(first);
        let second = buffers.copy(&[b'b'; SMALL]);
        assert_eq!(second, vec![b'b'; SMALL]);
        assert_eq!(second.as_ptr(), place);
        assert_ne!(buffers.copy(&[b'c'; SMALL]).as_ptr(), place, "it is in use");
    }

    #[test]
    fn only_so_many_are_kept() {
        let buffers = Arc::new(Buffers::default());
        let all: Vec<Bytes> = (0..2 * KEPT).map(|_| buffers.copy(&[0; SMALL])).collect();
        drop(all);
        assert_eq!(buffers.lock().len(), KEPT);
    }
}
