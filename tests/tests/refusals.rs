//! What cannot work says so in one sentence: Pythons that are none or have no engine, files of
//! different builds, modules that do not go together.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::{Mpm, Python, Server, Setup, Site, installed, matrix};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'Hello!']
";

/// Starts a server that cannot have Python, and checks what it says of that.
#[track_caller]
fn refused(site: Site, reason: &str) {
    let script = site.write("hello.wsgi", HELLO);
    let server = site.conf(format!("WSGIScriptAlias / \"{}\"", script.display())).start();
    refuses(&server, reason);
    server.stop();
}

#[track_caller]
fn refuses(server: &Server, reason: &str) {
    assert_eq!(server.get("/").status, 500);
    server.log().allow("WSGI0001: ");
    server.log().allow("WSGI0036: ");
    server.log().expect("WSGI0210: ");
    let said = "WSGI0036: Python interpreter configuration failed in embedded mode: ";
    server.log().expect(&format!("{said}{reason}"));
    // Files are served as ever, and the child is the same.
    assert_eq!(server.get("/.ready").with_status(200).text(), "ready\n");
    server.log().refuse("exit signal");
}

#[track_caller]
fn home_refused(home: impl FnOnce(&Site) -> PathBuf, reason: &str) {
    let site = Site::homeless(Mpm::Event);
    let home = home(&site);
    let reason = reason.replace("HOME", &home.display().to_string());
    refused(site.conf(format!("WSGIPythonHome \"{}\"", home.display())), &reason);
}

#[test]
fn a_home_that_is_not_there() {
    home_refused(|site| site.path("nowhere/python"), "Python home 'HOME' cannot be used: ");
}

#[test]
fn a_home_that_is_something_else() {
    let something = |site: &Site| {
        site.writable("else");
        site.path("else")
    };
    home_refused(
        something,
        "Python home 'HOME' is neither an installation (no bin/python3) nor a virtual environment \
         (no pyvenv.cfg)",
    );
}

#[test]
fn a_relative_home() {
    home_refused(|_| PathBuf::from("usr"), "Python home 'HOME' is not an absolute path");
}

#[test]
fn a_virtual_environment_whose_python_is_gone() {
    let venv = |site: &Site| {
        let base = site.path("gone");
        let text = format!("home = {}/bin\nversion = 3.13.0\n", base.display());
        site.write("venv/pyvenv.cfg", text);
        fs::create_dir(site.path("venv/bin")).unwrap();
        symlink(base.join("bin/python3"), site.path("venv/bin/python3")).unwrap();
        site.path("venv")
    };
    home_refused(venv, "virtual environment 'HOME' was made from the Python in '");
}

/// A prefix that says it is a Python, in files only.
fn pretend(site: &Site, version: &str, soabi: &str) -> PathBuf {
    let program = site.write(&format!("pretended/bin/python{version}"), "#!/bin/sh\nexit 1\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    symlink(&program, site.path("pretended/bin/python3")).unwrap();
    let library = format!("pretended/lib/python{version}");
    site.write(&format!("{library}/os.py"), "");
    let config = format!(
        "build_time_vars = {{'INSTSONAME': 'libpython{version}.a',\n 'SOABI': '{soabi}'}}\n"
    );
    site.write(&format!("{library}/_sysconfigdata__linux_x.py"), config);
    site.path("pretended")
}

#[test]
fn a_python_that_is_too_old() {
    home_refused(
        |site| pretend(site, "3.9", "cpython-39-x"),
        "Python home 'HOME' is Python 3.9, but 3.10 or newer is needed",
    );
}

#[test]
fn a_python_without_an_engine() {
    let mut versions: Vec<String> =
        matrix::pythons().into_iter().map(|python| python.version).collect();
    // Two of one minor version share an engine.
    versions.dedup();
    let engines = Setup::get().module().parent().unwrap().join("engines");
    home_refused(
        |site| pretend(site, "3.99", "cpython-399-x"),
        &format!(
            "Python home 'HOME' is Python 3.99 (cpython-399-x), but '{}' has engines only for \
             Python {}",
            engines.display(),
            versions.join(", ")
        ),
    );
}

/// Tag of the extension modules of a Python.
fn soabi(python: &Python) -> String {
    let short = format!("cpython-{}-", python.version.replace('.', ""));
    let engines = Setup::get().module().parent().unwrap().join("engines");
    let names = fs::read_dir(engines).unwrap().flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.into_string().unwrap());
    let name = names.find(|name| name.contains(&short)).unwrap();
    name.trim_start_matches("_mod_wsgi.").trim_end_matches(".so").to_owned()
}

#[test]
fn a_python_that_is_linked_statically() {
    let python = matrix::python();
    let site = Site::homeless(Mpm::Event);
    let home = pretend(&site, &python.version, &soabi(&python));
    let engine = format!("_mod_wsgi.{}.so", soabi(&python));
    let engine = Setup::get().module().parent().unwrap().join("engines").join(engine);
    refused(
        site.conf(format!("WSGIPythonHome \"{}\"", home.display())),
        &format!(
            "cannot use '{}': Python {version} in '{}' has no shared library \
             (libpython{version}.so.1.0, libpython{version}.so), which embedded mode needs; use \
             daemon mode (WSGIDaemonProcess), or a Python built with --enable-shared",
            engine.display(),
            home.display(),
            version = python.version,
        ),
    );
}

/// A site whose build is its own.
fn with_own_build(damage: impl FnOnce(&Path, &Path)) -> Site {
    let python = matrix::python();
    let site = Site::plain(Mpm::Event);
    let module = installed(&site);
    let engines = module.parent().unwrap().join("mod_wsgi/engines");
    let engine = engines.join(format!("_mod_wsgi.{}.so", soabi(&python)));
    damage(&engine, &module);
    site.conf(format!("LoadModule wsgi_module \"{}\"", module.display()))
        .conf(format!("WSGIPythonHome \"{}\"", python.prefix.display()))
}

#[test]
fn a_build_without_engines() {
    let site = with_own_build(|engine, _| {
        for entry in fs::read_dir(engine.parent().unwrap()).unwrap().flatten() {
            fs::remove_file(entry.path()).unwrap();
        }
    });
    let python = matrix::python();
    let engines = site.path("modules/mod_wsgi/engines");
    let reason = format!(
        "Python home '{}' is Python {} ({}), but '{}' has no engines",
        python.prefix.display(),
        python.version,
        soabi(&python),
        engines.display()
    );
    refused(site, &reason);
}

#[test]
fn an_engine_of_another_build() {
    let mut file = PathBuf::new();
    let site = with_own_build(|engine, _| {
        let source = engine.with_extension("c");
        let text = "static unsigned long long table[64] = { 512, 0x1234 };\n\
                    void *mod_wsgi_engine(void) { return table; }\n";
        fs::write(&source, text).unwrap();
        fs::remove_file(engine).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-o"]).arg(engine).arg(&source);
        assert!(compile.status().unwrap().success());
        file = engine.to_owned();
    });
    let reason = format!(
        "cannot use '{}': it belongs to another build of mod_wsgi (its interface is \
         0000000000001234, this module's is ",
        file.display()
    );
    refused(site, &reason);
}

#[test]
fn an_engine_that_is_damaged() {
    let mut file = PathBuf::new();
    let site = with_own_build(|engine, _| {
        fs::write(engine, "not an engine").unwrap();
        file = engine.to_owned();
    });
    refused(site, &format!("cannot use '{0}': {0}: file too short", file.display()));
}

/// The rules are those of the child, which starts Python when it must: a server that has no use for
/// one does not look for it.
#[test]
fn a_server_without_applications_needs_no_python() {
    let server = Site::homeless(Mpm::Event).conf("WSGIPythonHome /nowhere").start();
    assert_eq!(server.get("/.ready").with_status(200).text(), "ready\n");
    server.log().refuse("WSGI0036");
    server.stop();
}

#[test]
fn mod_python_beside_us() {
    // mod_python is no more; another module with a name of the same length becomes it.
    let Some(file) = Setup::get().loadable("mod_status") else {
        return matrix::skip("mod_python", "there is no mod_status to make it of");
    };
    let mut image = fs::read(file).unwrap();
    let name = b"mod_status.c\0";
    let places: Vec<usize> = image
        .windows(name.len())
        .enumerate()
        .filter(|(_, part)| part == name)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        image[at..at + name.len()].copy_from_slice(b"mod_python.c\0");
    }
    let site = Site::homeless(Mpm::Event);
    let module = site.write("mod_python.so", image);
    let site = site.conf(format!("LoadModule status_module \"{}\"", module.display()));
    // What it checks is checked at a start, not in a test of the configuration's words.
    let found = site.run(&["-k", "start", "-X"]);
    assert!(!found.ok, "{found:?}");
    let log = fs::read_to_string(site.path("error.log")).unwrap_or_default();
    let said = "mod_wsgi cannot be used together with mod_python";
    assert!(found.output.contains(said) || log.contains(said), "{found:?}\n{log}");
}
