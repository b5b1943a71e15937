//! Log records that travel with their request, ahead of its response and never behind it.

use std::os::fd::AsFd;

use super::{Error, Phase, Stream, send_bytes};
use crate::sys::unread;
use crate::wire::{Flags, HEADER, Header, Kind, MAX_LOG, Record};
use crate::worker::fork::is_forked;

/// So much unread response means that a log record would wait behind it.
const BEHIND: usize = 64 << 10;

impl Stream<'_> {
    /// Logs records with the request, without waiting. Returns how many it took: the others would
    /// have to wait behind the response, and should go where records go that belong to no request
    /// ([`Handle::log`](crate::worker::Handle::log)).
    pub fn log(&mut self, records: &[Record<'_>]) -> usize {
        let mut taken = 0;
        if is_forked() {
            // The connection is its parent's.
            return taken;
        }
        while taken < records.len() {
            if self.sent > 0
                || !self.pending.is_empty()
                || matches!(self.phase, Phase::Complete | Phase::Broken)
                || unread(self.connection.as_fd()) > BEHIND
            {
                break;
            }
            let mut frame = vec![0; HEADER];
            let mut count = 0;
            for record in &records[taken..] {
                if frame.len() - HEADER + Record::MAX > MAX_LOG {
                    break;
                }
                record.encode(&mut frame);
                count += 1;
            }
            let header = Header::new(Kind::Log, Flags::NONE, self.id, frame.len() - HEADER);
            frame[..HEADER].copy_from_slice(&header.encode());
            let mut sent = 0;
            match send_bytes(self.connection.as_fd(), &frame, &mut sent, false) {
                Ok(true) => {}
                Ok(false) if sent > 0 => self.pending = frame.split_off(sent),
                Ok(false) | Err(_) => break,
            }
            taken += count;
        }
        taken
    }

    /// Gets out what is left of a LOG frame.
    pub(super) fn flush_pending(&mut self, wait: bool) -> Result<bool, Error> {
        if self.pending.is_empty() {
            return Ok(true);
        }
        let mut sent = 0;
        let done = send_bytes(self.connection.as_fd(), &self.pending, &mut sent, wait);
        self.pending.drain(..sent);
        if done.is_err() {
            self.phase = Phase::Broken;
        }
        Ok(done?)
    }
}
