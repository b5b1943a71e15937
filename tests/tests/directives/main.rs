//! Every directive of mod_wsgi, as one table: where it may be written and what is said elsewhere, how
//! many arguments it takes, which values it refuses, what holds if nothing is said, and what wins if
//! several say something.

#![allow(clippy::unwrap_used)]

mod effects;
mod htaccess;

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
    check(lines).assert_refused(message);
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
    let page = include_str!("../../../docs/directives.md");
    for line in list.lines().filter(|line| line.ends_with(" (mod_wsgi.c)")) {
        let name = line.split(' ').next().unwrap();
        assert!(page.contains(&format!("`{name}")), "{name}");
    }
}
