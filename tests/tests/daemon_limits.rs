//! Options of `WSGIDaemonProcess` that limit a request: how long it may wait, run and be sent, and
//! how large its head may be.
//!
//! Times are short, and only what must not be later is asserted, with a margin for a busy machine.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use tests::{Mpm, Server, Site, matrix};

const SCRIPT: &str = r#"
import os, socket, time

def pieces(count, pause):
    for number in range(count):
        yield b'x' * 10000
        time.sleep(pause)

def buffers():
    found = set()
    for number in map(int, os.listdir('/proc/self/fd')):
        try:
            with socket.socket(fileno=os.dup(number)) as one:
                if one.type == socket.SOCK_STREAM:
                    options = socket.SO_SNDBUF, socket.SO_RCVBUF
                    found.add(tuple(one.getsockopt(socket.SOL_SOCKET, it) for it in options))
        except OSError:
            pass
    return ' '.join('%d %d' % pair for pair in found)

def application(environ, start_response):
    what, _, number = environ['QUERY_STRING'].partition('=')
    headers = [('Content-Type', 'text/plain')]
    if what == 'header':
        headers.append(('X-Long', 'x' * int(number)))
    if what == 'sleep':
        time.sleep(float(number))
    start_response('200 OK', headers)
    if what == 'buffers':
        return [buffers().encode()]
    if what == 'paused':
        return pieces(5, 0.3)
    if what == 'stops':
        return (piece for count in (8, 1) for piece in pieces(count, 1.5 if count == 1 else 0))
    if what == 'large':
        return (b'x' * 65536 for part in range(int(number)))
    return [b'done']
"#;

/// A server whose application `/` is in a group with these options.
fn serve(options: &str) -> Server {
    Site::new(Mpm::Event, &matrix::python())
        .conf(format!("WSGIDaemonProcess d {options}"))
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .start()
}

/// A request on a thread of its own.
fn get(server: &Server, path: &'static str) -> std::thread::JoinHandle<(u16, Duration)> {
    let address = server.address();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let response = tests::http::request(address, "GET", path, &[], b"").unwrap();
        (response.status, begun.elapsed())
    })
}

/// What a request needs to get where it waits.
const SHORT: Duration = Duration::from_secs(1);
/// What takes a second must not take so long.
const LATE: Duration = Duration::from_secs(45);

#[test]
fn header_buffer_size() {
    // A line of the response's head may have two bytes less.
    for (options, most) in [("", 32766), ("header-buffer-size=8192", 8190)] {
        let server = serve(options);
        let value = most - "X-Long: ".len();
        let response = server.get(&format!("/?header={value}")).with_status(200);
        assert_eq!(response.header("X-Long").unwrap().len(), value);
        assert_eq!(server.get(&format!("/?header={}", value + 1)).status, 500);
        server.log().expect("WSGI0144: Response header line too long from daemon process 'd'.");
        // The process serves on.
        assert_eq!(server.get("/").status, 200);
        server.stop();
    }
}

#[test]
fn socket_timeout() {
    let server = serve("socket-timeout=1");
    // Not longer than the process has to end after that.
    let (status, time) = get(&server, "/?sleep=4").join().unwrap();
    assert_eq!(status, 504);
    assert!(time < LATE, "{time:?}");
    server.log().expect("WSGI0145: Timeout when reading response headers from daemon process 'd'.");
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

#[test]
fn without_socket_timeout_the_timeout_of_the_virtual_host_holds() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIDaemonProcess d")
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .conf("<VirtualHost *>\nServerName localhost\nTimeout 1\n</VirtualHost>")
        .start();
    // Not longer than the process has to end after that.
    let (status, time) = get(&server, "/?sleep=4").join().unwrap();
    assert_eq!(status, 504);
    assert!(time < LATE, "{time:?}");
    server.log().expect("WSGI0145: Timeout when reading response headers");
    server.stop();
}

#[test]
fn request_timeout() {
    // 1 s times 1 + ln(5) is 2.6 s.
    let server = serve("threads=5 request-timeout=1 shutdown-timeout=1");
    assert_eq!(get(&server, "/?sleep=1.5").join().unwrap().0, 200);
    server.stop();
    let server =
        serve("threads=5 request-timeout=1 request-timeout-scaling=Off shutdown-timeout=1");
    let (status, time) = get(&server, "/?sleep=8").join().unwrap();
    assert_eq!(status, 504);
    assert!(time < LATE, "{time:?}");
    server.abandon();
}

#[test]
fn queue_timeout() {
    let server = serve("threads=1 queue-timeout=1");
    assert_eq!(server.get("/").status, 200);
    let first = get(&server, "/?sleep=8");
    std::thread::sleep(SHORT);
    let (status, time) = get(&server, "/").join().unwrap();
    assert_eq!(status, 504);
    assert!(!first.is_finished(), "{time:?}");
    server.log().expect("WSGI0084: Queue timeout expired for WSGI daemon process 'd'.");
    assert_eq!(first.join().unwrap().0, 200);
    server.stop();
}

#[test]
fn listen_backlog_and_connect_timeout() {
    let server = serve("threads=1 listen-backlog=1 connect-timeout=1");
    assert_eq!(server.get("/").status, 200);
    let first = get(&server, "/?sleep=9");
    std::thread::sleep(SHORT);
    let second = get(&server, "/");
    std::thread::sleep(SHORT);
    let (status, time) = get(&server, "/").join().unwrap();
    assert_eq!(status, 503);
    assert!(!first.is_finished(), "{time:?}");
    server.log().expect("WSGI0116: Unable to connect to WSGI daemon process 'd'");
    assert_eq!(first.join().unwrap().0, 200);
    assert_eq!(second.join().unwrap().0, 200);
    server.stop();
}

/// A client that stops reading is given up after `response-socket-timeout`, and the log says so.
fn stops_reading(lines: &str) {
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIDaemonProcess d threads=1 response-socket-timeout=1")
        .conf("WSGIProcessGroup d")
        .conf(lines)
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    const PARTS: usize = 1024;
    let mut connection = server.connect();
    let head = tests::http::head("GET", "/?large=1024", &[("Host", "localhost")], 0);
    connection.send(head).unwrap();
    server.log().allow("buffer for a response to a slow client is full");
    server.log().expect("WSGI0120: Unable to proxy response to client (write timeout).");
    // The thread that made it is free.
    assert_eq!(server.get("/").status, 200);
    let rest = connection.rest();
    assert!(rest.unwrap().len() < PARTS * 65536);
    server.stop();
}

#[test]
fn response_socket_timeout() {
    // While the process waits, and while nobody waits any more but Apache.
    stops_reading("WSGIBufferResponses Off");
    stops_reading("WSGIBufferResponses On");
}

#[test]
fn send_and_receive_buffer_size() {
    let server = serve("send-buffer-size=100000 receive-buffer-size=120000");
    // The system takes as much again for itself: socket(7).
    assert_eq!(server.get("/?buffers").with_status(200).text(), "200000 240000");
    server.stop();
}

/// How long before the end of a response so many bytes of it had come.
fn early(server: &Server, path: &str, bytes: usize) -> Duration {
    let mut connection = server.connect();
    let head = tests::http::head("GET", path, &[("Accept-Encoding", "gzip")], 0);
    connection.send(head).unwrap();
    let (mut came, mut at) = (0, None);
    loop {
        let some = connection.some().unwrap();
        if some.is_empty() {
            return at.map_or(Duration::ZERO, |at: Instant| at.elapsed());
        }
        came += some.len();
        if came >= bytes {
            at.get_or_insert_with(Instant::now);
        }
    }
}

#[test]
fn response_flush_delay() {
    // There are pauses of 0.3 s after each of five pieces.
    for options in ["", "response-flush-delay=0"] {
        let server = compressing(options);
        let time = early(&server, "/?paused", 300);
        assert!(time > Duration::from_millis(1000), "{options}: {time:?}");
        server.stop();
    }
    // A longer delay finds no pause before the end.
    let server = compressing("response-flush-delay=3000");
    let time = early(&server, "/?paused", 300);
    assert!(time < Duration::from_millis(600), "{time:?}");
    server.stop();
    // Without a filter that keeps it, a large part needs no flush.
    let server = serve("response-flush-delay=3000");
    let time = early(&server, "/?paused", 10_000);
    assert!(time > Duration::from_millis(1000), "{time:?}");
    server.stop();
}

/// As [`serve`], with a filter that keeps what it is given until it is told to flush.
fn compressing(options: &str) -> Server {
    Site::new(Mpm::Event, &matrix::python())
        .module("mod_filter")
        .module("mod_deflate")
        .conf("SetOutputFilter DEFLATE")
        .conf(format!("WSGIDaemonProcess d {options}"))
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .start()
}

#[test]
fn response_buffer_size() {
    // 80 kB at once, then nothing for longer than is waited here.
    for (size, soon) in [(65536, true), (100_000, false)] {
        let server = compressing(&format!("response-flush-delay=9000 response-buffer-size={size}"));
        let time = early(&server, "/?stops", 300);
        assert_eq!(time > Duration::from_millis(800), soon, "{size}: {time:?}");
        server.stop();
    }
}

#[test]
fn buffer_sizes_are_no_obstacle() {
    let server = serve(
        "send-buffer-size=512 receive-buffer-size=512 response-buffer-size=65536 \
         response-flush-delay=0",
    );
    let response = server.get("/?large=40").with_status(200);
    assert_eq!(response.text().len(), 40 * 65536);
    server.stop();
}

#[test]
fn directives_02_interpreters_that_requests_name_are_counted_by_the_process_that_has_them() {
    const MOST: usize = 100;
    let server = Site::new(Mpm::Event, &matrix::python())
        .conf("SetEnvIf X-Name (.+) NAME=$1")
        .conf("WSGIDaemonProcess d\nWSGIDaemonProcess e\nWSGIApplicationGroup %{ENV:NAME}")
        .conf("WSGIProcessGroup d")
        .conf("<Location /e>\nWSGIProcessGroup e\n</Location>")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let ask = |path: &str, name: usize| {
        let name = format!("name{name}");
        server.request("GET", path, &[("X-Name", &name)], b"").status
    };
    for name in 0..MOST {
        assert_eq!(ask("/", name), 200);
    }
    assert_eq!(ask("/", MOST), 503);
    server.log().expect("WSGI1002: No interpreter for application group 'name100'");
    // It is the process' limit, not the child's.
    assert_eq!(ask("/e", MOST), 200);
    assert_eq!(ask("/", 0), 200);
    server.stop();
}
