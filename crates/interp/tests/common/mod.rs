//! Code to run in interpreters; each test has a process of its own for its Python.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some of it")]

use std::ffi::CString;

use interp::py::{Bound, Result, Token};
use interp::{Config, Interpreter, Runtime};

pub(crate) use scenario::scenario;

/// The Python this was built for.
pub(crate) fn python() -> &'static str {
    env!("INTERP_TEST_PYTHON")
}

/// Starts the Python this was built for.
pub(crate) fn start() -> Runtime {
    Runtime::start(&Config::new(python())).unwrap()
}

/// Executes statements in the interpreter's `__main__`.
#[track_caller]
pub(crate) fn run(interpreter: Interpreter, code: &str) {
    interpreter
        .attach(|py| {
            if let Err(error) = exec(py, code) {
                panic!("{error} in {code}");
            }
        })
        .unwrap();
}

/// `str(eval(code))` in the interpreter's `__main__`.
#[track_caller]
pub(crate) fn eval(interpreter: Interpreter, code: &str) -> String {
    interpreter
        .attach(|py| match eval_here(py, code) {
            Ok(text) => text,
            Err(error) => panic!("{error} in {code}"),
        })
        .unwrap()
}

pub(crate) fn exec<'py>(py: Token<'py>, code: &str) -> Result<'py, ()> {
    call(py, "exec", code).map(|_| ())
}

pub(crate) fn eval_here<'py>(py: Token<'py>, code: &str) -> Result<'py, String> {
    let value = call(py, "eval", code)?;
    py.import(c"builtins")?.attr(c"str")?.call(&[&value])?.to_text()
}

fn call<'py>(py: Token<'py>, how: &str, code: &str) -> Result<'py, Bound<'py>> {
    let globals = py.import(c"__main__")?.attr(c"__dict__")?;
    let how = CString::new(how).unwrap();
    py.import(c"builtins")?.call_method(&how, &[&py.str(code)?, &globals])
}
