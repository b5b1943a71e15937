//! The state of a response, free of Python: what may be said when, how much of a body is sent, and
//! whether the end of it is one.
//!
//! PEP 3333 leaves a few choices to servers. Those made here: a head is sent with the first byte of
//! body or at the end; `Content-Length` is kept to, a longer body is cut and no longer asked for,
//! a shorter one truncates the response; without a promise a body known as a whole gets one. For
//! `HEAD` the host still gets the first block, since filters of a server may derive fields from it.

use crate::head::Head;
use crate::host::{Fault, Flags};

/// State of one response.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// Accepted by `start_response` and not sent.
    head: Option<Head>,
    /// The client sees no body.
    is_head: bool,
    /// The head was sent, or is being sent.
    committed: bool,
    /// The host has been told that this is all.
    ended: bool,
    /// The client does not get all of it.
    broken: bool,
    /// Why the host can send no more.
    fault: Option<Fault>,
    /// Status last accepted; 0 before.
    status: u16,
    /// What the head that was sent promises.
    promised: Option<u64>,
    /// Bytes of body given to the host.
    sent: u64,
    /// Bytes of body that the application produced.
    pub(crate) produced: u64,
    /// Blocks that the application produced.
    pub(crate) blocks: u64,
}

/// What to give to the host.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) head: Option<Head>,
    /// How many bytes of the block to send.
    pub(crate) take: usize,
    pub(crate) flags: Flags,
    /// Nothing further is wanted from the application.
    pub(crate) stop: bool,
}

/// The body is not as long as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) promised: u64,
    pub(crate) produced: u64,
}

/// `start_response` was not called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotStarted;

impl Reply {
    pub(crate) fn new(is_head: bool) -> Reply {
        Reply { is_head, ..Reply::default() }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.head.is_some() || self.committed
    }

    pub(crate) fn is_committed(&self) -> bool {
        self.committed
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the client has got, or will get, all there is.
    pub(crate) fn is_complete(&self) -> bool {
        self.ended && !self.broken
    }

    /// Takes a head, in place of an earlier one; nothing happens once one was sent.
    pub(crate) fn accept(&mut self, head: Head) {
        if !self.committed {
            self.status = head.status();
            self.head = Some(head);
        }
    }

    /// The host can send no more.
    pub(crate) fn broke(&mut self, fault: Option<Fault>) {
        self.broken = true;
        self.ended = true;
        self.fault = fault;
    }

    /// Why the host can send no more.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// No body follows the head, whoever asks.
    fn is_bodyless(&self) -> bool {
        matches!(self.status, 204 | 304)
    }

    fn commit(&mut self) -> Option<Head> {
        let mut head = self.head.take()?;
        self.committed = true;
        if head.status() == 204 {
            // RFC 9110 section 8.6.
            head.remove("content-length");
        }
        self.promised = head.content_length();
        Some(head)
    }

    /// The application produced a block of `length` bytes, at least one, and may produce more.
    pub(crate) fn block(&mut self, length: usize) -> Result<Step, NotStarted> {
        if !self.is_started() {
            return Err(NotStarted);
        }
        self.blocks += 1;
        self.produced += length as u64;
        if self.ended || (self.is_head && self.committed) {
            return Ok(Step { stop: true, ..Step::default() });
        }
        let head = self.commit();
        if self.is_bodyless() {
            self.ended = true;
            return Ok(Step { head, take: 0, flags: Flags::END, stop: true });
        }
        let room = self.promised.map_or(u64::MAX, |promised| promised - self.sent);
        let take = room.min(length as u64);
        self.sent += take;
        if self.is_head {
            // Not the end: a server must not take this block's length for the body's.
            return Ok(Step { head, take: take as usize, flags: Flags::FLUSH, stop: true });
        }
        if take == room {
            self.ended = true;
        }
        let flags = if self.ended { Flags::END } else { Flags::FLUSH };
        Ok(Step { head, take: take as usize, flags, stop: take < length as u64 })
    }

    /// The application is done: what is left to tell the host, if anything.
    pub(crate) fn finish(&mut self) -> Result<Option<Step>, NotStarted> {
        if !self.is_started() {
            return Err(NotStarted);
        }
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        let Some(mut head) = self.commit() else {
            let short = self.promised.is_some_and(|promised| self.sent < promised);
            if short && !self.is_head {
                self.broken = true;
                return Ok(Some(Step { flags: Flags::TRUNCATED, ..Step::default() }));
            }
            return Ok(Some(Step { flags: Flags::END, ..Step::default() }));
        };
        if !self.is_head && !self.is_bodyless() {
            // An empty body has nothing that could be missing in the middle, so a wrong promise is
            // corrected. Modules like mod_xsendfile, which replace an empty body, rely on it.
            head.set_content_length(0);
        }
        Ok(Some(Step { head: Some(head), flags: Flags::END, ..Step::default() }))
    }

    /// The application is done and its body is known as a whole, of `length` bytes in `blocks`
    /// blocks. Only before anything was sent.
    pub(crate) fn whole(&mut self, length: u64, blocks: u64) -> Result<Step, NotStarted> {
        if length == 0 {
            return Ok(self.finish()?.unwrap_or_default());
        }
        let mut head = self.commit().ok_or(NotStarted)?;
        self.blocks += blocks;
        self.produced += length;
        self.ended = true;
        let mut flags = Flags::END;
        if !self.is_bodyless() {
            let promised = self.promise(&mut head, length);
            self.sent = length.min(promised);
            if self.sent < promised && !self.is_head {
                self.broken = true;
                flags = Flags::TRUNCATED;
            }
        }
        Ok(Step { head: Some(head), take: self.sent as usize, flags, stop: true })
    }

    /// The application returned a file, of which `available` bytes can be sent. Only before
    /// anything was sent. The second value is how much to send, not the step's `take`.
    pub(crate) fn file(&mut self, available: u64) -> Result<(Step, u64), NotStarted> {
        let mut head = self.commit().ok_or(NotStarted)?;
        self.ended = true;
        let mut flags = Flags::END;
        if !self.is_bodyless() {
            let promised = self.promise(&mut head, available);
            if !self.is_head {
                self.sent = promised.min(available);
                self.produced += self.sent;
                if promised > available {
                    self.broken = true;
                    flags = Flags::TRUNCATED;
                }
            }
        }
        Ok((Step { head: Some(head), flags, ..Step::default() }, self.sent))
    }

    /// The promise in `head`, made if there is none.
    fn promise(&mut self, head: &mut Head, length: u64) -> u64 {
        *self.promised.get_or_insert_with(|| {
            head.set_content_length(length);
            length
        })
    }

    /// Whether the body is not as long as was promised, if that means anything.
    pub(crate) fn mismatch(&self) -> Option<Mismatch> {
        let promised = self.promised?;
        let meant = !self.is_head && !self.is_bodyless() && self.fault.is_none();
        (meant && promised != self.produced)
            .then_some(Mismatch { promised, produced: self.produced })
    }

    /// The application failed: what is left to tell the host, if it has got anything.
    pub(crate) fn abort(&mut self) -> Option<Step> {
        self.head = None;
        if !self.committed || self.ended {
            return None;
        }
        self.broke(None);
        Some(Step { flags: Flags::TRUNCATED, stop: true, ..Step::default() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn reply(status: u16, length: Option<u64>, is_head: bool) -> Reply {
        let mut head = Head::new(status, None);
        if let Some(length) = length {
            head.set_content_length(length);
        }
        let mut reply = Reply::new(is_head);
        reply.accept(head);
        reply
    }

    fn block(reply: &mut Reply, length: usize) -> (bool, usize, Flags, bool) {
        let step = reply.block(length).unwrap();
        (step.head.is_some(), step.take, step.flags, step.stop)
    }

    fn length(step: &Step) -> Option<u64> {
        step.head.as_ref().unwrap().content_length()
    }

    #[test]
    fn nothing_happens_before_start_response() {
        let mut reply = Reply::new(false);
        assert_eq!(reply.block(1), Err(NotStarted));
        assert_eq!(reply.finish(), Err(NotStarted));
        assert_eq!(reply.whole(1, 1), Err(NotStarted));
        assert_eq!(reply.file(1), Err(NotStarted));
        assert_eq!(reply.abort(), None);
    }

    #[test]
    fn blocks_of_unknown_length() {
        let mut reply = reply(200, None, false);
        assert_eq!(block(&mut reply, 3), (true, 3, Flags::FLUSH, false));
        assert_eq!(block(&mut reply, 4), (false, 4, Flags::FLUSH, false));
        assert_eq!(reply.finish().unwrap().unwrap().flags, Flags::END);
        assert_eq!((reply.mismatch(), reply.produced, reply.blocks), (None, 7, 2));
        assert!(reply.is_complete());
    }

    #[test]
    fn the_last_promised_byte_ends_the_response_but_not_the_iteration() {
        let mut reply = reply(200, Some(5), false);
        assert_eq!(block(&mut reply, 3), (true, 3, Flags::FLUSH, false));
        assert_eq!(block(&mut reply, 2), (false, 2, Flags::END, false));
        assert_eq!((reply.finish().unwrap(), reply.mismatch()), (None, None));
        assert!(reply.is_complete());
    }

    #[test]
    fn d28_what_exceeds_the_promise_stops_the_iteration() {
        let mut exact = reply(200, Some(5), false);
        assert_eq!(block(&mut exact, 5), (true, 5, Flags::END, false));
        assert_eq!(block(&mut exact, 1), (false, 0, Flags::NONE, true));
        let mut over = reply(200, Some(5), false);
        assert_eq!(block(&mut over, 9), (true, 5, Flags::END, true));
        assert_eq!(over.mismatch(), Some(Mismatch { promised: 5, produced: 9 }));
        let mut nothing = reply(200, Some(0), false);
        assert_eq!(block(&mut nothing, 9), (true, 0, Flags::END, true));
        assert!(nothing.is_complete());
    }

    #[test]
    fn d01_a_short_body_truncates() {
        let mut reply = reply(200, Some(5), false);
        block(&mut reply, 3);
        assert_eq!(reply.finish().unwrap().unwrap().flags, Flags::TRUNCATED);
        assert_eq!(reply.mismatch(), Some(Mismatch { promised: 5, produced: 3 }));
        assert!(!reply.is_complete());
    }

    #[test]
    fn d01_a_short_whole_body_truncates_and_an_empty_one_is_corrected() {
        let mut short = reply(200, Some(5), false);
        let step = short.whole(3, 1).unwrap();
        assert_eq!((step.take, step.flags, length(&step)), (3, Flags::TRUNCATED, Some(5)));
        assert!(short.mismatch().is_some() && !short.is_complete());
        let mut empty = reply(200, Some(5), false);
        let step = empty.whole(0, 0).unwrap();
        assert_eq!((step.take, step.flags, length(&step)), (0, Flags::END, Some(0)));
        assert_eq!(empty.mismatch(), Some(Mismatch { promised: 5, produced: 0 }));
        assert!(empty.is_complete());
    }

    #[test]
    fn d27_a_whole_body_gets_a_length() {
        let mut whole = reply(200, None, false);
        let step = whole.whole(12, 1).unwrap();
        assert_eq!((length(&step), step.take, step.flags), (Some(12), 12, Flags::END));
        assert_eq!(whole.mismatch(), None);
        assert_eq!(length(&reply(200, None, false).whole(0, 0).unwrap()), Some(0));
        assert_eq!(length(&reply(200, None, false).finish().unwrap().unwrap()), Some(0));
    }

    #[test]
    fn a_long_whole_body_is_cut() {
        let mut long = reply(200, Some(4), false);
        let step = long.whole(9, 2).unwrap();
        assert_eq!((step.take, step.flags), (4, Flags::END));
        assert_eq!(long.mismatch(), Some(Mismatch { promised: 4, produced: 9 }));
    }

    #[test]
    fn statuses_without_a_body() {
        for status in [204, 304] {
            assert_eq!(block(&mut reply(status, None, false), 9), (true, 0, Flags::END, true));
            let step = reply(status, None, false).whole(9, 1).unwrap();
            assert_eq!((step.take, step.flags, length(&step)), (0, Flags::END, None));
            let mut declared = reply(status, Some(9), false);
            let step = declared.finish().unwrap().unwrap();
            let expected = (status == 304).then_some(9);
            assert_eq!((length(&step), declared.mismatch()), (expected, None));
            let (step, send) = reply(status, None, false).file(9).unwrap();
            assert_eq!((send, length(&step)), (0, None));
        }
        assert_eq!(block(&mut reply(205, None, false), 9), (true, 9, Flags::FLUSH, false));
    }

    #[test]
    fn head_requests_keep_what_was_declared() {
        let mut endless = reply(200, None, true);
        assert_eq!(block(&mut endless, 9), (true, 9, Flags::FLUSH, true));
        assert_eq!(block(&mut endless, 9), (false, 0, Flags::NONE, true));
        assert_eq!(endless.finish().unwrap().unwrap().flags, Flags::END);
        assert_eq!(endless.mismatch(), None);
        let mut declared = reply(200, Some(5), true);
        assert_eq!(length(&declared.finish().unwrap().unwrap()), Some(5));
        assert_eq!(declared.mismatch(), None);
        assert_eq!(length(&reply(200, None, true).finish().unwrap().unwrap()), None);
        let step = reply(200, Some(50), true).whole(5, 1).unwrap();
        assert_eq!((length(&step), step.flags), (Some(50), Flags::END));
        assert_eq!(length(&reply(200, None, true).whole(5, 1).unwrap()), Some(5));
        let (step, send) = reply(200, None, true).file(9).unwrap();
        assert_eq!((length(&step), send), (Some(9), 0));
    }

    #[test]
    fn d05_a_file_is_clamped_to_its_size() {
        for available in [9, 0] {
            let mut short = reply(200, Some(100), false);
            let (step, send) = short.file(available).unwrap();
            assert_eq!((send, step.flags), (available, Flags::TRUNCATED));
            assert_eq!(length(&step), Some(100));
            assert!(short.mismatch().is_some() && !short.is_complete());
        }
        let mut part = reply(200, Some(4), false);
        let (step, send) = part.file(9).unwrap();
        assert_eq!((send, step.flags, part.mismatch()), (4, Flags::END, None));
        let (step, send) = reply(200, None, false).file(0).unwrap();
        assert_eq!((send, step.flags, length(&step)), (0, Flags::END, Some(0)));
    }

    #[test]
    fn a_failure_truncates_only_what_was_begun() {
        let mut begun = reply(200, None, false);
        block(&mut begun, 1);
        assert_eq!(begun.abort().unwrap().flags, Flags::TRUNCATED);
        assert_eq!(begun.abort(), None);
        let mut complete = reply(200, Some(1), false);
        block(&mut complete, 1);
        assert_eq!(complete.abort(), None);
        assert!(complete.is_complete());
        let mut fresh = reply(200, None, false);
        assert_eq!(fresh.abort(), None);
        assert!(!fresh.is_started());
    }
}
