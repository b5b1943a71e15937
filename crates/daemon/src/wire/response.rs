//! HEAD: status, reason and headers of a response, with the first part of its body behind them.
//!
//! Binary-safe, so nothing a header contains can become another header on the way; values that no
//! HTTP message may contain are refused when they are read, for the worker that wrote them runs
//! somebody's application.

use super::codec::{Put, Reader};
use super::frame::{HEADER, MAX_HEAD};
use super::{Malformed, pairs};

/// Status line and headers, to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// 100 to 999.
    pub status: u16,
    /// Reason phrase, which may be empty; `None` for the usual one.
    pub reason: Option<&'a [u8]>,
    /// Length that the response promises; negative if none.
    pub content_length: i64,
    /// Header fields in order.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

/// How long a request took in a worker, in microseconds; told if [`super::Facts::measure`] asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Times {
    /// Since it began to wait for a worker, until one had taken it.
    pub queue: u32,
    /// From then on, until the application was called.
    pub start: u32,
    /// From then on, until its response was complete; `None` if it is not complete with the head.
    pub application: Option<u32>,
}

impl Head<'_> {
    /// Appends room for a frame's header and then the head.
    ///
    /// # Errors
    /// It is longer than [`MAX_HEAD`]; `buffer` is as it was.
    pub fn encode(&self, buffer: &mut Vec<u8>) -> Result<(), super::TooLarge> {
        self.encode_with(None, buffer)
    }

    /// [`Self::encode`], and says how long it took.
    ///
    /// # Errors
    /// As there.
    pub fn encode_with(
        &self,
        times: Option<&Times>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), super::TooLarge> {
        let size: usize =
            self.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        let reason = self.reason.unwrap_or_default();
        let size = FIXED + times.map_or(0, |_| TIMES) + reason.len() + size;
        if size > MAX_HEAD {
            return Err(super::TooLarge);
        }
        buffer.reserve(HEADER + 4 + size);
        buffer.put(&[0; HEADER]);
        buffer.put_u32(size as u32);
        buffer.put_u16(self.status);
        let complete = times.and_then(|times| times.application);
        let flags = match (times, complete) {
            (None, _) => 0,
            (Some(_), None) => HAS_TIMES,
            (Some(_), Some(_)) => HAS_TIMES | ALL,
        };
        buffer.put_u16(flags | if self.reason.is_none() { USUAL } else { 0 });
        buffer.put_i64(self.content_length);
        if let Some(times) = times {
            buffer.put_u32(times.queue);
            buffer.put_u32(times.start);
            buffer.put_u32(complete.unwrap_or(0));
        }
        buffer.put_u32(self.headers.len() as u32);
        buffer.put_string(reason);
        for (name, value) in self.headers {
            pairs::put(buffer, name, value);
        }
        Ok(())
    }
}

const FIXED: usize = 2 + 2 + 8 + 4 + 4;
/// [`Times`], in a head that says so.
const TIMES: usize = 3 * 4;
/// There are times.
const HAS_TIMES: u16 = 1;
/// Of the application, too.
const ALL: u16 = 2;
/// The reason phrase is the usual one.
const USUAL: u16 = 4;

/// Status line and headers as they arrived. Checked once, when it is made.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    status: u16,
    content_length: i64,
    times: Option<Times>,
    reason: Option<&'a [u8]>,
    count: usize,
    headers: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// Reads the whole part of a HEAD.
    ///
    /// # Errors
    /// It makes no sense, or contains what would not survive as HTTP.
    pub fn decode(payload: &'a [u8]) -> Result<ResponseHead<'a>, Malformed> {
        let mut reader = Reader::new(payload);
        let status = reader.u16()?;
        let flags = reader.u16()?;
        let content_length = reader.i64()?;
        let times = if flags & HAS_TIMES != 0 {
            let (queue, start, application) = (reader.u32()?, reader.u32()?, reader.u32()?);
            let application = (flags & ALL != 0).then_some(application);
            Some(Times { queue, start, application })
        } else {
            None
        };
        let count = reader.u32()? as usize;
        let reason = reader.string(MAX_HEAD)?;
        let headers = reader.rest();
        if !(100..=999).contains(&status) {
            return Err(Malformed("a status is not of three digits"));
        }
        if !is_line(reason) {
            return Err(Malformed("a reason phrase contains a control character"));
        }
        for _ in 0..count {
            let (name, value) = pairs::read(&mut reader)?;
            if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
                return Err(Malformed("a header's name is not a token"));
            }
            if !is_line(value) {
                return Err(Malformed("a header's value contains a control character"));
            }
        }
        reader.end()?;
        let reason = (flags & USUAL == 0).then_some(reason);
        Ok(ResponseHead { status, content_length, times, reason, count, headers })
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, which may be empty; `None` for the usual one.
    pub fn reason(&self) -> Option<&'a [u8]> {
        self.reason
    }

    /// Length that the response promises; negative if none.
    pub fn content_length(&self) -> i64 {
        self.content_length
    }

    /// How long it took, as the worker says, if it was asked.
    pub fn times(&self) -> Option<Times> {
        self.times
    }

    /// How many header fields there are.
    pub fn headers_len(&self) -> usize {
        self.count
    }

    /// The header fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        pairs::Pairs::new(self.headers)
    }
}

/// What ends or cuts a line of a header, in HTTP or in C.
fn is_line(text: &[u8]) -> bool {
    !text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

/// `tchar` of RFC 9110.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn encoded(status: u16, reason: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let reason = Some(reason);
        Head { status, reason, content_length: 5, headers }.encode(&mut buffer).unwrap();
        buffer.split_off(HEADER + 4)
    }

    #[test]
    fn d15_a_colon_in_a_value_stays_there() {
        let headers: [(&[u8], &[u8]); 2] = [(b"X-A", b": b"), (b"Status", b"404 No")];
        let bytes = encoded(200, b"Error", &headers);
        let head = ResponseHead::decode(&bytes).unwrap();
        assert_eq!((head.status(), head.content_length()), (200, 5));
        assert_eq!(head.reason(), Some(&b"Error"[..]));
        assert_eq!(head.headers().collect::<Vec<_>>(), headers);
        assert_eq!(head.headers_len(), 2);
    }

    #[test]
    fn times_arrive_as_they_were_sent() {
        let head = Head { status: 200, reason: None, content_length: -1, headers: &[(b"X", b"y")] };
        for application in [None, Some(0), Some(u32::MAX)] {
            let times = Times { queue: 1, start: 2, application };
            let mut buffer = Vec::new();
            head.encode_with(Some(&times), &mut buffer).unwrap();
            let read = ResponseHead::decode(&buffer[HEADER + 4..]).unwrap();
            assert_eq!((read.times(), read.headers_len()), (Some(times), 1));
            assert_eq!(read.reason(), None);
            assert!(ResponseHead::decode(&buffer[HEADER + 4..HEADER + 20]).is_err());
        }
        let bytes = encoded(200, b"", &[]);
        let read = ResponseHead::decode(&bytes).unwrap();
        assert_eq!((read.times(), read.reason()), (None, Some(&b""[..])));
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for value in [&b"a\r\nSet-Cookie: x"[..], b"a\nb", b"a\0b"] {
            assert!(ResponseHead::decode(&encoded(200, b"", &[(b"X", value)])).is_err());
            assert!(ResponseHead::decode(&encoded(200, value, &[])).is_err());
        }
        for name in [&b""[..], b"X:", b"X Y", b"X\r\n", "X\u{e9}".as_bytes()] {
            assert!(ResponseHead::decode(&encoded(200, b"", &[(name, b"")])).is_err());
        }
        assert!(ResponseHead::decode(&encoded(99, b"", &[])).is_err());
        assert!(ResponseHead::decode(&encoded(1000, b"", &[])).is_err());
    }

    #[test]
    fn a_head_that_is_too_long_is_not_written() {
        let value = vec![b'x'; MAX_HEAD];
        let mut buffer = vec![1];
        let head =
            Head { status: 200, reason: None, content_length: -1, headers: &[(b"X", &value)] };
        assert!(head.encode(&mut buffer).is_err());
        assert_eq!(buffer, [1]);
    }
}
