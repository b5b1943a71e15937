//! Daemon mode: restarts again and again, and the end.
//!
//! Graceful restarts under light load lose no request and leave nothing behind: neither the parent nor
//! the supervisor grows, in memory, descriptors, mappings or shared memory. The quick tier has 50 of
//! them, the nightly one 1000; `WSGI_TEST_RESTARTS` is another number.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::http::{Response, head};
use tests::process::{Process, wait_for};
use tests::{Load, Mode, Mpm, Server, Site, matrix};

const SCRIPT: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
";

/// How long a swap may take.
const SOON: Duration = Duration::from_secs(20);

/// What a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// Memory, in KiB.
    memory: u64,
    descriptors: u64,
    mappings: u64,
    threads: u64,
    /// Shared memory that it has open, in KiB.
    shared: u64,
}

impl Size {
    fn of(process: Process) -> Size {
        let stats = process.stats().unwrap();
        let descriptors = fs::read_dir(process.file("fd")).unwrap();
        let shared: BTreeMap<u64, u64> = descriptors
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let target = fs::read_link(&path).ok()?;
                let file = fs::metadata(&path).ok()?;
                let is_shared = target.to_str()?.starts_with("/memfd:");
                is_shared.then(|| (file.ino(), file.blocks() / 2))
            })
            .collect();
        Size {
            memory: stats.rss,
            descriptors: stats.fds as u64,
            mappings: stats.maps as u64,
            threads: stats.threads as u64,
            shared: shared.values().sum(),
        }
    }
}

/// Mappings of one thread: its stack, its signals' stack and its part of the heap, each with the guard
/// behind it.
const THREAD: u64 = 6;

/// How a process got on.
struct Growth {
    who: &'static str,
    sizes: Vec<Size>,
}

impl Growth {
    /// The least of a part of them, each number for itself: what is under way at the moment comes on
    /// top.
    fn least(sizes: &[Size]) -> Size {
        let least = |of: fn(&Size) -> u64| sizes.iter().map(of).min().unwrap();
        Size {
            memory: least(|size| size.memory),
            descriptors: least(|size| size.descriptors),
            mappings: least(|size| size.mappings),
            threads: least(|size| size.threads),
            shared: least(|size| size.shared),
        }
    }

    /// At first everything grows; from then on nothing may. An allocator does not give back each
    /// page, so memory may take as much more as is less than anything lost with each restart.
    #[track_caller]
    fn judge(&self) {
        let count = self.sizes.len();
        let before = Growth::least(&self.sizes[count / 5..count * 2 / 5]);
        let after = Growth::least(&self.sizes[count * 4 / 5..]);
        let who = self.who;
        matrix::note(&format!("{who}: {:?}, {before:?}, then {after:?}", self.sizes[0]));
        assert!(after.descriptors <= before.descriptors, "{who}: {before:?}, then {after:?}");
        // The supervisor's second thread begins when it first has to close what a child has handed
        // over in vain, which needs a request to meet a swap.
        assert!(after.threads <= before.threads.max(3), "{who}: {before:?}, then {after:?}");
        let started = after.threads.saturating_sub(before.threads);
        let most = before.mappings + 2 + THREAD * started;
        assert!(after.mappings <= most, "{who}: {before:?}, then {after:?}");
        assert!(after.shared <= before.shared + 64, "{who}: {before:?}, then {after:?}");
        let most = before.memory + 128 + count as u64 / 4;
        assert!(after.memory <= most, "{who}: {before:?}, then {after:?}");
    }
}

fn count() -> usize {
    if let Ok(text) = std::env::var("WSGI_TEST_RESTARTS") {
        return text.parse().unwrap();
    }
    if matrix::nightly("1000 graceful restarts instead of 50") { 1000 } else { 50 }
}

/// Waits until the old workers have gone and the new one serves.
#[track_caller]
fn await_worker(server: &Server, before: Process) -> Process {
    let new = wait_for(SOON, || match server.workers(tests::GROUP)[..] {
        [one] if one != before => Some(one),
        _ => None,
    });
    let found = server.workers(tests::GROUP);
    new.unwrap_or_else(|| panic!("{before:?}, then {found:?}\n{}", server.log().text()))
}

#[test]
fn nothing_is_lost_and_nothing_is_left() {
    let restarts = count();
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon).log_level("warn");
    let mut server = site.mount("/", "app.wsgi", SCRIPT).conf("ServerLimit 8").start();
    let load = Load::start(server.address(), 2, "/", |response| response.status == 200);
    load.await_more(10);
    let (parent, supervisor) = (server.parent(), server.supervisor());
    let mut worker = server.worker(tests::GROUP);
    let mut growth = [("parent", parent), ("supervisor", supervisor)]
        .map(|(who, process)| (process, Growth { who, sizes: Vec::new() }));
    let begun = Instant::now();
    for _ in 0..restarts {
        server.graceful();
        worker = await_worker(&server, worker);
        for (process, growth) in &mut growth {
            growth.sizes.push(Size::of(*process));
        }
    }
    let time = begun.elapsed();
    load.await_more(10);
    let answers = load.finish();
    matrix::note(&format!("{restarts} graceful restarts in {time:?}, {answers} answers"));
    assert_eq!(server.supervisor(), supervisor, "it is another one");
    for (_, growth) in &growth {
        growth.judge();
    }
    // The parent, a child, the supervisor, the log's relay, a worker.
    let settled = wait_for(SOON, || (server.processes().len() == 5).then_some(()));
    let left: Vec<String> = server.processes().iter().map(|one| one.command_line()).collect();
    assert!(settled.is_some(), "{left:?}");
    server.stop();
}

const WORKING: &str = "
import time
def application(environ, start_response):
    notes = environ['test.dir'] + environ['PATH_INFO']
    open(notes + '.begun', 'w').close()
    time.sleep(2)
    open(notes + '.done', 'w').close()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
";

/// A stop as systemd does it with `KillMode=mixed`: a signal to the main process, and once that has
/// ended, SIGKILL to all that is left. Says what the client of a running request got.
fn stopped_by(mpm: Mpm, signal: Signal) -> Option<Response> {
    let site = Site::new(mpm, &matrix::python()).mode(Mode::Daemon);
    let notes = site.writable("notes");
    let server = site
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", WORKING)
        .start();
    let there = |name: &str| notes.join(name).exists().then_some(());
    let mut client = server.connect();
    client.send(head("GET", "/one", &[], 0)).unwrap();
    wait_for(SOON, || there("one.begun")).expect("it does not run");
    server.parent().signal(signal);
    server.parent().await_end();
    assert!(there("one.done").is_some(), "the main process has ended, the request has not");
    for process in server.processes() {
        process.signal(Signal::KILL);
    }
    let response = client.response("GET").ok();
    server.abandon();
    response
}

/// What the units of distributions send: a graceful stop.
#[test]
fn a_graceful_stop_of_the_main_process_answers_what_runs() {
    matrix::for_each_mpm(|mpm| {
        let response = stopped_by(mpm, Signal::WINCH).expect("no answer").with_status(200);
        assert_eq!(response.text(), "done");
    });
}

/// Apache itself closes its clients' connections then; what the application does is not cut.
#[test]
fn a_stop_of_the_main_process_lets_the_application_finish() {
    matrix::for_each_mpm(|mpm| drop(stopped_by(mpm, Signal::TERM)));
}
