//! The Python half: its own tests, and the list of options that it shares with the program.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Sandbox, err, interpreter, out};

fn python() -> PathBuf {
    common::here("../../../python").canonicalize().unwrap()
}

#[test]
fn the_tests_of_the_python_package_pass() {
    let mut command = Command::new(interpreter());
    command.current_dir(python()).args([
        "-m",
        "unittest",
        "discover",
        "--start-directory",
        "tests",
    ]);
    command.args(["--top-level-directory", "."]).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.env_remove("MOD_WSGI_DIST").output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(!err(&output).contains("Ran 0 tests"), "{}", err(&output));
}

#[test]
fn the_list_of_options_is_the_one_of_the_program() {
    let sandbox = Sandbox::new();
    let output = sandbox.command("options").arg("--json").output().unwrap();
    let path = python().join("mod_wsgi/express/options.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, out(&output)).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == out(&output),
        "{} is not what `mod_wsgi-express options --json` says; UPDATE=1 writes it",
        path.display()
    );
}
