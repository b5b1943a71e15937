//! Finding Pythons: an executable, an installation's prefix or a virtual environment is asked what
//! it is.
//!
//! Building needs no `Python.h` (pyo3-ffi declares the C API itself). A program that links or opens
//! libpython needs it shared; many Pythons have none, and those still build an engine.
//! The questions: <https://docs.python.org/3/library/sysconfig.html>.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::put;

/// A CPython that an engine can be built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Python {
    /// What to run; also what pyo3-ffi asks.
    pub(crate) executable: PathBuf,
    /// `sys.prefix`: the value of `WSGIPythonHome`. Of a virtual environment, its own directory.
    pub(crate) prefix: PathBuf,
    /// `sys.base_prefix`: the installation a virtual environment was made from.
    pub(crate) base: PathBuf,
    /// As in `3.13.0`.
    pub(crate) version: String,
    /// As in `.cpython-313-x86_64-linux-gnu.so`: the end of an engine's name.
    pub(crate) suffix: String,
    /// The standard library.
    pub(crate) stdlib: PathBuf,
    /// Whether it can make virtual environments with pip.
    pub(crate) venv: bool,
    /// The shared libpython, where there is one.
    pub(crate) library: Option<PathBuf>,
}

impl Python {
    /// The ABI tag, as in `cpython-313-x86_64-linux-gnu`.
    pub(crate) fn tag(&self) -> &str {
        self.suffix.trim_start_matches('.').trim_end_matches(".so")
    }

    /// The directory a linker finds `-lpython3.x` in, if it can.
    pub(crate) fn link_dir(&self) -> Option<&Path> {
        let library = self.library.as_deref()?;
        let dir = library.parent()?;
        // `libpython3.11.so.1.0` is what programs load, `libpython3.11.so` what they link.
        let name = library.file_name()?.to_str()?;
        let linked = format!("{}.so", name.split(".so").next()?);
        dir.join(linked).exists().then_some(dir)
    }

    /// For listings.
    pub(crate) fn describe(&self) -> String {
        format!("Python {} ({})", self.version, self.prefix.display())
    }
}

const OLDEST: (u32, u32) = (3, 10);

/// What is asked. Works on every Python 3, so that an old one can say that it is old.
const QUESTIONS: &str = "
import importlib.util, sys, sysconfig
c = sysconfig.get_config_var
print('implementation', sys.implementation.name, sep='=')
print('version', '.'.join(map(str, sys.version_info[:3])), sep='=')
print('executable', sys.executable, sep='=')
print('prefix', sys.prefix, sep='=')
print('base', sys.base_prefix, sep='=')
print('suffix', c('EXT_SUFFIX'), sep='=')
print('venv', importlib.util.find_spec('ensurepip') is not None, sep='=')
print('stdlib', sysconfig.get_path('stdlib'), sep='=')
for d in (c('LIBDIR'), str(c('LIBDIR')) + '/' + str(c('MULTIARCH')), sys.base_prefix + '/lib'):
    for f in (c('INSTSONAME'), c('LDLIBRARY')):
        print('library', str(d) + '/' + str(f), sep='=')
";

/// Asks the Python at `path`: an executable (a bare name means PATH), a prefix or a virtual
/// environment.
pub(crate) fn examine(path: &Path) -> Result<Python, String> {
    let executable = locate(path)?;
    let shown = executable.display();
    // -I: what the asking user has in PYTHONPATH or PYTHONHOME is not this Python's business.
    let output = put(Command::new(&executable).args(["-I", "-"]), QUESTIONS)
        .map_err(|e| format!("{shown} cannot be run: {e}"))?;
    let answers = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !answers.contains("version=") {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        let why = match last {
            Some(line) => line.to_owned(),
            None if output.status.success() => "it gives no answer".to_owned(),
            None => output.status.to_string(),
        };
        return Err(format!("{shown} is not a Python 3 that runs: {why}"));
    }
    understand(&executable, &answers, |path| path.is_file())
}

/// The executable meant by `path`, absolute but with symbolic links as they are: a virtual
/// environment's `python3` is one, and is recognised by where it lies.
fn locate(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() {
        let inside = ["bin/python3", "bin/python"].map(|name| path.join(name));
        let found = inside.into_iter().find(|candidate| which::which(candidate).is_ok());
        return found
            .and_then(|found| std::path::absolute(found).ok())
            .ok_or_else(|| format!("{} holds no bin/python3", path.display()));
    }
    let found = which::which(path)
        .map_err(|_| format!("{} is not an executable Python", path.display()))?;
    std::path::absolute(found).map_err(|e| format!("{}: {e}", path.display()))
}

/// Reads the answers. What was run may be a launcher (pyenv's shims), so the executable is what
/// Python itself says.
fn understand(
    asked: &Path,
    answers: &str,
    exists: impl Fn(&Path) -> bool,
) -> Result<Python, String> {
    let shown = asked.display().to_string();
    let all = |name: &str| {
        let values = answers.lines().filter_map(|line| line.split_once('='));
        let mine: Vec<&str> = values.filter(|(key, _)| *key == name).map(|(_, v)| v).collect();
        mine
    };
    let one = |name: &str| {
        all(name).first().copied().ok_or_else(|| format!("{shown} did not say its {name}"))
    };

    let implementation = one("implementation")?;
    let version = one("version")?.to_owned();
    if implementation != "cpython" {
        return Err(format!("{shown} is {implementation} {version}, and this needs CPython"));
    }
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(format!("{shown} says its version is {version:?}"));
    };
    if (major, minor) < OLDEST {
        let (a, b) = OLDEST;
        return Err(format!("{shown} is Python {version}, and this needs {a}.{b} or newer"));
    }
    let suffix = one("suffix")?.to_owned();
    if !suffix.starts_with(".cpython-") || !suffix.ends_with(".so") || suffix.contains('/') {
        return Err(format!("{shown} says its extension modules end in {suffix:?}, without a tag"));
    }
    let shared = all("library").into_iter().map(PathBuf::from);
    let library = shared
        .filter(|path| {
            path.to_string_lossy().contains(".so") || path.extension().is_some_and(|e| e == "dylib")
        })
        .find(|path| exists(path));
    let executable = one("executable")?;
    let executable = if executable.is_empty() { asked } else { Path::new(executable) };
    Ok(Python {
        executable: executable.to_path_buf(),
        prefix: one("prefix")?.into(),
        base: one("base")?.into(),
        stdlib: one("stdlib")?.into(),
        venv: one("venv")? == "True",
        version,
        suffix,
        library,
    })
}

/// Every Python of this machine, with the reason where one cannot be used: those on PATH, of the
/// system, and of pyenv. Each installation once.
pub(crate) fn all() -> (Vec<Python>, Vec<String>) {
    let mut candidates = Vec::new();
    candidates.extend(which::which("python3"));
    for minor in (OLDEST.1..=15).rev() {
        candidates.extend(which::which(format!("python3.{minor}")));
        candidates.extend(which::which(format!("python3.{minor}t")));
    }
    candidates.extend(["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from));
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".pyenv")));
    if let Some(versions) = pyenv.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort();
        candidates.extend(versions.into_iter().map(|version| version.join("bin/python3")));
    }

    let (mut found, mut skipped) = (Vec::<Python>::new(), Vec::new());
    for candidate in candidates {
        if !candidate.exists() {
            continue;
        }
        // pyenv's launchers refuse where no version is chosen; the versions themselves come below.
        let shim = candidate.components().any(|part| part.as_os_str() == "shims");
        match examine(&candidate) {
            Ok(python) if found.iter().any(|other| other.prefix == python.prefix) => {}
            Ok(python) => found.push(python),
            Err(why) if shim || skipped.contains(&why) => {}
            Err(why) => skipped.push(why),
        }
    }
    (found, skipped)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ANSWERS: &str = "implementation=cpython\nversion=3.13.0\nexecutable=/srv/venv/bin/python3\nprefix=/srv/venv\n\
        base=/opt/py=3.13\nsuffix=.cpython-313-x86_64-linux-gnu.so\nvenv=True\nstdlib=/opt/py/lib/python3.13\n\
        library=/opt/py/lib/libpython3.13.a\nlibrary=/opt/py/lib/None\n\
        library=/opt/py/lib/libpython3.13.so.1.0\n";

    fn check(answers: &str) -> Result<Python, String> {
        understand(Path::new("/x/python3"), answers, |_| true)
    }

    #[test]
    fn answers_are_understood() {
        let python = check(ANSWERS).unwrap();
        assert_eq!(python.version, "3.13.0");
        assert_eq!(python.executable, Path::new("/srv/venv/bin/python3"));
        assert!(python.venv);
        assert_eq!(python.tag(), "cpython-313-x86_64-linux-gnu");
        assert_eq!(python.prefix, Path::new("/srv/venv"));
        assert_eq!(python.base, Path::new("/opt/py=3.13"));
        assert_eq!(python.library.as_deref(), Some(Path::new("/opt/py/lib/libpython3.13.so.1.0")));
        let without = understand(Path::new("/x/python3"), ANSWERS, |_| false).unwrap();
        assert_eq!(without.library, None);
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let old = ANSWERS.replace("3.13.0", "3.9.18");
        assert_eq!(
            check(&old).unwrap_err(),
            "/x/python3 is Python 3.9.18, and this needs 3.10 or newer"
        );
        let other = ANSWERS.replace("cpython\n", "pypy\n");
        assert_eq!(check(&other).unwrap_err(), "/x/python3 is pypy 3.13.0, and this needs CPython");
        let untagged = ANSWERS.replace(".cpython-313-x86_64-linux-gnu.so", ".so");
        assert!(check(&untagged).unwrap_err().contains("without a tag"));
        assert_eq!(
            check("version=3.13.0").unwrap_err(),
            "/x/python3 did not say its implementation"
        );
    }

    #[test]
    fn what_is_no_python_is_one_sentence() {
        assert_eq!(
            examine(Path::new("/bin/false")).unwrap_err(),
            "/bin/false is not a Python 3 that runs: exit status: 1"
        );
        assert_eq!(examine(Path::new("/proc")).unwrap_err(), "/proc holds no bin/python3");
        assert_eq!(
            examine(Path::new("/nonexistent")).unwrap_err(),
            "/nonexistent is not an executable Python"
        );
    }

    #[test]
    fn the_linker_needs_the_name_without_a_version() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libpython3.13.so.1.0");
        let python = Python { library: Some(library), ..check(ANSWERS).unwrap() };
        assert_eq!(python.link_dir(), None);
        std::fs::write(dir.path().join("libpython3.13.so"), "").unwrap();
        assert_eq!(python.link_dir(), Some(dir.path()));
    }
}
