//! Scripts: when they are loaded, when again, and what serves meanwhile.

#![allow(clippy::unwrap_used)]

use scenario::patience::finally;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tests::process::wait_for;
use tests::{Mpm, Server, Site, http, matrix};

/// An application that answers with a text of its script's own.
fn answer(text: &str) -> String {
    format!(
        "text = '{text}'\n\
         def application(environ, start_response):\n\
         \x20   start_response('200 OK', [])\n    return [text.encode()]\n"
    )
}

/// Replaces a script as a deployment does, in one step, with a time stamp so many seconds ago.
fn replace(path: &Path, age: u64, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    set_age(&new, age);
    fs::rename(&new, path).unwrap();
}

fn set_age(path: &Path, age: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
}

fn one_child(mpm: Mpm) -> Site {
    Site::new(mpm, &matrix::python()).one_child(8).conf("WSGIApplicationGroup %{GLOBAL}")
}

#[test]
fn a_script_whose_time_stamp_differs_is_loaded_again() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(4);
        let server = site.mount("/", "app.wsgi", &answer("one")).start();
        let path = server.site().path("app.wsgi");
        assert_eq!(server.get("/").text(), "one");
        // Older counts, too: a package manager keeps the times of its files.
        for (age, text) in [(100, "two"), (10, "three"), (1000, "four")] {
            replace(&path, age, &answer(text));
            assert_eq!(server.get("/").text(), text, "{age}");
            let line = server.log().expect("Reloading WSGI script '");
            assert_eq!(line.level, "info");
            assert!(line.text().starts_with("[script "), "{}", line.raw);
        }
        assert_eq!(server.log().matching("Loading WSGI script '").len(), 1);
        server.stop();
    });
}

#[test]
fn reloading_can_be_turned_off_where_it_is_not_wanted() {
    let site = one_child(Mpm::Event);
    let server = site
        .conf("<Location /fixed>\nWSGIScriptReloading Off\n</Location>")
        .mount("/fixed", "fixed.wsgi", &answer("one"))
        .mount("/", "app.wsgi", &answer("one"))
        .start();
    for (url, name, after) in [("/fixed", "fixed.wsgi", "one"), ("/", "app.wsgi", "two")] {
        assert_eq!(server.get(url).text(), "one");
        replace(&server.site().path(name), 100, &answer("two"));
        assert_eq!(server.get(url).text(), after, "{url}");
    }
    server.stop();
}

#[test]
fn a_script_may_ask_to_be_loaded_again() {
    let site = one_child(Mpm::Event);
    let script = "
import time
loaded = time.time_ns()
def reload_required(resource):
    return resource.endswith('app.wsgi') and again
again = False
def application(environ, start_response):
    global again
    again = environ['QUERY_STRING'] == 'again'
    start_response('200 OK', [])
    return [str(loaded).encode()]
";
    let server = site.mount("/", "app.wsgi", script).start();
    let first = server.get("/").text();
    assert_eq!(server.get("/?again").text(), first);
    let second = server.get("/").text();
    assert_ne!(second, first);
    assert_eq!(server.get("/").text(), second);
    server.stop();
}

#[test]
fn d25_a_broken_version_leaves_the_one_before_serving() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(4);
        let server = site.mount("/", "app.wsgi", &answer("one")).start();
        let path = server.site().path("app.wsgi");
        assert_eq!(server.get("/").text(), "one");
        for (age, broken) in
            [(300, "def application(:\n"), (200, "raise ValueError('broken')\n"), (100, "x = 1\n")]
        {
            replace(&path, age, broken);
            for _ in 0..3 {
                assert_eq!(server.get("/").text(), "one", "{broken}");
            }
            // Once for each version, however many requests see it.
            let line = server.log().expect("WSGI1103: ");
            assert_eq!(line.level, "warn");
        }
        assert_eq!(server.log().matching("WSGI1103: ").len(), 3);
        assert_eq!(server.log().matching("ValueError: broken").len(), 1);
        replace(&path, 50, &answer("two"));
        assert_eq!(server.get("/").text(), "two");
        server.log().allow("[wsgi:error]");
        server.stop();
    });
}

#[test]
fn d06_a_loaded_script_never_waits_for_one_that_loads() {
    let site = one_child(Mpm::Worker);
    let go = site.path("go");
    let slow = format!(
        "import os, time\nend = time.monotonic() + 60\n\
         while not os.path.exists({go:?}) and time.monotonic() < end: time.sleep(0.01)\n{}",
        answer("slow")
    );
    let other = site.write("slow.wsgi", &slow);
    let server = site
        .conf(format!("WSGIScriptAlias /slow \"{}\"", other.display()))
        .conf(format!("WSGIScriptAlias /named \"{}\" application-group=named", other.display()))
        .mount("/", "app.wsgi", &answer("one"))
        .start();
    assert_eq!(server.get("/").text(), "one");
    std::thread::scope(|scope| {
        let server = &server;
        let both = ["/slow", "/named"].map(|url| scope.spawn(move || server.get(url).text()));
        let loads = || server.log().matching("oading WSGI script '").len();
        let begun = wait_for(Duration::from_secs(30), || (loads() == 3).then_some(()));
        assert!(begun.is_some(), "{}", server.log().text());
        for _ in 0..30 {
            assert_eq!(server.get("/").text(), "one");
        }
        assert!(both.iter().all(|one| !one.is_finished()), "they are still being loaded");
        fs::write(&go, "").unwrap();
        for one in both {
            assert_eq!(one.join().unwrap(), "slow");
        }
    });
    server.stop();
}

#[test]
fn a_deleted_script_is_404_and_serves_again_when_it_is_back() {
    let server = one_child(Mpm::Event).mount("/", "app.wsgi", &answer("one")).start();
    let (path, away) = (server.site().path("app.wsgi"), server.site().path("away"));
    assert_eq!(server.get("/").text(), "one");
    fs::rename(&path, &away).unwrap();
    assert_eq!(server.get("/").status, 404);
    server.log().expect("WSGI0135: ");
    fs::rename(&away, &path).unwrap();
    assert_eq!(server.get("/").text(), "one");
    assert_eq!(server.log().matching("oading WSGI script '").len(), 1);
    server.stop();
}

#[test]
fn d14_what_is_behind_a_nul_is_an_error() {
    let script = format!("{}\0def application(e, s): pass\n", answer("one"));
    let server = one_child(Mpm::Event).mount("/", "app.wsgi", &script).start();
    assert_eq!(server.get("/").status, 500);
    server.log().expect("WSGI0105: ");
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn the_callable_has_a_name() {
    let script = "
def made(name):
    def application(environ, start_response):
        start_response('200 OK', [('X-Name', environ['mod_wsgi.callable_object'])])
        return [name.encode()]
    return application
application, app, other = made('application'), made('app'), made('other')
globals()['with.dot'] = made('with.dot')
class holder: app = app
";
    let site = one_child(Mpm::Event);
    let path = site.write("app.wsgi", script);
    let alias = |url: &str, options: &str| {
        format!("WSGIScriptAlias {url} \"{}\" {options}", path.display())
    };
    let server = site
        .conf(alias("/option", "callable-object=other"))
        .conf(alias("/section", ""))
        .conf(alias("/dot", "callable-object=with.dot"))
        .conf(alias("/nested", "callable-object=holder.app"))
        .conf("<Location /section>\nWSGICallableObject app\n</Location>")
        .conf(alias("/", ""))
        .start();
    for (url, name) in
        [("/", "application"), ("/option", "other"), ("/section", "app"), ("/dot", "with.dot")]
    {
        let response = server.get(url).with_status(200);
        assert_eq!(
            (response.text().as_str(), response.header("X-Name").as_deref()),
            (name, Some(name))
        );
    }
    assert_eq!(server.get("/nested").status, 404);
    server.log().expect("does not contain WSGI application 'holder.app'");
    server.stop();
}

/// What a preloaded script knows of where it runs.
const PRELOADED: &str = "
import mod_wsgi, os, threading
main = threading.current_thread() is threading.main_thread()
try:
    mod_wsgi.request_data()
    data = 'data'
except RuntimeError as error:
    data = str(error)
with open(os.path.join(os.path.dirname(__file__), 'loaded.txt'), 'a') as file:
    print(mod_wsgi.application_group, main, data, file=file)
def application(environ, start_response):
    start_response('200 OK', [])
    return [mod_wsgi.application_group.encode()]
";

fn loaded(server: &Server) -> Option<String> {
    fs::read_to_string(server.site().path("app/loaded.txt"))
        .ok()
        .filter(|text| text.ends_with('\n'))
}

#[test]
fn import_scripts_run_before_requests_on_the_main_thread() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(2);
        let path = site.write("app/import.py", PRELOADED);
        site.writable("app");
        let mut site = site;
        for group in ["%{GLOBAL}", "shop"] {
            let options = format!("process-group=%{{GLOBAL}} application-group={group}");
            site = site.conf(format!("WSGIImportScript \"{}\" {options}", path.display()));
        }
        // Another server's list is a part of the same.
        let options = "process-group=%{GLOBAL} application-group=host";
        let line = format!("WSGIImportScript \"{}\" {options}", path.display());
        let server = site.conf(format!("<VirtualHost *:*>\n{line}\n</VirtualHost>")).start();
        let data = "True no active request for thread";
        let wanted = format!(" {data}\nshop {data}\nhost {data}\n");
        let found = wait_for(Duration::from_secs(10), || loaded(&server).filter(|t| *t == wanted));
        assert!(found.is_some(), "{:?}", loaded(&server));
        server.log().refuse("[script ");
        server.stop();
    });
}

#[test]
fn aliases_that_name_both_groups_are_loaded_before_requests() {
    let site = one_child(Mpm::Event);
    let path = site.write("app/app.wsgi", PRELOADED);
    site.writable("app");
    let both = "process-group=%{GLOBAL} application-group=shop";
    let server = site
        .conf(format!("WSGIScriptAlias /plain \"{}\"", path.display()))
        .conf(format!("WSGIScriptAlias / \"{}\" {both}", path.display()))
        .start();
    let wanted = "shop True no active request for thread\n";
    let found = wait_for(Duration::from_secs(10), || loaded(&server).filter(|t| t == wanted));
    assert!(found.is_some(), "{:?}", loaded(&server));
    // It serves the request as it is.
    assert_eq!(server.get("/").text(), "shop");
    assert_eq!(loaded(&server).unwrap(), wanted);
    server.stop();
}

#[test]
fn a_preload_that_fails_is_logged_and_tried_again_by_requests() {
    for (script, code, header) in [
        ("raise ValueError('not yet')\n", "WSGI0110: ", "WSGI0174: ValueError exception raised"),
        ("import sys\nsys.exit(1)\n", "WSGI0108: ", "WSGI0175: SystemExit exception raised by"),
        ("def (:\n", "WSGI0106: ", "WSGI0174: SyntaxError exception raised"),
    ] {
        let site = one_child(Mpm::Event);
        let path = site.write("app.wsgi", script);
        let both = "process-group=%{GLOBAL} application-group=%{GLOBAL}";
        let alias = format!("WSGIScriptAlias / \"{}\" {both}", path.display());
        let server = site.conf(alias).start();
        let line = server.log().expect(code);
        assert!(!line.raw.contains("[script "), "{}", line.raw);
        let line = server.log().expect(header);
        assert!(line.rest.starts_with("WSGI01"), "{}", line.raw);
        replace(&path, 100, &answer("mended"));
        assert_eq!(server.get("/").text(), "mended");
        server.log().allow("[wsgi:error]");
        server.stop();
    }
}

/// Every request tries again to load what cannot be loaded.
#[test]
fn failures_leave_nothing_behind() {
    for (script, status) in [
        ("import gc\ngc.collect()\nx = [0] * 1000\nraise ValueError('broken')\n", 500),
        ("x = [0] * 1000\ndef (:\n", 500),
        ("x = [0] * 1000\n", 404),
        ("x = [0] * 1000\ndef application(e, s): raise ValueError(x)\n", 500),
        (
            "def reload_required(r): raise ValueError('no')\n\
             def application(e, s): return []\n",
            500,
        ),
    ] {
        let server = one_child(Mpm::Event).log_level("crit").mount("/", "app.wsgi", script).start();
        let child = server.children()[0];
        let fail = |times: usize| {
            for _ in 0..times {
                assert_eq!(server.get("/").status, status, "{script}");
            }
            child.stats().unwrap().rss
        };
        let (before, after) = (fail(300), fail(600));
        assert!(after < before + 1024, "{before} KiB, then {after} KiB: {script}");
        server.log().allow("[wsgi:");
        server.stop();
    }
}

/// The application of a version: its number, twice, since a file may be read half-written.
fn version(number: usize, broken: bool) -> String {
    let text = answer(&format!("{number} {number}"));
    if !broken {
        return text;
    }
    match number % 3 {
        0 => text + "raise ValueError('broken')\n",
        1 => text + "def (:\n",
        _ => text.replace("def application", "def something"),
    }
}

/// Eight clients ask while fifty versions come and go, every fifth of them broken.
///
/// One child, for a new one that finds a broken version has no other to serve.
fn reload_under_load(site: Site) {
    const VERSIONS: usize = 50;
    let site = site.one_child(8).log_level("error");
    let server = site.mount("/", "app.wsgi", &version(0, false)).start();
    assert_eq!(server.get("/").text(), "0 0");
    let path = server.site().path("app.wsgi");
    server.log().allow("[wsgi:");
    let (newest, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let address = server.address();
    let client = || {
        let mut seen = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let response = http::request(address, "GET", "/", &[], b"").unwrap();
            assert_eq!(response.status, 200, "{response:?}");
            let text = response.text();
            let (number, again) = text.split_once(' ').unwrap();
            assert_eq!(number, again);
            let number: usize = number.parse().unwrap();
            assert!(number % 5 != 4, "{number} was broken");
            seen.push((number, newest.load(Ordering::SeqCst)));
        }
        seen
    };
    let answers = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        let told = finally(|| done.store(true, Ordering::Relaxed));
        for number in 1..=VERSIONS {
            std::thread::sleep(Duration::from_millis(40));
            let broken = number % 5 == 4;
            if number % 2 == 0 {
                replace(&path, 0, &version(number, broken));
            } else {
                // In place: somebody may find it empty.
                fs::write(&path, version(number, broken)).unwrap();
            }
            if !broken {
                newest.store(number, Ordering::SeqCst);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
        drop(told);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.len() > 200, "only {} answers", answers.len());
    for (number, newest) in &answers {
        // The file is there a moment before the number says so.
        assert!(*number <= newest + 2, "{number} was not on disk, {newest} was");
    }
    let last = server.get("/").text();
    assert_eq!(last, format!("{VERSIONS} {VERSIONS}"), "of {} answers", answers.len());
    let versions: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.0).collect();
    assert!(versions.len() > 10, "only {versions:?}");
    server.stop();
}

#[test]
fn reload_under_load_serves_valid_versions_only() {
    matrix::for_each_cell(|cell| {
        reload_under_load(Site::new(cell.mpm, &cell.python));
    });
}

#[test]
fn reload_under_load_in_a_sub_interpreter() {
    let site = Site::new(Mpm::Event, &matrix::python());
    reload_under_load(site.conf("WSGISoleTenant Off").conf("WSGIApplicationGroup shop"));
}
