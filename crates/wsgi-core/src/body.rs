//! Buffering of a request's body, free of Python: what `wsgi.input` does between its methods and
//! the server.
//!
//! One buffer serves `readline` and small reads; large reads go past it. Data leaves the buffer
//! only when it is handed out, so whatever order of reads and lines an application chooses, it
//! sees each byte once and in order.

use crate::host::Fault;

/// Where a body comes from.
pub trait Source {
    /// Reads into `buffer`, which is not empty: at least one byte unless at the end.
    ///
    /// # Errors
    /// What the server says.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault>;
}

/// How much is asked for when the application wants less.
const CHUNK: usize = 8192;

/// What has been read from the server, but not by the application.
#[derive(Debug, Default)]
pub struct Body {
    /// Bytes before `start` were handed out, the ones up to `end` were not; the rest is room.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The server has been asked at least once.
    asked: bool,
    /// The server has no more.
    at_end: bool,
}

impl Body {
    /// Whether nothing is left, neither here nor at the server.
    pub fn is_finished(&self) -> bool {
        self.at_end && self.start == self.end
    }

    /// Asks the server, if nobody has yet: its first answer is what makes a client continue.
    ///
    /// # Errors
    /// What the server says.
    pub fn touch(&mut self, source: &mut impl Source) -> Result<(), Fault> {
        if self.asked { Ok(()) } else { self.fill(source) }
    }

    /// Reads at least one byte into `out`, which is not empty, unless at the end.
    ///
    /// # Errors
    /// What the server says.
    pub fn read(&mut self, source: &mut impl Source, out: &mut [u8]) -> Result<usize, Fault> {
        if self.start == self.end {
            if self.at_end {
                return Ok(0);
            }
            if out.len() >= CHUNK {
                self.asked = true;
                let count = source.read(out)?.min(out.len());
                self.at_end = count == 0;
                return Ok(count);
            }
            self.fill(source)?;
        }
        let waiting = self.waiting();
        let count = waiting.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), waiting.get(..count)) {
            to.copy_from_slice(from);
        }
        self.start += count;
        Ok(count)
    }

    /// Reads up to and including the next newline, at most `limit` bytes; empty at the end.
    ///
    /// # Errors
    /// What the server says.
    pub fn line(&mut self, source: &mut impl Source, limit: Option<usize>) -> Result<&[u8], Fault> {
        let limit = limit.unwrap_or(usize::MAX);
        let mut searched = 0;
        let length = loop {
            let waiting = self.waiting();
            let fresh = waiting.get(searched..).unwrap_or_default();
            if let Some(at) = memchr::memchr(b'\n', fresh) {
                break (searched + at + 1).min(limit);
            }
            searched = waiting.len();
            if searched >= limit {
                break limit;
            }
            if self.at_end {
                break searched;
            }
            self.fill(source)?;
        };
        let start = self.start;
        self.start += length;
        Ok(self.buffer.get(start..start + length).unwrap_or_default())
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads once from the server, behind what is waiting.
    fn fill(&mut self, source: &mut impl Source) -> Result<(), Fault> {
        self.asked = true;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > 8 * CHUNK {
                // A long line has gone; its memory goes, too.
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.end < CHUNK / 2 {
            if self.start > 0 && self.start >= self.end / 2 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.buffer.len() - self.end < CHUNK / 2 {
                // Twice as large, so that a long line is copied a few times only.
                self.buffer.resize((2 * self.buffer.len()).max(CHUNK), 0);
            }
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = source.read(room)?.min(room.len());
        self.end += count;
        self.at_end = count == 0;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A body that arrives in pieces of these sizes, again and again.
    struct Pieces<'a> {
        data: &'a [u8],
        sizes: Vec<usize>,
        next: usize,
    }

    impl Source for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
            assert!(!buffer.is_empty());
            let size = self.sizes[self.next % self.sizes.len()];
            self.next += 1;
            let (head, rest) = self.data.split_at(size.min(buffer.len()).min(self.data.len()));
            buffer[..head.len()].copy_from_slice(head);
            self.data = rest;
            Ok(head.len())
        }
    }

    fn lines(data: &[u8], sizes: &[usize], limit: Option<usize>) -> Vec<Vec<u8>> {
        let mut source = Pieces { data, sizes: sizes.to_vec(), next: 0 };
        let mut body = Body::default();
        let mut lines = Vec::new();
        loop {
            let line = body.line(&mut source, limit).unwrap().to_vec();
            if line.is_empty() {
                assert!(body.is_finished());
                return lines;
            }
            lines.push(line);
        }
    }

    #[test]
    fn d04_a_line_behind_a_very_long_one_is_whole() {
        let mut data = vec![b'a'; 100_000];
        data.push(b'\n');
        data.extend_from_slice(&[b'b'; 8500]);
        data.push(b'\n');
        data.extend_from_slice(b"rest");
        for sizes in [&[8192_usize][..], &[1, 9000], &[200_000], &[100_001 + 8192]] {
            let lines = lines(&data, sizes, None);
            assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [100_001, 8501, 4]);
            assert_eq!(lines.concat(), data);
        }
    }

    #[test]
    fn limits_cut_lines_anywhere() {
        assert_eq!(lines(b"ab\nc\n", &[1], Some(2)), [&b"ab"[..], b"\n", b"c\n"]);
        assert_eq!(lines(b"ab\nc", &[10], Some(3)), [&b"ab\n"[..], b"c"]);
    }

    #[test]
    fn reads_and_lines_share_the_data() {
        let data = b"one\ntwo\nthree";
        let mut source = Pieces { data, sizes: vec![5, 3], next: 0 };
        let mut body = Body::default();
        let mut out = [0; 2];
        assert_eq!(body.read(&mut source, &mut out).unwrap(), 2);
        assert_eq!(&out, b"on");
        assert_eq!(body.line(&mut source, None).unwrap(), b"e\n");
        assert_eq!(body.line(&mut source, Some(0)).unwrap(), b"");
        let mut rest = Vec::new();
        loop {
            let count = body.read(&mut source, &mut out).unwrap();
            if count == 0 {
                break;
            }
            rest.extend_from_slice(&out[..count]);
        }
        assert_eq!(rest, b"two\nthree");
    }

    #[test]
    fn touching_asks_once() {
        let mut source = Pieces { data: b"abc", sizes: vec![2], next: 0 };
        let mut body = Body::default();
        body.touch(&mut source).unwrap();
        body.touch(&mut source).unwrap();
        assert_eq!(source.next, 1);
        assert_eq!(body.line(&mut source, None).unwrap(), b"abc");
    }
}
