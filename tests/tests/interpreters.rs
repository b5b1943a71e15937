//! Which interpreter an application runs in, as the application itself finds it.

#![allow(clippy::unwrap_used)]

use tests::{Mpm, Site, matrix};

/// Says which interpreter it is in, what it is called, and runs callbacks of extension modules.
const SCRIPT: &str = r#"
import sqlite3, sys, ctypes, mod_wsgi

def interpreter():
    try:
        import _interpreters as module
    except ImportError:
        import _xxsubinterpreters as module
    number = module.get_current()
    return int(number[0] if isinstance(number, tuple) else number)

HERE = sys.here = interpreter()
database = sqlite3.connect(":memory:", check_same_thread=False)
database.create_function("here", 0, interpreter)
again = ctypes.CFUNCTYPE(ctypes.c_int)(interpreter)

def application(environ, start_response):
    found = {HERE, sys.here, interpreter(), again(), database.execute("select here()").fetchone()[0]}
    names = {mod_wsgi.application_group, environ["mod_wsgi.application_group"]}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["%s %s".__mod__((sorted(found), sorted(names))).encode()]
"#;

#[test]
fn the_only_application_runs_in_the_main_interpreter() {
    matrix::for_each_cell(|cell| {
        let server = Site::new(cell.mpm, &cell.python).mount("/app", "s.wsgi", SCRIPT).start();
        let text = |headers: &[(&str, &str)]| {
            server.request("GET", "/app", headers, b"").with_status(200).text()
        };
        for _ in 0..4 {
            assert_eq!(text(&[]), "[0] ['localhost|/app']");
        }
        // Whatever port the client names.
        let host = format!("localhost:{}", server.port());
        assert_eq!(text(&[("Host", &host)]), "[0] ['localhost|/app']");
        assert!(!server.log().text().contains("Creating sub-interpreter"));
        server.stop();
    });
}

#[test]
fn the_rule_can_be_turned_off() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let server = site.conf("WSGISoleTenant Off").mount("/app", "s.wsgi", SCRIPT).start();
    assert_eq!(server.get("/app").with_status(200).text(), "[1] ['localhost|/app']");
    server.log().expect("Creating sub-interpreter 'localhost|/app' in embedded mode.");
    server.stop();
}

#[test]
fn an_application_that_is_not_alone_has_a_sub_interpreter() {
    for (what, lines) in [
        ("a section", "<Location /app>\nWSGIApplicationGroup other\n</Location>"),
        ("a handler", "<Files *.wsgi>\nSetHandler wsgi-script\n</Files>"),
        ("a virtual host", "<VirtualHost *:1>\nServerName other.example\n</VirtualHost>"),
        ("overrides", "<Directory /nowhere>\nAllowOverride FileInfo\n</Directory>"),
    ] {
        let site = Site::new(Mpm::Event, &matrix::python()).one_child(1).conf(lines);
        let server = site.mount("/app", "s.wsgi", SCRIPT).start();
        let text = server.get("/app").with_status(200).text();
        assert!(text.starts_with("[1] "), "{what}: {text}");
        server.stop();
    }
}

/// Three interpreters on the same thread. Before 3.12, callbacks hung in all but the first.
#[test]
fn callbacks_run_in_the_interpreter_of_the_request() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(1);
        let script = site.write("global.wsgi", SCRIPT);
        let server = site
            .mount("/a", "a.wsgi", SCRIPT)
            .mount("/b", "b.wsgi", SCRIPT)
            .conf(format!(
                "WSGIScriptAlias /global {} application-group=%{{GLOBAL}}",
                script.display()
            ))
            .start();
        let get = |path: &str| server.get(path).with_status(200).text();
        for _ in 0..3 {
            assert_eq!(get("/a"), "[1] ['localhost|/a']");
            assert_eq!(get("/global"), "[0] ['']");
            assert_eq!(get("/b"), "[2] ['localhost|/b']");
        }
        server.stop();
    });
}
