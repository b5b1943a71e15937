//! Daemon mode: workers are killed, again and again, under a mixed load: what fails is what ran in
//! them, clients can tell, and nothing that looks whole is wrong.

#![allow(clippy::unwrap_used)]

use anyhow::{Result, ensure};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tests::http::{Connection, End, Response, head};
use tests::process::{Process, wait_for};
use tests::{Mpm, Server, Site, matrix};

/// Three kinds of responses, with a pause inside so that some are cut; and, if wanted, a forked
/// child of each process that keeps all it was given.
const SCRIPT: &str = r#"
import os, threading, time

forked = threading.Lock()

def fork(stop):
    if forked.acquire(blocking=False):
        if os.fork() == 0:
            while not os.path.exists(stop):
                time.sleep(0.1)
            os._exit(0)

def pieces(count):
    for number in range(count):
        yield b'piece %d.' % number
        time.sleep(0.001)

def application(environ, start_response):
    if environ.get('test.stop'):
        fork(environ['test.stop'])
    path = environ['PATH_INFO']
    if path == '/length':
        start_response('200 OK', [('Content-Length', '24')])
        return pieces(3)
    if path == '/upload':
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Length', str(len(body)))])
        return [body]
    start_response('200 OK', [])
    return pieces(20)
"#;

const SOON: Duration = Duration::from_secs(30);
const CLIENTS: usize = 4;

/// What came of the requests.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    good: AtomicUsize,
    failed: AtomicUsize,
    cut: AtomicUsize,
}

/// One request: whether it was answered as it should be. An error is what must never be.
fn ask(connection: &mut Connection, number: usize, counts: &Counts) -> Result<bool> {
    let (method, path, body) = match number % 3 {
        0 => ("GET", "/length", Vec::new()),
        1 => ("POST", "/upload", vec![b'a' + (number % 26) as u8; 1 + (number * 977) % 60_000]),
        _ => ("GET", "/chunked", Vec::new()),
    };
    connection.send(head(method, path, &[("Connection", "keep-alive")], body.len()))?;
    connection.send(&body)?;
    let response = connection.response(method)?;
    let expected = match path {
        "/length" => (0..3).map(|n| format!("piece {n}.")).collect::<String>().into_bytes(),
        "/upload" => body,
        _ => (0..20).map(|n| format!("piece {n}.")).collect::<String>().into_bytes(),
    };
    judge(&response, &expected, counts)
}

fn judge(response: &Response, expected: &[u8], counts: &Counts) -> Result<bool> {
    let count = match (response.status, response.end) {
        (200, End::Complete) => {
            ensure!(response.body == expected, "whole, and wrong: {response:?}");
            counts.good.fetch_add(1, Ordering::SeqCst);
            // The server may close after it, if it said so.
            return Ok(response.header("Connection").is_none_or(|value| value != "close"));
        }
        (200, End::Cut) => {
            ensure!(expected.starts_with(&response.body), "cut, and wrong: {response:?}");
            &counts.cut
        }
        (502, End::Complete) => &counts.failed,
        _ => anyhow::bail!("not what becomes of a killed worker's request: {response:?}"),
    };
    count.fetch_add(1, Ordering::SeqCst);
    Ok(false)
}

fn client(address: SocketAddr, counts: Arc<Counts>, first: usize) -> JoinHandle<Result<()>> {
    std::thread::spawn(move || {
        let mut connection = None;
        for number in first.. {
            if counts.stop.load(Ordering::SeqCst) {
                break;
            }
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(address)?,
            };
            if ask(&mut open, number, &counts)? {
                connection = Some(open);
            }
        }
        Ok(())
    })
}

/// The workers themselves, without what they have forked.
fn workers(server: &Server) -> Vec<Process> {
    let supervisor = server.supervisor();
    let mut workers = server.workers("d");
    workers.retain(|worker| worker.parent() == Some(supervisor));
    workers
}

fn killed_under_load(forks: bool, kills: usize) {
    let site = Site::new(Mpm::Event, &matrix::python());
    let stop = site.writable("notes").join("stop");
    let site = if forks { site.conf(format!("SetEnv test.stop {}", stop.display())) } else { site };
    let server = site
        .conf("WSGIDaemonProcess d processes=2 threads=4\nWSGIProcessGroup d")
        .conf("MaxKeepAliveRequests 0\nKeepAliveTimeout 60")
        .log_level("warn")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("WSGI01");
    server.log().allow("terminated by signal 9");
    let counts = Arc::new(Counts::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|n| client(server.address(), counts.clone(), n * 1000)).collect();
    for round in 0..kills {
        // One is always there to serve.
        let two = wait_for(SOON, || Some(workers(&server)).filter(|found| found.len() == 2));
        let two = two.unwrap_or_else(|| panic!("workers: {:?}", workers(&server)));
        let before = counts.good.load(Ordering::SeqCst);
        let served = || (counts.good.load(Ordering::SeqCst) >= before + 30).then_some(());
        let ended = |clients: &[JoinHandle<_>]| clients.iter().any(JoinHandle::is_finished);
        let begun = Instant::now();
        while served().is_none() && !ended(&clients) {
            assert!(begun.elapsed() < SOON, "nothing is served any more");
            std::thread::sleep(Duration::from_millis(5));
        }
        if ended(&clients) {
            break;
        }
        two[round % 2].signal(Signal::KILL);
        two[round % 2].await_end();
    }
    counts.stop.store(true, Ordering::SeqCst);
    for client in clients {
        if let Err(error) = client.join().unwrap() {
            panic!("{error:#}\n{}", server.log().text());
        }
    }
    let [good, failed, cut] =
        [&counts.good, &counts.failed, &counts.cut].map(|count| count.load(Ordering::SeqCst));
    matrix::note(&format!("{kills} kills: {good} whole, {failed} refused, {cut} cut"));
    assert!(failed + cut <= kills * CLIENTS, "{failed} failed and {cut} were cut in {kills} kills");
    assert_eq!(server.log().matching("terminated by signal 9").len(), kills);
    std::fs::write(stop, "").unwrap();
    server.stop();
}

#[test]
fn what_fails_is_what_ran_in_a_killed_worker() {
    let many = matrix::nightly("workers killed a hundred times under load");
    killed_under_load(false, if many { 100 } else { 6 });
}

#[test]
fn forked_children_change_nothing_about_that() {
    let many = matrix::nightly("workers with forked children killed under load");
    killed_under_load(true, if many { 100 } else { 6 });
}

#[test]
fn a_group_that_cannot_work_leaves_the_others_alone() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let dies = site.write("dies.py", "import os\nos.kill(os.getpid(), 11)\n");
    let server = site
        .conf("WSGIDaemonProcess good\nWSGIDaemonProcess bad")
        .conf(format!(
            "WSGIImportScript {} process-group=bad application-group=%{{GLOBAL}}",
            dies.display()
        ))
        .conf("WSGIProcessGroup good")
        .conf("<Location /bad>\nWSGIProcessGroup bad\n</Location>")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("Process 'bad'");
    server.log().allow("Daemon process 'bad' cannot take requests");
    server.log().allow("WSGI01");
    // It is not waited for once it is known to be of no use.
    let refused = wait_for(SOON, || (server.get("/bad").status == 503).then_some(()));
    assert!(refused.is_some());
    let begun = Instant::now();
    let response = server.get("/bad").with_status(503);
    assert!(begun.elapsed() < Duration::from_secs(5), "{response:?} after {:?}", begun.elapsed());
    for _ in 0..20 {
        assert_eq!(server.get("/chunked").status, 200);
    }
    // Ever more slowly, not as fast as it can.
    let deaths = || server.log().matching("terminated by signal 11").len();
    assert!(deaths() > 0, "{}", server.log().text());
    assert!(deaths() < 40, "{} deaths", deaths());
    server.stop();
}
