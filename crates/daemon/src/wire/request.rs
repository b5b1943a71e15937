//! REQ: an environment, typed fields beside it, and a small body.
//!
//! ```text
//! fixed part | environ: (name, value)* | fields: (number, value)* | body
//! ```
//!
//! Written in that order into a buffer that already has room for the frame's header, so that a
//! request is one `send`; read where it lies. Names and values are bytes: whatever a client sent
//! arrives as it was, with its NULs and colons. What a field means is agreed between the server's
//! module and the application's side ([`field`]); this crate looks at [`field::REQUEST_ID`] only.

use super::codec::{Put, Reader};
use super::frame::{Flags, HEADER, Header, Kind, MAX_INLINE, MAX_REQUEST};
use super::{Malformed, pairs};

/// Numbers of fields.
pub mod field {
    /// What a log shows for the request, also if its worker dies.
    pub const REQUEST_ID: u16 = 1;
    /// The connection's name in the log.
    pub const CONNECTION_ID: u16 = 2;
    /// The file of the application.
    pub const SCRIPT: u16 = 3;
    /// The file that was asked for, if another one serves it.
    pub const RESOURCE: u16 = 4;
    /// The handler that serves it.
    pub const HANDLER_SCRIPT: u16 = 5;
    /// When the file of the application was modified, as the server sees it.
    pub const SCRIPT_MTIME: u16 = 6;
    /// Which interpreter.
    pub const APPLICATION_GROUP: u16 = 7;
    /// Name of the application in its file.
    pub const CALLABLE: u16 = 8;
    /// Process that read the request.
    pub const SERVER_PID: u16 = 9;
    /// The client used TLS.
    pub const HTTPS: u16 = 10;
    /// Several threads serve.
    pub const MULTITHREAD: u16 = 11;
    /// Several processes serve.
    pub const MULTIPROCESS: u16 = 12;
    /// The process ends after this request.
    pub const RUN_ONCE: u16 = 13;
    /// The client sees no body.
    pub const HEAD: u16 = 14;
    /// Changed files are loaded again.
    pub const RELOAD: u16 = 15;
    /// Paths are compared without regard to case.
    pub const LOWER_CASE: u16 = 16;
    /// Least bad level that the server logs for this request.
    pub const LOG_LEVEL: u16 = 17;
    /// It does not count where workers end that have nothing to do.
    pub const IGNORE_ACTIVITY: u16 = 18;
    /// The request has made the name of its interpreter, so it needs room among such names.
    pub const NAMED_GROUP: u16 = 19;
    /// First number that is free for what a server's module and its applications agree on.
    pub const FREE: u16 = 256;
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, of whatever encoding.
    Bytes(&'a [u8]),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Yes or no.
    Flag(bool),
}

/// The fixed part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// When the server read the request; microseconds since 1970, 0 if not known.
    pub request_start: i64,
    /// When it began to wait for a worker; likewise.
    pub queue_start: i64,
    /// When waiting for a worker ends: microseconds of the monotonic clock, 0 for never.
    pub queue_deadline: u64,
    /// Length of the body; negative if it has one of unknown length.
    pub body_length: i64,
    /// Connections made for this request so far.
    pub connects: u16,
    /// Times it met a worker that was going away.
    pub restarts: u16,
    /// It was sent on for a new generation, which could not be had: take it as it is.
    pub stay: bool,
    /// The answer is to say how long it took: [`super::Times`].
    pub measure: bool,
}

const FACTS: usize = 40;
const COUNTS: usize = 5 * 4;
const DEADLINE: usize = HEADER + 16;
const CONNECTS: usize = HEADER + 32;

/// Writes a request: first the environment, then [`EnvironWriter::fields`], then
/// [`FieldWriter::finish`].
#[derive(Debug)]
pub struct EnvironWriter<'b> {
    buffer: &'b mut Vec<u8>,
    count: usize,
}

impl<'b> EnvironWriter<'b> {
    /// Begins a request in `buffer`, which is emptied.
    pub fn new(buffer: &'b mut Vec<u8>, facts: &Facts) -> EnvironWriter<'b> {
        buffer.clear();
        buffer.put(&[0; HEADER]);
        buffer.put_i64(facts.request_start);
        buffer.put_i64(facts.queue_start);
        buffer.put_u64(facts.queue_deadline);
        buffer.put_i64(facts.body_length);
        buffer.put_u16(facts.connects);
        buffer.put_u16(facts.restarts);
        buffer.put(&[u8::from(facts.stay), u8::from(facts.measure), 0, 0]);
        debug_assert_eq!(buffer.len(), HEADER + FACTS);
        buffer.put(&[0; COUNTS]);
        EnvironWriter { buffer, count: 0 }
    }

    /// Adds a variable.
    pub fn pair(&mut self, name: &[u8], value: &[u8]) {
        pairs::put(self.buffer, name, value);
        self.count += 1;
    }

    /// Adds variables, quicker than one by one.
    ///
    /// # Panics
    /// A clone of `pairs` gives others.
    pub fn pairs<'p>(&mut self, pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone) {
        self.count += pairs::put_all(self.buffer, pairs);
    }

    /// The environment is complete.
    pub fn fields(self) -> FieldWriter<'b> {
        set_count(self.buffer, 0, self.count);
        let environ = self.buffer.len() - HEADER - FACTS - COUNTS;
        set_count(self.buffer, 1, environ);
        FieldWriter { begun: self.buffer.len(), buffer: self.buffer, count: 0 }
    }
}

/// Writes the fields of a request.
#[derive(Debug)]
pub struct FieldWriter<'b> {
    buffer: &'b mut Vec<u8>,
    begun: usize,
    count: usize,
}

impl FieldWriter<'_> {
    /// Adds a field. The first of several with one number counts.
    pub fn field(&mut self, number: u16, value: Value<'_>) {
        let begin = |kind: u32| u32::from(number) | kind << 16;
        match value {
            Value::Bytes(bytes) => {
                // More than 4 GiB is refused in `finish`, by the length of the whole.
                let length = bytes.len() as u32;
                self.buffer.put_u64(u64::from(begin(0)) | u64::from(length) << 32);
                self.buffer.put(bytes);
            }
            Value::Int(value) => {
                self.buffer.put_u32(begin(1));
                self.buffer.put_i64(value);
            }
            Value::Float(value) => {
                self.buffer.put_u32(begin(2));
                self.buffer.put_u64(value.to_bits());
            }
            Value::Flag(value) => {
                self.buffer.put_u32(begin(3));
                self.buffer.put_u16(u16::from(value));
            }
        }
        self.count += 1;
    }

    /// Ends the request with the part of its body that is at hand; `complete` if that is all of it.
    ///
    /// # Errors
    /// It is larger than a request may be. Nothing of it may be sent.
    pub fn finish(self, body: &[u8], complete: bool) -> Result<(), TooLarge> {
        let head = self.buffer.len() - HEADER;
        if head > MAX_REQUEST || body.len() > MAX_INLINE {
            return Err(TooLarge);
        }
        set_count(self.buffer, 2, self.count);
        let fields = self.buffer.len() - self.begun;
        set_count(self.buffer, 3, fields);
        set_count(self.buffer, 4, body.len());
        self.buffer.put(body);
        let flags = if complete { Flags::END } else { Flags::NONE };
        let header = Header::new(Kind::Request, flags, 0, head + body.len());
        self.buffer[..HEADER].copy_from_slice(&header.encode());
        Ok(())
    }
}

/// A request is larger than the format allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What differs between two attempts to send the same finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attempt {
    /// The number that the answer must carry.
    pub id: u64,
    /// [`Facts::queue_deadline`].
    pub queue_deadline: u64,
    /// [`Facts::connects`].
    pub connects: u16,
    /// [`Facts::restarts`].
    pub restarts: u16,
    /// [`Facts::stay`].
    pub stay: bool,
}

/// Writes what differs between two attempts into a finished request.
///
/// # Panics
/// `request` was not finished.
pub fn stamp(request: &mut [u8], attempt: &Attempt) {
    request[8..HEADER].copy_from_slice(&attempt.id.to_le_bytes());
    request[DEADLINE..DEADLINE + 8].copy_from_slice(&attempt.queue_deadline.to_le_bytes());
    request[CONNECTS..CONNECTS + 2].copy_from_slice(&attempt.connects.to_le_bytes());
    request[CONNECTS + 2..CONNECTS + 4].copy_from_slice(&attempt.restarts.to_le_bytes());
    request[CONNECTS + 4] = u8::from(attempt.stay);
}

/// The length of a finished request's body, as announced, and of the part that is in the request.
///
/// # Panics
/// `request` was not finished.
pub fn body_of(request: &[u8]) -> (i64, i64) {
    let mut reader = Reader::new(&request[HEADER + 24..]);
    let length = reader.i64().unwrap_or_else(|_| unreachable!("a request has a fixed part"));
    let mut reader = Reader::new(&request[HEADER + FACTS + 4 * 4..]);
    let inline = reader.u32().unwrap_or_else(|_| unreachable!("a request has a fixed part"));
    (length, inline.into())
}

fn set_count(buffer: &mut [u8], which: usize, count: usize) {
    let at = HEADER + FACTS + which * 4;
    // More than 4 GiB is refused in `finish`, by the length of the whole.
    buffer[at..at + 4].copy_from_slice(&(count as u32).to_le_bytes());
}

/// A request as it arrived. Checked once, when it is made; iterating cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    id: u64,
    facts: Facts,
    pairs: usize,
    environ: &'a [u8],
    fields: &'a [u8],
    body: &'a [u8],
    complete: bool,
}

impl<'a> Request<'a> {
    /// Reads the payload of a REQ.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn decode(header: &Header, payload: &'a [u8]) -> Result<Request<'a>, Malformed> {
        let mut reader = Reader::new(payload);
        let facts = Facts {
            request_start: reader.i64()?,
            queue_start: reader.i64()?,
            queue_deadline: reader.u64()?,
            body_length: reader.i64()?,
            connects: reader.u16()?,
            restarts: reader.u16()?,
            stay: reader.flag()?,
            measure: reader.flag()?,
        };
        reader.bytes(2)?;
        let pairs = reader.u32()? as usize;
        let environ = reader.u32()? as usize;
        let field_count = reader.u32()? as usize;
        let fields = reader.u32()? as usize;
        let body = reader.u32()? as usize;
        let environ = reader.bytes(environ)?;
        let fields = reader.bytes(fields)?;
        let body = reader.bytes(body)?;
        reader.end()?;

        let mut reader = Reader::new(environ);
        for _ in 0..pairs {
            pairs::read(&mut reader)?;
        }
        reader.end()?;
        let mut reader = Reader::new(fields);
        for _ in 0..field_count {
            read_field(&mut reader)?;
        }
        reader.end()?;
        let complete = header.flags.has(Flags::END);
        let length = body.len() as i64;
        if facts.body_length >= 0 && (length > facts.body_length)
            || (complete && facts.body_length >= 0 && length != facts.body_length)
        {
            return Err(Malformed("the body is not as long as it says"));
        }
        Ok(Request { id: header.id, facts, pairs, environ, fields, body, complete })
    }

    /// The number that the answer must carry.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The fixed part.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// How many variables the environment has.
    pub fn environ_len(&self) -> usize {
        self.pairs
    }

    /// The environment, in order.
    pub fn environ(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        pairs::Pairs::new(self.environ)
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (u16, Value<'a>)> + use<'a> {
        let mut reader = Reader::new(self.fields);
        std::iter::from_fn(move || read_field(&mut reader).ok())
    }

    /// The first field with this number.
    pub fn field(&self, number: u16) -> Option<Value<'a>> {
        self.fields().find(|(other, _)| *other == number).map(|(_, value)| value)
    }

    /// The field with this number, if it is text.
    pub fn text(&self, number: u16) -> Option<&'a [u8]> {
        match self.field(number) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The part of the body that came with the request.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether [`Self::body`] is all of it.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

fn read_field<'a>(reader: &mut Reader<'a>) -> Result<(u16, Value<'a>), Malformed> {
    let number = reader.u16()?;
    let value = match reader.u16()? {
        0 => Value::Bytes(reader.string(MAX_REQUEST)?),
        1 => Value::Int(reader.i64()?),
        2 => Value::Float(f64::from_bits(reader.u64()?)),
        3 => Value::Flag(reader.u16()? != 0),
        _ => return Err(Malformed("a field of unknown type")),
    };
    Ok((number, value))
}
