//! What building mod_wsgi needs and serving does not: apxs, Apache's headers, Cargo.
//!
//! That they are missing is worth a note, as a rule. It is what has to be mended if the user asks
//! about building, has named an apxs, or has a Python that no engine was built for. What else a
//! build needs (libclang, a C compiler) `cargo xtask setup` finds and installs.

use super::Report;
use crate::machine::apache::Apxs;
use crate::machine::program;
use crate::machine::python::Python;
use crate::values::Values;

const INSTALL: &str = "Debian: apt-get install apache2-dev; Fedora: dnf install httpd-devel; or \
                       set APXS to its path";

pub(super) fn examine(report: &mut Report, values: &Values, python: Option<&Python>) {
    let asked = values.flag("build");
    // Then the way out is to build.
    let needed = asked || report.has_error("engine");
    let apxs = Apxs::find(python);
    let named = std::env::var("APXS").ok().filter(|name| !name.is_empty());
    match (&apxs, named) {
        (Some(apxs), _) => report.ok("apxs", apxs.path.display().to_string()),
        (None, Some(name)) => report.error(
            "apxs",
            format!("the variable APXS names {name}, which is not Apache's apxs"),
            "set it to the apxs of the Apache that is meant, or unset it",
        ),
        (None, None) if needed => report.error(
            "apxs",
            "not found: building mod_wsgi asks it where Apache's headers and modules are",
            INSTALL,
        ),
        (None, None) => report.note(
            "apxs",
            "not found: it is needed to build mod_wsgi, not to serve",
            Some(INSTALL.to_owned()),
        ),
    }
    if !asked {
        return;
    }
    if let Some(apxs) = &apxs {
        match apxs.headers.join("httpd.h") {
            header if header.is_file() => {
                report.ok("headers", apxs.headers.display().to_string());
            }
            header => report.error(
                "headers",
                format!("there is no {}, where apxs says Apache's headers are", header.display()),
                INSTALL,
            ),
        }
    }
    let own = std::env::var("HOME").map(|home| format!("{home}/.cargo/bin/cargo"));
    match program("cargo").or_else(|| program(&own.ok()?)) {
        Some(path) => report.ok("cargo", path.display().to_string()),
        None => report.error(
            "cargo",
            "not found: mod_wsgi is built by Rust's Cargo",
            "install Rust from https://rustup.rs; then `cargo xtask setup` in the checkout finds \
             and installs the rest",
        ),
    }
}
