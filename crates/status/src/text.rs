//! Text for pages: escaped bytes, and numbers as people and machines read them.
//!
//! Numbers are whole all the way: it is exact, and needs none of the code for floating point.

use std::borrow::Cow;
use std::fmt::Write;

/// Where text goes, and what is special there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    /// Text and quoted attributes of HTML.
    Html,
    /// A string of JSON.
    Json,
    /// A label's value in OpenMetrics.
    Label,
}

/// Appends bytes that somebody else chose. What is not UTF-8 becomes U+FFFD; so do, where a person
/// reads, characters that are not seen or change the direction of what is around them.
pub(crate) fn put(out: &mut String, bytes: &[u8], escape: Escape) {
    let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
    for c in text.chars() {
        match (escape, c) {
            (Escape::Html, '&') => out.push_str("&amp;"),
            (Escape::Html, '<') => out.push_str("&lt;"),
            (Escape::Html, '>') => out.push_str("&gt;"),
            (Escape::Html, '"') => out.push_str("&quot;"),
            (Escape::Html, '\'') => out.push_str("&#39;"),
            (Escape::Html, c) if is_unseen(c) => out.push('\u{fffd}'),
            (Escape::Json | Escape::Label, '"' | '\\') => {
                out.push('\\');
                out.push(c);
            }
            (Escape::Label, '\n') => out.push_str("\\n"),
            // Also what would end a line or a script where somebody pastes it.
            (Escape::Json, c) if c.is_control() || matches!(c, '<' | '\u{2028}' | '\u{2029}') => {
                number(out, format_args!("\\u{:04x}", u32::from(c)));
            }
            (Escape::Label, c) if c.is_control() => out.push('\u{fffd}'),
            (_, c) => out.push(c),
        }
    }
}

fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{61c}')
}

/// Appends what is formatted.
pub(crate) fn number(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A `String` takes everything.
    let _ = out.write_fmt(text);
}

/// Appends microseconds as seconds.
pub(crate) fn seconds(out: &mut String, us: u64) {
    number(out, format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
}

/// A duration as a person reads it.
pub(crate) fn duration(us: u64) -> String {
    let tenth = |unit: u64| us / (unit / 10);
    match us {
        0..1000 => format!("{us} µs"),
        1000..10_000 => tenths(tenth(1000), " ms"),
        10_000..1_000_000 => format!("{} ms", us / 1000),
        1_000_000..60_000_000 => tenths(tenth(1_000_000), " s"),
        60_000_000..3_600_000_000 => pair(us / 1_000_000, 60, "min", "s"),
        3_600_000_000..86_400_000_000 => pair(us / 60_000_000, 60, "h", "min"),
        _ => pair(us / 3_600_000_000, 24, "d", "h"),
    }
}

/// A count of bytes as a person reads it.
pub(crate) fn bytes(count: u64) -> String {
    const MIB: u64 = 1 << 20;
    match count {
        0..MIB => format!("{} KiB", count >> 10),
        MIB..0x280_0000 => tenths(tenths_of(count, MIB), " MiB"),
        0x280_0000..0x4000_0000 => format!("{} MiB", count >> 20),
        _ => tenths(tenths_of(count, 1 << 30), " GiB"),
    }
}

/// Thousandths as a person reads them.
pub(crate) fn rate(thousandths: u64) -> String {
    if thousandths < 100_000 { tenths(thousandths / 100, "") } else { grouped(thousandths / 1000) }
}

/// A count with its thousands apart.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            // Narrow, and no place to break a line.
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn tenths_of(count: u64, unit: u64) -> u64 {
    (u128::from(count) * 10 / u128::from(unit)) as u64
}

fn tenths(tenths: u64, unit: &str) -> String {
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
}

fn pair(small: u64, per: u64, large_unit: &str, small_unit: &str) -> String {
    format!("{} {large_unit} {} {small_unit}", small / per, small % per)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8], escape: Escape) -> String {
        let mut out = String::new();
        put(&mut out, text, escape);
        out
    }

    #[test]
    fn nothing_gets_out_of_its_place() {
        let hostile = "<script>\"'&\\\n\u{0}\u{202e}\u{2028}é".as_bytes();
        assert_eq!(
            escaped(hostile, Escape::Html),
            "&lt;script&gt;&quot;&#39;&amp;\\\u{fffd}\u{fffd}\u{fffd}\u{fffd}é"
        );
        assert_eq!(
            escaped(hostile, Escape::Json),
            "\\u003cscript>\\\"'&\\\\\\u000a\\u0000\u{202e}\\u2028é"
        );
        assert_eq!(
            escaped(hostile, Escape::Label),
            "<script>\\\"'&\\\\\\n\u{fffd}\u{202e}\u{2028}é"
        );
        assert_eq!(escaped(b"\xff\xfea", Escape::Html), "\u{fffd}\u{fffd}a");
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1500, 99_999, 1_250_000, 75_000_000, 3_700_000_000, 90_000_000_000]
                .map(duration),
            ["0 µs", "999 µs", "1.5 ms", "99 ms", "1.2 s", "1 min 15 s", "1 h 1 min", "1 d 1 h"]
        );
        assert_eq!(
            [1024, 3 << 19, 100 << 20, 3 << 29].map(bytes),
            ["1 KiB", "1.5 MiB", "100 MiB", "1.5 GiB"]
        );
        assert_eq!(
            [150, 99_900, 1_234_567_000].map(rate),
            ["0.1", "99.9", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!([7, 1000].map(grouped), ["7", "1\u{202f}000"]);
        let _ = (duration(u64::MAX), bytes(u64::MAX), rate(u64::MAX), grouped(u64::MAX));
    }
}
