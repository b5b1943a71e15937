//! Daemon mode: clients that are slow hold up nobody else, and streams still stream.

#![allow(clippy::unwrap_used)]

mod http2;
mod room;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::http::{Connection, End, head};
use tests::process::wait_for;
use tests::{Mode, Mpm, Server, Setup, Site, matrix};

/// What all of this is about.
const SCRIPT: &str = r#"
import hashlib, threading, time

lock = threading.Lock()
counts = {'done': 0, 'asked': 0}
BLOCK = bytes(range(256)) * 256

def big(blocks, fails):
    for number in range(blocks):
        yield BLOCK
    if fails:
        raise RuntimeError('on purpose')
    with lock:
        counts['done'] += 1

def uneven(blocks):
    yield BLOCK[:8000]
    yield BLOCK[8000:]
    yield from big(blocks - 1, False)

def events():
    for number in range(15):
        yield ('data: %.6f\n\n' % time.time()).encode()
        time.sleep(0.1)

def slow(blocks):
    for number in range(blocks):
        yield BLOCK
        time.sleep(0.02)
    with lock:
        counts['done'] += 1

def endless():
    while True:
        yield BLOCK

def ping_pong(stream):
    while True:
        byte = stream.read(1)
        if not byte:
            break
        yield byte.upper()

def application(environ, start_response):
    path = environ['PATH_INFO']
    headers = [('Content-Type', 'text/plain')]
    if path == '/big':
        start_response('200 OK', headers + [('Content-Length', str(128 * len(BLOCK)))])
        return big(128, False)
    if path == '/chunked':
        start_response('200 OK', headers)
        return big(128, False)
    if path == '/uneven':
        start_response('200 OK', headers)
        return uneven(128)
    if path == '/slow':
        start_response('200 OK', headers)
        return slow(64)
    if path == '/gigabyte':
        start_response('200 OK', headers)
        return big(16384, False)
    if path == '/cut':
        start_response('200 OK', headers)
        return big(64, True)
    if path == '/events':
        start_response('200 OK', [('Content-Type', 'text/event-stream')])
        return events()
    if path == '/endless':
        start_response('200 OK', headers)
        return endless()
    if path == '/ping':
        start_response('200 OK', headers)
        return ping_pong(environ['wsgi.input'])
    if path == '/upload':
        with lock:
            counts['asked'] += 1
        start_response('200 OK', headers)
        return [hashlib.md5(environ['wsgi.input'].read()).hexdigest().encode()]
    start_response('200 OK', headers)
    return [('%(done)d %(asked)d' % counts).encode()]
"#;

/// Bytes of a block of the application's, and of its large responses.
const BLOCK: usize = 64 << 10;
const BIG: usize = 128 * BLOCK;

fn site() -> Site {
    under(Mpm::Event).one_child(48)
}

fn under(mpm: Mpm) -> Site {
    Site::new(mpm, &matrix::python())
        .conf("WSGIDaemonProcess four threads=4\nWSGIProcessGroup four\nWSGIApplicationGroup x")
        .mount("/", "app.wsgi", SCRIPT)
}

/// Responses that were made to the end, and uploads that a process was asked for.
fn counts(server: &Server) -> (u32, u32) {
    let text = server.get("/counts").with_status(200).text();
    let (done, asked) = text.split_once(' ').unwrap();
    (done.parse().unwrap(), asked.parse().unwrap())
}

fn await_counts(server: &Server, expected: (u32, u32)) {
    let last = wait_for(Duration::from_secs(15), || (counts(server) == expected).then_some(()));
    assert!(last.is_some(), "{:?}, not {expected:?}", counts(server));
}

/// A client that does not read yet.
fn reader(address: SocketAddr, path: &str) -> Connection {
    let mut connection = Connection::open(address).unwrap();
    connection.send(head("GET", path, &[], 0)).unwrap();
    connection
}

/// Reads 1.5 KB/s until told to stop.
fn crawl(connection: &Connection, stop: &AtomicBool) -> Vec<u8> {
    let mut stream = connection.stream();
    let (mut all, mut room) = (Vec::new(), [0; 300]);
    while !stop.load(Ordering::Relaxed) {
        let count = stream.read(&mut room).unwrap();
        all.extend_from_slice(&room[..count]);
        thread::sleep(Duration::from_millis(200));
    }
    all
}

/// The rest of a response, as fast as it comes.
fn rest(connection: &Connection, mut all: Vec<u8>) -> Vec<u8> {
    let mut stream = connection.stream();
    let mut room = vec![0; 1 << 16];
    loop {
        match stream.read(&mut room) {
            Ok(0) | Err(_) => return all,
            Ok(count) => all.extend_from_slice(&room[..count]),
        }
    }
}

/// The body of a response of known length.
#[track_caller]
fn body(all: &[u8]) -> &[u8] {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&all[..end]));
    &all[end + 4..]
}

#[track_caller]
fn expect_pattern(body: &[u8]) {
    let wrong = body.iter().enumerate().position(|(at, byte)| *byte != at as u8);
    assert_eq!(wrong, None, "of {}", body.len());
}

fn upload(address: SocketAddr, length: usize, stop: &AtomicBool) {
    let mut connection = Connection::open(address).unwrap();
    connection.send(head("POST", "/upload", &[], length)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        connection.send(b"x").unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    connection.abort().unwrap();
}

fn timed(server: &Server, path: &str) -> Duration {
    let begun = Instant::now();
    let _ = server.get(path).with_status(200);
    begun.elapsed()
}

/// What a file takes, to know what this machine has to give just now.
fn worst_of_a_file(server: &Server) -> Duration {
    (0..20).map(|_| timed(server, "/.ready")).max().unwrap()
}

#[test]
fn eight_slow_uploads_and_eight_slow_readers() {
    let server = site().start();
    let address = server.address();
    timed(&server, "/");
    let stop = Arc::new(AtomicBool::new(false));
    let uploads: Vec<_> = (0..8)
        .map(|number| {
            let stop = stop.clone();
            // Half of them would travel with the request.
            let length = if number % 2 == 0 { 100 } else { 100_000 };
            thread::spawn(move || upload(address, length, &stop))
        })
        .collect();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let stop = stop.clone();
            thread::spawn(move || {
                let connection = reader(address, "/big");
                let begin = crawl(&connection, &stop);
                (connection, begin)
            })
        })
        .collect();
    await_counts(&server, (8, 0));

    let (mut probes, mut files) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        probes.push(timed(&server, "/"));
        files.push(timed(&server, "/.ready"));
        thread::sleep(Duration::from_millis(30));
    }
    probes.sort();
    files.sort();
    let file = files[files.len() - 1];
    // Somebody else's work may come between once in a while; a process that waits for a client
    // would show in most of them, and by seconds.
    let most = probes[probes.len() * 95 / 100];
    assert!(most <= Duration::from_millis(50) + file, "{most:?}, a file {file:?}");
    let worst = probes[probes.len() - 1];
    let middle = probes[probes.len() / 2];
    matrix::note(&format!("a request takes {middle:?}, {most:?}, at worst {worst:?}"));
    assert!(worst < Duration::from_secs(1) + file, "{worst:?}, a file {file:?}");

    stop.store(true, Ordering::Relaxed);
    for upload in uploads {
        upload.join().unwrap();
    }
    for reader in readers {
        let (connection, begin) = reader.join().unwrap();
        assert!(begin.len() < BIG / 100, "{} bytes: it was not slow", begin.len());
        drop(connection);
    }
    // No process has heard of those who never sent all.
    assert_eq!(counts(&server), (8, 0));
    server.log().allow("WSGI0126: ");
    server.stop();
}

#[test]
fn what_waited_is_complete_and_in_order() {
    matrix::for_each_mpm(complete_and_in_order);
}

fn complete_and_in_order(mpm: Mpm) {
    let server = under(mpm).start();
    for path in ["/big", "/chunked"] {
        // It may be over before the next one is looked at.
        let before = counts(&server).0;
        let connection = reader(server.address(), path);
        await_counts(&server, (before + 1, 0));
        if path == "/big" {
            let all = rest(&connection, Vec::new());
            let body = body(&all);
            assert_eq!(body.len(), BIG);
            expect_pattern(body);
        } else {
            let mut connection = connection;
            let response = connection.response("GET").unwrap().with_status(200);
            assert!(response.is_complete(), "{:?}", response.end);
            assert_eq!(response.body.len(), BIG);
            expect_pattern(&response.body);
        }
    }
    assert!(server.log().matching("slow client").is_empty());
    server.stop();
}

#[test]
fn a_response_that_breaks_off_while_it_waits_does_not_look_complete() {
    let server = site().start();
    let mut connection = reader(server.address(), "/cut");
    server.log().expect_traceback("RuntimeError: on purpose");
    let response = connection.response("GET").unwrap().with_status(200);
    assert_eq!(response.end, End::Cut);
    assert_eq!(response.body.len(), 64 * BLOCK);
    expect_pattern(&response.body);
    server.log().expect("WSGI0174: ");
    server.log().expect("WSGI0119: ");
    server.stop();
}

/// With less room than the response needs, the process waits, and nothing else changes.
fn without_room(directive: &str, message: &str) {
    let server = site().conf(directive).start();
    let connection = reader(server.address(), "/big");
    server.log().expect(message);
    assert_eq!(counts(&server).0, 0);
    let all = rest(&connection, Vec::new());
    let body = body(&all);
    assert_eq!(body.len(), BIG);
    expect_pattern(body);
    await_counts(&server, (1, 0));
    assert_eq!(server.log().matching(message).len(), 1);
    server.stop();
}

#[test]
fn a_limit_is_kept() {
    without_room(
        "WSGIBufferLimit 256K",
        "The buffer for a response to a slow client is full; the process waits for the client.",
    );
}

#[test]
fn no_file_at_all() {
    without_room(
        "WSGIBufferLimit 0",
        "The buffer for a response to a slow client is full; the process waits for the client.",
    );
}

#[test]
fn a_directory_that_is_not_there() {
    without_room(
        "WSGIBufferDirectory /nonexistent",
        "A response to a slow client cannot be buffered in a file: ",
    );
}

#[test]
fn nothing_is_buffered_that_must_not_be() {
    let server = site().conf("WSGIBufferResponses Off\nWSGIBufferRequests Off").start();
    let connection = reader(server.address(), "/big");
    thread::sleep(Duration::from_secs(1));
    assert_eq!(counts(&server).0, 0, "the process waits for the client");
    drop(connection);
    // An application may read while the client sends.
    let mut connection = server.connect();
    connection.send(head("POST", "/ping", &[], 3)).unwrap();
    thread::sleep(Duration::from_millis(100));
    for (byte, answer) in [(b"x", b"X"), (b"y", b"Y"), (b"z", b"Z")] {
        connection.send(byte).unwrap();
        if byte == b"x" {
            let _ = connection.response_head().unwrap().with_status(200);
        }
        let mut got = Vec::new();
        while !got.contains(&answer[0]) {
            let some = connection.some().unwrap();
            assert!(!some.is_empty());
            got.extend(some);
        }
    }
    server.stop();
}

#[test]
fn uploads_arrive_whole() {
    let site = site().conf("WSGIChunkedRequest On").conf("LimitRequestBody 3000000");
    let server = site.conf("<Location /upload>\nWSGIBufferLimit 300K\n</Location>").start();
    let mut asked = 0;
    // In memory, in a file, and more than may be in one.
    for length in [0, 10, 20_000, 200_000, 2_000_000] {
        let body: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let expected = server.post("/upload", "text/plain", &body).with_status(200).text();
        asked += 1;
        assert_eq!(expected.len(), 32);
        // The same in chunks, and with a client that waits to be told.
        let mut connection = server.connect();
        let coded = [("Transfer-Encoding", "chunked")];
        connection.send(head("POST", "/upload", &coded, 0)).unwrap();
        for chunk in body.chunks(7000) {
            connection.send(format!("{:x}\r\n", chunk.len())).unwrap();
            connection.send(chunk).unwrap();
            connection.send("\r\n").unwrap();
        }
        connection.send("0\r\n\r\n").unwrap();
        let response = connection.response("POST").unwrap().with_status(200);
        assert_eq!(response.text(), expected, "{length}");
        asked += 1;
        if length == 0 {
            continue;
        }
        let mut connection = server.connect();
        let waits = [("Expect", "100-continue")];
        connection.send(head("POST", "/upload", &waits, body.len())).unwrap();
        assert_eq!(connection.response_head().unwrap().status, 100);
        connection.send(&body).unwrap();
        let response = connection.response("POST").unwrap().with_status(200);
        assert_eq!(response.text(), expected, "{length}");
        asked += 1;
    }
    assert_eq!(counts(&server), (0, asked));

    // What will not do is refused without a process.
    let mut connection = server.connect();
    connection.send(head("POST", "/upload", &[("Transfer-Encoding", "chunked")], 0)).unwrap();
    connection.send("zz\r\n").unwrap();
    let _ = connection.response("POST").unwrap().with_status(400);
    let mut connection = server.connect();
    connection.send(head("POST", "/upload", &[], 50_000)).unwrap();
    connection.send(b"not all").unwrap();
    connection.finish_sending().unwrap();
    let _ = connection.response("POST").unwrap().with_status(400);
    assert_eq!(counts(&server), (0, asked));
    server.log().expect("WSGI0126: ");
    server.log().expect("WSGI0126: ");
    server.stop();
}

#[test]
fn a_client_that_is_too_slow_is_told() {
    let server = site().conf("Timeout 2").start();
    let mut connection = server.connect();
    connection.send(head("POST", "/upload", &[], 50_000)).unwrap();
    connection.send(b"not all").unwrap();
    let _ = connection.response("POST").unwrap().with_status(408);
    assert_eq!(counts(&server), (0, 0));
    server.log().expect("WSGI0126: ");
    server.stop();
}

#[test]
fn the_first_byte_of_a_large_response() {
    let server = site().start();
    timed(&server, "/");
    let file = worst_of_a_file(&server);
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let begun = Instant::now();
            let mut connection = server.connect();
            connection.send(head("GET", "/endless", &[], 0)).unwrap();
            let _ = connection.response_head().unwrap().with_status(200);
            connection.some().unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[3] <= Duration::from_millis(50) + file, "{times:?}, a file {file:?}");
    server.stop();
}

/// How late each event is that is read from here.
fn lateness(lines: impl BufRead) -> Vec<Duration> {
    let mut late = Vec::new();
    for line in lines.lines() {
        let line = line.unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        if let Some(sent) = line.strip_prefix("data: ") {
            late.push(now.saturating_sub(Duration::from_secs_f64(sent.parse().unwrap())));
        }
    }
    late
}

/// Has events that were late come once more, since a machine with other things to do is late with
/// everything now and then.
#[track_caller]
fn expect_in_time(server: &Server, attempt: impl Fn() -> Vec<Duration>) {
    let mut all = Vec::new();
    for _ in 0..4 {
        let file = worst_of_a_file(server);
        let mut late = attempt();
        assert_eq!(late.len(), 15);
        late.sort();
        matrix::note(&format!("events are late by {:?}, {:?}", late[7], late[14]));
        let nearly_all = late[13] <= Duration::from_millis(20) + file;
        if nearly_all && late[14] < Duration::from_millis(90) + file {
            return;
        }
        all.push((late, file));
    }
    panic!("{all:?}");
}

#[test]
fn server_sent_events_arrive_as_they_are_yielded() {
    for mode in [Mode::Daemon, Mode::Embedded] {
        let server = match mode {
            Mode::Daemon => site().start(),
            Mode::Embedded => {
                Site::new(Mpm::Event, &matrix::python()).mount("/", "app.wsgi", SCRIPT).start()
            }
        };
        timed(&server, "/");
        expect_in_time(&server, || {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stream.write_all(head("GET", "/events", &[], 0).as_bytes()).unwrap();
            lateness(BufReader::new(stream))
        });
        server.stop();
    }
}

/// A curl that speaks HTTP/2 without TLS.
fn curl() -> Option<Command> {
    let version = Command::new("curl").arg("--version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
        return None;
    }
    let mut curl = Command::new("curl");
    curl.args(["--http2-prior-knowledge", "-sS", "-N", "--max-time", "60"]);
    Some(curl)
}

#[test]
fn through_filters_that_keep_data() {
    let openssl = Command::new("openssl").arg("version").output();
    let modules = ["mod_ssl", "mod_socache_shmcb", "mod_deflate", "mod_filter"];
    let there = modules.iter().all(|name| Setup::get().loadable(name).is_some());
    let Some(_) = curl().filter(|_| openssl.is_ok() && there) else {
        matrix::skip("TLS", "there is no mod_ssl, mod_deflate, openssl or curl");
        return;
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = modules.iter().fold(site(), |site, name| site.module(name));
    let (key, certificate) = (site.path("key.pem"), site.path("cert.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = site
        .conf(format!("Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nSSLEngine On"))
        .conf(format!("SSLCertificateFile {}", certificate.display()))
        .conf(format!("SSLCertificateKeyFile {}", key.display()))
        .conf("ServerName localhost\n</VirtualHost>")
        .conf("<Location /chunked>\nSetOutputFilter DEFLATE\n</Location>")
        .start();
    server.log().allow("[ssl:");
    timed(&server, "/");
    let mut done = 0;
    for path in ["/big", "/chunked"] {
        let mut child = Command::new("curl")
            .args(["-k", "-sS", "-N", "--compressed", "--http1.1", "--max-time", "60"])
            .arg(format!("https://127.0.0.1:{port}{path}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It waits for us to read, and Apache for it, but not the process.
        done += 1;
        await_counts(&server, (done, 0));
        let mut body = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut body).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(body.len(), BIG, "{path}");
        expect_pattern(&body);
    }
    // Events are not kept by them either.
    expect_in_time(&server, || {
        let mut child = Command::new("curl")
            .args(["-k", "-sS", "-N", "--http1.1", "--max-time", "60"])
            .arg(format!("https://127.0.0.1:{port}/events"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let late = lateness(BufReader::new(child.stdout.take().unwrap()));
        assert!(child.wait().unwrap().success());
        late
    });
    server.stop();
}
