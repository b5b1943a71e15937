//! The Python everything runs on, and the peers from PyPI in a virtual environment of it.
//!
//! Versions are pinned, so that two runs compare; a changed list makes a new environment. One
//! Python for everybody: a comparison across versions would measure CPython.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::{self, User};
use crate::process::{output, run};

/// What is installed.
const PACKAGES: &[(&str, &str)] = &[
    ("django", "5.2.19"),
    ("mod_wsgi", "6.1.1"),
    ("granian", "2.8.7"),
    ("gunicorn", "27.0.1"),
    ("uwsgi", "2.0.31"),
];

/// Which peers a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of them.
    All,
    /// Only this module.
    Nothing,
}

/// Pythons and packages, ready to run.
#[derive(Debug)]
pub(crate) struct Peers {
    /// The virtual environment.
    pub(crate) venv: PathBuf,
    /// Version of the Python, as in `3.13.0`.
    pub(crate) version: String,
    /// The Python that was asked for, which builds are made with.
    pub(crate) asked: PathBuf,
    /// Where its libpython is.
    pub(crate) lib: PathBuf,
    /// What is there of `PACKAGES`.
    pub(crate) packages: BTreeMap<String, String>,
    /// Why the others are not.
    pub(crate) missing: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Python {
    executable: PathBuf,
    base: PathBuf,
    version: String,
    lib: PathBuf,
}

impl Peers {
    /// Finds the Python, copies it where the serving user cannot reach it, and fills the virtual
    /// environment. Takes a minute the first time.
    pub(crate) fn set_up(
        python: &Path,
        cache: &Path,
        user: Option<&User>,
        apxs: &Path,
        wanted: Wanted,
    ) -> Result<Peers> {
        let asked = examine(&locate(python)?)?;
        let mut base = asked.base.clone();
        let mut lib = asked.lib.clone();
        if !place::reaches(user, &base.join("lib")) {
            let copy = cache.join(format!("python-{}", asked.version));
            if !copy.exists() {
                eprintln!("copying {} to {}", base.display(), copy.display());
                place::copy(&base, &copy)?;
            }
            base = copy;
            lib = base.join("lib");
        }
        let (name, packages) = match wanted {
            Wanted::All => ("peers", PACKAGES),
            Wanted::Nothing => ("plain", &[][..]),
        };
        let venv = cache.join(format!("{name}-{}", asked.version));
        // The place is part of it: an environment that was moved does not work.
        let list: String = packages.iter().map(|(name, at)| format!("{name}=={at}\n")).collect();
        let list = format!("{}\n{list}", venv.display());
        let stamp = venv.join("peers.txt");
        if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&list) {
            fill(&base, &lib, &venv, apxs, packages)?;
            std::fs::write(&stamp, &list)?;
        }
        let packages = installed(&venv, &lib)?;
        let missing = PACKAGES
            .iter()
            .filter(|(name, _)| !packages.contains_key(*name))
            .map(|(name, _)| {
                let why = std::fs::read_to_string(venv.join(format!("{name}.failed")));
                ((*name).to_owned(), why.unwrap_or_default())
            })
            .collect();
        Ok(Peers { venv, version: asked.version, asked: asked.executable, lib, packages, missing })
    }

    /// An executable of the environment.
    pub(crate) fn script(&self, package: &str, name: &str) -> Result<PathBuf> {
        if let Some(why) = self.missing.get(package) {
            let last = why.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("");
            bail!("{package} could not be installed from PyPI: {last}");
        }
        Ok(self.venv.join("bin").join(name))
    }

    /// Apache's module of C mod_wsgi.
    pub(crate) fn c_module(&self) -> Result<PathBuf> {
        self.script("mod_wsgi", "mod_wsgi-express")?;
        let minor = self.version.split('.').take(2).collect::<Vec<_>>().join(".");
        let dir = self.venv.join(format!("lib/python{minor}/site-packages/mod_wsgi/server"));
        let files = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        files
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|end| end == "so"))
            .with_context(|| format!("no module in {}", dir.display()))
    }
}

fn locate(path: &Path) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(std::path::absolute(path.join("bin/python3"))?);
    }
    which::which(path).with_context(|| format!("{} is not an executable Python", path.display()))
}

fn examine(executable: &Path) -> Result<Python> {
    const QUESTIONS: &str = "import sys, sysconfig\n\
        print(sys.executable)\nprint(sys.base_prefix)\n\
        print('.'.join(map(str, sys.version_info[:3])))\n\
        print(sysconfig.get_config_var('LIBDIR'))";
    let answers = output(Command::new(executable).args(["-I", "-c", QUESTIONS]))?;
    let mut lines = answers.lines();
    let mut next = || lines.next().context("Python did not answer");
    Ok(Python {
        executable: next()?.into(),
        base: next()?.into(),
        version: next()?.to_owned(),
        lib: next()?.into(),
    })
}

fn fill(
    base: &Path,
    lib: &Path,
    venv: &Path,
    apxs: &Path,
    packages: &[(&str, &str)],
) -> Result<()> {
    if !packages.is_empty() {
        eprintln!("filling {} from PyPI", venv.display());
    }
    if venv.exists() {
        std::fs::remove_dir_all(venv)?;
    }
    let python = |program: PathBuf| {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", lib).env("APXS", apxs);
        command
    };
    run(python(base.join("bin/python3")).args(["-m", "venv"]).arg(venv))?;
    for (name, version) in packages {
        let mut pip = python(venv.join("bin/python3"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        // One by one: a peer that does not compile here must not keep the others out.
        if let Err(error) = run(pip.arg(format!("{name}=={version}"))) {
            eprintln!("note: {name} {version} is left out: it cannot be installed");
            std::fs::write(venv.join(format!("{name}.failed")), format!("{error:#}"))?;
        }
    }
    Ok(())
}

fn installed(venv: &Path, lib: &Path) -> Result<BTreeMap<String, String>> {
    const LIST: &str = "import sys, importlib.metadata as m\n\
        for d in m.distributions():\n    print(d.name.lower(), d.version)";
    let mut command = Command::new(venv.join("bin/python3"));
    let text = output(command.args(["-I", "-c", LIST]).env("LD_LIBRARY_PATH", lib))?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let ours = |name: &str| PACKAGES.iter().any(|(wanted, _)| *wanted == name);
    Ok(pairs
        .map(|(name, version)| (name.replace('-', "_"), version.to_owned()))
        .filter(|(name, _)| ours(name))
        .collect())
}
