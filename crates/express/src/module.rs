//! The module in an Apache of the user's own: where it is, the lines that load it, and a copy of it
//! among Apache's modules.

use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::machine::apache::Apache;
use crate::machine::dist::{Dist, MODULE};
use crate::machine::python::Python;
use crate::quote::apache;
use crate::values::Values;

/// `module-location`.
pub(crate) fn location() -> Result<String> {
    Ok(format!("{}\n", Dist::find()?.module().display()))
}

/// `module-config`.
pub(crate) fn config(values: &Values) -> Result<String> {
    let dist = Dist::find()?;
    let python = Python::find(values.text("python"), &dist, &[])?;
    lines(&dist.module(), &python)
}

/// `install-module`: the module and, beside it, what it needs.
pub(crate) fn install(values: &Values) -> Result<String> {
    let dist = Dist::find()?;
    let python = Python::find(values.text("python"), &dist, &[])?;
    let modules = Apache::find(values, Some(&python))?.modules;
    if !modules.is_dir() {
        return Err(Error::other(format!(
            "there is no directory {}; make it, or name another with --modules-directory",
            modules.display()
        )));
    }
    copy(&dist, &modules)?;
    lines(&modules.join(MODULE), &python)
}

fn lines(module: &Path, python: &Python) -> Result<String> {
    let text = |path: &Path| match path.to_str() {
        Some(text) if !text.contains(['\n', '\r']) && !text.contains("${") => Ok(apache(text)),
        _ => Err(Error::other(format!("{path:?} cannot be written into Apache's configuration"))),
    };
    let (module, home) = (text(module)?, text(&python.prefix)?);
    Ok(format!("LoadModule wsgi_module {module}\nWSGIPythonHome {home}\n"))
}

/// The support files go first, so that there is never a module without its engines.
fn copy(dist: &Dist, modules: &Path) -> Result<()> {
    let support = modules.join("mod_wsgi");
    let engines = support.join("engines");
    fs::create_dir_all(&engines).map_err(|e| Error::file("make", &engines, &e))?;
    let from = dist.engines();
    let entries = fs::read_dir(&from).map_err(|e| Error::file("read", &from, &e))?;
    for entry in entries.flatten() {
        replace(&entry.path(), &engines.join(entry.file_name()))?;
    }
    for name in ["wsgi-supervisor", "default-python"] {
        let file = dist.directory.join(name);
        if file.is_file() {
            replace(&file, &support.join(name))?;
        }
    }
    replace(&dist.module(), &modules.join(MODULE))
}

/// Copies a file so that a process that has the old one mapped keeps it.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let mut name = std::ffi::OsString::from(".new-");
    name.push(to.file_name().unwrap_or_default());
    let new = to.with_file_name(name);
    fs::copy(from, &new)
        .and_then(|_| fs::rename(&new, to))
        .map_err(|e| Error::file("write", to, &e))
}
