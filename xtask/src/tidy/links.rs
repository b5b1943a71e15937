//! Links in the documentation: what they name is there, and the book has every page.
//!
//! mdBook makes a site of `docs/` without looking at links, and knows the pages that `SUMMARY.md`
//! lists and no others. Addresses on the network are not asked for.
//!
//! <https://rust-lang.github.io/mdBook/format/summary.html>

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// What is wrong with these files of the checkout, read by `read`.
pub(crate) fn violations(files: &[PathBuf], read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let there: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
    let is_directory = |path: &Path| files.iter().any(|file| file.starts_with(path));
    let mut listed = BTreeSet::new();
    let pages = files.iter().filter(|path| path.extension().is_some_and(|end| end == "md"));
    for page in pages.clone() {
        let Some(text) = read(page) else { continue };
        for (number, target) in links(&text) {
            let at = format!("{}:{number}", page.display());
            let (path, anchor) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let path = match path {
                "" => page.clone(),
                path => plain(&page.parent().unwrap_or(Path::new("")).join(path)),
            };
            if !there.contains(path.as_path()) && !is_directory(&path) {
                wrong.push(format!("{at}: there is no {}", path.display()));
                continue;
            }
            if page.starts_with("docs") && !path.starts_with("docs") {
                wrong.push(format!("{at}: {} is not in the book", path.display()));
            }
            if page.ends_with("SUMMARY.md") {
                listed.insert(path.clone());
            }
            let found = |text: String| headings(&text).any(|heading| heading == anchor);
            if !anchor.is_empty() && !read(&path).is_some_and(found) {
                wrong.push(format!("{at}: {} has no heading #{anchor}", path.display()));
            }
        }
    }
    let book = pages.filter(|page| page.starts_with("docs") && !page.ends_with("SUMMARY.md"));
    wrong.extend(
        book.filter(|page| !listed.contains(*page))
            .map(|page| format!("{}: docs/SUMMARY.md does not list it", page.display())),
    );
    wrong
}

/// The targets of links to files, with the numbers of their lines. Code is no text.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Code within a line: every second piece between backticks.
        let line: Vec<&str> = line.split('`').step_by(2).collect();
        let line = line.join("`");
        for piece in line.split("](").skip(1) {
            let Some((target, _)) = piece.split_once(')') else { continue };
            let is_address = target.contains("://") || target.starts_with("mailto:");
            if !is_address {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors of headings, as mdBook and GitHub make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let text =
            line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#'))?;
        let words = text.trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
    })
}

/// Lines outside of blocks of code.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!fence && !in_code).then_some((index + 1, line))
    })
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pages: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<PathBuf> = pages.iter().map(|(path, _)| PathBuf::from(path)).collect();
        violations(&files, |path| {
            let page = pages.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(page.1.to_owned())
        })
    }

    #[test]
    fn links_lead_somewhere() {
        let summary = ("docs/SUMMARY.md", "- [A](a.md)\n- [B](deep/b.md)\n");
        let a = "# A page\n[b](deep/b.md#what-it-is), [here](#a-page), [away](https://x.org/y)\n\
                 `[code](none.md)`\n```\n[code](none.md)\n```\n";
        let b = "## What it `is`\n[back](../a.md) [up](../deep)\n";
        assert!(check(&[summary, ("docs/a.md", a), ("docs/deep/b.md", b)]).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let summary = ("docs/SUMMARY.md", "- [A](a.md)\n");
        let a = "[none](none.md) [heading](b.md#none) [out](../README.md)";
        let pages = [summary, ("docs/a.md", a), ("docs/b.md", "# B\n"), ("README.md", "")];
        assert_eq!(
            check(&pages),
            [
                "docs/a.md:1: there is no docs/none.md",
                "docs/a.md:1: docs/b.md has no heading #none",
                "docs/a.md:1: README.md is not in the book",
                "docs/b.md: docs/SUMMARY.md does not list it",
            ]
        );
    }
}
