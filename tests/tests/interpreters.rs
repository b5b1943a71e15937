//! Which interpreter an application runs in, as the application itself finds it.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};
use tests::{Mpm, Python, Server, Setup, Site, Tier, matrix};

/// Says which interpreter it is in, what it is called, and runs callbacks of extension modules.
const SCRIPT: &str = r#"
import sqlite3, sys, ctypes, threading, mod_wsgi

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
lock = threading.Lock()

def by_sqlite():
    with lock:
        return database.execute("select here()").fetchone()[0]

def application(environ, start_response):
    found = {HERE, sys.here, interpreter(), again(), by_sqlite()}
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

/// Each process has tenants of its own, and what is alone in one may not be in another.
#[test]
fn groups_of_daemon_processes_have_tenants_of_their_own() {
    matrix::for_each_cell(|cell| {
        let mut site = Site::new(cell.mpm, &cell.python);
        for (url, group) in [("/one", "alone"), ("/two", "shared"), ("/three", "shared")] {
            let script = site.write(&format!("{group}{}.wsgi", &url[1..]), SCRIPT);
            let script = script.display();
            site = site.conf(format!("WSGIScriptAlias {url} {script} process-group={group}"));
        }
        let server = site
            .conf("WSGIDaemonProcess alone threads=3\nWSGIDaemonProcess shared threads=3")
            .mount("/embedded", "embedded.wsgi", SCRIPT)
            .start();
        let host = format!("localhost:{}", server.port());
        for _ in 0..3 {
            for path in ["/one", "/embedded"] {
                let names = format!("[0] ['localhost|{path}']");
                assert_eq!(server.get(path).with_status(200).text(), names);
                let answer = server.request("GET", path, &[("Host", &host)], b"");
                assert_eq!(answer.with_status(200).text(), names);
            }
            let two = server.get("/two").with_status(200).text();
            let three = server.get("/three").with_status(200).text();
            assert!(two.ends_with(" ['localhost|/two']") && !two.starts_with("[0]"), "{two}");
            assert!(
                three.ends_with(" ['localhost|/three']") && !three.starts_with("[0]"),
                "{three}"
            );
            assert_ne!(two[..3], three[..3]);
        }
        server.stop();
    });
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

/// Tells what options set, per interpreter.
const OPTIONS: &str = r#"
import sys, mod_wsgi

def application(environ, start_response):
    def closed(stream):
        try:
            stream.readable
        except OSError:
            return True
        return False
    found = [
        sys.getswitchinterval(),
        [path for path in sys.path if path.startswith("/lib-")],
        closed(sys.stdin),
        closed(sys.stdout),
    ]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [repr(found).encode()]
"#;

fn has_own_gils(python: &Python) -> bool {
    !matches!(&*python.version, "3.10" | "3.11")
}

#[test]
fn interpreters_have_options_of_their_own() {
    matrix::for_each_python(|python| {
        let site = Site::new(Mpm::Event, python).one_child(2);
        let script = site.write("options.wsgi", OPTIONS);
        let script = script.display();
        let server = site
            .conf("WSGIPythonPath /lib-all")
            .conf("<WSGIInterpreterOptions application-group=own>")
            .conf("WSGIPerInterpreterGIL On\nWSGISwitchInterval 0.25\nWSGIPythonPath /lib-own")
            .conf("<IfModule mod_wsgi.c>\nWSGIRestrictStdin On\n</IfModule>")
            .conf("</WSGIInterpreterOptions>")
            .conf("<WSGIInterpreterOptions process-group=%{GLOBAL} application-group=shared>")
            .conf("WSGISwitchInterval 0.125\nWSGIRestrictStdout On")
            .conf("</WSGIInterpreterOptions>")
            .conf("<WSGIInterpreterOptions process-group=elsewhere>")
            .conf("WSGIRestrictStdin On\nWSGIRestrictStdout On")
            .conf("</WSGIInterpreterOptions>")
            .conf(format!("WSGIScriptAlias /own {script} application-group=own"))
            .conf(format!("WSGIScriptAlias /shared {script} application-group=shared"))
            .conf(format!("WSGIScriptAlias /global {script} application-group=%{{GLOBAL}}"))
            .start();
        let get = |path: &str| server.get(path).with_status(200).text();
        assert_eq!(get("/global"), "[0.005, ['/lib-all'], False, False]");
        assert_eq!(get("/shared"), "[0.005, ['/lib-all'], False, True]");
        server.log().expect("WSGI0199: Skipping per-interpreter switch interval 0.125000s");
        let interval = if has_own_gils(python) { "0.25" } else { "0.005" };
        let own = get("/own");
        assert_eq!(own, format!("[{interval}, ['/lib-own', '/lib-all'], True, False]"));
        if has_own_gils(python) {
            server.log().expect("Creating sub-interpreter 'own' in embedded mode with own GIL.");
        } else {
            server.log().expect("WSGI0198: WSGIPerInterpreterGIL requires Python 3.12 or later;");
            server.log().expect("WSGI0199: Skipping per-interpreter switch interval 0.250000s");
        }
        server.stop();
    });
}

#[test]
fn a_block_can_be_for_a_group_of_daemon_processes() {
    let python = matrix::python();
    let mut site = Site::new(Mpm::Event, &python);
    let script = site.write("options.wsgi", OPTIONS);
    for group in ["one", "two"] {
        let script = script.display();
        site = site
            .conf(format!("WSGIDaemonProcess {group} threads=2 python-path=/lib-{group}"))
            .conf(format!("WSGIScriptAlias /{group}/sub {script} process-group={group} application-group=sub"))
            .conf(format!("WSGIScriptAlias /{group} {script} process-group={group} application-group=%{{GLOBAL}}"));
    }
    let server = site
        .conf("WSGIPythonPath /lib-embedded")
        .conf("<WSGIInterpreterOptions process-group=two>\nWSGIPythonPath /lib-block")
        .conf("WSGIRestrictStdin On\n</WSGIInterpreterOptions>")
        .conf("<WSGIInterpreterOptions process-group=two application-group=sub>")
        .conf("WSGIRestrictStdin Off\nWSGIRestrictStdout On\nWSGIPerInterpreterGIL On")
        .conf("WSGISwitchInterval 0.25\n</WSGIInterpreterOptions>")
        .start();
    let get = |path: &str| server.get(path).with_status(200).text();
    assert_eq!(get("/one"), "[0.005, ['/lib-one'], False, False]");
    assert_eq!(get("/one/sub"), "[0.005, ['/lib-one'], False, False]");
    assert_eq!(get("/two"), "[0.005, ['/lib-block', '/lib-two'], True, False]");
    if has_own_gils(&python) {
        assert_eq!(get("/two/sub"), "[0.25, ['/lib-block', '/lib-two'], False, True]");
    }
    server.stop();
}

#[test]
fn a_mistake_in_a_block_is_found_at_its_line() {
    let site = Site::homeless(Mpm::Event)
        .conf("<WSGIInterpreterOptions application-group=x>")
        .conf("WSGIPerInterpreterGIL On")
        .conf("WSGIPythonHome /usr")
        .conf("</WSGIInterpreterOptions>");
    let found = site.check();
    let text = std::fs::read_to_string(site.path("httpd.conf")).unwrap();
    let line = text.lines().position(|line| line == "WSGIPythonHome /usr").unwrap() + 1;
    assert!(!found.ok && found.output.contains(&format!("on line {line} of ")), "{found:?}");
    let wanted = "WSGIPythonHome is not allowed within <WSGIInterpreterOptions>";
    assert!(found.output.contains(wanted), "{found:?}");
}

#[test]
fn running_without_the_gil_needs_a_python_that_can() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIFreeThreading On\nWSGISwitchInterval 0.5")
        .conf("<WSGIInterpreterOptions application-group=a>\nWSGIFreeThreading Off")
        .conf("</WSGIInterpreterOptions>")
        .mount("/", "options.wsgi", OPTIONS)
        .start();
    // It is without effect: what needs a GIL goes on.
    assert_eq!(server.get("/").with_status(200).text(), "[0.5, [], False, False]");
    server.log().expect("WSGI0200: WSGIFreeThreading On has no effect");
    server.log().expect("WSGI0201: WSGIFreeThreading inside <WSGIInterpreterOptions>");
    server.log().refuse("with free-threading enabled");
    server.stop();
}

/// A pure-Python application that takes some ten milliseconds, and tells where it ran.
const BUSY: &str = r#"
import time
HERE = object()

def application(environ, start_response):
    end = time.thread_time() + 0.02
    n = 0
    while time.thread_time() < end:
        for i in range(1000):
            n += i
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(id(HERE)).encode()]
"#;

fn busy(python: &Python, options: &str) -> Server {
    Site::new(Mpm::Event, python).one_child(4).conf(options).mount("/", "busy.wsgi", BUSY).start()
}

#[test]
fn replicas_share_the_requests_of_an_application() {
    matrix::for_each_python(|python| {
        let server = busy(python, "WSGIPerInterpreterGIL On\nWSGIInterpreterReplicas 2");
        let places: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let get = || server.get("/").with_status(200).text();
            let clients: Vec<_> = (0..4)
                .map(|_| scope.spawn(move || (0..10).map(|_| get()).collect::<Vec<_>>()))
                .collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        if has_own_gils(python) {
            assert_eq!(places.len(), 2, "{places:?}");
            server.log().expect("Creating sub-interpreter 'localhost|' (replica 2) in embedded");
        } else {
            assert_eq!(places.len(), 1, "{places:?}");
            server.log().expect("WSGI0198: ");
            server.log().expect("WSGI1104: Skipping replicas of sub-interpreter 'localhost|'");
        }
        server.stop();
    });
}

#[test]
fn fifty_interpreters_made_at_once() {
    matrix::for_each_cell(|cell| {
        let mut site = Site::new(cell.mpm, &cell.python).one_child(16);
        let script = site.write("s.wsgi", SCRIPT);
        for n in 0..50 {
            let script = script.display();
            site = site.conf(format!("WSGIScriptAlias /{n}/ {script}/ application-group=g{n}"));
        }
        let server = site.start();
        let get = |n: usize| server.get(&format!("/{n}/")).with_status(200).text();
        let asked: Vec<Vec<String>> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..16)
                .map(|client| {
                    // Two clients each ask for the same at the same time.
                    scope.spawn(move || (0..50).map(|i| get((client / 2 * 7 + i) % 50)).collect())
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let mut names: Vec<&String> = asked.iter().flatten().collect();
        names.sort();
        names.dedup();
        // One interpreter per name, and one name per interpreter.
        assert_eq!(names.len(), 50, "{names:?}");
        let mut numbers: Vec<_> =
            names.iter().map(|name| name.split_once(' ').unwrap().0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50, "{names:?}");
        server.stop();
    });
}

/// The long tier sends as many as it takes for what happens rarely.
#[test]
fn requests_alternate_between_interpreters_of_the_same_threads() {
    let rounds = if Setup::get().tier == Tier::Nightly { 20_000 } else { 1200 };
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(3).conf("KeepAlive On");
        let script = site.write("s.wsgi", SCRIPT);
        let script = script.display();
        let server = site
            .conf("MaxKeepAliveRequests 0")
            .conf(format!("WSGIScriptAlias /a {script} application-group=a"))
            .conf(format!("WSGIScriptAlias /b {script} application-group=b"))
            .conf(format!("WSGIScriptAlias /global {script} application-group=%{{GLOBAL}}"))
            .start();
        const KEEP: &[(&str, &str)] = &[("Connection", "keep-alive")];
        let paths = ["/a", "/global", "/b"];
        let expected = paths.map(|path| server.get(path).with_status(200).text());
        assert_eq!(expected[1], "[0] ['']");
        let clients = if cell.mpm.threaded() { 3 } else { 1 };
        std::thread::scope(|scope| {
            for client in 0..clients {
                let (server, expected) = (&server, &expected);
                scope.spawn(move || {
                    let mut connection = server.connect();
                    for i in 0..rounds / clients {
                        // Pairs and triples in every order.
                        let which = (client + i + i / 3 + i / 7) % 3;
                        let head = tests::http::head("GET", paths[which], KEEP, 0);
                        connection.send(&head).unwrap();
                        let response = connection.response("GET").or_else(|_| {
                            // The event MPM closes idle connections when its threads are busy.
                            connection = server.connect();
                            connection.send(&head)?;
                            connection.response("GET")
                        });
                        let text = response.unwrap().with_status(200).text();
                        assert_eq!(text, expected[which], "{} after {i}", paths[which]);
                    }
                });
            }
        });
        server.stop();
    });
}

#[test]
fn two_servers_have_a_python_each() {
    let pythons = matrix::pythons();
    let (Some(old), Some(new)) = (pythons.first(), pythons.last()) else { return };
    if old.version == new.version {
        return matrix::skip("two Pythons at once", "dist has engines for one only");
    }
    let script = "
import sys, sqlite3, ssl
def application(environ, start_response):
    start_response('200 OK', [])
    return ['{}.{}'.format(*sys.version_info).encode()]
";
    let start = |python| Site::new(Mpm::Event, python).mount("/", "v.wsgi", script).start();
    let servers = [(old, start(old)), (new, start(new))];
    for _ in 0..5 {
        for (python, server) in &servers {
            assert_eq!(server.get("/").with_status(200).text(), python.version);
        }
    }
    for (_, server) in servers {
        server.stop();
    }
}

/// How long each measurement takes; many short ones, in turns, meet the same other work.
const SLICE: Duration = Duration::from_millis(700);

/// Requests that four clients have served in a slice of time.
fn served(server: &Server) -> f64 {
    let begun = Instant::now();
    let client = || {
        let mut served = 0.0;
        while begun.elapsed() < SLICE {
            assert_eq!(server.get("/").status, 200);
            served += 1.0;
        }
        served
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

/// What this many threads that only compute get done in a slice of time.
fn computed(threads: usize) -> f64 {
    let begun = Instant::now();
    let work = || {
        let mut done = 0_u32;
        while begun.elapsed() < SLICE {
            done += std::hint::black_box((0..1000_u64).sum::<u64>() & 1) as u32 + 1;
        }
        f64::from(done)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    })
}

/// At least 1.6 times one interpreter, where two threads that share nothing get twice as much done
/// as one; on a busy machine they do not, and less is asked.
#[test]
fn two_replicas_use_two_cores() {
    if !matrix::nightly("what replicas are worth") {
        return;
    }
    for python in matrix::pythons().iter().filter(|python| has_own_gils(python)) {
        let one = busy(python, "");
        let two = busy(python, "WSGIPerInterpreterGIL On\nWSGIInterpreterReplicas 2");
        // All interpreters are there.
        served(&two);
        let mut found = Vec::new();
        let good = (0..4).any(|_| {
            let mut sums = [0.0; 4];
            for _ in 0..5 {
                sums[0] += served(&one);
                sums[1] += computed(1);
                sums[2] += served(&two);
                sums[3] += computed(2);
            }
            let (replicas, machine) = (sums[2] / sums[0], sums[3] / sums[1]);
            found.push(format!("{replicas:.2} where {machine:.2} is possible"));
            replicas >= (0.8 * machine).clamp(1.25, 1.6)
        });
        matrix::note(&format!(
            "Python {python}: two replicas serve {} times one",
            found.join(", ")
        ));
        assert!(good, "Python {python}: {found:?}");
        one.stop();
        two.stop();
    }
}

#[test]
fn what_cannot_be_imported_with_an_own_gil_is_explained() {
    for python in matrix::pythons().iter().filter(|python| has_own_gils(python)) {
        // Modules of the standard library that have not been made fit for it; builds may lack them.
        let refused = ["_curses", "readline"].into_iter().find(|module| {
            let import = format!("import {module}");
            let mut command = std::process::Command::new(python.executable());
            command.args(["-I", "-c", &import]).output().is_ok_and(|it| it.status.success())
        });
        let Some(module) = refused else {
            matrix::note(&format!("Python {python} has neither curses nor readline"));
            continue;
        };
        let script = format!("import {module}\n{SCRIPT}");
        let site = Site::new(Mpm::Event, python).one_child(2).conf("WSGIPerInterpreterGIL On");
        let server = site.mount("/own", "own.wsgi", &script).start();
        assert_eq!(server.get("/own").status, 500);
        server.log().expect("WSGI1102: ");
        server.log().expect("WSGI0109: ");
        server.log().expect("WSGI0174: ");
        server.log().expect_traceback(&format!(
            "ImportError: module {module} does not support loading in subinterpreters"
        ));
        server.stop();
    }
}
