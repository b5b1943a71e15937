//! Configurations as they are printed in the documentation of applications and shipped in packages:
//! Apache accepts each unchanged, but for accounts that this machine does not have.
//!
//! The files are in `data/configurations`; a first line `# modules: ...` names what they need of
//! Apache. Whether the applications themselves work is another question, see `frameworks.rs`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use tests::{Mode, Mpm, Site, matrix};

/// The accounts become one that every machine has.
fn with_known_accounts(text: &str) -> String {
    let mut known = String::new();
    for line in text.lines() {
        for word in line.split_inclusive(' ') {
            let (trimmed, tail) = word.split_at(word.trim_end().len());
            let name = trimmed.split_once('=').map(|(name, _)| name);
            match name {
                Some(name @ ("user" | "group")) => known.push_str(&format!("{name}=daemon")),
                _ => known.push_str(trimmed),
            }
            known.push_str(tail);
        }
        known.push('\n');
    }
    known
}

fn modules(text: &str) -> Vec<&str> {
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("# modules: ").map(|list| list.split(' ').collect()).unwrap_or_default()
}

#[test]
fn configurations_of_applications_and_packages_are_accepted() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/configurations");
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let site = Site::homeless(Mpm::Event);
        site.write("logs/error.log", "");
        let site = modules(&text).iter().fold(site, |site, name| site.module(name));
        let check = site.conf(with_known_accounts(&text)).check();
        assert!(check.ok, "{}: {}", path.display(), check.output);
        assert!(!check.output.contains("WSGI"), "{}: {}", path.display(), check.output);
        count += 1;
    }
    assert!(count >= 13, "{count}");
}

const APPLICATION: &str = "
def application(environ, start_response):
    said = [environ['mod_wsgi.process_group'], environ['mod_wsgi.application_group'],
        environ['SCRIPT_NAME'], environ.get('HTTP_AUTHORIZATION', '-')]
    start_response('200 OK', [])
    return ['|'.join(said).encode()]
";

/// Two of them with a script in place, in the shape that most configurations have.
#[test]
fn they_do_what_they_say() {
    for (file, from, url, expected) in [
        ("pyramid.conf", "/Users/chrism/modwsgi/env", "/myapp", "pyramid||/myapp|Token"),
        ("flask.conf", "/var/www/yourapplication", "/", "yourapplication|||-"),
        ("keystone.conf", "/usr/bin", "/identity", "keystone-public||/identity|Token"),
    ] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/configurations");
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Embedded).one_child(4);
        for name in ["pyramid.wsgi", "yourapplication.wsgi", "keystone-wsgi-public"] {
            site.write(&format!("app/{name}"), APPLICATION);
        }
        let app = site.path("app").display().to_string();
        let site = modules(&text).iter().fold(site, |site, name| site.module(name));
        // Accounts, files and ports are this machine's.
        let text = with_known_accounts(&text)
            .replace(from, &app)
            .replace(" user=daemon", "")
            .replace(" group=daemon", "")
            .replace("Listen 5000\n", "")
            .replace("<VirtualHost *>", "<VirtualHost *:*>")
            .replace("logs/", "");
        let server = site.conf(text).start();
        let headers = [("Authorization", "Token"), ("Host", "example.com")];
        let response = server.request("GET", url, &headers, b"").with_status(200);
        assert_eq!(response.text(), expected, "{file}");
        server.stop();
    }
}
