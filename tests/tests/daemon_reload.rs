//! Daemon mode: a changed script brings new processes, and nobody waits but the request that finds
//! the change; a version that cannot be loaded never replaces one that works.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tests::http::{Response, head};
use tests::process::{Process, wait_for};
use tests::{GROUP, Load, Mode, Mpm, Server, Site, matrix};

/// Says which version this is and who serves it; `@` is the version.
const SCRIPT: &str = r#"
import os, time
time.sleep(@IMPORT)

def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        open(os.path.join(environ['test.dir'], 'running'), 'w').close()
        time.sleep(1.5)
    body = ('@VERSION %d' % os.getpid()).encode()
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;

const SOON: Duration = Duration::from_secs(30);

fn script(version: &str, import: f64) -> String {
    SCRIPT.replace("@VERSION", version).replace("@IMPORT", &import.to_string())
}

fn site(lines: &str) -> Site {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    site.conf(lines).conf(format!("SetEnv test.dir {}", notes.display())).mount(
        "/",
        "app.wsgi",
        &script("v1", 0.0),
    )
}

fn serve() -> Server {
    site("").mode(Mode::Daemon).start()
}

/// Puts a file in the place of the script, as editors and deployments do.
fn replace(server: &Server, text: &str) {
    let site = server.site();
    let new = site.write("app.new", text);
    std::fs::rename(new, site.path("app.wsgi")).unwrap();
}

/// Version and process that answer.
fn served(response: &Response) -> (String, u32) {
    let text = response.text();
    let (version, pid) = text.split_once(' ').unwrap();
    (version.to_owned(), pid.parse().unwrap())
}

fn get(server: &Server) -> (String, u32) {
    served(&server.get("/").with_status(200))
}

#[test]
fn the_request_that_finds_a_change_gets_the_new_code_and_the_others_do_not_wait() {
    let server = serve();
    let (version, first) = get(&server);
    assert_eq!(version, "v1");
    let old = Arc::new(AtomicUsize::new(0));
    let counted = old.clone();
    let load = Load::start(server.address(), 2, "/", move |response| {
        let text = response.text();
        if text.starts_with("v1 ") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        response.status == 200 && (text.starts_with("v1 ") || text.starts_with("v2 "))
    });
    load.await_more(10);
    let mut slow = server.connect();
    slow.send(head("GET", "/slow", &[], 0)).unwrap();
    let path = server.site().path("notes/running");
    wait_for(SOON, || path.exists().then_some(())).expect("it does not run");
    replace(&server, &script("v2", 1.0));
    let before = old.load(Ordering::SeqCst);
    // One of the load's clients finds it, or this one; all see it in the end.
    let seen = wait_for(SOON, || (get(&server).0 == "v2").then_some(()));
    assert!(seen.is_some(), "nobody sees the new version");
    let meanwhile = old.load(Ordering::SeqCst) - before;
    assert!(meanwhile > 20, "only {meanwhile} requests were served while the new code loaded");
    let (version, pid) = served(&slow.response("GET").unwrap().with_status(200));
    assert_eq!((version.as_str(), pid), ("v1", first), "what runs is finished by what began it");
    Process { pid: first }.await_end();
    load.finish();
    assert_eq!(get(&server).0, "v2");
    server.log().expect("Forcing restart of daemon process 'tests' due to modification of script");
    server.stop();
}

#[test]
fn without_other_requests_the_next_one_has_the_new_code() {
    let server = serve();
    let mut last = get(&server).1;
    for round in 2..6 {
        let version = format!("v{round}");
        replace(&server, &script(&version, 0.0));
        let (found, pid) = get(&server);
        assert_eq!(found, version);
        assert_ne!(pid, last, "new code runs in a new process");
        last = pid;
    }
    // A new time stamp is a change, too.
    let now = std::time::SystemTime::now() + Duration::from_secs(5);
    let file = std::fs::File::options().write(true).open(server.site().path("app.wsgi")).unwrap();
    file.set_modified(now).unwrap();
    assert_ne!(get(&server).1, last);
    server.stop();
}

#[test]
fn d25_a_broken_version_never_replaces_one_that_works() {
    let server = serve();
    let (_, first) = get(&server);
    let load = Load::start(server.address(), 2, "/", |response| response.status == 200);
    for error in ["RuntimeError: first", "RuntimeError: second"] {
        let (class, text) = error.split_once(": ").unwrap();
        replace(&server, &format!("raise {class}('{text}')\n"));
        for _ in 0..5 {
            assert_eq!(get(&server), ("v1".to_owned(), first));
        }
        load.await_more(20);
        server.log().expect_traceback(error);
        server.log().expect("WSGI0110: Unable to execute Python script file");
        server.log().expect("goes on with the code that it has loaded");
        // It is told once for each change.
        assert_eq!(server.log().matching(error).len(), 1, "{}", server.log().text());
    }
    load.finish();
    let forced = server.log().matching("Forcing restart of daemon process").len();
    assert!(forced < 6, "each request says so: {forced}");
    replace(&server, &script("v2", 0.0));
    assert_eq!(get(&server).0, "v2");
    Process { pid: first }.await_end();
    allow_failures(&server);
    server.stop();
}

/// What is said around a load that fails, beside what a test looks for.
fn allow_failures(server: &Server) {
    server.log().allow("Exception occurred processing WSGI script");
    server.log().allow("WSGI0174: ");
    server.log().allow("the script cannot be loaded");
}

#[test]
fn what_never_loaded_is_tried_again_by_each_request() {
    let server = serve();
    replace(&server, "raise RuntimeError('at first')\n");
    assert_eq!(server.get("/").status, 500);
    server.log().expect_traceback("RuntimeError: at first");
    server.log().expect("WSGI0109: ");
    replace(&server, &script("v2", 0.0));
    assert_eq!(get(&server).0, "v2");
    allow_failures(&server);
    server.stop();
}

#[test]
fn all_processes_of_a_group_change_together() {
    let lines = "WSGIDaemonProcess many processes=3 threads=2\nWSGIProcessGroup many";
    let server = site(lines).start();
    let pids = |version: &str| {
        let mut pids: Vec<u32> = Vec::new();
        for _ in 0..30 {
            let (found, pid) = get(&server);
            assert_eq!(found, version);
            pids.push(pid);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    };
    let old = wait_for(SOON, || (server.workers("many").len() == 3).then(|| pids("v1"))).unwrap();
    replace(&server, &script("v2", 0.2));
    let new = pids("v2");
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?}, {new:?}");
    let three = wait_for(SOON, || (server.workers("many").len() == 3).then_some(()));
    assert!(three.is_some(), "{:?}", server.workers("many"));
    server.stop();
}

#[test]
fn groups_do_not_wait_for_each_other() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    let server = site
        .conf("WSGIDaemonProcess one\nWSGIDaemonProcess two")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .conf("<Location /one>\nWSGIProcessGroup one\n</Location>")
        .conf("<Location /two>\nWSGIProcessGroup two\n</Location>")
        .mount("/one", "app.wsgi", &script("v1", 0.0))
        .mount("/two", "other.wsgi", &script("v1", 0.0))
        .start();
    let two = served(&server.get("/two").with_status(200));
    assert_eq!(server.get("/one").status, 200);
    replace(&server, &script("v2", 2.0));
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (address, told) = (server.address(), answers.clone());
    let finder = std::thread::spawn(move || {
        let response = tests::http::request(address, "GET", "/one", &[], b"").unwrap();
        told.lock().unwrap().push(served(&response).0);
    });
    for _ in 0..20 {
        assert_eq!(served(&server.get("/two").with_status(200)), two);
    }
    assert!(answers.lock().unwrap().is_empty(), "the change was found too fast to tell");
    finder.join().unwrap();
    assert_eq!(*answers.lock().unwrap(), ["v2"]);
    assert_eq!(served(&server.get("/two").with_status(200)), two);
    server.stop();
}

#[test]
fn without_reloading_only_a_restart_brings_new_code() {
    let mut server = site("WSGIScriptReloading Off").mode(Mode::Daemon).start();
    let first = get(&server);
    assert_eq!(first.0, "v1");
    replace(&server, &script("v2", 0.0));
    for _ in 0..5 {
        assert_eq!(get(&server), first);
    }
    server.graceful();
    Process { pid: first.1 }.await_end();
    assert_eq!(get(&server).0, "v2");
    assert_eq!(server.workers(GROUP).len(), 1);
    server.stop();
}
