//! Advice for errors whose text does not say what to do: extension modules that support one
//! interpreter per process only.
//!
//! Half of all trouble with sub-interpreters is this. Some modules refuse to be imported, others let
//! themselves be imported and fail later, in whatever way. The errors come from many places (CPython
//! itself, PyO3, Cython, NumPy) and are `ImportError`s at best, so they are known by their words,
//! wherever in a chain of exceptions they are.

use std::ffi::CStr;
use std::sync::atomic::Ordering;

use log_codes::{Code, WSGI1101, WSGI1102};
use py::Token;

use crate::group::Group;

/// What such errors say.
const WORDS: [&str; 4] = [
    "does not support loading in subinterpreters",
    "do not yet support subinterpreters",
    "cannot load module more than once per process",
    "can only be loaded into one interpreter per process",
];

/// The message that helps with an exception in `group`, whose traceback has these lines. Its values
/// are the script and the interpreter.
pub(crate) fn hint<'a>(
    group: &Group,
    mut traceback: impl Iterator<Item = &'a [u8]>,
) -> Option<&'static Code<2>> {
    if group.interpreter.is_main() || !traceback.any(is_about_interpreters) {
        return None;
    }
    Some(if group.interpreter.has_own_gil() { &WSGI1102 } else { &WSGI1101 })
}

/// Modules that can be imported into a sub-interpreter, but are not made for it. Each is followed
/// by what says so.
const CULPRITS: [(&CStr, &str); 6] = [
    (c"numpy", "NumPy"),
    (c"torch", "PyTorch"),
    (c"lxml.etree", "lxml"),
    (c"grpc._cython.cygrpc", "gRPC"),
    (c"pydantic_core._pydantic_core", "pydantic"),
    (c"cryptography.hazmat.bindings._rust", "cryptography"),
];

/// Advice about modules that `group` has imported by now, once for each.
pub(crate) fn imported(py: Token<'_>, group: &Group) -> Vec<String> {
    if group.interpreter.is_main() {
        return Vec::new();
    }
    let modules = py.import(c"sys").and_then(|sys| sys.attr(c"modules"));
    let Ok(modules) = modules else { return Vec::new() };
    let mut advice = Vec::new();
    for (i, (module, name)) in CULPRITS.iter().enumerate() {
        let bit = 1 << i;
        let found = modules.dict_get(module).is_ok_and(|module| module.is_some());
        if found && group.hinted.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            advice.push(format!(
                "{name} was imported into {}; it does not support sub-interpreters fully. If it \
                 fails or hangs, set 'WSGIApplicationGroup %{{GLOBAL}}' to run the application in \
                 the main interpreter.",
                group.title
            ));
        }
    }
    advice
}

fn is_about_interpreters(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    WORDS.iter().any(|words| line.contains(words))
}

#[cfg(test)]
mod tests {
    use super::is_about_interpreters;

    #[test]
    fn known_by_their_words() {
        for line in [
            "ImportError: module pydantic_core._pydantic_core does not support loading in \
             subinterpreters",
            "ImportError: PyO3 modules do not yet support subinterpreters, see https://github.com",
            "ImportError: cannot load module more than once per process",
            "ImportError: Interpreter change detected - this module can only be loaded into one \
             interpreter per process.",
        ] {
            assert!(is_about_interpreters(line.as_bytes()), "{line}");
        }
        assert!(!is_about_interpreters(b"ImportError: No module named 'x'"));
    }
}
