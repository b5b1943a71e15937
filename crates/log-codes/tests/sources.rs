//! The table against what the workspace logs: what is logged is documented, what is documented is
//! logged or has a reason not to be, and nothing that ends a process is said too softly.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use log_codes::{RETIRED, TABLE, UNUSED, find, unused};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources of all crates but this one, without their unit tests.
fn sources() -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![workspace().join("crates")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !["log-codes", "tests", "target"].contains(&name) {
                    left.push(path);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
                found.insert(path, text);
            }
        }
    }
    assert!(found.len() > 50, "only {} files", found.len());
    found
}

/// The codes that a source names as values, so that it can log them.
fn codes_in(text: &str) -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("WSGI") {
            let before = code[..at].chars().next_back();
            let digits = code.get(at + 4..at + 8).unwrap_or_default();
            let after = code.get(at + 8..).and_then(|rest| rest.chars().next());
            let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            let quoted = matches!(before, Some('"' | '`'));
            if digits.len() == 4 && !quoted && !is_word(before) && !is_word(after) {
                found.extend(digits.parse::<u16>());
            }
        }
    }
    found
}

fn logged() -> BTreeSet<u16> {
    sources().values().flat_map(|text| codes_in(text)).collect()
}

#[test]
fn codes_are_found_in_sources() {
    let text = "use log_codes::{WSGI0105, WSGI0106};\n// WSGI0001\nlog(&WSGI0107.message([]));\n\
                let text = \"WSGI0002: x\"; x.starts_with(WSGI01234); MY_WSGI0003";
    assert_eq!(codes_in(text), [105, 106, 107].into());
}

#[test]
fn what_is_logged_is_in_the_table() {
    for number in logged() {
        assert!(find(number).is_some(), "WSGI{number:04} is logged and not in the table");
        assert!(!RETIRED.contains(&number), "WSGI{number:04} is retired");
    }
}

#[test]
fn what_is_in_the_table_is_logged_or_has_a_reason_not_to_be() {
    let logged = logged();
    for entry in TABLE {
        match unused(entry.number()) {
            None => assert!(logged.contains(&entry.number()), "nothing logs {entry}: say why"),
            Some(unused) => assert!(
                unused.awaited || !logged.contains(&entry.number()),
                "{entry} is logged, though: {}",
                unused.reason
            ),
        }
    }
}

#[test]
fn reasons_are_for_codes_of_the_table_and_one_each() {
    let mut seen = BTreeSet::new();
    for unused in UNUSED {
        assert!(unused.numbers.is_sorted(), "{}", unused.reason);
        assert!(unused.reason.ends_with('.'), "{}", unused.reason);
        for number in unused.numbers {
            assert!(find(*number).is_some(), "{number} is not in the table");
            assert!(seen.insert(*number), "{number} has two reasons");
        }
    }
}

/// Words of texts that say that a process ends other than in good order.
const ENDS: [&str; 9] = [
    "died",
    "abort",
    "kill",
    "crash",
    "expired",
    "forcing shutdown",
    "terminated by",
    "out of memory",
    "gave up",
];

/// Texts with such words that another line, at a higher level, goes with.
const BESIDE_ANOTHER: [&str; 1] = ["has died; deregistering and restarting it."];

#[test]
fn nothing_that_ends_a_process_is_logged_below_warning() {
    for (path, text) in sources() {
        let statements: Vec<&str> = text.split(';').collect();
        for (at, statement) in statements.iter().enumerate() {
            let low = ["Level::Info", "Level::Notice", "Level::Debug", "Level::Trace1"];
            let logs = statement.contains("log") && low.iter().any(|low| statement.contains(low));
            if !logs {
                continue;
            }
            // The text is in the statement, or in the one before.
            let near = &statements[at.saturating_sub(1)..=at];
            for literal in near.iter().flat_map(|code| code.split('"').skip(1).step_by(2)) {
                let allowed = BESIDE_ANOTHER.iter().any(|text| literal.contains(text));
                let word = ENDS.iter().find(|word| literal.to_lowercase().contains(**word));
                assert!(
                    allowed || word.is_none(),
                    "{}: '{literal}' is logged below warning",
                    path.display()
                );
            }
        }
    }
}

/// `docs/log-messages.md`.
fn page() -> String {
    let mut page = String::from(
        "# Messages in the error log\n\n\
         Made from the table of messages; do not edit.\n\n\
         The code of a message never changes its meaning. With a request the line has the file of its script in front, `[script FILE] WSGInnnn: text`. The head line \
         of an exception has the code first, `WSGInnnn: [script FILE] text`, and the traceback \
         follows, a record for each line. `{}` stands for a value. Codes from `WSGI1001` on are not \
         in mod_wsgi.\n\n\
         | code | level | text |\n|---|---|---|\n",
    );
    let live = TABLE.iter().filter(|entry| unused(entry.number()).is_none_or(|it| it.awaited));
    for entry in live {
        let text = entry.template().replace('|', "\\|").replace('<', "\\<");
        let _ = writeln!(page, "| `{entry}` | {} | {text} |", entry.level().name());
    }
    page += "\n## Not logged\n\nmod_wsgi has these; here nothing logs them.\n\n\
             | codes | why |\n|---|---|\n";
    let list = |numbers: &[u16]| {
        let codes: Vec<_> = numbers.iter().map(|number| format!("`WSGI{number:04}`")).collect();
        codes.join(", ")
    };
    for unused in UNUSED.iter().filter(|unused| !unused.awaited) {
        let _ = writeln!(page, "| {} | {} |", list(unused.numbers), unused.reason);
    }
    let _ = writeln!(page, "| {} | Retired; mod_wsgi had them once. |", list(RETIRED));
    page += "\nOf those in the table above, these may be missing still:\n\n\
             | codes | why |\n|---|---|\n";
    for unused in UNUSED.iter().filter(|unused| unused.awaited) {
        let _ = writeln!(page, "| {} | {} |", list(unused.numbers), unused.reason);
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let file = workspace().join("docs/log-messages.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, page()).unwrap();
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    assert!(written == page(), "run `UPDATE_DOCS=1 cargo test -p log-codes`");
}
