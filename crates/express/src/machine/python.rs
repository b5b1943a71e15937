//! The Python that runs the application, asked about itself.
//!
//! The same short run of it answers questions that only Python, or the C library through it, can
//! answer here: which users there are, which locales are installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::dist::Dist;
use crate::error::{Error, Result};

/// What a Python says of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Python {
    pub(crate) executable: PathBuf,
    /// `sys.prefix`: of the virtual environment, if it is one.
    pub(crate) prefix: PathBuf,
    version: (u32, u32, u32),
    pub(crate) free_threaded: bool,
    pub(crate) mime_types: Option<PathBuf>,
    /// Names of the current user and group, where they have one.
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    known: BTreeMap<String, Option<Vec<u32>>>,
    pub(crate) locale: String,
    /// Those of the UTF-8 locales we would like that are installed.
    pub(crate) locales: Vec<String>,
    /// Whether the package mod_wsgi-telemetry is installed.
    pub(crate) telemetry: bool,
}

const FACTS: &str = include_str!("facts.py");

impl Python {
    /// The Python that was asked for, or the one this command belongs to, or the first on PATH.
    pub(crate) fn find(given: Option<&str>, dist: &Dist, users: &[String]) -> Result<Python> {
        let python = ask(&executable(given, dist)?, users)?;
        dist.check(&python.prefix)?;
        Ok(python)
    }

    /// "3.13.0"
    pub(crate) fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// The number of a user one of the options names.
    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        self.known.get(&format!("user:{name}"))?.as_ref()?.first().copied()
    }

    /// The numbers of the groups that user belongs to.
    pub(crate) fn groups(&self, name: &str) -> &[u32] {
        let known = self.known.get(&format!("user:{name}")).and_then(Option::as_deref);
        known.and_then(|numbers| numbers.get(1..)).unwrap_or_default()
    }

    /// The number of a group one of the options names.
    pub(crate) fn gid(&self, name: &str) -> Option<u32> {
        self.known.get(&format!("group:{name}"))?.as_ref()?.first().copied()
    }
}

/// The executable that is meant.
pub(crate) fn executable(given: Option<&str>, dist: &Dist) -> Result<PathBuf> {
    if let Some(given) = given {
        return in_path(Path::new(given))
            .or_else(|| super::program(given))
            .ok_or_else(|| Error::other(format!("--python: there is no Python at {given}")));
    }
    // The command that pip installs says which Python it was installed for.
    if let Some(path) = std::env::var_os("MOD_WSGI_EXPRESS_PYTHON").filter(|p| !p.is_empty()) {
        return Ok(path.into());
    }
    let default = || dist.default_python().and_then(|prefix| in_path(&prefix));
    super::program("python3")
        .or_else(default)
        .ok_or_else(|| Error::other("there is no python3 on PATH; name a Python with --python"))
}

/// The executable of a prefix, or the path itself if it is a file.
fn in_path(path: &Path) -> Option<PathBuf> {
    let bin = path.join("bin/python3");
    if bin.is_file() {
        return std::path::absolute(bin).ok();
    }
    (path.is_file() && path.components().count() > 1).then(|| std::path::absolute(path).ok())?
}

/// Runs it to ask.
pub(crate) fn ask(executable: &Path, users: &[String]) -> Result<Python> {
    let output = Command::new(executable)
        .args(["-c", FACTS])
        .args(users)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::file("run", executable, &e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::other(format!(
            "{} does not work as a Python 3: {}",
            executable.display(),
            said.lines().last().unwrap_or("it failed without a word")
        )));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| {
        Error::other(format!("{} does not answer like a Python 3: {e}", executable.display()))
    })
}
