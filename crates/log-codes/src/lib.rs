//! The `WSGI####` log messages: number, level and text of each, as data.
//!
//! Operators search logs and documentation for these identifiers, so a number is never reused and
//! the leading text of a message is part of the interface. Everything that logs takes its text from
//! here: [`WSGI0105`]`.message([&script, &context])` borrows its arguments, allocates nothing, and
//! does not compile with the wrong number of them. Values are bytes as much as text ([`Value`]),
//! because a script's path need not be UTF-8; user text is only ever a value, never a template.
//!
//! What a level or a code means to the server, where a record goes and how it is decorated is the
//! business of whoever logs. Messages below `warn` carry no code and are not here.
//!
//! Numbers up to 0999 mean what they mean in mod_wsgi 6.1.1
//! (<https://modwsgi.readthedocs.io/en/latest/>); messages it does not have start at 1001.

#![forbid(unsafe_code)]

mod code;
mod daemon;
mod hooks;
mod message;
mod python;
mod script;
mod unused;

pub use code::{Code, Entry, Level, Status};
pub use daemon::*;
pub use hooks::*;
pub use message::{Message, Text, Value};
pub use python::*;
pub use script::*;
pub use unused::{UNUSED, Unused, unused};

/// Numbers that had a message once and must not get another.
pub const RETIRED: &[u16] = &[37, 39, 66, 92, 93, 180, 193, 197];

/// Every code, in order of its number.
pub static TABLE: &[&Entry] = &code::merge::<
    { DAEMON.len() + HOOKS.len() + PYTHON.len() + SCRIPT.len() },
>(&[DAEMON, HOOKS, PYTHON, SCRIPT]);

/// The code with this number.
#[must_use]
pub fn find(number: u16) -> Option<&'static Entry> {
    let at = TABLE.binary_search_by_key(&number, |entry| entry.number()).ok()?;
    TABLE.get(at).copied()
}

/// The code that a finished log line names: the first `WSGI####: ` in it. For tests and tools that
/// check what was logged against the table.
#[must_use]
pub fn find_in(line: &str) -> Option<u16> {
    line.match_indices("WSGI").find_map(|(at, name)| {
        let rest = line.get(at + name.len()..)?;
        let (digits, after) = rest.split_at_checked(4)?;
        (after.starts_with(": ") && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_sorted() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{} and {}", pair[0], pair[1]);
        }
        for rows in [DAEMON, HOOKS, PYTHON, SCRIPT] {
            assert!(rows.is_sorted_by_key(|entry| entry.number()), "near {}", rows[0]);
        }
    }

    #[test]
    fn a_retired_number_is_not_reused() {
        for number in RETIRED {
            assert!(find(*number).is_none(), "{number} is retired");
        }
    }

    #[test]
    fn the_table_holds_every_number_of_the_reference() {
        // 0001 to 0210 without the retired ones; ours begin at 1001.
        let known: Vec<u16> = TABLE.iter().map(|e| e.number()).filter(|n| *n < 1000).collect();
        let wanted: Vec<u16> = (1..=210).filter(|n| !RETIRED.contains(n)).collect();
        assert_eq!(known, wanted);
    }

    #[test]
    fn templates_are_one_line_and_finished() {
        for entry in TABLE {
            let text = entry.template();
            assert!(text.ends_with(['.', '}']), "{entry}: {text}");
            assert!(text.bytes().all(|b| (b' '..0x7f).contains(&b)), "{entry}: {text}");
            assert!(!text.contains('*'), "{entry}: {text}");
        }
    }

    #[test]
    fn only_warnings_and_worse_have_a_code() {
        assert!(TABLE.iter().all(|entry| entry.level() <= Level::Warn));
    }

    #[test]
    fn a_code_is_found_by_number_and_in_a_line() {
        assert_eq!(find(105).unwrap().number(), WSGI0105.number());
        assert!(find(0).is_none());
        assert_eq!(find_in("[client ::1] [script /x] WSGI0117: Unable"), Some(117));
        assert_eq!(find_in("WSGI is not WSGI12: but WSGI0013: text"), Some(13));
        assert_eq!(find_in("see WSGI0013, WSGI00ä3: ."), None);
    }
}
