//! `mod_wsgi-express doctor` on machines where something is broken: it fails, names the cause and says
//! what mends it. That it finds nothing where all is well is tested with the other commands.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Express, Package, Setup, matrix};

const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'fine']
";

/// What is wrong, by the doctor's report: about what, the finding, what mends it.
#[track_caller]
fn errors(mut command: Command) -> Vec<(String, String, String)> {
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let findings = report["findings"].as_array().unwrap().iter();
    let text = |finding: &serde_json::Value, name: &str| {
        finding[name].as_str().unwrap_or_default().to_owned()
    };
    let errors: Vec<_> = findings
        .filter(|finding| finding["level"] == "error")
        .map(|finding| (text(finding, "about"), text(finding, "text"), text(finding, "mend")))
        .collect();
    let is_ok = errors.is_empty();
    assert_eq!(report["ok"], is_ok, "{report:#}");
    assert_eq!(output.status.code(), Some(i32::from(!is_ok)), "{report:#}");
    errors
}

/// Fails unless this is the only thing that is wrong.
#[track_caller]
fn names(command: Command, about: &str, cause: &str, mend: &str) {
    let errors = errors(command);
    let [(found, text, how)] = &errors[..] else { panic!("{errors:#?}") };
    assert_eq!(found, about, "{errors:#?}");
    assert!(text.contains(cause) && how.contains(mend), "{errors:#?}");
}

fn doctor(server: &Express<'_>, words: &[&str]) -> Command {
    let mut command = server.command("doctor", words);
    command.arg("--json");
    command
}

/// A directory with links to the files of another, less some.
fn all_but(package: &Package, name: &str, of: &Path, left_out: &[&str]) -> PathBuf {
    let place = package.place.join(name);
    fs::create_dir(&place).unwrap();
    for entry in fs::read_dir(of).unwrap().flatten() {
        if !left_out.iter().any(|name| entry.file_name() == *name) {
            symlink(entry.path(), place.join(entry.file_name())).unwrap();
        }
    }
    place
}

#[test]
fn the_doctor_names_what_is_broken() {
    // Not the shared one: things will be missing from it.
    let package = Package::of_wheel(&matrix::python());
    package.write("app.py", APP);
    let server = Express::new(&package, "doctor");
    assert_eq!(errors(doctor(&server, &["app.py"])), []);

    let modules = all_but(&package, "modules", &Setup::get().libexecdir, &["mod_authz_core.so"]);
    let given = modules.to_str().unwrap();
    let command = doctor(&server, &["app.py", "--modules-directory", given]);
    if Setup::get().loadable("mod_authz_core").is_some() {
        names(command, "modules", "mod_authz_core.so is not in", "install it");
    }

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let command = doctor(&server, &["app.py", "--port", &port]);
    names(command, "port", &format!("{port} is in use"), "another --port");
    drop(taken);

    if Setup::get().area.user.is_some() {
        // A name that a shell would take apart.
        let closed = package.write("what's closed/app.py", APP);
        let dir = closed.parent().unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
        let mend = format!("chmod o+x '{}'", dir.display().to_string().replace('\'', r"'\''"));
        let command = doctor(&server, &[closed.to_str().unwrap()]);
        names(command, "access", "closed to", &mend);
    }

    // Whoever only serves needs no apxs, and is not told to get it.
    let path = all_but(&package, "path", "/usr/bin".as_ref(), &["apxs", "apxs2"]);
    for is_wanted in [true, false] {
        let words: &[&str] = if is_wanted { &["app.py", "--build"] } else { &["app.py"] };
        let mut command = doctor(&server, words);
        command.env("PATH", &path);
        if is_wanted {
            let found = errors(command);
            let (about, text, mend) =
                found.iter().find(|(about, ..)| about == "apxs").expect("nothing about apxs");
            assert!(text.contains("not found") && mend.contains("APXS"), "{about} {text} {mend}");
        } else {
            assert_eq!(errors(command), []);
        }
    }

    let command = doctor(&server, &["app.py", "--python", "/bin/true"]);
    names(command, "python", "/bin/true does not answer like a Python", "--python");

    let module = PathBuf::from(package.says(&["module-location"]).trim_end());
    let engines = module.parent().unwrap().join("engines");
    fs::remove_dir_all(&engines).unwrap();
    fs::create_dir(&engines).unwrap();
    let command = doctor(&server, &["app.py"]);
    let found = errors(command);
    assert!(found.iter().any(|(about, ..)| about == "engine" || about == "engines"), "{found:#?}");

    fs::remove_file(&module).unwrap();
    let found = errors(doctor(&server, &["app.py"]));
    let text = format!("there is no {}", module.display());
    assert!(found.iter().any(|(about, why, _)| about == "module" && *why == text), "{found:#?}");
}
