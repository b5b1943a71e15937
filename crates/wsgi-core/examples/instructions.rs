//! Instructions per request of the engine alone, counted by valgrind.
//!
//! `cargo run --release -p wsgi-core --example instructions` runs itself under callgrind with two
//! numbers of requests, so that starting Python cancels out. With a number as its argument it just
//! serves that many, for `perf` or for `callgrind_annotate`; a second argument picks the
//! application: `hello` (a list of one block), `generator`, `flask` (an iterable with `close`).
//!
//! <https://valgrind.org/docs/manual/cl-manual.html>

use std::env;
use std::error::Error;
use std::ffi::CString;
use std::process::Command;
use std::sync::Arc;

use py::{Bound, InterpreterId, Token, ffi};
use wsgi_core::{
    Config, Fault, Flags, Head, Host, Outcome, Record, Request, ServerLog, State, Value,
};

const APPLICATIONS: &str = r"
def hello(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    return [b'Hello, world!']

def generator(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    yield b'Hello, world!'

class Closing:
    def __init__(self, blocks):
        self.blocks = iter(blocks)
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.blocks)
    def close(self):
        pass

def flask(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])
    return Closing([b'Hello, world!'])
";

/// What Apache has for a request of `wrk`.
const ENVIRON: &[(&[u8], &[u8])] = &[
    (b"HTTP_HOST", b"127.0.0.1:8000"),
    (b"HTTP_USER_AGENT", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"),
    (b"HTTP_ACCEPT", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"SERVER_SOFTWARE", b"Apache/2.4.71 (Debian) mod_wsgi/6.1.1 Python/3.13"),
    (b"SERVER_NAME", b"127.0.0.1"),
    (b"SERVER_ADDR", b"127.0.0.1"),
    (b"SERVER_PORT", b"8000"),
    (b"REMOTE_ADDR", b"127.0.0.1"),
    (b"DOCUMENT_ROOT", b"/srv/www"),
    (b"REQUEST_SCHEME", b"http"),
    (b"CONTEXT_PREFIX", b""),
    (b"CONTEXT_DOCUMENT_ROOT", b"/srv/www"),
    (b"SERVER_ADMIN", b"webmaster@localhost"),
    (b"SCRIPT_FILENAME", b"/srv/www/app.wsgi"),
    (b"REMOTE_PORT", b"43712"),
    (b"SERVER_PROTOCOL", b"HTTP/1.1"),
    (b"REQUEST_METHOD", b"GET"),
    (b"QUERY_STRING", b""),
    (b"REQUEST_URI", b"/"),
    (b"SCRIPT_NAME", b""),
    (b"PATH_INFO", b"/"),
    (b"mod_wsgi.request_id", b"9pfTT7P+3wQ"),
];

struct Quiet;

impl ServerLog for Quiet {
    fn log(&self, _: &[Record<'_>]) {}
}

struct Sink(u64);

impl Host for Sink {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Fault> {
        Ok(0)
    }

    fn respond(&mut self, _: Option<&Head>, chunks: &[&[u8]], _: Flags) -> Result<(), Fault> {
        self.0 += chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        Ok(())
    }

    #[cfg(unix)]
    fn send_file(
        &mut self,
        _: Option<&Head>,
        _: std::os::fd::BorrowedFd<'_>,
        _: u64,
        length: u64,
        _: Flags,
    ) -> Result<u64, Fault> {
        self.0 += length;
        Ok(length)
    }

    fn log(&mut self, _: &[Record<'_>]) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    if let Some(requests) = arguments.next() {
        let application = arguments.next().unwrap_or_else(|| "hello".to_owned());
        return run(requests.parse()?, &application);
    }
    for application in ["hello", "generator", "flask"] {
        let few = count(1000, application)?;
        let many = count(3000, application)?;
        println!("{application}: {} instructions per request", (many - few) / 2000);
    }
    Ok(())
}

/// Instructions of a run with this many requests.
fn count(requests: u32, application: &str) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args([&requests.to_string(), application])
        // Hash values decide how often dictionaries collide.
        .env("PYTHONHASHSEED", "1")
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    let (_, instructions) = line.ok_or_else(|| format!("valgrind counted nothing: {text}"))?;
    Ok(instructions.trim().parse()?)
}

fn run(requests: u32, application: &str) -> Result<(), Box<dyn Error>> {
    start()?;
    // SAFETY: Python has been started on this thread, which is attached.
    let py = unsafe { Token::assume(InterpreterId::MAIN) };
    let served = serve(py, requests, application);
    let bytes = served.map_err(|error| error.to_string())?;
    println!("{requests} requests, {bytes} bytes");
    Ok(())
}

fn start() -> Result<(), Box<dyn Error>> {
    let executable = CString::new(env!("WSGI_CORE_TEST_PYTHON"))?;
    // SAFETY: nobody has started Python; the string outlives the calls.
    unsafe {
        let mut config = std::mem::zeroed::<ffi::PyConfig>();
        ffi::PyConfig_InitPythonConfig(&mut config);
        config.parse_argv = 0;
        let program_name = &raw mut config.program_name;
        ffi::PyConfig_SetBytesString(&mut config, program_name, executable.as_ptr());
        if ffi::PyStatus_Exception(ffi::Py_InitializeFromConfig(&config)) != 0 {
            return Err("Python does not start".into());
        }
    }
    Ok(())
}

fn serve<'py>(py: Token<'py>, requests: u32, application: &str) -> py::Result<'py, u64> {
    let globals = py.dict()?;
    // SAFETY: attached; a C string and a dict.
    unsafe {
        let source = CString::new(APPLICATIONS).unwrap_or_default();
        let globals = globals.as_ptr();
        let kind = ffi::Py_file_input;
        let name = c"app.wsgi".as_ptr();
        let code = Bound::from_owned(py, ffi::Py_CompileString(source.as_ptr(), name, kind))?;
        Bound::from_owned(py, ffi::PyEval_EvalCode(code.as_ptr(), globals, globals))?;
    }
    let name = CString::new(application).unwrap_or_default();
    let app = globals.dict_get(&name)?.unwrap_or_else(|| py.none());
    let constants = [
        ("mod_wsgi.version", Value::Version([6, 1, 1])),
        ("apache.version", Value::Version([2, 4, 71])),
    ];
    let state = State::new(py, &Config { log: Arc::new(Quiet), constants: &constants })?;
    let mut host = Sink(0);
    let mut sent = 0;
    for i in 0..requests {
        let now = 1.7e9 + f64::from(i);
        let extra = [
            ("mod_wsgi.process_group", Value::Latin1(b"")),
            ("mod_wsgi.application_group", Value::Latin1(b"")),
            ("mod_wsgi.thread_id", Value::Int(1)),
            ("mod_wsgi.request_start", Value::Float(now)),
            ("mod_wsgi.queue_start", Value::Float(0.0)),
            ("mod_wsgi.daemon_start", Value::Float(0.0)),
            ("mod_wsgi.application_start", Value::Float(now)),
        ];
        // As in a server: get attached, serve, detach, send.
        py.detach(|| ());
        let request = Request {
            environ: ENVIRON,
            extra: &extra,
            multithread: true,
            script: b"/srv/www/app.wsgi",
            context: "main interpreter",
            ..Request::default()
        };
        let served = wsgi_core::serve(py, &state, &app, &request, &mut host);
        if let Outcome::Collected(response) = served.outcome {
            sent += response.body.len() as u64;
        }
    }
    Ok(sent + host.0)
}
