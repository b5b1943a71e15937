//! The module, its engines, and the Python that was chosen.

use std::path::Path;

use object::Object;

use super::Report;
use crate::machine::dist::Dist;
use crate::machine::python::{self, Python};
use crate::values::Values;

/// The module: there, linked as it should be, of a sane size.
pub(super) fn module(report: &mut Report, dist: &Dist) {
    let path = dist.module();
    let Ok(found) = path.metadata() else {
        report.error(
            "module",
            format!("there is no {}", path.display()),
            "install mod_wsgi again; in a checkout: cargo xtask build",
        );
        return;
    };
    report.ok("module", format!("{} ({} kB)", path.display(), found.len() / 1024));
    match libraries(&path) {
        Some(libraries) if libraries.iter().any(|name| name.starts_with("libpython")) => {
            report.error(
                "linkage",
                format!("{} is linked to a Python, so it serves only that one", path.display()),
                "install this mod_wsgi instead of another build of that name",
            );
        }
        Some(libraries) => {
            report.ok("linkage", format!("needs {} and no Python", libraries.join(", ")));
        }
        None => report.error(
            "linkage",
            format!("{} is no shared library", path.display()),
            "install mod_wsgi again",
        ),
    }
    match engine_api::find::available(&dist.engines()).as_slice() {
        [] => report.error(
            "engines",
            format!("there are none in {}", dist.engines().display()),
            "install mod_wsgi again",
        ),
        some => report.ok("engines", format!("for Python {}", some.join(", "))),
    }
    let supervisor = dist.directory.join("wsgi-supervisor");
    if !supervisor.is_file() {
        report.note(
            "supervisor",
            format!("there is no {}: daemon mode will not work", supervisor.display()),
            Some("--embedded-mode, or install mod_wsgi again".to_owned()),
        );
    }
}

/// The libraries a library needs.
fn libraries(path: &Path) -> Option<Vec<String>> {
    let data = std::fs::read(path).ok()?;
    let file = object::File::parse(&*data).ok()?;
    let mut names: Vec<String> = Vec::new();
    for import in file.import_libraries().ok()? {
        names.push(String::from_utf8_lossy(import.ok()?.name()).into_owned());
    }
    Some(names)
}

/// The Python: which one, and whether it has an engine and a libpython.
pub(super) fn python(report: &mut Report, values: &Values, dist: &Dist) -> Option<Python> {
    let other = "choose another with --python, or install mod_wsgi with this one";
    let names = crate::machine::users(values);
    let python = python::executable(values.text("python"), dist)
        .and_then(|executable| python::ask(&executable, &names));
    let python = match python {
        Ok(python) => python,
        Err(error) => {
            report.error("python", error.to_string(), "name a Python with --python");
            return None;
        }
    };
    report.ok(
        "python",
        format!(
            "{} {}, prefix {}",
            python.executable.display(),
            python.version(),
            python.prefix.display()
        ),
    );
    match engine_api::find(Some(&python.prefix), &dist.directory) {
        Ok(found) => {
            report.ok("engine", found.engine.display().to_string());
            match found.libpython() {
                Ok(path) => report.ok("libpython", path.display().to_string()),
                // Daemon mode does without.
                Err(error) if values.flag("embedded-mode") => {
                    report.error("libpython", error.to_string(), "leave out --embedded-mode");
                }
                Err(error) => report.note("libpython", error.to_string(), None),
            }
        }
        Err(error) => {
            report.error("engine", error.to_string(), other);
            return None;
        }
    }
    Some(python)
}
