//! From a virtual environment to the executable of the installation behind it.
//!
//! Usually `bin/python3` is a chain of links that ends there, which also sees through nested
//! environments. One made with `--copies` has to be followed through `pyvenv.cfg`.
//! See <https://docs.python.org/3/library/venv.html#how-venvs-work>.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::FindError;

/// How many environments may be made from one another before we suspect a circle.
const NESTING: usize = 8;

/// The executable of the installation that `executable` of `prefix` stands for.
pub(super) fn base_executable(prefix: &Path, executable: &Path) -> Result<PathBuf, FindError> {
    let mut venv = prefix.to_owned();
    let mut executable = executable.to_owned();
    for _ in 0..NESTING {
        let Some(config) = Config::read(&venv) else {
            return Ok(executable);
        };
        if let Some(target) = outside(&venv, &executable) {
            return Ok(target);
        }
        let Some(bin) = config.home else {
            return Ok(executable);
        };
        let mut names = Vec::new();
        names.extend(config.version.map(|version| format!("python{version}")));
        names.extend(["python3", "python"].map(str::to_owned));
        let base = names.iter().map(|name| bin.join(name)).find(|path| path.is_file());
        executable = base
            .ok_or_else(|| FindError::BrokenVenv { home: prefix.to_owned(), base: bin.clone() })?;
        venv = bin.parent().unwrap_or(&bin).to_owned();
    }
    Err(FindError::BrokenVenv { home: prefix.to_owned(), base: venv })
}

/// Directory of the executable that the virtual environment `prefix`, if it is one, was made with.
pub(super) fn made_with(prefix: &Path) -> Option<PathBuf> {
    Config::read(prefix)?.home
}

/// What `executable` links to, if that is outside of `venv`.
fn outside(venv: &Path, executable: &Path) -> Option<PathBuf> {
    let target = executable.canonicalize().ok()?;
    let venv = venv.canonicalize().ok()?;
    (!target.starts_with(venv)).then_some(target)
}

/// What we need of a `pyvenv.cfg`.
struct Config {
    /// Directory of the executable it was made with.
    home: Option<PathBuf>,
    /// `3.13`
    version: Option<String>,
}

impl Config {
    fn read(venv: &Path) -> Option<Config> {
        let text = fs::read(venv.join("pyvenv.cfg")).ok()?;
        Some(Config::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Config {
        let mut config = Config { home: None, version: None };
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "home" => config.home = Some(PathBuf::from(value)),
                // `venv` and `virtualenv` differ; both begin with major.minor.
                "version" | "version_info" => {
                    let mut parts = value.splitn(3, '.');
                    if let (Some(major), Some(minor)) = (parts.next(), parts.next()) {
                        config.version = Some(format!("{major}.{minor}"));
                    }
                }
                _ => {}
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_of_venv_and_virtualenv() {
        let config = Config::parse("home = /opt/x y/bin\nversion = 3.13.0\n");
        assert_eq!(config.home.as_deref(), Some(Path::new("/opt/x y/bin")));
        assert_eq!(config.version.as_deref(), Some("3.13"));
        let config = Config::parse("HOME=/b\nversion_info = 3.11.7.final.0\njunk\n");
        assert_eq!(config.home.as_deref(), Some(Path::new("/b")));
        assert_eq!(config.version.as_deref(), Some("3.11"));
    }
}
