//! Daemon mode: several things go wrong at once, or in a bad moment. Requests may wait; they do not
//! fail, but for those that run in what is killed.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::fs;
use std::process::Command;
use std::time::Duration;
use tests::http::Response;
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Site, matrix};

const SCRIPT: &str = r#"
import os, sys, threading, time
time.sleep(@IMPORT)

def application(environ, start_response):
    query = environ['QUERY_STRING']
    if query.startswith('say='):
        thread = threading.Thread(target=print, args=[query])
        thread.start()
        thread.join()
    elif query == 'slow':
        time.sleep(0.05)
    elif query == 'cut':
        start_response('200 OK', [])
        def pieces():
            yield b'x' * 1000
            os.kill(os.getpid(), 9)
            time.sleep(10)
        return pieces()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

const SOON: Duration = Duration::from_secs(20);

fn site(mpm: Mpm, options: &str, import: f64) -> Site {
    Site::new(mpm, &matrix::python())
        .conf(format!("WSGIDaemonProcess d {options}\nWSGIProcessGroup d"))
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", &SCRIPT.replace("@IMPORT", &import.to_string()))
}

fn pid(server: &Server) -> u32 {
    server.get("/").with_status(200).text().parse().unwrap()
}

fn is_pid(response: &Response) -> bool {
    response.status == 200 && response.text().parse::<u32>().is_ok()
}

/// Exactly so many workers, and one supervisor, in the end.
#[track_caller]
fn settles(server: &Server, workers: usize) {
    let settled = wait_for(SOON, || {
        (server.workers("d").len() == workers && server.supervisors().len() == 1).then_some(())
    });
    let found = (server.workers("d"), server.supervisors());
    assert!(settled.is_some(), "{found:?}\n{}", server.log().text());
}

const DIED: &str = "The process supervisor has died; starting another one.";

#[test]
fn supervisor_and_worker_die_together() {
    let server = site(Mpm::Event, "", 0.0).start();
    server.log().allow(DIED);
    // Who takes over is not its parent, and cannot ask.
    server.log().allow("has ended, exit code not known");
    server.log().allow("terminated by signal 9");
    for _ in 0..3 {
        let worker = Process { pid: pid(&server) };
        let supervisor = server.supervisor();
        // In this order the worker's end is seen by nobody.
        supervisor.signal(Signal::KILL);
        worker.signal(Signal::KILL);
        supervisor.await_end();
        worker.await_end();
        let next = pid(&server);
        assert_ne!(next, worker.pid);
        settles(&server, 1);
    }
    server.stop();
}

#[test]
fn a_supervisor_that_is_stopped_for_a_while() {
    let server = site(Mpm::Event, "", 0.0).start();
    let first = pid(&server);
    let load = Load::start(server.address(), 3, "/?slow", is_pid);
    load.await_more(20);
    let supervisor = server.supervisor();
    supervisor.signal(Signal::STOP);
    // Those that have their connections do not need it.
    load.await_more(50);
    supervisor.signal(Signal::CONT);
    load.await_more(20);
    load.finish();
    assert_eq!(pid(&server), first);
    server.stop();
}

#[test]
fn a_supervisor_that_dies_while_code_changes() {
    let server = site(Mpm::Event, "", 0.0).start();
    server.log().allow(DIED);
    let first = pid(&server);
    let load = Load::start(server.address(), 2, "/", is_pid);
    let supervisor = server.supervisor();
    let text = SCRIPT.replace("@IMPORT", "1");
    let new = server.site().write("app.new", text);
    fs::rename(new, server.site().path("app.wsgi")).unwrap();
    load.await_more(3);
    server.log().expect("Forcing restart of daemon process 'd'");
    supervisor.signal(Signal::KILL);
    supervisor.await_end();
    // Sooner or later the change is found again.
    let changed =
        wait_for(Duration::from_secs(30), || Some(pid(&server)).filter(|it| *it != first));
    assert!(changed.is_some(), "{}", server.log().text());
    load.finish();
    settles(&server, 1);
    server.stop();
}

#[test]
fn restarts_on_the_heels_of_each_other() {
    let mut server = site(Mpm::Event, "processes=2", 0.3).start();
    let load = Load::start(server.address(), 2, "/", is_pid);
    load.await_more(5);
    for _ in 0..5 {
        server.parent().signal(Signal::USR1);
        std::thread::sleep(Duration::from_millis(150));
    }
    server.graceful();
    load.await_more(20);
    load.finish();
    settles(&server, 2);
    server.stop();
}

#[test]
fn a_restart_without_a_supervisor() {
    let mut server = site(Mpm::Event, "", 0.0).start();
    server.log().allow(DIED);
    // In a restart there is a moment in which Apache knows none of its modules' processes.
    server.log().allow("AH00488: long lost child came home!");
    let first = pid(&server);
    for _ in 0..3 {
        let supervisor = server.supervisor();
        supervisor.signal(Signal::KILL);
        server.graceful();
        supervisor.await_end();
        pid(&server);
        settles(&server, 1);
    }
    Process { pid: first }.await_end();
    server.stop();
}

/// The process that writes what workers say outside of requests.
fn relay(server: &Server) -> Process {
    let line = server.log().expect("Process supervisor started.");
    Process { pid: line.pid().unwrap() }
}

#[test]
fn what_is_said_without_a_relay_is_not_lost() {
    let server = site(Mpm::Event, "", 0.0).start();
    server.log().allow("say=");
    pid(&server);
    assert_eq!(server.get("/?say=before").status, 200);
    server.log().expect("say=before");
    let relay = relay(&server);
    assert!(relay.lives() && relay != server.parent(), "{relay:?}");
    relay.signal(Signal::KILL);
    relay.await_end();
    for number in 0..3 {
        assert_eq!(server.get(&format!("/?say=after{number}")).status, 200);
        server.log().expect(&format!("say=after{number}"));
    }
    server.stop();
}

#[test]
fn more_clients_than_threads() {
    let server = site(Mpm::Event, "processes=2 threads=1", 0.0).start();
    let load = Load::start(server.address(), 16, "/?slow", is_pid);
    load.await_more(150);
    load.finish();
    settles(&server, 2);
    server.stop();
}

#[test]
fn an_http2_stream_that_is_cut_is_reset() {
    let curl = Command::new("curl").arg("--version").output();
    let able = curl.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("HTTP2"));
    if !able || tests::Setup::get().loadable("mod_http2").is_none() {
        return matrix::skip("HTTP/2", "there is no curl or no mod_http2 for it");
    }
    let server =
        site(Mpm::Event, "", 0.0).module("mod_http2").conf("Protocols h2c http/1.1").start();
    server.log().allow("WSGI01");
    server.log().allow("terminated by signal 9");
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port());
    let ask = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--http2-prior-knowledge", "-w", "%{http_version}"]);
        curl.arg(url(path)).output().unwrap()
    };
    let whole = ask("/");
    let text = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert!(whole.status.success() && text.ends_with('2'), "{text}");
    let cut = ask("/?cut");
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    assert!(!cut.status.success(), "it looks whole: {said}");
    assert!(ask("/").status.success());
    server.stop();
}
