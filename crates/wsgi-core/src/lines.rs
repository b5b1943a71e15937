//! Text becomes log entries: one per line, each of a length that a log can hold.
//!
//! Apache cuts a log entry at 8191 bytes after escaping, and at the first NUL; mod_wsgi lets that
//! happen. Here a long line is continued in another entry and a NUL is written out, so nothing is
//! lost. Free of Python, and of any log: [`Lines`] only collects.

use std::mem;

/// Longest entry, counted as Apache writes it: four for what it escapes as `\xNN`. What is left of
/// 8191 is for the time, the client and the script's path.
const LONGEST: usize = 7000;

/// Entries, ready for a log.
#[derive(Debug, Default)]
pub struct Lines {
    /// All entries, one behind the other.
    text: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Lines {
    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let line = self.text.get(start..end).unwrap_or_default();
            start = end;
            line
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a line, as several entries if it is long.
    pub fn push(&mut self, mut line: &[u8]) {
        loop {
            let (entry, rest) = line.split_at(fitting(line));
            for (i, part) in entry.split(|&byte| byte == 0).enumerate() {
                if i > 0 {
                    self.text.extend_from_slice(b"\\x00");
                }
                self.text.extend_from_slice(part);
            }
            self.ends.push(self.text.len());
            line = rest;
            if line.is_empty() {
                return;
            }
        }
    }

    /// Adds the lines of a text that is complete; an end of line at its end is no further line.
    pub fn push_text(&mut self, text: &[u8]) {
        let mut unfinished = Unfinished::default();
        unfinished.write(text, self);
        unfinished.finish(self);
    }
}

/// The part of a line that was written so far.
#[derive(Debug, Default)]
pub struct Unfinished(Vec<u8>);

impl Unfinished {
    /// Takes text; its complete lines, and what is too long to wait for its end, go to `lines`.
    pub fn write(&mut self, text: &[u8], lines: &mut Lines) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            let line = text.get(start..end).unwrap_or_default();
            start = end + 1;
            if self.0.is_empty() {
                lines.push(line);
            } else {
                self.0.extend_from_slice(line);
                lines.push(&mem::take(&mut self.0));
            }
        }
        self.0.extend_from_slice(text.get(start..).unwrap_or_default());
        while self.0.len() > LONGEST {
            let rest = self.0.split_off(fitting(&self.0));
            lines.push(&mem::replace(&mut self.0, rest));
        }
    }

    /// What there is becomes an entry.
    pub fn finish(&mut self, lines: &mut Lines) {
        if !self.0.is_empty() {
            lines.push(&mem::take(&mut self.0));
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How much of `line` fits into an entry: all of it, or up to a character of UTF-8.
fn fitting(line: &[u8]) -> usize {
    if line.len() <= LONGEST / 4 {
        return line.len();
    }
    let mut width = 0;
    for (at, &byte) in line.iter().enumerate() {
        width += match byte {
            b'\\' => 2,
            b' '..=b'~' => 1,
            _ => 4,
        };
        if width > LONGEST {
            let head = line.get(..=at).unwrap_or(line);
            let continued = head.iter().rev().take(4).take_while(|b| **b & 0xc0 == 0x80).count();
            // Four continuation bytes in a row are not UTF-8: cut anywhere.
            return if continued < 4 { at - continued } else { at };
        }
    }
    line.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries(lines: &Lines) -> Vec<String> {
        lines.iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    #[test]
    fn fragments_are_joined() {
        let (mut unfinished, mut lines) = (Unfinished::default(), Lines::default());
        for text in ["a", "b\n\nc", "", "d"] {
            unfinished.write(text.as_bytes(), &mut lines);
        }
        assert_eq!(entries(&lines), ["ab", ""]);
        assert!(!unfinished.is_empty());
        unfinished.finish(&mut lines);
        unfinished.finish(&mut lines);
        assert_eq!(entries(&lines), ["ab", "", "cd"]);
    }

    #[test]
    fn d32_long_lines_and_what_is_behind_a_nul_are_kept() {
        let mut lines = Lines::default();
        let long = "x".repeat(3 * LONGEST - 10) + "\0end";
        lines.push_text(long.as_bytes());
        let entries = entries(&lines);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries.concat(), long.replace('\0', "\\x00"));
        assert!(entries.iter().all(|entry| entry.len() <= LONGEST + 3));
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        for shift in 0..4 {
            let mut lines = Lines::default();
            let long = "-".repeat(shift) + &"\u{20ac}".repeat(LONGEST);
            lines.push_text(long.as_bytes());
            let entries = entries(&lines);
            assert_eq!(entries.concat(), long);
            assert!(entries.iter().all(|entry| entry.len() * 4 <= LONGEST + 16));
        }
        let mut lines = Lines::default();
        lines.push(&[0x80; 9000]);
        assert_eq!(lines.iter().map(<[u8]>::len).sum::<usize>(), 9000);
    }

    #[test]
    fn a_line_without_end_does_not_pile_up() {
        let (mut unfinished, mut lines) = (Unfinished::default(), Lines::default());
        for _ in 0..100 {
            unfinished.write(&[b'x'; 1000], &mut lines);
            assert!(unfinished.0.len() <= LONGEST);
        }
        assert!(!lines.is_empty());
    }
}
