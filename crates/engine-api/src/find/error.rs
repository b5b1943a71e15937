//! Why no Python was found. Each text is one sentence that names path, version and remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::table::Version;

/// Why no Python was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindError {
    /// No `WSGIPythonHome`, and the build does not say which Python it was made for.
    NoDefault {
        /// The file that should say so.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The home is not an absolute path.
    Relative {
        /// The home.
        path: PathBuf,
    },
    /// The home does not exist, or this user may not look.
    Unreachable {
        /// The home.
        path: PathBuf,
        /// The first part of the path that is missing or closed.
        part: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// There is no Python at, or around, the path.
    NotPython {
        /// The path.
        path: PathBuf,
    },
    /// A virtual environment whose installation is gone.
    BrokenVenv {
        /// The virtual environment.
        home: PathBuf,
        /// Where its installation was.
        base: PathBuf,
    },
    /// The version, or the tag of its extension modules, cannot be told.
    Unknown {
        /// The home.
        home: PathBuf,
        /// The executable that was asked.
        executable: PathBuf,
        /// What came of it.
        reason: String,
    },
    /// A Python below 3.10.
    TooOld {
        /// The home.
        home: PathBuf,
        /// Its version.
        version: Version,
    },
    /// The build has no engine for this Python.
    NoEngine {
        /// The home.
        home: PathBuf,
        /// Its version.
        version: Version,
        /// Tag of its extension modules.
        soabi: String,
        /// Directory of the engines.
        engines: PathBuf,
        /// What there are engines for.
        available: Vec<String>,
    },
    /// The Python has no shared libpython.
    NoLibpython {
        /// The home.
        home: PathBuf,
        /// Its version.
        version: Version,
        /// The file names that were looked for.
        names: Vec<String>,
    },
}

impl FindError {
    /// The error for a path that cannot be looked at, naming the part that is to blame.
    pub(super) fn unreachable(path: &Path, error: &io::Error) -> FindError {
        let mut parts: Vec<&Path> = path.ancestors().collect();
        parts.reverse();
        let part = parts.iter().position(|part| part.metadata().is_err()).unwrap_or(0);
        let closed = error.kind() == io::ErrorKind::PermissionDenied && part > 0;
        FindError::Unreachable {
            path: path.to_owned(),
            // A directory is closed if what is in it cannot be looked at.
            part: parts[if closed { part - 1 } else { part }].to_owned(),
            reason: error.to_string(),
        }
    }
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::NoDefault { file, reason } => write!(
                f,
                "WSGIPythonHome is not set and the file '{}', which names the Python this build \
                 was made for, cannot be used: {reason}",
                file.display()
            ),
            FindError::Relative { path } => {
                write!(f, "Python home '{}' is not an absolute path", path.display())
            }
            FindError::Unreachable { path, part, reason } => {
                write!(f, "Python home '{}' cannot be used: ", path.display())?;
                if part != path {
                    write!(f, "'{}': ", part.display())?;
                }
                f.write_str(reason)
            }
            FindError::NotPython { path } => write!(
                f,
                "Python home '{}' is neither an installation (no bin/python3) nor a virtual \
                 environment (no pyvenv.cfg)",
                path.display()
            ),
            FindError::BrokenVenv { home, base } => write!(
                f,
                "virtual environment '{}' was made from the Python in '{}', which is not there; \
                 make it again",
                home.display(),
                base.display()
            ),
            FindError::Unknown { home, executable, reason } => write!(
                f,
                "the version of Python home '{}' cannot be told: '{}' {reason}",
                home.display(),
                executable.display()
            ),
            FindError::TooOld { home, version } => write!(
                f,
                "Python home '{}' is Python {version}, but 3.10 or newer is needed",
                home.display()
            ),
            FindError::NoEngine { home, version, soabi, engines, available } => {
                write!(
                    f,
                    "Python home '{}' is Python {version} ({soabi}), but '{}' has ",
                    home.display(),
                    engines.display()
                )?;
                if available.is_empty() {
                    f.write_str("no engines")
                } else {
                    write!(f, "engines only for Python {}", available.join(", "))
                }
            }
            FindError::NoLibpython { home, version, names } => write!(
                f,
                "Python {version} in '{}' has no shared library ({}), which embedded mode needs; \
                 use daemon mode (WSGIDaemonProcess), or a Python built with --enable-shared",
                home.display(),
                names.join(", ")
            ),
        }
    }
}

impl std::error::Error for FindError {}
