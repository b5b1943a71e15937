//! Interpreters that cannot be set up: who is told, and what still works.

#![allow(clippy::unwrap_used)]

use std::fs;
use tests::{Mpm, Site, matrix};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.application_group'].encode() or b'main']
";

/// Start-up code of Python that keeps `signal` from interpreters as long as a file is there.
const SABOTAGE: &str = "
import os, sys
class Finder:
    def find_spec(name, path, target=None):
        if name == 'signal' and os.path.exists(os.path.join(os.path.dirname(__file__), 'broken')):
            raise ImportError('sabotage')
sys.meta_path.insert(0, Finder)
";

#[test]
fn a_main_interpreter_that_cannot_be_set_up_is_said_once() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(4);
        site.write("lib/signal.py", "raise ValueError('no signal')\n");
        let lib = site.path("lib").display().to_string();
        let server = site.env("PYTHONPATH", &lib).mount("/", "app.wsgi", HELLO).start();
        for _ in 0..2 {
            assert_eq!(server.get("/").status, 500);
            let line = server.log().expect("WSGI0210: Embedded mode of mod_wsgi cannot be used");
            assert!(line.text().starts_with("[script "), "{}", line.raw);
        }
        let place = "main interpreter in embedded mode";
        let header = "ValueError exception raised during Python interpreter initialisation for";
        for (text, level) in [
            (format!("WSGI0188: {header} {place}."), "error"),
            (format!("WSGI0035: Unable to setup {place}."), "crit"),
            ("WSGI0038: Python based handlers will not be available in".to_owned(), "error"),
            ("WSGI0002: Python child initialisation failed in Apache".to_owned(), "crit"),
        ] {
            assert_eq!(server.log().expect(&text).level, level);
        }
        server.log().expect_traceback("ValueError: no signal");
        // What did not go wrong.
        server.log().refuse("WSGI0001");
        server.log().refuse("WSGI0036");
        server.stop();
    });
}

#[test]
fn a_sub_interpreter_that_cannot_be_set_up_fails_its_requests_until_it_can() {
    let mut site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    site.write("lib/sitecustomize.py", SABOTAGE);
    let lib = site.path("lib").display().to_string();
    let path = site.write("app.wsgi", HELLO);
    for (url, group) in [("/named", "named"), ("/", "%{GLOBAL}")] {
        let alias = format!("WSGIScriptAlias {url} \"{}\"", path.display());
        site = site.conf(format!("{alias} application-group={group}"));
    }
    let server = site.env("PYTHONPATH", &lib).start();
    assert_eq!(server.get("/").text(), "main");
    let broken = server.site().write("lib/broken", "");
    for _ in 0..2 {
        assert_eq!(server.get("/named").status, 500);
        assert_eq!(server.get("/").text(), "main");
        for (text, level) in [
            ("WSGI0035: Unable to setup sub-interpreter 'named' in embedded mode.", "crit"),
            (
                "WSGI0103: Python based handlers will not be available for sub-interpreter 'named'",
                "error",
            ),
        ] {
            assert_eq!(server.log().expect(text).level, level);
        }
        let line = server.log().expect(
            "WSGI0087: Unable to acquire sub-interpreter 'named' for WSGI request handler in \
             embedded mode.",
        );
        assert!(line.text().starts_with("[script "), "{}", line.raw);
    }
    // Attempts leave nothing behind.
    let child = server.children()[0];
    let fail = |times: usize| {
        for _ in 0..times {
            assert_eq!(server.get("/named").status, 500);
        }
        child.stats().unwrap().rss
    };
    let (before, after) = (fail(100), fail(300));
    assert!(after < before + 1024, "{before} KiB, then {after} KiB");
    fs::remove_file(broken).unwrap();
    assert_eq!(server.get("/named").text(), "named");
    server.log().allow("[wsgi:error]");
    server.log().allow("WSGI0035: Unable to setup sub-interpreter 'named'");
    server.stop();
}

#[test]
fn a_preload_whose_interpreter_cannot_be_set_up_is_skipped() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    // The main interpreter comes first.
    let sabotage = "
import sys
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
current = interpreters.get_current()
if (current[0] if isinstance(current, tuple) else int(current)) != 0:
    sys.modules['signal'] = None
";
    site.write("lib/sitecustomize.py", sabotage);
    let lib = site.path("lib").display().to_string();
    let path = site.write("import.py", "print('imported')\n");
    let script = |group: &str| {
        let options = format!("process-group=%{{GLOBAL}} application-group={group}");
        format!("WSGIImportScript \"{}\" {options}", path.display())
    };
    let server = site
        .env("PYTHONPATH", &lib)
        .conf(script("named"))
        .conf(script("%{GLOBAL}"))
        .mount("/", "app.wsgi", HELLO)
        .start();
    let line = server.log().expect("WSGI0040: Unable to acquire sub-interpreter 'named' during");
    assert_eq!(line.level, "crit");
    server.log().expect("imported");
    server.log().allow("WSGI0035: Unable to setup sub-interpreter 'named'");
    server.log().allow("[wsgi:error]");
    server.stop();
}
