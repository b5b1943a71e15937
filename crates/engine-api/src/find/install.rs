//! What an installation says about itself: version, extension tag, libpython.
//!
//! The version is in the name the executable resolves to (`python3.13`), the rest in
//! `_sysconfigdata_*.py` of its standard library, which is read as text. Builds that were moved
//! after they were made (conda, uv) carry a wrong `LIBDIR` there, so places beside the executable
//! are tried first. If the files do not tell, the executable is asked.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Running;
use super::error::FindError;
use crate::table::Version;

/// Oldest Python there are engines for.
const OLDEST: (u8, u8) = (3, 10);

/// An installation of Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Install {
    pub(super) version: Version,
    pub(super) soabi: String,
    pub(super) libpython: Option<PathBuf>,
    /// The names that `libpython` was looked for under.
    pub(super) libpython_names: Vec<String>,
}

/// The installation of `executable`; `home` is what the error talks about.
pub(super) fn of(home: &Path, executable: &Path, running: Running) -> Result<Install, FindError> {
    let too_old = |version| FindError::TooOld { home: home.to_owned(), version };
    if let Ok(real) = executable.canonicalize() {
        match version_in_name(&real) {
            Some(version) if old(version) => return Err(too_old(version)),
            _ => {}
        }
        if let Some(install) = from_files(executable, &real) {
            return Ok(install);
        }
    }
    let facts = match running {
        Running::Allowed => ask(executable),
        Running::Never => Err("was not run".to_owned()),
    };
    let facts = facts.map_err(|reason| FindError::Unknown {
        home: home.to_owned(),
        executable: executable.to_owned(),
        reason,
    })?;
    let version = parse_version(&facts.version).ok_or_else(|| FindError::Unknown {
        home: home.to_owned(),
        executable: executable.to_owned(),
        reason: format!("says it is version '{}'", facts.version),
    })?;
    if old(version) {
        return Err(too_old(version));
    }
    let prefix = PathBuf::from(&facts.prefix);
    Ok(with_libpython(version, &facts.config, &[prefix]))
}

/// The version in a file name like `python3.13t`.
pub(super) fn version_in_name(executable: &Path) -> Option<Version> {
    parse_version(executable.file_name()?.to_str()?.strip_prefix("python")?)
}

fn parse_version(text: &str) -> Option<Version> {
    let (text, free_threaded) = match text.strip_suffix('t') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (major, minor) = text.split_once('.')?;
    Some(Version {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        micro: 0,
        free_threaded,
    })
}

fn old(version: Version) -> bool {
    (version.major, version.minor) < OLDEST
}

fn from_files(executable: &Path, real: &Path) -> Option<Install> {
    let prefixes: Vec<PathBuf> = [executable, real]
        .iter()
        .filter_map(|path| Some(path.parent()?.parent()?.to_owned()))
        .collect();
    let version = version_in_name(real).or_else(|| only_version(prefixes.last()?))?;
    let (prefix, library) = prefixes
        .iter()
        .find_map(|prefix| Some((prefix.clone(), standard_library(prefix, version)?)))?;
    let config = SysConfig::read(&library, version)?;
    Some(with_libpython(version, &config, &[prefix, prefixes.last()?.clone()]))
}

/// The version of the only standard library in a prefix.
fn only_version(prefix: &Path) -> Option<Version> {
    let mut versions = fs::read_dir(prefix.join("lib")).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.join("os.py").is_file().then(|| version_in_name(&path))?
    });
    let version = versions.next()?;
    versions.next().is_none().then_some(version)
}

fn standard_library(prefix: &Path, version: Version) -> Option<PathBuf> {
    let plain = format!("python{}.{}", version.major, version.minor);
    ["lib", "lib64"]
        .iter()
        .flat_map(|lib| [format!("{lib}/python{version}"), format!("{lib}/{plain}")])
        .map(|path| prefix.join(path))
        .find(|path| path.join("os.py").is_file())
}

fn with_libpython(version: Version, config: &SysConfig, prefixes: &[PathBuf]) -> Install {
    let mut names = vec![config.soname.clone()];
    let suffixes: &[&str] = if cfg!(target_os = "macos") { &["dylib"] } else { &["so.1.0", "so"] };
    names.extend(suffixes.iter().map(|suffix| format!("libpython{version}.{suffix}")));
    names.retain(|name| name.contains(".so") || name.ends_with(".dylib"));
    names.dedup();
    let mut places = Vec::new();
    for prefix in prefixes {
        places.push(prefix.join("lib"));
        places.push(prefix.join("lib64"));
        if !config.multiarch.is_empty() {
            places.push(prefix.join("lib").join(&config.multiarch));
        }
    }
    if !config.libdir.is_empty() {
        places.push(PathBuf::from(&config.libdir));
    }
    let libpython = places
        .iter()
        .flat_map(|place| names.iter().map(move |name| place.join(name)))
        .find(|path| path.is_file());
    Install { version, soabi: config.soabi.clone(), libpython, libpython_names: names }
}

/// The few of `sysconfig`'s variables that matter; empty where not set.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SysConfig {
    pub(super) soabi: String,
    /// `INSTSONAME`: `libpython3.13.so.1.0`, or an archive of a static build.
    pub(super) soname: String,
    libdir: String,
    multiarch: String,
}

impl SysConfig {
    fn read(library: &Path, version: Version) -> Option<SysConfig> {
        let prefix = if version.free_threaded { "_sysconfigdata_t_" } else { "_sysconfigdata__" };
        let mut files: Vec<PathBuf> = fs::read_dir(library)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.extension().is_some_and(|extension| extension == "py")
                    && path
                        .file_name()
                        .and_then(|name| name.to_str())
                        .is_some_and(|name| name.starts_with(prefix))
            })
            .collect();
        files.sort();
        files.iter().find_map(|file| SysConfig::parse(&fs::read_to_string(file).ok()?))
    }

    /// Reads the dictionary literal of a `_sysconfigdata` module, one `'KEY': value,` per line.
    fn parse(text: &str) -> Option<SysConfig> {
        let mut config = SysConfig::default();
        for line in text.lines() {
            let Some((key, value)) =
                line.trim().strip_prefix('\'').and_then(|line| line.split_once("': "))
            else {
                continue;
            };
            let value = value.trim_end_matches(['}', ',']).trim_matches(['\'', '"']);
            config.set(key, value);
        }
        (!config.soabi.is_empty()).then_some(config)
    }

    fn set(&mut self, key: &str, value: &str) {
        let field = match key {
            "SOABI" => &mut self.soabi,
            "INSTSONAME" => &mut self.soname,
            "LIBDIR" => &mut self.libdir,
            "MULTIARCH" => &mut self.multiarch,
            _ => return,
        };
        value.clone_into(field);
    }
}

/// What an executable said.
pub(super) struct Facts {
    pub(super) version: String,
    prefix: String,
    pub(super) config: SysConfig,
}

/// How long an executable may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

const QUESTION: &str = "\
import sys, sysconfig
free = sysconfig.get_config_var('Py_GIL_DISABLED')
print('VERSION', '%d.%d%s' % (*sys.version_info[:2], 't' if free else ''))
print('PREFIX', sys.base_exec_prefix)
for key in ('SOABI', 'INSTSONAME', 'LIBDIR', 'MULTIARCH'):
    print(key, sysconfig.get_config_var(key) or '')
";

pub(super) fn ask(executable: &Path) -> Result<Facts, String> {
    let failed = |error: io::Error| format!("cannot be run: {error}");
    // Not a pipe: what is read from this can be told not to wait.
    let (output, far) = UnixStream::pair().map_err(failed)?;
    let mut child = Command::new(executable)
        .args(["-I", "-S", "-c", QUESTION])
        .stdin(Stdio::null())
        .stdout(OwnedFd::from(far))
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            None => {
                // It did not end by itself; what remains of it is of no interest.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("does not answer within {} s", PATIENCE.as_secs()));
            }
        }
    };
    if !status.success() {
        return Err(format!("fails when asked ({status})"));
    }
    let text = what_is_there(output).map_err(failed)?;
    let mut facts =
        Facts { version: String::new(), prefix: String::new(), config: SysConfig::default() };
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("VERSION", value)) => value.clone_into(&mut facts.version),
            Some(("PREFIX", value)) => value.clone_into(&mut facts.prefix),
            Some((key, value)) => facts.config.set(key, value),
            None => {}
        }
    }
    Ok(facts)
}

/// The longest answer, of which much less is expected.
const MOST: u64 = 1 << 20;

/// What was written to the other end. A process that was left behind may keep that open for ever, so
/// its end is not waited for.
fn what_is_there(output: UnixStream) -> io::Result<String> {
    output.set_nonblocking(true)?;
    let mut bytes = Vec::new();
    match output.take(MOST).read_to_end(&mut bytes) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        // Up to there, the bytes have been taken.
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_names() {
        let version = |name| version_in_name(Path::new(name)).map(|version| version.to_string());
        assert_eq!(version("/x/python3.13").as_deref(), Some("3.13"));
        assert_eq!(version("/x/python3.14t").as_deref(), Some("3.14t"));
        assert_eq!(version("/x/python3.11-config"), None);
        assert_eq!(version("/x/python3"), None);
        assert_eq!(version("/x/python"), None);
    }

    #[test]
    fn sysconfigdata_of_both_indentations() {
        let text = " 'SOABI': 'cpython-310-x86_64-linux-gnu',\n 'Py_ENABLE_SHARED': 1,\n";
        assert_eq!(
            SysConfig::parse(text).unwrap_or_default().soabi,
            "cpython-310-x86_64-linux-gnu"
        );
        let text = "build_time_vars = {\n    'INSTSONAME': 'libpython3.13.a',\n    'SOABI': 'x'}\n";
        let config = SysConfig::parse(text).unwrap_or_default();
        assert_eq!((config.soname.as_str(), config.soabi.as_str()), ("libpython3.13.a", "x"));
        assert_eq!(SysConfig::parse("nothing = {}"), None);
    }
}
