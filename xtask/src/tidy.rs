//! `tidy`: the rules of this house that no compiler checks.
//!
//! * every Rust file opens with `//!`, and past 600 lines outside its tests holds two nouns;
//! * crates use each other just as ARCHITECTURE.md draws it, and the paths it names are there;
//! * a lint is allowed for a reason, which the attribute says;
//! * codes of log messages are sorted and given once;
//! * change notes are named `<topic>.<kind>.md`;
//! * no file names a directory of the machine it was written on;
//! * links in the documentation lead somewhere, and the book has all of its pages.

pub(crate) mod layers;
mod links;
mod paths;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{ask, root};

const LONGEST: usize = 600;
const KINDS: [&str; 4] = ["new", "changed", "fixed", "security"];

/// Runs the task.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut wrong = Vec::new();
    let files = files(&root)?;
    for path in &files {
        let Ok(text) = std::fs::read_to_string(root.join(path)) else { continue };
        wrong.extend(check_file(path, &text));
    }
    let document =
        std::fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    wrong.extend(layers::violations(&layers::packages()?, &layers::rule(&document)));
    wrong.extend(paths::violations(&document, &files));
    wrong.extend(links::violations(&files, |path| std::fs::read_to_string(root.join(path)).ok()));
    if wrong.is_empty() {
        println!("tidy: {} files are in order", files.len());
        return Ok(());
    }
    for line in &wrong {
        println!("{line}");
    }
    bail!("tidy: {} violations", wrong.len());
}

/// The files of the checkout: tracked ones and new ones that are not ignored; without git, all.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = ask(&mut git).ok().filter(|output| output.status.success());
    let mut files = match listed {
        Some(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect()
        }
        None => {
            let mut files = Vec::new();
            walk(root, Path::new(""), &mut files)?;
            files
        }
    };
    files.retain(|path| root.join(path).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn walk(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name != "target" && name != ".git" && name != "__pycache__" {
                walk(root, &path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// What is wrong with one file, each line beginning with its name.
fn check_file(path: &Path, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let shown = path.display();
    if path.extension().is_some_and(|end| end == "rs") {
        if !text.starts_with("//!") {
            wrong.push(format!(
                "{shown}:1: does not open with `//!`: what it is, why, what it leaves out"
            ));
        }
        let lines = lines_without_tests(text);
        let is_test = path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        if lines > LONGEST && !is_test {
            wrong.push(format!(
                "{shown}: {lines} lines without tests, over {LONGEST}: look for the second noun"
            ));
        }
    }
    if path.extension().is_some_and(|end| end == "rs") {
        wrong.extend(unexplained(text).map(|line| {
            format!("{shown}:{line}: allows a lint and does not say why (`reason = \"...\"`)")
        }));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(found) = machine_path(line) {
            wrong.push(format!("{shown}:{}: names {found} of some machine", number + 1));
        }
    }
    if path.starts_with("changes") && !is_change_note(path) {
        wrong.push(format!(
            "{shown}: a change note is named <topic>.<kind>.md, kind one of {}",
            KINDS.join(", ")
        ));
    }
    if path.starts_with("crates/log-codes/src") {
        wrong.extend(log_codes(text).into_iter().map(|what| format!("{shown}: {what}")));
    }
    wrong
}

/// The lines of attributes that allow a lint without a reason. That tests may `unwrap` needs none.
fn unexplained(text: &str) -> impl Iterator<Item = usize> {
    let is_attribute = |line: &str| line.starts_with("#[allow(") || line.starts_with("#![allow(");
    let mut at = 0;
    text.split_inclusive('\n').enumerate().filter_map(move |(number, line)| {
        let attribute = &text[at..];
        at += line.len();
        if !is_attribute(line.trim_start()) {
            return None;
        }
        let attribute = attribute.split(")]").next().unwrap_or_default();
        let is_clear =
            attribute.contains("reason =") || attribute.ends_with("(clippy::unwrap_used");
        (!is_clear).then_some(number + 1)
    })
}

/// Tests are last in a file, so counting ends where they begin.
fn lines_without_tests(text: &str) -> usize {
    let mut lines = text.lines().enumerate();
    let tests = lines.find(|(_, line)| *line == "#[cfg(test)]").map(|(number, _)| number);
    tests.unwrap_or_else(|| text.lines().count())
}

/// A home directory or working directory of some machine. Built from parts so as not to find
/// itself.
fn machine_path(line: &str) -> Option<String> {
    for name in ["work", "root"] {
        let path = format!("/{name}/");
        let mut rest = line;
        let mut before = None;
        while let Some(at) = rest.find(&path) {
            let previous = rest[..at].chars().next_back().or(before);
            // `docs/work/x` is a relative path, `ServerRoot/root/` part of a longer one.
            let starts = !previous.is_some_and(|c| c.is_alphanumeric() || "_-.}>)*".contains(c));
            if starts {
                return Some(path);
            }
            before = rest[at..].chars().next();
            rest = &rest[at + 1..];
        }
    }
    None
}

fn is_change_note(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    if name == "README.md" {
        return true;
    }
    let parts: Vec<&str> = name.split('.').collect();
    let [topic, kind, "md"] = parts[..] else { return false };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    path.components().count() == 2
        && !topic.is_empty()
        && topic.chars().all(plain)
        && KINDS.contains(&kind)
}

/// Rows of the table are lines that begin with a code, whatever stands around it.
fn log_codes(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: Option<u32> = None;
    let body = text.lines().take(lines_without_tests(text));
    for line in body.filter(|line| !line.trim_start().starts_with("//")) {
        let Some(at) = line.find("WSGI") else { continue };
        let digits: String = line[at + 4..].chars().take_while(char::is_ascii_digit).collect();
        let (4, Ok(code)) = (digits.len(), digits.parse::<u32>()) else { continue };
        match last {
            Some(before) if code == before => wrong.push(format!("WSGI{digits} is given twice")),
            Some(before) if code < before => {
                wrong.push(format!("WSGI{digits} comes after WSGI{before:04}"));
            }
            _ => {}
        }
        last = Some(code);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        check_file(Path::new(path), text)
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert!(check("crates/py/src/lib.rs", "//! Owned references.\n").is_empty());
        assert_eq!(check("crates/py/src/lib.rs", "use std::fmt;\n").len(), 1);
        assert!(check("examples/app.py", "import sys\n").is_empty());
    }

    #[test]
    fn a_long_file_is_two() {
        let code = "//! x\n".to_owned() + &"fn a() {}\n".repeat(LONGEST);
        assert_eq!(check("crates/a/src/lib.rs", &code).len(), 1);
        assert!(check("tests/tests/a.rs", &code).is_empty());
        let tested =
            "//! x\n#[cfg(test)]\nmod tests {\n".to_owned() + &"fn a() {}\n".repeat(LONGEST);
        assert!(check("crates/a/src/lib.rs", &tested).is_empty());
    }

    #[test]
    fn a_lint_is_allowed_for_a_reason() {
        let ok = "//! x\n#![allow(clippy::unwrap_used)]\n#[allow(a, reason = \"b\")]\n#[allow(\n    \
                  a,\n    reason = \"b\"\n)]\n";
        assert!(check("a.rs", ok).is_empty());
        let wrong =
            "//! x\n#[allow(dead_code)]\nfn a() {}\n    #![allow(clippy::unwrap_used, a)]\n";
        assert_eq!(
            check("a.rs", wrong),
            [2, 4].map(|line| format!(
                "a.rs:{line}: allows a lint and does not say why (`reason = \"...\"`)"
            ))
        );
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let home = format!("/{}/x", "root");
        assert_eq!(
            check("a.md", &format!("see {home}")),
            [format!("a.md:1: names /{}/ of some machine", "root")]
        );
        assert_eq!(check("a.md", &format!("\"{home}\"")).len(), 1);
        assert_eq!(check("a.md", &format!("docs{home} and then {home}")).len(), 1);
        assert!(check("a.md", &format!("docs{home}")).is_empty());
        assert!(check("a.md", "the document root/htdocs").is_empty());
    }

    #[test]
    fn change_notes_have_names() {
        for good in ["changes/reload.fixed.md", "changes/d01-short-body.security.md"] {
            assert!(check(good, "").is_empty(), "{good}");
        }
        for bad in [
            "changes/reload.md",
            "changes/Re load.new.md",
            "changes/a.odd.md",
            "changes/a/b.new.md",
        ] {
            assert_eq!(check(bad, "").len(), 1, "{bad}");
        }
    }

    #[test]
    fn log_codes_rise() {
        let path = "crates/log-codes/src/table.rs";
        assert!(
            check(path, "//! WSGI0009 first\n(\"WSGI0001\", ..),\n    WSGI0002 => x,\n").is_empty()
        );
        assert_eq!(
            check(path, "//! x\nWSGI0002\nWSGI0002\n"),
            [format!("{path}: WSGI0002 is given twice")]
        );
        assert_eq!(
            check(path, "//! x\nWSGI0003\nWSGI0002\n"),
            [format!("{path}: WSGI0002 comes after WSGI0003")]
        );
    }
}
