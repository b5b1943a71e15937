//! The `mod_wsgi` and `apache` modules inside a real server, and the package of the same name.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::process::wait_for;
use tests::{Mpm, Python, Server, Site, matrix};

/// An application that answers with the value of an expression.
fn answer(statements: &str, expression: &str) -> String {
    format!(
        "import sys, threading, time\nimport apache, mod_wsgi\n{statements}\n\
         def application(environ, start_response):\n\
         \x20   start_response('200 OK', [])\n    return [repr(({expression})).encode()]\n"
    )
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("python")
}

/// Writes a copy of the package where the server's children can read it, with a sub-package.
fn copy_package(site: &Site, directory: &str, sub: &str, text: &str) -> String {
    let init = std::fs::read_to_string(package().join("mod_wsgi/__init__.py")).unwrap();
    site.write(&format!("{directory}/mod_wsgi/__init__.py"), init);
    site.write(&format!("{directory}/mod_wsgi/{sub}/__init__.py"), text);
    site.path(directory).display().to_string()
}

#[test]
fn numbers_of_processes_and_threads_are_those_of_the_server() {
    matrix::for_each_cell(|cell| {
        let expression = "apache.mpm_name, apache.threads_per_process, \
                          mod_wsgi.threads_per_process == apache.threads_per_process, \
                          mod_wsgi.maximum_processes == apache.maximum_processes, \
                          apache.maximum_processes >= 1, mod_wsgi.version, \
                          apache.version == environ['apache.version'], \
                          apache.description.startswith('Apache/2.4.')";
        let site = Site::new(cell.mpm, &cell.python).one_child(3);
        let server = site.mount("/", "app.wsgi", &answer("", expression)).start();
        let threads = if cell.mpm.threaded() { 3 } else { 1 };
        let wanted =
            format!("('{}', {threads}, True, True, True, (6, 1, 1), True, True)", cell.mpm);
        assert_eq!(server.get("/").text(), wanted);
        server.stop();
    });
}

#[test]
fn threads_are_named_as_python_names_what_it_did_not_start() {
    matrix::for_each_cell(|cell| {
        let expression = "threading.current_thread().name, type(threading.current_thread()).__name__, \
                          threading.current_thread().daemon, threading.main_thread().name, \
                          environ['mod_wsgi.thread_id']";
        let site = Site::new(cell.mpm, &cell.python).one_child(1);
        let server = site.mount("/", "app.wsgi", &answer("", expression)).start();
        let found = server.get("/").text();
        if cell.mpm.threaded() {
            // Python counts them; which number the first gets is its own business.
            let (name, rest) = found.split_once(", ").unwrap();
            assert!(name.starts_with("('Dummy-"), "{found}");
            assert_eq!(rest, "'_DummyThread', True, 'MainThread', 1)");
        } else {
            assert_eq!(found, "('MainThread', '_MainThread', False, 'MainThread', 0)");
        }
        server.stop();
    });
}

#[test]
fn requests_have_data_of_their_own() {
    let statements = "
seen = []
def other():
    try: mod_wsgi.request_data()
    except RuntimeError as error: seen.append(str(error))
@mod_wsgi.subscribe_events
def event(name, **event):
    if name == 'request_started': event['request_data']['event'] = event['request_id']
    if name == 'request_finished': seen.append(sorted(event['request_data']))
import_time = mod_wsgi.request_data()
";
    let expression = "mod_wsgi.request_data()['event'] == environ['mod_wsgi.request_id'], \
                      mod_wsgi.active_requests[environ['mod_wsgi.request_id']] is mod_wsgi.request_data(), \
                      len(mod_wsgi.active_requests), import_time is mod_wsgi.request_data(), \
                      mod_wsgi.request_data().setdefault('mine'), \
                      [t.start() or t.join() for t in [threading.Thread(target=other)]], seen";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let server = site.mount("/", "app.wsgi", &answer(statements, expression)).start();
    let no = "'no active request for thread'";
    assert_eq!(server.get("/").text(), format!("(True, True, 1, True, None, [None], [{no}])"));
    let keys = "['event', 'mine']";
    let wanted = format!("(True, True, 1, False, None, [None], [{no}, {keys}, {no}])");
    assert_eq!(server.get("/").text(), wanted);
    server.stop();
}

#[test]
fn all_active_requests_can_be_seen() {
    let statements = "gate = threading.Event()";
    let expression = "gate.wait(20) if environ['QUERY_STRING'] == 'wait' else \
                      (gate.set() if len(mod_wsgi.active_requests) == 4 else None, \
                       len(mod_wsgi.active_requests))";
    let site = Site::new(Mpm::Worker, &matrix::python()).one_child(8);
    let server = site.mount("/", "app.wsgi", &answer(statements, expression)).start();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(server.get("/?wait").text(), "True"));
        }
        let all = wait_for(Duration::from_secs(10), || {
            (server.get("/").text() == "(None, 4)").then_some(())
        });
        assert!(all.is_some());
    });
    // What went through left nothing behind.
    assert_eq!(server.get("/").text(), "(None, 1)");
    server.stop();
}

/// A thread that served a sub-interpreter serves the main one next.
#[test]
fn python_api_01_a_thread_finds_its_way_back_to_the_main_interpreter() {
    matrix::for_each_cell(|cell| {
        let mut site = Site::new(cell.mpm, &cell.python).one_child(1);
        let path = site.write(
            "app.wsgi",
            answer("", "mod_wsgi.application_group, environ['mod_wsgi.application_group'], __name__ in sys.modules"),
        );
        for (url, group) in [("/main", "%{GLOBAL}"), ("/one", "one"), ("/two", "two")] {
            let alias = format!("WSGIScriptAlias {url} \"{}\"", path.display());
            site = site.conf(format!("{alias} application-group={group}"));
        }
        let server = site.start();
        for url in ["/main", "/one", "/main", "/two", "/one", "/main", "/two", "/main"] {
            let name = if url == "/main" { "" } else { &url[1..] };
            assert_eq!(server.get(url).text(), format!("('{name}', '{name}', True)"), "{url}");
        }
        server.stop();
    });
}

#[test]
fn subscribing_to_signals_in_embedded_mode_says_that_there_are_none() {
    let statements = "
def callback(name, **event): pass
result = mod_wsgi.subscribe_signals(callback) is callback
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let server = site
        .mount("/", "app.wsgi", &answer(statements, "result, mod_wsgi.signal_callbacks"))
        .start();
    assert_eq!(server.get("/").text(), "(True, [])");
    let line = server.log().expect("mod_wsgi.subscribe_signals() called outside daemon mode");
    assert_eq!(line.level, "info");
    let line = server.log().expect("result = mod_wsgi.subscribe_signals(callback)");
    assert_eq!(line.level, "info");
    server.stop();
}

#[test]
fn callbacks_that_fail_do_not_hurt() {
    let statements = "
@mod_wsgi.subscribe_events
def bad(name, **event): raise ValueError(name)
@mod_wsgi.subscribe_events
def worse(name, **event): sys.exit(name)
mod_wsgi.subscribe_events(123)
seen = []
@mod_wsgi.subscribe_events
def good(name, **event): seen.append(name)
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let server = site.mount("/", "app.wsgi", &answer(statements, "seen")).start();
    assert_eq!(server.get("/").text(), "['request_started', 'response_started']");
    for name in ["request_started", "response_started", "request_finished"] {
        for (code, class) in
            [("WSGI0112", "ValueError"), ("WSGI0190", "SystemExit"), ("WSGI0112", "TypeError")]
        {
            let text = format!("{code}: {class} exception raised by event callback for '{name}'");
            let line = server.log().expect(&text);
            assert_eq!(line.level, "error");
            assert!(!line.raw.contains("[client"), "{}", line.raw);
        }
    }
    server.log().allow("[wsgi:error]");
    server.stop();
}

#[test]
fn middleware_can_be_put_around_an_application() {
    let statements = "
@mod_wsgi.subscribe_events
def wrap(name, **event):
    if name != 'request_started': return
    def wrapped(environ, start_response):
        environ['wrapped'] = 'yes'
        return event['application_object'](environ, start_response)
    return {'application_object': wrapped, 'unknown': 1}
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let server = site.mount("/", "app.wsgi", &answer(statements, "environ.get('wrapped')")).start();
    assert_eq!(server.get("/").text(), "'yes'");
    server.stop();
}

/// Raised by the application itself: nothing else raises it in embedded mode.
#[test]
fn d20_a_request_that_is_timed_out_has_the_servers_own_page() {
    let statements = "
seen = []
@mod_wsgi.subscribe_events
def event(name, **event): seen.append((name, event.get('status')))
def stop(): raise mod_wsgi.RequestTimeout('too long')
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let expression = "stop() if environ['QUERY_STRING'] else seen[:-2]";
    let server = site
        .conf("ErrorDocument 504 \"it took too long\"")
        .mount("/", "app.wsgi", &answer(statements, expression))
        .start();
    let response = server.get("/?stop");
    // As here it is raised after `start_response`, of which nothing was sent.
    assert_eq!((response.status, response.text().as_str()), (504, "it took too long"));
    let line = server.log().expect("Request interrupted by RequestTimeout; thread recovered.");
    assert_eq!(line.level, "info");
    let events = "('request_started', None), ('response_started', None), ('request_finished', 504)";
    assert_eq!(server.get("/").text(), format!("[{events}]"));
    server.log().refuse("[wsgi:error]");
    server.stop();
}

#[test]
fn lists_of_callbacks_may_be_lost() {
    let statements = "
failures = []
del mod_wsgi.event_callbacks
mod_wsgi.shutdown_callbacks = None
for subscribe in (mod_wsgi.subscribe_events, mod_wsgi.subscribe_shutdown):
    try: subscribe(print)
    except RuntimeError as error: failures.append(str(error))
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let server = site.mount("/", "app.wsgi", &answer(statements, "failures")).start();
    let missing = "['mod_wsgi event_callbacks not initialised', 'mod_wsgi shutdown_callbacks not initialised']";
    assert_eq!(server.get("/").text(), missing);
    server.log().allow("WSGI0114: Unable to find event subscribers.");
    server.stop();
}

#[test]
fn d36_context_variables_do_not_leak() {
    let statements = "
import contextvars
variable, local = contextvars.ContextVar('v', default=0), threading.local()
def raised():
    variable.set(variable.get() + 1)
    local.count = getattr(local, 'count', 0) + 1
    return variable.get(), local.count
";
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(1);
        let server = site.mount("/", "app.wsgi", &answer(statements, "raised()")).start();
        // Locals of a thread last as long as it does.
        for count in 1..4 {
            assert_eq!(server.get("/").text(), format!("(1, {count})"));
        }
        server.stop();
    });
}

#[test]
fn the_package_and_the_module_are_one_inside() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python);
        let first = copy_package(&site, "lib/one", "extra", "name = 'extra'");
        // As of another distribution: a package of the same name beside it.
        let second = copy_package(&site, "lib/two", "telemetry", "name = 'telemetry'");
        let statements = "
import mod_wsgi.extra, mod_wsgi.telemetry
try: import mod_wsgi.nothing
except ModuleNotFoundError as error: missing = str(error)
";
        let expression = "mod_wsgi.version, mod_wsgi.extra.name, mod_wsgi.telemetry.name, missing, \
                          [p.rsplit('/', 2)[1] for p in mod_wsgi.__path__], \
                          hasattr(mod_wsgi, '__file__'), mod_wsgi is sys.modules['mod_wsgi']";
        let server = site
            .env("PYTHONPATH", &format!("{first}:{second}"))
            .mount("/", "app.wsgi", &answer(statements, expression))
            .start();
        let wanted = "((6, 1, 1), 'extra', 'telemetry', \"No module named 'mod_wsgi.nothing'\", \
                      ['one', 'two'], False, True)";
        assert_eq!(server.get("/").text(), wanted);
        let line = server.log().expect("Imported existing 'mod_wsgi' Python extension module.");
        assert_eq!(line.level, "info");
        server.stop();
    });
}

#[test]
fn without_a_package_the_module_is_alone() {
    let statements = "
try: import mod_wsgi.express
except ModuleNotFoundError as error: missing = str(error)
";
    let site = Site::new(Mpm::Event, &matrix::python());
    let expression = "missing, hasattr(mod_wsgi, '__path__')";
    let server = site.mount("/", "app.wsgi", &answer(statements, expression)).start();
    let text = server.get("/").text();
    assert!(text.contains("'mod_wsgi' is not a package"), "{text}");
    assert!(text.ends_with(", False)"), "{text}");
    server.stop();
}

#[test]
fn a_broken_package_is_logged_and_left_out() {
    for (text, code) in
        [("raise ValueError('broken')", "WSGI0188: ValueError"), ("exit()", "WSGI0189: SystemExit")]
    {
        let site = Site::new(Mpm::Event, &matrix::python());
        site.write("lib/mod_wsgi/__init__.py", text);
        let lib = site.path("lib").display().to_string();
        let server = site
            .env("PYTHONPATH", &lib)
            .mount("/", "app.wsgi", &answer("", "mod_wsgi.version"))
            .start();
        assert_eq!(server.get("/").text(), "(6, 1, 1)");
        let line = server.log().expect(code);
        assert_eq!(line.level, "error");
        server.log().allow("[wsgi:error]");
        server.stop();
    }
}

fn outside(python: &Python, code: &str) -> String {
    let output = Command::new(python.executable())
        .args(["-c", code])
        .env("PYTHONPATH", package())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

#[test]
fn outside_of_the_server_there_is_only_the_package() {
    matrix::for_each_python(|python| {
        let code = "
import mod_wsgi, mod_wsgi.express
print(hasattr(mod_wsgi, 'version'), hasattr(mod_wsgi, '__path__'))
try: from mod_wsgi import version
except ImportError as error: print('ImportError')
try: import apache
except ModuleNotFoundError as error: print(error)
";
        let wanted = "False True\nImportError\nNo module named 'apache'";
        assert_eq!(outside(python, code), wanted);
    });
}

/// What the callbacks and functions of a process wrote at its end.
fn at_end(site: Site, requests: &[&str]) -> (String, Server) {
    site.writable("app");
    let script = "
import atexit, os, threading
import mod_wsgi
def note(text):
    with open(os.path.join(os.path.dirname(__file__), 'end.txt'), 'a') as file:
        file.write('%s: %s\\n' % (mod_wsgi.application_group or 'main', text))
mod_wsgi.subscribe_events(lambda name, **event: name == 'process_stopping' and note('event'))
mod_wsgi.subscribe_shutdown(lambda name, **event: note('%s %r' % (name, event)))
atexit.register(note, 'atexit')
def work():
    stop.wait()
    note('thread')
stop = threading.Event()
# Without saying so it would be as the thread that imports this: a daemon.
threading.Thread(target=work, daemon=False).start()
mod_wsgi.subscribe_shutdown(lambda name, **event: stop.set())
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'ok']
";
    let path = site.write("app/app.wsgi", script);
    let mut site = site.one_child(1);
    for (url, group) in [("/named", "named"), ("/", "%{GLOBAL}")] {
        let alias = format!("WSGIScriptAlias {url} \"{}\"", path.display());
        site = site.conf(format!("{alias} application-group={group}"));
    }
    let mut server = site.start();
    for url in requests {
        assert_eq!(server.get(url).text(), "ok");
    }
    let child = server.children()[0];
    // Gracefully: a child of the event MPM that is told to stop may crash (see `Server`).
    server.log().allow("scoreboard is full");
    server.graceful();
    wait_for(Duration::from_secs(10), || child.stats().is_none().then_some(()));
    let text = std::fs::read_to_string(server.site().path("app/end.txt")).unwrap_or_default();
    (text, server)
}

const STOPPING: &str = "process_stopping {'shutdown_reason': ''}";

#[test]
fn a_process_ends_in_order() {
    matrix::for_each_cell(|cell| {
        let (text, server) = at_end(Site::new(cell.mpm, &cell.python), &["/named", "/"]);
        let wanted = format!(
            "main: event\nmain: {STOPPING}\nnamed: event\nnamed: {STOPPING}\n\
             named: thread\nnamed: atexit\nmain: thread\nmain: atexit\n"
        );
        let mut found: Vec<&str> = text.lines().collect();
        // Threads end when they are told to, `atexit` functions wait for them.
        let position = |line: &str| {
            let at = found.iter().position(|found| *found == line);
            at.unwrap_or_else(|| panic!("no '{line}' in\n{text}\n{}", server.log().text()))
        };
        assert!(position("named: thread") < position("named: atexit"), "{text}");
        assert!(position("main: thread") < position("main: atexit"), "{text}");
        assert!(position("named: atexit") < position("main: atexit"), "{text}");
        assert!(position("main: event") < position(&format!("main: {STOPPING}")), "{text}");
        assert!(position(&format!("named: {STOPPING}")) < position("named: atexit"), "{text}");
        let mut wanted: Vec<&str> = wanted.lines().collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted);
        server.stop();
    });
}

#[test]
fn without_destruction_only_callbacks_run() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).conf("WSGIDestroyInterpreter Off");
        let (text, server) = at_end(site, &["/"]);
        let found: Vec<&str> = text.lines().filter(|line| !line.ends_with("thread")).collect();
        assert_eq!(found, ["main: event", &format!("main: {STOPPING}")]);
        server.stop();
    });
}

#[test]
fn a_callback_that_hangs_does_not_hold_up_the_end() {
    matrix::for_each_mpm(|mpm| {
        let statements = "mod_wsgi.subscribe_shutdown(lambda name, **event: time.sleep(600))";
        let site = Site::new(mpm, &matrix::python()).one_child(1);
        let mut server = site.mount("/", "app.wsgi", &answer(statements, "1")).start();
        assert_eq!(server.get("/").text(), "1");
        let child = server.children()[0];
        // Gracefully, so that nobody kills it.
        server.log().allow("scoreboard is full");
        server.graceful();
        let gone = wait_for(Duration::from_secs(10), || child.stats().is_none().then_some(()));
        assert!(gone.is_some(), "the child is still there");
        let line = server.log().expect("WSGI1105: Python was not shut down completely");
        assert_eq!((line.level.as_str(), line.pid()), ("warn", Some(child.pid)));
        server.stop();
    });
}
