//! Every directive of mod_wsgi, as one table: where it may be written and what is said elsewhere, how
//! many arguments it takes, which values it refuses, what holds if nothing is said, and what wins if
//! several say something.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::time::{Duration, Instant};

use tests::{Mpm, Server, Site, matrix};

/// Arguments that a directive takes, with what is said of other numbers of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// `On` or `Off`.
    Flag,
    One,
    OneOrTwo,
    /// The rest of the line.
    Rest,
}

struct Row {
    name: &'static str,
    /// `G` main server, `V` virtual hosts, `D` sections, `F` and `A` `.htaccess` where
    /// `AllowOverride` says `FileInfo` and `AuthConfig`.
    places: &'static str,
    takes: Takes,
    help: &'static str,
    /// Arguments that are good anywhere; `#` is another number each time.
    good: &'static str,
    bad: &'static [(&'static str, &'static str)],
}

const GROUP: &str = "Invalid name for WSGI process group.";
const APPLICATION: &str = "Invalid name for WSGI application group.";
const CALLABLE: &str = "Invalid name for WSGI callable object.";
const AUTHORIZATION: &str = "Invalid value for authorization flag.";
const UNKNOWN_GROUP: &str = "WSGI process group not yet configured.";

const fn flag(name: &'static str, places: &'static str, help: &'static str) -> Row {
    Row { name, places, takes: Takes::Flag, help, good: "On", bad: &[] }
}

const fn one(
    name: &'static str,
    places: &'static str,
    help: &'static str,
    good: &'static str,
) -> Row {
    Row { name, places, takes: Takes::One, help, good, bad: &[] }
}

const fn rest(
    name: &'static str,
    places: &'static str,
    help: &'static str,
    good: &'static str,
    bad: &'static [(&'static str, &'static str)],
) -> Row {
    Row { name, places, takes: Takes::Rest, help, good, bad }
}

const ALIAS: &str = "Invalid option to WSGI script alias definition.";

const TABLE: &[Row] = &[
    rest(
        "WSGIScriptAlias",
        "GV",
        "Map location to target WSGI script file.",
        "/a /a.wsgi",
        &[
            ("/a /a.wsgi process-group=", GROUP),
            ("/a /a.wsgi application-group=\"\"", APPLICATION),
            ("/a /a.wsgi callable-object=", CALLABLE),
            ("/a /a.wsgi pass-authorization=1", AUTHORIZATION),
            ("/a /a.wsgi user=me", ALIAS),
            ("/a /a.wsgi process-group=nowhere application-group=x", UNKNOWN_GROUP),
        ],
    ),
    rest(
        "WSGIScriptAliasMatch",
        "GV",
        "Map location pattern to target WSGI script file.",
        "^/a /a.wsgi",
        &[("^/( /a.wsgi", "Regular expression could not be compiled."), ("^/a /a.wsgi x", ALIAS)],
    ),
    rest(
        "WSGIDaemonProcess",
        "GV",
        "Specify details of daemon processes to start.",
        "group#",
        &[
            ("", "Name of WSGI daemon process not supplied."),
            ("g x=1", "Invalid option to WSGI daemon process definition."),
            ("g processes=0", "Invalid process count for WSGI daemon process."),
        ],
    ),
    one("WSGIProcessGroup", "GVD", "Name of the WSGI process group.", "%{GLOBAL}"),
    one("WSGIApplicationGroup", "GVD", "Application interpreter group.", "x"),
    one("WSGICallableObject", "GVDF", "Name of entry point in WSGI script file.", "app"),
    rest("WSGIRestrictProcess", "GVD", "Limit selectable WSGI process groups.", "", &[]),
    flag("WSGIRestrictEmbedded", "G", "Enable/Disable use of embedded mode."),
    rest(
        "WSGIImportScript",
        "GV",
        "Location of WSGI import script.",
        "/i.py process-group=%{GLOBAL} application-group=x",
        &[
            ("", "Location of import script not supplied."),
            ("/i.py x=1", "Invalid option to WSGI import script definition."),
            ("/i.py process-group=", GROUP),
            ("/i.py application-group=", APPLICATION),
            ("/i.py process-group=a", "Name of WSGI application group required."),
            ("/i.py application-group=a", "Name of WSGI process group required."),
            ("/i.py process-group=nowhere application-group=a", UNKNOWN_GROUP),
        ],
    ),
    rest(
        "WSGIHandlerScript",
        "GVD",
        "Location of WSGI handler script file.",
        "name /h.py",
        &[
            ("", "Name for handler script not supplied."),
            ("name", "Location of handler script not supplied."),
            ("name /h.py process-group=", GROUP),
            ("name /h.py application-group=", APPLICATION),
            ("name /h.py pass-authorization=x", AUTHORIZATION),
            ("name /h.py callable-object=x", "Invalid option to WSGI handler script definition."),
        ],
    ),
    rest(
        "WSGIDispatchScript",
        "GVD",
        "Location of WSGI dispatch script.",
        "/d.py",
        &[
            ("", "Location of dispatch script not supplied."),
            ("/d.py application-group=", APPLICATION),
            ("/d.py process-group=x", "Invalid option to WSGI dispatch script definition."),
        ],
    ),
    rest(
        "WSGIAccessScript",
        "DA",
        "Location of WSGI host access script file.",
        "/no/script application-group=x",
        &[
            ("", "Location of access script not supplied."),
            ("/a.py application-group=", APPLICATION),
            ("/a.py x", "Invalid option to WSGI access script definition."),
        ],
    ),
    rest(
        "WSGIAuthUserScript",
        "DA",
        "Location of WSGI user auth script file.",
        "/a.py",
        &[
            ("", "Location of auth user script not supplied."),
            ("/a.py application-group=", APPLICATION),
            ("/a.py x", "Invalid option to WSGI auth user script definition."),
        ],
    ),
    rest(
        "WSGIAuthGroupScript",
        "DA",
        "Location of WSGI group auth script file.",
        "/a.py",
        &[
            ("", "Location of auth group script not supplied."),
            ("/a.py application-group=", APPLICATION),
            ("/a.py x", "Invalid option to WSGI auth group script definition."),
        ],
    ),
    flag("WSGIGroupAuthoritative", "DA", "Enable/Disable as being authoritative on groups."),
    flag("WSGIScriptReloading", "GVDF", "Enable/Disable script reloading mechanism."),
    flag("WSGICaseSensitivity", "G", "Define whether file system is case sensitive."),
    flag("WSGIPassAuthorization", "GVDF", "Enable/Disable WSGI authorization."),
    flag("WSGIPassApacheRequest", "GVD", "Enable/Disable Apache request object."),
    flag("WSGIChunkedRequest", "GVDF", "Enable/Disable support for chunked requests."),
    Row {
        bad: &[("maybe", "WSGIMapHEADToGET must be one of: Off | On | Auto")],
        ..one("WSGIMapHEADToGET", "GVDF", "Enable/Disable mapping of HEAD to GET.", "Auto")
    },
    flag("WSGIErrorOverride", "GVDF", "Enable/Disable overriding of error pages."),
    flag("WSGIEnableSendfile", "GVDF", "Enable/Disable support for kernel sendfile."),
    flag("WSGIIgnoreActivity", "GVDF", "Enable/Disable reset of inactvity timeout."),
    rest(
        "WSGITrustedProxyHeaders",
        "GVDF",
        "Specify a list of trusted proxy headers.",
        "X-Forwarded-For x-real-ip",
        &[],
    ),
    rest(
        "WSGITrustedProxies",
        "GVDF",
        "Specify a list of trusted proxies.",
        "10.0.0.0/8 192.168 ::1 FE80::/10 10.1.2.3/255.0.0.0",
        &[(
            "localhost",
            "Unable to parse trusted proxy IP address/subnet of \"localhost\". The specified IP \
             address is invalid.",
        )],
    ),
    one("WSGISocketPrefix", "G", "Path prefix for the daemon process sockets.", "run/wsgi"),
    flag("WSGISocketRotation", "G", "Enable/Disable rotation of daemon process sockets."),
    one("WSGIAcceptMutex", "G", "Set accept mutex type for daemon processes.", "Default"),
    one("WSGIPythonHome", "G", "Python prefix/exec_prefix absolute path names.", "/no/such/home"),
    one("WSGIPythonPath", "G", "Python module search path.", "/a:/b"),
    one("WSGIPythonEggs", "G", "Python eggs cache directory.", "/a"),
    one("WSGIPythonOptimize", "G", "Set level of Python compiler optimisations.", "1"),
    one("WSGIPythonWarnings", "G", "Control Python warning messages.", "ignore"),
    Row {
        bad: &[
            ("x", "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]"),
            (
                "4294967296",
                "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]",
            ),
        ],
        ..one("WSGIPythonHashSeed", "G", "Python hash seed.", "random")
    },
    flag("WSGIDontWriteBytecode", "G", "Enable/Disable writing of byte code."),
    flag("WSGIDestroyInterpreter", "G", "Enable/Disable destruction of Python interpreter."),
    Row {
        bad: &[
            ("0", "WSGISwitchInterval must be a positive number of seconds."),
            ("-1", "WSGISwitchInterval must be a positive number of seconds."),
            ("x", "WSGISwitchInterval must be a positive number of seconds."),
        ],
        ..one("WSGISwitchInterval", "G", "Override Python GIL switch interval (seconds).", "0.01")
    },
    flag(
        "WSGIPerInterpreterGIL",
        "G",
        "Enable/Disable per-interpreter GIL for sub-interpreters (Python 3.12+).",
    ),
    flag("WSGIRestrictStdin", "G", "Enable/Disable restrictions on use of STDIN."),
    flag("WSGIRestrictStdout", "G", "Enable/Disable restrictions on use of STDOUT."),
    flag("WSGIRestrictSignal", "G", "Enable/Disable restrictions on use of signal()."),
    flag("WSGIServerMetrics", "G", "Enabled/Disable access to server metrics."),
    Row {
        name: "WSGITelemetryService",
        places: "G",
        takes: Takes::OneOrTwo,
        help: "Push telemetry to a metrics service. Args: unix:/path [interval=N]",
        good: "unix:/x interval=2",
        bad: &[
            (
                "udp:a:1",
                "WSGITelemetryService target must be 'unix:/path' (remote 'udp:host:port' targets \
                 are no longer supported)",
            ),
            ("unix:/x interval=0.1", "WSGITelemetryService interval must be at least 0.5 seconds"),
            ("unix:/x often", "WSGITelemetryService second argument must be 'interval=N'"),
        ],
    },
    Row {
        bad: &[("-1", "WSGISlowRequests threshold must be non-negative")],
        ..one(
            "WSGISlowRequests",
            "G",
            "Enable slow-request reporting. Arg: threshold in seconds.",
            "2.5",
        )
    },
    rest(
        "WSGITelemetryOptions",
        "G",
        "Toggle metrics capture options. Args: [+|-]Flag... | None | All. Flags: CaptureUserAgent.",
        "+CaptureUserAgent",
        &[
            ("", "WSGITelemetryOptions: at least one flag required"),
            ("-", "WSGITelemetryOptions: bare '+' / '-' is not a flag"),
            ("Whatever", "WSGITelemetryOptions: unknown flag 'Whatever'"),
        ],
    ),
    flag("WSGIVerboseDebugging", "G", "Enable/Disable verbose debugging messages."),
    flag(
        "WSGISoleTenant",
        "G",
        "Run the only application group that a process can have in the main interpreter.",
    ),
];

impl Row {
    fn may(&self, place: char) -> bool {
        self.places.contains(place)
    }

    /// A good line; `number` makes it differ from others.
    fn line(&self, number: usize) -> String {
        format!("{} {}", self.name, self.good.replace('#', &number.to_string()))
    }
}

fn check(lines: &str) -> tests::Check {
    Site::homeless(Mpm::Event).conf(lines).check()
}

/// The configuration is refused with this message, on a line of its own.
#[track_caller]
fn refused(lines: &str, message: &str) {
    let check = check(lines);
    assert!(!check.ok, "{lines} is accepted");
    let found = check.output.lines().any(|line| line == message);
    assert!(found, "{lines}\nshould say: {message}\nbut says: {}", check.output);
}

#[test]
fn every_directive_is_accepted_where_it_may_be() {
    let mut conf = String::new();
    let w = &mut conf;
    let lines = |place: char, number: usize| -> String {
        TABLE.iter().filter(|row| row.may(place)).map(|row| row.line(number) + "\n").collect()
    };
    write!(w, "{}<VirtualHost *:1>\n{}", lines('G', 1), lines('V', 2)).unwrap();
    writeln!(w, "<Location /x>\n{}</Location>\n</VirtualHost>", lines('D', 3)).unwrap();
    for section in ["Directory /x", "Location /y", "Files z", "If \"true\"", "LocationMatch ^/y"] {
        let name = section.split(' ').next().unwrap();
        writeln!(w, "<{section}>\n{}</{name}>", lines('D', 4)).unwrap();
    }
    writeln!(w, "<IfModule mod_wsgi.c>\nWSGIVerboseDebugging Off\n</IfModule>").unwrap();
    let check = check(&conf);
    assert!(check.ok && check.output.contains("Syntax OK"), "{}", check.output);
}

#[test]
fn every_directive_is_refused_where_it_may_not_be() {
    for row in TABLE {
        let (name, line) = (row.name, row.line(1));
        if !row.may('G') {
            refused(&line, &format!("{name} not allowed here"));
        }
        if !row.may('V') {
            let message = if row.may('G') {
                format!("{name} cannot occur within <VirtualHost> section")
            } else {
                format!("{name} not allowed in <VirtualHost> context")
            };
            refused(&format!("<VirtualHost *:1>\n{line}\n</VirtualHost>"), &message);
        }
        if !row.may('D') {
            for section in ["Directory", "Location", "Files"] {
                let lines = format!("<{section} /x>\n{line}\n</{section}>");
                refused(&lines, &format!("{name} not allowed in <{section}> context"));
            }
        }
    }
}

#[test]
fn every_directive_says_how_many_arguments_it_takes() {
    for Row { name, places, takes, help, good, .. } in TABLE {
        let within = |line: String| {
            if places.contains('G') { line } else { format!("<Location /x>\n{line}\n</Location>") }
        };
        let two = "requires at least two arguments";
        match takes {
            Takes::Flag | Takes::One => {
                // The server itself words it for flags and for words alike.
                let message = format!("{name} takes one argument, {help}");
                refused(&within((*name).to_owned()), &message);
                refused(&within(format!("{name} \"\"")), &message);
                refused(&within(format!("{name} {good} more")), &message);
            }
            Takes::OneOrTwo => {
                let message = format!("{name} takes 1-2 arguments, {help}");
                refused(&within((*name).to_owned()), &message);
                refused(&within(format!("{name} {good} more")), &message);
            }
            Takes::Rest if name.starts_with("WSGIScriptAlias") => {
                for given in ["", "/a", "\"\" /a", "/a \"\""] {
                    refused(&within(format!("{name} {given}")), &format!("{name} {two}, {help}"));
                }
            }
            Takes::Rest => {}
        }
    }
}

#[test]
fn every_directive_refuses_bad_values() {
    for row in TABLE {
        let within = |line: String| {
            if row.may('G') { line } else { format!("<Location /x>\n{line}\n</Location>") }
        };
        let name = row.name;
        if row.takes == Takes::Flag {
            for bad in ["true", "1"] {
                let message = format!("{name} must be one of: Off | On");
                refused(&within(format!("{name} {bad}")), &message);
            }
        }
        for (bad, message) in row.bad {
            refused(&within(format!("{name} {bad}")), message);
        }
    }
}

#[test]
fn the_list_of_directives_has_each_with_its_help() {
    let list = Site::homeless(Mpm::Event).run(&["-L"]).output;
    for Row { name, help, .. } in TABLE {
        let entry = format!("{name} (mod_wsgi.c)\n\t{help}\n");
        assert!(list.contains(&entry), "{entry}");
    }
    // Whatever else there is has a place on the reference page, and tests of its own.
    let page = include_str!("../../docs/directives.md");
    for line in list.lines().filter(|line| line.ends_with(" (mod_wsgi.c)")) {
        let name = line.split(' ').next().unwrap();
        assert!(page.contains(&format!("`{name}")), "{name}");
    }
}

/// A site that serves a file from a directory with this `AllowOverride`.
fn overridable(allowed: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(8);
    site.write("htdocs/d/a.txt", "a file");
    let root = site.path("htdocs/d").display().to_string();
    site.conf(format!("<Directory {root}>\nAllowOverride {allowed}\n</Directory>")).start()
}

#[test]
fn htaccess_files_say_what_they_may_and_nothing_else() {
    for (allowed, letters) in
        [("FileInfo", "F"), ("AuthConfig", "A"), ("Options Limit Indexes", ""), ("All", "FA")]
    {
        let server = overridable(allowed);
        for row in TABLE {
            // A script that is not there lets nobody in, wherever it is named.
            let denies = row.name == "WSGIAccessScript";
            server.site().write("htdocs/d/.htaccess", row.line(1));
            let status = server.get("/d/a.txt").status;
            if letters.chars().any(|letter| row.may(letter)) {
                assert_eq!(status, if denies { 403 } else { 200 }, "{allowed}: {}", row.name);
            } else {
                assert_eq!(status, 500, "{allowed}: {}", row.name);
                server.log().expect(&format!(".htaccess: {} not allowed here", row.name));
            }
        }
        for tail in ["WSGI0105", "WSGI0174", "WSGI0057", "FileNotFoundError", "  File ", "    "] {
            server.log().allow(tail);
        }
        server.log().allow("Traceback");
        server.stop();
    }
    // Where nothing may be overridden, such files are not even looked at.
    let server = overridable("None");
    server.site().write("htdocs/d/.htaccess", "WSGINonsense\n");
    assert_eq!(server.get("/d/a.txt").status, 200);
    server.stop();
}

#[test]
fn whatever_an_htaccess_file_says_is_a_setting_or_a_message() {
    let server = overridable("FileInfo AuthConfig");
    let nasty = [
        "\"",
        "'",
        "\\",
        "%{ENV:",
        "%{ENV:}",
        "%n%s%n",
        "=",
        "a==",
        "application-group=%{HOST}",
        "\u{e9}\u{17c}",
        "/etc/passwd",
        "::::",
        "1.2.3.4/99",
        "999.1.1.1",
        "X-\u{1}",
        "- +",
    ];
    for row in TABLE.iter().filter(|row| row.may('F') || row.may('A')) {
        for value in nasty.iter().copied().chain([&*"x".repeat(7000)]) {
            server.site().write("htdocs/d/.htaccess", format!("{} {value}\n", row.name));
            let status = server.get("/d/a.txt").status;
            assert!([200, 403, 500].contains(&status), "{} {value}: {status}", row.name);
        }
    }
    server.site().write("htdocs/d/.htaccess", "");
    assert_eq!(server.get("/d/a.txt").status, 200);
    for tail in [".htaccess: ", "WSGI0", "Error", "  File ", "    ", "Traceback", "xxxxxx"] {
        server.log().allow(tail);
    }
    server.stop();
}

/// An application that says what it sees of the settings, in one line.
const PROBE: &str = "
def respond(environ, start_response, name):
    start_response('200 OK', [])
    environ['wsgi.input'].read()
    return [' '.join([name, environ['mod_wsgi.application_group'], environ['REQUEST_METHOD'],
        environ.get('HTTP_AUTHORIZATION', '-'), environ['REMOTE_ADDR'],
        str('apache.request_rec' in environ)]).encode()]
def application(environ, start_response):
    return respond(environ, start_response, 'application')
def one(environ, start_response):
    return respond(environ, start_response, 'one')
def two(environ, start_response):
    return respond(environ, start_response, 'two')
";

#[test]
fn what_is_said_inside_wins_and_what_is_not_said_has_a_default() {
    // A setting, two values of it, and what the application sees without it and with each.
    for (name, values, seen, field) in [
        ("WSGICallableObject", ["one", "two"], ["application", "one", "two"], 0),
        ("WSGIApplicationGroup", ["g1", "g2"], ["", "g1", "g2"], 1),
        ("WSGIPassAuthorization", ["On", "Off"], ["-", "Credentials", "-"], 3),
        (
            "WSGITrustedProxyHeaders",
            ["X-Forwarded-For", "X-Real-IP"],
            ["127.0.0.1", "1.1.1.1", "2.2.2.2"],
            4,
        ),
        ("WSGIPassApacheRequest", ["On", "Off"], ["False", "True", "False"], 5),
    ] {
        let section =
            |path: &str, value: &str| format!("<Location {path}>\n{name} {value}\n</Location>\n");
        for (lines, path, expected) in [
            (String::new(), "/a", seen[0]),
            (format!("{name} {}\n", values[0]), "/a", seen[1]),
            (format!("{name} {}\n{}", values[0], section("/a", values[1])), "/a", seen[2]),
            (format!("{name} {}\n{}", values[0], section("/b", values[1])), "/a", seen[1]),
            (
                format!("{}{}", section("/a", values[0]), section("/a/b", values[1])),
                "/a/b",
                seen[2],
            ),
            (
                // A section of the main server wins over what the virtual host says of itself.
                format!(
                    "{}<VirtualHost *:*>\n{name} {}\nWSGIScriptAlias / SCRIPT\n</VirtualHost>",
                    section("/a", values[0]),
                    values[1]
                ),
                "/a",
                seen[1],
            ),
            (
                format!(
                    "{name} {}\n<VirtualHost *:*>\n{name} {}\nWSGIScriptAlias / SCRIPT\n\
                     </VirtualHost>",
                    values[0], values[1]
                ),
                "/a",
                seen[2],
            ),
        ] {
            let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
            let script = site.write("probe.wsgi", PROBE).display().to_string();
            let server = site
                .conf(format!("WSGIScriptAlias / \"{script}\""))
                .conf(lines.replace("SCRIPT", &script))
                .start();
            let headers = [
                ("Authorization", "Credentials"),
                ("X-Forwarded-For", "1.1.1.1"),
                ("X-Real-IP", "2.2.2.2"),
            ];
            let text = server.request("GET", path, &headers, b"").with_status(200).text();
            let found = text.split(' ').nth(field).unwrap();
            let found = if expected.is_empty() { "" } else { found };
            assert_eq!(found, expected, "{name}: {lines}\n{text}");
            server.stop();
        }
    }
}

#[test]
fn chunked_requests_are_taken_where_that_is_said() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let server = site
        .conf("<Location /yes>\nWSGIChunkedRequest On\n</Location>")
        .mount("/", "probe.wsgi", PROBE)
        .start();
    for (path, status) in [("/yes", 200), ("/no", 411)] {
        let mut connection = server.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        connection.send(format!("{head}3\r\nabc\r\n0\r\n\r\n")).unwrap();
        assert_eq!(connection.response("POST").unwrap().status, status, "{path}");
    }
    server.log().expect("WSGI0139: ");
    server.stop();
}

#[test]
fn head_is_mapped_as_that_is_said() {
    let probe = "
def application(environ, start_response):
    start_response('200 OK', [('X-Method', environ['REQUEST_METHOD'])])
    return [b'x' * 1000]
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let server = site
        .module("mod_filter")
        .module("mod_deflate")
        .conf("<Location /deflated>\nSetOutputFilter DEFLATE\n</Location>")
        .conf("<Location /on>\nWSGIMapHEADToGET On\n</Location>")
        .conf("<Location /off>\nWSGIMapHEADToGET Off\nSetOutputFilter DEFLATE\n</Location>")
        .mount("/", "probe.wsgi", probe)
        .start();
    for (path, method) in [("/", "HEAD"), ("/deflated", "GET"), ("/on", "GET"), ("/off", "HEAD")] {
        let response = server.request("HEAD", path, &[("Accept-Encoding", "gzip")], b"");
        assert_eq!(response.header("X-Method").as_deref(), Some(method), "{path}");
        assert!(response.body.is_empty());
    }
    server.stop();
}

#[test]
fn slow_requests_are_told() {
    let script = "
import time
def application(environ, start_response):
    if environ['QUERY_STRING']:
        time.sleep(float(environ['QUERY_STRING']))
    start_response('200 OK', [])
    return [b'x']
";
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let server = site.conf("WSGISlowRequests 1").mount("/", "app.wsgi", script).start();
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/slow?1.1").status, 200);
    let line = server.log().expect("WSGI1004: Request 'GET /slow' took 1.");
    assert!(line.raw.ends_with(", which is more than the 1 of WSGISlowRequests."), "{}", line.raw);
    server.stop();
}

#[test]
fn what_has_no_effect_is_told() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let server = site
        .conf("WSGITelemetryService unix:/nowhere\nWSGIServerMetrics On\nWSGIVerboseDebugging On")
        .start();
    server.log().expect("WSGI1005: WSGITelemetryService has been read, but this version records");
    server.log().expect("WSGI1005: WSGIServerMetrics has been read, but this version records");
    assert!(!server.log().matching("WSGIVerboseDebugging is deprecated and has no eff").is_empty());
    server.stop();
}

#[test]
fn requests_that_are_no_activity_keep_no_process() {
    let script = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let serve = || {
        let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
        site.conf("WSGIDaemonProcess d threads=2 inactivity-timeout=1\nWSGIProcessGroup d")
            .conf("<Location /check>\nWSGIIgnoreActivity On\n</Location>")
            .mount("/", "app.wsgi", script)
            .start()
    };
    let server = serve();
    let pid = server.get("/").text();
    // The process ends, however often somebody looks whether it is there.
    let deadline = Instant::now() + Duration::from_secs(15);
    while server.get("/check").with_status(200).text() == pid {
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    server.log().expect("Daemon process idle inactivity timer expired, stopping");
    server.log().allow("Daemon process");
    server.stop();

    // Who is only looked at was never active.
    let server = serve();
    let pid = server.get("/check").text();
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(server.get("/check").with_status(200).text(), pid);
    }
    server.stop();
}

#[test]
fn error_pages_of_the_server_take_the_place_of_the_application_s() {
    let script = "
def application(environ, start_response):
    status = environ['QUERY_STRING']
    headers = [('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('X-Own', 'x'),
        ('WWW-Authenticate', 'Basic'), ('Content-Type', 'text/plain')]
    start_response(status + ' Said', headers)
    if environ['PATH_INFO'].startswith('/on/long'):
        return (b'application ' * 10000 for _ in range(10))
    return [b'application']
";
    for mode in [tests::Mode::Embedded, tests::Mode::Daemon] {
        let site = Site::new(Mpm::Event, &matrix::python()).one_child(4).mode(mode);
        let server = site
            .conf("ErrorDocument 404 \"the server's page\"")
            .conf("<Location /on>\nWSGIErrorOverride On\n</Location>")
            .mount("/", "app.wsgi", script)
            .start();
        for (path, status, body) in [
            ("/off?404", 404, "application"),
            ("/on?404", 404, "the server's page"),
            ("/on/long?404", 404, "the server's page"),
            ("/on?200", 200, "application"),
            ("/on?302", 302, "application"),
        ] {
            let response = server.get(path).with_status(status);
            assert_eq!(response.text(), body, "{path}");
            assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2"], "{path}");
            let own = (body == "application").then(|| "x".to_owned());
            assert_eq!(response.header("X-Own"), own, "{path}");
        }
        let response = server.get("/on?401").with_status(401);
        assert_eq!(response.header("WWW-Authenticate").as_deref(), Some("Basic"));
        assert!(response.text().contains("<title>401 Unauthorized</title>"));
        server.stop();
    }
}
