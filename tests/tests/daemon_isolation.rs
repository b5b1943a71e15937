//! Daemon mode: what a worker has, of Apache and of ours, and what processes get that it starts.

#![allow(clippy::unwrap_used)]

use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use tests::http::head;
use tests::process::{Process, wait_for};
use tests::{GROUP, Mode, Mpm, Server, Site, Venv, matrix};

const SOON: Duration = Duration::from_secs(30);

/// Runs the body of a function and answers with what it returns, as JSON.
fn serve(body: &str) -> Server {
    let indented: String = body.lines().map(|line| format!("    {line}\n")).collect();
    let script = format!(
        "import json, os, sys, threading, time\n\
         def found(environ):\n{indented}\n\
         def application(environ, start_response):\n    \
             body = json.dumps(found(environ)).encode()\n    \
             start_response('200 OK', [('Content-Type', 'application/json')])\n    \
             return [body]\n"
    );
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let notes = site.writable("notes");
    site.conf(format!("SetEnv test.dir {}", notes.display()))
        .env("FROM_OUTSIDE", "inherited")
        .mount("/", "app.wsgi", &script)
        .start()
}

fn found(server: &Server) -> Value {
    serde_json::from_str(&server.get("/").with_status(200).text()).unwrap()
}

/// What the function finds.
#[track_caller]
fn finds(body: &str) -> Value {
    let server = serve(body);
    let found = found(&server);
    server.stop();
    found
}

/// Number and target of each descriptor.
fn descriptors(process: Process) -> Vec<(u32, String)> {
    let entries = fs::read_dir(process.file("fd")).unwrap().flatten();
    let mut all: Vec<_> = entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.to_str()?.to_owned()))
        })
        .collect();
    all.sort();
    all
}

/// A field of `/proc/PID/stat`, counted as proc(5) does.
fn stat(process: Process, field: usize) -> i64 {
    let stat = fs::read_to_string(process.file("stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(field - 3).unwrap().parse().unwrap()
}

#[test]
fn a_worker_has_nothing_open_but_its_own() {
    let server = serve("return os.getpid()");
    let worker = server.worker(GROUP);
    assert_eq!(found(&server), worker.pid);
    let own = descriptors(worker);
    for (number, target) in &own {
        let fine = match number {
            0 => target == "/dev/null",
            1 | 2 => target.starts_with("pipe:"),
            // Out of the way of `select.select` and of programs that count from 3.
            1024.. => ["socket:", "anon_inode:[event", "/memfd:"]
                .iter()
                .any(|kind| target.starts_with(kind)),
            _ => false,
        };
        assert!(fine, "{number} is {target}: {own:?}");
    }
    // Not a socket that Apache has, nor a log, nor anything else of it but a connection's end.
    let theirs = descriptors(server.parent()).into_iter();
    let supervisor = server.supervisor();
    let children = server.children().into_iter().filter(|child| *child != supervisor);
    let theirs = theirs.chain(children.flat_map(descriptors));
    let theirs: Vec<String> = theirs.map(|(_, target)| target).collect();
    // Those without a number of their own say nothing.
    let told = |target: &str| target.contains(":[") && !target.starts_with("anon_inode");
    let shared = own.iter().find(|(_, target)| told(target) && theirs.contains(target));
    assert_eq!(shared, None);
    server.stop();
}

#[test]
fn nothing_of_apache_is_mapped() {
    let server = serve("return os.getpid()");
    found(&server);
    let mapped = server.worker(GROUP).mapped_files();
    let parents = server.parent().mapped_files();
    let apache = |file: &&String| {
        let name = file.rsplit('/').next().unwrap();
        name.starts_with("mod_") || name.starts_with("libapr") || name.contains("apache")
    };
    assert!(parents.iter().any(|file| apache(&file)), "{parents:?}");
    assert_eq!(mapped.iter().find(apache), None);
    let shared =
        |file: &&String| ["/dev/", "/memfd:", "/SYSV"].iter().any(|it| file.starts_with(it));
    let shared: Vec<&String> = mapped.iter().filter(shared).collect();
    // What it writes of itself for its supervisor, which no other worker sees.
    assert!(shared.len() <= 1, "{shared:?}");
    server.stop();
}

#[test]
fn signals_sessions_and_rights() {
    let server = serve("return os.getpid()");
    found(&server);
    let (worker, supervisor) = (server.worker(GROUP), server.supervisor());
    let set = |name: &str| u64::from_str_radix(&worker.field(name).unwrap(), 16).unwrap();
    let bit = |signal: Signal| 1u64 << (signal.as_raw() - 1);
    assert_eq!(set("SigBlk"), 0, "blocked");
    // As Python starts everywhere.
    assert_eq!(set("SigIgn"), bit(Signal::PIPE) | bit(Signal::XFSZ), "ignored");
    let caught = [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::USR2, Signal::XCPU];
    let caught = caught.into_iter().map(bit).fold(0, |set, bit| set | bit);
    assert_eq!(set("SigCgt") & caught, caught);
    assert_eq!(set("SigCgt") & (bit(Signal::SEGV) | bit(Signal::CHILD)), 0, "caught");
    // Neither a terminal's Ctrl-C nor what Apache sends to its process group gets here.
    for process in [worker, supervisor] {
        assert_ne!(stat(process, 5), stat(server.parent(), 5), "process group");
        assert_ne!(stat(process, 6), stat(server.parent(), 6), "session");
        assert_eq!(stat(process, 7), 0, "terminal");
    }
    assert_eq!(worker.parent(), Some(supervisor));
    if geteuid().is_root() {
        for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert_eq!(set(name), 0, "{name}");
        }
    } else {
        matrix::skip("capabilities of workers", "there are none to drop");
    }
    server.stop();
}

#[test]
fn python_looks_as_if_nobody_had_started_it() {
    let found = finds(
        "import __main__
inner = sorted(name for name in vars(__main__) if not name.startswith('__'))
return {'argv': sys.argv, 'orig': sys.orig_argv, 'main': inner, 'path': sys.path,
    'executable': sys.executable, 'prefix': sys.prefix, 'flags': list(sys.flags)[:6],
    'ours': sorted(name for name in sys.modules if name.startswith('_mod_wsgi')),
    'thread': threading.current_thread().name, 'main thread': threading.main_thread().name,
    'is main': threading.main_thread() is threading.current_thread(),
    'environment': dict(os.environ), 'cwd': os.getcwd()}",
    );
    let python = matrix::python();
    let prefix = python.prefix.to_str().unwrap();
    assert_eq!(found["argv"], json!(["mod_wsgi"]));
    // Not the lines that a worker is started with.
    assert!([json!([]), json!(["mod_wsgi"])].contains(&found["orig"]), "{}", found["orig"]);
    assert_eq!(found["main"], json!([]));
    assert_eq!(found["prefix"], prefix);
    assert!(found["executable"].as_str().unwrap().starts_with(&format!("{prefix}/bin/python")));
    assert_eq!(found["flags"], json!([0, 0, 0, 0, 0, 0]));
    assert_eq!(found["main thread"], "MainThread");
    assert_eq!(found["is main"], false);
    let paths: Vec<&str> =
        found["path"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(!paths.iter().any(|path| path.is_empty() || path.ends_with("engines")), "{paths:?}");
    // The script's own module, under the name that it has in embedded mode, and nothing of ours.
    let ours = found["ours"].as_array().unwrap();
    assert!(ours.iter().all(|name| name.as_str().unwrap().len() > "_mod_wsgi_".len()), "{ours:?}");
    let environment = found["environment"].as_object().unwrap();
    assert_eq!(environment["FROM_OUTSIDE"], "inherited");
    let known = ["FROM_OUTSIDE", "WSGI_TEST_SERVER", "PATH", "LANG", "LC_CTYPE"];
    let personal = ["HOME", "USER", "LOGNAME", "USERNAME", "SHELL"];
    let others: Vec<&String> = environment
        .keys()
        .filter(|name| !known.contains(&name.as_str()) && !personal.contains(&name.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn children_of_an_application_have_nothing_of_ours() {
    let found = finds(
        "import math, multiprocessing, subprocess
lists = {}
def listed():
    return sorted(int(name) for name in os.listdir('/proc/self/fd'))
ours, theirs = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(theirs, json.dumps(listed()).encode())
    os._exit(0)
os.close(theirs)
with open(ours) as file:
    lists['fork'] = json.load(file)
lists['status'] = os.waitpid(pid, 0)[1]
text = subprocess.check_output(['ls', '/proc/self/fd'], stderr=subprocess.STDOUT)
lists['subprocess'] = sorted(int(word) for word in text.split())
text = subprocess.check_output(['cat', '/proc/self/status'], text=True)
status = dict(line.split(':\\t', 1) for line in text.splitlines() if ':\\t' in line)
lists['signals'] = [int(status[name], 16) for name in ('SigBlk', 'SigIgn', 'SigCgt')]
for method in ('fork', 'spawn'):
    with multiprocessing.get_context(method).Pool(2) as pool:
        lists[method + ' pool'] = pool.map(math.factorial, [3, 4])
return lists",
    );
    for kind in ["fork", "subprocess"] {
        let numbers = found[kind].as_array().unwrap();
        let high = numbers.iter().find(|number| number.as_u64().unwrap() >= 1024);
        assert_eq!(high, None, "{kind} has {numbers:?}");
    }
    assert_eq!(found["status"], 0);
    assert_eq!(found["signals"], json!([0, 0, 0]));
    assert_eq!(found["fork pool"], json!([6, 24]));
    assert_eq!(found["spawn pool"], json!([6, 24]));
}

#[test]
fn a_body_in_a_file_is_for_reading_and_for_nobody_else() {
    let server = serve(
        "source = environ['wsgi.input']
first = source.read(1)
def files():
    found = []
    for name in os.listdir('/proc/self/fd'):
        try:
            target = os.readlink('/proc/self/fd/' + name)
        except OSError:
            continue
        if target.endswith(' (deleted)') and 'memfd' not in target:
            found.append(int(name))
    return found
mine, written = files(), []
for number in mine:
    try:
        written.append(os.pwrite(number, b'x', 0))
    except OSError:
        pass
ours, theirs = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(theirs, json.dumps(files()).encode())
    os._exit(0)
os.close(theirs)
with open(ours) as file:
    child = json.load(file)
os.waitpid(pid, 0)
rest = source.read()
return [[number >= 1024 for number in mine], written, child, len(first) + len(rest)]",
    );
    let body = vec![b'b'; 200 << 10];
    let response = server.post("/", "text/plain", &body).with_status(200).text();
    let found: Value = serde_json::from_str(&response).unwrap();
    assert_eq!(found, json!([[true], [], [], body.len()]));
    // The request before has left nothing behind.
    assert_eq!(self::found(&server), json!([[], [], [], 0]));
    server.stop();
}

#[test]
fn a_forked_child_does_not_hide_the_death_of_its_worker() {
    let server = serve(
        "if environ['PATH_INFO'] == '/':
    return os.getpid()
pid = os.fork()
if pid == 0:
    time.sleep(300)
    os._exit(0)
path = os.path.join(environ['test.dir'], 'forked')
with open(path + '.new', 'w') as file:
    file.write(str(pid))
os.rename(path + '.new', path)
time.sleep(300)",
    );
    let mut connection = server.connect();
    connection.send(head("GET", "/fork", &[], 0)).unwrap();
    let path = server.site().path("notes/forked");
    let forked = wait_for(SOON, || fs::read_to_string(&path).ok()).expect("nothing was forked");
    let forked = Process { pid: forked.parse().unwrap() };
    let worker = forked.parent().unwrap();
    worker.signal(Signal::KILL);
    let killed = Instant::now();
    let response = connection.response("GET").unwrap().with_status(502);
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert!(response.is_complete());
    assert!(forked.lives());
    server.log().expect("terminated by signal 9");
    server.log().expect("WSGI014");
    assert_ne!(found(&server), worker.pid);
    // It has the application's work to do, but is in nobody's way.
    forked.signal(Signal::KILL);
    server.stop();
}

/// A child made behind everybody's back keeps the connections open. What nobody has read is answered
/// by the next process all the same.
#[test]
fn a_request_that_was_not_read_survives_its_worker_and_what_that_has_forked() {
    const SCRIPT: &str = r#"
import ctypes, os, platform, time

def application(environ, start_response):
    path = os.path.join(environ['test.dir'], 'forked')
    if environ['PATH_INFO'] == '/fork':
        clone = {'x86_64': 56, 'aarch64': 220}[platform.machine()]
        if ctypes.CDLL(None).syscall(clone, 17, 0, 0, 0, 0) == 0:
            time.sleep(6)
            os._exit(0)
        open(path, 'w').close()
        time.sleep(60)
    elif environ['PATH_INFO'] == '/slow':
        time.sleep(0.5)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(8);
    let notes = site.writable("notes");
    let server = site
        .conf("WSGIDaemonProcess d threads=1\nWSGIProcessGroup d")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("terminated by signal 9");
    server.log().allow("WSGI014");
    let ask = |path: &str| {
        let mut connection = server.connect();
        connection.send(head("GET", path, &[], 0)).unwrap();
        connection
    };
    // Two connections to the process, each for one of the requests below.
    for mut connection in [ask("/slow"), ask("/slow")] {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    let mut forks = ask("/fork");
    let path = server.site().path("notes/forked");
    assert!(wait_for(SOON, || path.exists().then_some(())).is_some(), "nothing was forked");
    let mut waits = ask("/");
    std::thread::sleep(Duration::from_millis(300));
    let supervisor = server.supervisor();
    let worker = server.workers("d").into_iter().find(|it| it.parent() == Some(supervisor));
    let worker = worker.unwrap();
    worker.signal(Signal::KILL);
    let killed = Instant::now();
    let response = waits.response("GET").unwrap().with_status(200);
    assert_ne!(response.text(), worker.pid.to_string());
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!(forks.response("GET").unwrap().status, 502);
    // It ends by itself.
    let gone = wait_for(SOON, || (server.workers("d").len() == 1).then_some(()));
    assert!(gone.is_some(), "{:?}", server.workers("d"));
    server.stop();
}

#[test]
fn a_forked_child_that_returns_answers_nobody() {
    let server = serve("pid = os.fork()\nreturn {'child': pid, 'process': os.getpid()}");
    let worker = server.worker(GROUP).pid;
    for _ in 0..5 {
        let mut connection = server.connect();
        connection.send(head("GET", "/", &[("Connection", "keep-alive")], 0)).unwrap();
        let response = connection.response("GET").unwrap().with_status(200);
        let found: Value = serde_json::from_slice(&response.body).unwrap();
        assert_ne!(found["child"], 0, "the child has answered");
        assert_eq!(found["process"], worker);
        connection.send(head("GET", "/", &[], 0)).unwrap();
        assert_eq!(connection.response("GET").unwrap().status, 200);
        assert!(connection.rest().unwrap().is_empty());
    }
    server.stop();
}

#[test]
fn several_pythons_and_a_virtual_environment_at_once() {
    const VERSION: &str = "return ['%d.%d' % sys.version_info[:2], sys.prefix, sys.base_prefix]";
    let pythons = matrix::pythons();
    let newest = matrix::python();
    let venv = Venv::with(&newest, &[]);
    let mut site = Site::new(Mpm::Event, &newest);
    let script = format!(
        "import json, sys\ndef found():\n    {VERSION}\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    return [json.dumps(found()).encode()]\n"
    );
    let path = site.write("app.wsgi", script);
    let homes = pythons.iter().map(|python| (python.version.clone(), python.prefix.clone()));
    let homes = homes.chain(venv.iter().map(|venv| (newest.version.clone(), venv.prefix.clone())));
    let homes: Vec<_> = homes.collect();
    for (number, (_, home)) in homes.iter().enumerate() {
        let home = home.display();
        site = site
            .conf(format!("WSGIDaemonProcess g{number} python-home={home}"))
            .conf(format!("WSGIScriptAlias /{number} {} process-group=g{number}", path.display()));
    }
    let server = site.start();
    for _ in 0..2 {
        for (number, (version, home)) in homes.iter().enumerate() {
            let text = server.get(&format!("/{number}")).with_status(200).text();
            let found: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(found[0], *version);
            assert_eq!(found[1], home.to_str().unwrap());
        }
    }
    if let Some(venv) = &venv {
        let base = venv.python.prefix.to_str().unwrap();
        let text = server.get(&format!("/{}", homes.len() - 1)).text();
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found[2], base);
    }
    server.log().allow("Compiled for Python/");
    server.log().allow("Runtime using Python/");
    server.stop();
}
