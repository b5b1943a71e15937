//! Five minutes of everything at once, in each mode: requests to several interpreters, scripts that
//! change, graceful restarts. No request fails, nothing crashes, nothing grows.
//!
//! The nightly tier only. `WSGI_TEST_SOAK` is another number of seconds, in any tier.

#![allow(clippy::unwrap_used)]

use scenario::patience::finally;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tests::process::Process;
use tests::{Mode, Mpm, Server, Site, http, matrix};

const GROUPS: [&str; 4] = ["%{GLOBAL}", "one", "two", "three"];

/// How much a child may grow in a second, in KiB, with some reloads each second: less than a script
/// that is never given back.
const GROWTH: f64 = 16.0;

/// The same for the parent, which does nothing but restart.
const PARENT_GROWTH: f64 = 4.0;

/// Seconds that a slope says something after: at first everything grows.
const ENOUGH: usize = 60;

/// An application that answers with its version and its group, after some work. What it keeps is
/// big enough to be noticed if it is kept for good; a module is full of cycles, so Python keeps it
/// until it looks for garbage.
fn version(number: usize) -> String {
    format!(
        "
import gc, mod_wsgi
gc.collect()
version, ballast = {number}, list(range(10000))
seen = []
@mod_wsgi.subscribe_events
def event(name, **event):
    seen[:] = [name]
mod_wsgi.event_callbacks[:] = mod_wsgi.event_callbacks[-1:]
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    text = '%d %d %s %s' % (version, {number}, mod_wsgi.application_group, len(body))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    for part in (text, ' ', 'x' * 1000):
        yield part.encode()
"
    )
}

/// Replaces a script in one step.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// What clients found.
#[derive(Default)]
struct Found {
    count: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

fn ask(address: SocketAddr, turn: usize) -> Result<(), String> {
    let group = turn % GROUPS.len();
    // Sizes in no order: buffers that grow with the bodies of a run would look like a leak.
    let body = vec![b'b'; if turn.is_multiple_of(3) { 0 } else { turn * 7919 % 20_000 }];
    let method = if body.is_empty() { "GET" } else { "POST" };
    let path = format!("/{group}/x");
    let response = http::request(address, method, &path, &[], &body);
    let response = response.map_err(|error| format!("{error:#}"))?;
    let text = response.text();
    let words: Vec<&str> = text.split(' ').collect();
    let name = if group == 0 { "" } else { GROUPS[group] };
    let length = body.len().to_string();
    match words[..] {
        [one, two, found, size, rest]
            if response.status == 200 && one == two && found == name && size == length =>
        {
            (rest.len() == 1000).then_some(()).ok_or(text)
        }
        _ => Err(format!("{response:?}")),
    }
}

/// Memory of a process over time: seconds and KiB.
#[derive(Default)]
struct Sizes(Vec<(f64, f64)>);

impl Sizes {
    /// KiB per second by least squares, over the later two thirds.
    fn slope(&self) -> f64 {
        let points = &self.0[self.0.len() / 3..];
        let count = points.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        let variance: f64 = points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum();
        if variance == 0.0 { 0.0 } else { covariance / variance }
    }

    /// Tells how it grew, and fails if that was more than `most`.
    fn report(&self, who: &str, most: f64) {
        let slope = self.slope();
        let (first, last) = (self.0.first().unwrap().1, self.0.last().unwrap().1);
        matrix::note(&format!(
            "soak: {who} {first} KiB, then {last} KiB, {slope:+.2} KiB/s over {} samples",
            self.0.len()
        ));
        assert!(slope < most || self.0.len() < ENOUGH, "{who} grew by {slope} KiB/s");
    }
}

#[test]
fn slopes_are_those_of_lines() {
    let line = |slope: f64| Sizes((0..30).map(|x| (f64::from(x), slope * f64::from(x))).collect());
    assert!((line(2.5).slope() - 2.5).abs() < 1e-9);
    assert!(line(0.0).slope().abs() < 1e-9);
}

/// Clients ask for `time` while a script changes after each `pause`; `each_second` is called, too.
fn load(
    server: &mut Server,
    scripts: &[PathBuf],
    pause: Duration,
    time: Duration,
    mut each_second: impl FnMut(&mut Server, f64),
) -> usize {
    let (found, done) = (Found::default(), AtomicBool::new(false));
    let address = server.address();
    std::thread::scope(|scope| {
        for client in 0..6 {
            let (found, done) = (&found, &done);
            scope.spawn(move || {
                let mut turn = client * 1000;
                while !done.load(Ordering::Relaxed) {
                    if let Err(failure) = ask(address, turn) {
                        found.failures.lock().unwrap().push(failure);
                    }
                    found.count.fetch_add(1, Ordering::Relaxed);
                    turn += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let done_at_the_end = finally(|| done.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            for number in 1.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                replace(&scripts[number % scripts.len()], &version(number));
                std::thread::sleep(pause);
            }
        });
        let began = Instant::now();
        while began.elapsed() < time {
            std::thread::sleep(Duration::from_secs(1));
            each_second(server, began.elapsed().as_secs_f64());
        }
        drop(done_at_the_end);
    });
    let failures = found.failures.into_inner().unwrap();
    let count = found.count.into_inner();
    assert!(failures.is_empty(), "{} of {count} failed: {:?}", failures.len(), &failures[0]);
    count
}

fn sample(sizes: &mut Sizes, process: Process, at: f64) {
    sizes.0.push((at, process.stats().unwrap().rss as f64));
}

/// The child that has been serving for longest. In daemon mode the supervisor and the log's relay have
/// the same parent, but not as many threads.
fn oldest(server: &Server, mpm: Mpm) -> Process {
    let serves =
        |child: &Process| !mpm.threaded() || child.stats().is_some_and(|it| it.threads > 4);
    let mut children = server.children();
    children.retain(serves);
    *children.first().expect("no child serves")
}

fn soak(mode: Mode, mpm: Mpm, seconds: u64) {
    let site = Site::new(mpm, &matrix::python()).mode(mode).log_level("warn");
    // In daemon mode each change is new processes.
    let pause = Duration::from_millis(if mode == Mode::Daemon { 1000 } else { 200 });
    let mut site = if mpm.threaded() {
        site.one_child(8)
    } else {
        // Always the same three.
        let spare = "MinSpareServers 3\nMaxSpareServers 3";
        site.scale(&format!("StartServers 3\nMaxRequestWorkers 3\n{spare}"))
    };
    let mut scripts = Vec::new();
    for (index, group) in GROUPS.iter().enumerate() {
        let script = site.write(&format!("app{index}.wsgi"), version(0));
        let alias = format!("WSGIScriptAlias /{index} \"{}\"", script.display());
        site = site.conf(format!("{alias} application-group={group}"));
        scripts.push(script);
    }
    // Old children and new ones are there together.
    let mut server = site.conf("ServerLimit 8").start();
    server.log().allow("scoreboard is full");
    let half = Duration::from_secs(seconds / 2);
    let mut child = Sizes::default();
    let before = oldest(&server, mpm);
    let count = load(&mut server, &scripts, pause, half, |_, at| sample(&mut child, before, at));
    assert_eq!(oldest(&server, mpm), before, "the child is another one");
    let mut parent = Sizes::default();
    let mut restarts = 0;
    let restarted = load(&mut server, &scripts, pause, half, |server, at| {
        if at as u64 % 5 == 4 {
            server.graceful();
            restarts += 1;
        }
        sample(&mut parent, server.parent(), at);
    });
    child.report(&format!("a child, {mode} {mpm}, {count} requests:"), GROWTH);
    let who = format!("the parent, {mode} {mpm}, {restarts} restarts, {restarted} requests:");
    parent.report(&who, PARENT_GROWTH);
    assert!(restarts > 0 && count > 100 && restarted > 100);
    server.stop();
}

#[test]
fn nothing_fails_or_grows() {
    let seconds = std::env::var("WSGI_TEST_SOAK").ok().map(|text| text.parse().unwrap());
    if seconds.is_none() && !matrix::nightly("five minutes of load, reloads and restarts") {
        return;
    }
    let seconds = seconds.unwrap_or(300);
    soak(Mode::Embedded, Mpm::Event, seconds);
    soak(Mode::Daemon, Mpm::Event, seconds);
    matrix::for_each_mpm(|mpm| {
        if mpm != Mpm::Event {
            soak(Mode::Embedded, mpm, seconds / 2);
        }
    });
}
