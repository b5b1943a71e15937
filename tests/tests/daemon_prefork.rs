//! Daemon mode behind many processes of the prefork MPM: each may keep connections, but a process of a
//! group has no more descriptors for it than it can bear, its application can use what it opens, and
//! a request goes to the process that has the fewest, whichever child it came to.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::fs;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Setup, Site, matrix};

const SCRIPT: &str = r#"
import os, select, socket, time

def hold(environ):
    path = os.path.join(environ['test.dir'], environ['QUERY_STRING'])
    with open(path + '.new', 'w') as file:
        file.write(str(os.getpid()))
    os.rename(path + '.new', path)
    while not os.path.exists(os.path.join(environ['test.dir'], 'stop')):
        time.sleep(0.02)

def use_select():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b'x')
        ready = select.select([theirs], [], [], 5)[0]
        assert ready == [theirs], ready

def application(environ, start_response):
    if environ['QUERY_STRING']:
        hold(environ)
    use_select()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

const SOON: Duration = Duration::from_secs(20);
const WORKERS: usize = 4;
const THREADS: usize = 4;

/// The numbers of a process' descriptors.
fn descriptors(process: Process) -> Vec<u32> {
    let entries = fs::read_dir(process.file("fd")).unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A request that stays where it is until there is a file; and which process has it.
fn hold(server: &Server, number: usize) -> (JoinHandle<u16>, u32) {
    let (address, path) = (server.address(), format!("/?{number}"));
    let request = thread::spawn(move || {
        tests::http::request(address, "GET", &path, &[], b"").unwrap().status
    });
    let note = server.site().path("notes").join(number.to_string());
    let pid = wait_for(SOON, || fs::read_to_string(&note).ok()).expect("it does not run");
    (request, pid.parse().unwrap())
}

#[test]
fn many_children_and_few_workers() {
    if let Some(reason) = Setup::get().lacks(Mpm::Prefork) {
        return matrix::skip("prefork MPM", &reason);
    }
    let children = if matrix::nightly("prefork with 150 children") { 150 } else { 30 };
    let scale = format!(
        "StartServers {children}\nServerLimit {children}\nMinSpareServers {children}\n\
         MaxSpareServers {children}\nMaxRequestWorkers {children}"
    );
    let site = Site::new(Mpm::Prefork, &matrix::python());
    let notes = site.writable("notes");
    let server = site
        .scale(&scale)
        .conf(format!("WSGIDaemonProcess d processes={WORKERS} threads={THREADS}"))
        .conf("WSGIProcessGroup d\nWSGIApplicationGroup %{GLOBAL}")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let there = wait_for(SOON, || (server.workers("d").len() == WORKERS).then_some(()));
    assert!(there.is_some(), "{:?}", server.workers("d"));
    let served = Load::start(server.address(), 8, "/", |response| response.status == 200);
    served.await_more(10 * children);
    let most = server.workers("d").into_iter().map(|worker| descriptors(worker).len()).max();
    served.finish();
    let most = most.unwrap();
    matrix::note(&format!("{children} children: at most {most} descriptors in a process"));
    // One for each child that has used it, and a few of its own; far from a limit of 1024.
    assert!(most <= children + 40, "{most} descriptors");
    for worker in server.workers("d") {
        // The application's own are where `select` can use them.
        let low = descriptors(worker).into_iter().filter(|number| *number < 1024).count();
        assert!(low <= 8, "{low} low descriptors");
    }
    // Each child asks for itself, and all know who is busy: the fewest requests first, all the time.
    let mut requests = Vec::new();
    for round in 0..THREADS {
        let mut pids = HashSet::new();
        for worker in 0..WORKERS {
            let (request, pid) = hold(&server, round * WORKERS + worker);
            requests.push(request);
            assert!(pids.insert(pid), "{pid} has {} while another has {round}", round + 2);
        }
    }
    server.site().write("notes/stop", "");
    for request in requests {
        assert_eq!(request.join().unwrap(), 200);
    }
    if matrix::nightly("connections that nobody uses for half a minute") {
        // What is not used is not kept.
        let few = wait_for(Duration::from_secs(40), || {
            let workers = server.workers("d");
            workers.into_iter().all(|worker| descriptors(worker).len() <= 20).then_some(())
        });
        let left: Vec<usize> =
            server.workers("d").into_iter().map(|it| descriptors(it).len()).collect();
        assert!(few.is_some(), "descriptors after a while: {left:?}");
    }
    server.stop();
}
