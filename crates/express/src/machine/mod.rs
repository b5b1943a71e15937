//! What there is to work with: the build, a Python, an Apache, and the current user.
//!
//! Everything that is asked of the machine is asked here, once; the rest of the program decides
//! from the answers, and can be tested with other ones.

pub(crate) mod apache;
pub(crate) mod dist;
pub(crate) mod python;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::values::Values;
use apache::Apache;
use dist::Dist;
use python::Python;

/// The machine, as far as a server depends on it.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) dist: Dist,
    pub(crate) python: Python,
    pub(crate) apache: Apache,
    /// The shell that runs `apachectl`.
    pub(crate) shell: PathBuf,
    pub(crate) uid: u32,
    /// The current directory.
    pub(crate) here: PathBuf,
    /// Where default server roots are made.
    pub(crate) temporary: PathBuf,
}

impl Machine {
    /// Looks around, as far as the options do not say where things are.
    pub(crate) fn look(values: &Values) -> Result<Machine> {
        let dist = Dist::find()?;
        let python = Python::find(values.text("python"), &dist, &users(values))?;
        let apache = Apache::find(values, Some(&python))?;
        Machine::with(values, dist, python, apache)
    }

    /// With what was found already.
    pub(crate) fn with(
        values: &Values,
        dist: Dist,
        python: Python,
        apache: Apache,
    ) -> Result<Machine> {
        let here = std::env::current_dir()
            .map_err(|e| Error::other(format!("the current directory is unusable: {e}")))?;
        Ok(Machine {
            shell: shell(values.text("shell-executable"))?,
            uid: rustix::process::getuid().as_raw(),
            temporary: temporary(),
            apache,
            python,
            dist,
            here,
        })
    }
}

/// The users and groups the options name, as `user:NAME` and `group:NAME`.
pub(crate) fn users(values: &Values) -> Vec<String> {
    let service = |name| values.pairs(name).iter().map(|(_, value)| value.as_str());
    let users = values.text("user").into_iter().chain(service("service-user"));
    let groups = values.text("group").into_iter().chain(service("service-group"));
    users
        .map(|name| format!("user:{name}"))
        .chain(groups.map(|name| format!("group:{name}")))
        .collect()
}

fn temporary() -> PathBuf {
    if cfg!(target_os = "macos") {
        return "/var/tmp".into();
    }
    match std::env::var_os("TMPDIR").filter(|path| !path.is_empty()) {
        Some(path) => path.into(),
        None => "/tmp".into(),
    }
}

/// A shell for `apachectl`.
fn shell(given: Option<&str>) -> Result<PathBuf> {
    let Some(given) = given else {
        let mut found = ["bash", "sh"].iter().filter_map(|name| program(name));
        return Ok(found.find(|path| begins_scripts(path)).unwrap_or_else(|| "/bin/sh".into()));
    };
    let path = program(given)
        .ok_or_else(|| Error::other(format!("--shell-executable: there is no program {given}")))?;
    if begins_scripts(&path) {
        return Ok(path);
    }
    Err(Error::other(format!(
        "--shell-executable: {given:?} cannot stand in the first line of a script"
    )))
}

/// Whether a program can stand in the first line of a script, where what follows a space is an argument.
fn begins_scripts(path: &Path) -> bool {
    path.to_str().is_some_and(|text| !text.contains(char::is_whitespace))
}

/// The path of a program: itself if it is a path, or else where PATH or `/usr/sbin` has it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    which::which_in(name, Some(search_path()), here).ok()
}

/// PATH, which need not be set, and where system programs are that a user's PATH may lack.
pub(crate) fn search_path() -> OsString {
    let mut path =
        std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// An absolute path without `.` and `..`, by the text alone: links are left as they are.
pub(crate) fn absolute(path: &str, here: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in here.join(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        for (path, expect) in
            [("a", "/h/a"), ("./a/../b/", "/h/b"), ("/x//y", "/x/y"), ("../..", "/"), ("", "/h")]
        {
            assert_eq!(absolute(path, Path::new("/h")), Path::new(expect), "{path}");
        }
    }
}
