//! The build this program belongs to: the Apache module, its engines, and the Python package.
//!
//! ```text
//! mod_wsgi.so                     all of this in one directory, with the program in it:
//! engines/_mod_wsgi.<SOABI>.so    `target/dist` of a build, or `mod_wsgi/server` of an installed
//! mod_wsgi-express                package
//! ```
//!
//! `MOD_WSGI_DIST` names that directory if it is somewhere else. The Python package, `mod_wsgi`,
//! is what `handler.wsgi` imports; it is around an installed package, and `python` beside a build.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where the build is.
#[derive(Debug, Clone)]
pub(crate) struct Dist {
    /// The directory with the module in it.
    pub(crate) directory: PathBuf,
    /// The directory that has the Python package `mod_wsgi` in it.
    pub(crate) packages: PathBuf,
}

/// The file name of the module.
pub(crate) const MODULE: &str = "mod_wsgi.so";

impl Dist {
    pub(crate) fn find() -> Result<Dist> {
        let program = std::env::current_exe()
            .and_then(|path| path.canonicalize())
            .map_err(|e| Error::other(format!("cannot tell where this program is: {e}")))?;
        let beside = program.parent().unwrap_or(Path::new("/"));
        let directory = match std::env::var_os("MOD_WSGI_DIST").filter(|path| !path.is_empty()) {
            Some(directory) => std::path::absolute(&directory)
                .map_err(|e| Error::file("use", Path::new(&directory), &e))?,
            None => directory(beside),
        };
        let packages = packages(&directory, beside).ok_or_else(|| {
            Error::other(format!(
                "the Python package mod_wsgi is missing: it should be around {0} or in \
                 {0}/python; install mod_wsgi again",
                directory.display()
            ))
        })?;
        Ok(Dist { directory, packages })
    }

    pub(crate) fn module(&self) -> PathBuf {
        self.directory.join(MODULE)
    }

    pub(crate) fn engines(&self) -> PathBuf {
        self.directory.join("engines")
    }

    /// The prefix of the Python the build was made for.
    pub(crate) fn default_python(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(self.directory.join("default-python")).ok()?;
        Some(text.trim_end_matches('\n').into())
    }

    /// Fails unless there is a module, and an engine for the Python with that prefix.
    pub(crate) fn check(&self, prefix: &Path) -> Result<()> {
        if !self.module().is_file() {
            return Err(Error::other(format!(
                "the Apache module is missing: there is no {}; in a checkout, run \
                 `cargo xtask build`",
                self.module().display()
            )));
        }
        // The module will look for it in the same way, and say the same.
        engine_api::find(Some(prefix), &self.directory)
            .map(drop)
            .map_err(|e| Error::other(e.to_string()))
    }
}

/// The directory with the module, seen from the one with the program.
fn directory(beside: &Path) -> PathBuf {
    let build = beside.parent().map(|target| target.join("dist"));
    match build {
        // A program that Cargo built is in `target/debug`, the rest in `target/dist`.
        Some(dist) if !beside.join(MODULE).is_file() && dist.join(MODULE).is_file() => dist,
        _ => beside.to_path_buf(),
    }
}

fn packages(directory: &Path, beside: &Path) -> Option<PathBuf> {
    let package = |path: &Path| path.join("mod_wsgi/express/runtime.py").is_file();
    let around = |path: &Path, levels| path.ancestors().nth(levels).map(Path::to_path_buf);
    [
        Some(directory.join("python")),
        around(directory, 2),
        // In a checkout: `python` beside `target`.
        around(beside, 2).map(|root| root.join("python")),
        around(directory, 2).map(|root| root.join("python")),
    ]
    .into_iter()
    .flatten()
    .find(|path| package(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn an_installed_package_is_around_the_program() {
        let site = tempfile::tempdir().unwrap();
        let server = site.path().join("mod_wsgi/server");
        touch(&server.join(MODULE));
        touch(&site.path().join("mod_wsgi/express/runtime.py"));
        assert_eq!(directory(&server), server);
        assert_eq!(packages(&server, &server).unwrap(), site.path());
    }

    #[test]
    fn a_build_is_beside_the_program() {
        let checkout = tempfile::tempdir().unwrap();
        let (debug, dist) =
            (checkout.path().join("target/debug"), checkout.path().join("target/dist"));
        touch(&dist.join(MODULE));
        touch(&checkout.path().join("python/mod_wsgi/express/runtime.py"));
        assert_eq!(directory(&debug), dist);
        assert_eq!(packages(&dist, &debug).unwrap(), checkout.path().join("python"));
    }

    #[test]
    fn a_missing_module_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let dist = Dist { directory: dir.path().to_path_buf(), packages: dir.path().to_path_buf() };
        let error = dist.check(Path::new("/usr")).unwrap_err().to_string();
        assert!(error.contains("module is missing"), "{error}");
    }
}
