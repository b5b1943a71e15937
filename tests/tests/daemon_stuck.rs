//! Daemon mode: an application that hangs, spins, locks itself out or wants everything costs itself
//! and nobody else, its clients hear of it in time, and the log tells it in order.
//!
//! In each case the group has two processes, a client goes on asking, and none of its requests may
//! fail.

#![allow(clippy::unwrap_used)]

use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::http::Response;
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Site, matrix};

const SCRIPT: &str = r#"
import ctypes, os, threading, time

lock = threading.Lock()

def hang():
    time.sleep(60)

def hold_the_gil():
    ctypes.PyDLL(None).sleep(60)

def spin():
    while True:
        pass

def lock_out():
    with lock:
        with lock:
            pass

def want_memory():
    kept = []
    while True:
        kept.append(bytearray(50_000_000))

def want_processes():
    import resource
    own = sum(1 for pid in os.listdir('/proc') if pid.isdigit() and is_mine(pid))
    resource.setrlimit(resource.RLIMIT_NPROC, (own + 10, own + 10))
    parent = os.getpid()
    for _ in range(1000):
        if os.fork() == 0:
            while os.getppid() == parent:
                time.sleep(0.05)
            os._exit(0)

def is_mine(pid):
    try:
        return os.stat('/proc/' + pid).st_uid == os.getuid()
    except OSError:
        return False

def application(environ, start_response):
    name = environ['PATH_INFO'].strip('/')
    if name:
        path = os.path.join(environ['test.dir'], name)
        # Several requests may say it at once.
        new = '%s.%d.new' % (path, threading.get_ident())
        with open(new, 'w') as file:
            file.write(str(os.getpid()))
        os.rename(new, path)
        globals()[name]()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

/// What takes a few seconds must not take so long.
const LATE: Duration = Duration::from_secs(20);

fn serve(options: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    let server = site
        .conf(format!(
            "WSGIDaemonProcess d processes=2 threads=4 graceful-timeout=1 shutdown-timeout=1 {options}"
        ))
        .conf("WSGIProcessGroup d\nWSGIApplicationGroup %{GLOBAL}")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("[wsgi:warn]");
    server.log().allow("[wsgi:error]");
    let two = wait_for(LATE, || (server.workers("d").len() == 2).then_some(()));
    assert!(two.is_some(), "{:?}", server.workers("d"));
    assert_eq!(server.get("/").status, 200);
    server
}

/// A request on a thread of its own: its response, and how long that took.
fn ask(server: &Server, path: &'static str) -> JoinHandle<(Response, Duration)> {
    let address = server.address();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let response = tests::http::request(address, "GET", path, &[], b"").unwrap();
        (response, begun.elapsed())
    })
}

/// The process that runs the function.
#[track_caller]
fn runs(server: &Server, name: &str) -> Process {
    let path = server.site().path("notes").join(name);
    let pid = wait_for(LATE, || std::fs::read_to_string(&path).ok());
    Process { pid: pid.expect("it does not run").parse().unwrap() }
}

fn load(server: &Server) -> Load {
    Load::start(server.address(), 1, "/", |response| response.status == 200)
}

/// These are in the log, in this order.
#[track_caller]
fn story(server: &Server, parts: &[&str]) {
    let told = || {
        let text = server.log().text();
        let mut rest = text.as_str();
        for part in parts {
            rest = &rest[rest.find(part)? + part.len()..];
        }
        Some(())
    };
    assert!(wait_for(LATE, told).is_some(), "{parts:?} is not told in:\n{}", server.log().text());
}

/// Runs a function that does not come back, and holds what becomes of it against these limits.
fn takes_too_long(name: &'static str, options: &str, parts: &[&str]) {
    let server = serve(options);
    let load = load(&server);
    load.await_more(5);
    let path: &'static str = Box::leak(format!("/{name}").into_boxed_str());
    let request = ask(&server, path);
    let process = runs(&server, name);
    let (response, took) = request.join().unwrap();
    assert_eq!(response.status, 504, "{response:?}");
    assert!(took >= Duration::from_secs(1) && took < LATE, "{took:?}");
    process.await_end();
    load.await_more(20);
    load.finish();
    story(&server, parts);
    server.stop();
}

const EXPIRED: &str = "Daemon process request time limit exceeded, stopping";
const REPLACED: &str = "is being replaced: request_timeout";

#[test]
fn a_request_that_spins() {
    takes_too_long("spin", "request-timeout=1", &[EXPIRED, "in spin", "it was running: "]);
}

#[test]
fn a_request_that_locks_itself_out() {
    takes_too_long("lock_out", "request-timeout=1", &[EXPIRED, REPLACED, "in lock_out"]);
}

#[test]
fn a_request_that_holds_the_gil() {
    let parts = [EXPIRED, "cannot be had", "in hold_the_gil"];
    takes_too_long("hold_the_gil", "request-timeout=1", &parts);
}

#[test]
fn an_interrupt_that_is_not_heard() {
    let options = "request-timeout=1 interrupt-timeout=1";
    takes_too_long("hang", options, &["Injected RequestTimeout into thread", EXPIRED]);
}

#[test]
fn a_request_that_wants_all_memory() {
    let server = serve("memory-limit=600000000");
    let load = load(&server);
    assert_eq!(server.get("/want_memory").status, 500);
    let process = runs(&server, "want_memory");
    load.await_more(20);
    assert!(process.lives(), "an exception is no reason to end");
    load.finish();
    story(&server, &["Traceback", "in want_memory", "MemoryError"]);
    server.stop();
}

#[test]
fn a_request_that_wants_all_processes() {
    let server = serve("");
    let load = load(&server);
    assert_eq!(server.get("/want_processes").status, 500);
    let process = runs(&server, "want_processes");
    load.await_more(20);
    process.signal(rustix::process::Signal::KILL);
    process.await_end();
    load.await_more(20);
    load.finish();
    story(&server, &["in want_processes", "BlockingIOError", "terminated by signal 9"]);
    let two = wait_for(LATE, || (server.workers("d").len() == 2).then_some(()));
    assert!(two.is_some(), "{:?}", server.workers("d"));
    server.stop();
}

#[test]
fn the_last_thread_serves_as_fast_as_before() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    let server = site
        .conf("WSGIDaemonProcess d threads=4 shutdown-timeout=1\nWSGIProcessGroup d")
        .conf("MaxKeepAliveRequests 0")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("[wsgi:error]");
    let median = || {
        let mut connection = server.connect();
        let mut times: Vec<Duration> = (0..200)
            .map(|_| {
                let begun = Instant::now();
                let head = tests::http::head("GET", "/", &[("Connection", "keep-alive")], 0);
                connection.send(head).unwrap();
                assert_eq!(connection.response("GET").unwrap().status, 200);
                begun.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    assert_eq!(server.get("/").status, 200);
    let before = median();
    let hanging: Vec<_> = (0..3).map(|_| ask(&server, "/hang")).collect();
    let worker = runs(&server, "hang");
    let after = median();
    matrix::note(&format!("median with one of four threads left: {before:?}, then {after:?}"));
    // Others use this machine, too; a thread that has to wait for three takes far longer.
    assert!(after < before * 3 + Duration::from_millis(2), "{before:?}, then {after:?}");
    worker.signal(rustix::process::Signal::KILL);
    for request in hanging {
        assert_eq!(request.join().unwrap().0.status, 502);
    }
    server.stop();
}
