//! The Apache of this machine.
//!
//! `apxs` knows everything, but comes with the headers, which a machine that only serves need not
//! have. So what the options and the environment do not say is looked up with `apxs` if it is
//! there, and else in the places where Apache usually is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::program;
use super::python::Python;
use crate::error::{Error, Result};
use crate::values::Values;

/// Where Apache's parts are.
#[derive(Debug, Clone)]
pub(crate) struct Apache {
    /// The executable: an absolute path, or a bare name if it was not found.
    pub(crate) httpd: PathBuf,
    /// The directory of modules.
    pub(crate) modules: PathBuf,
    pub(crate) rotatelogs: PathBuf,
    /// A directory for the library search path, for an Apache that was installed by pip.
    pub(crate) libraries: Option<PathBuf>,
    /// The files of modules that are part of the executable: `core.c`, `mod_so.c`, ...
    pub(crate) built_in: Vec<String>,
}

/// Directories of modules: of Debian, Fedora (64 and 32 bit), Alpine, the ASF's own layout,
/// Homebrew on both kinds of Mac.
const MODULES: [&str; 8] = [
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/lib/httpd/modules",
    "/usr/lib/apache2",
    "/usr/local/apache2/modules",
    "/usr/local/libexec/apache24",
    "/opt/homebrew/lib/httpd/modules",
    "/usr/local/lib/httpd/modules",
];

impl Apache {
    pub(crate) fn find(values: &Values, python: Option<&Python>) -> Result<Apache> {
        let apxs = Apxs::find(python);
        let httpd = httpd(values, apxs.as_ref());
        let modules = modules(values, apxs.as_ref(), &httpd)?;
        let rotatelogs = match values.text("rotatelogs-executable") {
            Some(path) => program(path).unwrap_or_else(|| path.into()),
            None => beside(&httpd, apxs.as_ref(), "rotatelogs"),
        };
        let libraries = apxs.filter(|apxs| apxs.is_bundled()).map(|apxs| apxs.libdir);
        Ok(Apache { built_in: built_in(&httpd), httpd, modules, rotatelogs, libraries })
    }

    /// Whether a module is part of the executable.
    pub(crate) fn has_built_in(&self, name: &str) -> bool {
        let file = [format!("mod_{name}.c"), format!("{name}.c")];
        self.built_in.iter().any(|built_in| file.contains(built_in))
    }

    /// The MPM that is part of the executable, if one is.
    pub(crate) fn built_in_mpm(&self) -> Option<&'static str> {
        ["event", "worker", "prefork"].into_iter().find(|name| self.has_built_in(name))
    }

    /// Whether there is a file for a module.
    pub(crate) fn has_file(&self, file: &str) -> bool {
        self.modules.join(file).is_file()
    }
}

/// What `apxs` says.
#[derive(Debug)]
pub(crate) struct Apxs {
    pub(crate) path: PathBuf,
    libexecdir: PathBuf,
    sbindir: PathBuf,
    bindir: PathBuf,
    progname: String,
    libdir: PathBuf,
    pub(crate) headers: PathBuf,
}

impl Apxs {
    /// The one APXS names, or one installed by pip, or one on PATH.
    pub(crate) fn find(python: Option<&Python>) -> Option<Apxs> {
        let bundled = python
            .map(|python| python.executable.with_file_name("mod_wsgi-apxs"))
            .filter(|path| path.is_file());
        let asked = std::env::var("APXS").ok().filter(|name| !name.is_empty());
        let path = match (asked, bundled) {
            (Some(name), _) => program(&name)?,
            (None, Some(bundled)) => bundled,
            (None, None) => {
                ["mod_wsgi-apxs", "apxs2", "apxs"].iter().find_map(|name| program(name))?
            }
        };
        let names = ["LIBEXECDIR", "SBINDIR", "BINDIR", "PROGNAME", "LIBDIR", "INCLUDEDIR"];
        let output =
            Command::new(&path).arg("-q").args(names).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        let mut answers = text.trim().split(";;").map(str::to_owned);
        Some(Apxs {
            libexecdir: answers.next()?.into(),
            sbindir: answers.next()?.into(),
            bindir: answers.next()?.into(),
            progname: answers.next()?,
            libdir: answers.next()?.into(),
            headers: answers.next()?.into(),
            path,
        })
    }

    fn is_bundled(&self) -> bool {
        self.path.file_name().is_some_and(|name| name == "mod_wsgi-apxs")
    }
}

fn httpd(values: &Values, apxs: Option<&Apxs>) -> PathBuf {
    let asked = std::env::var("HTTPD").ok().filter(|name| !name.is_empty());
    if let Some(name) = asked.as_deref().or(values.text("httpd-executable")) {
        // A path is taken at its word, so that Apache's absence is told where it is meant.
        return program(name).unwrap_or_else(|| name.into());
    }
    let told = apxs.and_then(|apxs| {
        [&apxs.sbindir, &apxs.bindir]
            .into_iter()
            .map(|dir| dir.join(&apxs.progname))
            .find(|path| path.is_file())
    });
    let usual = ["httpd", "apache2", "/usr/local/apache2/bin/httpd", "/opt/homebrew/bin/httpd"];
    told.or_else(|| usual.iter().find_map(|name| program(name))).unwrap_or_else(|| "httpd".into())
}

fn modules(values: &Values, apxs: Option<&Apxs>, httpd: &Path) -> Result<PathBuf> {
    if let Some(path) = values.text("modules-directory") {
        return std::path::absolute(path).map_err(|e| Error::file("use", Path::new(path), &e));
    }
    if let Some(apxs) = apxs.filter(|apxs| apxs.libexecdir.is_dir()) {
        return Ok(apxs.libexecdir.clone());
    }
    // Of several Apaches, the one whose executable was chosen.
    let near = httpd.ancestors().nth(2).map(|root| root.join("modules"));
    let usual = MODULES.iter().map(PathBuf::from);
    near.into_iter().chain(usual).find(|path| path.join("mod_authz_core.so").is_file()).ok_or_else(
        || {
            Error::other(
                "Apache's modules were not found: there is no apxs, and nothing in the usual \
                 places; install Apache, or give --modules-directory and --httpd-executable",
            )
        },
    )
}

/// A program that comes with Apache.
fn beside(httpd: &Path, apxs: Option<&Apxs>, name: &str) -> PathBuf {
    let told = apxs.into_iter().flat_map(|apxs| [apxs.sbindir.clone(), apxs.bindir.clone()]);
    let places = told.chain(httpd.parent().map(Path::to_path_buf));
    places
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .or_else(|| program(name))
        .unwrap_or_else(|| name.into())
}

/// The modules in the executable. Nothing if it does not run: it will say why when it is started.
fn built_in(httpd: &Path) -> Vec<String> {
    let output = Command::new(httpd).arg("-l").stdin(Stdio::null()).output();
    let Ok(output) = output else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(str::trim).filter(|line| line.ends_with(".c")).map(str::to_owned).collect()
}
