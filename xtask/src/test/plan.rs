//! Which crates are tested how: those that link Python need one to be built for and found by the
//! loader, the others must not.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::tidy::layers::{Package, metadata, with_tests};

/// The packages of the workspace, sorted by what their unit tests need.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Crates {
    /// Need nothing.
    pub(crate) plain: Vec<String>,
    /// Link libpython, themselves or through what they use.
    pub(crate) python: Vec<String>,
    integration: bool,
}

impl Crates {
    pub(crate) fn of_workspace() -> Result<Crates> {
        Ok(Crates::sort(&with_tests(&metadata()?)))
    }

    fn sort(packages: &[Package]) -> Crates {
        let mut linking: BTreeSet<&str> = BTreeSet::from(["pyo3-ffi", "pyo3"]);
        loop {
            let before = linking.len();
            for package in packages {
                if package.uses.iter().any(|used| linking.contains(used.as_str())) {
                    linking.insert(&package.name);
                }
            }
            if linking.len() == before {
                break;
            }
        }
        let mut crates = Crates::default();
        for package in packages {
            if package.name == "tests" {
                crates.integration = true;
            } else if linking.contains(package.name.as_str()) {
                crates.python.push(package.name.clone());
            } else {
                crates.plain.push(package.name.clone());
            }
        }
        crates
    }

    /// Whether the workspace has this package (yet).
    pub(crate) fn has(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|other| other == name);
        (name == "tests" && self.integration) || named(&self.plain) || named(&self.python)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_links_python_is_found_through_others() {
        let package = |name: &str, uses: &[&str]| Package {
            name: name.to_owned(),
            uses: uses.iter().map(|name| (*name).to_owned()).collect(),
        };
        let crates = Crates::sort(&[
            package("engine", &["wsgi-core", "libc"]),
            package("wsgi-core", &["py"]),
            package("daemon", &["libc"]),
            package("py", &["pyo3-ffi"]),
            package("tests", &["libc"]),
        ]);
        assert_eq!(crates.python, ["engine", "wsgi-core", "py"]);
        assert_eq!(crates.plain, ["daemon"]);
        assert!(crates.has("tests") && crates.has("engine") && !crates.has("mod-wsgi"));
    }
}
