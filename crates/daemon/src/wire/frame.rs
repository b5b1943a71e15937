//! The sixteen bytes in front of every frame.
//!
//! ```text
//!  0      4    5     6       8                16
//!  +------+----+-----+-------+-----------------+---------
//!  |length|kind|flags| magic |   request id    | payload
//!  +------+----+-----+-------+-----------------+---------
//! ```
//!
//! The length is that of the payload. The magic is no defence, it turns a lost byte into an error
//! at once. The request id ties an answer to its request, so that nothing late is taken for the
//! answer to the next one on the connection.

use super::Malformed;

/// Length of a header.
pub const HEADER: usize = 16;

/// Most bytes of a request: environment and fields. mod_wsgi 6.1.1 has the same limit.
pub const MAX_REQUEST: usize = 16 << 20;
/// Most bytes of a body that travel inside REQ.
pub const MAX_INLINE: usize = 64 << 10;
/// Most bytes of a response's status line and headers.
pub const MAX_HEAD: usize = 4 << 20;
/// Most bytes of a body in one frame; longer ones take several.
pub const MAX_PART: usize = 1 << 20;
/// Most bytes of log records in one frame.
pub const MAX_LOG: usize = 128 << 10;
/// Most bytes of the frames that carry a few numbers and a sentence.
pub const MAX_SMALL: usize = 8 << 10;

const MAGIC: u16 = 0x6777;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// First on a connection, from the child: who it is meant for.
    Hello = 1,
    /// From the child: a request, with a small body.
    Request = 2,
    /// From the worker: up to so many bytes of the body may come.
    Read = 3,
    /// From the child: a part of the body.
    Data = 4,
    /// From the worker: status, headers and the first part of the response's body.
    Head = 5,
    /// From the worker: a part of the response's body.
    Body = 6,
    /// From the worker: records for the server's log.
    Log = 7,
    /// From either: it failed. The child cannot give more of the body, or the worker gives no
    /// response.
    Err = 8,
    /// From the child: the answer is not wanted any more; the connection closes.
    Cancel = 9,
    /// From the worker: the request was not looked at, and may go elsewhere.
    Drain = 10,
    /// From the child: the rest of the body lies in the file that comes with this frame.
    File = 11,
}

impl Kind {
    fn from_raw(raw: u8) -> Option<Kind> {
        Some(match raw {
            1 => Kind::Hello,
            2 => Kind::Request,
            3 => Kind::Read,
            4 => Kind::Data,
            5 => Kind::Head,
            6 => Kind::Body,
            7 => Kind::Log,
            8 => Kind::Err,
            9 => Kind::Cancel,
            10 => Kind::Drain,
            11 => Kind::File,
            _ => return None,
        })
    }

    /// Most bytes of a payload. Of a HEAD the part that must be whole is bounded apart.
    pub const fn limit(self) -> usize {
        match self {
            Kind::Request => MAX_REQUEST + MAX_INLINE,
            Kind::Data | Kind::Body => MAX_PART,
            Kind::Head => MAX_HEAD + MAX_PART,
            Kind::Log => MAX_LOG,
            Kind::Hello | Kind::Read | Kind::Err | Kind::Cancel | Kind::Drain | Kind::File => {
                MAX_SMALL
            }
        }
    }
}

/// What goes with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Nothing.
    pub const NONE: Flags = Flags(0);
    /// The body (of the request: REQ, DATA; of the response: HEAD, BODY) is complete with this
    /// frame. Nothing else says so.
    pub const END: Flags = Flags(1);
    /// What has been sent of the response goes to the client now.
    pub const FLUSH: Flags = Flags(2);
    /// DATA: no more comes until the next READ.
    pub const PAUSE: Flags = Flags(4);
    /// With END: the worker takes no other request on this connection.
    pub const CLOSE: Flags = Flags(8);

    const ALL: u8 = 15;

    /// All flags of both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload.
    pub length: u32,
    /// What it is.
    pub kind: Kind,
    /// What goes with it.
    pub flags: Flags,
    /// The request it belongs to.
    pub id: u64,
}

impl Header {
    /// The header of a payload of `length` bytes, which is within [`Kind::limit`].
    pub fn new(kind: Kind, flags: Flags, id: u64, length: usize) -> Header {
        debug_assert!(length <= kind.limit());
        Header { length: length as u32, kind, flags, id }
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags.0;
        bytes[6..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// It is no header, of no known kind, or announces more than that kind may have.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Header, Malformed> {
        let &[l0, l1, l2, l3, kind, flags, m0, m1, ref id @ ..] = bytes;
        if u16::from_le_bytes([m0, m1]) != MAGIC {
            return Err(Malformed("not a frame"));
        }
        let kind = Kind::from_raw(kind).ok_or(Malformed("a frame of unknown kind"))?;
        if flags & !Flags::ALL != 0 {
            return Err(Malformed("a frame with unknown flags"));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length as usize > kind.limit() {
            return Err(Malformed("a frame is too long"));
        }
        Ok(Header { length, kind, flags: Flags(flags), id: u64::from_le_bytes(*id) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header::new(Kind::Head, Flags::END.with(Flags::FLUSH), u64::MAX - 1, 1234);
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Header::new(Kind::Read, Flags::NONE, 1, 8).encode();
        for (at, value) in [(4, 0), (4, 12), (5, 16), (6, 0), (2, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert!(Header::decode(&bad).is_err(), "byte {at}");
        }
    }
}
