//! What supervisor and worker say to each other, on the worker's control socket.

use super::message::{MAX_KEY, MAX_TEXT, same_build};
use crate::ABI;
use crate::wire::{Malformed, Put, Reader, Record};

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
