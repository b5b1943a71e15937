//! The body of a request, read before a worker is asked.
//!
//! A client may take minutes for its body. Until all of it is here no thread of a worker waits for
//! it, and if it never comes no worker hears of it. What is more than may be buffered is read when
//! the application asks, and so is all of it if the client waits to be told to send it.
//!
//! A body that lies in a file as a whole is not sent to the worker, which gets the file.

use std::fs::File;

use daemon::client::Room;
use daemon::wire::MAX_INLINE;
use engine_api::{Fault, FaultKind, Host};

use super::pass::Body;
use super::spool::{Limits, Spool};
use crate::host::RequestHost;

/// A body of so many bytes travels with the request in any case.
const SMALL: usize = 16 << 10;
/// What is answered if the disk has no room for it: a process would wait for the client.
/// <https://www.rfc-editor.org/rfc/rfc4918#section-11.5>
const INSUFFICIENT_STORAGE: u16 = 507;
/// What is read before it is put away: a file takes few large parts better than many small ones.
const PART: usize = 64 << 10;

/// A body, as far as it was read.
pub(super) struct Upload<'a> {
    /// All of a small one.
    small: Option<Vec<u8>>,
    spool: Option<Spool<'a>>,
    /// Nothing comes behind what waits.
    ended: bool,
}

impl<'a> Upload<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// It cannot be had.
    pub(super) fn receive(
        host: &mut RequestHost<'_, '_>,
        body: Body,
        limits: Option<Limits<'a>>,
        room: impl FnOnce() -> Room<'static>,
    ) -> Result<Upload<'a>, Fault> {
        if body.length == Some(0) {
            return Ok(Upload { small: Some(Vec::new()), spool: None, ended: true });
        }
        let small = body.length.and_then(|length| usize::try_from(length).ok());
        // What is kept in memory until it is complete may as well travel with the request.
        let most = limits.map_or(SMALL, |limits| limits.memory.clamp(SMALL, MAX_INLINE));
        if let Some(length) = small.filter(|length| *length <= most && !body.waits) {
            return Upload::receive_small(host, length, limits.is_some());
        }
        let Some(limits) = limits.filter(|_| !body.waits) else {
            return Ok(Upload { small: None, spool: None, ended: false });
        };
        let mut spool = Spool::new(limits, Some(room()));
        if body.length.is_some_and(|length| length > limits.memory as u64) {
            spool.begin_in_file();
        }
        let ended = fill(host, body, &mut spool)?;
        Ok(Upload { small: None, spool: Some(spool), ended })
    }

    /// Reads a body that can travel with the request, if it is there or may be waited for.
    fn receive_small(
        host: &mut RequestHost<'_, '_>,
        length: usize,
        wait: bool,
    ) -> Result<Upload<'a>, Fault> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            let count = if wait { Some(host.read(room)) } else { host.read_now(room) };
            match count.transpose()? {
                Some(0) => return Err(incomplete()),
                Some(count) => filled += count,
                None => {
                    let mut spool =
                        Spool::new(Limits { memory: length, file: 0, directory: None }, None);
                    // Memory takes it.
                    let _ = spool.push(bytes.get(..filled).unwrap_or_default());
                    return Ok(Upload { small: None, spool: Some(spool), ended: false });
                }
            }
        }
        Ok(Upload { small: Some(bytes), spool: None, ended: true })
    }

    /// What travels with the request.
    pub(super) fn small(&self) -> Option<&[u8]> {
        self.small.as_deref()
    }

    /// A file with all the rest, where in it that begins, and its length.
    pub(super) fn file(&self) -> Option<(File, u64, u64)> {
        self.spool.as_ref().filter(|_| self.ended).and_then(Spool::file)
    }

    /// Reads on, waiting only if `wait`; `None` if it would have to. No bytes are the end.
    pub(super) fn read(
        &mut self,
        host: &mut RequestHost<'_, '_>,
        buffer: &mut [u8],
        wait: bool,
    ) -> Option<Result<usize, Fault>> {
        if let Some(spool) = self.spool.as_mut().filter(|spool| !spool.is_empty()) {
            return Some(spool.take(buffer).map_err(|error| Fault {
                errno: error.raw_os_error().unwrap_or(0),
                ..Fault::new(FaultKind::Other, "buffered data cannot be read")
            }));
        }
        if self.ended {
            return Some(Ok(0));
        }
        match host.read_now(buffer) {
            None if wait => Some(host.read(buffer)),
            count => count,
        }
    }
}

/// Reads until the spool is full or the body at its end, which is said.
fn fill(host: &mut RequestHost<'_, '_>, body: Body, spool: &mut Spool<'_>) -> Result<bool, Fault> {
    let mut left = body.length.unwrap_or(u64::MAX);
    let mut part = vec![0; usize::try_from(left).unwrap_or(PART).min(PART)];
    let mut ended = false;
    while left > 0 && !ended {
        if spool.is_full() {
            return Ok(false);
        }
        // The server gives it in pieces of some thousand bytes.
        let mut filled = 0;
        while let Some(room) = part.get_mut(filled..).filter(|room| !room.is_empty() && left > 0) {
            let count = host.read(room)?;
            if count == 0 {
                ended = true;
                break;
            }
            filled += count;
            left = left.saturating_sub(count as u64);
        }
        if ended && body.length.is_some() {
            return Err(incomplete());
        }
        spool.push(part.get(..filled).unwrap_or_default()).map_err(|error| Fault {
            errno: error.raw_os_error().unwrap_or(0),
            status: INSUFFICIENT_STORAGE,
            ..Fault::new(FaultKind::Other, "it cannot be buffered in a file")
        })?;
    }
    Ok(true)
}

fn incomplete() -> Fault {
    Fault::new(FaultKind::ClientGone, "the body is not complete")
}
