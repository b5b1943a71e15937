//! Daemon mode: the same responses as in embedded mode, byte for byte, and what is better than in
//! the reference: bodies that go both ways at once, and nothing read before it is wanted.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;
use tests::http::{Connection, End, Response, head};
use tests::process::wait_for;
use tests::{Mpm, Server, Site, matrix};

const CORPUS: &str = include_str!("../apps/modes.py");

const SOON: Duration = Duration::from_secs(15);

/// A server in which a header of the request says where an application runs.
fn serve(script: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes");
    let server = site
        .conf("WSGIDaemonProcess d threads=8\nSetEnvIf Request_URI ^ test.group=%{GLOBAL}")
        .conf("SetEnvIf X-Mode ^daemon$ test.group=d")
        .conf("WSGIProcessGroup %{ENV:test.group}\nWSGIApplicationGroup %{GLOBAL}")
        .conf(format!("SetEnv test.dir {}", notes.display()))
        // Here it is the application that reads the client's body.
        .conf("<LocationMatch ^/(refuses|both)>\nWSGIBufferRequests Off\n</LocationMatch>")
        .mount("/", "app.wsgi", script)
        .start();
    server.log().allow("[wsgi:error]");
    server.log().allow("[wsgi:warn]");
    server
}

const MODES: [&str; 2] = ["embedded", "daemon"];

/// What does not depend on when it was said, and how it was cut into parts.
fn essence(response: Response) -> Response {
    let mut response = response;
    response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"Date"));
    response.chunks.clear();
    response
}

/// Sends a request in each mode; what comes back, unless nothing does.
fn both(server: &Server, method: &str, text: &str, body: &[u8]) -> [Option<Response>; 2] {
    MODES.map(|mode| {
        let mut connection = server.connect();
        connection.send(text.replace("@MODE", mode)).unwrap();
        // It may have answered, and closed, before it has all of it.
        let _ = connection.send(body);
        connection.response(method).ok().map(essence)
    })
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let headers: Vec<_> = headers.iter().copied().chain([("X-Mode", "@MODE")]).collect();
    head(method, path, &headers, length)
}

#[test]
fn responses_are_the_same_in_both_modes() {
    let server = serve(CORPUS);
    let names = server.get("/names").with_status(200).text();
    let where_from = both(&server, "GET", &request("GET", "/where", &[], 0), b"");
    assert_eq!(where_from.map(|response| response.unwrap().text()), ["", "d"]);
    let (mut count, mut different) = (0, Vec::new());
    let mut compare = |what: String, method: &str, text: &str, body: &[u8]| {
        let [embedded, daemon] = both(&server, method, text, body);
        count += 1;
        if embedded != daemon {
            different.push(format!("{what}:\n  embedded {embedded:?}\n  daemon   {daemon:?}"));
        }
        assert!(embedded.is_some() || what.contains("nothing"), "{what} is not answered");
    };
    for name in names.split_whitespace() {
        let path = format!("/{name}");
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let text = request(method, &path, &[], 0);
            compare(format!("{method} {path}"), method, &text, b"");
        }
        let old = format!("GET {path} HTTP/1.0\r\nX-Mode: @MODE\r\n\r\n");
        compare(format!("HTTP/1.0 {path}"), "GET", &old, b"");
        // The server itself serves ranges of files, where it has them.
        if name != "real_file" {
            let range = request("GET", &path, &[("Range", "bytes=1-3")], 0);
            compare(format!("a range of {path}"), "GET", &range, b"");
        }
    }
    for length in [1, 8_000, 100_000, 2_000_000] {
        let body = vec![b'u'; length];
        for path in ["/echo", "/lines", "/unread", "/some"] {
            let text = request("POST", path, &[], length);
            compare(format!("{length} bytes to {path}"), "POST", &text, &body);
        }
    }
    let coded = [("Transfer-Encoding", "chunked")];
    for body in [&b"3\r\nabc\r\n0\r\n\r\n"[..], b"0\r\n\r\n", b"zz\r\n"] {
        let text = request("POST", "/echo", &coded, 0);
        compare(format!("chunks {body:?}"), "POST", &text, body);
    }
    assert!(different.is_empty(), "{} of {count}:\n{}", different.len(), different.join("\n"));
    assert!(count > 150, "only {count} were compared");
    server.stop();
}

/// An application that is asked for a part of what it says knows of that itself.
#[test]
fn ranges_are_for_the_application_but_for_files() {
    let script = r#"
def application(environ, start_response):
    if environ['PATH_INFO'] == '/file':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return environ['wsgi.file_wrapper'](open(environ['SCRIPT_FILENAME'], 'rb'))
    length = int(environ['PATH_INFO'][1:])
    start_response('200 OK', [('Content-Length', str(length))])
    return [b'x' * length]
"#;
    let server = serve(script);
    for path in ["/0", "/6", "/100000"] {
        for range in ["bytes=1-3", "bytes=4000000-"] {
            for method in ["GET", "POST"] {
                let text = request(method, path, &[("Range", range)], 0);
                for response in both(&server, method, &text, b"") {
                    let response = response.unwrap();
                    let length = response.body.len().to_string();
                    assert_eq!((response.status, length.as_str()), (200, &path[1..]), "{text}");
                }
            }
        }
    }
    let text = request("GET", "/file", &[("Range", "bytes=1-3")], 0);
    let statuses = both(&server, "GET", &text, b"").map(|response| response.unwrap().status);
    assert_eq!(statuses, [206, 200]);
    server.stop();
}

/// An application that notes that it runs, and goes on when it is told to.
const STEPS: &str = r#"
import os, time

def application(environ, start_response):
    path = environ['PATH_INFO']
    def file(name):
        return os.path.join(environ['test.dir'], name)
    def note(name, text=''):
        with open(file(name + '.new'), 'w') as out:
            out.write(text)
        os.rename(file(name + '.new'), file(name))
    def wait(name):
        for _ in range(1500):
            if os.path.exists(file(name)):
                return
            time.sleep(0.01)
        raise RuntimeError(name + ' does not come')
    class Body:
        def __init__(self, parts):
            self.parts = iter(parts)
        def __iter__(self):
            return self.parts
        def close(self):
            note('closed')
    def both_ways():
        for _ in range(200):
            yield b'r' * 50000
        count = 0
        while part := environ['wsgi.input'].read(30000):
            count += len(part)
        yield b'%d' % count
    def endless():
        while True:
            yield b'x' * 10000
    def ticks():
        while True:
            yield b'tick'
            time.sleep(0.25)
    def paused():
        yield b'first'
        wait('go')
        yield b'second'
    if path == '/refuses':
        start_response('403 Forbidden', [('Content-Length', '2')])
        return [b'no']
    start_response('200 OK', [])
    if path == '/waits':
        note('running')
        wait('go')
        return [environ['wsgi.input'].read()]
    if path == '/both':
        return both_ways()
    if path == '/endless':
        return Body(endless())
    if path == '/ticks':
        return Body(ticks())
    return Body(paused())
"#;

fn note(server: &Server, name: &str) -> PathBuf {
    server.site().path("notes").join(name)
}

#[track_caller]
fn await_note(server: &Server, name: &str) {
    let path = note(server, name);
    assert!(wait_for(SOON, || path.exists().then_some(())).is_some(), "{name} does not come");
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Connection {
    let mut connection = server.connect();
    let text = request(method, path, headers, 0).replace("@MODE", "daemon");
    connection.send(text).unwrap();
    connection
}

const EXPECTS: [(&str, &str); 2] = [("Content-Length", "5"), ("Expect", "100-continue")];

#[test]
fn d07_a_client_may_send_its_body_when_somebody_reads_it() {
    let server = serve(STEPS);
    let mut connection = ask(&server, "POST", "/waits", &EXPECTS);
    await_note(&server, "running");
    connection.patience(Duration::from_millis(200)).unwrap();
    assert!(connection.response_head().is_err(), "it was asked too early");
    connection.patience(SOON).unwrap();
    std::fs::write(note(&server, "go"), "").unwrap();
    assert_eq!(connection.response_head().unwrap().status, 100);
    connection.send("hello").unwrap();
    assert_eq!(connection.response("POST").unwrap().with_status(200).text(), "hello");
    server.stop();
}

#[test]
fn d07_an_answer_does_not_wait_for_the_upload() {
    let server = serve(STEPS);
    let mut connection = ask(&server, "POST", "/refuses", &EXPECTS);
    let response = connection.response("POST").unwrap().with_status(403);
    assert_eq!((response.text().as_str(), response.interim.len()), ("no", 0));
    // Nor does one that is under way.
    let mut connection = ask(&server, "POST", "/refuses", &[("Content-Length", "10000000")]);
    connection.send(vec![b'u'; 100_000]).unwrap();
    assert_eq!(connection.response("POST").unwrap().with_status(403).text(), "no");
    server.stop();
}

#[test]
fn d02b_upload_and_response_do_not_block_each_other() {
    let server = serve(STEPS);
    let length = 8_000_000;
    let text = length.to_string();
    let mut connection = ask(&server, "POST", "/both", &[("Content-Length", text.as_str())]);
    let mut other = connection.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        other.write_all(&vec![b'u'; length]).unwrap();
    });
    let response = connection.response("POST").unwrap().with_status(200);
    sender.join().unwrap();
    assert!(response.is_complete());
    assert_eq!(response.body.len(), 200 * 50_000 + text.len());
    assert!(response.body.ends_with(text.as_bytes()));
    server.stop();
}

#[test]
fn a_client_that_goes_ends_the_response() {
    // As fast as it can, and with so little at a time that no buffer fills for long.
    for path in ["/endless", "/ticks"] {
        goes_within(path);
    }
}

fn goes_within(path: &str) {
    let server = serve(STEPS);
    let mut connection = ask(&server, "GET", path, &[]);
    assert_eq!(connection.response_head().unwrap().status, 200);
    connection.abort().unwrap();
    await_note(&server, "closed");
    // The thread is free, and so is the connection to the worker.
    assert_eq!(ask(&server, "POST", "/refuses", &[]).response("POST").unwrap().status, 403);
    server.stop();
}

#[test]
fn a_pause_of_the_application_holds_nothing_back() {
    let server = serve(STEPS);
    let connection = ask(&server, "GET", "/paused", &[]);
    connection.patience(SOON).unwrap();
    let (mut stream, mut came) = (connection.stream(), Vec::new());
    let mut read_until = |text: &[u8]| {
        let mut part = [0; 1000];
        while !came.windows(text.len()).any(|bytes| bytes == text) {
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "it ends with {:?}", String::from_utf8_lossy(&came));
            came.extend_from_slice(&part[..count]);
        }
    };
    read_until(b"first");
    std::fs::write(note(&server, "go"), "").unwrap();
    read_until(b"second");
    await_note(&server, "closed");
    server.stop();
}

#[test]
fn events_say_where_a_request_has_been() {
    const EVENTS: &str = r#"
import json, mod_wsgi, os
told = {}
def listen(name, **event):
    if name == 'request_started':
        event['request_data']['mine'] = 7
    told[name] = {key: value for key, value in event.items()
        if isinstance(value, (int, float, str))}
    told[name]['data'] = dict(event['request_data']) if 'request_data' in event else None
mod_wsgi.subscribe_events(listen)
def application(environ, start_response):
    before = dict(told, pid=os.getpid(), data=mod_wsgi.request_data())
    start_response('200 OK', [])
    return [json.dumps(before).encode()]
"#;
    let server = serve(EVENTS);
    let get = || {
        let response = ask(&server, "GET", "/", &[]).response("GET").unwrap().with_status(200);
        serde_json::from_slice::<serde_json::Value>(&response.body).unwrap()
    };
    get();
    let found = get();
    let (started, finished) = (&found["request_started"], &found["request_finished"]);
    assert_eq!(found["data"]["mine"], 7);
    assert_eq!(finished["data"]["mine"], 7);
    for event in [started, finished] {
        let time = |name: &str| event[name].as_f64().unwrap();
        assert!(time("request_start") > 0.0, "{event}");
        assert!(time("queue_start") >= time("request_start"), "{event}");
        assert!(time("daemon_start") >= time("queue_start"), "{event}");
        let pid = event["server_pid"].as_u64().unwrap();
        assert!(server.children().iter().any(|child| u64::from(child.pid) == pid), "{event}");
    }
    assert_eq!(finished["status"], 200);
    server.stop();
}

#[test]
fn d01_a_response_that_breaks_off_is_cut() {
    let server = serve(CORPUS);
    for path in ["/breaks", "/short"] {
        let response = ask(&server, "GET", path, &[("Connection", "keep-alive")]).response("GET");
        assert_eq!(response.unwrap().end, End::Cut, "{path}");
    }
    server.stop();
}
