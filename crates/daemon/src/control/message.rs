//! What all messages have in common: they are small enough for a socket's buffer, and begin with the
//! build where two builds could meet.

use crate::ABI;
use crate::wire::{Malformed, Put, Reader};

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 48 << 10;
/// Most bytes of the name of something that was loaded.
pub const MAX_KEY: usize = 8 << 10;
/// Most bytes of a sentence.
pub const MAX_TEXT: usize = 8 << 10;

/// The beginning of a message about a worker: the build, its group, its slot, which use of that.
pub(super) fn addressed(group: u32, slot: u32, epoch: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(24);
    message.put_u64(ABI);
    message.put_u32(group);
    message.put_u32(slot);
    message.put_u32(epoch);
    message
}

/// Reads what [`addressed`] has written.
pub(super) fn address(reader: &mut Reader<'_>) -> Result<(u32, u32, u32), Malformed> {
    same_build(reader)?;
    Ok((reader.u32()?, reader.u32()?, reader.u32()?))
}

/// Reads the fingerprint of the build.
pub(super) fn same_build(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.u64()? == ABI { Ok(()) } else { Err(Malformed("another version")) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::control::{
        Connect, FromParent, FromWorker, Kept, Purpose, Question, QuitReason, Retire, ToWorker,
    };
    use crate::wire::Record;

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
