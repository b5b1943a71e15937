//! `environ` from raw bytes, through a real interpreter: the dictionary holds what was sent and
//! nothing else, whatever earlier requests looked like.

#![no_main]

use std::ffi::CString;
use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use py::{Bound, Global, InterpreterId, Token, ffi};
use wsgi_core::{Config, Fault, Flags, Head, Host, Outcome, Record, Request, ServerLog, State};

/// Checks `environ` against the pairs in `expected`, in Python's own words.
const APP: &str = "
import os
PLAIN = {'wsgi.version', 'wsgi.url_scheme', 'wsgi.multithread', 'wsgi.multiprocess',
    'wsgi.run_once', 'wsgi.input', 'wsgi.input_terminated', 'wsgi.errors', 'wsgi.file_wrapper'}
def application(environ, start_response):
    wanted = {}
    for name, value in expected:
        try:
            name = name.decode()
        except UnicodeDecodeError:
            continue
        if name.startswith('mod_wsgi.x-'):
            continue
        wanted[name] = value
    assert type(environ) is dict
    for name, value in wanted.items():
        if name in ('DOCUMENT_ROOT', 'SCRIPT_FILENAME'):
            assert os.fsencode(environ[name]) == value, name
        elif name not in PLAIN:
            assert environ[name] == value.decode('latin-1'), name
    assert set(environ) == set(wanted) | PLAIN, (set(environ) ^ (set(wanted) | PLAIN), expected)
    assert environ['wsgi.url_scheme'] in ('http', 'https')
    assert environ['wsgi.input'].read() == b''
    start_response('200 OK', [])
    return []
";

/// Names that are treated in ways of their own, and any other.
#[derive(Arbitrary, Debug)]
enum Name<'a> {
    Known(u8),
    Field(u8),
    Other(&'a [u8]),
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    pairs: Vec<(Name<'a>, &'a [u8])>,
    https: bool,
    /// Often enough to go through the caches.
    again: bool,
}

struct Quiet;

impl ServerLog for Quiet {
    fn log(&self, _: &[Record<'_>]) {}
}

struct Nothing(Vec<String>);

impl Host for Nothing {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Fault> {
        Ok(0)
    }

    fn respond(&mut self, _: Option<&Head>, _: &[&[u8]], _: Flags) -> Result<(), Fault> {
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
        Ok(length)
    }

    fn log(&mut self, records: &[Record<'_>]) {
        self.0.extend(records.iter().map(|r| String::from_utf8_lossy(r.text).into_owned()));
    }
}

struct Engine {
    state: Arc<State>,
    globals: Global,
}

/// Starts Python on the only thread there is, which stays attached.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        // SAFETY: nobody has started Python; the string outlives the calls.
        let py = unsafe {
            let mut config = std::mem::zeroed::<ffi::PyConfig>();
            ffi::PyConfig_InitPythonConfig(&mut config);
            config.install_signal_handlers = 0;
            config.parse_argv = 0;
            let executable = CString::new(env!("FUZZ_PYTHON")).expect("a path");
            let name = &raw mut config.program_name;
            ffi::PyConfig_SetBytesString(&mut config, name, executable.as_ptr());
            assert_eq!(ffi::PyStatus_Exception(ffi::Py_InitializeFromConfig(&config)), 0);
            Token::assume(InterpreterId::MAIN)
        };
        let config = Config { log: Arc::new(Quiet), constants: &[] };
        let state = State::new(py, &config).expect("a state");
        let globals = py.dict().expect("memory");
        let source = CString::new(APP).expect("no NUL");
        // SAFETY: attached; a C string and a dict.
        unsafe {
            let name = c"fuzz.py".as_ptr();
            let code = ffi::Py_CompileString(source.as_ptr(), name, ffi::Py_file_input);
            let code = Bound::from_owned(py, code).expect("correct Python");
            let dict = globals.as_ptr();
            Bound::from_owned(py, ffi::PyEval_EvalCode(code.as_ptr(), dict, dict)).expect("runs");
        }
        Engine { state, globals: globals.into_global() }
    })
}

const KNOWN: &[&[u8]] = &[
    b"DOCUMENT_ROOT",
    b"SCRIPT_FILENAME",
    b"SERVER_NAME",
    b"SERVER_PORT",
    b"REQUEST_METHOD",
    b"SCRIPT_NAME",
    b"PATH_INFO",
    b"HTTP_COOKIE",
    b"HTTP_AUTHORIZATION",
    b"CONTENT_LENGTH",
    b"mod_wsgi.x-hidden",
    b"mod_wsgi.process_group",
    b"wsgi.url_scheme",
    b"wsgi.version",
    b"wsgi.input",
    b"",
];

fuzz_target!(|input: Input<'_>| {
    let engine = engine();
    // SAFETY: this thread started Python and stays attached.
    let py = unsafe { Token::assume(InterpreterId::MAIN) };
    let globals = engine.globals.bind(py).expect("the main interpreter");
    let names: Vec<Vec<u8>> = input
        .pairs
        .iter()
        .map(|(name, _)| match name {
            Name::Known(n) => KNOWN[usize::from(*n) % KNOWN.len()].to_vec(),
            Name::Field(n) => format!("HTTP_X_{n}").into_bytes(),
            Name::Other(name) => name.to_vec(),
        })
        .collect();
    let values = input.pairs.iter().map(|(_, value)| *value);
    let environ: Vec<(&[u8], &[u8])> = names.iter().map(Vec::as_slice).zip(values).collect();
    let pairs = environ.iter().map(|(name, value)| {
        let pair = [py.bytes(name).expect("memory"), py.bytes(value).expect("memory")];
        py.tuple(pair).expect("memory")
    });
    globals.dict_set(c"expected", &py.list(pairs).expect("memory")).expect("memory");
    let app = globals.dict_get(c"application").expect("a dict").expect("an application");
    let request = Request { environ: &environ[..], https: input.https, ..Request::default() };
    for _ in 0..if input.again { 4 } else { 1 } {
        let mut host = Nothing(Vec::new());
        let served = wsgi_core::serve(py, &engine.state, &app, &request, &mut host);
        assert!(matches!(served.outcome, Outcome::Collected(_)), "{:#?}", host.0);
    }
});
