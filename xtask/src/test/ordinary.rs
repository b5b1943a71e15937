//! Some integration tests once more as an ordinary user, where the run is root's: then Apache has
//! one user for all of its processes, and the harness makes no copies for another.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::step::Steps;
use crate::build::Dist;
use crate::serve::access::User;
use crate::setup::Machine;
use crate::setup::python::Python;
use crate::shell::{cargo, is_root, stdout};

/// The tests, by the names of their files.
const TESTS: [&str; 3] = ["harness", "diagnostics", "lifecycle"];

/// Runs them, or says why not.
pub(super) fn run(machine: &Machine, pythons: &[Python], steps: &mut Steps) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let user = User::of_httpd()?;
    let readable = |python: &&Python| {
        [&python.executable, &python.stdlib]
            .into_iter()
            .all(|path| matches!(user.closed(path), Ok(None)))
    };
    // An engine is compiled for the first Python that needs it.
    let own_engine = |python: &&Python| {
        pythons.iter().find(|other| other.tag() == python.tag()) == Some(*python)
    };
    let Some(python) = pythons.iter().filter(own_engine).find(readable) else {
        println!(
            "skipped: tests as an ordinary user: {} can read none of the Pythons that there are \
             engines of their own for",
            user.name
        );
        return Ok(());
    };
    let dir = tempfile::tempdir_in("/tmp")?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let (dist, cache) = (dir.path().join("dist"), dir.path().join("cache"));
    copy(&Dist::place().dir, &dist)?;
    fs::create_dir(&cache)?;
    chown(&cache, Some(user.uid), Some(user.gid))?;
    for test in TESTS {
        let binary = dir.path().join(test);
        fs::copy(binary_of(machine, test)?, &binary)?;
        steps.tests(&format!("{test}, as {}", user.name), |more| {
            let mut command = Command::new(&binary);
            command
                .uid(user.uid)
                .gid(user.gid)
                .current_dir("/")
                .env("HOME", &cache)
                .env("WSGI_TEST_CACHE", &cache)
                .env("WSGI_TEST_DIST", &dist)
                .env("WSGI_TEST_PYTHONS", &python.prefix)
                .env("WSGI_TEST_HTTPD", &machine.apache.httpd)
                .env("WSGI_TEST_LIBEXECDIR", &machine.apache.libexecdir)
                .env("WSGI_TEST_TIER", "quick")
                .args(more);
            command
        })?;
    }
    Ok(())
}

/// The executable that Cargo made of a file of tests.
fn binary_of(machine: &Machine, test: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "test",
        "--package",
        "tests",
        "--no-run",
        "--message-format=json",
        "--test",
        test,
    ]);
    command.env("APXS", &machine.apache.apxs);
    let messages = stdout(&mut command)?;
    executable(&messages, test).with_context(|| format!("Cargo does not name the tests of {test}"))
}

/// The executable that one of Cargo's messages names for this target.
fn executable(messages: &str, test: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == test)
            .then(|| message["executable"].as_str().map(Into::into))?
    })
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_executable() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"tests\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"harness\"},\"executable\":\"/t/harness-1\",\"fresh\":true}\n";
        assert_eq!(executable(messages, "harness"), Some("/t/harness-1".into()));
        assert_eq!(executable(messages, "other"), None);
    }
}
