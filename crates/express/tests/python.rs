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

#[test]
fn the_page_about_options_is_the_one_of_the_program() {
    let sandbox = Sandbox::new();
    let output = sandbox.command("options").output().unwrap();
    let path = common::here("../../../docs/options.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, out(&output)).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == out(&output),
        "{} is not what `mod_wsgi-express options` says; UPDATE=1 writes it",
        path.display()
    );
}

/// Links between pages lead somewhere.
#[test]
fn the_book_is_whole() {
    let docs = common::here("../../../docs").canonicalize().unwrap();
    let mut pages: Vec<PathBuf> = Vec::new();
    for folder in [docs.clone(), docs.join("deploy")] {
        let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(pages.len() > 10);
    let mut broken = Vec::new();
    for page in &pages {
        let name = page.strip_prefix(&docs).unwrap().display();
        let text = std::fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.ends_with(".md") && !file.contains("://") {
                let target = page.parent().unwrap().join(file);
                if !target.is_file() {
                    broken.push(format!("{name}: {link}"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
