//! Paths that ARCHITECTURE.md names are there: a map that leads nowhere is worse than none.
//!
//! A path is what stands between backticks with a slash in it and a name of the checkout or of
//! `crates/` in front. Blocks of code and `target/` are what a build leaves, which need not be there.

use std::path::{Path, PathBuf};

use super::links::prose;

/// What the document names and `files` do not have.
pub(super) fn violations(document: &str, files: &[PathBuf]) -> Vec<String> {
    let is_there = |path: &Path| files.iter().any(|file| file.starts_with(path));
    let mut wrong = Vec::new();
    for (number, line) in prose(document) {
        for path in line.split('`').skip(1).step_by(2).filter(|text| is_path(text)) {
            if !is_there(Path::new(path)) && !is_there(&Path::new("crates").join(path)) {
                wrong.push(format!("ARCHITECTURE.md:{number}: there is no {path}"));
            }
        }
    }
    wrong
}

/// Whether text between backticks means a file or folder of the checkout.
fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let is_elsewhere = text.starts_with('/') || text.starts_with("target/");
    text.contains('/') && !is_elsewhere && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str) -> Vec<String> {
        violations(document, &["crates/py/src/wait.rs", "docs/metrics.md"].map(PathBuf::from))
    }

    #[test]
    fn files_and_folders_are_looked_for() {
        assert!(check("`py/src/wait.rs`, `crates/py/src`, `docs/metrics.md`, `target`").is_empty());
        assert_eq!(
            check("\n`py/src/gone.rs` and `docs/none`"),
            [
                "ARCHITECTURE.md:2: there is no py/src/gone.rs",
                "ARCHITECTURE.md:2: there is no docs/none"
            ]
        );
    }

    #[test]
    fn other_code_is_no_path() {
        assert!(
            check(
                "`repr(C)`, `daemon::client`, `/proc`, `target/dist`, `a / b`\n```\n`none/x`\n```\n"
            )
            .is_empty()
        );
    }
}
