//! Virtual environments with packages from PyPI, kept between runs.
//!
//! One per Python and list of requirements, made once under a lock, in a place Apache's children
//! can read. Without a network there is none, and the test says so instead of running; under
//! `CI=true` that is a failure.
//!
//! <https://docs.python.org/3/library/venv.html>

use crate::matrix::skip;
use crate::reach::{hash, lock};
use crate::setup::{Python, Setup, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A virtual environment.
#[derive(Clone, Debug)]
pub struct Venv {
    /// Its directory.
    pub prefix: PathBuf,
    /// The Python it was made of.
    pub python: Python,
}

impl Venv {
    /// The environment of this Python with these requirements installed; `None`, said aloud, when
    /// that cannot be had.
    pub fn with(python: &Python, requirements: &[&str]) -> Option<Venv> {
        match Venv::make(python, requirements) {
            Ok(venv) => Some(venv),
            Err(error) => {
                let what = format!("{} on Python {python}", requirements.join(", "));
                skip(&what, &format!("{error:#}"));
                None
            }
        }
    }

    /// Its executable.
    pub fn executable(&self) -> PathBuf {
        self.prefix.join("bin/python")
    }

    /// A Python whose prefix is this environment, as `WSGIPythonHome` wants it.
    pub fn home(&self) -> Python {
        Python { prefix: self.prefix.clone(), ..self.python.clone() }
    }

    fn make(python: &Python, requirements: &[&str]) -> Result<Venv> {
        let wanted = requirements.join("\n");
        let stamp = format!("{}\n{}\n{wanted}", python.prefix.display(), python.full_version);
        let name = format!("{}-{}", python.version, hash(&stamp));
        let prefix = Setup::get().area.dir.join("venvs").join(name);
        let _lock = lock(&prefix.with_extension("lock"))?;
        let complete = prefix.join("complete");
        if !complete.exists() {
            if prefix.exists() {
                fs::remove_dir_all(&prefix)?;
            }
            let mut venv = Command::new(python.executable());
            venv.args(["-I", "-m", "venv"]).arg(&prefix);
            run(&mut venv).context("making a virtual environment")?;
            if !requirements.is_empty() {
                let mut pip = Command::new(prefix.join("bin/python"));
                pip.args(["-I", "-m", "pip", "install", "--disable-pip-version-check"]);
                pip.args(["--quiet", "--no-input", "--timeout", "30", "--retries", "2"]);
                pip.args(["--root-user-action", "ignore"]).args(requirements);
                run(&mut pip).context("installing packages")?;
            }
            fs::write(&complete, stamp)?;
        }
        Ok(Venv { prefix, python: python.clone() })
    }
}
