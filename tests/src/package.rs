//! The Python distribution, installed the way its users install it.
//!
//! A wheel is made of the build that is tested, by the script that makes all wheels, and installed
//! by pip into a new virtual environment, without an index and without anything on PATH that
//! compiles. The directory has a space in its name, since users' have.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/>

use crate::reach::{hash, lock, make_dir, mtime, tree};
use crate::setup::{Python, Setup, run, workspace};
use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A virtual environment with the distribution in it, and a place for files.
#[derive(Debug)]
pub struct Package {
    _dir: TempDir,
    /// Files and server roots are in here.
    pub place: PathBuf,
    /// The virtual environment.
    pub prefix: PathBuf,
    /// Held while an environment that others use, too, is in use.
    _lock: Option<fs::File>,
}

impl Package {
    /// Makes a wheel of the tested build and installs it for this Python.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn of_wheel(python: &Python) -> Package {
        let made = Package::place().and_then(|package| {
            package.install_wheel(python)?;
            Ok(package)
        });
        made.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// An environment with this build installed that is kept for other tests, which must not change
    /// it. Older builds' are removed.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn shared(python: &Python) -> Package {
        let shared = || -> Result<Package> {
            let package = Package::place()?;
            let kept = Setup::get().area.dir.join("venvs");
            let family = format!("package {} ", python.full_version);
            let name = format!("{family}{}", hash(&stamp(python)?));
            let making = lock(&kept.join("package.lock"))?;
            let prefix = kept.join(&name).join("my env");
            if !prefix.join("complete").exists() {
                for entry in fs::read_dir(&kept)?.flatten() {
                    let old = entry.file_name().to_string_lossy().into_owned();
                    let is_free = || {
                        let file = fs::File::create(kept.join(format!("{old}.lock")));
                        let lock = FlockOperation::NonBlockingLockExclusive;
                        file.is_ok_and(|file| flock(file, lock).is_ok())
                    };
                    if old.starts_with(&family) && entry.path().is_dir() && is_free() {
                        fs::remove_dir_all(entry.path())?;
                    }
                }
                make_dir(&kept.join(&name))?;
                let package = Package { prefix: prefix.clone(), ..Package::place()? };
                package.install_wheel(python)?;
                fs::write(prefix.join("complete"), "")?;
            }
            let used = fs::File::create(kept.join(format!("{name}.lock")))?;
            flock(&used, FlockOperation::LockShared)?;
            drop(making);
            Ok(Package { prefix, _lock: Some(used), ..package })
        };
        shared().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a source archive and has pip build and install it.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn of_source(python: &Python) -> Package {
        let made = Package::place().and_then(|package| {
            package.make_environment(python)?;
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

    /// A place, with the name of an environment that is not there yet.
    fn place() -> Result<Package> {
        let run_dir = Setup::get().area.dir.join("run");
        let dir = tempfile::Builder::new().prefix("package.").tempdir_in(run_dir)?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let place = dir.path().join("a place");
        make_dir(&place)?;
        Ok(Package { _dir: dir, prefix: place.join("my env"), place, _lock: None })
    }

    fn make_environment(&self, python: &Python) -> Result<()> {
        let mut venv = Command::new(python.executable());
        venv.args(["-I", "-m", "venv"]).arg(&self.prefix);
        run(&mut venv).context("making an environment").map(drop)
    }

    fn install_wheel(&self, python: &Python) -> Result<()> {
        self.make_environment(python)?;
        let dist = Setup::get().dist.clone().context("nothing was built")?;
        let wheel = self.make(&["wheel", "--from"], Some(&dist))?;
        let mut pip = self.pip();
        // Neither an index nor a compiler.
        pip.env("PATH", self.prefix.join("bin"));
        pip.args(["--no-index", "--no-deps"]).arg(wheel);
        run(&mut pip).context("installing a wheel").map(drop)
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

    /// Gives what is in there to the user that servers run as.
    ///
    /// # Panics
    /// When that fails.
    pub fn writable(&self, name: &str) {
        Setup::get().area.give(&self.place.join(name)).unwrap();
    }
}

/// What the environment depends on.
fn stamp(python: &Python) -> Result<String> {
    let dist = Setup::get().dist.clone().context("nothing was built")?;
    let mut stamp = format!("{}\n", python.prefix.display());
    for dir in [dist, workspace().join("python")] {
        for file in tree(&dir)?.iter().filter(|file| file.extension() != Some("pyc".as_ref())) {
            let meta = fs::metadata(dir.join(file))?;
            stamp += &format!("{} {} {}\n", file.display(), meta.len(), mtime(&meta));
        }
    }
    Ok(stamp)
}
