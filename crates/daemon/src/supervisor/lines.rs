//! What a worker writes to its standard output and error, as lines.
//!
//! Text arrives in pieces, a traceback without buffering in single words. A line is a line when its
//! newline has come, when it is longer than anybody reads, or when the writer is gone. Each worker
//! has its own pipe, so lines of different workers do not mix.

/// Longest line.
const LONGEST: usize = 8 << 10;

/// The beginning of a line whose rest has not come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes some text, and hands out the lines that it completes, without their newlines.
    pub(super) fn feed(&mut self, mut text: &[u8], line: &mut dyn FnMut(&[u8])) {
        while let Some(at) = text.iter().position(|byte| *byte == b'\n') {
            let (end, rest) = text.split_at(at);
            text = &rest[1..];
            self.add(end, line);
            // A long line that was handed out in parts may end with nothing more.
            if !self.partial.is_empty() || end.is_empty() {
                line(&self.partial);
                self.partial.clear();
            }
        }
        self.add(text, line);
    }

    /// Hands out what has no newline: nothing more comes.
    pub(super) fn end(&mut self, line: &mut dyn FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }

    fn add(&mut self, mut text: &[u8], line: &mut dyn FnMut(&[u8])) {
        while self.partial.len() + text.len() > LONGEST {
            let (now, later) = text.split_at(LONGEST - self.partial.len());
            self.partial.extend_from_slice(now);
            line(&self.partial);
            self.partial.clear();
            text = later;
        }
        self.partial.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut all, mut lines) = (Vec::new(), Lines::default());
        for piece in pieces {
            lines.feed(piece, &mut |line| all.push(line.to_vec()));
        }
        lines.end(&mut |line| all.push(line.to_vec()));
        all
    }

    #[test]
    fn pieces_are_joined() {
        assert_eq!(lines(&[b"a", b"b\nc\n", b"", b"d"]), [&b"ab"[..], b"c", b"d"]);
        assert_eq!(lines(&[b"\n\n"]), [b"", b""]);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_split() {
        let long = vec![b'x'; 2 * LONGEST + 5];
        let lengths: Vec<usize> = lines(&[&long, b"y\nz"]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [LONGEST, LONGEST, 6, 1]);
    }
}
