//! Start, graceful restarts under load, and what must not be in the parent.

#![allow(clippy::unwrap_used)]

use object::{Object, ObjectSymbol};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tests::process::{Stats, wait_for};
use tests::{Mode, Mpm, Python, Server, Setup, Site, http, matrix};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '6')])
    return [b'Hello!']
";

/// Clients that open one connection per request until told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, clients: usize) -> Load {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let client = || {
            let (stop, count, failures) = (stop.clone(), count.clone(), failures.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match http::request(address, "GET", "/", &[], b"") {
                        Ok(r) if r.status == 200 && r.body == b"Hello!" => {}
                        Ok(response) => failures.lock().unwrap().push(format!("{response:?}")),
                        Err(error) => failures.lock().unwrap().push(format!("{error:#}")),
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        };
        let threads = (0..clients).map(|_| client()).collect();
        Load { stop, count, failures, threads }
    }

    /// Fails unless there were requests and all of them succeeded.
    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failures = self.failures.lock().unwrap();
        let count = self.count.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {count}: {:?}", failures.len(), failures.first());
        assert!(count > 100, "only {count} requests");
    }
}

/// The parent's size once children of earlier generations are gone.
fn settled(server: &Server) -> Stats {
    let mut last = server.parent().stats().unwrap();
    let quiet = || {
        std::thread::sleep(Duration::from_millis(200));
        let now = server.parent().stats()?;
        let same = now == last;
        last = now;
        same.then_some(now)
    };
    wait_for(Duration::from_secs(10), quiet).unwrap_or(last)
}

fn restarts_gracefully(mpm: Mpm) {
    if let Some(reason) = Setup::get().lacks(mpm) {
        return matrix::skip(&format!("{mpm} MPM"), &reason);
    }
    let site = Site::new(mpm, &matrix::python()).log_level("warn");
    let mut server = site.mount("/", "hello.wsgi", HELLO).start();
    let load = Load::start(server.address(), 2);
    let mut after_five = None;
    for round in 1..=20 {
        server.graceful();
        if round == 5 {
            after_five = Some(settled(&server));
        }
    }
    let (before, after) = (after_five.unwrap(), settled(&server));
    load.finish();
    assert!(after.rss <= before.rss + 256, "resident: {before:?} then {after:?}");
    assert!(after.fds <= before.fds, "descriptors: {before:?} then {after:?}");
    assert!(after.maps <= before.maps + 2, "mappings: {before:?} then {after:?}");
    assert_eq!(after.threads, 1, "the parent has threads");
    let mapped = server.parent().mapped_files();
    assert!(!mapped.iter().any(|file| is_python(file)), "in the parent: {mapped:?}");
    server.stop();
}

/// A process has 1024 keys of thread-specific data. What the parent leaks at a restart, its children
/// have too.
#[test]
fn graceful_restarts_use_up_no_keys() {
    const KEYS: &str = "
import ctypes
libc = ctypes.PyDLL(None)

def application(environ, start_response):
    made, key = [], ctypes.c_uint()
    while libc.pthread_key_create(ctypes.byref(key), None) == 0:
        made.append(key.value)
    for key in made:
        libc.pthread_key_delete(key)
    start_response('200 OK', [])
    return [str(len(made)).encode()]
";
    matrix::for_each_mpm(|mpm| {
        let site = Site::new(mpm, &matrix::python());
        let mut server = site.mount("/", "keys.wsgi", KEYS).start();
        let mut free = Vec::new();
        for round in 0..=12 {
            if round >= 5 {
                let count = server.get("/").with_status(200).text();
                free.push(count.parse::<u32>().unwrap());
            }
            server.graceful();
        }
        assert!(free[0] > 500 && free.iter().all(|count| *count == free[0]), "{free:?}");
        server.stop();
    });
}

fn is_python(file: &str) -> bool {
    file.contains("libpython") || file.contains("/_mod_wsgi.")
}

#[test]
fn twenty_graceful_restarts_under_event() {
    restarts_gracefully(Mpm::Event);
}

#[test]
fn twenty_graceful_restarts_under_worker() {
    restarts_gracefully(Mpm::Worker);
}

#[test]
fn twenty_graceful_restarts_under_prefork() {
    restarts_gracefully(Mpm::Prefork);
}

#[test]
fn restarts_at_once_work() {
    matrix::for_each_mpm(|mpm| {
        let mut server = Site::new(mpm, &matrix::python()).mount("/", "hello.wsgi", HELLO).start();
        for _ in 0..5 {
            server.restart();
            assert_eq!(server.get("/").with_status(200).text(), "Hello!");
        }
        server.stop();
    });
}

#[test]
fn python_is_never_in_the_parent() {
    matrix::for_each_cell(|cell| {
        let server = Site::new(cell.mpm, &cell.python).mount("/", "hello.wsgi", HELLO).start();
        assert_eq!(server.get("/").with_status(200).text(), "Hello!");
        let parent = server.parent().mapped_files();
        assert!(!parent.iter().any(|file| is_python(file)), "{parent:?}");
        assert_eq!(server.parent().stats().unwrap().threads, 1);
        let library = format!("libpython{}", cell.python.version);
        let has = |child: &tests::process::Process| {
            child.mapped_files().iter().any(|file| file.contains(&library))
        };
        assert!(server.children().iter().any(has), "no child has {library}");
        server.stop();
    });
}

#[test]
fn several_pythons_one_module() {
    // The same mod_wsgi.so, one server after the other, nothing rebuilt between.
    let versions: Vec<String> = matrix::pythons()
        .iter()
        .map(|python: &Python| {
            let script = "
import sys
def application(environ, start_response):
    start_response('200 OK', [])
    return ['{}.{}'.format(*sys.version_info).encode()]
";
            let server = Site::new(Mpm::Event, python).mount("/", "v.wsgi", script).start();
            let found = server.get("/").with_status(200).text();
            server.stop();
            assert_eq!(found, python.version);
            found
        })
        .collect();
    matrix::note(&format!("one module served Python {}", versions.join(", ")));
}

#[test]
fn the_configuration_is_read_anew() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let mut server = site.mount("/", "hello.wsgi", HELLO).start();
    assert_eq!(server.get("/").status, 200);
    let other = HELLO.replace("Hello!", "Other!");
    server.reconfigure(|site| {
        let path = site.write("other.wsgi", other);
        site.conf(format!("WSGIScriptAliasMatch ^/two {}", path.display()))
    });
    // Earlier in the list wins, and "/" is earlier.
    server.graceful();
    assert_eq!(server.get("/two").text(), "Hello!");
    server.reconfigure(|site| site.conf("WSGIApplicationGroup changed"));
    server.graceful();
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

/// An application that forks and lets the child come back, in whatever way, has no second server.
#[test]
fn forked_children_that_come_back_end() {
    let script = r#"
import os, sys

def application(environ, start_response):
    how = environ['PATH_INFO'][1:]
    pid = os.fork()
    if pid == 0:
        if how == 'exit':
            sys.exit(0)
        if how == 'raise':
            raise ValueError('in the child')
        write = start_response('200 OK', [('Content-Length', '5')])
        if how == 'write':
            write(b'child')
        if how == 'iterate':
            return iter([b'chi', b'ld'])
        return [b'child']
    os.waitpid(pid, 0)
    start_response('200 OK', [('Content-Length', '6')])
    return [b'parent']
"#;
    for (mpm, mode) in
        [(Mpm::Event, Mode::Embedded), (Mpm::Prefork, Mode::Embedded), (Mpm::Event, Mode::Daemon)]
    {
        eprintln!("{mpm:?}, {mode:?}:");
        let site = Site::new(mpm, &matrix::python()).one_child(4).mode(mode);
        let server = site.mount("/", "app.wsgi", script).start();
        for tail in ["WSGI0174", "WSGI0175", "Traceback", "  File ", "    ", "SystemExit: 0"] {
            server.log().allow(tail);
        }
        server.log().allow("ValueError: in the child");
        assert_eq!(server.get("/return").with_status(200).text(), "parent");
        let processes = server.processes().len();
        for how in ["return", "exit", "raise", "write", "iterate"] {
            let mut connection = server.connect();
            for _ in 0..2 {
                let request = format!("GET /{how} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                connection.send(request).unwrap();
                let response = connection.response("GET").unwrap();
                assert_eq!(response.with_status(200).text(), "parent", "{how}");
            }
        }
        assert_eq!(server.processes().len(), processes);
        server.stop();
    }
}

/// Nor has a script that is loaded before requests, or a callback at the end.
#[test]
fn forked_children_of_an_import_script_end() {
    let script = r#"
import atexit, os, pathlib

def fork():
    pid = os.fork()
    if pid:
        with open(pathlib.Path(__file__).with_name('forked.txt'), 'a') as file:
            file.write(f'{pid}\n')

fork()
atexit.register(fork)
"#;
    for (mpm, mode) in
        [(Mpm::Event, Mode::Embedded), (Mpm::Prefork, Mode::Embedded), (Mpm::Event, Mode::Daemon)]
    {
        eprintln!("{mpm:?}, {mode:?}:");
        let site = Site::new(mpm, &matrix::python()).one_child(4).mode(mode);
        let group = match mode {
            Mode::Embedded => "%{GLOBAL}",
            Mode::Daemon => "tests",
        };
        let path = site.write("app/import.py", script);
        site.writable("app");
        let forked = site.path("app/forked.txt");
        let import = format!("WSGIImportScript \"{}\" process-group={group}", path.display());
        let mut server = site
            // Python 3.12 and 3.13 cannot fork where there is another interpreter.
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .conf(format!("{import} application-group=%{{GLOBAL}}"))
            .mount("/", "app.wsgi", HELLO)
            .start();
        assert_eq!(server.get("/").with_status(200).body, b"Hello!");
        let pids = || -> Vec<i32> {
            let text = std::fs::read_to_string(&forked).unwrap_or_default();
            text.lines().filter_map(|line| line.parse().ok()).collect()
        };
        // Nobody waits for it, so it stays as a zombie, which has no command line.
        let lives = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
        };
        let ended = || pids().iter().all(|pid| !lives(pid)).then_some(());
        assert_eq!(pids().len(), 1);
        wait_for(Duration::from_secs(20), ended).unwrap();
        server.graceful();
        // One at the end of the process, and one of the next.
        wait_for(Duration::from_secs(20), || (pids().len() == 3).then_some(())).unwrap();
        wait_for(Duration::from_secs(20), ended).unwrap();
        server.stop();
    }
}

/// The rest of a body is on a connection that a forked child shares with its parent.
#[test]
fn a_forked_child_takes_nothing_of_its_parents_body() {
    let script = r#"
import os

def application(environ, start_response):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = repr(environ['wsgi.input'].read())
        except OSError as error:
            text = str(error)
        os.write(writer, text.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    body = os.read(reader, 1000) + b': ' + environ['wsgi.input'].read()
    os.close(reader)
    os.close(writer)
    start_response('200 OK', [('Content-Length', str(len(body)))])
    return [body]
"#;
    for (mpm, mode) in
        [(Mpm::Event, Mode::Embedded), (Mpm::Prefork, Mode::Embedded), (Mpm::Event, Mode::Daemon)]
    {
        eprintln!("{mpm:?}, {mode:?}:");
        let site = Site::new(mpm, &matrix::python()).one_child(4).mode(mode);
        let server = site.mount("/", "app.wsgi", script).start();
        let mut connection = server.connect();
        for body in ["small".to_owned(), "0123456789abcdef".repeat(20_000)] {
            let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
            connection.send(format!("{head}{}\r\n\r\n{body}", body.len())).unwrap();
            let response = connection.response("POST").unwrap();
            let error = "mod_wsgi request data read error: \
                         a forked process cannot read what belongs to its parent: ";
            assert!(response.with_status(200).text() == format!("{error}{body}"));
        }
        server.stop();
    }
}

#[test]
fn only_the_module_record_is_exported() {
    let image = std::fs::read(Setup::get().module()).unwrap();
    let file = object::File::parse(&*image).unwrap();
    let names: Vec<String> = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition() && symbol.is_global())
        .map(|symbol| symbol.name().unwrap().to_owned())
        .filter(|name| !matches!(name.as_str(), "_init" | "_fini"))
        .collect();
    assert_eq!(names, ["wsgi_module"]);
}

#[test]
fn the_module_links_no_python() {
    let image = std::fs::read(Setup::get().module()).unwrap();
    let file = object::File::parse(&*image).unwrap();
    let python = file
        .dynamic_symbols()
        .map(|symbol| symbol.name().unwrap().to_owned())
        .find(|name| name.starts_with("Py") || name.starts_with("_Py"));
    assert_eq!(python, None);
}
