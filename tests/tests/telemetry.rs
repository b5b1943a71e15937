//! What processes report of themselves to a socket, in embedded and in daemon mode, and that nobody
//! waits for whoever does not read it.
//!
//! The numbers of the defects are those of the reference's list of telemetry's weaknesses.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use telemetry::{Datagram, Value, decode, field};
use tests::process::{Process, wait_for};
use tests::{Mode, Mpm, Server, Site, Venv, http, matrix};

const SCRIPT: &str = r#"
import gc, mod_wsgi, os, threading, time

def deep(seconds):
    time.sleep(seconds)

def application(environ, start_response):
    what, _, number = environ['QUERY_STRING'].partition('=')
    if what == 'sleep':
        deep(float(number))
    elif what == 'collect':
        gc.collect()
    elif what == 'callbacks':
        start_response('200 OK', [])
        return [repr([getattr(it, '__name__', it) for it in gc.callbacks]).encode()]
    elif what == 'stream':
        write = start_response('202 Accepted', [])
        environ['wsgi.input'].read()
        write(b'x' * 5000)
        deep(float(number))
        return []
    elif what == 'status':
        start_response(number + ' x', [])
        return [b'']
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

const SECOND: Duration = Duration::from_secs(1);
/// What happens within a second or two has not happened by then if it does not.
const LATE: Duration = Duration::from_secs(20);

/// A socket that anybody may send to.
struct Reader {
    socket: UnixDatagram,
    kept: Vec<Datagram>,
}

impl Reader {
    fn bind(path: &Path) -> Reader {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        Reader { socket, kept: Vec::new() }
    }

    fn read(&self) -> Datagram {
        let mut buffer = vec![0; 65536];
        let length = self.socket.recv(&mut buffer).expect("nothing is reported any more");
        decode(&buffer[..length]).expect("a datagram that nobody can read")
    }

    /// The next one that is meant.
    fn find(&mut self, is_meant: impl Fn(&Datagram) -> bool) -> Datagram {
        let until = Instant::now() + LATE;
        loop {
            let datagram = self.read();
            self.kept.push(datagram.clone());
            if is_meant(&datagram) {
                return datagram;
            }
            assert!(Instant::now() < until, "not reported; what is: {:?}", self.kept);
        }
    }

    fn kind(&mut self, kind: u8) -> Datagram {
        self.find(|it| it.kind == kind)
    }
}

const SAMPLE: u8 = 2;
const SLOW: u8 = 4;
const STARTED: u8 = 5;
const STOPPING: u8 = 6;
const STOPPED: u8 = 7;
const GC_SNAPSHOT: u8 = 8;
const GC_EVENT: u8 = 9;

/// The field of ours that a consumer passes over.
const STACK: u16 = field::STACK;

fn site(mode: Mode) -> (Site, PathBuf) {
    site_of(Mpm::Event, mode)
}

fn site_of(mpm: Mpm, mode: Mode) -> (Site, PathBuf) {
    let site = Site::new(mpm, &matrix::python()).mode(mode).one_child(4);
    let socket = site.path("telemetry.sock");
    let line = format!("WSGITelemetryService unix:{} interval=0.5", socket.display());
    (site.conf(line), socket)
}

fn serve(mode: Mode, lines: &str) -> (Server, Reader) {
    let (site, socket) = site(mode);
    let reader = Reader::bind(&socket);
    let server = site.conf(lines).mount("/", "app.wsgi", SCRIPT).start();
    allow_slow(&server);
    (server, reader)
}

/// What is logged of slow requests; tests that ask for it find it nevertheless.
fn allow_slow(server: &Server) {
    for text in ["WSGI1004: ", "WSGI1006: ", "app.wsgi\", line "] {
        server.log().allow(text);
    }
}

fn text(datagram: &Datagram, id: u16) -> String {
    String::from_utf8_lossy(datagram.text(id).unwrap_or_default()).into_owned()
}

fn list(datagram: &Datagram, id: u16) -> Vec<i32> {
    match datagram.get(id) {
        Some(Value::I32s(list)) => list.clone(),
        other => panic!("{id}: {other:?}"),
    }
}

/// Requests of all samples so far.
fn requests(reader: &Reader) -> u64 {
    let samples = reader.kept.iter().filter(|it| it.kind == SAMPLE);
    samples.filter_map(|it| it.count(field::REQUEST_COUNT)).sum()
}

fn check_life(mpm: Mpm, mode: Mode) {
    let (site, socket) = site_of(mpm, mode);
    let mut reader = Reader::bind(&socket);
    let server = site.mount("/", "app.wsgi", SCRIPT).start();
    let pid: u32 = server.get("/").text().parse().unwrap();
    let started = reader.kind(STARTED);
    assert_eq!(started.pid, pid);
    assert_eq!(text(&started, field::MOD_WSGI_VERSION), "6.1.1");
    assert!(text(&started, field::PYTHON_VERSION).starts_with("3."));
    assert!(text(&started, field::APACHE_VERSION).starts_with("Apache/2.4."));
    let mpm_name = if mpm.threaded() { "event" } else { "prefork" };
    assert_eq!(text(&started, field::MPM_NAME), mpm_name);
    assert!(!text(&started, field::HOSTNAME).is_empty());
    let group = if mode == Mode::Daemon { tests::GROUP } else { "" };
    assert_eq!(text(&started, field::PROCESS_GROUP), group);
    let parent = u64::from(server.parent().pid);
    assert_eq!(started.count(field::PROCESS_PARENT_PID), Some(parent));
    assert_eq!(started.number(field::SWITCH_INTERVAL), Some(0.005));

    for _ in 0..9 {
        server.get("/");
    }
    server.post("/?status=404", "text/plain", &[b'x'; 3000]);
    server.get("/?status=500");
    let seen = |reader: &Reader| requests(reader) >= 12;
    while !seen(&reader) {
        reader.kind(SAMPLE);
    }
    assert_eq!(requests(&reader), 12);
    let samples: Vec<&Datagram> = reader.kept.iter().filter(|it| it.kind == SAMPLE).collect();
    let sum = |id| samples.iter().filter_map(|it| it.count(id)).sum::<u64>();
    let statuses: Vec<u64> = (field::STATUS_TOTAL..field::STATUS_TOTAL + 5).map(sum).collect();
    assert_eq!(statuses, [0, 10, 0, 1, 1]);
    let busy = samples.iter().find(|it| it.count(field::REQUEST_COUNT) > Some(0)).unwrap();
    let daemon = mode == Mode::Daemon;
    for phase in 0..8u16 {
        let is_there = daemon || ![1, 2].contains(&phase);
        for id in [field::PHASE_MEAN, field::PHASE_MIN, field::PHASE_MAX, field::PHASE_BUCKETS] {
            assert_eq!(busy.get(id + phase).is_some(), is_there, "{}", id + phase);
        }
    }
    let buckets = list(busy, field::PHASE_BUCKETS + 4);
    assert_eq!(buckets.len(), 65);
    let count = buckets.iter().sum::<i32>() as u64;
    assert_eq!(Some(count), busy.count(field::REQUEST_COUNT));
    let threads = busy.count(field::REQUEST_THREADS_MAXIMUM).unwrap();
    assert_eq!(list(busy, field::REQUEST_THREADS_COMPLETED).len() as u64, threads);
    assert!(busy.count(field::MEMORY_RSS).unwrap() > 1 << 20);
    assert!(busy.number(field::SAMPLE_PERIOD).unwrap() >= 0.4);
    assert_eq!(busy.number(field::TELEMETRY_INTERVAL), Some(0.5));
    assert_eq!(busy.number(field::SLOW_REQUESTS_THRESHOLD), Some(0.0));

    server.log().expect("Telemetry reporter started; target='unix:");
    server.stop();
    let stopping = reader.kind(STOPPING);
    assert_eq!(stopping.count(field::ACTIVE_REQUESTS_AT_DECISION), Some(0));
    let stopped = reader.kind(STOPPED);
    assert_eq!(stopped.pid, pid);
    assert_eq!(stopped.count(field::LIFETIME_REQUEST_COUNT), Some(12));
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(1));
    let reason = if daemon { "shutdown_signal" } else { "" };
    assert_eq!(text(&stopped, field::SHUTDOWN_REASON), reason);
    // All of them count, whatever they are about.
    let sequence: Vec<u32> = reader.kept.iter().map(|it| it.sequence).collect();
    assert!(sequence.iter().copied().eq(1..=sequence.len() as u32), "{sequence:?}");
}

#[test]
fn the_life_of_a_child() {
    check_life(Mpm::Event, Mode::Embedded);
}

#[test]
fn the_life_of_a_child_without_threads() {
    check_life(Mpm::Prefork, Mode::Embedded);
}

#[test]
fn the_life_of_a_worker() {
    check_life(Mpm::Event, Mode::Daemon);
}

fn check_slow(mode: Mode) {
    let lines = "WSGISlowRequests 0.6\nWSGITelemetryOptions +CaptureUserAgent";
    let (server, mut reader) = serve(mode, lines);
    let url = "/a/b?sleep=2";
    let headers = [("User-Agent", "browser"), ("Host", "shop.example:8080")];
    let began = Instant::now();
    let response = server.request("GET", url, &headers, b"");
    assert_eq!(response.status, 200);
    let took = began.elapsed().as_secs_f64();
    let completed =
        reader.find(|it| it.kind == SLOW && it.count(field::SLOW_RECORD_STATE) == Some(1));
    let active: Vec<&Datagram> = reader
        .kept
        .iter()
        .filter(|it| it.kind == SLOW && it.count(field::SLOW_RECORD_STATE) == Some(0))
        .collect();
    assert!(active.len() >= 2, "{active:?}");
    for (id, expected) in [
        (field::SLOW_METHOD, "GET"),
        (field::SLOW_SCHEME, "http"),
        (field::SLOW_HOSTNAME, "shop.example"),
        (field::SLOW_PATH_INFO, "/a/b"),
        (field::SLOW_PROTOCOL, "HTTP/1.1"),
        (field::SLOW_PEER_IP, "127.0.0.1"),
        (field::SLOW_USER_AGENT, "browser"),
    ] {
        assert_eq!(text(&completed, id), expected, "{id}");
        assert_eq!(text(active[0], id), expected, "{id}");
    }
    assert!(!text(&completed, field::SLOW_LOG_ID).is_empty());
    for id in [field::SLOW_LOG_ID, field::SLOW_THREAD_ID, field::SLOW_START_STAMP] {
        assert_eq!(completed.get(id), active[0].get(id), "one row, for the reader");
    }
    let duration = completed.number(field::SLOW_DURATION).unwrap();
    assert!(duration >= 2.0 && duration <= took + 0.1, "{duration} of {took}");
    assert!(completed.number(field::SLOW_APPLICATION_TIME).unwrap() >= 2.0);
    assert_eq!(completed.count(field::SLOW_STATUS), Some(200));
    assert_eq!(completed.count(field::SLOW_ACTIVE_AT_COMPLETION), Some(1));
    assert_eq!(active[0].count(field::SLOW_ACTIVE_AT_START), Some(1));
    let ages: Vec<f64> = active.iter().map(|it| it.number(field::SLOW_DURATION).unwrap()).collect();
    assert!(ages[0] >= 0.6 && ages.is_sorted() && ages.iter().all(|age| *age < took), "{ages:?}");
    // Where it is.
    let stack = text(active[0], STACK);
    let inner = stack.trim_end().lines().last().unwrap();
    assert!(inner.contains("app.wsgi") && inner.ends_with("in deep"), "{stack}");
    assert_eq!(stack.lines().count(), 2, "{stack}");
    assert_eq!(completed.get(STACK), None);
    let told = server.log().expect("WSGI1006: Request 'GET /a/b' has been running for ");
    assert!(told.raw.contains("seconds; the next lines say where it is"), "{}", told.raw);
    server.log().expect("app.wsgi\", line 5, in deep");
    server.log().expect("WSGI1004: Request 'GET /a/b' took 2.");
    assert_eq!(server.log().matching("WSGI1006").len(), 1, "once for each request");
    server.stop();
}

#[test]
fn slow_requests_of_a_child() {
    check_slow(Mode::Embedded);
}

#[test]
fn slow_requests_of_a_worker() {
    check_slow(Mode::Daemon);
}

#[test]
fn a_user_agent_is_nobodys_business_unless_asked_for() {
    let (server, mut reader) = serve(Mode::Daemon, "WSGISlowRequests 0.2");
    server.request("GET", "/?sleep=0.4", &[("User-Agent", "browser")], b"");
    let slow = reader.kind(SLOW);
    assert_eq!(slow.get(field::SLOW_USER_AGENT), None);
    server.stop();
}

#[test]
fn d06_what_goes_in_and_out_is_known_while_a_request_runs() {
    let (server, mut reader) = serve(Mode::Daemon, "WSGISlowRequests 0.5");
    server.request("POST", "/?stream=2", &[], &[b'x'; 2000]);
    let active = reader.kind(SLOW);
    assert_eq!(active.count(field::SLOW_RECORD_STATE), Some(0));
    assert_eq!(active.count(field::SLOW_STATUS), Some(202));
    assert_eq!(active.count(field::SLOW_OUTPUT_BYTES), Some(5000));
    assert_eq!(active.count(field::SLOW_INPUT_BYTES), Some(2000));
    assert!(text(&active, STACK).contains("in deep"));
    server.stop();
}

#[test]
fn d07_waiting_for_a_process_makes_a_request_slow() {
    let lines = "WSGISlowRequests 0.7\nWSGIDaemonProcess one threads=1\nWSGIProcessGroup one";
    let (server, mut reader) = serve(Mode::Embedded, lines);
    server.get("/");
    // One thread: each waits for the one before.
    let address = server.address();
    let all: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || http::request(address, "GET", "/?sleep=0.4", &[], b"")))
        .collect();
    for thread in all {
        thread.join().unwrap().unwrap();
    }
    let slow = reader.kind(SLOW);
    let waited = slow.number(field::SLOW_QUEUE_TIME).unwrap();
    assert!(slow.number(field::SLOW_DURATION).unwrap() >= 0.7);
    assert!(slow.number(field::SLOW_APPLICATION_TIME).unwrap() < 0.7);
    assert!(waited > 0.2, "{waited}");
    server.stop();
}

fn check_collectors(lines: &str) -> (Vec<Datagram>, Vec<Datagram>) {
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let server = site
        .conf("WSGISoleTenant Off")
        .conf(lines)
        .mount("/named", "named.wsgi", SCRIPT)
        .conf("<Location /main>\nWSGIApplicationGroup %{GLOBAL}\n</Location>")
        .mount("/main", "main.wsgi", SCRIPT)
        .start();
    let callbacks = server.get("/main?callbacks").text();
    assert_eq!(callbacks, "['_gc_callback']");
    server.get("/named");
    for _ in 0..3 {
        server.get("/main?collect");
    }
    server.get("/named?collect");
    // Whole generations, which Python does rarely by itself.
    let asked =
        |it: &Datagram| it.kind == GC_EVENT && it.count(field::GC_EVENT_GENERATION) == Some(2);
    let mut seen = 0;
    while seen < 4 {
        reader.find(asked);
        seen += 1;
    }
    reader.kind(SAMPLE);
    reader.kind(GC_SNAPSHOT);
    reader.kind(SAMPLE);
    server.stop();
    let of = |kind| reader.kept.iter().filter(|it| it.kind == kind).cloned().collect();
    let events: Vec<Datagram> = of(GC_EVENT);
    (of(GC_SNAPSHOT), events.into_iter().filter(asked).collect())
}

/// The reference reports another interpreter's collector as the main one's from Python 3.12 on.
#[test]
fn d03_each_interpreter_has_its_own_collector() {
    let (snapshots, events) = check_collectors("WSGITelemetryOptions +InterpreterNames");
    let mut names: HashMap<String, usize> = HashMap::new();
    for event in &events {
        *names.entry(text(event, field::INTERPRETER_NAME)).or_default() += 1;
        assert!(event.number(field::GC_EVENT_DURATION).unwrap() > 0.0);
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names.get(""), Some(&3), "{names:?}");
    let mut last: HashMap<String, &Datagram> = HashMap::new();
    for snapshot in &snapshots {
        last.insert(text(snapshot, field::INTERPRETER_NAME), snapshot);
    }
    let collections = |it: &&Datagram| it.count(field::GC_COLLECTIONS + 2).unwrap();
    let (main, named): (Vec<_>, Vec<_>) = last.iter().partition(|(name, _)| name.is_empty());
    assert_eq!((main.len(), named.len()), (1, 1), "{:?}", last.keys());
    assert!(collections(main[0].1) >= 3);
    assert!(collections(named[0].1) >= 1);
    assert_eq!(main[0].1.count(field::GC_IS_ENABLED), Some(1));
    assert!(main[0].1.count(field::GC_THRESHOLD).unwrap() > 0);
}

/// The reader of 1.1.0 answers no more once it is told a name: without being asked to, nobody tells.
#[test]
fn interpreters_are_one_for_a_reader_that_knows_no_names() {
    let (snapshots, events) = check_collectors("");
    assert!(snapshots.iter().chain(&events).all(|it| it.get(field::INTERPRETER_NAME).is_none()));
    let last = snapshots.last().unwrap();
    assert!(last.count(field::GC_COLLECTIONS + 2).unwrap() >= 4);
    let stamps: HashSet<String> = snapshots.iter().map(|it| format!("{:.1}", it.stamp)).collect();
    assert_eq!(stamps.len(), snapshots.len(), "one for each interval");
}

fn check_hung(mode: Mode) {
    let lines = "WSGISlowRequests 0.1";
    let (site, socket) = site(mode);
    let reader = Reader::bind(&socket);
    // The kernel keeps ten datagrams for a reader, or a few hundred.
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"full", &socket).is_ok() {}
    let mut server = site.conf(lines).mount("/", "app.wsgi", SCRIPT).start();
    allow_slow(&server);
    let began = Instant::now();
    while began.elapsed() < 3 * SECOND {
        let asked = Instant::now();
        assert_eq!(server.get("/?sleep=0.11").status, 200);
        for _ in 0..30 {
            assert_eq!(server.get("/?collect").status, 200);
        }
        assert!(asked.elapsed() < 3 * SECOND, "a request waits");
    }
    let began = Instant::now();
    server.restart();
    assert_eq!(server.get("/").status, 200);
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(reader);
}

#[test]
fn d01_a_reader_that_hangs_holds_up_no_child() {
    check_hung(Mode::Embedded);
}

#[test]
fn d01_a_reader_that_hangs_holds_up_no_worker() {
    check_hung(Mode::Daemon);
}

#[test]
fn nobody_need_read() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (site, socket) = site(mode);
        let server = site.conf("WSGISlowRequests 0.1").mount("/", "app.wsgi", SCRIPT).start();
        allow_slow(&server);
        let pid = server.get("/?sleep=0.2").text();
        std::thread::sleep(SECOND);
        // It comes, goes, and comes again, to the same process.
        for _ in 0..2 {
            let mut reader = Reader::bind(&socket);
            let sample = reader.kind(SAMPLE);
            assert_eq!(sample.pid.to_string(), pid);
            assert!(sample.sequence > 2);
        }
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "no socket").unwrap();
        assert_eq!(server.get("/").text(), pid);
        server.stop();
    }
}

#[test]
fn d02_an_end_does_not_wait_for_the_interval() {
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let server = site
        .conf(format!("WSGITelemetryService unix:{} interval=600", socket.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let worker = Process { pid: server.get("/").text().parse().unwrap() };
    reader.kind(STARTED);
    worker.signal(Signal::TERM);
    let stopped = reader.kind(STOPPED);
    assert_eq!(text(&stopped, field::SHUTDOWN_REASON), "shutdown_signal");
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(1));
    assert_eq!(requests(&reader), 1, "the last interval is reported");
    server.stop();
}

#[test]
fn a_drain_that_is_given_up_is_reported() {
    let lines = "WSGIDaemonProcess d threads=2 shutdown-timeout=1\nWSGIProcessGroup d";
    let (server, mut reader) = serve(Mode::Embedded, lines);
    let worker = Process { pid: server.get("/").text().parse().unwrap() };
    reader.kind(STARTED);
    let address = server.address();
    let request = std::thread::spawn(move || http::request(address, "GET", "/?sleep=30", &[], b""));
    reader.find(|it| match it.get(field::REQUEST_THREADS_CURRENT_ELAPSED) {
        Some(Value::F64s(threads)) => threads.iter().any(|age| *age > 0.0),
        _ => false,
    });
    worker.signal(Signal::TERM);
    let stopping = reader.kind(STOPPING);
    assert_eq!(stopping.count(field::ACTIVE_REQUESTS_AT_DECISION), Some(1));
    let stopped = reader.find(|it| it.kind == STOPPED);
    assert_eq!(stopped.count(field::ACTIVE_REQUESTS_AT_EXIT), Some(1));
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(0));
    drop(request.join());
    server.log().expect("still has requests; forcing shutdown.");
    server.log().expect("Shutdown timeout expired; aborting daemon process 'd'.");
    server.log().expect("WSGI0146: Daemon process 'd' closed connection before sending complete");
    server.stop();
}

#[test]
fn d04_only_threads_that_serve_are_counted() {
    let (server, mut reader) = serve(Mode::Daemon, "");
    for _ in 0..20 {
        server.get("/");
    }
    let sample = reader.find(|it| it.count(field::REQUEST_COUNT) > Some(0));
    let started = sample.count(field::REQUEST_THREADS_STARTED).unwrap();
    let maximum = sample.count(field::REQUEST_THREADS_MAXIMUM).unwrap();
    assert!(started >= 1 && started <= maximum, "{started} of {maximum}");
    server.stop();
}

#[test]
fn a_directive_that_is_taken_out_ends_it() {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon).one_child(4);
    let socket = site.path("telemetry.sock");
    let mut reader = Reader::bind(&socket);
    let line = format!("WSGITelemetryService unix:{} interval=0.5", socket.display());
    let file = site.write("telemetry.conf", line);
    let mut server =
        site.conf(format!("Include {}", file.display())).mount("/", "app.wsgi", SCRIPT).start();
    let pid = server.get("/").text();
    reader.kind(SAMPLE);
    fs::write(&file, "").unwrap();
    server.restart();
    wait_for(LATE, || (server.get("/").text() != pid).then_some(())).unwrap();
    reader.find(|it| it.kind == STOPPED);
    reader.socket.set_read_timeout(Some(2 * SECOND)).unwrap();
    assert!(reader.socket.recv(&mut [0; 9]).is_err(), "somebody still reports");
    assert_eq!(server.get("/?callbacks").text(), "[]");
    server.stop();
}

#[test]
fn services_and_forked_processes_do_not_report() {
    let script = "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        import gc, time
        gc.collect()
        time.sleep(1.5)
        os._exit(0)
    os.waitpid(child, 0)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let service = site.write("service.py", "import time\ntime.sleep(60)\n");
    let server = site
        .conf("WSGIDaemonProcess service threads=0")
        .conf(format!(
            "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
            service.display()
        ))
        .mount("/", "app.wsgi", script)
        .start();
    let pid = server.get("/").text();
    reader.kind(SAMPLE);
    reader.kind(SAMPLE);
    let pids: HashSet<String> = reader.kept.iter().map(|it| it.pid.to_string()).collect();
    assert_eq!(pids, HashSet::from([pid]));
    server.stop();
}

/// The program that shows reports, from PyPI.
struct Shown {
    program: Child,
    address: SocketAddr,
}

impl Shown {
    fn start(venv: &Venv, socket: &Path) -> Shown {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let program = Command::new(venv.prefix.join("bin/mod_wsgi-telemetry"))
            .args(["serve", "--socket-mode", "0777", "--listen"])
            .arg(format!("unix:{}", socket.display()))
            .args(["--log-level", "WARNING", "--http-port", &address.port().to_string()])
            .spawn()
            .unwrap();
        let shown = Shown { program, address };
        wait_for(LATE, || shown.state()).expect("it does not answer");
        shown
    }

    fn state(&self) -> Option<serde_json::Value> {
        let response = http::request(self.address, "GET", "/api/state", &[], b"").ok()?;
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).ok()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// It takes what it does not know for a sample, and fails over some that it does know.
#[test]
fn the_reader_that_there_is_understands_all() {
    let Some(venv) = Venv::with(&matrix::python(), &["mod_wsgi-telemetry==1.1.0"]) else { return };
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (site, socket) = site(mode);
        let shown = Shown::start(&venv, &socket);
        let server = site
            .conf("WSGISlowRequests 0.6\nWSGITelemetryOptions All")
            .mount("/named", "named.wsgi", SCRIPT)
            .conf("<Location /named>\nWSGIApplicationGroup named\n</Location>")
            .mount("/", "app.wsgi", SCRIPT)
            .start();
        allow_slow(&server);
        let pid: u64 = server.get("/").text().parse().unwrap();
        server.get("/named?collect");
        server.get("/?collect");
        server.get("/caf%C3%A9%FF?sleep=1.2");
        let request = |state: &serde_json::Value| {
            let process =
                state["processes"].as_array()?.iter().find(|it| it["pid"] == pid)?.clone();
            let samples = process["samples"].as_array()?.clone();
            let counts = samples.iter().map(|it| it["fields"]["request_count"].as_u64());
            let is_meant = |slow: &&serde_json::Value| {
                slow["path_info"].as_str().is_some_and(|path| path.starts_with("/caf"))
            };
            let mut slow = state["slow_requests"].as_array()?.iter().map(|slow| &slow["entry"]);
            let slow = slow.find(is_meant)?.clone();
            let is_all = counts.flatten().sum::<u64>() == 4 && slow["state"] == 1;
            is_all.then_some((process, slow))
        };
        let found = wait_for(LATE, || shown.state().as_ref().and_then(request));
        let (process, slow) = found.expect("not all of it is shown");
        assert_eq!(process["mod_wsgi_version"], "6.1.1");
        assert_eq!(process["mpm_name"], "event");
        assert_eq!(process["process_parent_pid"], u64::from(server.parent().pid));
        assert!(process["gc_snapshots"][""].as_array().unwrap().len() >= 2);
        assert!(process["gc_events"].as_array().unwrap().len() >= 2);
        assert_eq!(slow["method"], "GET");
        assert_eq!(slow["status"], 200);
        server.stop();
        let ended = wait_for(LATE, || {
            let state = shown.state()?;
            let events = state["lifecycle_events"].as_array()?;
            let of_it = events.iter().filter(|event| event["pid"] == pid);
            let kinds: Vec<_> = of_it.filter_map(|event| event["kind"].as_str()).collect();
            let all = ["process_started", "process_stopping", "process_stopped"];
            (kinds == all).then(|| state["decode_errors"].clone())
        });
        assert_eq!(ended.expect("its life is not shown"), 0);
    }
}
