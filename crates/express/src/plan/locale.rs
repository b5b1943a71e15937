//! Which locale the server runs in.
//!
//! A server that is started by a supervisor often has none at all, and a Python in the "C" locale
//! is a Python whose file names break. So a plain "C" is replaced where something better is
//! installed.

use crate::machine::python::Python;
use crate::values::Values;

/// The locale: the one asked for, the current one, or one with UTF-8.
pub(super) fn choose(values: &Values, python: &Python) -> String {
    let asked = values.text("locale").or(values.text("lang"));
    let current = asked.unwrap_or(&python.locale);
    let plain = ["c", "posix"].contains(&current.to_ascii_lowercase().as_str());
    match python.locales.first() {
        Some(better) if plain => better.clone(),
        _ => current.to_owned(),
    }
}
