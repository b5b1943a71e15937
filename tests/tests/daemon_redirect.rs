//! Daemon mode: a `Location` that is a path, with a status of 200, is served by the server itself.

#![allow(clippy::unwrap_used)]

use tests::http::head;
use tests::{GROUP, Mode, Mpm, Server, Site, matrix};

/// Answers as the query says: status, then `Location`s, separated by `;`.
const SCRIPT: &str = r#"
def application(environ, start_response):
    status, *locations = environ['QUERY_STRING'].split(';')
    headers = [('Location', location) for location in locations]
    headers += [('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2'), ('X-Lost', 'yes')]
    if environ['PATH_INFO'] == '/reads':
        environ['wsgi.input'].read()
    if environ['PATH_INFO'] == '/endless':
        start_response(status + ' OK', headers)
        return iter(lambda: b'x' * 10000, None)
    start_response(status + ' OK', headers + [('Content-Length', '4')])
    return [b'lost']
"#;

/// What a redirect leads to: says how it was asked.
const TARGET: &str = r#"
import json
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    names = ['REQUEST_METHOD', 'QUERY_STRING', 'PATH_INFO', 'REDIRECT_STATUS', 'REDIRECT_URL',
        'CONTENT_LENGTH', 'HTTP_X_KEPT', 'mod_wsgi.process_group']
    found = {name: environ[name] for name in names if environ.get(name)}
    found['body'] = len(body)
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(found, sort_keys=True).encode()]
"#;

fn serve() -> Server {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let [app, target] = [("app.wsgi", SCRIPT), ("target.wsgi", TARGET)].map(|(name, text)| {
        let path = site.write(name, text);
        path.display().to_string()
    });
    site.write("htdocs/file.txt", "a file\n");
    site.conf(format!("WSGIScriptAlias /app {app}"))
        .conf(format!("WSGIScriptAlias /daemon {target}"))
        .conf(format!("WSGIScriptAlias /embedded {target}"))
        .conf("<Location /embedded>\nWSGIProcessGroup %{GLOBAL}\n</Location>")
        .start()
}

#[test]
fn a_file_is_served_instead() {
    let server = serve();
    let response = server.get("/app?200;/file.txt").with_status(200);
    assert_eq!(response.text(), "a file\n");
    assert_eq!(response.header("Content-Length").as_deref(), Some("7"));
    assert_eq!(response.header("Location"), None);
    assert_eq!(response.header("X-Lost"), None);
    // The reference loses them.
    assert_eq!(response.all("Set-Cookie"), ["a=1", "b=2"]);
    let response = server.request("HEAD", "/app?200;/file.txt", &[], b"").with_status(200);
    assert_eq!(response.header("Content-Length").as_deref(), Some("7"));
    assert_eq!(server.get("/app?200;/none.txt").status, 404);
    // The last one counts.
    assert_eq!(server.get("/app?200;/none.txt;/file.txt").text(), "a file\n");
    server.stop();
}

#[test]
fn another_application_is_asked_without_a_body() {
    let server = serve();
    for (place, group) in [("daemon", GROUP), ("embedded", "")] {
        for from in ["/app", "/app/reads"] {
            let path = format!("{from}?200;/{place}/there?x=1");
            let headers = [("X-Kept", "yes"), ("Connection", "keep-alive")];
            let mut connection = server.connect();
            // Twice on one connection: nothing of the body may be left there.
            for _ in 0..2 {
                let body = vec![b'b'; 100_000];
                connection.send(head("POST", &path, &headers, body.len())).unwrap();
                connection.send(body).unwrap();
                let response = connection.response("POST").unwrap().with_status(200);
                let mut expected = concat!(
                    r#"{"HTTP_X_KEPT": "yes", "PATH_INFO": "/there", "QUERY_STRING": "x=1", "#,
                    r#""REDIRECT_STATUS": "200", "REDIRECT_URL": "@", "#,
                    r#""REQUEST_METHOD": "GET", "body": 0"#
                )
                .replace('@', from);
                if !group.is_empty() {
                    expected += &format!(r#", "mod_wsgi.process_group": "{group}""#);
                }
                assert_eq!(response.text(), expected + "}", "{place}");
            }
        }
    }
    server.stop();
}

#[test]
fn everything_else_is_an_ordinary_response() {
    let server = serve();
    for query in ["200;http://localhost/file.txt", "200;file.txt", "302;/file.txt", "201;/file.txt"]
    {
        let response = server.get(&format!("/app?{query}"));
        let (status, location) = query.split_once(';').unwrap();
        assert_eq!(response.status.to_string(), status);
        assert_eq!(response.text(), "lost");
        let found = response.header("Location").unwrap();
        assert!(found.ends_with(location.trim_start_matches('/')), "{found}");
    }
    server.stop();
}

#[test]
fn a_response_without_end_is_told_to_end() {
    let server = serve();
    assert_eq!(server.get("/app/endless?200;/file.txt").text(), "a file\n");
    server.stop();
}

#[test]
fn circles_are_found() {
    let server = serve();
    let site = server.site();
    site.write(
        "app.wsgi",
        "def application(environ, start_response):\n    \
             start_response('200 OK', [('Location', '/app')])\n    return []\n",
    );
    assert_eq!(server.get("/app").status, 500);
    server.log().expect("AH00124: Request exceeded the limit of 10 internal redirects");
    server.stop();
}
