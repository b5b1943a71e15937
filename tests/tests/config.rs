//! Directives as `httpd -t` sees them: what is accepted, and the exact words when it is not.

#![allow(clippy::unwrap_used)]

use tests::{Mpm, Site, matrix};

/// Checks a configuration with the module and these lines.
fn check(lines: &str) -> tests::Check {
    Site::homeless(Mpm::Event).conf(lines).check()
}

#[track_caller]
fn accepted(lines: &str) {
    let check = check(lines);
    assert!(check.ok, "{lines}\n{}", check.output);
    assert!(check.output.contains("Syntax OK"), "{}", check.output);
}

/// The configuration is refused with this message, on a line of its own.
#[track_caller]
fn refused(lines: &str, message: &str) {
    check(lines).assert_refused(message);
}

#[test]
fn the_module_is_called_mod_wsgi_c() {
    for name in ["mod_wsgi.c", "wsgi_module"] {
        refused(
            &format!("<IfModule {name}>\nNoSuchDirective\n</IfModule>"),
            "Invalid command 'NoSuchDirective', perhaps misspelled or defined by a module not \
             included in the server configuration",
        );
        accepted(&format!("<IfModule !{name}>\nNoSuchDirective\n</IfModule>"));
    }
    let modules = Site::homeless(Mpm::Event).run(&["-M"]);
    assert!(modules.output.contains(" wsgi_module (shared)"), "{}", modules.output);
}

#[test]
fn good_aliases_are_accepted() {
    for line in [
        "WSGIScriptAlias / /srv/app.wsgi",
        "WSGIScriptAlias /a /srv/app.wsgi process-group=%{GLOBAL}",
        "WSGIScriptAlias /a /srv/app.wsgi application-group=%{GLOBAL}",
        "WSGIScriptAlias /a \"/srv/my app.wsgi\" application-group=\"a b\" callable-object=app",
        "WSGIScriptAlias /a /srv/app.wsgi application-group= x",
        "WSGIScriptAlias /a /srv/app.wsgi application-group=a application-group=b",
        "WSGIScriptAliasMatch ^/m/([a-z]+) /srv/$1.wsgi",
        "WSGIScriptAlias /rel app/app.wsgi",
        "<VirtualHost *:1>\nWSGIScriptAlias / /srv/app.wsgi\n</VirtualHost>",
        "WSGIPythonPath /srv/a:/srv/b",
        "WSGIPythonHome /no/such/place",
        "WSGIApplicationGroup %{GLOBAL}",
        "WSGIApplicationGroup %{ENV:X}",
        "<Location /x>\nWSGIApplicationGroup x\nWSGICallableObject app\n</Location>",
        "WSGICallableObject app",
        "<VirtualHost *:1>\nWSGICallableObject app\nWSGIApplicationGroup a\n</VirtualHost>",
    ] {
        accepted(line);
    }
}

#[test]
fn bad_aliases_are_refused() {
    let group = "Invalid name for WSGI process group.";
    let application = "Invalid name for WSGI application group.";
    let callable = "Invalid name for WSGI callable object.";
    let option = "Invalid option to WSGI script alias definition.";
    for (line, message) in [
        (
            "WSGIScriptAlias",
            "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
        ),
        (
            "WSGIScriptAlias /a",
            "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
        ),
        (
            "WSGIScriptAlias \"\" /x",
            "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
        ),
        (
            "WSGIScriptAlias /a \"\"",
            "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
        ),
        (
            "WSGIScriptAliasMatch ^/a",
            "WSGIScriptAliasMatch requires at least two arguments, Map location pattern to target WSGI script file.",
        ),
        ("WSGIScriptAliasMatch ^/(a /x", "Regular expression could not be compiled."),
        ("WSGIScriptAlias /a /x process-group=\"\"", group),
        ("WSGIScriptAlias /a /x process-group=", group),
        ("WSGIScriptAlias /a /x application-group=\"\"", application),
        ("WSGIScriptAlias /a /x callable-object=\"\"", callable),
        ("WSGIScriptAlias /a /x pass-authorization=maybe", "Invalid value for authorization flag."),
        ("WSGIScriptAlias /a /x pass-authorization=\"\"", "Invalid value for authorization flag."),
        ("WSGIScriptAlias /a /x user=me", option),
        ("WSGIScriptAlias /a /x Process-Group=me", option),
        ("WSGIScriptAlias /a /x process-group", option),
        ("WSGIScriptAlias /a /x process-group =x", option),
        ("WSGIScriptAlias /a /x script-reloading=On", option),
        ("WSGIScriptAliasMatch ^/a /x nonsense", option),
    ] {
        refused(line, message);
    }
}

#[test]
fn counts_and_places_are_checked() {
    let outside = |name: &str, place: &str| format!("{name} {place}");
    for (name, help) in [
        ("WSGIPythonHome", "Python prefix/exec_prefix absolute path names."),
        ("WSGIPythonPath", "Python module search path."),
        ("WSGIApplicationGroup", "Application interpreter group."),
        ("WSGICallableObject", "Name of entry point in WSGI script file."),
        ("WSGIProcessGroup", "Name of the WSGI process group."),
        ("WSGIPythonEggs", "Python eggs cache directory."),
        ("WSGISocketPrefix", "Path prefix for the daemon process sockets."),
        ("WSGISwitchInterval", "Override Python GIL switch interval (seconds)."),
    ] {
        refused(name, &format!("{name} takes one argument, {help}"));
        refused(&format!("{name} a b"), &format!("{name} takes one argument, {help}"));
    }
    for (lines, name, place) in [
        (
            "<VirtualHost *:1>\nWSGIPythonHome /x\n</VirtualHost>",
            "WSGIPythonHome",
            "cannot occur within <VirtualHost> section",
        ),
        (
            "<VirtualHost *:1>\nWSGIPythonPath /x\n</VirtualHost>",
            "WSGIPythonPath",
            "cannot occur within <VirtualHost> section",
        ),
        (
            "<Directory /x>\nWSGIPythonHome /x\n</Directory>",
            "WSGIPythonHome",
            "not allowed in <Directory> context",
        ),
        (
            "<Location /x>\nWSGIScriptAlias / /x\n</Location>",
            "WSGIScriptAlias",
            "not allowed in <Location> context",
        ),
        (
            "<Files x>\nWSGIScriptAliasMatch / /x\n</Files>",
            "WSGIScriptAliasMatch",
            "not allowed in <Files> context",
        ),
    ] {
        refused(lines, &outside(name, place));
    }
}

#[test]
fn flags_say_on_or_off() {
    for name in [
        "WSGIScriptReloading",
        "WSGIPassAuthorization",
        "WSGIChunkedRequest",
        "WSGIErrorOverride",
        "WSGIEnableSendfile",
        "WSGIRestrictEmbedded",
        "WSGIRestrictStdin",
        "WSGIRestrictStdout",
        "WSGIRestrictSignal",
        "WSGIDestroyInterpreter",
        "WSGICaseSensitivity",
    ] {
        for value in ["true", "1", "yes"] {
            refused(&format!("{name} {value}"), &format!("{name} must be one of: Off | On"));
        }
    }
    let three = "WSGIMapHEADToGET must be one of: Off | On | Auto";
    refused("WSGIMapHEADToGET maybe", three);
}

#[test]
fn values_of_other_directives_are_checked() {
    for (line, message) in [
        ("WSGIDaemonProcess", "Name of WSGI daemon process not supplied."),
        ("WSGIDaemonProcess a processes=0", "Invalid process count for WSGI daemon process."),
        ("WSGIDaemonProcess a threads=-1", "Invalid thread count for WSGI daemon process."),
        ("WSGIDaemonProcess a nonsense=1", "Invalid option to WSGI daemon process definition."),
        (
            "WSGIDaemonProcess a\nWSGIDaemonProcess a",
            "Name duplicates previous WSGI daemon definition.",
        ),
        ("WSGIDaemonProcess a umask=9", "Invalid umask for WSGI daemon process."),
        ("WSGIDaemonProcess a home=relative", "Invalid home directory for WSGI daemon process."),
        (
            "WSGIDaemonProcess a header-buffer-size=100",
            "Header buffer size must be >= 8192 bytes, or 0 for default.",
        ),
        ("WSGIImportScript", "Location of import script not supplied."),
        (
            "WSGIPythonHashSeed x",
            "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]",
        ),
        ("WSGISwitchInterval -1", "WSGISwitchInterval must be a positive number of seconds."),
        ("WSGISwitchInterval x", "WSGISwitchInterval must be a positive number of seconds."),
        ("WSGIHandlerScript", "Name for handler script not supplied."),
        ("WSGIHandlerScript a", "Location of handler script not supplied."),
        (
            "WSGIHandlerScript a /x callable-object=b",
            "Invalid option to WSGI handler script definition.",
        ),
        ("WSGIDispatchScript", "Location of dispatch script not supplied."),
    ] {
        refused(line, message);
    }
}

#[test]
fn an_unknown_directive_is_apaches_error() {
    let check = check("WSGINoSuchThing On");
    assert!(!check.ok && check.output.contains("Invalid command 'WSGINoSuchThing'"), "{check:?}");
}

#[test]
fn checking_starts_nothing() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let site = site.mount("/", "app.wsgi", "raise SystemExit('loaded')\n");
    let files = |site: &Site| -> Vec<String> {
        let entries = std::fs::read_dir(site.dir()).unwrap().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let check = site.check();
    assert!(check.ok, "{}", check.output);
    assert_eq!(check.output.trim(), "Syntax OK");
    assert!(tests::process::Process::marked(site.dir()).is_empty());
    let mut left = files(&site);
    left.sort();
    assert_eq!(left, ["app.wsgi", "htdocs", "httpd.conf", "ready.txt"]);
}

#[test]
fn htaccess_may_say_what_it_may() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let script = "def other(environ, start_response):\n    start_response('200 OK', [])\n    return [b'other']\n";
    site.write("htdocs/s.wsgi", script);
    let root = site.path("htdocs");
    let server = site
        .conf(format!("<Directory {}>", root.display()))
        .conf("AllowOverride FileInfo\nOptions ExecCGI\nSetHandler wsgi-script\n</Directory>")
        .start();
    server.site().write("htdocs/.htaccess", "WSGICallableObject other\n");
    assert_eq!(server.get("/s.wsgi").with_status(200).text(), "other");
    server.site().write("htdocs/.htaccess", "WSGIPythonPath /x\n");
    assert_eq!(server.get("/s.wsgi").status, 500);
    server.log().expect(".htaccess: WSGIPythonPath not allowed here");
    server.stop();
}
