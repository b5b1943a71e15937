//! What processes report of themselves to a socket, in embedded and in daemon mode, and that nobody
//! waits for whoever does not read it.
//!
//! The numbers of the defects are those of the reference's list of telemetry's weaknesses.

#![allow(clippy::unwrap_used)]

mod collectors;
mod life;
mod readers;
mod slow;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use telemetry::{Datagram, Value, decode, field};
use tests::process::{Process, wait_for};
use tests::{Mode, Mpm, Server, Site, Venv, http, matrix};

const SCRIPT: &str = r#"
import ctypes, gc, mod_wsgi, os, time

def deep(seconds):
    time.sleep(seconds)

def application(environ, start_response):
    what, _, number = environ['QUERY_STRING'].partition('=')
    if what == 'sleep':
        deep(float(number))
    elif what == 'wedge':
        # With Python's lock.
        ctypes.PyDLL(None).sleep(int(number))
    elif what == 'collect':
        gc.collect()
    elif what == 'callbacks':
        start_response('200 OK', [])
        return [repr([getattr(it, '__name__', it) for it in gc.callbacks]).encode()]
    elif what == 'metrics':
        mod_wsgi.start_recording_metrics()
        start_response('200 OK', [])
        return [repr((mod_wsgi.request_metrics(), mod_wsgi.process_metrics())).encode()]
    elif what == 'stream':
        write = start_response('202 Accepted', [])
        environ['wsgi.input'].read()
        write(b'x' * 5000)
        deep(float(number))
        return []
    elif what == 'status':
        start_response(number + ' x', [])
        return [b'']
    body = environ['wsgi.input'].read()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

const SECOND: Duration = Duration::from_secs(1);
/// What happens within a second or two has not happened by then if it does not.
const LATE: Duration = Duration::from_secs(20);

/// A socket that anybody may send to.
struct Reader {
    socket: UnixDatagram,
    kept: Vec<Datagram>,
}

impl Reader {
    fn bind(path: &Path) -> Reader {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        socket.set_read_timeout(Some(LATE)).unwrap();
        Reader { socket, kept: Vec::new() }
    }

    fn read(&self) -> Datagram {
        let mut buffer = vec![0; 65536];
        let length = self.socket.recv(&mut buffer).expect("nothing is reported any more");
        decode(&buffer[..length]).expect("a datagram that nobody can read")
    }

    /// The next one that is meant.
    fn find(&mut self, is_meant: impl Fn(&Datagram) -> bool) -> Datagram {
        let until = Instant::now() + LATE;
        loop {
            let datagram = self.read();
            self.kept.push(datagram.clone());
            if is_meant(&datagram) {
                return datagram;
            }
            assert!(Instant::now() < until, "not reported; what is: {:?}", self.kept);
        }
    }

    fn kind(&mut self, kind: u8) -> Datagram {
        self.find(|it| it.kind == kind)
    }
}

const SAMPLE: u8 = 2;
const SLOW: u8 = 4;
const STARTED: u8 = 5;
const STOPPING: u8 = 6;
const STOPPED: u8 = 7;
const GC_SNAPSHOT: u8 = 8;
const GC_EVENT: u8 = 9;

/// The field of ours that a consumer passes over.
const STACK: u16 = field::STACK;

fn site(mode: Mode) -> (Site, PathBuf) {
    site_of(Mpm::Event, mode)
}

fn site_of(mpm: Mpm, mode: Mode) -> (Site, PathBuf) {
    let site = Site::new(mpm, &matrix::python()).mode(mode).one_child(4);
    let socket = site.path("telemetry.sock");
    let line = format!("WSGITelemetryService unix:{} interval=0.5", socket.display());
    (site.conf(line), socket)
}

fn serve(mode: Mode, lines: &str) -> (Server, Reader) {
    let (site, socket) = site(mode);
    let reader = Reader::bind(&socket);
    let server = site.conf(lines).mount("/", "app.wsgi", SCRIPT).start();
    allow_slow(&server);
    (server, reader)
}

/// What is logged of slow requests; tests that ask for it find it nevertheless.
fn allow_slow(server: &Server) {
    for text in ["WSGI1004: ", "WSGI1006: ", "app.wsgi\", line "] {
        server.log().allow(text);
    }
}

fn text(datagram: &Datagram, id: u16) -> String {
    String::from_utf8_lossy(datagram.text(id).unwrap_or_default()).into_owned()
}

fn list(datagram: &Datagram, id: u16) -> Vec<i32> {
    match datagram.get(id) {
        Some(Value::I32s(list)) => list.clone(),
        other => panic!("{id}: {other:?}"),
    }
}

/// Requests of all samples so far.
fn requests(reader: &Reader) -> u64 {
    let samples = reader.kept.iter().filter(|it| it.kind == SAMPLE);
    samples.filter_map(|it| it.count(field::REQUEST_COUNT)).sum()
}
