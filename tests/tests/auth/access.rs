//! Who may come in, what a script is told, and where it may be named.

use super::*;

#[test]
fn clients_are_let_in_or_not() {
    let server = site("<Location />\nWSGIAccessScript SCRIPTS\n</Location>").start();
    for (query, status) in [
        ("yes", 200),
        ("none", 200),
        ("no", 403),
        ("one", 403),
        ("word", 403),
        ("raises", 403),
        ("unheard-of", 403),
    ] {
        assert_eq!(server.get(&format!("/?{query}")).status, status, "{query}");
        if status == 403 {
            server.log().expect("WSGI0057: Client denied by server configuration: '");
        }
    }
    server.log().expect("WSGI0055: Result returned from 'allow_access' in '");
    server.log().expect("ValueError: no access");
    server.log().expect("KeyError: 'unheard-of'");
    for tail in ["WSGI0055", "WSGI0057", "WSGI0174", "  File ", "    ", "Traceback"] {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn access_scripts_that_are_broken_let_nobody_in() {
    let server = site(
        "<Location /broken>\nWSGIAccessScript BROKEN\n</Location>\n\
         <Location /empty>\nWSGIAccessScript EMPTY\n</Location>\n\
         <Location /inner>\nWSGIAccessScript SCRIPTS application-group=inner\n</Location>",
    )
    .start();
    assert_eq!(server.get("/broken").status, 403);
    server.log().expect("WSGI0105: ");
    assert_eq!(server.get("/empty").status, 403);
    server.log().expect("does not provide 'allow_access' callable.");
    assert_eq!(server.get("/inner?yes").status, 200);
    assert_eq!(server.get("/none-of-them").status, 200);
    for tail in ["WSGI0057", "WSGI0174", "  File ", "    ", "SyntaxError"] {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn hooks_see_the_request_and_no_credentials() {
    let server = site(
        "SetEnv SECRET 1\nServerAdmin me@example.org\n\
         <Location />\nWSGIAccessScript SCRIPTS\n</Location>",
    )
    .start();
    let headers = [("Authorization", "Basic eDp5"), ("Proxy", "x"), ("X-Some", "y")];
    assert_eq!(server.request("GET", "/a//b?environ", &headers, b"").status, 200);
    let keys = server.log().expect("KEYS ");
    let keys: Vec<&str> = keys.message().split_whitespace().skip(1).collect();
    assert_eq!(
        keys,
        [
            "DOCUMENT_ROOT",
            "HTTP_CONNECTION",
            "HTTP_HOST",
            "HTTP_X_SOME",
            "PATH_INFO",
            "QUERY_STRING",
            "REMOTE_ADDR",
            "REMOTE_PORT",
            "REQUEST_METHOD",
            "REQUEST_URI",
            "SCRIPT_NAME",
            "SERVER_ADDR",
            "SERVER_ADMIN",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
            "SERVER_SIGNATURE",
            "SERVER_SOFTWARE",
            "apache.version",
            "mod_ssl.is_https",
            "mod_ssl.var_lookup",
            "mod_wsgi.application_group",
            "mod_wsgi.process_group",
            "mod_wsgi.version",
            "wsgi.errors",
        ]
    );
    let host = server.log().expect("HOST ");
    assert!(host.message().ends_with("HOST 127.0.0.1 0 None"), "{}", host.raw);
    assert_eq!(server.get("/?kept").status, 200);
    for _ in 0..2 {
        server.log().expect("EXPIRED request object has expired");
    }
    server.log().allow("EXPIRED ");
    server.stop();
}

/// Directives 4: hooks run, and applications do not, where embedded mode is forbidden.
#[test]
fn directives_04_hooks_start_python_where_applications_may_not() {
    let site =
        site("WSGIRestrictEmbedded On\n<Directory />\nAllowOverride AuthConfig\n</Directory>");
    let root = site.path("htdocs/files");
    site.write("htdocs/files/a.txt", "a file");
    let script = site.path("scripts.py");
    let files = root.display().to_string();
    let server = site.conf(format!("Alias /static {files}")).start();
    assert_eq!(server.get("/static/a.txt").status, 200);
    let access = format!("WSGIAccessScript {}\n", script.display());
    server.site().write("htdocs/files/.htaccess", access);
    assert_eq!(server.get("/static/a.txt?yes").with_status(200).text(), "a file");
    assert_eq!(server.get("/static/a.txt?no").status, 403);
    server.log().expect("WSGI0057: ");
    assert_eq!(server.get("/").status, 500);
    server.log().expect("WSGI0143: ");
    server.stop();
}

#[test]
fn htaccess_may_name_scripts_only_where_it_may() {
    let site = site("");
    let script = site.path("scripts.py").display().to_string();
    let htdocs = site.path("htdocs").display().to_string();
    site.write("htdocs/f/a.txt", "a file");
    let server = site
        .conf(format!("Alias /f {htdocs}/f\n<Directory {htdocs}>\nAllowOverride FileInfo"))
        .conf("</Directory>")
        .start();
    for line in [
        format!("WSGIAccessScript {script}"),
        format!("WSGIAuthUserScript {script}"),
        format!("WSGIAuthGroupScript {script}"),
        format!("WSGIDispatchScript {script}"),
        format!("WSGIHandlerScript x {script}"),
        "WSGIGroupAuthoritative On".to_owned(),
        "WSGIPassApacheRequest On".to_owned(),
    ] {
        server.site().write("htdocs/f/.htaccess", format!("{line}\n"));
        assert_eq!(server.get("/f/a.txt").status, 500);
        let name = line.split(' ').next().unwrap();
        server.log().expect(&format!(".htaccess: {name} not allowed here"));
    }
    // Errors are as in the server's own files, and nothing but an error.
    for (line, said) in [
        ("WSGITrustedProxies localhost", "Unable to parse trusted proxy IP address/subnet"),
        ("WSGITrustedProxyHeaders X_Real_IP", "X_Real_IP"),
        ("WSGIScriptReloading maybe", "WSGIScriptReloading must be one of: Off | On"),
        ("WSGIMapHEADToGET maybe", "WSGIMapHEADToGET must be one of: Off | On | Auto"),
    ] {
        server.site().write("htdocs/f/.htaccess", format!("{line}\n"));
        assert_eq!(server.get("/f/a.txt").status, 500);
        server.log().expect(said);
    }
    server.site().write("htdocs/f/.htaccess", "WSGIErrorOverride On\n");
    assert_eq!(server.get("/f/a.txt").status, 200);
    server.stop();
}

#[test]
fn satisfy_any_takes_either() {
    let server = site(
        "<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS\nWSGIAccessScript SCRIPTS\nRequire valid-user\nSatisfy Any\n\
         </Location>",
    )
    .module("mod_access_compat")
    .start();
    assert_eq!(server.get("/?yes").status, 200);
    // No line about a denied client: he may still say who he is.
    assert_eq!(server.get("/?no").status, 401);
    let credentials = basic_credentials(b"ann", b"secret");
    let headers = [("Authorization", credentials.as_str())];
    assert_eq!(server.request("GET", "/?no", &headers, b"").status, 200);
    server.stop();
}

#[test]
fn hook_scripts_are_loaded_again_when_they_change() {
    let server = site("<Location />\nWSGIAccessScript SCRIPTS\n</Location>").start();
    assert_eq!(server.get("/?no").status, 403);
    server.log().expect("WSGI0057: ");
    let path = server.site().path("scripts.py");
    std::fs::write(&path, "def allow_access(environ, host):\n    return True\n").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(99)).unwrap();
    assert_eq!(server.get("/?no").status, 200);
    server.stop();
}
