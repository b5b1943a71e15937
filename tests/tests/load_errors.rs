//! Scripts that do not load: what the client gets and what the log says.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use tests::{Mpm, Server, Setup, Site, matrix};

const CONTEXT: &str = "main interpreter in embedded mode";

/// A site with this script at `/`, in the main interpreter.
fn with_script(script: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python()).conf("WSGIApplicationGroup %{GLOBAL}");
    site.mount("/", "app.wsgi", script).start()
}

/// The lines of one failed request: the code's, the exception's header, the traceback.
fn expect_failure(server: &Server, message: &str, header: &str, last: &str) {
    let path = server.site().path("app.wsgi");
    let path = path.display();
    let line = server.log().expect(&message.replace("{}", &path.to_string()));
    assert_eq!((line.module.as_str(), line.level.as_str()), ("wsgi", "error"), "{}", line.raw);
    assert!(line.rest.contains("[client 127.0.0.1:"), "{}", line.raw);
    assert!(line.text().contains(&format!("[script {path}] WSGI")), "{}", line.raw);
    let line = server.log().expect(&header.replace("{}", &path.to_string()));
    assert!(line.text().starts_with("WSGI017"), "{}", line.raw);
    server.log().expect_traceback(last);
}

fn raised(class: &str) -> String {
    format!(
        "WSGI0174: [script {{}}] {class} exception raised processing WSGI script '{{}}' for {CONTEXT}."
    )
}

#[test]
fn a_script_that_does_not_exist_is_404() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let missing = site.path("missing.wsgi");
    let server = site.conf(format!("WSGIScriptAlias / {}", missing.display())).start();
    assert_eq!(server.get("/x").status, 404);
    let line = server.log().expect("WSGI0135: Target WSGI script not found or unable to stat.");
    assert_eq!(line.level, "error");
    assert!(
        line.text().starts_with(&format!("[script {}] WSGI0135", missing.display())),
        "{line:?}"
    );
    server.stop();
}

#[test]
fn a_directory_is_403() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let directory = site.writable("scripts");
    let server = site.conf(format!("WSGIScriptAlias /dir {}", directory.display())).start();
    assert_eq!(server.get("/dir/").status, 403);
    server.log().expect("WSGI0136: Attempt to invoke directory as WSGI application.");
    server.stop();
}

#[test]
fn a_script_that_does_not_compile_is_500() {
    for (script, last) in [
        ("def application(:\n", "SyntaxError: "),
        ("if True:\n\tx = 1\n        y = 2\n", "TabError: "),
        ("# -*- coding: nonsense -*-\n", "SyntaxError: "),
    ] {
        let server = with_script(script);
        for _ in 0..2 {
            // No verdict is kept: every request tries again and says so again.
            assert_eq!(server.get("/").status, 500);
            let message =
                format!("WSGI0105: Could not read or compile WSGI script '{{}}' for {CONTEXT}.");
            let class = last.trim_end_matches(": ");
            let path = server.site().path("app.wsgi").display().to_string();
            server.log().expect(&message.replace("{}", &path));
            server.log().expect(&raised(class).replace("{}", &path));
            // A compile error has no traceback of its own frames; its last line is enough.
            server.log().expect(last);
        }
        server.log().allow("app.wsgi\", line");
        server.log().allow("[wsgi:error]");
        server.stop();
    }
}

#[test]
fn a_script_that_raises_at_import_is_500() {
    for (script, last) in [
        ("raise ValueError('no luck')\n", "ValueError: no luck"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("class Odd(BaseException): pass\nraise Odd('x')\n", "Odd: x"),
    ] {
        let server = with_script(script);
        let class = last.split(':').next().unwrap();
        for _ in 0..2 {
            assert_eq!(server.get("/").status, 500);
            let message = "WSGI0109: Unable to execute Python script file '{}'.";
            let last = if class == "Odd" { "" } else { last };
            let path = server.site().path("app.wsgi").display().to_string();
            if last.is_empty() {
                server.log().expect(&message.replace("{}", &path));
                server.log().expect(&raised("Odd").replace("{}", &path));
                let lines = server.log().matching("Odd: x");
                assert!(!lines.is_empty(), "{}", server.log().text());
                server.log().allow("[wsgi:error]");
            } else {
                expect_failure(&server, message, &raised(class), last);
            }
        }
        server.stop();
    }
}

#[test]
fn a_script_that_exits_at_import_is_500() {
    let server = with_script("import sys\nsys.exit(3)\n");
    assert_eq!(server.get("/").status, 500);
    let message =
        "WSGI0107: SystemExit exception raised when doing exec of Python script file '{}'.";
    let header = format!(
        "WSGI0175: [script {{}}] SystemExit exception raised by WSGI script '{{}}' for {CONTEXT}; ignored."
    );
    expect_failure(&server, message, &header, "SystemExit: 3");
    assert_eq!(server.get("/").status, 500, "the process is gone");
    expect_failure(&server, message, &header, "SystemExit: 3");
    server.stop();
}

#[test]
fn a_script_without_application_is_404() {
    let server = with_script("app = 1\n");
    assert_eq!(server.get("/").status, 404);
    let path = server.site().path("app.wsgi");
    let text = format!(
        "WSGI0089: Target WSGI script '{}' does not contain WSGI application 'application'.",
        path.display()
    );
    let line = server.log().expect(&text);
    assert_eq!(line.level, "error");
    server.stop();
}

#[test]
fn an_application_that_is_no_callable_is_500() {
    let server = with_script("application = 1\n");
    assert_eq!(server.get("/").status, 500);
    let path = server.site().path("app.wsgi").display().to_string();
    server.log().expect(&raised("TypeError").replace("{}", &path));
    server.log().expect("TypeError: 'int' object is not callable");
    server.log().allow("Traceback (most recent call last):");
    server.stop();
}

#[test]
fn a_script_that_cannot_be_read_is_500() {
    if Setup::get().area.user.is_none() && rustix::process::geteuid().is_root() {
        return;
    }
    let server = with_script("");
    let path = server.site().path("app.wsgi");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(server.get("/").status, 500);
    let message = format!("WSGI0105: Could not read or compile WSGI script '{{}}' for {CONTEXT}.");
    let path = path.display().to_string();
    let line = server.log().expect(&message.replace("{}", &path));
    assert!(line.rest.starts_with("(13)Permission denied: "), "{}", line.raw);
    server.log().expect(&raised("PermissionError").replace("{}", &path));
    server.log().expect("PermissionError: [Errno 13]");
    server.stop();
}

#[test]
fn a_script_that_is_mended_loads() {
    let server = with_script("raise ValueError('not yet')\n");
    assert_eq!(server.get("/").status, 500);
    server.log().allow("[wsgi:error]");
    let good = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n";
    server.site().write("app.wsgi", good);
    assert_eq!(server.get("/").with_status(200).text(), "mended");
    server.stop();
}

#[test]
fn a_sub_interpreter_is_named_in_the_log() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let server = site
        .mount("/one", "one.wsgi", "raise ValueError('one')\n")
        .mount("/two", "two.wsgi", "raise ValueError('two')\n")
        .start();
    assert_eq!(server.get("/one").status, 500);
    server.log().expect("WSGI0109: ");
    server.log().expect("for sub-interpreter 'localhost|/one' in embedded mode.");
    server.log().expect_traceback("ValueError: one");
    server.stop();
}

#[test]
fn an_application_that_raises_is_logged_with_its_request() {
    let script =
        "def application(environ, start_response):\n    raise ValueError(environ['PATH_INFO'])\n";
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).conf("WSGIApplicationGroup %{GLOBAL}");
        let server = site.mount("/", "app.wsgi", script).start();
        assert_eq!(server.get("/%25s%25n").status, 500);
        let path = server.site().path("app.wsgi").display().to_string();
        server.log().expect(&raised("ValueError").replace("{}", &path));
        let lines = server.log().expect_traceback("ValueError: /%s%n");
        let ours = |line: &tests::log::Line| line.rest.starts_with("[client 127.0.0.1:");
        assert!(lines.len() > 3 && lines.iter().all(ours), "{lines:?}");
        server.stop();
    });
}

#[test]
fn what_an_application_writes_is_logged() {
    let script = "
import sys
print('at import')
def application(environ, start_response):
    environ['wsgi.errors'].write('to errors\\n')
    print('to stdout')
    print('to stderr', file=sys.stderr)
    environ['wsgi.errors'].write('un')
    environ['wsgi.errors'].write('finished')
    start_response('200 OK', [])
    return []
";
    let server = with_script(script);
    assert_eq!(server.get("/").status, 200);
    let path = server.site().path("app.wsgi").display().to_string();
    let line = server.log().expect("at import");
    assert!(!line.rest.contains("[script ") && !line.rest.contains("[client "), "{}", line.raw);
    for text in ["to errors", "to stdout", "to stderr", "unfinished"] {
        let line = server.log().expect(text);
        assert_eq!((line.module.as_str(), line.level.as_str()), ("wsgi", "error"), "{}", line.raw);
        assert_eq!(line.text(), format!("[script {path}] {text}"));
    }
    server.stop();
}
