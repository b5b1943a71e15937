//! The environ dictionary under Apache: which keys, how paths are split, what is never there.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::conformance::PROBE;
use tests::{Mpm, Server, Site, matrix};

struct Environ(Value);

impl Environ {
    fn of(server: &Server, path: &str, headers: &[(&str, &str)]) -> Environ {
        let response = server.request("GET", path, headers, b"").with_status(200);
        Environ(serde_json::from_slice::<Value>(&response.body).unwrap()["environ"].clone())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The value of a key that is a str.
    #[track_caller]
    fn text(&self, key: &str) -> &str {
        let item = self.get(key).unwrap_or_else(|| panic!("there is no {key}"));
        assert_eq!(item["type"], "str", "{key}");
        item["value"].as_str().unwrap()
    }

    #[track_caller]
    fn is(&self, key: &str, wanted: &str) {
        assert_eq!(self.text(key), wanted, "{key}");
    }

    /// The numbers of a key that is a tuple.
    fn numbers(&self, key: &str) -> Vec<u64> {
        let items = self.get(key).unwrap()["value"].as_array().unwrap();
        items.iter().map(|item| item["value"].as_u64().unwrap()).collect()
    }
}

#[test]
fn keys_and_values_are_those_of_the_table() {
    matrix::for_each_cell(|cell| {
        let server = Site::new(cell.mpm, &cell.python)
            .conf("ServerAdmin admin@example.org")
            .mount("/app", "probe.py", PROBE)
            .start();
        let environ = Environ::of(&server, "/app/x%20y?q=%41", &[("X-Some", "Thing")]);
        let port = server.port().to_string();
        let script = server.site().path("probe.py").display().to_string();
        let root = server.site().path("htdocs").display().to_string();
        for (key, wanted) in [
            ("REQUEST_METHOD", "GET"),
            ("QUERY_STRING", "q=%41"),
            ("REQUEST_URI", "/app/x%20y?q=%41"),
            ("SCRIPT_NAME", "/app"),
            ("PATH_INFO", "/x y"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("SERVER_NAME", "localhost"),
            ("SERVER_PORT", "80"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REQUEST_SCHEME", "http"),
            ("SERVER_ADMIN", "admin@example.org"),
            ("DOCUMENT_ROOT", &root),
            ("CONTEXT_PREFIX", ""),
            ("CONTEXT_DOCUMENT_ROOT", &root),
            ("SCRIPT_FILENAME", &script),
            ("HTTP_HOST", "localhost"),
            ("HTTP_CONNECTION", "close"),
            ("HTTP_X_SOME", "Thing"),
            ("wsgi.url_scheme", "http"),
            ("mod_wsgi.process_group", ""),
            ("mod_wsgi.application_group", "localhost|/app"),
            ("mod_wsgi.callable_object", "application"),
            ("mod_wsgi.request_handler", "wsgi-script"),
            ("mod_wsgi.handler_script", ""),
            ("mod_wsgi.script_name", "/app"),
            ("mod_wsgi.path_info", "/x y"),
            ("mod_wsgi.listener_port", &port),
        ] {
            environ.is(key, wanted);
        }
        assert!(environ.text("REMOTE_PORT").parse::<u16>().is_ok());
        let software = environ.text("SERVER_SOFTWARE");
        let python = format!("Python/{}", cell.python.version);
        assert!(software.contains(" mod_wsgi/6.1.1 ") && software.contains(&python), "{software}");
        let pid: u32 = environ.text("mod_wsgi.server_pid").parse().unwrap();
        assert!(server.children().iter().any(|child| child.pid == pid), "{pid}");
        assert!(environ.text("mod_wsgi.request_id").len() > 10);
        environ.text("mod_wsgi.listener_host");
        assert_eq!(environ.numbers("wsgi.version"), [1, 0]);
        assert_eq!(environ.numbers("mod_wsgi.version"), [6, 1, 1]);
        assert_eq!(environ.numbers("apache.version")[..2], [2, 4]);
        for (key, kind) in [
            ("wsgi.input", "Input"),
            ("wsgi.errors", "TextIOWrapper"),
            ("wsgi.file_wrapper", "type"),
            ("wsgi.input_terminated", "bool"),
            ("wsgi.multithread", "bool"),
            ("wsgi.multiprocess", "bool"),
            ("wsgi.run_once", "bool"),
            ("mod_wsgi.thread_id", "int"),
            ("mod_wsgi.request_start", "float"),
            ("mod_wsgi.application_start", "float"),
            ("mod_wsgi.queue_start", "float"),
            ("mod_wsgi.daemon_start", "float"),
        ] {
            assert_eq!(environ.get(key).unwrap_or(&json!(null))["type"], kind, "{key}");
        }
        assert_eq!(environ.get("wsgi.input_terminated").unwrap()["value"], true);
        assert_eq!(environ.get("wsgi.multithread").unwrap()["value"], cell.mpm.threaded());
        assert_eq!(environ.get("wsgi.multiprocess").unwrap()["value"], true);
        assert_eq!(environ.get("wsgi.run_once").unwrap()["value"], false);
        let time = |key: &str| environ.get(key).unwrap()["value"].as_f64().unwrap();
        let (request, application) =
            (time("mod_wsgi.request_start"), time("mod_wsgi.application_start"));
        assert!(application >= request && application - request < 60.0);
        assert_eq!((time("mod_wsgi.queue_start"), time("mod_wsgi.daemon_start")), (0.0, 0.0));
        server.stop();
    });
}

#[test]
fn what_is_never_there() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("SetEnv PATH /evil\nSetEnv mod_wsgi.x-secret 1\nSetEnv wsgi.version 9")
        .conf("SetEnv wsgi.input_terminated 0\nSetEnv apache.version 9")
        .conf("SetEnv mod_wsgi.process_group evil\nSetEnv mod_wsgi.custom mine\nSetEnv WIDE \"\u{e9}\"")
        .conf("SetEnv foo 1\nSetEnv FOO 2\nSetEnv REQUEST_METHOD EVIL")
        .mount("/", "probe.py", PROBE)
        .start();
    let headers = [
        ("Authorization", "Basic eDp5"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Proxy", "http://evil"),
        ("X_Under", "1"),
        ("X.Dot", "1"),
        ("X-Fine", "1"),
    ];
    let environ = Environ::of(&server, "/", &headers);
    for key in [
        "PATH",
        "LD_LIBRARY_PATH",
        "HTTPS",
        "PATH_TRANSLATED",
        "GATEWAY_INTERFACE",
        "SERVER_SIGNATURE",
        "REMOTE_HOST",
        "REMOTE_IDENT",
        "HTTP_PROXY",
        "HTTP_AUTHORIZATION",
        "HTTP_PROXY_AUTHORIZATION",
        "HTTP_X_UNDER",
        "HTTP_X_DOT",
        "HTTP_X.DOT",
        "CONTENT_TYPE",
        "CONTENT_LENGTH",
        "REMOTE_USER",
        "AUTH_TYPE",
        "mod_wsgi.x-secret",
        "mod_ssl.is_https",
        "mod_wsgi.script_reloading",
        "mod_wsgi.input_chunked",
        "apache.request_rec",
        "mod_wsgi.mount_point",
        "WSGI_TEST_SERVER",
    ] {
        assert!(environ.get(key).is_none(), "{key}: {:?}", environ.get(key));
    }
    environ.is("HTTP_X_FINE", "1");
    environ.is("mod_wsgi.custom", "mine");
    environ.is("mod_wsgi.process_group", "");
    environ.is("REQUEST_METHOD", "GET");
    environ.is("foo", "2");
    assert!(environ.get("FOO").is_none(), "tables know no case");
    // The bytes of the configuration file, as Latin-1.
    environ.is("WIDE", "\u{c3}\u{a9}");
    assert_eq!(environ.numbers("wsgi.version"), [1, 0]);
    assert_eq!(environ.numbers("apache.version")[..2], [2, 4]);
    assert_eq!(environ.get("wsgi.input_terminated").unwrap()["value"], true);
    server.stop();
}

#[test]
fn https_comes_from_the_environment() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("SetEnvIf Request_URI ^/on HTTPS=On\nSetEnvIf Request_URI ^/one HTTPS=1")
        .conf("SetEnvIf Request_URI ^/off HTTPS=off")
        .mount("/", "probe.py", PROBE)
        .start();
    for (path, scheme) in [("/on", "https"), ("/one", "https"), ("/off", "http"), ("/", "http")] {
        let environ = Environ::of(&server, path, &[]);
        environ.is("wsgi.url_scheme", scheme);
        assert!(environ.get("HTTPS").is_none(), "{path}");
        environ.is("REQUEST_SCHEME", "http");
    }
    server.stop();
}

#[test]
fn paths_are_split_as_in_the_table() {
    let site = Site::new(Mpm::Event, &matrix::python()).module("mod_rewrite");
    let one = site.write("one.wsgi", PROBE);
    site.write("scripts/s.wsgi", PROBE);
    site.write("htdocs/cgi/s.wsgi", PROBE);
    let (scripts, htdocs) = (site.path("scripts"), site.path("htdocs/cgi"));
    let server = site
        .conf(format!("WSGIScriptAliasMatch ^/m/([a-z]+) {}/$1.wsgi", scripts.display()))
        .conf(format!("WSGIScriptAlias /dir {}", scripts.display()))
        .conf("<Location /cgi>\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi\n</Location>")
        .conf("RewriteEngine On\nRewriteRule ^/rw/(.*)$ /app/x/$1 [PT]")
        .conf(format!("Alias /cgi {}", htdocs.display()))
        .conf(format!("WSGIScriptAlias /app {}", one.display()))
        .conf(format!("WSGIScriptAlias / {}", one.display()))
        .start();
    for (path, script, info) in [
        ("/", "", "/"),
        ("//", "", "/"),
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("//app//x//y", "/app", "/x/y"),
        ("/app//x/", "/app", "/x/"),
        ("/appx", "", "/appx"),
        ("/m/s/def", "/m/s", "/def"),
        ("/dir/s.wsgi", "/dir/s.wsgi", ""),
        ("/dir/s.wsgi/x//y", "/dir/s.wsgi", "/x/y"),
        ("/cgi/s.wsgi/p1//p2", "/cgi/s.wsgi", "/p1/p2"),
        ("/rw/foo", "/app", "/x/foo"),
        ("/a/../b/./c", "", "/b/c"),
        ("/%e9", "", "/\u{e9}"),
        ("/%C3%A9", "", "/\u{c3}\u{a9}"),
        ("/a%0ab", "", "/a\nb"),
        ("/a%25b", "", "/a%b"),
    ] {
        let environ = Environ::of(&server, path, &[]);
        let found = (environ.text("SCRIPT_NAME"), environ.text("PATH_INFO"));
        assert_eq!(found, (script, info), "{path}");
        environ.is("REQUEST_URI", path);
    }
    assert_eq!(server.get("/a%2fb").status, 404);
    assert_eq!(server.get("/%00").status, 404);
    server.stop();
}

#[test]
fn encoded_slashes_follow_apache() {
    for (setting, wanted) in [("On", "/a/b"), ("NoDecode", "/a%2Fb")] {
        let server = Site::new(Mpm::Event, &matrix::python())
            .conf(format!("AllowEncodedSlashes {setting}"))
            .mount("/", "probe.py", PROBE)
            .start();
        Environ::of(&server, "/a%2Fb", &[]).is("PATH_INFO", wanted);
        server.stop();
    }
}

#[test]
fn aliases_match_in_order() {
    let answer = |name: &str| {
        format!(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    \
             return [b'{name}']\n"
        )
    };
    let site = Site::new(Mpm::Event, &matrix::python());
    let file = site.write("static.txt", "static");
    let server = site
        .mount("/a", "a.wsgi", &answer("a"))
        .mount("/a/b", "ab.wsgi", &answer("ab"))
        .conf("WSGICallableObject other")
        .mount("/named", "n.wsgi", &answer("named").replace("application", "other"))
        .conf(format!("Alias /a/static {}", file.display()))
        .conf("<Location /a>\nWSGICallableObject application\n</Location>")
        .start();
    assert_eq!(server.get("/a").text(), "a");
    // The first match wins, not the longest, and Apache's own aliases before both.
    assert_eq!(server.get("/a/b").text(), "a");
    assert_eq!(server.get("/a/static").text(), "static");
    assert_eq!(server.get("/named").text(), "named");
    assert_eq!(server.get("/ax").status, 404);
    server.stop();
}

#[test]
fn a_handler_needs_exec_cgi() {
    let site = Site::new(Mpm::Event, &matrix::python());
    site.write("htdocs/s.wsgi", PROBE);
    let server =
        site.conf("<Location />\nSetHandler wsgi-script\nOptions None\n</Location>").start();
    assert_eq!(server.get("/s.wsgi").status, 403);
    server.log().expect("WSGI0134: Options ExecCGI is off in this directory.");
    server.stop();
}

#[test]
fn an_authenticated_user_is_named() {
    let site = Site::new(Mpm::Event, &matrix::python())
        .module("mod_authn_core")
        .module("mod_authn_file")
        .module("mod_auth_basic")
        .module("mod_authz_user");
    // htpasswd -s: the SHA-1 of "secret".
    let file = site.write("users", "ada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
    let server = site
        .conf(format!("<Location />\nAuthType Basic\nAuthName x\nAuthUserFile {}", file.display()))
        .conf("Require valid-user\n</Location>")
        .mount("/", "probe.py", PROBE)
        .start();
    assert_eq!(server.get("/").status, 401);
    let environ = Environ::of(&server, "/", &[("Authorization", "Basic YWRhOnNlY3JldA==")]);
    environ.is("REMOTE_USER", "ada");
    environ.is("AUTH_TYPE", "Basic");
    assert!(environ.get("HTTP_AUTHORIZATION").is_none());
    server.stop();
}
