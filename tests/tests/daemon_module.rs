//! The `mod_wsgi` module in a daemon process: numbers, signals, restrictions, scripts loaded in
//! advance, and the end of the process with its reason.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::fs;
use std::time::Duration;
use tests::process::{Process, wait_for};
use tests::{Mpm, Server, Site, matrix};

/// An application that answers with the value of an expression.
fn answer(statements: &str, expression: &str) -> String {
    format!(
        "import os, signal, sys, threading\nimport apache, mod_wsgi\n{statements}\n\
         def application(environ, start_response):\n\
         \x20   start_response('200 OK', [('X-Pid', str(os.getpid()))])\n\
         \x20   return [repr(({expression})).encode()]\n"
    )
}

/// A site whose requests go to a group with these options.
fn group(site: Site, options: &str) -> Site {
    site.conf(format!("WSGIDaemonProcess d {options}\nWSGIProcessGroup d"))
}

fn worker(server: &Server) -> Process {
    let response = server.get("/").with_status(200);
    Process { pid: response.header("X-Pid").unwrap().parse().unwrap() }
}

/// Code that writes lines to `app/out.txt`.
const NOTE: &str = "
def note(text):
    out = os.path.join(os.path.dirname(__file__), 'out.txt')
    out = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(out, ('%s: %s\\n' % (mod_wsgi.application_group or 'main', text)).encode())
    os.close(out)
";

/// What was written there, once there are so many lines.
fn noted(server: &Server, lines: usize) -> Vec<String> {
    let path = server.site().path("app/out.txt");
    let read = || fs::read_to_string(&path).unwrap_or_default();
    let enough = || (read().lines().count() >= lines).then_some(());
    wait_for(Duration::from_secs(15), enough);
    read().lines().map(str::to_owned).collect()
}

#[test]
fn numbers_are_those_of_the_group_and_of_the_server() {
    matrix::for_each_cell(|cell| {
        let site = group(Site::new(cell.mpm, &cell.python).one_child(5), "processes=2 threads=3");
        let expression = "mod_wsgi.process_group, mod_wsgi.maximum_processes, \
                          mod_wsgi.threads_per_process, apache.threads_per_process, \
                          apache.mpm_name, environ['wsgi.multiprocess'], \
                          environ['wsgi.multithread'], threading.current_thread().daemon, \
                          threading.current_thread() is threading.main_thread(), sys.argv, \
                          1 <= environ['mod_wsgi.thread_id'] <= 3";
        let server = site.mount("/", "app.wsgi", &answer("", expression)).start();
        let threads = if cell.mpm.threaded() { 5 } else { 1 };
        let wanted = format!(
            "('d', 2, 3, {threads}, '{}', True, True, True, False, ['mod_wsgi'], True)",
            cell.mpm
        );
        assert_eq!(server.get("/").text(), wanted);
        server.stop();
    });
}

#[test]
fn signals_are_told_to_every_interpreter() {
    matrix::for_each_cell(|cell| {
        let mut site = group(Site::new(cell.mpm, &cell.python), "threads=2");
        site.writable("app");
        let statements = format!(
            "{NOTE}
@mod_wsgi.subscribe_signals
def told(name, **event): note('%s %r' % (name, sorted(event.items())))
@mod_wsgi.subscribe_events
def event(name, **event):
    if name.startswith('process'): note(name)
"
        );
        let path = site.write("app/app.wsgi", answer(&statements, "mod_wsgi.signal_callbacks"));
        for (url, group) in [("/named", "named"), ("/", "%{GLOBAL}")] {
            let alias = format!("WSGIScriptAlias {url} \"{}\"", path.display());
            site = site.conf(format!("{alias} application-group={group}"));
        }
        let server = site.start();
        assert!(server.get("/named").text().contains("function told"));
        let worker = worker(&server);
        for (signal, name, number) in [(Signal::HUP, "SIGHUP", 1), (Signal::USR2, "SIGUSR2", 12)] {
            let before = noted(&server, 0).len();
            worker.signal(signal);
            let mut found = noted(&server, before + 4).split_off(before);
            found.sort();
            let told = format!(
                "process_signal [('generation', 1), ('signame', '{name}'), ('signum', {number})]"
            );
            let wanted = [
                "main: process_signal".to_owned(),
                format!("main: {told}"),
                "named: process_signal".to_owned(),
                format!("named: {told}"),
            ];
            assert_eq!(found, wanted, "{}", server.log().text());
        }
        assert_eq!(self::worker(&server), worker, "a signal ended it");
        server.stop();
    });
}

#[test]
fn the_end_of_a_process_has_a_reason_and_an_order() {
    for (options, reason) in
        [("threads=1", "shutdown_signal"), ("maximum-requests=2", "maximum_requests")]
    {
        matrix::for_each_cell(|cell| {
            let site = group(Site::new(cell.mpm, &cell.python), options);
            site.writable("app");
            let statements = format!(
                "{NOTE}
import atexit
mod_wsgi.subscribe_events(lambda name, **event: name == 'process_stopping' and note(name))
mod_wsgi.subscribe_shutdown(lambda name, **event: note('%s %r %s' % (
    name, event, threading.current_thread() is threading.main_thread())))
atexit.register(note, 'atexit')
"
            );
            let server = site.mount("/", "app/app.wsgi", &answer(&statements, "1")).start();
            let worker = worker(&server);
            if reason == "shutdown_signal" {
                worker.signal(Signal::TERM);
            } else {
                assert_eq!(server.get("/").text(), "1");
            }
            let found = noted(&server, 3);
            let group = found[0].split_once(": ").unwrap().0.to_owned();
            let wanted = [
                format!("{group}: process_stopping"),
                format!(
                    "{group}: process_stopping {{'shutdown_reason': '{reason}', 'generation': 1}} True"
                ),
                format!("{group}: atexit"),
            ];
            assert_eq!(found[..3], wanted);
            server.stop();
        });
    }
}

#[test]
fn import_scripts_run_once_in_each_process_of_their_group() {
    matrix::for_each_cell(|cell| {
        let site = group(Site::new(cell.mpm, &cell.python), "processes=2 threads=2");
        site.writable("app");
        let statements = format!(
            "{NOTE}
try: data = mod_wsgi.request_data()
except RuntimeError as error: data = error
note('%s %s %s' % (mod_wsgi.process_group, threading.current_thread() is threading.main_thread(), data))
"
        );
        let path = site.write("app/import.py", answer(&statements, "1"));
        let options = "process-group=d application-group=%{GLOBAL}";
        let server =
            site.conf(format!("WSGIImportScript \"{}\" {options}", path.display())).start();
        let line = "main: d True no active request for thread";
        assert_eq!(noted(&server, 2), [line, line]);
        server.stop();
    });
}

#[test]
fn restrictions_hold_in_daemon_processes() {
    matrix::for_each_cell(|cell| {
        let statements = "
def attempt(function, *args):
    try: return function(*args)
    except OSError as error: return str(error)
";
        let expression = "attempt(lambda: sys.stdin.read), attempt(print, 'x'), \
                          signal.signal(signal.SIGUSR2, print) is print, \
                          signal.getsignal(signal.SIGUSR2) is print, \
                          type(signal.signal).__name__";
        let server = group(Site::new(cell.mpm, &cell.python), "threads=1")
            .conf("WSGIRestrictStdin On\nWSGIRestrictStdout On")
            .mount("/", "app.wsgi", &answer(statements, expression))
            .start();
        let wanted = "('sys.stdin access restricted by mod_wsgi', \
                      'sys.stdout access restricted by mod_wsgi', False, False, 'SignalIntercept')";
        assert_eq!(server.get("/").text(), wanted);
        let line = server.log().expect("Ignoring Python signal handler registration for signal 12");
        assert_eq!(line.level, "info");
        server.stop();
    });
}

#[test]
fn a_handler_logs_with_the_request() {
    let statements = "
import logging
log = logging.getLogger('x')
log.addHandler(mod_wsgi.LogHandler())
log.setLevel('DEBUG')
threading.Thread(target=log.warning, args=('from a thread',)).start()
";
    let expression = "log.critical('critical'), log.info('info'), log.debug('debug')";
    let server = group(Site::new(Mpm::Event, &matrix::python()), "threads=1")
        .mount("/", "app.wsgi", &answer(statements, expression))
        .start();
    assert_eq!(server.get("/").text(), "(None, None, None)");
    for (text, level) in [("critical", "crit"), ("info", "info")] {
        let line = server.log().expect(&format!("app.wsgi] {text}"));
        assert_eq!(line.level, level);
    }
    let line = server.log().expect("from a thread");
    assert_eq!((line.level.as_str(), line.rest.as_str()), ("warn", "from a thread"));
    server.log().refuse("app.wsgi] debug");
    server.stop();
}

#[test]
fn variables_of_one_request_do_not_reach_the_next() {
    let statements = "
import contextvars
variable = contextvars.ContextVar('v', default=0)
def raised():
    variable.set(variable.get() + 1)
    mod_wsgi.request_data()['x'] = mod_wsgi.request_data().get('x', 0) + 1
    return variable.get(), mod_wsgi.request_data()['x'], len(mod_wsgi.active_requests)
";
    let server = group(Site::new(Mpm::Event, &matrix::python()), "threads=1")
        .mount("/", "app.wsgi", &answer(statements, "raised()"))
        .start();
    for _ in 0..3 {
        assert_eq!(server.get("/").text(), "(1, 1, 1)");
    }
    server.stop();
}

/// What goes wrong shows at the server's own default, `LogLevel warn`; what was planned does not.
#[test]
fn what_ends_a_process_by_force_is_a_warning() {
    let slow = answer("import time", "environ['QUERY_STRING'] and time.sleep(30)");
    for (options, reason, level) in [
        ("threads=1 request-timeout=1 shutdown-timeout=1", "request_timeout", "warn"),
        ("threads=1 maximum-requests=1", "maximum_requests", "info"),
    ] {
        let server = group(Site::new(Mpm::Event, &matrix::python()), options)
            .mount("/", "app.wsgi", &slow)
            .start();
        if level == "warn" {
            assert!(server.get("/?wait").status >= 500);
        } else {
            assert_eq!(server.get("/").status, 200);
        }
        let line = server.log().expect(&format!("is being replaced: {reason}"));
        assert_eq!(line.level, level, "{}", line.raw);
        server.log().allow("[wsgi:");
        server.stop();
    }
}
