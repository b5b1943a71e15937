//! Daemon mode: workers are killed, again and again, under a mixed load: what fails is what ran in
//! them, clients can tell, and nothing that looks whole is wrong.
//!
//! Each request that fails is looked up, by its id, in what the supervisor says of the process that
//! was killed.

#![allow(clippy::unwrap_used)]

use anyhow::{Result, ensure};
use rustix::process::Signal;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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

/// What is done to a group of two processes.
#[derive(Clone, Copy)]
struct Plan {
    /// Each process has a forked child that lives on.
    forks: bool,
    /// Clients that ask without a pause.
    clients: usize,
    /// Threads of each process.
    threads: usize,
    /// Requests before it is over.
    requests: usize,
    /// Between two kills.
    every: Duration,
}

const SHORT: Plan = Plan {
    forks: false,
    clients: 8,
    threads: 6,
    requests: 1500,
    every: Duration::from_millis(400),
};
const LONG: Plan = Plan {
    forks: false,
    clients: 32,
    threads: 16,
    requests: 200_000,
    every: Duration::from_secs(2),
};

/// What came of the requests.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    good: AtomicUsize,
    failed: AtomicUsize,
    cut: AtomicUsize,
    /// The longest time a request took, in microseconds.
    longest: AtomicU64,
}

impl Counts {
    fn all(&self) -> usize {
        [&self.good, &self.failed, &self.cut].map(|count| count.load(Ordering::SeqCst)).iter().sum()
    }
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
            let begun = Instant::now();
            let goes_on = ask(&mut open, number, &counts)?;
            counts.longest.fetch_max(begun.elapsed().as_micros() as u64, Ordering::SeqCst);
            connection = goes_on.then_some(open);
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

/// Ids of requests that ran in killed processes, as the supervisor tells them.
fn ran(server: &Server) -> HashSet<String> {
    let deaths = server.log().matching("terminated by signal 9");
    let ids = deaths.iter().filter_map(|line| line.raw.split_once("it was running: "));
    let lists = ids.filter_map(|(_, list)| list.split([';', '[']).next());
    lists.flat_map(|list| list.split(", ")).map(|id| id.trim().to_owned()).collect()
}

/// Ids of requests that Apache could not answer, or not in full.
fn failures(server: &Server) -> Vec<String> {
    let lines = ["WSGI0119", "WSGI0146", "WSGI0147"].map(|code| server.log().matching(code));
    let id = |rest: &str| Some(rest.rsplit_once("[request ")?.1.trim_end_matches(']').to_owned());
    lines.iter().flatten().map(|line| id(&line.rest).unwrap_or_default()).collect()
}

fn killed_under_load(plan: Plan) {
    let site = Site::new(Mpm::Event, &matrix::python());
    let stop = site.writable("notes").join("stop");
    let told = format!("SetEnv test.stop {}", stop.display());
    let site = if plan.forks { site.conf(told) } else { site };
    let threads = plan.threads;
    // Each child has a thread for each client: one that has none to spare closes idle connections.
    let scale = "StartServers 2\nServerLimit 2\nThreadsPerChild 40\nThreadLimit 40\n\
                 MinSpareThreads 1\nMaxSpareThreads 80\nMaxRequestWorkers 80";
    let server = site
        .conf(format!("WSGIDaemonProcess d processes=2 threads={threads}\nWSGIProcessGroup d"))
        .conf("MaxKeepAliveRequests 0\nKeepAliveTimeout 60")
        .conf("ErrorLogFormat \"[%{u}t] [%-m:%l] [pid %P:tid %T] %M [request %-L]\"")
        .scale(scale)
        .log_level("warn")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("WSGI01");
    server.log().allow("terminated by signal 9");
    let counts = Arc::new(Counts::default());
    let begun = Instant::now();
    let clients: Vec<_> =
        (0..plan.clients).map(|n| client(server.address(), counts.clone(), n * 1000)).collect();
    let ended = |clients: &[JoinHandle<_>]| clients.iter().any(JoinHandle::is_finished);
    let mut kills = 0;
    while counts.all() < plan.requests && !ended(&clients) {
        let (before, since) = (counts.all(), Instant::now());
        while since.elapsed() < plan.every && !ended(&clients) {
            std::thread::sleep(Duration::from_millis(5));
        }
        // One is always there to serve.
        let two = wait_for(SOON, || Some(workers(&server)).filter(|found| found.len() == 2));
        let two = two.unwrap_or_else(|| panic!("workers: {:?}", workers(&server)));
        let served = || (counts.all() >= before + 30).then_some(());
        while served().is_none() && !ended(&clients) {
            assert!(since.elapsed() < SOON, "nothing is served any more");
            std::thread::sleep(Duration::from_millis(5));
        }
        if !ended(&clients) {
            two[kills % 2].signal(Signal::KILL);
            two[kills % 2].await_end();
            kills += 1;
        }
    }
    counts.stop.store(true, Ordering::SeqCst);
    for client in clients {
        if let Err(error) = client.join().unwrap() {
            panic!("{error:#}\n{}", server.log().text());
        }
    }
    let deaths = || server.log().matching("terminated by signal 9").len();
    wait_for(SOON, || (deaths() == kills).then_some(()));
    assert_eq!(deaths(), kills);
    let [good, failed, cut] =
        [&counts.good, &counts.failed, &counts.cut].map(|count| count.load(Ordering::SeqCst));
    let (ran, failures) = (ran(&server), failures(&server));
    let others: Vec<&String> = failures.iter().filter(|id| !ran.contains(*id)).collect();
    matrix::note(&format!(
        "{kills} kills in {:?}: {good} requests answered, {failed} refused with 502, {cut} cut; \
         {} were running in what was killed, {} failed that were not; the longest took {:?}",
        begun.elapsed(),
        ran.len(),
        others.len(),
        Duration::from_micros(counts.longest.load(Ordering::SeqCst)),
    ));
    assert_eq!(failures.len(), failed + cut, "each failure is told once: {failures:?}");
    // A thread may have lost the processor just between reading a request and noting that it runs.
    assert!(others.len() <= 1 + kills / 20, "not in a killed process: {others:?}");
    assert!(failed + cut <= kills * threads, "{failed} failed and {cut} were cut in {kills} kills");
    std::fs::write(stop, "").unwrap();
    server.stop();
}

#[test]
fn what_fails_is_what_ran_in_a_killed_worker() {
    let many = matrix::nightly("200 000 requests while workers are killed");
    killed_under_load(if many { LONG } else { SHORT });
}

#[test]
fn forked_children_change_nothing_about_that() {
    let many = matrix::nightly("200 000 requests while workers with forked children are killed");
    killed_under_load(Plan { forks: true, ..if many { LONG } else { SHORT } });
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
    assert!(begun.elapsed() < Duration::from_secs(12), "{response:?} after {:?}", begun.elapsed());
    for _ in 0..20 {
        assert_eq!(server.get("/chunked").status, 200);
    }
    // Ever more slowly, not as fast as it can.
    let deaths = || server.log().matching("terminated by signal 11").len();
    assert!(deaths() > 0, "{}", server.log().text());
    assert!(deaths() < 40, "{} deaths", deaths());
    server.stop();
}
