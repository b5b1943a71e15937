//! Daemon mode: groups with Pythons of their own, users of their own and packages of their own behind
//! one Apache, and what becomes of the others' answers when one of them is killed, wedged, or wants
//! more memory than it may have: nothing.
//!
//! What is compared is what the same clients find in the same server before and during, and what one
//! finds that asks for a file: a machine with other things to do is slow for all of them. Even so it
//! is late now and then, and a bad figure counts only if it is there each time.

#![allow(clippy::unwrap_used)]

use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tests::http::Response;
use tests::process::wait_for;
use tests::{Mpm, Pulse, Server, Site, Times, Venv, matrix};

const SCRIPT: &str = r#"
import ctypes, json, mod_wsgi, os, sys, threading, time

def packages():
    try:
        import numpy, pydantic
    except ImportError:
        return None
    class Model(pydantic.BaseModel):
        number: int
    return int(numpy.arange(Model(number='4').number).sum())

SUM = packages()

def application(environ, start_response):
    query = environ['QUERY_STRING']
    if query == 'wedge' and os.path.exists(environ['test.wedge']):
        # With Python's lock.
        ctypes.PyDLL(None).sleep(30)
    elif query == 'memory':
        bytearray(900_000_000)
    found = {
        'version': '%d.%d' % sys.version_info[:2], 'prefix': sys.prefix, 'uid': os.getuid(),
        'group': mod_wsgi.application_group, 'sum': SUM, 'pid': os.getpid(),
    }
    start_response('200 OK', [])
    return [json.dumps(found).encode()]
"#;

/// What is done to one of them.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Killed, again and again.
    Killed,
    /// All threads but one wait for the one that holds Python's lock in C.
    Wedged,
    /// Each request wants more memory than there may be.
    Greedy,
}

const SOON: Duration = Duration::from_secs(30);
/// How long is measured.
const WINDOW: Duration = Duration::from_millis(1500);
/// What the machine may add to any answer.
const NOISE: Duration = Duration::from_millis(2);
/// And to one in a hundred.
const HICCUP: Duration = Duration::from_millis(20);

/// A group: its name, its Python's version and prefix, its user.
struct Group {
    name: &'static str,
    version: String,
    prefix: String,
    user: Option<(&'static str, u32)>,
    has_packages: bool,
}

/// The oldest Python, the newest, and a virtual environment of the newest.
fn groups() -> Vec<Group> {
    let pythons = matrix::pythons();
    let (oldest, newest) = (&pythons[0], matrix::python());
    let venv = Venv::with(&newest, &["numpy", "pydantic"]);
    let homes = [
        (oldest.version.clone(), oldest.prefix.clone(), false),
        (newest.version.clone(), newest.prefix.clone(), false),
    ];
    let homes = homes.into_iter().chain(venv.map(|venv| (newest.version, venv.prefix, true)));
    let users = users();
    let names = ["old", "new", "packages"];
    let group = |(number, (version, prefix, has_packages)): (usize, (_, std::path::PathBuf, _))| {
        let prefix = prefix.to_str().unwrap().to_owned();
        let user = users.get(number).copied();
        Group { name: names[number], version, prefix, user, has_packages }
    };
    homes.enumerate().map(group).collect()
}

/// Users that every machine has, if processes can be theirs.
fn users() -> Vec<(&'static str, u32)> {
    if !geteuid().is_root() {
        matrix::skip("a user for each group", "only root can become somebody else");
        return Vec::new();
    }
    let known = std::fs::read_to_string("/etc/passwd").unwrap();
    // A process starts in the home of its user.
    let number = |name: &str| {
        let line = known.lines().find(|line| line.starts_with(&format!("{name}:")))?;
        let fields: Vec<&str> = line.split(':').collect();
        Path::new(fields.get(5)?).is_dir().then(|| fields[2].parse().ok())?
    };
    let names = ["daemon", "bin", "sys", "man", "mail"];
    names.into_iter().filter_map(|name| Some((name, number(name)?))).collect()
}

fn serve(groups: &[Group]) -> Server {
    let mut site = Site::new(Mpm::Event, &matrix::python()).conf("MaxKeepAliveRequests 0");
    let path = site.write("app.wsgi", SCRIPT);
    let flag = site.path("wedge");
    site = site.conf(format!("SetEnv test.wedge {}", flag.display()));
    for group in groups {
        let user = group.user.map(|(name, _)| format!("user={name}")).unwrap_or_default();
        let (name, home) = (group.name, &group.prefix);
        site = site
            .conf(format!(
                "WSGIDaemonProcess {name} threads=3 python-home={home} memory-limit=700000000 {user}"
            ))
            .conf(format!(
                "WSGIScriptAlias /{name} {} process-group={name} \
                 application-group=%{{GLOBAL}}",
                path.display()
            ));
    }
    let server = site.start();
    for text in ["Compiled for Python/", "Runtime using Python/", "[wsgi:error]"] {
        server.log().allow(text);
    }
    server
}

fn found(server: &Server, group: &Group) -> Value {
    serde_json::from_str(&server.get(&format!("/{}", group.name)).with_status(200).text()).unwrap()
}

/// Does it for as long as it lives.
struct Doing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Doing {
    fn repeat(pause: Duration, act: impl Fn() + Send + 'static) -> Doing {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                act();
                thread::sleep(pause);
            }
        });
        Doing { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// What clients of these groups find, and last one that asks for a file.
fn measure(server: &Server, groups: &[&Group]) -> Vec<Times> {
    let pulse = |group: &&Group| {
        let path = format!("/{}", group.name);
        Pulse::start(server.address(), &path, Duration::from_millis(3))
    };
    let file = Pulse::start(server.address(), "/.ready", Duration::from_millis(3));
    let pulses: Vec<Pulse> = groups.iter().map(pulse).chain([file]).collect();
    thread::sleep(WINDOW);
    pulses.into_iter().map(Pulse::finish).collect()
}

/// Harms a group while the others' clients go on, and says what these found before and during.
fn harm(server: &Server, victim: &Group, harm: Harm, others: &[&Group]) -> Vec<(Times, Times)> {
    let before = measure(server, others);
    let (address, name) = (server.address(), victim.name);
    let ask = move |query: &str| -> Option<Response> {
        tests::http::request(address, "GET", &format!("/{name}?{query}"), &[], b"").ok()
    };
    let pid = || found(server, victim)["pid"].as_u64().unwrap();
    let during = match harm {
        Harm::Killed => {
            let kills = Arc::new(AtomicBool::new(true));
            let asking = Doing::repeat(Duration::from_millis(20), {
                let kills = kills.clone();
                move || {
                    if let Some(response) = ask("")
                        && kills.load(Ordering::Relaxed)
                    {
                        let found: Option<Value> = serde_json::from_slice(&response.body).ok();
                        let pid = found.and_then(|found| found["pid"].as_u64());
                        if let Some(pid) = pid.and_then(|pid| u32::try_from(pid).ok()) {
                            tests::process::Process { pid }.signal(Signal::KILL);
                        }
                    }
                }
            });
            let during = measure(server, others);
            kills.store(false, Ordering::Relaxed);
            asking.end();
            during
        }
        Harm::Wedged => {
            let worker = server.worker(name);
            let flag = server.site().write("wedge", "");
            let stuck: Vec<_> = (0..3).map(|_| thread::spawn(move || ask("wedge"))).collect();
            thread::sleep(Duration::from_millis(300));
            let during = measure(server, others);
            assert!(stuck.iter().all(|request| !request.is_finished()), "it was not wedged");
            std::fs::remove_file(flag).unwrap();
            worker.signal(Signal::KILL);
            let answers = stuck.into_iter().map(|request| request.join().unwrap().unwrap().status);
            let answers: Vec<u16> = answers.collect();
            // Those that ran, at least one, and those that nobody had read.
            assert!(answers.contains(&502), "{answers:?}");
            assert!(answers.iter().all(|status| [200, 502].contains(status)), "{answers:?}");
            during
        }
        Harm::Greedy => {
            let greedy = Doing::repeat(Duration::from_millis(100), move || {
                let response = ask("memory");
                assert_eq!(response.unwrap().status, 500);
            });
            let during = measure(server, others);
            greedy.end();
            during
        }
    };
    // It comes back by itself.
    let back = wait_for(SOON, || Some(pid()).filter(|_| server.workers(name).len() == 1));
    assert!(back.is_some());
    before.into_iter().zip(during).collect()
}

/// Whether nobody's answers took longer than a file did, in proportion.
fn are_untouched(times: &[(Times, Times)]) -> bool {
    let Some((file, groups)) = times.split_last() else { return false };
    groups.iter().all(|group| {
        [(50, 1.5, NOISE), (99, 2.0, HICCUP)].into_iter().all(|(of_hundred, factor, more)| {
            let [before, during] = [&group.0, &group.1].map(|it| it.percentile(of_hundred));
            let [calm, now] =
                [&file.0, &file.1].map(|it| it.percentile(of_hundred).as_secs_f64().max(1e-6));
            during <= before.mul_f64(factor * (now / calm).max(1.0)) + more
        })
    })
}

#[test]
fn what_happens_to_one_group_does_not_reach_the_others() {
    let groups = groups();
    let server = serve(&groups);
    server.log().allow("[wsgi:warn]");
    for group in &groups {
        let found = found(&server, group);
        assert_eq!(found["version"], group.version);
        assert_eq!(found["prefix"], group.prefix);
        assert_eq!(found["group"], "", "not in the main interpreter");
        let sum = if group.has_packages { json!(6) } else { Value::Null };
        assert_eq!(found["sum"], sum);
        if let Some((_, uid)) = group.user {
            assert_eq!(found["uid"], uid);
        }
    }
    let all = matrix::nightly("every harm done to every group");
    for (number, victim) in groups.iter().enumerate() {
        let others: Vec<&Group> = groups.iter().filter(|it| it.name != victim.name).collect();
        let harms = [Harm::Killed, Harm::Wedged, Harm::Greedy];
        let harms = if all { &harms[..] } else { &harms[number % 3..=number % 3] };
        for what in harms {
            let tried = (0..5).find_map(|_| {
                let times = harm(&server, victim, *what, &others);
                let names = others.iter().map(|other| other.name).chain(["a file"]);
                let shown = names
                    .zip(&times)
                    .map(|(name, (before, during))| format!("\n  {name}: {before}; then {during}"));
                let shown: String = shown.collect();
                matrix::note(&format!("{} is {what:?}:{shown}", victim.name));
                are_untouched(&times).then_some(())
            });
            assert!(tried.is_some(), "{} being {what:?} reaches the others each time", victim.name);
        }
    }
    let ids: Vec<u64> =
        groups.iter().map(|it| found(&server, it)["uid"].as_u64().unwrap()).collect();
    matrix::note(&format!("users {ids:?}"));
    server.stop();
}
