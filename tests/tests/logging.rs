//! What applications write, as the error log has it: level, request, lines.

#![allow(clippy::unwrap_used)]

use std::time::Duration;
use tests::process::wait_for;
use tests::{GROUP, Mode, Mpm, Server, Site, matrix};

/// A script whose application runs these lines, with `environ` in reach, and answers `ok`.
fn script(head: &str, body: &str) -> String {
    let body: String = body.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "import io, logging, sys, threading\nimport mod_wsgi\n{head}\n\
         def application(environ, start_response):\n{body}\
         \x20   start_response('200 OK', [('Content-Length', '2')])\n    return [b'ok']\n"
    )
}

/// A site with that application at `/`.
fn serve(head: &str, body: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python()).conf("WSGIApplicationGroup %{GLOBAL}");
    site.mount("/", "app.wsgi", &script(head, body)).start()
}

fn prefix(server: &Server) -> String {
    format!("[script {}] ", server.site().path("app.wsgi").display())
}

#[test]
fn text_of_a_request_is_logged_with_it() {
    matrix::for_each_cell(|cell| {
        let body = "print('to stdout')\n\
                    print('to stderr', file=sys.stderr)\n\
                    print('to errors', file=environ['wsgi.errors'])\n\
                    print('%s %n {} \\x1b[0m', file=sys.stderr)";
        let server = Site::new(cell.mpm, &cell.python)
            .mount("/", "app.wsgi", &script("print('at import')", body))
            .start();
        assert_eq!(server.get("/").status, 200);
        for text in ["to stdout", "to stderr", "to errors", r"%s %n {} \x1b[0m"] {
            let line = server.log().expect(&format!("] {text}"));
            assert_eq!((line.module.as_str(), line.level.as_str()), ("wsgi", "error"));
            assert!(line.rest.starts_with("[client 127.0.0.1:"), "{}", line.raw);
            assert_eq!(line.text(), format!("{}{text}", prefix(&server)));
        }
        // An import belongs to nobody, whoever drives it.
        assert_eq!(server.log().expect("at import").rest, "at import");
        server.stop();
    });
}

#[test]
fn text_of_no_request_is_logged_with_the_server() {
    matrix::for_each_cell(|cell| {
        let head = "
def background():
    print('from a thread')
    logging.getLogger('x').warning('logged by a thread')
    print('and its end', end='', file=sys.stderr)
logging.getLogger('x').addHandler(mod_wsgi.LogHandler())
threading.Thread(target=background).start()
";
        let site = Site::new(cell.mpm, &cell.python).conf("WSGIApplicationGroup %{GLOBAL}");
        let path = site.write("import.py", script(head, ""));
        let line = "process-group=%{GLOBAL} application-group=%{GLOBAL}";
        let server = site.conf(format!("WSGIImportScript {} {line}", path.display())).start();
        for (text, level) in
            [("from a thread", "error"), ("logged by a thread", "warn"), ("and its end", "error")]
        {
            let line = server.log().expect(text);
            assert_eq!((line.rest.as_str(), line.level.as_str()), (text, level));
        }
        // Each child imports the script.
        server.log().allow("a thread");
        server.log().allow("and its end");
        server.stop();
    });
}

#[test]
fn handlers_have_levels_and_places() {
    let head = "
log = logging.getLogger('app')
log.setLevel(1)
log.addHandler(mod_wsgi.LogHandler())
log.propagate = False
";
    let body = "for level in (50, 45, 40, 30, 25, 20, 10, 5):\n    log.log(level, 'level <%d>', level)\n\
                log.error('first\\nsecond\\n\\nfourth\\n')\n\
                log.error('')";
    let site = Site::new(Mpm::Event, &matrix::python())
        .log_level("warn wsgi:info")
        .conf("ErrorLogFormat \"[%t] [%m:%l] [pid %P:tid %T] %E: %M\\ at\\ %F\"");
    let server = site.mount("/", "app.wsgi", &script(head, body)).start();
    assert_eq!(server.get("/").status, 200);
    for (number, level) in
        [(50, "crit"), (45, "error"), (40, "error"), (30, "warn"), (25, "info"), (20, "info")]
    {
        let line = server.log().expect(&format!("level <{number}>"));
        assert_eq!(line.level, level, "{}", line.raw);
        // The server leaves the directories out.
        assert!(line.rest.contains(" at app.wsgi("), "{}", line.raw);
        assert!(line.raw.contains("[script "), "{}", line.raw);
    }
    server.log().refuse("level <10>");
    server.log().refuse("level <5>");
    for text in ["first", "second", "fourth"] {
        server.log().expect(&format!("] {text}"));
    }
    server.log().allow("app.wsgi] ");
    server.stop();
}

#[test]
fn python_api_05_a_handler_that_cannot_format_says_so() {
    let head = "log = logging.getLogger('app')\nlog.addHandler(mod_wsgi.LogHandler())\nlog.propagate = False";
    let server = serve(head, "log.error('%d', 'no number')");
    assert_eq!(server.get("/").status, 200);
    server.log().expect("--- Logging error ---");
    server.log().expect("TypeError: %d format: a real number is required, not str");
    server.log().allow("[wsgi:error]");
    server.stop();
}

/// Text that is not Unicode, names that are not text, numbers that are none.
#[test]
fn handlers_take_whatever_a_record_has() {
    let head = "
log = logging.getLogger('app')
log.setLevel(1)
log.addHandler(mod_wsgi.LogHandler())
log.propagate = False
def emit(**changes):
    record = log.makeRecord('app', 40, 'x.py', 1, changes.pop('text', 'text'), (), None)
    record.__dict__.update(changes)
    log.handle(record)
";
    let body = "emit(text='lone <\\udc80> end')\n\
                emit(text='file 1', pathname='a\\0b')\n\
                emit(text='file 2', pathname=None)\n\
                emit(text='file 3', pathname='\\udc80')\n\
                emit(text='line 1', lineno=-1)\n\
                emit(text='line 2', lineno=1 << 80)\n\
                emit(text='line 3', lineno='x')\n\
                emit(text='nul \\0 end')\n\
                emit(text='%s%n%d', args=None)\n\
                emit(text='true', levelno=True)";
    let site = Site::new(Mpm::Event, &matrix::python()).log_level("debug");
    let server = site.mount("/", "app.wsgi", &script(head, body)).start();
    assert_eq!(server.get("/").status, 200);
    for text in [
        "lone <",
        "file 1",
        "file 2",
        "file 3",
        "line 1",
        "line 2",
        "line 3",
        r"nul \\x00 end",
        "%s%n%d",
        "true",
    ] {
        server.log().expect(&format!("] {text}"));
    }
    server.log().refuse("Logging error");
    server.stop();
}

#[test]
fn fragments_are_joined_until_a_line_ends() {
    let body = "w = environ['wsgi.errors'].write\n\
                w('a')\nw('b\\nc')\nw('')\n\
                environ['wsgi.errors'].flush()\n\
                w('d')\nprint('e', end='')\nsys.stderr.write('f\\n')\n\
                w('\\n')\nw('unfinished')";
    let server = serve("", body);
    assert_eq!(server.get("/").status, 200);
    server.log().expect("unfinished");
    let prefix = prefix(&server);
    let lines: Vec<String> = server
        .log()
        .lines()
        .iter()
        .filter_map(|line| line.text().strip_prefix(prefix.trim_end()))
        .map(|text| text.trim_start().to_owned())
        .collect();
    // The loading of the script comes first.
    assert_eq!(lines[1..], ["ab", "c", "def", "", "unfinished"]);
    server.log().allow(prefix.trim_end());
    server.stop();
}

#[test]
fn d32_long_lines_are_not_cut() {
    let body = "print('<' + 'x' * 30000 + '\\0' + 'é' * 5000 + '>')";
    let server = serve("", body);
    assert_eq!(server.get("/").status, 200);
    server.log().expect(r"\xa9>");
    let prefix = prefix(&server);
    let text: String = server
        .log()
        .lines()
        .iter()
        .filter_map(|line| line.text().strip_prefix(&prefix))
        .filter(|text| !text.starts_with("Loading"))
        .collect();
    let wanted = format!("<{}\\\\x00{}>", "x".repeat(30000), r"\xc3\xa9".repeat(5000));
    assert!(text == wanted, "{} bytes, not {}", text.len(), wanted.len());
    server.log().allow(&prefix);
    server.stop();
}

#[test]
fn d32_threads_do_not_share_a_line() {
    let head = "
def say(name, mine, other):
    for _ in range(20):
        mine.wait(); mine.clear()
        sys.stderr.write(name)
        other.set()
    sys.stderr.write('\\n')
";
    let body = "a, b = threading.Event(), threading.Event()\n\
                threads = [threading.Thread(target=say, args=('a', a, b)),\n\
                \x20          threading.Thread(target=say, args=('b', b, a))]\n\
                a.set()\n\
                [thread.start() for thread in threads]\n\
                [thread.join() for thread in threads]";
    let server = serve(head, body);
    assert_eq!(server.get("/").status, 200);
    for name in ["a", "b"] {
        let line = server.log().expect(&name.repeat(20));
        assert_eq!(line.rest, name.repeat(20));
    }
    server.stop();
}

#[test]
fn a_stream_of_a_request_ends_with_it() {
    let head = "kept = []\nresults = []";
    let body = "if kept:\n    try:\n        kept[0].write('late\\n')\n        results.append('written')\n    except RuntimeError as error:\n        results.append(str(error))\n    print(results)\nelse:\n    kept.append(environ['wsgi.errors'])";
    let server = serve(head, body);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/").status, 200);
    server.log().expect("['write() called on wsgi.errors after request completed']");
    server.log().refuse("] late");
    server.stop();
}

#[test]
fn lines_of_a_virtual_host_go_to_its_log() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let log = site.path("vhost.log");
    let app = site.write("app.wsgi", script("", "print('for the host', file=sys.stderr)"));
    let server = site
        .conf("<VirtualHost *:*>\nServerName other.example")
        .conf(format!("ErrorLog \"{}\"", log.display()))
        .conf(format!("WSGIScriptAlias / \"{}\"\n</VirtualHost>", app.display()))
        .start();
    assert_eq!(server.request("GET", "/", &[("Host", "other.example")], b"").status, 200);
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("for the host"), "{text}");
    server.log().refuse("for the host");
    server.stop();
}

#[test]
fn d08_trace_with_interpreters_and_threads_does_not_crash() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).log_level("wsgi:trace1");
        let path = site.write("app.wsgi", script("", "print(environ['PATH_INFO'])"));
        let mut site = site;
        for group in ["one", "two", "three"] {
            let alias = format!("WSGIScriptAlias /{group} \"{}\"", path.display());
            site = site.conf(format!("{alias} application-group={group}"));
        }
        let server = site.start();
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let server = &server;
                scope.spawn(move || {
                    for round in 0..10 {
                        let group = ["one", "two", "three"][(thread + round) % 3];
                        assert_eq!(server.get(&format!("/{group}")).status, 200);
                    }
                });
            }
        });
        server.log().allow("[wsgi:error]");
        server.stop();
    });
}

#[test]
fn the_server_can_read_what_applications_get() {
    for (mode, group) in [(Mode::Embedded, ""), (Mode::Daemon, GROUP)] {
        let site = Site::new(Mpm::Event, &matrix::python()).module("mod_headers").mode(mode);
        let log = site.path("variables.log");
        let app = site.write("app.wsgi", script("", ""));
        let format = "%{HTTP_X_Y}e|%{SCRIPT_NAME}e|%{PATH_INFO}e|%{mod_wsgi.application_group}e\
                      |%{mod_wsgi.process_group}e|%{HTTP_AUTHORIZATION}e\
                      |%{mod_wsgi.callable_object}e";
        let server = site
            .conf(format!("LogFormat \"{format}\" vars"))
            .conf(format!("CustomLog \"{}\" vars env=HTTP_X_Y", log.display()))
            .conf("Header set X-Env \"%{HTTP_X_Y}e\"")
            .conf("WSGIApplicationGroup shop")
            .conf(format!("WSGIScriptAlias /app \"{}\"", app.display()))
            .start();
        let headers = [("X-Y", "hello"), ("Authorization", "Basic YTpi")];
        let response = server.request("GET", "/app/x", &headers, b"").with_status(200);
        assert_eq!(response.header("X-Env").as_deref(), Some("hello"));
        assert_eq!(server.get("/app/other").status, 200);
        let found = wait_for(Duration::from_secs(5), || {
            std::fs::read_to_string(&log).ok().filter(|text| text.ends_with('\n'))
        });
        // As 6.1.1 has it.
        assert_eq!(found.unwrap(), format!("hello|/app|/x|shop|{group}|-|application\n"));
        server.stop();
    }
}
