//! The frames that carry a few numbers and at most a sentence: HELLO, READ, FILE, ERR, CANCEL, DRAIN.

use super::Malformed;
use super::codec::{Put, Reader};
use super::frame::{Flags, HEADER, Header, Kind, MAX_SMALL};

/// Who a connection is meant for. A worker that it does not fit closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The fingerprint of the format: [`super::ABI`].
    pub abi: u64,
    /// Which of the worker's sets of threads and interpreters.
    pub domain: u16,
    /// The group's number.
    pub group: u32,
    /// Which use of the worker's slot.
    pub epoch: u32,
}

impl Hello {
    /// As a frame.
    pub fn encode(&self) -> Vec<u8> {
        frame(Kind::Hello, 0, |payload| {
            payload.put_u32(HELLO);
            payload.put_u64(self.abi);
            payload.put_u16(self.domain);
            payload.put_u32(self.group);
            payload.put_u32(self.epoch);
        })
    }

    /// From a payload. Size and fingerprint are first, and are looked at before anything else, so
    /// that another version is told from nonsense.
    ///
    /// # Errors
    /// It makes no sense, or is of another version.
    pub fn decode(payload: &[u8]) -> Result<Hello, Malformed> {
        let mut reader = Reader::new(payload);
        let size = reader.u32()?;
        let abi = reader.u64()?;
        if size != HELLO || abi != super::ABI {
            return Err(Malformed("another version"));
        }
        let hello =
            Hello { abi, domain: reader.u16()?, group: reader.u32()?, epoch: reader.u32()? };
        reader.end()?;
        Ok(hello)
    }
}

const HELLO: u32 = 22;

/// What did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FaultKind {
    /// From the child: the client closed the connection.
    ClientGone = 1,
    /// From the child: the client was too slow.
    ClientSlow = 2,
    /// From the child: the body is larger than allowed.
    TooLarge = 3,
    /// From the child: what the client sent is not HTTP.
    NotHttp = 4,
    /// Anything else.
    Other = 5,
    /// From the worker: no response, render this status.
    Render = 6,
    /// From the worker: the request waited too long before it was looked at.
    QueueTimeout = 7,
    /// From the worker: the application has changed; try a later generation.
    Later = 8,
}

impl FaultKind {
    fn from_raw(raw: u8) -> Result<FaultKind, Malformed> {
        Ok(match raw {
            1 => FaultKind::ClientGone,
            2 => FaultKind::ClientSlow,
            3 => FaultKind::TooLarge,
            4 => FaultKind::NotHttp,
            5 => FaultKind::Other,
            6 => FaultKind::Render,
            7 => FaultKind::QueueTimeout,
            8 => FaultKind::Later,
            _ => return Err(Malformed("a fault of unknown kind")),
        })
    }
}

/// ERR: why there is no more of a body, or no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// Which case.
    pub kind: FaultKind,
    /// The status that fits; 0 if none does.
    pub status: u16,
    /// The system's error number; 0 if there is none.
    pub errno: i32,
    /// A phrase for a person.
    pub text: &'a [u8],
}

impl<'a> Fault<'a> {
    /// As a frame; a text that does not fit is cut.
    pub fn encode(&self, id: u64, flags: Flags) -> Vec<u8> {
        let mut bytes = frame(Kind::Err, id, |payload| {
            payload.put(&[self.kind as u8]);
            payload.put_u16(self.status);
            payload.put_i32(self.errno);
            payload.put_string(&self.text[..self.text.len().min(MAX_SMALL - 64)]);
        });
        bytes[5] = flags.0;
        bytes
    }

    /// From a payload.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn decode(payload: &'a [u8]) -> Result<Fault<'a>, Malformed> {
        let mut reader = Reader::new(payload);
        let fault = Fault {
            kind: FaultKind::from_raw(reader.u8()?)?,
            status: reader.u16()?,
            errno: reader.i32()?,
            text: reader.string(MAX_SMALL)?,
        };
        reader.end()?;
        Ok(fault)
    }
}

/// READ: how many bytes of the body may come.
pub fn encode_read(id: u64, credit: u32) -> [u8; HEADER + 4] {
    let mut bytes = [0; HEADER + 4];
    bytes[..HEADER].copy_from_slice(&Header::new(Kind::Read, Flags::NONE, id, 4).encode());
    bytes[HEADER..].copy_from_slice(&credit.to_le_bytes());
    bytes
}

/// The credit of a READ, at least 1.
///
/// # Errors
/// It makes no sense.
pub fn decode_read(payload: &[u8]) -> Result<u32, Malformed> {
    let mut reader = Reader::new(payload);
    let credit = reader.u32()?;
    reader.end()?;
    if credit == 0 { Err(Malformed("a read of nothing")) } else { Ok(credit) }
}

/// FILE: where in the file the rest of the body begins, and how long it is. The file's descriptor goes
/// with the frame.
pub fn encode_file(id: u64, from: u64, length: u64) -> Vec<u8> {
    let mut bytes = frame(Kind::File, id, |payload| {
        payload.put_u64(from);
        payload.put_u64(length);
    });
    bytes[5] = Flags::END.0;
    bytes
}

/// Beginning and length of what FILE is about; the sum of both is a number, too.
///
/// # Errors
/// It makes no sense.
pub fn decode_file(payload: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut reader = Reader::new(payload);
    let (from, length) = (reader.u64()?, reader.u64()?);
    reader.end()?;
    match from.checked_add(length) {
        Some(_) => Ok((from, length)),
        None => Err(Malformed("a file without end")),
    }
}

/// Why an answer is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CancelReason {
    /// The client is gone.
    ClientGone = 1,
    /// It took too long.
    Deadline = 2,
}

/// CANCEL, as a frame.
pub fn encode_cancel(id: u64, reason: CancelReason) -> Vec<u8> {
    frame(Kind::Cancel, id, |payload| payload.put(&[reason as u8]))
}

/// The reason of a CANCEL.
///
/// # Errors
/// It makes no sense.
pub fn decode_cancel(payload: &[u8]) -> Result<CancelReason, Malformed> {
    match payload {
        [1] => Ok(CancelReason::ClientGone),
        [2] => Ok(CancelReason::Deadline),
        _ => Err(Malformed("cancelled for an unknown reason")),
    }
}

/// DRAIN, as a frame.
pub fn encode_drain(id: u64) -> [u8; HEADER] {
    Header::new(Kind::Drain, Flags::CLOSE, id, 0).encode()
}

fn frame(kind: Kind, id: u64, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    write(&mut bytes);
    let header = Header::new(kind, Flags::NONE, id, bytes.len() - HEADER);
    bytes[..HEADER].copy_from_slice(&header.encode());
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn small_frames_are_read_as_they_were_written() {
        let hello = Hello { abi: super::super::ABI, domain: 3, group: 9, epoch: 77 };
        assert_eq!(Hello::decode(&hello.encode()[HEADER..]).unwrap(), hello);
        let fault = Fault { kind: FaultKind::Render, status: 500, errno: 5, text: b"why" };
        let bytes = fault.encode(4, Flags::CLOSE);
        assert_eq!(Fault::decode(&bytes[HEADER..]).unwrap(), fault);
        assert_eq!(decode_read(&encode_read(1, 70_000)[HEADER..]).unwrap(), 70_000);
        assert!(decode_read(&[0; 4]).is_err());
        let file = encode_file(1, 5, u64::MAX - 5);
        assert_eq!(decode_file(&file[HEADER..]).unwrap(), (5, u64::MAX - 5));
        assert!(decode_file(&encode_file(1, 6, u64::MAX - 5)[HEADER..]).is_err());
        let cancel = encode_cancel(1, CancelReason::Deadline);
        assert_eq!(decode_cancel(&cancel[HEADER..]).unwrap(), CancelReason::Deadline);
    }

    #[test]
    fn another_version_is_refused() {
        let hello = Hello { abi: super::super::ABI ^ 1, domain: 0, group: 0, epoch: 0 };
        let error = Hello::decode(&hello.encode()[HEADER..]).unwrap_err();
        assert_eq!(error.to_string(), "another version");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = vec![b'x'; MAX_SMALL * 2];
        let fault = Fault { kind: FaultKind::Other, status: 0, errno: 0, text: &text };
        let bytes = fault.encode(1, Flags::NONE);
        assert!(Header::decode(bytes.first_chunk().unwrap()).is_ok());
        assert!(Fault::decode(&bytes[HEADER..]).unwrap().text.len() < MAX_SMALL);
    }
}
