//! Daemon mode: workers in a root directory of their own, with a Python, our engine and the libraries
//! of both inside.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Mpm, Setup, Site, matrix};

const SCRIPT: &str = r#"
import json, os, sys

def application(environ, start_response):
    found = {'root': sorted(os.listdir('/')), 'cwd': os.getcwd(), 'file': __file__,
        'script': environ['SCRIPT_FILENAME'], 'documents': environ.get('DOCUMENT_ROOT'),
        'prefix': sys.prefix, 'uid': os.getuid(), 'group': environ['mod_wsgi.process_group']}
    start_response('200 OK', [])
    return [json.dumps(found).encode()]
"#;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where an absolute path is, in this root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

/// Puts a directory into the root, at its own path; files are linked where that can be.
fn copy(root: &Path, directory: &Path) {
    let to = inside(root, directory);
    fs::create_dir_all(&to).unwrap();
    let from = directory.join(".");
    let linked = Command::new("cp").arg("-al").arg(&from).arg(&to).output().unwrap();
    if !linked.status.success() {
        run(Command::new("cp").arg("-a").arg(&from).arg(&to));
    }
}

/// Puts the libraries that a file needs into the root, and also where the loader looks without being
/// told: what is told relative to the program needs /proc.
fn copy_libraries(root: &Path, file: &Path) {
    let said = Command::new("ldd").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    for library in words.map(Path::new).filter(|path| path.is_file()) {
        for to in [inside(root, library), root.join("lib").join(library.file_name().unwrap())] {
            if !to.exists() {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(library, to).unwrap();
            }
        }
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        matrix::skip("chroot", "only root can change its root directory");
    }
    root
}

#[test]
fn an_application_in_a_root_of_its_own() {
    if !is_root() {
        return;
    }
    let python = matrix::python();
    let site = Site::new(Mpm::Event, &python);
    let root = site.path("root");
    let engines = Setup::get().module().parent().unwrap().join("engines");
    copy(&root, &python.prefix);
    copy(&root, &engines);
    copy_libraries(&root, &python.executable());
    for engine in fs::read_dir(&engines).unwrap() {
        copy_libraries(&root, &engine.unwrap().path());
    }
    site.write("root/srv/app.wsgi", SCRIPT);
    site.write("outside.wsgi", SCRIPT);
    let shown = root.display();
    let server = site
        .conf(format!(
            "WSGIDaemonProcess d chroot={shown} home=/srv python-home={}",
            python.prefix.display()
        ))
        .conf("WSGIProcessGroup d")
        .conf(format!("WSGIScriptAlias /in {shown}/srv/app.wsgi"))
        .conf(format!("WSGIScriptAlias /out {shown}/../outside.wsgi"))
        .start();
    let text = server.get("/in").with_status(200).text();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["cwd"], "/srv");
    assert_eq!(found["file"], "/srv/app.wsgi");
    assert_eq!(found["script"], "/srv/app.wsgi");
    assert_eq!(found["documents"], Value::Null);
    assert_eq!(found["prefix"], python.prefix.to_str().unwrap());
    assert_ne!(found["uid"], 0);
    assert!(!found["root"].as_array().unwrap().contains(&json!("etc")), "{found}");
    // What is not there is not served, whatever its name begins with.
    assert_ne!(server.get("/out").status, 200);
    // Without /proc it cannot show another name.
    let supervisor = server.supervisor();
    let worker = server.processes().into_iter().find(|it| it.parent() == Some(supervisor));
    assert_eq!(fs::read_link(worker.unwrap().file("root")).unwrap(), root);
    server.log().allow("[wsgi:error]");
    server.stop();
}
