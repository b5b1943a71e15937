//! Threads that come and go, and requests inside of requests: mod_http2's workers, mod_include's
//! subrequests.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::Duration;
use tests::process::wait_for;
use tests::{Server, Site, matrix};

/// Counts the thread states of its interpreter, as CPython keeps them.
const STATES: &str = r#"
import ctypes, threading, time
api = ctypes.pythonapi
for name in ("PyInterpreterState_Get", "PyInterpreterState_ThreadHead", "PyThreadState_Next"):
    getattr(api, name).restype = ctypes.c_void_p
here = threading.local()

def states():
    n, state = 0, api.PyInterpreterState_ThreadHead(ctypes.c_void_p(api.PyInterpreterState_Get()))
    while state:
        n, state = n + 1, api.PyThreadState_Next(ctypes.c_void_p(state))
    return n

def application(environ, start_response):
    here.seen = True
    if environ["QUERY_STRING"] == "slow":
        time.sleep(0.05)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(states()).encode()]
"#;

/// A request on each of twenty connections at once, in HTTP/2 from the first byte on. (Second ones
/// fail now and then in curl 7.88, whoever serves.)
fn burst(server: &Server, mount: &str) {
    let url = format!("http://{}{mount}?slow", server.address());
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--http2-prior-knowledge"]);
            curl.args(["--max-time", "30", &url]).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut client in clients {
        assert!(client.wait().unwrap().success());
    }
}

fn can_speak_http2() -> bool {
    let version = Command::new("curl").arg("--version").output();
    let speaks =
        version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(" HTTP2"));
    let server = tests::Setup::get().loadable("mod_http2").is_some();
    if !(speaks && server) {
        matrix::skip("HTTP/2", "there is no mod_http2, or no curl that speaks it");
    }
    speaks && server
}

#[test]
fn threads_of_http2_leave_no_states_behind() {
    if !can_speak_http2() {
        return;
    }
    let cycles = if matrix::nightly("thirty cycles of HTTP/2") { 30 } else { 3 };
    matrix::for_each_python(|python| {
        let server = Site::new(tests::Mpm::Event, python)
            .module("mod_http2")
            .one_child(4)
            .conf(
                "Protocols h2c http/1.1\nH2MaxWorkerIdleSeconds 1\nH2MinWorkers 1\nH2MaxWorkers 20",
            )
            .mount("/a", "a.wsgi", STATES)
            .mount("/b", "b.wsgi", STATES)
            .start();
        // What mod_http2 keeps when it is idle, and the threads of HTTP/1.
        let few = 12;
        for cycle in 0..cycles {
            for mount in ["/a", "/b"] {
                burst(&server, mount);
            }
            let settled = wait_for(Duration::from_secs(20), || {
                std::thread::sleep(Duration::from_millis(200));
                let counts = ["/a", "/b"].map(|mount| {
                    server.get(mount).with_status(200).text().parse::<usize>().unwrap()
                });
                counts.iter().all(|count| *count <= few).then_some(())
            });
            let count = server.get("/a").text();
            assert!(settled.is_some(), "{count} states after cycle {cycle}");
        }
        server.stop();
    });
}

/// The outer application writes a page that mod_include fills with the inner one's, while the outer
/// one is running.
#[test]
fn a_page_includes_another_application() {
    const OUTER: &str = "
import threading
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/html')])
    here = environ['mod_wsgi.application_group']
    yield b'<p>before ' + here.encode() + b'</p>'
    for n in range(3):
        yield b'<!--#include virtual=\"/inner?%d\" -->' % n
        assert environ['mod_wsgi.application_group'] == here
    yield b'<p>after</p>'
";
    const INNER: &str = "
import sys, sqlite3
database = sqlite3.connect(':memory:', check_same_thread=False)
database.create_function('who', 0, lambda: __name__[:10])
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/html')])
    name = database.execute('select who()').fetchone()[0]
    return [('[%s %s %s]' % (environ['mod_wsgi.application_group'], environ['QUERY_STRING'],
                             name)).encode()]
";
    matrix::for_each_cell(|cell| {
        for own in ["other", "%{GLOBAL}", "outer"] {
            let site = Site::new(cell.mpm, &cell.python)
                .module("mod_include")
                .module("mod_filter")
                .one_child(2);
            let outer = site.write("outer.wsgi", OUTER);
            let inner = site.write("inner.wsgi", INNER);
            let server = site
                .conf("<Location /outer>\nOptions +Includes\nSetOutputFilter INCLUDES\n</Location>")
                .conf(format!("WSGIScriptAlias /outer {} application-group=outer", outer.display()))
                .conf(format!("WSGIScriptAlias /inner {} application-group={own}", inner.display()))
                .start();
            let group = if own == "%{GLOBAL}" { "" } else { own };
            let page: String = (0..3).map(|n| format!("[{group} {n} _mod_wsgi_]")).collect();
            for _ in 0..3 {
                let text = server.get("/outer").with_status(200).text();
                assert_eq!(text, format!("<p>before outer</p>{page}<p>after</p>"));
            }
            server.stop();
        }
    });
}
