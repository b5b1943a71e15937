//! Records for the server's log, as they travel with a request and from the supervisor.
//!
//! A record's text is never a format string and may hold any byte; who writes it into a log escapes
//! what does not belong there.

use super::Malformed;
use super::codec::{Put, Reader};
use super::frame::MAX_LOG;

/// One entry for the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// How bad, numbered as in syslog and Apache: 1 is an alert, 3 an error, 6 for information.
    pub level: u8,
    /// How it is decorated; whoever logs and whoever writes agree on what numbers mean.
    pub style: u8,
    /// The number of a message; 0 for none.
    pub code: u16,
    /// The system's error number that goes with it; 0 for none.
    pub errno: i32,
    /// The text, without a newline.
    pub text: &'a [u8],
    /// The source file that logs; empty if not known.
    pub file: &'a [u8],
    /// Line in that file.
    pub line: u32,
}

impl<'a> Record<'a> {
    /// A plain message.
    pub const fn new(level: u8, code: u16, text: &'a [u8]) -> Record<'a> {
        Record { level, style: 0, code, errno: 0, text, file: b"", line: 0 }
    }

    /// Appends it. A text that no frame could carry is cut.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let file = &self.file[..self.file.len().min(MAX_FILE)];
        let text = &self.text[..self.text.len().min(MAX_TEXT)];
        buffer.put(&[self.level, self.style]);
        buffer.put_u16(self.code);
        buffer.put_i32(self.errno);
        buffer.put_u32(self.line);
        buffer.put_string(text);
        buffer.put_string(file);
    }

    /// Takes the next one.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Record<'a>, Malformed> {
        Ok(Record {
            level: reader.u8()?,
            style: reader.u8()?,
            code: reader.u16()?,
            errno: reader.i32()?,
            line: reader.u32()?,
            text: reader.string(MAX_LOG)?,
            file: reader.string(MAX_LOG)?,
        })
    }

    /// Most bytes that [`Self::encode`] appends.
    pub const MAX: usize = MAX_TEXT + MAX_FILE + 20;
}

const MAX_TEXT: usize = 32 << 10;
const MAX_FILE: usize = 4 << 10;

/// The records of a LOG frame.
///
/// # Errors
/// They make no sense.
pub fn decode_all(payload: &[u8]) -> Result<Vec<Record<'_>>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut records = Vec::new();
    while !reader.rest().is_empty() {
        records.push(Record::decode(&mut reader)?);
    }
    Ok(records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let first = Record { errno: 13, file: b"app.py", line: 7, ..Record::new(3, 105, b"%s\0") };
        let second = Record::new(6, 0, b"");
        let mut buffer = Vec::new();
        first.encode(&mut buffer);
        second.encode(&mut buffer);
        assert_eq!(decode_all(&buffer).unwrap(), [first, second]);
        buffer.pop();
        assert!(decode_all(&buffer).is_err());
    }

    #[test]
    fn a_text_without_end_is_cut() {
        let text = vec![b'x'; MAX_LOG + 1];
        let mut buffer = Vec::new();
        Record { file: &text, ..Record::new(3, 0, &text) }.encode(&mut buffer);
        assert!(buffer.len() <= Record::MAX);
        assert_eq!(decode_all(&buffer).unwrap()[0].text.len(), MAX_TEXT);
    }
}
