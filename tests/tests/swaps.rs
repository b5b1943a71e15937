//! Daemon mode: how processes take over from each other, as the configuration wants it.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Site, matrix};

const GROUP: &str = "swapped";
const SOON: Duration = Duration::from_secs(20);

/// Notes what happens to it: loaded, asked to warm up, told to end.
const SCRIPT: &str = r#"
import mod_wsgi, os, time
VERSION, IMPORT, WARM = '@VERSION', @IMPORT, '@WARM'
NOTES = '@NOTES'

def note(*words):
    with open(NOTES, 'a') as file:
        file.write(' '.join(map(str, words + (os.getpid(),))) + '\n')

note('loading', VERSION)
time.sleep(IMPORT)
note('loaded', VERSION)
mod_wsgi.subscribe_shutdown(lambda name, **event: note(
    'stopping', VERSION, event['shutdown_reason'], event['generation']))

def application(environ, start_response):
    if environ.get('mod_wsgi.warm_up'):
        note('warm', VERSION, environ['wsgi.url_scheme'], environ['HTTP_HOST'],
             environ['PATH_INFO'], environ['QUERY_STRING'])
        if WARM == 'raise':
            raise RuntimeError('not today')
        start_response(WARM, [])
        return [b'warm']
    time.sleep(0.005)
    start_response('200 OK', [])
    return [('%s %d' % (VERSION, os.getpid())).encode()]
"#;

/// A script with what it is to be and do.
struct Script<'a> {
    version: &'a str,
    import: f64,
    warm: &'a str,
}

impl Script<'_> {
    fn text(&self, notes: &str) -> String {
        SCRIPT
            .replace("@VERSION", self.version)
            .replace("@IMPORT", &self.import.to_string())
            .replace("@WARM", self.warm)
            .replace("@NOTES", notes)
    }
}

const V1: Script<'_> = Script { version: "v1", import: 0.0, warm: "200 OK" };
const V2: Script<'_> = Script { version: "v2", ..V1 };

/// A server with one group, whose line is in a file of its own.
struct Served {
    server: Server,
    notes: PathBuf,
}

fn define(options: &str) -> String {
    format!("WSGIDaemonProcess {GROUP} threads=2 {options}\n")
}

impl Served {
    fn start(options: &str, script: &Script<'_>) -> Served {
        let site = Site::new(Mpm::Event, &matrix::python());
        let notes = site.writable("notes").join("notes");
        let group = site.write("group.conf", define(options));
        let server = site
            .conf(format!("Include {}\nWSGIProcessGroup {GROUP}", group.display()))
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .mount("/", "app.wsgi", &script.text(notes.to_str().unwrap()))
            .start();
        Served { server, notes }
    }

    /// Replaces the script in one step.
    fn deploy(&self, script: &Script<'_>) {
        let text = script.text(self.notes.to_str().unwrap());
        let new = self.server.site().write("app.new", text);
        std::fs::rename(new, self.server.site().path("app.wsgi")).unwrap();
    }

    fn version(&self) -> (String, Process) {
        let text = self.server.get("/").with_status(200).text();
        let (version, pid) = text.split_once(' ').unwrap();
        (version.to_owned(), Process { pid: pid.parse().unwrap() })
    }

    fn notes(&self, word: &str) -> Vec<String> {
        let all = std::fs::read_to_string(&self.notes).unwrap_or_default();
        let mine = all.lines().filter(|line| line.split(' ').next() == Some(word));
        mine.map(str::to_owned).collect()
    }

    /// Has each of the processes load the script: one that has not takes what is there.
    #[track_caller]
    fn load_all(&self, processes: usize) {
        let load = Load::start(self.server.address(), 4, "/", |response| response.status == 200);
        let loaded = wait_for(SOON, || (self.notes("loaded").len() == processes).then_some(()));
        load.finish();
        assert!(loaded.is_some(), "{:?}", self.notes("loaded"));
    }

    #[track_caller]
    fn await_version(&self, wanted: &str) -> Process {
        let found = wait_for(SOON, || {
            let (version, pid) = self.version();
            (version == wanted).then_some(pid)
        });
        found.unwrap_or_else(|| panic!("no {wanted}: {:?}", self.version()))
    }
}

#[test]
fn unchanged_groups_stay_if_they_are_to() {
    let mut served = Served::start("keep=On", &V1);
    let (_, worker) = served.version();
    let load = Load::start(served.server.address(), 2, "/", |response| response.status == 200);
    for _ in 0..3 {
        served.server.graceful();
        load.await_more(10);
        assert_eq!(served.version().1, worker, "it was replaced");
    }
    // New code is found as ever.
    served.deploy(&V2);
    let newer = served.await_version("v2");
    // Its configuration is another one now.
    served.server.site().write("group.conf", define("keep=On threads=3"));
    served.server.graceful();
    newer.await_end();
    load.await_more(10);
    load.finish();
    assert_eq!(served.version().0, "v2");
    assert_eq!(served.notes("loaded").len(), 3, "{:?}", served.notes("loaded"));
    served.server.stop();
}

#[test]
fn the_application_is_told_its_generation_and_why_it_ends() {
    let mut served = Served::start("", &V1);
    let (_, first) = served.version();
    served.deploy(&V2);
    let second = served.await_version("v2");
    first.await_end();
    second.signal(Signal::TERM);
    second.await_end();
    let third = served.version().1;
    served.server.graceful();
    third.await_end();
    let fourth = served.version().1;
    served.server.parent().signal(Signal::TERM);
    served.server.parent().await_end();
    fourth.await_end();
    let told = served.notes("stopping");
    let wanted = [
        format!("stopping v1 script_reload 1 {}", first.pid),
        format!("stopping v2 shutdown_signal 2 {}", second.pid),
        // One that takes the place of another is no new generation.
        format!("stopping v2 shutdown_signal 2 {}", third.pid),
        format!("stopping v2 shutdown_signal 3 {}", fourth.pid),
    ];
    assert_eq!(told, wanted);
    served.server.abandon();
}

#[test]
fn new_processes_answer_a_request_before_they_get_any() {
    let served = Served::start("warm-up=https://example.org:8443/ready%20now?x=1 processes=2", &V1);
    served.load_all(2);
    assert!(served.notes("warm").is_empty(), "nothing was loaded before the first request");
    served.deploy(&V2);
    let second = served.await_version("v2");
    let warm = served.notes("warm");
    assert_eq!(warm.len(), 2, "{warm:?}");
    let wanted = "warm v2 https example.org:8443 /ready now x=1 ";
    assert!(warm.iter().all(|line| line.starts_with(wanted)), "{warm:?}");
    // Statuses below 500 are answers, too.
    served.deploy(&Script { version: "v3", warm: "404 Not Found", ..V1 });
    let third = served.await_version("v3");
    second.await_end();
    // Those that do not answer never get a request.
    let load = Load::start(served.server.address(), 2, "/", |it| it.text().starts_with("v3 "));
    for (version, warm, line) in [
        ("v4", "503 Service Unavailable", "it answers '/ready%20now?x=1' with status 503"),
        ("v5", "raise", "it answers '/ready%20now?x=1' with status 500"),
    ] {
        served.deploy(&Script { version, warm, ..V1 });
        load.await_more(20);
        served.server.log().expect(&format!("has failed to warm up: {line}."));
        served.server.log().expect("goes on with the code that it has loaded");
        if warm == "raise" {
            served.server.log().expect_traceback("RuntimeError: not today");
        }
    }
    load.await_more(20);
    load.finish();
    assert!(third.lives());
    served.deploy(&Script { version: "v6", ..V1 });
    served.await_version("v6");
    let log = served.server.log();
    for text in ["has failed to warm up", "WSGI0174: ", "Exception occurred", "cannot be loaded"] {
        log.allow(text);
    }
    // Each of the two processes may say so.
    for text in ["Traceback (most", "  File ", "    raise RuntimeError", "RuntimeError: not today"]
    {
        log.allow(text);
    }
    served.server.stop();
}

/// How many of the noted processes were loading at the same time, and the most that were there.
fn most_loading(notes: &str) -> usize {
    let mut loading: usize = 0;
    let mut most = 0;
    for line in notes.lines() {
        match line.split(' ').next() {
            Some("loading") => loading += 1,
            Some("loaded") => loading -= 1,
            _ => {}
        }
        most = most.max(loading);
    }
    most
}

#[test]
fn one_after_another_or_all_at_once() {
    for (swap, most) in [("rolling", 1), ("overlap", 3)] {
        let served = Served::start(&format!("processes=3 swap={swap}"), &V1);
        served.load_all(3);
        let old = served.server.workers(GROUP);
        std::fs::remove_file(&served.notes).unwrap();
        served.deploy(&Script { version: "v2", import: 0.5, ..V1 });
        // With `rolling` there is a mix of both for a while.
        served.await_version("v2");
        for process in old {
            process.await_end();
        }
        let all = std::fs::read_to_string(&served.notes).unwrap();
        assert_eq!(most_loading(&all), most, "{swap}: {all}");
        assert_eq!(served.notes("loaded").len(), 3, "{all}");
        served.server.stop();
    }
}

/// Three groups and one script: all find its change at the same time.
fn groups_at_a_time(directive: &str) -> usize {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes").join("notes");
    let text = |script: Script<'_>| script.text(notes.to_str().unwrap());
    let mut site = site.conf(directive);
    let path = site.write("app.wsgi", text(V1));
    for group in ["one", "two", "three"] {
        site = site
            .conf(format!("WSGIDaemonProcess {group} threads=2"))
            .conf(format!("WSGIScriptAlias /{group} \"{}\"", path.display()))
            .conf(format!("<Location /{group}>\nWSGIProcessGroup {group}\n</Location>"));
    }
    let mut server = site.start();
    let ask = |server: &Server, group: &str| {
        server.get(&format!("/{group}")).with_status(200).text()[..2].to_owned()
    };
    for group in ["one", "two", "three"] {
        assert_eq!(ask(&server, group), "v1");
    }
    std::fs::remove_file(&notes).unwrap();
    server.site().write("app.wsgi", text(Script { version: "v2", import: 0.6, ..V1 }));
    server.graceful();
    for group in ["one", "two", "three"] {
        let new = wait_for(SOON, || (ask(&server, group) == "v2").then_some(()));
        assert!(new.is_some(), "{group} has the old code");
    }
    let all = std::fs::read_to_string(&notes).unwrap();
    server.stop();
    most_loading(&all)
}

#[test]
fn so_many_groups_at_a_time() {
    assert_eq!(groups_at_a_time(""), 1);
    assert_eq!(groups_at_a_time("WSGISwapConcurrency 3"), 3);
}
