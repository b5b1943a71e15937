//! Text for a log: entries have no newline and no NUL, are not too long, and hold all of the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::lines::{Lines, Unfinished};

fuzz_target!(|writes: Vec<(&[u8], u16)>| {
    let mut unfinished = Unfinished::default();
    let mut lines = Lines::default();
    let mut written = Vec::new();
    for (text, repeat) in writes.iter().take(50) {
        for _ in 0..repeat % 500 {
            unfinished.write(text, &mut lines);
            written.extend_from_slice(text);
        }
    }
    unfinished.finish(&mut lines);
    assert!(unfinished.is_empty());
    let mut logged = Vec::new();
    for entry in lines.iter() {
        assert!(!entry.contains(&b'\n') && !entry.contains(&0));
        // NUL becomes four characters.
        assert!(entry.len() <= 7000 + 8);
        logged.extend_from_slice(entry);
    }
    let mut expected = Vec::new();
    for byte in written {
        match byte {
            b'\n' => {}
            0 => expected.extend_from_slice(b"\\x00"),
            byte => expected.push(byte),
        }
    }
    assert_eq!(logged, expected);
});
