//! What the server's parent wants of the supervisor.

use super::message::same_build;
use crate::ABI;
use crate::wire::{Malformed, Put, Reader};

/// From the server's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromParent {
    /// What to run, with the blob that [`crate::config::Config`] reads, the descriptor of the main
    /// log and, if there is one, the channel of the log relay.
    Configure {
        /// Number of the configuration; rises.
        config: u32,
    },
    /// End everything.
    Quit {
        /// What is left after so many milliseconds is killed.
        limit_ms: u32,
    },
}

impl FromParent {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(16);
        message.put_u64(ABI);
        match self {
            FromParent::Configure { config } => {
                message.put(&[1]);
                message.put_u32(*config);
            }
            FromParent::Quit { limit_ms } => {
                message.put(&[2]);
                message.put_u32(*limit_ms);
            }
        }
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<FromParent, Malformed> {
        let mut reader = Reader::new(bytes);
        same_build(&mut reader)?;
        let message = match reader.u8()? {
            1 => FromParent::Configure { config: reader.u32()? },
            2 => FromParent::Quit { limit_ms: reader.u32()? },
            _ => return Err(Malformed("a message of unknown kind")),
        };
        reader.end()?;
        Ok(message)
    }
}
