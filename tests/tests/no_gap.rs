//! Daemon mode: whatever replaces processes or code, somebody answers all the time.
//!
//! The application takes two seconds to load. Eight clients ask without a pause, each time over a
//! new connection, while something happens; no request may fail, and no moment may be longer than
//! 0.1 s without an answer, beyond what a file shows in the same run.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::http::{Response, request};
use tests::process::{Process, wait_for};
use tests::{Mpm, Server, Site, matrix};

const SCRIPT: &str = r#"
import os, time
time.sleep(2)
def application(environ, start_response):
    time.sleep(0.01)
    body = ('@VERSION %d' % os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;

const GROUP: &str = "slow";
const CLIENTS: usize = 8;
/// What is allowed beside what a file shows.
const GAP: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(20);

fn script(version: &str) -> String {
    SCRIPT.replace("@VERSION", version)
}

fn site(mpm: Mpm, options: &str) -> Site {
    bare(mpm)
        .conf(format!("WSGIDaemonProcess {GROUP} threads=8 {options}\nWSGIProcessGroup {GROUP}"))
        .mount("/", "app.wsgi", &script("v1"))
}

/// Without the group and its application.
fn bare(mpm: Mpm) -> Site {
    let scale = "StartServers 1\nServerLimit 4\nThreadsPerChild 16\nThreadLimit 16\n\
                 MinSpareThreads 1\nMaxSpareThreads 64\nMaxRequestWorkers 64";
    Site::new(mpm, &matrix::python()).scale(scale)
}

/// When answers came, and what was wrong with those that did not.
#[derive(Default)]
struct Seen {
    answers: Vec<Instant>,
    failures: Vec<String>,
}

/// The longest times without an answer.
#[derive(Clone, Copy, Debug)]
struct Gaps {
    application: Duration,
    file: Duration,
}

/// Runs a test whose gaps are judged. A request that fails fails it at once; a gap only if it is there
/// each time, for a machine with other things to do has gaps of its own.
#[track_caller]
fn judge(test: impl Fn() -> Gaps) {
    let mut all = Vec::new();
    for _ in 0..3 {
        let gaps = test();
        // A parent that looks after its children once a second would leave a gap for files, too.
        if gaps.application <= GAP + gaps.file && gaps.file < Duration::from_millis(500) {
            return;
        }
        all.push(gaps);
    }
    panic!("too long without an answer: {all:?}");
}

/// Clients without a pause, and one that asks for a file.
struct Clients {
    stop: Arc<AtomicBool>,
    application: Arc<Mutex<Seen>>,
    file: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn start(server: &Server) -> Clients {
        let mut clients = Clients {
            stop: Arc::default(),
            application: Arc::default(),
            file: Arc::default(),
            threads: Vec::new(),
        };
        let address = server.address();
        for _ in 0..CLIENTS {
            let seen = clients.application.clone();
            clients.spawn(address, "/", seen, Duration::ZERO);
        }
        let seen = clients.file.clone();
        clients.spawn(address, "/.ready", seen, Duration::from_millis(5));
        clients
    }

    fn spawn(
        &mut self,
        address: SocketAddr,
        path: &'static str,
        seen: Arc<Mutex<Seen>>,
        pause: Duration,
    ) {
        let stop = self.stop.clone();
        self.threads.push(thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let answer = request(address, "GET", path, &[], b"");
                let mut seen = seen.lock().unwrap();
                match answer {
                    Ok(Response { status: 200, .. }) => seen.answers.push(Instant::now()),
                    Ok(response) => seen.failures.push(format!("{response:?}")),
                    Err(error) => seen.failures.push(format!("{error:#}")),
                }
                drop(seen);
                thread::sleep(pause);
            }
        }));
    }

    /// Stops them, a moment later.
    #[track_caller]
    fn finish(mut self) -> Gaps {
        thread::sleep(Duration::from_millis(500));
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let seen = std::mem::take(&mut *self.application.lock().unwrap());
        let file = std::mem::take(&mut *self.file.lock().unwrap());
        let failures = &seen.failures;
        let count = seen.answers.len();
        assert!(failures.is_empty(), "{} of {count}: {:?}", failures.len(), failures[0]);
        assert!(count > 100, "only {count} answers");
        let gaps = Gaps { application: longest(seen.answers), file: longest(file.answers) };
        matrix::note(&format!("{count} answers, {gaps:?}"));
        gaps
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn longest(mut answers: Vec<Instant>) -> Duration {
    answers.sort();
    answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
}

fn text(server: &Server) -> String {
    server.get("/").with_status(200).text()
}

fn pids(server: &Server) -> Vec<u32> {
    let mut pids: Vec<u32> = server.workers(GROUP).iter().map(|worker| worker.pid).collect();
    pids.sort_unstable();
    pids
}

/// Waits until so many workers serve, none of them one of those.
#[track_caller]
fn await_others(server: &Server, before: &[u32]) {
    let others = wait_for(SOON, || {
        let now = pids(server);
        (now.len() == before.len() && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    assert!(others.is_some(), "{before:?}, then {:?}\n{}", pids(server), server.log().text());
}

fn with_each_number(test: impl Fn(&str) -> Gaps) {
    for options in ["processes=1", "processes=2"] {
        matrix::note(options);
        judge(|| test(options));
    }
}

#[test]
fn a_changed_script() {
    with_each_number(|options| {
        let server = site(Mpm::Event, options).start();
        text(&server);
        let clients = Clients::start(&server);
        thread::sleep(Duration::from_millis(300));
        let new = server.site().write("app.new", script("v2"));
        std::fs::rename(new, server.site().path("app.wsgi")).unwrap();
        let changed = wait_for(SOON, || text(&server).starts_with("v2 ").then_some(()));
        assert!(changed.is_some(), "nobody has the new code");
        let gaps = clients.finish();
        server.stop();
        gaps
    });
}

#[test]
fn a_signal_to_the_processes() {
    with_each_number(|options| {
        let server = site(Mpm::Event, options).start();
        text(&server);
        let before = pids(&server);
        let clients = Clients::start(&server);
        thread::sleep(Duration::from_millis(300));
        for pid in &before {
            Process { pid: *pid }.signal(Signal::USR1);
        }
        await_others(&server, &before);
        let gaps = clients.finish();
        server.stop();
        gaps
    });
}

#[test]
fn maximum_requests() {
    with_each_number(|options| {
        let server = site(Mpm::Event, &format!("{options} maximum-requests=300")).start();
        text(&server);
        let before = pids(&server);
        let clients = Clients::start(&server);
        let replaced = wait_for(SOON, || {
            let now = pids(&server);
            now.iter().all(|pid| !before.contains(pid)).then_some(())
        });
        assert!(replaced.is_some(), "{}", server.log().text());
        let gaps = clients.finish();
        server.stop();
        gaps
    });
}

fn graceful(mpm: Mpm) -> Gaps {
    let mut server = site(mpm, "").start();
    text(&server);
    let before = pids(&server);
    let clients = Clients::start(&server);
    thread::sleep(Duration::from_millis(300));
    server.graceful();
    await_others(&server, &before);
    let gaps = clients.finish();
    server.stop();
    gaps
}

/// Another number of threads: all processes are new, and have what was configured for them.
fn reconfigured() -> Gaps {
    let define = |threads: u32| format!("WSGIDaemonProcess {GROUP} threads={threads}\n");
    let site = bare(Mpm::Event);
    let group = site.write("group.conf", define(8));
    let site = site.conf(format!("Include {}\nWSGIProcessGroup {GROUP}", group.display()));
    let mut server = site.mount("/", "app.wsgi", &script("v1")).start();
    text(&server);
    let before = pids(&server);
    let clients = Clients::start(&server);
    thread::sleep(Duration::from_millis(300));
    server.site().write("group.conf", define(9));
    server.graceful();
    await_others(&server, &before);
    let gaps = clients.finish();
    assert_eq!(pids(&server).len(), 1);
    server.stop();
    gaps
}

#[test]
fn a_changed_configuration() {
    judge(reconfigured);
}

#[test]
fn a_graceful_restart_under_event() {
    judge(|| graceful(Mpm::Event));
}

#[test]
fn a_graceful_restart_under_worker() {
    judge(|| graceful(Mpm::Worker));
}

#[test]
fn a_deployment_with_a_syntax_error() {
    judge(deploy_a_syntax_error);
}

fn deploy_a_syntax_error() -> Gaps {
    let server = site(Mpm::Event, "").start();
    text(&server);
    let before = pids(&server);
    let clients = Clients::start(&server);
    thread::sleep(Duration::from_millis(300));
    let new = server.site().write("app.new", "def application(:\n");
    std::fs::rename(new, server.site().path("app.wsgi")).unwrap();
    server.log().expect("goes on with the code that it has loaded");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(pids(&server), before);
    assert!(text(&server).starts_with("v1 "));
    let gaps = clients.finish();
    let errors = server.log().matching("SyntaxError: invalid syntax").len();
    assert_eq!(errors, 1, "{}", server.log().text());
    for line in
        ["WSGI0106: ", "WSGI0174: ", "  File ", "    def application(:", "   ^", "SyntaxError: inv"]
    {
        server.log().expect(line);
    }
    server.log().expect("the script cannot be loaded");
    server.stop();
    gaps
}

#[test]
fn the_signal_is_as_usual_where_programs_run() {
    const SHOW: &str = r#"
import signal
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(signal.getsignal(signal.SIGCHLD)).encode()]
"#;
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf(format!("WSGIDaemonProcess {GROUP}\nWSGIProcessGroup {GROUP}"))
        .mount("/daemon", "daemon.wsgi", SHOW)
        .mount("/embedded", "embedded.wsgi", SHOW)
        .conf("<Location /embedded>\nWSGIProcessGroup %{GLOBAL}\n</Location>")
        .start();
    for path in ["/daemon", "/embedded"] {
        let shown = server.get(path).with_status(200).text();
        assert!(shown == "0" || shown.contains("SIG_DFL"), "{path}: {shown}");
    }
    server.stop();
}
