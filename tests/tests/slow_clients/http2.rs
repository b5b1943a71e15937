//! The same for streams of HTTP/2, of which Apache does not say how far they are.
//!
//! <https://www.rfc-editor.org/rfc/rfc9113>

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use tests::{Mode, Mpm, Server, Setup, Site, matrix};

use super::{
    BIG, BLOCK, SCRIPT, await_counts, curl, expect_in_time, expect_pattern, lateness, site, timed,
};

const CONNECTION: u32 = 0;
const STREAM: u32 = 1;

/// A client of one stream, which takes only what it is told to.
struct Client {
    stream: TcpStream,
    body: Vec<u8>,
    ended: bool,
}

/// A frame: its type, its flags, its stream, and what is in it.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Client {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;

    /// Asks for `path`, and will take no more than `window` bytes of it.
    fn ask(address: SocketAddr, path: &str, window: u32) -> Client {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        sent.extend(frame(Client::SETTINGS, 0, CONNECTION, &settings));
        // GET, http, and two literals of which nothing is remembered.
        let mut head = vec![0x82, 0x86];
        for (name, value) in [(0x04, path), (0x01, "localhost")] {
            head.extend([name, u8::try_from(value.len()).unwrap()]);
            head.extend(value.bytes());
        }
        let (end_stream, end_headers) = (0x1, 0x4);
        sent.extend(frame(Client::HEADERS, end_stream | end_headers, STREAM, &head));
        stream.write_all(&sent).unwrap();
        Client { stream, body: Vec::new(), ended: false }
    }

    /// Takes so much more.
    fn allow(&mut self, bytes: u32) {
        for stream in [CONNECTION, STREAM] {
            let update = frame(Client::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
            self.stream.write_all(&update).unwrap();
        }
    }

    /// Reads a frame.
    fn next(&mut self) {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        let (kind, flags) = (head[3], head[4]);
        assert_ne!((kind, head[8]), (3, 1), "the stream was reset");
        if kind == Client::DATA {
            self.body.extend(payload);
        }
        if kind == Client::SETTINGS && flags & 1 == 0 {
            self.stream.write_all(&frame(Client::SETTINGS, 1, CONNECTION, &[])).unwrap();
        }
        let of_response = kind == Client::DATA || kind == Client::HEADERS;
        self.ended |= of_response && flags & 1 != 0;
    }

    /// All of the body.
    fn rest(mut self) -> Vec<u8> {
        self.allow(1 << 30);
        while !self.ended {
            self.next();
        }
        self.body
    }
}

fn lacks_http2() -> bool {
    let lacks = Setup::get().loadable("mod_http2").is_none();
    if lacks {
        matrix::skip("HTTP/2", "there is no mod_http2");
    }
    lacks
}

fn with_http2(site: Site) -> Server {
    let server = site.module("mod_http2").conf("Protocols h2c http/1.1").start();
    timed(&server, "/");
    server
}

#[test]
fn events_arrive_as_they_are_yielded() {
    if curl().is_none() || lacks_http2() {
        matrix::skip("HTTP/2", "there is no curl for it");
        return;
    }
    for mode in [Mode::Daemon, Mode::Embedded] {
        let server = with_http2(match mode {
            Mode::Daemon => site(),
            Mode::Embedded => {
                Site::new(Mpm::Event, &matrix::python()).mount("/", "app.wsgi", SCRIPT)
            }
        });
        expect_in_time(&server, || {
            let mut curl = curl().unwrap();
            curl.arg(format!("http://{}/events", server.address()));
            let mut child = curl.stdout(Stdio::piped()).spawn().unwrap();
            let late = lateness(BufReader::new(child.stdout.take().unwrap()));
            assert!(child.wait().unwrap().success());
            late
        });
        server.stop();
    }
}

/// Responses that are made fast, or take longer than anything is collected.
#[test]
fn a_stream_whose_client_takes_nothing_holds_up_no_process() {
    if lacks_http2() {
        return;
    }
    // The clients take nothing while others are served, which may last.
    let server = with_http2(site().conf("Timeout 120"));
    let mut made = 0;
    let paths = [("/big", BIG), ("/chunked", BIG), ("/uneven", BIG), ("/slow", 64 * BLOCK)];
    for (path, length) in paths {
        let clients: Vec<Client> =
            (0..5).map(|_| Client::ask(server.address(), path, 1000)).collect();
        made += 5;
        await_counts(&server, (made, 0));
        for client in clients {
            let body = client.rest();
            assert_eq!(body.len(), length, "{path}");
            expect_pattern(&body);
        }
    }
    assert!(server.log().matching("slow client").is_empty());
    server.stop();
}

#[test]
fn a_stream_that_is_left_ends_its_request() {
    if lacks_http2() {
        return;
    }
    let server = with_http2(site());
    for _ in 0..5 {
        let mut client = Client::ask(server.address(), "/endless", 1000);
        while client.body.is_empty() {
            client.next();
        }
    }
    // There are four threads.
    for _ in 0..10 {
        timed(&server, "/");
    }
    server.log().allow("slow client");
    server.stop();
}
