//! Where a thread is in Python, for whoever looks at a page: as data, and as text that crosses from
//! a worker to a child.
//!
//! ```text
//! frames
//! LINE <TAB> FUNCTION <TAB> FILE       innermost first
//! ```
//!
//! Names are what somebody else chose. A tab or a line's end in one becomes U+FFFD, so that the text
//! stays in its lines; what is special where it is shown, is for whoever shows it. Text that makes
//! no sense is no place.

use std::time::Duration;

/// How long somebody who wants to know waits for Python's lock.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// Where a thread is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no Python code: it reads, sends, or waits for its turn.
    Elsewhere,
    /// Python's lock could not be had in time: somebody keeps it.
    Held,
    /// This Python has no such lock, and does not let one thread look at another.
    Untold,
    /// In these frames, the innermost first.
    Frames(Vec<Frame>),
}

/// A call of a function that has not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The file of its code.
    pub file: String,
    /// The line that it is at; 0 if that is not known.
    pub line: u32,
    /// The function.
    pub function: String,
}

/// The first words, in the order of the enum.
const WORDS: [&str; 4] = ["elsewhere", "held", "untold", "frames"];

impl Place {
    /// As text of at most `room` bytes: the outermost frames are left out first, and of a name that is
    /// too long the beginning is.
    pub fn encode(&self, room: usize) -> Vec<u8> {
        let frames: &[Frame] = match self {
            Place::Elsewhere => return word(0, room),
            Place::Held => return word(1, room),
            Place::Untold => return word(2, room),
            Place::Frames(frames) => frames,
        };
        let mut text = word(3, room);
        for (index, frame) in frames.iter().enumerate() {
            let one_line = |name: &str| name.replace(['\n', '\t', '\r'], "\u{fffd}");
            let (function, file) = (one_line(&frame.function), one_line(&frame.file));
            let head = format!("\n{}\t", frame.line);
            let left = room.saturating_sub(text.len() + head.len() + 1);
            if function.len() + file.len() > left {
                // What there is of the first is better than nothing.
                if index > 0 || left < LEAST {
                    break;
                }
                let function = end_of(&function, left / 3);
                let file = end_of(&file, left - function.len());
                text.extend(
                    [head.as_bytes(), function.as_bytes(), b"\t", file.as_bytes()].concat(),
                );
                break;
            }
            text.extend([head.as_bytes(), function.as_bytes(), b"\t", file.as_bytes()].concat());
        }
        text
    }

    /// What [`Place::encode`] wrote; `None` for anything else.
    pub fn decode(text: &[u8]) -> Option<Place> {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.split('\n');
        let word = lines.next()?;
        match WORDS.iter().position(|known| *known == word)? {
            0 => Some(Place::Elsewhere),
            1 => Some(Place::Held),
            2 => Some(Place::Untold),
            _ => lines.take(MOST_FRAMES).map(frame).collect::<Option<_>>().map(Place::Frames),
        }
    }
}

/// As many frames are told.
pub const MOST_FRAMES: usize = 12;

/// Less than that tells nothing.
const LEAST: usize = 24;

fn word(index: usize, room: usize) -> Vec<u8> {
    let word = WORDS[index].as_bytes();
    // Without room for it there is nothing, which is no place.
    if word.len() <= room { word.to_vec() } else { Vec::new() }
}

fn frame(line: &str) -> Option<Frame> {
    let mut parts = line.splitn(3, '\t');
    let (line, function, file) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Frame { file: file.to_owned(), line: line.parse().ok()?, function: function.to_owned() })
}

/// The last bytes of a name, marked as such.
fn end_of(name: &str, length: usize) -> String {
    const MARK: &str = "…";
    if name.len() <= length {
        return name.to_owned();
    }
    let mut from = name.len() - length.saturating_sub(MARK.len());
    while !name.is_char_boundary(from) {
        from += 1;
    }
    [MARK, &name[from..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, line: u32, function: &str) -> Frame {
        Frame { file: file.to_owned(), line, function: function.to_owned() }
    }

    #[test]
    fn places_are_read_as_they_were_written() {
        let frames = vec![at("/app.py", 7, "f"), at("/é x.py", 0, "<module>")];
        for place in [Place::Elsewhere, Place::Held, Place::Untold, Place::Frames(frames)] {
            assert_eq!(Place::decode(&place.encode(1000)), Some(place));
        }
        assert_eq!(Place::decode(b"frames"), Some(Place::Frames(Vec::new())));
    }

    #[test]
    fn names_stay_in_their_lines() {
        let hostile = Place::Frames(vec![at("a\tb\nheld\r", 1, "f\n9\tg\th")]);
        let read = Place::decode(&hostile.encode(1000));
        let tame = at("a\u{fffd}b\u{fffd}held\u{fffd}", 1, "f\u{fffd}9\u{fffd}g\u{fffd}h");
        assert_eq!(read, Some(Place::Frames(vec![tame])));
        for nonsense in
            [&b""[..], b"held\0", b"frames\n", b"frames\n1\tx", b"frames\n-1\tf\tx", b"\xff"]
        {
            assert_eq!(Place::decode(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let long = "é".repeat(500);
        let many = Place::Frames((0..100).map(|line| at(&long, line, &long)).collect());
        for room in 0..2100 {
            let text = many.encode(room);
            assert!(text.len() <= room, "{room}");
            let Some(Place::Frames(frames)) = Place::decode(&text) else {
                assert!(text.is_empty());
                continue;
            };
            assert!(room < 100 || frames[0].file.ends_with('é'), "{room}");
        }
        let text = many.encode(100_000);
        assert!(
            matches!(Place::decode(&text), Some(Place::Frames(all)) if all.len() == MOST_FRAMES)
        );
    }
}
