//! From the value of `WSGIPythonHome` to a version, an executable, a libpython and an engine.
//!
//! The value may be an installation's prefix, a virtual environment (of a virtual environment, or
//! through symbolic links), a path inside one of these such as `bin/python`, or Python's own
//! `prefix:exec_prefix`. Without a value it is the Python the build was made for, named by the file
//! `default-python` beside the module. PATH has no say.
//!
//! Files are read and links followed; only where these do not tell is the Python itself run, once.
//! Layouts: <https://docs.python.org/3/library/venv.html>, <https://peps.python.org/pep-0405/>,
//! <https://docs.python.org/3/library/sysconfig.html>.

mod error;
mod install;
mod venv;

use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

pub use error::FindError;

use crate::table::Version;
use install::Install;

/// A Python that was found, with the engine for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// Prefix of the installation or virtual environment.
    pub home: PathBuf,
    /// Its executable, not resolved: what `sys.executable` is to be.
    pub executable: PathBuf,
    /// Python's own `PYTHONHOME`, if the value was of the form `prefix:exec_prefix`.
    pub python_home: Option<String>,
    /// Its version; the patch level is not looked at.
    pub version: Version,
    /// The tag in the names of its extension modules: `cpython-313-x86_64-linux-gnu`.
    pub soabi: String,
    /// File of the engine.
    pub engine: PathBuf,
    install: Install,
}

impl Python {
    /// Its shared libpython, which embedded mode needs and daemon mode does not.
    ///
    /// # Errors
    /// There is none: the interpreter is linked statically.
    pub fn libpython(&self) -> Result<&Path, FindError> {
        self.install.libpython.as_deref().ok_or_else(|| FindError::NoLibpython {
            home: self.home.clone(),
            version: self.version,
            names: self.install.libpython_names.clone(),
        })
    }
}

/// Whether a Python that does not tell about itself in files may be run, to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// It may: this process has the rights it will serve with.
    Allowed,
    /// It may not: it could be anybody's program, and this process may be root.
    Never,
}

/// Finds the Python of `home` (a `WSGIPythonHome`) and its engine in `dist/engines`.
///
/// # Errors
/// [`FindError`], whose text is one sentence for the administrator.
pub fn find(home: Option<&Path>, dist: &Path) -> Result<Python, FindError> {
    find_with(home, dist, Running::Allowed)
}

/// As [`find`], where it matters what is run.
///
/// # Errors
/// As [`find`].
pub fn find_with(home: Option<&Path>, dist: &Path, running: Running) -> Result<Python, FindError> {
    let Program { home: prefix, executable, python_home } = program(home, dist)?;
    let install = venv::base_executable(&prefix, &executable)
        .and_then(|base| install::of(&prefix, &base, running))?;
    let engines = dist.join("engines");
    let engine = engines.join(format!("_mod_wsgi.{}.so", install.soabi));
    if !engine.is_file() {
        return Err(FindError::NoEngine {
            home: prefix,
            version: install.version,
            soabi: install.soabi,
            available: available(&engines),
            engines,
        });
    }
    Ok(Python {
        home: prefix,
        executable,
        python_home,
        version: install.version,
        soabi: install.soabi.clone(),
        engine,
        install,
    })
}

/// A Python as a program, of which no more is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Prefix of the installation or virtual environment.
    pub home: PathBuf,
    /// Its executable, not resolved.
    pub executable: PathBuf,
    /// Python's own `PYTHONHOME`, if the value was of the form `prefix:exec_prefix`.
    pub python_home: Option<String>,
}

/// Finds the Python of `home` as a program to run, which finds its engine itself.
///
/// # Errors
/// There is none.
pub fn program(home: Option<&Path>, dist: &Path) -> Result<Program, FindError> {
    let home = match home {
        Some(home) => home.to_owned(),
        None => default_home(dist)?,
    };
    let (prefix, python_home) = split_home(&home)?;
    let prefix = prefix_of(&prefix)?;
    let executable = executable_of(&prefix).ok_or_else(|| match venv::made_with(&prefix) {
        // Its `bin/python3` is a link to nowhere.
        Some(base) => FindError::BrokenVenv { home: prefix.clone(), base },
        None => FindError::NotPython { path: prefix.clone() },
    })?;
    Ok(Program { home: prefix, executable, python_home })
}

/// The Pythons that `engines` has engines for, oldest first: `3.10`, `3.13t`.
pub fn available(engines: &Path) -> Vec<String> {
    let mut found: Vec<Version> = fs::read_dir(engines)
        .into_iter()
        .flatten()
        .filter_map(|entry| version_of_engine(entry.ok()?.file_name().to_str()?))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.iter().map(Version::to_string).collect()
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.free_threaded { f.write_str("t") } else { Ok(()) }
    }
}

/// `_mod_wsgi.cpython-313t-x86_64-linux-gnu.so` is for 3.13t.
fn version_of_engine(name: &str) -> Option<Version> {
    let tag = name.strip_prefix("_mod_wsgi.cpython-")?.strip_suffix(".so")?;
    let digits = tag.split('-').next()?;
    let (digits, free_threaded) = match digits.strip_suffix('t') {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let (major, minor) = digits.split_at_checked(1)?;
    Some(Version {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        micro: 0,
        free_threaded,
    })
}

fn default_home(dist: &Path) -> Result<PathBuf, FindError> {
    let file = dist.join("default-python");
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => Ok(PathBuf::from(text.trim())),
        Ok(_) => Err(FindError::NoDefault { file, reason: "it is empty".to_owned() }),
        Err(error) => Err(FindError::NoDefault { file, reason: error.to_string() }),
    }
}

/// Takes `prefix:exec_prefix` apart, unless a file of that very name exists.
fn split_home(home: &Path) -> Result<(PathBuf, Option<String>), FindError> {
    let text = home.to_str();
    if let Some((prefix, exec_prefix)) = text.and_then(|text| text.split_once(':'))
        && !home.exists()
        && !prefix.is_empty()
        && !exec_prefix.is_empty()
    {
        return Ok((PathBuf::from(prefix), text.map(str::to_owned)));
    }
    Ok((home.to_owned(), None))
}

/// The prefix that `path` is, or is inside of.
fn prefix_of(path: &Path) -> Result<PathBuf, FindError> {
    if !path.is_absolute() {
        return Err(FindError::Relative { path: path.to_owned() });
    }
    if let Err(error) = fs::metadata(path) {
        return Err(FindError::unreachable(path, &error));
    }
    // `components` drops trailing slashes and dots, which would hide what is inside of what.
    let path: PathBuf = path.components().collect();
    for prefix in path.ancestors() {
        let inside = path.strip_prefix(prefix).unwrap_or(Path::new(""));
        if belongs(inside) && is_prefix(prefix) {
            return Ok(prefix.to_owned());
        }
    }
    Err(FindError::NotPython { path })
}

/// Whether a path relative to a prefix is one that people give instead of the prefix.
///
/// Without this, a mistyped `/usr/venv` would quietly become `/usr`.
fn belongs(inside: &Path) -> bool {
    let mut parts = inside.components().map(|part| match part {
        Component::Normal(name) => name.to_str().unwrap_or("?"),
        _ => "?",
    });
    match (parts.next(), parts.next(), parts.next()) {
        (None | Some("bin" | "lib" | "lib64" | "pyvenv.cfg"), None, _) => true,
        (Some("bin"), Some(name), None) => name.starts_with("python"),
        (Some("lib" | "lib64"), Some(name), _) => name.starts_with("python3"),
        _ => false,
    }
}

fn is_prefix(path: &Path) -> bool {
    path.join("pyvenv.cfg").is_file() || executable_of(path).is_some()
}

/// `bin/python3` of a prefix, or what stands in for it.
fn executable_of(prefix: &Path) -> Option<PathBuf> {
    let bin = prefix.join("bin");
    let named = ["python3", "python"].map(|name| bin.join(name));
    if let Some(found) = named.into_iter().find(|path| path.is_file()) {
        return Some(found);
    }
    let mut versioned: Vec<PathBuf> = fs::read_dir(bin)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| install::version_in_name(path).is_some() && path.is_file())
        .collect();
    versioned.sort();
    versioned.pop()
}

#[cfg(test)]
mod tests;
