//! `SetHandler wsgi-status` tells where running requests are: in which line of which function, over
//! all processes and interpreters, or that Python's lock was not to be had, and when it is asked only.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::http::{Connection, head};
use tests::process::wait_for;
use tests::{GROUP, Mode, Mpm, Python, Server, Site, matrix};

const SCRIPT: &str = r#"import os, time

class Waiting:
    def here(self, seconds):
        time.sleep(seconds)

HOSTILE = '/x/<script>alert("1")</script>&\n9\tf\t\u202e\udcff' + 'a' * 3000 + '/end.py'

def hostile(seconds):
    code = compile('\n\ndef inner(wait, seconds):\n    wait(seconds)\n', HOSTILE, 'exec')
    names = {}
    exec(code, names)
    names['inner'](time.sleep, seconds)

def wedged(seconds):
    import ctypes
    ctypes.PyDLL(None).sleep(int(seconds))

def application(environ, start_response):
    kind, seconds = environ['QUERY_STRING'].split('=')
    if kind == 'here':
        Waiting().here(float(seconds))
    elif kind == 'hostile':
        hostile(float(seconds))
    elif kind == 'wedged':
        wedged(float(seconds))
    elif kind == 'body':
        environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Length', '2')])
    if kind == 'slow':
        return slow(float(seconds))
    return [b'ok']

def slow(seconds):
    yield b'o'
    time.sleep(seconds)
    yield b'k'
"#;

const SOON: Duration = Duration::from_secs(30);

const MODES: [Mode; 2] = [Mode::Embedded, Mode::Daemon];

const PAGE: &str =
    "Alias /wsgi-status /nowhere\n<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>";

fn site(python: &Python, mode: Mode) -> Site {
    let groups = "SetEnvIf Request_URI ^/(main|one|two) test.group=$1\n\
                  SetEnvIf Request_URI ^/main test.group=%{GLOBAL}\n\
                  WSGIApplicationGroup %{ENV:test.group}";
    Site::new(Mpm::Event, python).mode(mode).one_child(12).conf(PAGE).conf(groups)
}

fn status(server: &Server) -> Value {
    let response = server.get("/wsgi-status?format=json").with_status(200);
    serde_json::from_slice(&response.body).unwrap()
}

fn running(server: &Server) -> Vec<Value> {
    status(server)["running"].as_array().unwrap().clone()
}

/// The running request of this path, once it is as it should be.
fn until(server: &Server, path: &str, good: impl Fn(&Value) -> bool) -> Value {
    let mut last = Vec::new();
    let found = wait_for(SOON, || {
        last = running(server);
        last.iter().find(|request| request["uri"] == path && good(request)).cloned()
    });
    found.unwrap_or_else(|| panic!("{path}: {last:#?}"))
}

fn is_at(function: &str) -> impl Fn(&Value) -> bool {
    move |request| {
        let name = request["frames"][0]["function"].as_str().unwrap_or_default();
        request["place"] == "python" && name.rsplit('.').next() == Some(function)
    }
}

fn is_held(request: &Value) -> bool {
    request["place"] == "gil_held"
}

fn begin(server: &Server, path: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(head("GET", path, &[], 0)).unwrap();
    connection
}

fn line_of(text: &str) -> usize {
    1 + SCRIPT.lines().position(|line| line.contains(text)).unwrap()
}

#[test]
fn a_request_is_in_a_line_of_a_function() {
    matrix::for_each_python(|python| {
        for mode in MODES {
            let server = site(python, mode).mount("/", "app.wsgi", SCRIPT).start();
            let mut connection = begin(&server, "/main?here=2");
            let request = until(&server, "/main", is_at("here"));
            let frames = request["frames"].as_array().unwrap();
            let file = server.site().path("app.wsgi").display().to_string();
            let class = if matches!(&*python.version, "3.10") { "" } else { "Waiting." };
            let lines = [line_of("time.sleep(seconds)"), line_of("Waiting().here(")];
            let names = [format!("{class}here"), "application".to_owned()];
            for ((frame, line), name) in frames.iter().zip(lines).zip(names) {
                assert_eq!(*frame, json!({ "file": file, "line": line, "function": name }));
            }
            assert_eq!(frames.len(), 2, "{request:#}");
            let page = server.get("/wsgi-status").with_status(200).text();
            assert!(
                page.contains(&format!("<code>{file}:{}</code> {class}here", lines[0])),
                "{page}"
            );
            let metrics = server.get("/wsgi-status?format=openmetrics").with_status(200).text();
            assert!(!metrics.contains("app.wsgi"));
            assert_eq!(connection.response("GET").unwrap().status, 200);
            // While the rest of a response is made, too; and without Python there is no place.
            let mut connection = begin(&server, "/main?slow=1");
            until(&server, "/main", is_at("slow"));
            assert_eq!(connection.response("GET").unwrap().text(), "ok");
            // The client has its answer before the request is logged, and over.
            let is_over = wait_for(SOON, || running(&server).is_empty().then_some(()));
            assert!(is_over.is_some(), "{:#?}", running(&server));
            server.stop();
        }
    });
}

#[test]
fn a_request_that_waits_for_its_body_is_where_it_reads() {
    for mode in MODES {
        let server = site(&matrix::python(), mode).mount("/", "app.wsgi", SCRIPT).start();
        let mut connection = server.connect();
        connection.send(head("POST", "/main?body=1", &[("Content-Type", "a/b")], 200_000)).unwrap();
        connection.send([b'x'; 100]).unwrap();
        let request = until(&server, "/main", |request| match mode {
            // It is buffered, and with no application yet.
            Mode::Daemon => request["stage"] == "reading" && request["place"].is_null(),
            Mode::Embedded => is_at("application")(request),
        });
        assert_eq!(request["method"], "POST");
        drop(connection);
        server.log().allow("[wsgi:");
        server.abandon();
    }
}

#[test]
fn who_keeps_the_lock_is_said_to_and_the_page_comes_in_time() {
    for mode in MODES {
        let server = site(&matrix::python(), mode).mount("/", "app.wsgi", SCRIPT).start();
        let mut waits = begin(&server, "/one?here=4");
        until(&server, "/one", is_at("here"));
        let mut wedged = begin(&server, "/main?wedged=3");
        until(&server, "/main", is_held);
        let begun = Instant::now();
        let page = server.get("/wsgi-status").with_status(200).text();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1500), "{took:?}");
        // Both interpreters have one lock.
        let text = "no answer within 200\u{a0}ms: the GIL is held";
        assert_eq!(page.matches(text).count(), 2, "{page}");
        assert_eq!(wedged.response("GET").unwrap().status, 200);
        until(&server, "/one", is_at("here"));
        assert_eq!(waits.response("GET").unwrap().status, 200);
        server.stop();
    }
}

#[test]
fn a_lock_that_is_kept_hides_nobody_who_has_another() {
    // `ctypes` is for interpreters with a lock of their own since then.
    let pythons = matrix::pythons();
    let Some(python) = pythons.iter().find(|it| matches!(&*it.version, "3.13" | "3.14")) else {
        return matrix::skip("locks of interpreters", "there is no Python 3.13");
    };
    for mode in MODES {
        let server = site(python, mode)
            .conf("<WSGIInterpreterOptions application-group=two>")
            .conf("WSGIPerInterpreterGIL On\n</WSGIInterpreterOptions>")
            .mount("/", "app.wsgi", SCRIPT)
            .start();
        let mut paths = [("/one?here=5", "/one"), ("/main?here=5", "/main")].map(|(url, path)| {
            let connection = begin(&server, url);
            until(&server, path, is_at("here"));
            connection
        });
        let mut wedged = begin(&server, "/two?wedged=3");
        until(&server, "/two", is_held);
        for path in ["/one", "/main"] {
            until(&server, path, is_at("here"));
        }
        until(&server, "/two", is_held);
        assert_eq!(wedged.response("GET").unwrap().status, 200);
        for connection in &mut paths {
            assert_eq!(connection.response("GET").unwrap().status, 200);
        }
        server.stop();
    }
}

#[test]
fn hostile_names_of_files_are_only_text() {
    for mode in MODES {
        let server = site(&matrix::python(), mode).mount("/", "app.wsgi", SCRIPT).start();
        let mut connection = begin(&server, "/main?hostile=6");
        let request = until(&server, "/main", is_at("inner"));
        let file = request["frames"][0]["file"].as_str().unwrap();
        assert!(file.ends_with("aaa/end.py") && file.len() < 1000, "{file}");
        assert_eq!(request["frames"][0]["line"], 4);
        let page = server.get("/wsgi-status").with_status(200).text();
        assert!(page.contains("aaa/end.py:4</code> inner"), "{page}");
        assert!(!page.contains("<script"));
        assert_eq!(connection.response("GET").unwrap().status, 200);
        server.stop();
        // One that is short enough to be there as a whole.
        let script = SCRIPT.replace("'a' * 3000", "''");
        let server = site(&matrix::python(), mode).mount("/", "app.wsgi", &script).start();
        let mut connection = begin(&server, "/main?hostile=6");
        let request = until(&server, "/main", is_at("inner"));
        let file = request["frames"][0]["file"].as_str().unwrap();
        let start = "/x/<script>alert(\"1\")</script>&\u{fffd}9\u{fffd}f\u{fffd}\u{202e}\u{fffd}";
        assert!(file.starts_with(start) && file.ends_with("/end.py"), "{file:?}");
        let page = server.get("/wsgi-status").with_status(200).text();
        assert!(
            page.contains("/x/&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;"),
            "{page}"
        );
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert_eq!(connection.response("GET").unwrap().status, 200);
        server.stop();
    }
}

#[test]
fn all_processes_are_asked() {
    let python = matrix::python();
    // Each child of Apache's has one request, so another one makes the page.
    let server = Site::new(Mpm::Prefork, &python)
        .scale("StartServers 4\nServerLimit 4\nMinSpareServers 4\nMaxSpareServers 4\nMaxRequestWorkers 4")
        .conf(PAGE)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    all_are_there(&server);
    server.stop();
    let server = Site::new(Mpm::Event, &python)
        .conf("WSGIDaemonProcess several processes=3 threads=1\nWSGIProcessGroup several")
        .conf(PAGE)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let serving = wait_for(SOON, || {
        let status = status(&server);
        let workers = status["groups"][0]["workers"].as_array().unwrap();
        let count = workers.iter().filter(|worker| worker["state"] == "serving").count();
        (count == 3).then_some(())
    });
    assert!(serving.is_some());
    all_are_there(&server);
    server.stop();
}

fn all_are_there(server: &Server) {
    let paths = ["/a", "/b", "/c"];
    let mut last = Vec::new();
    // The first requests load Python, and one may be over before another is where it should be.
    for _ in 0..3 {
        let mut connections = paths.map(|path| begin(server, &format!("{path}?here=3")));
        let found = wait_for(Duration::from_secs(4), || {
            last = running(server);
            (last.len() == 3 && last.iter().all(is_at("here"))).then_some(())
        });
        for connection in &mut connections {
            assert_eq!(connection.response("GET").unwrap().status, 200);
        }
        if found.is_some() {
            let pid = |request: &Value| request["pid"].as_u64();
            let pids: BTreeSet<_> = last.iter().map(pid).collect();
            assert_eq!(pids.len(), 3, "{last:#?}");
            return;
        }
    }
    panic!("{last:#?}");
}

/// Names of the threads of a process.
fn threads(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn nobody_looks_before_somebody_asks() {
    for mode in MODES {
        let process = |server: &Server| match mode {
            Mode::Daemon => server.worker(GROUP).pid,
            Mode::Embedded => server.children()[0].pid,
        };
        let with_page = site(&matrix::python(), mode).mount("/", "app.wsgi", SCRIPT).start();
        let without = Site::new(Mpm::Event, &matrix::python())
            .mode(mode)
            .one_child(4)
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .mount("/", "app.wsgi", SCRIPT)
            .start();
        for server in [&with_page, &without] {
            assert_eq!(server.get("/main?none=0").status, 200);
            let names = threads(process(server));
            assert!(!names.iter().any(|name| name == "wsgi-looker"), "{names:?}");
        }
        assert!(!threads(process(&without)).iter().any(|name| name == "wsgi-places"));
        let mut connection = begin(&with_page, "/main?here=2");
        until(&with_page, "/main", is_at("here"));
        let names = threads(process(&with_page));
        assert_eq!(names.iter().filter(|name| *name == "wsgi-looker").count(), 1, "{names:?}");
        assert_eq!(connection.response("GET").unwrap().status, 200);
        with_page.stop();
        without.stop();
    }
}
