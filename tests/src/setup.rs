//! Which Apache, which dist and which Pythons the tests run against.
//!
//! Asked of the environment that `cargo xtask test` sets up, else found the way a person would:
//! apxs names the server, dist is where the build puts it, and dist's engines name the Pythons.
//!
//! <https://httpd.apache.org/docs/2.4/programs/apxs.html>

use crate::matrix::{Mpm, Tier};
use crate::reach::Area;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// What the tests of this process run against. One per process.
#[derive(Debug)]
pub struct Setup {
    /// Apache's executable.
    pub httpd: PathBuf,
    /// Where its loadable modules are.
    pub libexecdir: PathBuf,
    /// Directory of `mod_wsgi.so` and `engines/`, readable by Apache's children.
    pub dist: Option<PathBuf>,
    /// The Pythons that have an engine in dist, oldest first.
    pub pythons: Vec<Python>,
    /// How much to run.
    pub tier: Tier,
    /// Where files are put.
    pub area: Area,
    compiled_in: Vec<String>,
}

/// A Python that Apache's children can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// Its prefix, where Apache's children can reach it.
    pub prefix: PathBuf,
    /// Where it was found.
    pub origin: PathBuf,
    /// `3.13`.
    pub version: String,
    /// `3.13.0`.
    pub full_version: String,
}

/// What a Python says of itself.
struct Facts {
    version: String,
    full_version: String,
    soabi: String,
    prefix: PathBuf,
}

impl Setup {
    /// The set-up of this process.
    ///
    /// # Panics
    /// With one sentence, when there is no Apache or what the environment names does not exist.
    pub fn get() -> &'static Setup {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| Setup::find().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// `mod_wsgi.so`.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn module(&self) -> PathBuf {
        match &self.dist {
            Some(dist) => dist.join("mod_wsgi.so"),
            None => panic!("there is no mod_wsgi.so: run `cargo xtask build` first"),
        }
    }

    /// Whether the server has this module compiled in, by the name of its source: `mod_so`.
    pub fn has_builtin(&self, name: &str) -> bool {
        self.compiled_in.iter().any(|builtin| builtin == name)
    }

    /// Path of a loadable module, by the name of its source: `mod_env`.
    pub fn loadable(&self, name: &str) -> Option<PathBuf> {
        let path = self.libexecdir.join(format!("{name}.so"));
        path.is_file().then_some(path)
    }

    /// Why this MPM cannot be used, if it cannot.
    pub fn lacks(&self, mpm: Mpm) -> Option<String> {
        let name = mpm.module();
        if self.has_builtin(name) || self.loadable(name).is_some() {
            return None;
        }
        Some(format!("{} has no {name}", self.httpd.display()))
    }

    /// Whether what cannot be run is an error.
    pub fn strict(&self) -> bool {
        env::var("CI").is_ok_and(|value| value == "true" || value == "1")
    }

    fn find() -> Result<Setup> {
        let (httpd, libexecdir) = apache()?;
        let listed = run(Command::new(&httpd).arg("-l"))?;
        let builtin = |line: &str| Some(line.trim().strip_suffix(".c")?.to_owned());
        let compiled_in = listed.lines().filter_map(builtin).collect();
        let area = Area::open()?;
        let built = dist()?;
        let pythons = match &built {
            Some(dist) => pythons(dist, &area)?,
            None => Vec::new(),
        };
        let dist = built.map(|dist| area.dist(&dist, pythons.first())).transpose()?;
        let tier = Tier::from_env()?;
        Ok(Setup { httpd, libexecdir, dist, pythons, tier, area, compiled_in })
    }
}

impl Python {
    /// Its executable.
    pub fn executable(&self) -> PathBuf {
        self.prefix.join("bin/python3")
    }
}

/// Shows as `3.13`.
impl std::fmt::Display for Python {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.version)
    }
}

/// The workspace this was compiled in.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} does not run"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn path_from_env(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn apache() -> Result<(PathBuf, PathBuf)> {
    let given = (path_from_env("WSGI_TEST_HTTPD"), path_from_env("WSGI_TEST_LIBEXECDIR"));
    if let (Some(httpd), Some(libexecdir)) = given {
        ensure!(httpd.is_file(), "WSGI_TEST_HTTPD: there is no {}", httpd.display());
        return Ok((httpd, libexecdir));
    }
    let mut candidates: Vec<PathBuf> = path_from_env("APXS").into_iter().collect();
    candidates.extend(["apxs", "apxs2", "/usr/bin/apxs", "/usr/sbin/apxs"].map(PathBuf::from));
    for apxs in &candidates {
        let ask = |name: &str| {
            let answer = run(Command::new(apxs).args(["-q", name])).ok()?;
            Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
        };
        if let (Some(sbin), Some(name), Some(libexec)) =
            (ask("SBINDIR"), ask("PROGNAME"), ask("LIBEXECDIR"))
        {
            let httpd = given.0.clone().unwrap_or_else(|| Path::new(&sbin).join(name));
            return Ok((httpd, given.1.clone().unwrap_or_else(|| libexec.into())));
        }
    }
    bail!("no Apache to test with: there is no apxs on PATH and none in the variable APXS")
}

fn dist() -> Result<Option<PathBuf>> {
    let dist = match path_from_env("WSGI_TEST_DIST") {
        Some(dist) => {
            let module = dist.join("mod_wsgi.so");
            ensure!(module.is_file(), "WSGI_TEST_DIST: there is no {}", module.display());
            dist
        }
        None => workspace().join("target/dist"),
    };
    Ok(dist.join("mod_wsgi.so").is_file().then_some(dist))
}

fn pythons(dist: &Path, area: &Area) -> Result<Vec<Python>> {
    let (prefixes, named) = match env::var("WSGI_TEST_PYTHONS") {
        Ok(list) if !list.is_empty() => (list.split(':').map(PathBuf::from).collect(), true),
        _ => (candidates(dist), false),
    };
    let mut pythons: Vec<Python> = Vec::new();
    for prefix in prefixes {
        let facts = match Facts::ask(&prefix) {
            Ok(facts) => facts,
            Err(error) if named => return Err(error.context("WSGI_TEST_PYTHONS")),
            Err(_) => continue,
        };
        if pythons.iter().any(|python| python.origin == facts.prefix) {
            continue;
        }
        let engine = dist.join(format!("engines/_mod_wsgi.{}.so", facts.soabi));
        if !engine.is_file() {
            ensure!(!named, "WSGI_TEST_PYTHONS: {} has no engine in dist", prefix.display());
            continue;
        }
        // Where nothing was asked for, one of each version is enough.
        if !named && pythons.iter().any(|python| python.version == facts.version) {
            continue;
        }
        pythons.push(Python {
            prefix: area.python(&facts.prefix, &facts.version)?,
            origin: facts.prefix,
            version: facts.version,
            full_version: facts.full_version,
        });
    }
    pythons.sort_by_key(|python| minor(&python.version));
    Ok(pythons)
}

fn minor(version: &str) -> Option<u32> {
    version.split_once('.')?.1.parse().ok()
}

/// The build's own Python, those of pyenv, and the usual places.
fn candidates(dist: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(text) = fs::read_to_string(dist.join("default-python")) {
        found.push(PathBuf::from(text.trim()));
    }
    let home = path_from_env("HOME").unwrap_or_default();
    let pyenv = path_from_env("PYENV_ROOT").unwrap_or_else(|| home.join(".pyenv"));
    let mut versions: Vec<PathBuf> = fs::read_dir(pyenv.join("versions"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    versions.sort();
    found.extend(versions);
    found.extend(["/usr", "/usr/local"].map(PathBuf::from));
    found
}

impl Facts {
    fn ask(prefix: &Path) -> Result<Facts> {
        const QUESTION: &str = "import sys, sysconfig; print('%d.%d' % sys.version_info[:2], \
            '%d.%d.%d' % sys.version_info[:3], sysconfig.get_config_var('SOABI'), sys.prefix, \
            sep='\\n')";
        let python = prefix.join("bin/python3");
        let answer = run(Command::new(&python).args(["-I", "-c", QUESTION]))?;
        let mut lines = answer.lines().map(str::to_owned);
        let mut next = || lines.next().with_context(|| format!("{} is mute", python.display()));
        Ok(Facts {
            version: next()?,
            full_version: next()?,
            soabi: next()?,
            prefix: next()?.into(),
        })
    }
}
