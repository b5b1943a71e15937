//! Sending a request once more, which nobody has looked at: to another worker, or to one with newer
//! code.

use std::thread;
use std::time::{Duration, Instant};

use super::Exchange;
use crate::client::SLICE;
use crate::client::error::Error;
use crate::client::event::Phase;
use crate::wire::{Fault, FaultKind};

/// So many generations after the one that was asked, the code is newer than the request.
const GENERATIONS: u32 = 2;

impl Exchange<'_> {
    /// The request was surely not looked at: sends it elsewhere.
    pub(super) fn again(&mut self) -> Result<(), Error> {
        if self.phase != Phase::Sent {
            return Err(self.broken("a worker that had begun says it had not"));
        }
        if let Some((_, chosen)) = &self.connection {
            self.child.forget(self.group, chosen);
        }
        self.connection = None;
        if self.restarts > 0 {
            // Twice is no coincidence: whatever makes workers refuse, let it pass.
            thread::sleep(Duration::from_millis(1 << self.restarts.min(6)));
        }
        self.restarts = self.restarts.saturating_add(1);
        self.reset();
        self.start()
    }

    /// The worker's code is out of date: waits for the next generation, or for word that there will
    /// be none.
    pub(super) fn later(&mut self) -> Result<(), Error> {
        let Some((_, chosen)) = &self.connection else { return Ok(()) };
        let generation = chosen.generation;
        let group = self.group.number();
        let board = &self.child.board;
        let until = self.begun + self.options.connect_timeout.max(self.options.socket_timeout);
        let until = self.deadline().map_or(until, |at| at.min(until));
        // No worker is held while it waits.
        self.connection = None;
        self.reset();
        loop {
            let version = board.version(group);
            if board.generation(group) > generation {
                self.generation = generation + 1;
                // The first may have begun to load before this request came, the second has not. Code
                // that changes faster than it loads would keep the request for good.
                self.waits += 1;
                self.stay = self.waits >= GENERATIONS;
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if board.failures(group) != self.failures || left.is_zero() {
                self.stay = true;
                break;
            }
            board.wait(group, version, left.min(SLICE));
        }
        self.queued = Instant::now();
        self.start()
    }

    fn reset(&mut self) {
        if let Some(decoder) = self.decoder.take() {
            self.child.give_back(decoder);
        }
        self.decoder = Some(self.child.decoder());
    }

    /// Whether the fault that comes next asks for a later generation.
    pub(super) fn is_to_be_repeated(&mut self) -> Result<bool, Error> {
        if self.phase != Phase::Sent || self.stay {
            return Ok(false);
        }
        let fault = self.decoder().peek_payload().and_then(|bytes| Fault::decode(bytes).ok());
        Ok(fault.is_some_and(|fault| fault.kind == FaultKind::Later))
    }
}
