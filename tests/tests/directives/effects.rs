//! What a directive does, where no other tests are about that: what is said inside wins, and what is
//! not said has a default.

use super::*;

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
    let server = site.conf("WSGIVerboseDebugging On").start();
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
