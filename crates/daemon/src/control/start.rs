//! What a worker is to be: the first thing it is told.

use std::time::Duration;

use super::message::MAX_KEY;
use crate::wire::{Malformed, Put, Reader};

/// Most things that a new worker is asked to load.
pub const MAX_LOADS: usize = 256;
/// Most bytes of what the server tells the application's side.
pub const MAX_PAYLOAD: usize = 8 << 20;

const MAX_NAME: usize = 256;

/// What a worker is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Name of its group.
    pub name: Vec<u8>,
    /// Number of its group.
    pub group: u32,
    /// Its slot on the board.
    pub slot: u32,
    /// Which use of the slot.
    pub epoch: u32,
    /// Which state of the application's code it will have loaded.
    pub generation: u32,
    /// Threads that serve requests, in each domain; 0 for a service.
    pub threads: u32,
    /// Bytes of stack for each of them; 0 for the platform's choice.
    pub stack_size: u32,
    /// Sets of threads and interpreters that do not wait for each other; at least 1.
    pub domains: u16,
    /// Most connections that are kept.
    pub connections: u32,
    /// Idle connections are closed after so long.
    pub idle: Duration,
    /// Requests after which it is to be replaced; 0 for never.
    pub maximum_requests: u64,
    /// How long it may take to end when nobody else sets a limit; 0 for any time.
    pub shutdown: Duration,
    /// What to load before it is ready, as told by earlier workers of the group.
    pub loads: Vec<Vec<u8>>,
    /// What the server's module says to the application's side, unseen by this crate.
    pub payload: Vec<u8>,
}

impl Start {
    /// Threads that serve requests, in all domains.
    pub(crate) fn all_threads(&self) -> u32 {
        self.threads.saturating_mul(self.domains.max(1).into())
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(256 + self.payload.len());
        to.put_string(&self.name);
        to.put_u32(self.group);
        to.put_u32(self.slot);
        to.put_u32(self.epoch);
        to.put_u32(self.generation);
        to.put_u32(self.threads);
        to.put_u32(self.stack_size);
        to.put_u16(self.domains);
        to.put_u32(self.connections);
        to.put_u32(milliseconds(self.idle));
        to.put_u64(self.maximum_requests);
        to.put_u32(milliseconds(self.shutdown));
        to.put_count(self.loads.len());
        for key in &self.loads {
            to.put_string(key);
        }
        to.put_string(&self.payload);
        to
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Start, Malformed> {
        let mut from = Reader::new(bytes);
        let mut start = Start {
            name: from.string(MAX_NAME)?.to_vec(),
            group: from.u32()?,
            slot: from.u32()?,
            epoch: from.u32()?,
            generation: from.u32()?,
            threads: from.u32()?,
            stack_size: from.u32()?,
            domains: from.u16()?,
            connections: from.u32()?,
            idle: Duration::from_millis(from.u32()?.into()),
            maximum_requests: from.u64()?,
            shutdown: Duration::from_millis(from.u32()?.into()),
            ..Start::default()
        };
        let count = from.count(4)?;
        if count > MAX_LOADS {
            return Err(Malformed("too much to load"));
        }
        for _ in 0..count {
            start.loads.push(from.string(MAX_KEY)?.to_vec());
        }
        start.payload = from.string(MAX_PAYLOAD)?.to_vec();
        from.end()?;
        Ok(start)
    }

    /// Most bytes of it.
    pub const MAX: usize = MAX_PAYLOAD + MAX_LOADS * (MAX_KEY + 4) + 1024;
}

/// As in messages; 49 days are as good as any longer time.
pub(crate) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let start = Start {
            name: b"g\0".to_vec(),
            group: 1,
            slot: 2,
            epoch: 3,
            generation: 4,
            threads: 5,
            stack_size: 6,
            domains: 7,
            connections: 8,
            idle: Duration::from_millis(90),
            maximum_requests: 91,
            shutdown: Duration::from_millis(92),
            loads: vec![b"a".to_vec(), Vec::new()],
            payload: vec![0; 1000],
        };
        let bytes = start.encode();
        assert_eq!(Start::decode(&bytes).unwrap(), start);
        for length in 0..bytes.len() {
            assert!(Start::decode(&bytes[..length]).is_err());
        }
    }
}
