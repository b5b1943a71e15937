//! Which crate may use which: the column "may use" of the code map in ARCHITECTURE.md, compared with
//! what Cargo says. The document is the rule, and it draws no arrow and names no crate that is not
//! there, so the two cannot drift apart.
//!
//! Dependencies of tests are free: a test of an upper half may well start the lower one.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::shell::{cargo, stdout};

/// One crate of the workspace and what it depends on.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) uses: Vec<String>,
}

/// `cargo metadata` of the workspace's own packages.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = stdout(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    serde_json::from_str(&text).context("cargo metadata is not JSON")
}

/// The workspace's crates and what they depend on, tests apart.
pub(crate) fn packages() -> Result<Vec<Package>> {
    Ok(understand(&metadata()?, |kind| kind != "dev"))
}

/// The same with the dependencies of tests.
pub(crate) fn with_tests(metadata: &serde_json::Value) -> Vec<Package> {
    understand(metadata, |_| true)
}

fn understand(
    metadata: &serde_json::Value,
    counts: impl Fn(&serde_json::Value) -> bool,
) -> Vec<Package> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap_or_default().to_owned();
    let package = |package: &serde_json::Value| Package {
        name: name(package),
        uses: list(&package["dependencies"])
            .iter()
            .filter(|dependency| counts(&dependency["kind"]))
            .map(name)
            .collect(),
    };
    list(&metadata["packages"]).iter().map(package).collect()
}

/// The rule, from the text of ARCHITECTURE.md: rows of the table whose header has "may use".
pub(crate) fn rule(document: &str) -> BTreeMap<String, Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = document.lines().skip_while(|line| !line.contains("| may use |"));
    let Some(header) = rows.next().map(cells) else { return BTreeMap::new() };
    let Some(column) = header.iter().position(|cell| cell == "may use") else {
        return BTreeMap::new();
    };
    rows.skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let row = cells(line);
            let uses = row.get(column).map(|cell| backticked(cell)).unwrap_or_default();
            (backticked(&row[0]).into_iter().next().unwrap_or_default(), uses)
        })
        .collect()
}

fn backticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Each arrow that the rule does not draw, and each that it draws in vain. `pyo3-ffi` is counted as
/// a layer: whoever names it links Python.
pub(crate) fn violations(
    packages: &[Package],
    rule: &BTreeMap<String, Vec<String>>,
) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Some(allowed) = rule.get(&package.name) else {
            found.push(format!("crate `{}` is not in ARCHITECTURE.md's code map", package.name));
            continue;
        };
        for used in &package.uses {
            let layer = used == "pyo3-ffi" || packages.iter().any(|other| other.name == *used);
            if layer && !allowed.contains(used) {
                found.push(format!(
                    "crate `{}` uses `{used}`, an arrow ARCHITECTURE.md's code map does not draw",
                    package.name
                ));
            }
        }
    }
    for (name, allowed) in rule {
        let Some(package) = packages.iter().find(|package| package.name == *name) else {
            found.push(format!(
                "ARCHITECTURE.md's code map has a crate `{name}`, which is not there"
            ));
            continue;
        };
        for idle in allowed.iter().filter(|allowed| !package.uses.contains(allowed)) {
            found.push(format!(
                "ARCHITECTURE.md's code map draws an arrow from `{name}` to `{idle}`, which it does \
                 not use"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "text | may\n\n| crate | here | may use | not |\n|---|---|---|---|\n\
        | `py` | leaf | `pyo3-ffi` | x |\n| `wsgi-core` | engine | `py`, `pyo3-ffi` | y |\n\
        | `daemon` | `wire` and more | | |\n\n| `other` | table | | |\n";

    /// What is wrong if one crate of three is not as the document has it.
    fn check(package: &str, uses: &[&str]) -> Vec<String> {
        let crates: [(&str, &[&str]); 3] =
            [("py", &["pyo3-ffi"]), ("wsgi-core", &["py", "pyo3-ffi"]), ("daemon", &[])];
        let crates = crates.into_iter().filter(|(name, _)| *name != package);
        let packages: Vec<Package> = crates
            .chain([(package, uses)])
            .map(|(name, uses)| Package {
                name: name.to_owned(),
                uses: uses.iter().map(|name| (*name).to_owned()).collect(),
            })
            .collect();
        violations(&packages, &rule(DOCUMENT))
    }

    #[test]
    fn the_documents_table_is_the_rule() {
        let rule = rule(DOCUMENT);
        assert_eq!(rule.keys().collect::<Vec<_>>(), ["daemon", "py", "wsgi-core"]);
        assert_eq!(rule["wsgi-core"], ["py", "pyo3-ffi"]);
        assert!(rule["daemon"].is_empty());
    }

    #[test]
    fn arrows_are_held_against_it() {
        assert!(check("wsgi-core", &["py", "pyo3-ffi", "http"]).is_empty());
        assert_eq!(
            check("daemon", &["pyo3-ffi"]),
            ["crate `daemon` uses `pyo3-ffi`, an arrow ARCHITECTURE.md's code map does not draw"]
        );
        assert_eq!(check("py", &["pyo3-ffi", "wsgi-core"]).len(), 1);
        assert_eq!(check("new", &[]), ["crate `new` is not in ARCHITECTURE.md's code map"]);
    }

    #[test]
    fn the_document_draws_nothing_that_is_not_there() {
        assert_eq!(
            check("wsgi-core", &["py"]),
            ["ARCHITECTURE.md's code map draws an arrow from `wsgi-core` to `pyo3-ffi`, which it \
                 does not use"]
        );
        assert_eq!(
            violations(&[], &rule("| crate | may use |\n|---|---|\n| `gone` | |\n")),
            ["ARCHITECTURE.md's code map has a crate `gone`, which is not there"]
        );
    }

    #[test]
    fn dependencies_of_tests_are_free() {
        let text = r#"{"packages":[{"name":"a","dependencies":[
            {"name":"b","kind":null},{"name":"c","kind":"dev"},{"name":"d","kind":"build"}]}]}"#;
        let metadata = serde_json::from_str(text).expect("JSON");
        assert_eq!(understand(&metadata, |kind| kind != "dev")[0].uses, ["b", "d"]);
        assert_eq!(with_tests(&metadata)[0].uses, ["b", "c", "d"]);
    }
}
