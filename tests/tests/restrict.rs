//! What applications are kept from: standard streams, signals, and embedded mode itself.

#![allow(clippy::unwrap_used)]

use tests::{Mpm, Site, matrix};

/// An application that answers with what happens when these expressions are evaluated.
fn attempts(expressions: &[&str]) -> String {
    format!(
        "import signal, sys\nlistening = {expressions:?}\n\
         def attempt(expression):\n\
         \x20   try: return repr(eval(expression))\n\
         \x20   except BaseException as error: return '%s: %s' % (type(error).__name__, error)\n\
         def application(environ, start_response):\n\
         \x20   start_response('200 OK', [])\n\
         \x20   return [(attempt(e) + '\\n').encode() for e in listening]\n"
    )
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn standard_streams_can_be_forbidden() {
    matrix::for_each_cell(|cell| {
        let script = attempts(&[
            "sys.stdin.read()",
            "input()",
            "sys.stdin.fileno",
            "print('x')",
            "sys.stdout.write('x')",
            "sys.stdout.encoding",
            "print('to stderr', file=sys.stderr)",
        ]);
        let mut site =
            Site::new(cell.mpm, &cell.python).conf("WSGIRestrictStdin On\nWSGIRestrictStdout On");
        let path = site.write("app.wsgi", script);
        for (url, group) in [("/named", "named"), ("/", "%{GLOBAL}")] {
            let alias = format!("WSGIScriptAlias {url} \"{}\"", path.display());
            site = site.conf(format!("{alias} application-group={group}"));
        }
        let server = site.start();
        let stdin = "OSError: sys.stdin access restricted by mod_wsgi";
        let stdout = "OSError: sys.stdout access restricted by mod_wsgi";
        for url in ["/", "/named"] {
            let found = lines(&server.get(url).text());
            assert_eq!(found[0], stdin);
            // It looks at both streams; either refuses.
            assert!(found[1] == stdin || found[1] == stdout, "{}", found[1]);
            assert_eq!(found[2..], [stdin, stdout, stdout, stdout, "None"]);
            server.log().expect("to stderr");
        }
        server.stop();
    });
}

#[test]
fn standard_streams_are_there_unless_forbidden() {
    matrix::for_each_cell(|cell| {
        let script = attempts(&["sys.stdin.read()", "input()", "print('printed')"]);
        let server = Site::new(cell.mpm, &cell.python).mount("/", "app.wsgi", &script).start();
        let found = lines(&server.get("/").text());
        assert_eq!(found, ["''", "EOFError: EOF when reading a line", "None"]);
        server.log().expect("printed");
        server.stop();
    });
}

const SIGNALS: [&str; 4] = [
    "signal.signal(signal.SIGUSR2, print)",
    "signal.getsignal(signal.SIGUSR2)",
    "type(signal.signal).__qualname__",
    "signal.signal()",
];

#[test]
fn d35_signal_handlers_are_refused_and_the_one_before_is_returned() {
    matrix::for_each_cell(|cell| {
        let server = Site::new(cell.mpm, &cell.python)
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .mount("/", "app.wsgi", &attempts(&SIGNALS))
            .start();
        let found = lines(&server.get("/").text());
        // Not `print`, which was not installed; that is what 6.1.1 returns.
        assert!(found[0].contains("SIG_DFL") || found[0] == "None", "{}", found[0]);
        assert_eq!(found[1], found[0]);
        assert_eq!(found[2], "'SignalIntercept'");
        assert_eq!(found[3], "TypeError: signal() takes exactly 2 arguments (0 given)");
        let line = server.log().expect(
            "Ignoring Python signal handler registration for signal 12 in WSGI process; \
             mod_wsgi manages signals.",
        );
        assert_eq!(line.level, "info");
        // Who it was.
        assert_eq!(server.log().expect("in attempt").level, "info");
        server.stop();
    });
}

#[test]
fn signal_handlers_can_be_allowed() {
    // On the main thread, which only prefork serves with: Python refuses the others.
    let server = Site::new(Mpm::Prefork, &matrix::python())
        .conf("WSGIRestrictSignal Off\nWSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", &attempts(&SIGNALS))
        .start();
    let found = lines(&server.get("/").text());
    assert_eq!(found[1], "<built-in function print>");
    assert_eq!(found[2], "'function'");
    server.log().refuse("Ignoring Python signal handler");
    server.stop();
}

#[test]
fn programs_that_applications_start_may_handle_signals() {
    let script =
        attempts(&["__import__('subprocess').run([sys.executable, '-c', 'import signal; \
         print(repr(signal.signal(15, print))); print(signal.getsignal(15))'], \
         capture_output=True, text=True, check=True).stdout"]);
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", &script)
        .start();
    let found = server.get("/").text();
    assert!(found.contains("SIG_DFL") && found.contains("built-in function print"), "{found}");
    server.stop();
}

#[test]
fn a_forked_child_may_handle_signals() {
    let script = "
import os, signal
def application(environ, start_response):
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            os.write(writer, repr(signal.getsignal(signal.SIGUSR2)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    text = os.read(reader, 1000)
    os.close(reader)
    os.waitpid(pid, 0)
    start_response('200 OK', [])
    return [text]
";
    // Handlers are for the main thread of a process; after a fork that is the one that forked.
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", script)
        .start();
    let found = server.get("/").text();
    assert!(found.contains("SIG_IGN"), "{found}");
    server.log().allow("DeprecationWarning");
    server.log().allow("pid = os.fork()");
    server.stop();
}

#[test]
fn embedded_mode_can_be_forbidden() {
    matrix::for_each_mpm(|mpm| {
        let server = Site::new(mpm, &matrix::python())
            .conf("WSGIRestrictEmbedded On")
            .mount("/", "app.wsgi", &attempts(&["1"]))
            // Not even where it could be loaded in advance.
            .conf("WSGIScriptAlias /preload /app.wsgi process-group=%{GLOBAL} application-group=a")
            .start();
        assert_eq!(server.get("/").status, 500);
        let text = "WSGI0143: Embedded mode of mod_wsgi disabled by runtime configuration.";
        let line = server.log().expect(text);
        assert_eq!(line.level, "error");
        assert!(line.text().starts_with("[script "), "{}", line.raw);
        // No child has Python then.
        let has_python = server
            .children()
            .into_iter()
            .any(|child| child.mapped_files().iter().any(|file| file.contains("libpython")));
        assert!(!has_python);
        server.stop();
    });
}

#[test]
fn an_import_script_runs_where_requests_may_not() {
    let site = Site::new(Mpm::Event, &matrix::python()).conf("WSGIRestrictEmbedded On");
    let path = site.write("import.py", "print('imported')\n");
    let options = "process-group=%{GLOBAL} application-group=%{GLOBAL}";
    let server = site
        .conf(format!("WSGIImportScript \"{}\" {options}", path.display()))
        .mount("/", "app.wsgi", &attempts(&["1"]))
        .start();
    server.log().expect("imported");
    assert_eq!(server.get("/").status, 500);
    server.log().expect("WSGI0143: ");
    server.log().allow("imported");
    server.stop();
}
