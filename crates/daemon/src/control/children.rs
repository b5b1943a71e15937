//! What the server's children ask for, and are asked, on the channel that all of them share.

use super::message::{address, addressed, same_build};
use crate::ABI;
use crate::wire::{Malformed, Put, Reader};

/// From a child, on the channel of all children, with one end of something new: give it to this
/// worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The group's number.
    pub group: u32,
    /// The worker's slot.
    pub slot: u32,
    /// Which use of the slot.
    pub epoch: u32,
    /// What it is.
    pub purpose: Purpose,
}

/// What an end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A connection, for requests of this domain of the worker.
    Requests {
        /// The domain's number.
        domain: u16,
    },
    /// A channel, to be told where requests are.
    Inquiry,
}

impl Connect {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = addressed(self.group, self.slot, self.epoch);
        match self.purpose {
            Purpose::Requests { domain } => {
                message.put(&[1]);
                message.put_u16(domain);
            }
            Purpose::Inquiry => message.put(&[2]),
        }
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Connect, Malformed> {
        let mut reader = Reader::new(bytes);
        let (group, slot, epoch) = address(&mut reader)?;
        let purpose = match reader.u8()? {
            1 => Purpose::Requests { domain: reader.u16()? },
            2 => Purpose::Inquiry,
            _ => return Err(Malformed("an end of unknown purpose")),
        };
        let connect = Connect { group, slot, epoch, purpose };
        reader.end()?;
        Ok(connect)
    }
}

/// To the children, on the channel of all children: whichever comes first answers. With the end of a
/// channel to answer on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// [`FromWorker::Scoreboard`](super::FromWorker::Scoreboard).
    Scoreboard,
}

impl Question {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(16);
        message.put_u64(ABI);
        match self {
            Question::Scoreboard => message.put(&[1]),
        }
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Question, Malformed> {
        let mut reader = Reader::new(bytes);
        same_build(&mut reader)?;
        let question = match reader.u8()? {
            1 => Question::Scoreboard,
            _ => return Err(Malformed("a question of unknown kind")),
        };
        reader.end()?;
        Ok(question)
    }
}
