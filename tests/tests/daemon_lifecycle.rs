//! Daemon mode: restarts, deaths and signals, and what becomes of requests then.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};
use tests::http::{Connection, End, Framing, head};
use tests::process::{Process, wait_for};
use tests::{GROUP, Load, Mode, Mpm, Server, Setup, Site, matrix};

/// Says who serves; or stops at some point of the response, after it has noted its request.
const SCRIPT: &str = r#"
import os, time

def note(environ):
    path = os.path.join(environ['test.dir'], 'running')
    with open(path + '.new', 'w') as file:
        file.write(environ['mod_wsgi.request_id'])
    os.rename(path + '.new', path)

def wait(environ):
    note(environ)
    time.sleep(60)

def pieces(environ):
    yield b'first'
    wait(environ)
    yield b'last'

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/before':
        wait(environ)
    elif path == '/length':
        start_response('200 OK', [('Content-Length', '9')])
        return pieces(environ)
    elif path == '/chunked':
        start_response('200 OK', [])
        return pieces(environ)
    elif path == '/slow':
        note(environ)
        time.sleep(1)
    body = str(os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;

/// How long something may take that happens soon.
const SOON: Duration = Duration::from_secs(30);

fn site(mpm: Mpm) -> Site {
    let site = Site::new(mpm, &matrix::python());
    let notes = site.writable("notes");
    site.mode(Mode::Daemon)
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", SCRIPT)
}

fn pid(server: &Server) -> u32 {
    server.get("/").with_status(200).text().parse().unwrap()
}

/// Waits until a request is inside the application; its id.
#[track_caller]
fn running(server: &Server) -> String {
    let path = server.site().path("notes/running");
    let id = wait_for(SOON, || std::fs::read_to_string(&path).ok()).expect("nothing runs");
    std::fs::remove_file(&path).unwrap();
    id
}

fn ask(server: &Server, path: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(head("GET", path, &[("Connection", "keep-alive")], 0)).unwrap();
    connection
}

/// Expects the line about a worker's violent death, with the request that it was running.
#[track_caller]
fn expect_death(server: &Server, worker: Process, id: &str) {
    let name = format!("Process '{GROUP}' (pid={})", worker.pid);
    server.log().expect(&format!("{name} has died; deregistering and restarting it."));
    let line = server.log().expect(&format!("{name} terminated by signal 9"));
    assert!(line.raw.contains(&format!("it was running: {id}")), "{}", line.raw);
    assert_eq!(server.log().matching("terminated by signal").len(), 1);
}

fn is_pid(response: &tests::http::Response) -> bool {
    response.status == 200 && response.text().parse::<u32>().is_ok()
}

#[test]
fn a_worker_killed_before_its_response() {
    let server = site(Mpm::Event).start();
    let mut connection = ask(&server, "/before");
    let id = running(&server);
    let worker = server.worker(GROUP);
    worker.signal(Signal::KILL);
    let response = connection.response("GET").unwrap().with_status(502);
    assert!(response.is_complete(), "{response:?}");
    let line = wait_for(SOON, || {
        let lines = server.log().matching("WSGI0146: ");
        lines.into_iter().chain(server.log().matching("WSGI0147: ")).next()
    });
    server.log().expect(&line.expect("the request's failure is not logged").raw);
    expect_death(&server, worker, &id);
    assert_ne!(pid(&server), worker.pid);
    server.stop();
}

fn killed_within(path: &str, framing: Framing) {
    let server = site(Mpm::Event).start();
    let mut connection = ask(&server, path);
    let id = running(&server);
    let worker = server.worker(GROUP);
    worker.signal(Signal::KILL);
    let response = connection.response("GET").unwrap().with_status(200);
    assert_eq!((response.framing, response.end), (framing, End::Cut), "{response:?}");
    assert_eq!(response.text(), "first");
    server.log().expect("WSGI0119: ");
    expect_death(&server, worker, &id);
    assert_ne!(pid(&server), worker.pid);
    server.stop();
}

#[test]
fn d02_a_worker_killed_within_a_chunked_response() {
    killed_within("/chunked", Framing::Chunked);
}

#[test]
fn d01_a_worker_killed_within_a_response_of_known_length() {
    killed_within("/length", Framing::Length(9));
}

#[test]
fn a_worker_that_is_told_to_end_is_replaced_without_a_failed_request() {
    let server = site(Mpm::Event).start();
    let mut before = pid(&server);
    let load = Load::start(server.address(), 2, "/", is_pid);
    for signal in [Signal::TERM, Signal::USR1, Signal::INT] {
        let mut slow = ask(&server, "/slow");
        running(&server);
        let worker = Process { pid: before };
        worker.signal(signal);
        // What runs is finished by the one that has it.
        let response = slow.response("GET").unwrap().with_status(200);
        assert_eq!(response.text(), before.to_string(), "{signal:?}");
        worker.await_end();
        let after = pid(&server);
        assert_ne!(after, before, "{signal:?}");
        before = after;
    }
    load.finish();
    assert_eq!(server.worker(GROUP).pid, before);
    server.stop();
}

#[test]
fn a_killed_supervisor_costs_no_request() {
    let server = site(Mpm::Event).start();
    let before = pid(&server);
    let load = Load::start(server.address(), 2, "/", is_pid);
    for _ in 0..3 {
        let supervisor = server.supervisor();
        supervisor.signal(Signal::KILL);
        supervisor.await_end();
        load.await_more(20);
        server.log().expect("The process supervisor has died; starting another one.");
        let next = server.supervisor();
        assert_ne!(next, supervisor);
        load.await_more(20);
    }
    load.finish();
    assert_eq!(pid(&server), before, "a worker outlives its supervisor");
    // The new one knows its worker.
    let worker = Process { pid: before };
    worker.signal(Signal::TERM);
    worker.await_end();
    assert_ne!(pid(&server), before);
    server.stop();
}

fn restarts_gracefully(mpm: Mpm) {
    let mut server = site(mpm).start();
    let first = pid(&server);
    let load = Load::start(server.address(), 2, "/", is_pid);
    let mut last = first;
    for _ in 0..3 {
        let mut slow = ask(&server, "/slow");
        running(&server);
        server.graceful();
        // Apache may close after it, but not before.
        assert_eq!(slow.response("GET").unwrap().with_status(200).text(), last.to_string());
        Process { pid: last }.await_end();
        let next = pid(&server);
        assert_ne!(next, last, "each configuration has workers of its own");
        last = next;
    }
    load.finish();
    assert_eq!(server.worker(GROUP).pid, last);
    assert_eq!(server.supervisors().len(), 1);
    server.stop();
}

#[test]
fn graceful_restarts_under_load() {
    restarts_gracefully(Mpm::Event);
    if matrix::nightly("graceful restarts of daemon mode under other MPMs") {
        restarts_gracefully(Mpm::Worker);
        restarts_gracefully(Mpm::Prefork);
    }
}

#[test]
fn full_restarts() {
    let mut server = site(Mpm::Event).start();
    let mut last = pid(&server);
    for _ in 0..3 {
        server.restart();
        // It serves until there is another one to do so.
        Process { pid: last }.await_end();
        let next = pid(&server);
        assert_ne!(next, last);
        last = next;
    }
    assert_eq!(server.worker(GROUP).pid, last);
    assert_eq!(server.supervisors().len(), 1);
    server.stop();
}

#[test]
fn signals_to_the_supervisor() {
    let server = site(Mpm::Event).start();
    let first = pid(&server);
    let supervisor = server.supervisor();
    // Those that mean something to Apache, or to workers, mean nothing to it.
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::ALARM, Signal::PIPE] {
        supervisor.signal(signal);
    }
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.supervisor(), supervisor);
    assert_eq!(pid(&server), first);
    // It ends in order, and so do its workers; the server has another one.
    supervisor.signal(Signal::TERM);
    supervisor.await_end();
    Process { pid: first }.await_end();
    server.log().expect("The process supervisor has died; starting another one.");
    let next = server.supervisor();
    assert_ne!(next, supervisor);
    assert_ne!(pid(&server), first);
    assert_eq!(server.log().matching("terminated by signal").len(), 0);
    server.stop();
}

#[test]
fn after_a_restart_the_old_processes_serve_until_the_new_ones_can() {
    const LOADING: Duration = Duration::from_millis(1500);
    let site = site(Mpm::Event);
    site.write("app.wsgi", format!("import time\ntime.sleep(1.5)\n{SCRIPT}"));
    let mut server = site.start();
    let begun = Instant::now();
    let first = pid(&server);
    assert!(begun.elapsed() >= LOADING, "it does not take long to load");
    let begun = Instant::now();
    server.restart();
    // Nobody waits while the application loads ...
    let mut last = pid(&server);
    assert!(last == first || begun.elapsed() >= LOADING, "{:?}", begun.elapsed());
    // ... and who has seen the new process never sees the old one again.
    let mut changes = usize::from(last != first);
    while begun.elapsed() < Duration::from_secs(5) || (changes == 0 && begun.elapsed() < SOON) {
        let next = pid(&server);
        changes += usize::from(next != last);
        last = next;
    }
    assert_eq!(changes, 1);
    Process { pid: first }.await_end();
    server.stop();
}

/// No process has the name of a test's directory in its environment.
fn nothing_left(dir: &Path) {
    let gone = wait_for(SOON, || Process::marked(dir).is_empty().then_some(()));
    let left: Vec<String> = Process::marked(dir).into_iter().map(Process::command_line).collect();
    assert!(gone.is_some(), "left: {left:?}");
}

#[test]
fn when_the_server_is_killed_nothing_outlives_it() {
    let server = site(Mpm::Event).start();
    pid(&server);
    let dir = server.site().dir().to_owned();
    let own = |process: &Process| !server.children().contains(process);
    let (daemons, parent) = (server.processes(), server.parent());
    let daemons: Vec<Process> = daemons.into_iter().filter(own).collect();
    assert!(daemons.len() >= 3, "parent, relay, supervisor, worker: {daemons:?}");
    // Its children would serve on, as they do without this module: they are ended first.
    let children = server.children();
    parent.signal(Signal::KILL);
    for process in daemons.into_iter().filter(|process| *process != parent) {
        process.await_end();
    }
    for child in children {
        child.signal(Signal::KILL);
    }
    server.abandon();
    nothing_left(&dir);
}

#[test]
fn a_server_of_one_process() {
    for mpm in [Mpm::Event, Mpm::Prefork] {
        if let Some(reason) = Setup::get().lacks(mpm) {
            matrix::skip(&format!("{mpm} MPM"), &reason);
            continue;
        }
        let server = site(mpm).argument("-X").start();
        let worker = pid(&server);
        assert_ne!(worker, server.parent().pid);
        assert_eq!(server.worker(GROUP).pid, worker);
        Process { pid: worker }.signal(Signal::KILL);
        server.log().expect("terminated by signal 9");
        assert_ne!(pid(&server), worker);
        server.stop();
    }
}

#[test]
fn a_check_of_the_configuration_starts_nothing() {
    let site = site(Mpm::Event);
    let check = site.check();
    assert!(check.ok, "{}", check.output);
    assert!(Process::marked(site.dir()).is_empty());
    let log = std::fs::read_to_string(site.path("error.log")).unwrap_or_default();
    assert!(!log.contains("supervisor"), "{log}");
}
