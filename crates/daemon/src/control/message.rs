//! The messages, small enough for a socket's buffer.

use crate::ABI;
use crate::wire::{Malformed, Put, Reader, Record};

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 48 << 10;
/// Most bytes of the name of something that was loaded.
pub const MAX_KEY: usize = 8 << 10;
/// Most bytes of a sentence.
pub const MAX_TEXT: usize = 8 << 10;

/// Why a worker is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuitReason {
    /// The server stops.
    Stop,
    /// A newer generation has taken over.
    Replaced,
    /// It is not known here (any more).
    NotWanted,
    /// Another worker has taken over, for this reason.
    Retired(Retire),
}

impl QuitReason {
    fn put(self, to: &mut Vec<u8>) {
        match self {
            QuitReason::Stop => to.put(&[1]),
            QuitReason::Replaced => to.put(&[2]),
            QuitReason::NotWanted => to.put(&[3]),
            QuitReason::Retired(why) => to.put(&[4, why as u8]),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<QuitReason, Malformed> {
        Ok(match from.u8()? {
            1 => QuitReason::Stop,
            2 => QuitReason::Replaced,
            3 => QuitReason::NotWanted,
            4 => QuitReason::Retired(Retire::from_raw(from.u8()?)?),
            _ => return Err(Malformed("to quit for an unknown reason")),
        })
    }
}

/// Why a worker wants to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Retire {
    /// Served as many requests as it should.
    MaximumRequests = 1,
    /// Told so by a signal.
    ShutdownSignal = 2,
    /// Told by a signal to finish what it does first.
    GracefulSignal = 3,
    /// Used as much processor time as it may.
    CpuTime = 4,
    /// Was idle for long.
    Inactivity = 5,
    /// A request took too long.
    RequestTimeout = 6,
    /// Nothing runs in it any more.
    Deadlock = 7,
    /// Has run for long enough.
    Interval = 8,
    /// Its application did not load in time.
    Startup = 9,
    /// Something that it had loaded has changed, and others have the new version.
    Reload = 10,
}

impl Retire {
    pub(crate) fn from_raw(raw: u8) -> Result<Retire, Malformed> {
        Ok(match raw {
            1 => Retire::MaximumRequests,
            2 => Retire::ShutdownSignal,
            3 => Retire::GracefulSignal,
            4 => Retire::CpuTime,
            5 => Retire::Inactivity,
            6 => Retire::RequestTimeout,
            7 => Retire::Deadlock,
            8 => Retire::Interval,
            9 => Retire::Startup,
            10 => Retire::Reload,
            _ => return Err(Malformed("retires for an unknown reason")),
        })
    }

    /// Whether something went wrong, rather than an end that was planned or asked for.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Retire::CpuTime | Retire::RequestTimeout | Retire::Deadlock | Retire::Startup
        )
    }

    /// As applications are told it: `shutdown_reason`.
    pub fn name(self) -> &'static str {
        match self {
            Retire::MaximumRequests => "maximum_requests",
            Retire::ShutdownSignal => "shutdown_signal",
            Retire::GracefulSignal => "graceful_signal",
            Retire::CpuTime => "cpu_time_limit",
            Retire::Inactivity => "inactivity_timeout",
            Retire::RequestTimeout => "request_timeout",
            Retire::Deadlock => "deadlock_timeout",
            Retire::Interval => "restart_interval",
            Retire::Startup => "startup_timeout",
            Retire::Reload => "script_reload",
        }
    }
}

/// To a worker, on its control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// First: what it is to be. With a blob that [`super::Start`] reads.
    Start,
    /// With an end of a connection: serve it.
    Connection {
        /// For which of its domains.
        domain: u16,
    },
    /// End, after what is running, but at the latest after so long.
    Quit {
        /// Why.
        reason: QuitReason,
        /// Milliseconds; 0 for no limit.
        limit_ms: u32,
    },
    /// Another supervisor has taken over: it is to be told what the last one knew.
    Adopted,
    /// With an end of a channel: where are the requests that run?
    Inquiry,
}

impl ToWorker {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(16);
        match self {
            ToWorker::Start => {
                message.put(&[1]);
                message.put_u64(ABI);
            }
            ToWorker::Connection { domain } => {
                message.put(&[2]);
                message.put_u16(*domain);
            }
            ToWorker::Quit { reason, limit_ms } => {
                message.put(&[3]);
                reason.put(&mut message);
                message.put_u32(*limit_ms);
            }
            ToWorker::Adopted => message.put(&[4]),
            ToWorker::Inquiry => message.put(&[5]),
        }
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<ToWorker, Malformed> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            1 => {
                same_build(&mut reader)?;
                ToWorker::Start
            }
            2 => ToWorker::Connection { domain: reader.u16()? },
            3 => {
                let reason = QuitReason::read(&mut reader)?;
                ToWorker::Quit { reason, limit_ms: reader.u32()? }
            }
            4 => ToWorker::Adopted,
            5 => ToWorker::Inquiry,
            _ => return Err(Malformed("a message of unknown kind")),
        };
        reader.end()?;
        Ok(message)
    }
}

/// From a worker, on its control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker<'a> {
    /// It has loaded what it was told to and takes requests.
    Ready,
    /// It has loaded something for the first time, which later workers should load before they are
    /// ready.
    Loaded(&'a [u8]),
    /// It could not load what it was told to.
    Failed {
        /// What.
        key: &'a [u8],
        /// Why.
        text: &'a [u8],
    },
    /// What it has loaded is out of date.
    Reload {
        /// What has changed.
        key: &'a [u8],
        /// What the change looks like, so that the same one is not tried again in vain.
        version: u64,
    },
    /// It wants to be replaced.
    Retire(Retire),
    /// Something for the log that belongs to no request.
    Log(Record<'a>),
    /// It ends, having been told to, and takes nothing more.
    Stopping,
    /// With an end of a channel: what does the server know of its processes? The answer comes there
    /// as a blob, or the channel ends.
    Scoreboard,
}

impl<'a> FromWorker<'a> {
    /// As bytes; what is too long is cut.
    pub fn encode(&self) -> Vec<u8> {
        let cut = |bytes: &'a [u8], limit: usize| &bytes[..bytes.len().min(limit)];
        let mut message = Vec::with_capacity(64);
        match self {
            FromWorker::Ready => message.put(&[1]),
            FromWorker::Loaded(key) => {
                message.put(&[2]);
                message.put_string(cut(key, MAX_KEY));
            }
            FromWorker::Failed { key, text } => {
                message.put(&[3]);
                message.put_string(cut(key, MAX_KEY));
                message.put_string(cut(text, MAX_TEXT));
            }
            FromWorker::Reload { key, version } => {
                message.put(&[4]);
                message.put_string(cut(key, MAX_KEY));
                message.put_u64(*version);
            }
            FromWorker::Retire(reason) => message.put(&[5, *reason as u8]),
            FromWorker::Log(record) => {
                message.put(&[6]);
                record.encode(&mut message);
            }
            FromWorker::Stopping => message.put(&[7]),
            FromWorker::Scoreboard => message.put(&[8]),
        }
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &'a [u8]) -> Result<FromWorker<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            1 => FromWorker::Ready,
            2 => FromWorker::Loaded(reader.string(MAX_KEY)?),
            3 => {
                FromWorker::Failed { key: reader.string(MAX_KEY)?, text: reader.string(MAX_TEXT)? }
            }
            4 => FromWorker::Reload { key: reader.string(MAX_KEY)?, version: reader.u64()? },
            5 => FromWorker::Retire(Retire::from_raw(reader.u8()?)?),
            6 => FromWorker::Log(Record::decode(&mut reader)?),
            7 => FromWorker::Stopping,
            8 => FromWorker::Scoreboard,
            _ => return Err(Malformed("a message of unknown kind")),
        };
        reader.end()?;
        Ok(message)
    }
}

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
    /// [`FromWorker::Scoreboard`].
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

/// From a supervisor to the next one, with the descriptors of a worker; see `supervisor::store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The group's number.
    pub group: u32,
    /// The worker's slot.
    pub slot: u32,
    /// Which use of the slot.
    pub epoch: u32,
    /// The worker's process.
    pub pid: i32,
}

impl Kept {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = addressed(self.group, self.slot, self.epoch);
        message.put_i32(self.pid);
        message
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense.
    pub fn decode(bytes: &[u8]) -> Result<Kept, Malformed> {
        let mut reader = Reader::new(bytes);
        let (group, slot, epoch) = address(&mut reader)?;
        let kept = Kept { group, slot, epoch, pid: reader.i32()? };
        reader.end()?;
        Ok(kept)
    }
}

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

/// The beginning of a message about a worker: the build, its group, its slot, which use of that.
fn addressed(group: u32, slot: u32, epoch: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(24);
    message.put_u64(ABI);
    message.put_u32(group);
    message.put_u32(slot);
    message.put_u32(epoch);
    message
}

/// Reads what [`addressed`] has written.
fn address(reader: &mut Reader<'_>) -> Result<(u32, u32, u32), Malformed> {
    same_build(reader)?;
    Ok((reader.u32()?, reader.u32()?, reader.u32()?))
}

fn same_build(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.u64()? == ABI { Ok(()) } else { Err(Malformed("another version")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        for message in [
            ToWorker::Start,
            ToWorker::Connection { domain: 9 },
            ToWorker::Quit { reason: QuitReason::Replaced, limit_ms: 5000 },
            ToWorker::Quit { reason: QuitReason::Retired(Retire::Interval), limit_ms: 0 },
            ToWorker::Adopted,
            ToWorker::Inquiry,
        ] {
            assert_eq!(ToWorker::decode(&message.encode()).unwrap(), message);
        }
        for message in [
            FromWorker::Ready,
            FromWorker::Loaded(b"a"),
            FromWorker::Failed { key: b"a", text: b"because" },
            FromWorker::Reload { key: b"a", version: 7 },
            FromWorker::Retire(Retire::Interval),
            FromWorker::Log(Record::new(3, 5, b"text")),
            FromWorker::Stopping,
            FromWorker::Scoreboard,
        ] {
            let mut bytes = message.encode();
            assert_eq!(FromWorker::decode(&bytes).unwrap(), message);
            bytes.push(0);
            assert!(FromWorker::decode(&bytes).is_err(), "{message:?}");
        }
        for purpose in [Purpose::Requests { domain: 4 }, Purpose::Inquiry] {
            let connect = Connect { group: 1, slot: 2, epoch: 3, purpose };
            assert_eq!(Connect::decode(&connect.encode()).unwrap(), connect);
        }
        let kept = Kept { group: 1, slot: 2, epoch: 3, pid: 4 };
        assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
        let question = Question::Scoreboard;
        assert_eq!(Question::decode(&question.encode()).unwrap(), question);
        for message in [FromParent::Configure { config: 3 }, FromParent::Quit { limit_ms: 9 }] {
            assert_eq!(FromParent::decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn another_build_is_told_from_nonsense() {
        let mut bytes = FromParent::Quit { limit_ms: 9 }.encode();
        bytes[0] ^= 1;
        assert_eq!(FromParent::decode(&bytes), Err(Malformed("another version")));
    }

    #[test]
    fn what_is_too_long_is_cut_and_fits() {
        let long = vec![b'x'; 1 << 20];
        for message in [
            FromWorker::Loaded(&long),
            FromWorker::Failed { key: &long, text: &long },
            FromWorker::Log(Record { file: &long, ..Record::new(3, 0, &long) }),
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_MESSAGE);
            FromWorker::decode(&bytes).unwrap();
        }
    }
}
