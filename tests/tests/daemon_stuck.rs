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
use tests::{Client, Load, Mpm, Server, Site, Times, matrix};

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

def read():
    os.read(os.pipe()[0], 1)

def nap():
    time.sleep(0.005)

def compute():
    sum(range(100_000))

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
    if name in ('nap', 'compute'):
        globals()[name]()
    elif name:
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
const LATE: Duration = Duration::from_secs(45);

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

/// Requests of one window, and windows of each group.
const WINDOW: usize = 30;
const WINDOWS: usize = 7;

/// Requests in a second, in the median of some windows.
fn rate(times: Vec<Duration>) -> f64 {
    WINDOW as f64 / Times::of(times).percentile(50).as_secs_f64()
}

/// How fast one thread serves.
#[derive(Debug, Default)]
struct Speed {
    /// Requests per second, in the median of some windows.
    rate: f64,
    /// Processor time that its process took for all of them, in ticks.
    ticks: u64,
}

/// How fast one thread serves while three of its process are stuck, and how fast one does in a process
/// like it in which none is. Windows of both alternate, so what else the machine does counts for both.
fn last_thread(work: &str) -> [Speed; 2] {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    let path = site.write("app.wsgi", SCRIPT);
    let (path, options) = (path.display(), "threads=4 graceful-timeout=1 shutdown-timeout=1");
    let alias = |group: &str| {
        format!(
            "WSGIDaemonProcess {group} {options} request-timeout=12 request-timeout-scaling=Off\n\
             WSGIScriptAlias /{group} {path} process-group={group} application-group=%{{GLOBAL}}"
        )
    };
    let server = site
        .conf(alias("stuck"))
        .conf(alias("free"))
        .conf("MaxKeepAliveRequests 0")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .start();
    server.log().allow("[wsgi:error]");
    server.log().allow("[wsgi:warn]");
    let (stuck, free) = (format!("/stuck{work}"), format!("/free{work}"));
    let clients = &mut [&stuck, &free].map(|path| Client::new(server.address(), path));
    // Its time, and the process that has served it.
    let mut window = |which: usize| {
        let begun = Instant::now();
        let pids: Vec<String> =
            (0..WINDOW).map(|_| clients[which].ask().unwrap().0.with_status(200).text()).collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
        (begun.elapsed(), pids[0].clone())
    };
    let process = window(0).1;
    let processes = [&process, &window(1).1].map(|pid| Process { pid: pid.parse().unwrap() });
    let began = Instant::now();
    let ways = ["/stuck/hang", "/stuck/lock_out", "/stuck/read"];
    let waiting = ways.map(|path| ask(&server, path));
    for name in ["hang", "lock_out", "read"] {
        assert_eq!(runs(&server, name).pid.to_string(), process);
    }
    let ticks = || processes.map(|process| process.ticks().expect("it was replaced"));
    let before = ticks();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..WINDOWS {
        for (which, times) in times.iter_mut().enumerate() {
            let (time, pid) = window(which);
            assert!(which == 1 || pid == process, "replaced already, after {:?}", began.elapsed());
            times.push(time);
        }
    }
    let after = ticks();
    assert!(waiting.iter().all(|request| !request.is_finished()));
    // Until it is replaced, and when it is, nobody else notices.
    let load = Load::start(server.address(), 1, &stuck, |response| response.status == 200);
    for request in waiting {
        let (response, took) = request.join().unwrap();
        assert_eq!(response.status, 504, "{response:?}");
        assert!(took >= Duration::from_secs(12), "{took:?}");
    }
    processes[0].await_end();
    load.await_more(20);
    load.finish();
    story(&server, &[EXPIRED]);
    server.stop();
    let rates = times.map(rate);
    let speeds =
        [0, 1].map(|which| Speed { rate: rates[which], ticks: after[which] - before[which] });
    matrix::note(&format!("{work}, beside three stuck threads and else: {speeds:?}"));
    speeds
}

/// A machine with other things to do may be slow in one of them, but not each time.
fn serves_as_fast(work: &str, good: impl Fn(&Speed, &Speed) -> bool) {
    let speeds: Vec<_> =
        (0..3).map(|_| last_thread(work)).take_while(|[stuck, free]| !good(stuck, free)).collect();
    assert!(speeds.len() < 3, "{speeds:?}");
}

#[test]
fn the_last_thread_serves_as_fast_as_before() {
    serves_as_fast("/nap", |stuck, free| stuck.rate >= 0.8 * free.rate);
}

/// How much of the processor it gets depends on what else the machine computes; how much it needs
/// does not, so that is what is judged closely.
#[test]
fn the_last_thread_computes_as_fast_as_before() {
    if matrix::nightly("computing beside stuck threads") {
        serves_as_fast("/compute", |stuck, free| {
            assert!(free.ticks >= 20, "that was no work: {free:?}");
            stuck.ticks as f64 <= 1.2 * free.ticks as f64 && stuck.rate >= 0.5 * free.rate
        });
    }
}
