//! The Python distribution, installed the way its users install it.
//!
//! A wheel is made of the build that is tested, by the script that makes all wheels, and installed
//! by pip into a new virtual environment, without an index and without anything on PATH that
//! compiles. The directory has a space in its name, since users' have.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>

use crate::reach::make_dir;
use crate::setup::{Python, Setup, run, workspace};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A virtual environment with the distribution in it, and a place for files beside it.
#[derive(Debug)]
pub struct Package {
    _dir: TempDir,
    /// Everything is in here.
    pub place: PathBuf,
    /// The virtual environment.
    pub prefix: PathBuf,
}

impl Package {
    /// Makes a wheel of the tested build and installs it for this Python.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn of_wheel(python: &Python) -> Package {
        let made = Package::empty(python).and_then(|package| {
            let wheel = package.wheel()?;
            let mut pip = package.pip();
            // Neither an index nor a compiler.
            pip.env("PATH", package.prefix.join("bin"));
            run(pip.args(["--no-index", "--no-deps"]).arg(wheel)).context("installing a wheel")?;
            Ok(package)
        });
        made.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a source archive and has pip build and install it.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn of_source(python: &Python) -> Package {
        let made = Package::empty(python).and_then(|package| {
            let archive = package.make(&["sdist"], None)?;
            let mut pip = package.pip();
            if let Some(apxs) = std::env::var_os("APXS") {
                pip.env("APXS", apxs);
            }
            run(pip.arg("--no-index").arg(archive)).context("installing from source")?;
            Ok(package)
        });
        made.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Packages from PyPI beside it.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn install(&self, requirements: &[&str]) -> Result<()> {
        let mut pip = self.pip();
        pip.args(["--timeout", "30", "--retries", "2"]).args(requirements);
        run(&mut pip).map(drop)
    }

    /// A virtual environment without it.
    fn empty(python: &Python) -> Result<Package> {
        let run_dir = Setup::get().area.dir.join("run");
        let dir = tempfile::Builder::new().prefix("package.").tempdir_in(run_dir)?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let place = dir.path().join("a place");
        make_dir(&place)?;
        let prefix = place.join("my env");
        let mut venv = Command::new(python.executable());
        run(venv.args(["-I", "-m", "venv"]).arg(&prefix)).context("making an environment")?;
        Ok(Package { _dir: dir, place, prefix })
    }

    /// The wheel of the tested build.
    fn wheel(&self) -> Result<PathBuf> {
        let dist = Setup::get().dist.clone().context("nothing was built")?;
        self.make(&["wheel", "--from"], Some(&dist))
    }

    fn make(&self, words: &[&str], from: Option<&Path>) -> Result<PathBuf> {
        let mut command = self.python();
        command.arg(workspace().join("python/packaging/mod_wsgi_build.py"));
        command.args(words).args(from).arg("--to").arg(self.place.join("made"));
        Ok(run(&mut command)?.trim_end().into())
    }

    /// The Python of the environment.
    pub fn python(&self) -> Command {
        let mut command = Command::new(self.prefix.join("bin/python"));
        command.arg("-I").current_dir("/").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn pip(&self) -> Command {
        let mut command = self.python();
        command.args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"]);
        command.args(["--no-input", "--root-user-action", "ignore"]);
        command
    }

    /// The command that was installed.
    pub fn express(&self) -> Command {
        let mut command = Command::new(self.prefix.join("bin/mod_wsgi-express"));
        command.current_dir(&self.place);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8").env("TMPDIR", &self.place);
        command
    }

    /// What the command says, which must succeed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> String {
        run(self.express().args(words)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Writes a file beside the environment.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.place.join(name);
        make_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }
}
