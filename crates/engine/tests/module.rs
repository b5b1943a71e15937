//! The `mod_wsgi` and `apache` modules, streams, events and signals.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::thread;

use common::{Ask, Response, Site, errors, log, scenario};
use engine_api::{Bytes, InterpreterOptions, Load, Slice, Switch};

/// A script that answers with the value of an expression, after statements.
fn answer(statements: &str, expression: &str) -> String {
    format!(
        "
{statements}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(({expression})).encode()]
"
    )
}

#[test]
fn attributes() {
    scenario("attributes", || {
        let site = Site::new();
        site.script("app.wsgi", 10, &answer("import mod_wsgi, apache", "eval(environ['QUERY'])"));
        for (group, query, expected) in [
            ("", "mod_wsgi.version", "(6, 1, 1)"),
            ("", "mod_wsgi.process_group, mod_wsgi.application_group", "('', '')"),
            ("a|b", "mod_wsgi.process_group, mod_wsgi.application_group", "('', 'a|b')"),
            ("", "mod_wsgi.maximum_processes, mod_wsgi.threads_per_process", "(3, 25)"),
            (
                "",
                "mod_wsgi.event_callbacks, mod_wsgi.shutdown_callbacks, mod_wsgi.signal_callbacks",
                "([], [], [])",
            ),
            ("", "mod_wsgi.FileWrapper is environ['wsgi.file_wrapper']", "True"),
            ("x", "mod_wsgi.RequestTimeout.__bases__", "(<class 'BaseException'>,)"),
            ("x", "mod_wsgi.RequestTimeout.__module__", "mod_wsgi"),
            (
                "",
                "mod_wsgi.LogHandler.__mro__[1].__name__, mod_wsgi.LogHandler.__doc__",
                "('Handler', None)",
            ),
            ("", "mod_wsgi.LogHandler is mod_wsgi.LogHandler", "True"),
            (
                "x",
                "'LogHandler' in dir(mod_wsgi), [n for n in dir(mod_wsgi) if 'attr' in n or 'dir' in n]",
                "(True, [])",
            ),
            // Megabytes that an application may never need.
            ("x", "[n for n in ('logging', 'traceback') if n in __import__('sys').modules]", "[]"),
            (
                "x",
                "[getattr(mod_wsgi, n) for n in ('__name__','__doc__','__package__','__loader__','__spec__')]",
                "['mod_wsgi', None, None, None, None]",
            ),
            ("x", "hasattr(mod_wsgi, '__file__'), hasattr(mod_wsgi, '__path__')", "(False, False)"),
            (
                "",
                "apache.version, apache.description, apache.mpm_name, apache.build_date",
                "((2, 4, 99), 'Apache/2.4.99', 'event', 'today')",
            ),
            ("", "apache.maximum_processes, apache.threads_per_process", "(3, 25)"),
            ("", "__import__('sys').argv", "['mod_wsgi']"),
            (
                "",
                "environ['mod_wsgi.version'], environ['apache.version'], environ['mod_wsgi.process_group']",
                "((6, 1, 1), (2, 4, 99), '')",
            ),
            (
                "g",
                "environ['mod_wsgi.application_group'], environ['mod_wsgi.callable_object']",
                "('g', 'application')",
            ),
            (
                "",
                "environ['mod_wsgi.request_id'], 'mod_wsgi.connection_id' in environ",
                "('id1', False)",
            ),
            (
                "",
                "environ['mod_wsgi.request_start'], environ['mod_wsgi.queue_start']",
                "(1700000000.5, 0.0)",
            ),
            (
                "",
                "type(environ['mod_wsgi.thread_id']), environ['mod_wsgi.thread_id'] > 0",
                "(<class 'int'>, True)",
            ),
            ("", "type(environ['mod_wsgi.application_start'])", "<class 'float'>"),
            ("", "'apache.request_rec' in environ", "False"),
        ] {
            let mut ask = Ask::new(&site, "app.wsgi").group(group);
            ask.environ.push(("QUERY", query));
            assert_eq!(ask.send().text(), expected, "{query}");
        }
    });
}

/// The package from PyPI of the same name lends its `__path__`.
#[test]
fn packages_of_the_same_names_are_joined() {
    scenario("packages_of_the_same_names_are_joined", || {
        let packages = tempfile::tempdir().unwrap();
        let root = packages.path();
        fs::create_dir(root.join("mod_wsgi")).unwrap();
        let init = "import pkgutil; __path__ = pkgutil.extend_path(__path__, __name__); x = 1";
        fs::write(root.join("mod_wsgi/__init__.py"), init).unwrap();
        fs::write(root.join("mod_wsgi/extra.py"), "from mod_wsgi import version").unwrap();
        fs::write(root.join("apache.py"), "mine = 1").unwrap();
        // SAFETY: no other thread looks at the environment.
        unsafe { std::env::set_var("PYTHONPATH", root) };
        let site = Site::new();
        let statements = "import mod_wsgi.extra, apache";
        let expression = "mod_wsgi.extra.version, mod_wsgi.__path__, hasattr(mod_wsgi, 'x'), apache.mine, apache.version";
        site.script("app.wsgi", 10, &answer(statements, expression));
        let path = root.join("mod_wsgi").display().to_string();
        let expected = format!("((6, 1, 1), ['{path}'], False, 1, (2, 4, 99))");
        assert_eq!(site.get("app.wsgi").text(), expected);
        assert_eq!(Ask::new(&site, "app.wsgi").group("x").send().text(), expected);
        let lines = log();
        let count = |text: &str| lines.iter().filter(|line| line.ends_with(text)).count();
        assert_eq!(count("Imported existing 'mod_wsgi' Python extension module."), 1);
        assert_eq!(count("Imported 'apache' extension module."), 2);
    });
}

#[test]
fn broken_package_of_the_same_name_is_logged_and_ignored() {
    scenario("broken_package_of_the_same_name_is_logged_and_ignored", || {
        let packages = tempfile::tempdir().unwrap();
        fs::write(packages.path().join("mod_wsgi.py"), "1 / 0").unwrap();
        // SAFETY: no other thread looks at the environment.
        unsafe { std::env::set_var("PYTHONPATH", packages.path()) };
        let site = Site::new();
        let lines = errors();
        assert_eq!(
            lines[0],
            "Error WSGI0188: ZeroDivisionError exception raised during Python interpreter initialisation for main interpreter in embedded mode."
        );
        site.script("app.wsgi", 10, &answer("import mod_wsgi", "mod_wsgi.version"));
        assert_eq!(site.get("app.wsgi").text(), "(6, 1, 1)");
    });
}

#[test]
fn output_goes_to_the_log_of_the_request() {
    scenario("output_goes_to_the_log_of_the_request", || {
        let site = Site::new();
        let statements = "
import sys, threading
print('importing')
def body():
    print('from a thread')
    print('no newline', end='')
";
        let expression = "[print('out'), sys.stderr.write('err\\n'), environ['wsgi.errors'].write('errors\\n'), print('a', end=''), t(body)]";
        let statements = format!(
            "{statements}\ndef t(f):\n    x = threading.Thread(target=f); x.start(); x.join()\n"
        );
        let path = site.script("app.wsgi", 10, &answer(&statements, expression));
        let path = path.display();
        site.get("app.wsgi").text();
        let script = format!("Error [script {path}]");
        let mut lines = errors();
        lines.sort();
        let mut expected = vec![
            "Error from a thread".to_owned(),
            "Error importing".to_owned(),
            format!("{script} a"),
            format!("{script} err"),
            format!("{script} errors"),
            format!("{script} out"),
        ];
        expected.sort();
        assert_eq!(
            lines.iter().filter(|line| !line.contains("no newline")).cloned().collect::<Vec<_>>(),
            expected
        );
    });
}

#[test]
fn streams_can_be_restricted() {
    scenario("streams_can_be_restricted", || {
        let options = [InterpreterOptions {
            restrict_stdin: Switch::On,
            restrict_stdout: Switch::On,
            restrict_signal: Switch::Off,
            ..InterpreterOptions::NONE
        }];
        let site =
            Site::with(|start, _| start.interpreters = Slice::new(Box::leak(Box::new(options))));
        let statements = "
import sys, signal
def error(f):
    try: return f()
    except OSError as e: return str(e)
";
        let expression = "error(lambda: sys.stdin.read()), error(lambda: print('x')), type(signal.signal).__name__, error(lambda: sys.stderr.write('fine\\n'))";
        site.script("app.wsgi", 10, &answer(statements, expression));
        assert_eq!(
            site.get("app.wsgi").text(),
            "('sys.stdin access restricted by mod_wsgi', 'sys.stdout access restricted by mod_wsgi', 'function', 5)"
        );
    });
}

#[test]
fn d35_signal_returns_the_previous_handler() {
    scenario("d35_signal_returns_the_previous_handler", || {
        let site = Site::new();
        let statements = "
import signal, os
def handler(*args): pass
def call():
    before = signal.getsignal(signal.SIGUSR2)
    result = signal.signal(signalnum=signal.SIGUSR2, handler=handler)
    child = os.fork() if False else None
    return result is before, signal.getsignal(signal.SIGUSR2) is before
def error(*args, **kwargs):
    try: signal.signal(*args, **kwargs)
    except Exception as e: return f'{type(e).__name__}: {e}'
";
        let expression = "call(), type(signal.signal), error(), error(1, 2, 3), error(1, x=2), error(-1, handler)";
        let path = site.script("app.wsgi", 10, &answer(statements, expression));
        log();
        assert_eq!(
            site.get("app.wsgi").text(),
            "((True, True), <class 'mod_wsgi.SignalIntercept'>, \
             'TypeError: signal() takes exactly 2 arguments (0 given)', \
             'TypeError: signal() takes exactly 2 arguments (3 given)', \
             \"TypeError: signal() got an unexpected keyword argument 'x'\", \
             'ValueError: signal number out of range')"
        );
        let lines = log();
        let path = path.display();
        assert!(lines.contains(&format!("Info [script {path}] Ignoring Python signal handler registration for signal 12 in WSGI process; mod_wsgi manages signals.")), "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!("File \"{path}\"")) && line.contains("in call")),
            "{lines:?}"
        );
    });
}

#[test]
fn log_handler() {
    scenario("log_handler", || {
        let site = Site::new();
        let statements = "
import logging, mod_wsgi, threading, io, sys
log = logging.getLogger('x'); log.setLevel(1)
log.addHandler(mod_wsgi.LogHandler()); log.propagate = False
log.warning('importing')
def use():
    for level in (60, 50, 40, 30, 20, 10, 1): log.log(level, 'level %d', level)
    log.error('one\\n\\ntwo\\n'); log.error('')
    t = threading.Thread(target=log.error, args=['elsewhere']); t.start(); t.join()
def broken():
    old, sys.stderr = sys.stderr, io.StringIO()
    try:
        log.error('%d', 'x')
        return 'Logging error' in sys.stderr.getvalue()
    finally: sys.stderr = old
";
        let path = site.script("app.wsgi", 10, &answer(statements, "use(), broken()"));
        log();
        assert_eq!(site.get("app.wsgi").text(), "(None, True)");
        let script = format!("[script {}]", path.display());
        let lines: Vec<String> =
            log().into_iter().filter(|line| !line.contains("Loading")).collect();
        assert_eq!(
            lines,
            [
                format!("Warning {script} importing"),
                format!("Critical {script} level 60"),
                format!("Critical {script} level 50"),
                format!("Error {script} level 40"),
                format!("Warning {script} level 30"),
                format!("Info {script} level 20"),
                format!("Debug {script} level 10"),
                format!("Debug {script} level 1"),
                format!("Error {script} one"),
                format!("Error {script} "),
                format!("Error {script} two"),
                "Error elsewhere".to_owned(),
            ]
        );
    });
}

#[test]
fn events_of_a_request() {
    scenario("events_of_a_request", || {
        let site = Site::new();
        let statements = "
import mod_wsgi
seen = []
@mod_wsgi.subscribe_events
def callback(name, **event):
    seen.append((name, sorted(event)))
    mod_wsgi.request_data()[name] = event['request_data'] is mod_wsgi.request_data()
    if name == 'request_started':
        app = event['application_object']
        def wrapped(environ, start_response):
            yield from app(environ, start_response)
            yield b'!'
        return {'application_object': wrapped}
    if name == 'response_started':
        event['response_headers'].append(('X-Added', 'yes'))
@mod_wsgi.subscribe_events
def broken(name, **event): 1 / 0
";
        site.script("app.wsgi", 10, &answer(statements, "mod_wsgi.active_requests, mod_wsgi.request_data() is mod_wsgi.active_requests['id1']"));
        let response = site.get("app.wsgi");
        assert_eq!(
            response.text(),
            "({'id1': {'request_started': True, 'response_started': True}}, True)!"
        );
        assert!(response.headers.contains(&("X-Added".to_owned(), "yes".to_owned())));
        let lines = errors();
        assert_eq!(
            lines[0],
            "Error WSGI0112: ZeroDivisionError exception raised by event callback for 'request_started'."
        );
        assert_eq!(lines.iter().filter(|line| line.contains("WSGI0112")).count(), 3);

        site.script("see.wsgi", 10, &answer("import sys, mod_wsgi", "[m.seen for n, m in sys.modules.items() if hasattr(m, 'seen')][0], sorted(mod_wsgi.active_requests)"));
        let text = site.get("see.wsgi").text().to_owned();
        let started = "('request_started', ['application_object', 'application_start', 'callable_object', 'daemon_connects', 'daemon_restarts', 'daemon_start', 'queue_start', 'request_data', 'request_environ', 'request_id', 'request_start', 'server_pid', 'thread_id'])";
        let response = "('response_started', ['exception_info', 'request_data', 'request_id', 'response_headers', 'response_status'])";
        let finished = "('request_finished', ['application_finish', 'application_time', 'cpu_system_time', 'cpu_time', 'cpu_user_time', 'daemon_start', 'gil_wait_count', 'gil_wait_time', 'input_length', 'input_reads', 'input_time', 'output_length', 'output_time', 'output_writes', 'queue_start', 'request_data', 'request_id', 'request_start', 'server_pid', 'status', 'thread_id'])";
        assert!(
            text.starts_with(&format!("([{started}, {response}, {finished}, {started}")),
            "{text}"
        );
        assert!(text.contains("], ['id1'])"), "{text}");
    });
}

#[test]
fn request_exception_event() {
    scenario("request_exception_event", || {
        let site = Site::new();
        site.script(
            "app.wsgi",
            10,
            "
import mod_wsgi, sys
sys.seen = []
@mod_wsgi.subscribe_events
def callback(name, **event):
    sys.seen.append((name, event.get('status'), [str(x) for x in event.get('exception_info') or ()][:2]))
def application(environ, start_response):
    raise ValueError('boom')
",
        );
        assert_eq!(site.get("app.wsgi").failed(), 500);
        site.script(
            "see.wsgi",
            10,
            &answer("import sys, mod_wsgi\nmod_wsgi.event_callbacks.clear()", "sys.seen[:3]"),
        );
        assert_eq!(
            site.get("see.wsgi").text(),
            "[('request_started', None, []), ('request_exception', None, [\"<class 'ValueError'>\", 'boom']), ('request_finished', 500, [])]"
        );
    });
}

#[test]
fn functions_complain_as_they_did() {
    scenario("functions_complain_as_they_did", || {
        let site = Site::new();
        let statements = "
import mod_wsgi, threading
def error(f, *args, **kwargs):
    try: return f(*args, **kwargs)
    except Exception as e: return f'{type(e).__name__}: {e}'
def elsewhere():
    out = []
    t = threading.Thread(target=lambda: out.append(error(mod_wsgi.request_data))); t.start(); t.join()
    return out[0]
def gone():
    lists = mod_wsgi.shutdown_callbacks
    del mod_wsgi.shutdown_callbacks
    try: return error(mod_wsgi.subscribe_shutdown, 1)
    finally: mod_wsgi.shutdown_callbacks = lists
";
        let expression = "error(mod_wsgi.subscribe_events), error(mod_wsgi.subscribe_events, callback=1), error(mod_wsgi.request_data, 1), error(mod_wsgi.subscribe_shutdown, 123), elsewhere(), gone(), error(mod_wsgi.subscribe_signals, 5)";
        site.script("app.wsgi", 10, &answer(statements, expression));
        log();
        let text = site.get("app.wsgi").text().to_owned();
        assert!(
            text.starts_with("('TypeError: function takes exactly 1 argument (0 given)', "),
            "{text}"
        );
        assert!(text.contains("subscribe_events() takes no keyword arguments'"), "{text}");
        assert!(text.contains("request_data() takes no arguments (1 given)'"), "{text}");
        assert!(text.ends_with(", 123, 'RuntimeError: no active request for thread', 'RuntimeError: mod_wsgi shutdown_callbacks not initialised', 5)"), "{text}");
        let lines = log();
        assert!(lines.iter().any(|line| line.contains("mod_wsgi.subscribe_signals() called outside daemon mode; the callback will not be invoked.")), "{lines:?}");
    });
}

/// In the reference a context variable of one request is seen by the next on the same thread.
#[test]
fn d36_context_variables_do_not_leak() {
    scenario("d36_context_variables_do_not_leak", || {
        let site = Site::new();
        let statements = "
import contextvars, threading
var = contextvars.ContextVar('var', default='unset')
local = threading.local()
def use():
    seen = var.get(), getattr(local, 'n', 0)
    var.set('leaked'); local.n = seen[1] + 1
    return seen
";
        site.script("app.wsgi", 10, &answer(statements, "use()"));
        for n in 0..3 {
            assert_eq!(site.get("app.wsgi").text(), format!("('unset', {n})"));
        }
    });
}

#[test]
fn preload_runs_on_the_main_thread() {
    scenario("preload_runs_on_the_main_thread", || {
        let site = Site::new();
        let statements = "
import threading, mod_wsgi
main = threading.current_thread() is threading.main_thread()
try: mod_wsgi.request_data()
except RuntimeError as e: error = str(e)
";
        let path = site.script("app.wsgi", 10, &answer(statements, "main, error"));
        let load = |name: &str| {
            let path = site.path(name);
            site.engine.load(&Load {
                script: Bytes::from(path.to_str().unwrap()),
                application_group: Bytes::from("pre"),
                reload: true,
                lower_case: false,
            })
        };
        log();
        load("app.wsgi").unwrap();
        let path = path.display();
        let lines = log();
        assert!(
            lines.contains(&"Info Creating sub-interpreter 'pre' in embedded mode.".to_owned()),
            "{lines:?}"
        );
        assert!(
            lines.contains(&format!(
                "Info Loading WSGI script '{path}' into sub-interpreter 'pre' in embedded mode."
            )),
            "{lines:?}"
        );
        let response = Ask::new(&site, "app.wsgi").group("pre").send();
        assert_eq!(response.text(), "(True, 'no active request for thread')");
        assert_eq!(log(), Vec::<String>::new());

        site.script("bad.wsgi", 10, "1 / 0");
        assert!(load("bad.wsgi").is_err());
        let lines = errors();
        assert!(lines[0].starts_with("Error WSGI0110: Unable to execute"), "{lines:?}");
        assert!(lines[1].starts_with("Error WSGI0174: ZeroDivisionError"), "{lines:?}");
    });
}

#[test]
fn python_path_of_interpreters() {
    scenario("python_path_of_interpreters", || {
        let site = Site::with(|start, dir| {
            for name in ["base", "sub"] {
                fs::create_dir(dir.join(name)).unwrap();
                fs::write(dir.join(name).join("where.py"), format!("here = '{name}'")).unwrap();
            }
            let path = |name: &str| {
                let path = dir.join(name).to_str().unwrap().to_owned();
                Bytes::from(&*Box::leak(path.into_boxed_str()))
            };
            start.interpreters = Slice::new(Box::leak(Box::new([
                InterpreterOptions { python_path: path("base"), ..InterpreterOptions::NONE },
                InterpreterOptions {
                    application_group: Bytes::from("sub"),
                    specificity: 1,
                    python_path: path("sub"),
                    ..InterpreterOptions::NONE
                },
            ])));
        });
        site.script(
            "app.wsgi",
            10,
            &answer("import where, sys", "where.here, [p[-4:] for p in sys.path[:2]]"),
        );
        assert!(site.get("app.wsgi").text().starts_with("('base', ['base', "));
        let response = Ask::new(&site, "app.wsgi").group("sub").send();
        assert_eq!(response.text(), "('sub', ['/sub', 'base'])");
    });
}

#[test]
fn a_single_process_keeps_its_streams() {
    scenario("a_single_process_keeps_its_streams", || {
        let site = Site::with(|start, _| start.single_process = true);
        let kinds = "[type(s.buffer).__name__ for s in (sys.stdin, sys.stdout, sys.stderr)]";
        site.script("app.wsgi", 10, &answer("import sys", kinds));
        let text = site.get("app.wsgi").text().to_owned();
        assert_eq!(text.matches("'Log'").count(), 1, "{text}");
        assert!(text.ends_with(", 'Log']"), "{text}");
    });
}

/// As a filter with a subrequest does: on one thread, while a response is being sent.
#[test]
fn one_request_inside_another() {
    scenario("one_request_inside_another", || {
        let site = Site::new();
        let text = "
import mod_wsgi, threading
local = threading.local()
def application(environ, start_response):
    start_response('200 OK', [])
    data = mod_wsgi.request_data()
    local.depth = getattr(local, 'depth', 0) + 1
    depth = local.depth
    for i in range(3):
        same = data is mod_wsgi.request_data() and depth == local.depth
        where = mod_wsgi.application_group, environ['N'], depth, len(data), same
        data[i] = 1
        yield f'{where};'.encode()
    local.depth -= 1
";
        site.script("app.wsgi", 10, text);
        let check = |response: Response, group: &str, number: &str, depth: u32| {
            let line = |i| format!("('{group}', '{number}', {depth}, {i}, True);");
            assert_eq!(response.text(), [line(0), line(1), line(2)].concat());
            assert!(response.calls >= 3);
        };
        thread::scope(|scope| {
            for t in 0..4 {
                let (site, check) = (&site, &check);
                scope.spawn(move || {
                    for i in 0..100 {
                        let groups = ["", "a", "b"];
                        let (outer, inner) = (groups[(i + t) % 3], groups[i / 3 % 3]);
                        let depth = if outer == inner { 2 } else { 1 };
                        let number = i.to_string();
                        let during = || {
                            let mut ask = Ask::new(site, "app.wsgi").group(inner);
                            ask.environ.push(("N", "n"));
                            check(ask.send(), inner, "n", depth);
                        };
                        let mut ask = Ask::new(site, "app.wsgi").group(outer);
                        ask.environ.push(("N", &number));
                        ask.during = Some(&during);
                        check(ask.send(), outer, &number, 1);
                    }
                });
            }
        });
        assert_eq!(site.engine.interpreters(), 3);
    });
}
