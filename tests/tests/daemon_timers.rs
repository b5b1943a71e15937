//! Daemon mode: when a process is replaced, by what it has done, by time and by signals, and what
//! becomes of its requests and of its last words.
//!
//! Times are short. What must not happen before is asserted exactly, what must happen with a margin
//! for a busy machine.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::http::{Response, head};
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Site, matrix};

/// Does what the query says, and answers with its process. Notes why it was stopped.
const SCRIPT: &str = r#"
import ctypes, mod_wsgi, os, time

def note(name, text):
    path = os.path.join(os.environ['TEST_DIR'], name)
    with open(path + '.new', 'w') as file:
        file.write(text)
    os.rename(path + '.new', path)

def stopping(name, **event):
    note('reason-%d' % os.getpid(), event['shutdown_reason'])

mod_wsgi.subscribe_shutdown(stopping)

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def application(environ, start_response):
    what, _, number = environ['QUERY_STRING'].partition('=')
    if what:
        note('running', '')
    if what == 'sleep':
        time.sleep(float(number))
    elif what == 'spin':
        spin(float(number))
    elif what == 'catch':
        try:
            while True:
                pass
        except BaseException as error:
            note('caught', type(error).__name__)
            raise
    elif what == 'wedge':
        # With Python's lock.
        ctypes.PyDLL(None).sleep(int(number))
    elif what == 'memory':
        bytearray(int(number))
    elif what == 'stack':
        libc, attributes, size = ctypes.CDLL(None), (ctypes.c_char * 256)(), ctypes.c_size_t()
        libc.pthread_self.restype = ctypes.c_void_p
        libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
        libc.pthread_attr_getstacksize(attributes, ctypes.byref(size))
        start_response('200 OK', [])
        return [str(size.value).encode()]
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

/// What takes a second or two must not take so long.
const LATE: Duration = Duration::from_secs(45);

fn serve(options: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes").to_str().unwrap().to_owned();
    site.env("TEST_DIR", &notes)
        .conf(format!("WSGIDaemonProcess d {options}"))
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .start()
}

fn pid(server: &Server) -> u32 {
    server.get("/").with_status(200).text().parse().unwrap()
}

/// Waits for the first process, whose start is no part of a request's time then.
#[track_caller]
fn await_start(server: &Server) {
    let starting = || !server.log().matching("Starting daemon process 'd'").is_empty();
    assert!(wait_for(LATE, || starting().then_some(())).is_some(), "{}", server.log().text());
}

/// A request on a thread of its own: its response, and how long that took.
fn ask(server: &Server, query: &str) -> JoinHandle<(Response, Duration)> {
    ask_patiently(server, query, tests::http::PATIENCE)
}

fn ask_patiently(
    server: &Server,
    query: &str,
    patience: Duration,
) -> JoinHandle<(Response, Duration)> {
    let (mut client, path) = (server.connect(), format!("/?{query}"));
    client.patience(patience).unwrap();
    std::thread::spawn(move || {
        let begun = Instant::now();
        client.send(head("GET", &path, &[], 0)).unwrap();
        let response = client.response("GET").unwrap();
        assert!(response.is_complete(), "the response is cut short: {response:?}");
        (response, begun.elapsed())
    })
}

#[track_caller]
fn await_note(server: &Server, name: &str) -> String {
    let path = server.site().path("notes").join(name);
    let text = wait_for(LATE, || std::fs::read_to_string(&path).ok());
    text.unwrap_or_else(|| panic!("{name} does not come"))
}

/// The process ends, saying why to its application.
#[track_caller]
fn ends_for(server: &Server, process: u32, reason: &str) {
    Process { pid: process }.await_end();
    assert_eq!(await_note(server, &format!("reason-{process}")), reason);
}

fn is_pid(response: &Response) -> bool {
    response.status == 200 && response.text().parse::<u32>().is_ok()
}

#[test]
fn maximum_requests() {
    let server = serve("maximum-requests=5");
    let first = pid(&server);
    let load = Load::start(server.address(), 2, "/", is_pid);
    ends_for(&server, first, "maximum_requests");
    load.await_more(50);
    load.finish();
    assert_ne!(pid(&server), first);
    server.stop();
}

#[test]
fn restart_interval() {
    let server = serve("restart-interval=1");
    let first = pid(&server);
    ends_for(&server, first, "restart_interval");
    let load = Load::start(server.address(), 2, "/", is_pid);
    let second = pid(&server);
    assert_ne!(second, first);
    Process { pid: second }.await_end();
    load.finish();
    server.stop();
}

#[test]
fn inactivity_timeout() {
    let server = serve("inactivity-timeout=1");
    let first = pid(&server);
    // Busy for longer than that, and not idle.
    let (response, _) = ask(&server, "sleep=2.5").join().unwrap();
    assert_eq!(response.text(), first.to_string());
    ends_for(&server, first, "inactivity_timeout");
    server.log().expect("idle inactivity timer expired, stopping");
    // Who has never had a request is not idle.
    let second = server.worker("d");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(server.worker("d"), second);
    assert_eq!(pid(&server), second.pid);
    server.stop();
}

#[test]
fn d21_request_timeout_needs_no_other_timer() {
    let options = "threads=1 request-timeout=1 deadlock-timeout=0 graceful-timeout=1 \
                   shutdown-timeout=1";
    let server = serve(options);
    await_start(&server);
    let first = pid(&server);
    let (response, took) = ask(&server, "sleep=60").join().unwrap();
    assert_eq!(response.status, 504);
    assert!(response.text().contains("Gateway Timeout"), "{response:?}");
    assert!(took >= Duration::from_secs(1) && took < LATE, "{took:?}");
    server.log().expect("WSGI0145: ");
    // Its thread is lost, so the process is.
    server.log().expect("Daemon process request time limit exceeded");
    let story = wait_for(LATE, || {
        let found = server.log().matching("app.wsgi\", line");
        (!found.is_empty()).then_some(found)
    });
    assert!(story.is_some(), "where it was is not told");
    server.log().allow("[wsgi:warn]");
    Process { pid: first }.await_end();
    server.log().expect("Shutdown timeout expired; aborting");
    assert_ne!(pid(&server), first);
    server.stop();
}

/// With one lock for all interpreters and with a lock for each.
#[test]
fn stacks_of_all_interpreters_are_told_once() {
    for locks in ["Off", "On"] {
        let options = "threads=4 request-timeout=2 deadlock-timeout=0 graceful-timeout=1 \
                       shutdown-timeout=1";
        let groups = "SetEnvIf Request_URI ^/(one|two) test.group=$1\n\
                      WSGIApplicationGroup %{ENV:test.group}";
        let server = Site::new(Mpm::Event, &matrix::python())
            .one_child(8)
            .conf(format!("WSGIPerInterpreterGIL {locks}"))
            .conf(format!("WSGIDaemonProcess d {options}"))
            .conf("WSGIProcessGroup d")
            .conf(groups)
            .mount("/", "app.wsgi", SLEEPING)
            .start();
        await_start(&server);
        for path in ["/one", "/two"] {
            assert_eq!(server.get(path).with_status(200).text(), "awake");
        }
        let ask = |path: &'static str| {
            let address = server.address();
            std::thread::spawn(move || tests::http::request(address, "GET", path, &[], b""))
        };
        let asked = ["/one?60", "/two?60"].map(ask);
        let found = wait_for(LATE, || {
            let found = server.log().matching("called from file");
            let mine = found.iter().filter(|line| line.raw.contains("in application")).count();
            (mine >= 2).then_some(())
        });
        assert!(found.is_some(), "{}", server.log().text());
        for request in asked {
            let _ = request.join().unwrap();
        }
        let told = server.log().matching("app.wsgi\", line 5, in rest,");
        assert_eq!(told.len(), 2, "{locks}: {told:?}");
        for expected in ["[wsgi:warn]", "[wsgi:error]", "WSGI0145: "] {
            server.log().allow(expected);
        }
        server.stop();
    }
}

const SLEEPING: &str = "import time

def rest(seconds):
    # What follows is line 5.
    time.sleep(seconds)

def application(environ, start_response):
    rest(float(environ['QUERY_STRING'] or 0))
    start_response('200 OK', [('Content-Length', '5')])
    return [b'awake']
";

#[test]
fn d20_interrupt_timeout() {
    let server = serve("threads=1 request-timeout=1 interrupt-timeout=10");
    let first = pid(&server);
    let (response, took) = ask(&server, "catch").join().unwrap();
    assert_eq!(response.status, 504);
    assert!(response.text().contains("Gateway Timeout"), "{response:?}");
    assert!(took >= Duration::from_secs(1) && took < LATE, "{took:?}");
    assert_eq!(await_note(&server, "caught"), "RequestTimeout");
    server.log().expect("Dumping stack trace for thread");
    server.log().expect("Injected RequestTimeout into thread");
    server.log().allow("[wsgi:error]");
    // It was unwound: the process is as good as before.
    assert_eq!(pid(&server), first);
    server.stop();
}

#[test]
fn deadlock_timeout() {
    let server = serve("deadlock-timeout=2 graceful-timeout=1 shutdown-timeout=1");
    let first = pid(&server);
    let wedged = ask(&server, "wedge=60");
    await_note(&server, "running");
    // Nobody reads these before another process can.
    let waiting: Vec<_> = (0..3).map(|_| ask(&server, "")).collect();
    for request in waiting {
        let (response, took) = request.join().unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert_ne!(response.text(), first.to_string());
        assert!(took < LATE, "{took:?}");
    }
    server.log().expect("Daemon process deadlock timer expired, stopping");
    let (response, _) = wedged.join().unwrap();
    assert_eq!(response.status, 502);
    Process { pid: first }.await_end();
    server.log().allow("[wsgi:error]");
    server.log().allow("[wsgi:warn]");
    // The log is no use if it does not say where.
    assert!(!server.log().matching("app.wsgi\", line").is_empty(), "{}", server.log().text());
    server.stop();
}

#[test]
fn graceful_and_shutdown_timeout() {
    let server = serve("graceful-timeout=1 shutdown-timeout=1");
    let first = pid(&server);
    let request = ask(&server, "sleep=60");
    await_note(&server, "running");
    Process { pid: first }.signal(Signal::USR1);
    // Others are served by the next one, at once.
    let next = wait_for(LATE, || Some(pid(&server)).filter(|pid| *pid != first));
    assert!(next.is_some());
    let (response, took) = request.join().unwrap();
    assert_eq!(response.status, 502);
    assert!(took >= Duration::from_millis(1900) && took < LATE, "{took:?}");
    ends_for(&server, first, "graceful_signal");
    server.log().expect("still has requests; forcing shutdown");
    server.log().expect("Shutdown timeout expired; aborting");
    server.log().allow("WSGI014");
    server.stop();
}

#[test]
fn directives_11_no_graceful_timeout_is_no_time() {
    let server = serve("graceful-timeout=0 shutdown-timeout=1");
    let first = pid(&server);
    // Without a pause in which nothing runs.
    let request = ask(&server, "sleep=60");
    await_note(&server, "running");
    let load = Load::start(server.address(), 2, "/", is_pid);
    Process { pid: first }.signal(Signal::USR1);
    let (response, took) = request.join().unwrap();
    assert_eq!(response.status, 502);
    assert!(took < LATE, "{took:?}");
    ends_for(&server, first, "graceful_signal");
    load.finish();
    server.log().allow("[wsgi:warn]");
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn directives_10_processor_time_without_graceful_timeout() {
    ends_after_processor_time(
        "cpu-time-limit=1 graceful-timeout=0 shutdown-timeout=180 socket-timeout=180",
    );
}

#[test]
fn directives_09_maximum_requests_has_one_deadline() {
    let server = serve("maximum-requests=5 graceful-timeout=1 shutdown-timeout=1");
    let first = pid(&server);
    // Requests overlap all the time, and one never ends.
    let request = ask(&server, "sleep=60");
    await_note(&server, "running");
    let load = Load::start(server.address(), 3, "/", is_pid);
    let (response, took) = request.join().unwrap();
    assert_eq!(response.status, 502);
    assert!(took < LATE, "{took:?}");
    ends_for(&server, first, "maximum_requests");
    load.finish();
    server.log().allow("[wsgi:warn]");
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn eviction_timeout() {
    let server = serve("graceful-timeout=60 eviction-timeout=1 shutdown-timeout=1");
    let first = pid(&server);
    let request = ask(&server, "sleep=50");
    await_note(&server, "running");
    Process { pid: first }.signal(Signal::USR1);
    let (response, took) = request.join().unwrap();
    assert_eq!(response.status, 502);
    assert!(took < Duration::from_secs(30), "{took:?}");
    ends_for(&server, first, "eviction_signal");
    server.log().allow("[wsgi:warn]");
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn reasons_of_restarts_and_reloads() {
    let mut server = serve("");
    let first = pid(&server);
    Process { pid: first }.signal(Signal::TERM);
    ends_for(&server, first, "shutdown_signal");
    let second = pid(&server);
    let new = server.site().write("app.new", format!("{SCRIPT}\n# changed\n"));
    std::fs::rename(new, server.site().path("app.wsgi")).unwrap();
    let third = pid(&server);
    assert_ne!(third, second);
    ends_for(&server, second, "script_reload");
    server.graceful();
    ends_for(&server, third, "shutdown_signal");
    server.stop();
}

#[test]
fn cpu_time_limit() {
    ends_after_processor_time("cpu-time-limit=1 graceful-timeout=180 socket-timeout=180");
}

/// A request that uses up the processor time is finished, and then its process is replaced.
fn ends_after_processor_time(options: &str) {
    let server = serve(options);
    let first = pid(&server);
    // The time of a processor, of which a busy machine may give it little.
    let patience = Duration::from_secs(150);
    let (response, _) = ask_patiently(&server, "spin=1.3", patience).join().unwrap();
    assert_eq!(response.status, 200, "what runs is finished");
    ends_for(&server, first, "cpu_time_limit");
    assert_ne!(pid(&server), first);
    server.log().allow("[wsgi:warn]");
    server.stop();
}

#[test]
fn memory_limit_and_stack_size() {
    let server = serve("memory-limit=1000000000 stack-size=1048576");
    let first = pid(&server);
    assert_eq!(server.get("/?memory=3000000000").status, 500);
    server.log().expect_traceback("MemoryError");
    server.log().allow("WSGI0174: ");
    assert_eq!(pid(&server), first, "it lives on");
    let size: u64 = server.get("/?stack").with_status(200).text().parse().unwrap();
    assert!((1_000_000..=1_100_000).contains(&size), "{size}");
    server.stop();
}

#[test]
fn startup_timeout() {
    const HANGS: &str = "import time\ntime.sleep(60)\n";
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIDaemonProcess d startup-timeout=1 graceful-timeout=1 shutdown-timeout=1")
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", HANGS)
        .start();
    let request = ask(&server, "");
    let worker = server.worker("d");
    server.log().expect("Application startup timer started for daemon process 'd'.");
    server.log().expect("Application startup timer expired, stopping");
    worker.await_end();
    let (response, took) = request.join().unwrap();
    assert!(matches!(response.status, 502..=504), "{response:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    server.log().allow("[wsgi:warn]");
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn d33_ends_are_told_as_they_were() {
    let exits = "import os\ndef application(environ, start_response):\n    \
                 os._exit(int(environ['QUERY_STRING']))\n";
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIDaemonProcess d\nWSGIProcessGroup d")
        .mount("/", "app.wsgi", exits)
        .start();
    for code in ["7", "130", "255"] {
        assert_eq!(server.get(&format!("/?{code}")).status, 502);
        let line = server.log().expect("terminated normally, exit code");
        assert!(line.raw.contains(&format!("exit code {code}")), "{}", line.raw);
    }
    server.log().allow("WSGI014");
    server.log().allow("Unable to start");
    server.stop();
}

#[test]
fn services() {
    const SERVICE: &str = r#"
import os, time
def note(name):
    open(os.path.join(os.environ['TEST_DIR'], name), 'w').close()
try:
    note('runs')
    while True:
        time.sleep(0.05)
except SystemExit:
    note('told')
    raise
"#;
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes").to_str().unwrap().to_owned();
    let service = site.write("service.py", SERVICE);
    let server = site
        .env("TEST_DIR", &notes)
        .conf("WSGIDaemonProcess d\nWSGIDaemonProcess s threads=0")
        .conf(format!(
            "WSGIImportScript {} process-group=s application-group=%{{GLOBAL}}",
            service.display()
        ))
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .conf("<Location /s>\nWSGIProcessGroup s\n</Location>")
        .start();
    await_note(&server, "runs");
    std::fs::remove_file(server.site().path("notes/runs")).unwrap();
    let first = server.worker("s");
    // It takes no requests, and says so; others do.
    assert_eq!(server.get("/s").status, 504);
    server.log().expect("WSGI0145: ");
    pid(&server);
    first.signal(Signal::TERM);
    await_note(&server, "told");
    first.await_end();
    await_note(&server, "runs");
    assert_ne!(server.worker("s"), first);
    std::fs::remove_file(server.site().path("notes/told")).unwrap();
    let told = server.site().path("notes/told");
    server.parent().signal(Signal::TERM);
    assert!(wait_for(LATE, || told.exists().then_some(())).is_some(), "the end was not told");
    server.abandon();
}

#[test]
fn directives_20_a_service_that_ends_at_once_is_not_begun_again_at_once() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let service = site.write("service.py", "pass\n");
    let server = site
        .conf(format!(
            "WSGIDaemonProcess s threads=0\n\
             WSGIImportScript {} process-group=s application-group=%{{GLOBAL}}",
            service.display()
        ))
        .start();
    let ended = || server.log().matching("terminated normally, exit code 0").len();
    assert!(wait_for(LATE, || (ended() >= 2).then_some(())).is_some(), "it runs once only");
    let (before, begun) = (ended(), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let rate = (ended() - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(rate <= 1.5, "{rate} times a second");
    server.stop();
}
