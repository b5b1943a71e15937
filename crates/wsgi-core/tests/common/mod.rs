//! A real interpreter and a server made of memory.
//!
//! Python is started once per test program, on whichever thread comes first; each test attaches
//! its own thread to the main interpreter. A test is a piece of Python that defines `application`
//! and what the server does, and looks at what came out.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses some of it")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock};

use py::{Bound, Global, InterpreterId, Token, ffi};
use wsgi_core::{
    Config, Fault, FaultKind, Flags, Head, Host, Level, Observer, Outcome, Record, Request,
    ServerLog, State, Style, Summary, Value,
};

thread_local! {
    /// What `attach` made.
    static STATE_OF_THREAD: Cell<*mut ffi::PyThreadState> = const { Cell::new(ptr::null_mut()) };
}

/// Starts Python if nobody has, and runs `body` attached to its main interpreter.
pub fn attach<R>(body: impl for<'py> FnOnce(Token<'py>) -> R) -> R {
    static STARTED: OnceLock<usize> = OnceLock::new();
    let interpreter = *STARTED.get_or_init(start) as *mut ffi::PyInterpreterState;
    struct Attached(*mut ffi::PyThreadState);
    impl Drop for Attached {
        fn drop(&mut self) {
            STATE_OF_THREAD.set(ptr::null_mut());
            // SAFETY: made by this thread, which is attached to it.
            unsafe {
                ffi::PyThreadState_Clear(self.0);
                ffi::PyThreadState_DeleteCurrent();
            }
        }
    }
    // SAFETY: Python has been started and is never ended; the state is new and this thread's.
    let _attached = unsafe {
        let state = ffi::PyThreadState_New(interpreter);
        ffi::PyEval_RestoreThread(state);
        STATE_OF_THREAD.set(state);
        Attached(state)
    };
    // SAFETY: attached to the main interpreter until `_attached` goes.
    body(unsafe { Token::assume(InterpreterId::MAIN) })
}

fn start() -> usize {
    // All tests of the program together: what Python waits for, nobody interrupts.
    std::mem::forget(scenario::patience::Deadline::start());
    // SAFETY: nobody has started Python; the strings outlive the calls.
    unsafe {
        let mut config = std::mem::zeroed::<ffi::PyConfig>();
        ffi::PyConfig_InitPythonConfig(&mut config);
        config.install_signal_handlers = 0;
        config.parse_argv = 0;
        let executable = CString::new(env!("WSGI_CORE_TEST_PYTHON")).unwrap();
        let program_name = &raw mut config.program_name;
        ffi::PyConfig_SetBytesString(&mut config, program_name, executable.as_ptr());
        let status = ffi::Py_InitializeFromConfig(&config);
        assert_eq!(ffi::PyStatus_Exception(status), 0, "Python does not start");
        let interpreter = ffi::PyInterpreterState_Get();
        make_state();
        ffi::PyEval_SaveThread();
        interpreter as usize
    }
}

/// Runs Python statements.
pub fn exec<'py>(py: Token<'py>, globals: &Bound<'py>, source: &str) {
    evaluate(py, globals, source, ffi::Py_file_input);
}

/// The `str` of a Python expression.
pub fn eval<'py>(py: Token<'py>, globals: &Bound<'py>, source: &str) -> String {
    let value = evaluate(py, globals, source, ffi::Py_eval_input);
    // SAFETY: attached; a live object.
    unsafe { Bound::from_owned(py, ffi::PyObject_Str(value.as_ptr())) }.unwrap().to_text().unwrap()
}

fn evaluate<'py>(py: Token<'py>, globals: &Bound<'py>, source: &str, kind: i32) -> Bound<'py> {
    let source = CString::new(source).unwrap();
    globals.dict_set(c"__builtins__", &py.import(c"builtins").unwrap()).unwrap();
    // SAFETY: attached; a C string and a dict.
    let result = unsafe {
        let name = c"test.py".as_ptr();
        let code = ffi::Py_CompileString(source.as_ptr(), name, kind);
        let code = Bound::from_owned(py, code).unwrap();
        let globals = globals.as_ptr();
        Bound::from_owned(py, ffi::PyEval_EvalCode(code.as_ptr(), globals, globals))
    };
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// What a server logged: level, style, code, text.
pub type Line = (Level, Style, u16, String);

fn lines(records: &[Record<'_>]) -> impl Iterator<Item = Line> {
    records.iter().map(|record| {
        let text = String::from_utf8(record.text.to_vec()).unwrap();
        (record.level, record.style, record.code, text)
    })
}

/// The log without a request, in memory.
#[derive(Default)]
pub struct MemoryLog(pub Mutex<Vec<Line>>);

impl ServerLog for MemoryLog {
    fn log(&self, records: &[Record<'_>]) {
        self.0.lock().unwrap().extend(lines(records));
    }
}

impl MemoryLog {
    pub fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|line| line.3.clone()).collect()
    }
}

/// Made while Python is started, when nobody else is there to wait for it.
static STATE: OnceLock<(Arc<State>, Arc<MemoryLog>)> = OnceLock::new();

fn make_state() {
    // SAFETY: this thread has just started Python and is attached to the main interpreter.
    let py = unsafe { Token::assume(InterpreterId::MAIN) };
    let log = Arc::new(MemoryLog::default());
    let config = Config {
        log: Arc::clone(&log) as Arc<dyn ServerLog>,
        constants: &[("mod_wsgi.version", Value::Version([6, 1, 1]))],
    };
    let _ = STATE.set((State::new(py, &config).unwrap(), log));
}

/// The state of the main interpreter and the log behind it.
pub fn state(_: Token<'_>) -> (Arc<State>, Arc<MemoryLog>) {
    STATE.get().unwrap().clone()
}

/// What the server was asked to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Respond { head: bool, body: Vec<u8>, flags: Flags },
    File { head: bool, offset: u64, length: u64, flags: Flags },
}

/// A server for one request, made of memory.
#[derive(Default)]
pub struct Mock {
    /// The body arrives in these pieces; then there is the fault, or the end.
    pub body: VecDeque<Vec<u8>>,
    pub read_fault: Option<Fault>,
    pub reads: usize,
    /// Sending fails after this many calls.
    pub write_fault: Option<(usize, Fault)>,
    /// The file has only this much when it is sent.
    pub file_limit: Option<u64>,
    /// Do what is asked without being detached first.
    pub nonblocking: bool,
    pub tried: usize,
    pub calls: Vec<Call>,
    pub head: Option<Head>,
    pub sent: Vec<u8>,
    pub log: Vec<Line>,
    pub https: bool,
    pub ssl: Option<Vec<(String, String)>>,
}

impl Mock {
    fn sends(&mut self) -> Result<(), Fault> {
        match &mut self.write_fault {
            Some((0, fault)) => Err(fault.clone()),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn take_head(&mut self, head: Option<&Head>) -> bool {
        assert_eq!(self.head.is_none(), head.is_some(), "the head comes first, once");
        assert!(!self.has_ended(), "nothing comes behind the end");
        if let Some(head) = head {
            self.head = Some(head.clone());
        }
        head.is_some()
    }

    fn has_ended(&self) -> bool {
        self.calls.iter().any(|call| {
            let (Call::Respond { flags, .. } | Call::File { flags, .. }) = call;
            flags.has(Flags::END) || flags.has(Flags::TRUNCATED)
        })
    }

    fn really_respond(&mut self, head: Option<&Head>, chunks: &[&[u8]], flags: Flags) {
        assert!(chunks.iter().all(|chunk| !chunk.is_empty()));
        let head = self.take_head(head);
        let body = chunks.concat();
        self.sent.extend_from_slice(&body);
        self.calls.push(Call::Respond { head, body, flags });
    }

    fn really_read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        assert!(!buffer.is_empty());
        self.reads += 1;
        let Some(piece) = self.body.front_mut() else {
            return self.read_fault.clone().map_or(Ok(0), Err);
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        piece.drain(..count);
        if piece.is_empty() {
            self.body.pop_front();
        }
        Ok(count)
    }
}

/// Whether this thread is attached to Python.
pub fn is_attached() -> bool {
    // Before 3.12 the first of these is the state of whichever thread is attached.
    // SAFETY: both ask only.
    unsafe {
        let current = ffi::compat::PyThreadState_GetUnchecked();
        let mine = STATE_OF_THREAD.get();
        let mine = if mine.is_null() { ffi::PyGILState_GetThisThreadState() } else { mine };
        !current.is_null() && current == mine
    }
}

impl Host for Mock {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        assert!(!is_attached());
        self.really_read(buffer)
    }

    fn respond(
        &mut self,
        head: Option<&Head>,
        chunks: &[&[u8]],
        flags: Flags,
    ) -> Result<(), Fault> {
        assert!(!is_attached());
        self.sends()?;
        self.really_respond(head, chunks, flags);
        Ok(())
    }

    fn send_file(
        &mut self,
        head: Option<&Head>,
        file: std::os::fd::BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        use std::os::unix::fs::FileExt;
        assert!(!is_attached());
        assert!(length > 0);
        self.sends()?;
        let head = self.take_head(head);
        let file = std::fs::File::from(file.try_clone_to_owned().unwrap());
        let mut data = vec![0; length.min(self.file_limit.unwrap_or(u64::MAX)) as usize];
        file.read_exact_at(&mut data, offset).unwrap();
        self.sent.extend_from_slice(&data);
        self.calls.push(Call::File { head, offset, length, flags });
        Ok(data.len() as u64)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        assert!(is_attached());
        self.tried += 1;
        self.nonblocking.then(|| self.really_read(buffer))
    }

    fn try_respond(
        &mut self,
        head: Option<&Head>,
        chunks: &[&[u8]],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        assert!(is_attached());
        self.tried += 1;
        if !self.nonblocking {
            return None;
        }
        Some(self.sends().map(|()| self.really_respond(head, chunks, flags)))
    }

    fn log(&mut self, records: &[Record<'_>]) {
        assert!(!is_attached());
        self.log.extend(lines(records));
    }

    fn ssl_is_https(&mut self) -> bool {
        self.https
    }

    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let variables = self.ssl.as_ref()?;
        let found = variables.iter().find(|(other, _)| other.as_bytes() == name);
        Some(found.map(|(_, value)| value.clone().into_bytes()).unwrap_or_default())
    }
}

/// A request about to be made.
#[derive(Default)]
pub struct Case {
    source: String,
    pub host: Mock,
    pub environ: Vec<(Vec<u8>, Vec<u8>)>,
    pub head: bool,
    pub content_length: Option<u64>,
    pub observer: Option<Arc<dyn Observer>>,
    pub measure: bool,
    pub https: bool,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sent,
    Collected,
    Failed,
    Truncated,
}

/// What came out.
#[derive(Debug)]
pub struct Answer {
    pub kind: Kind,
    pub status: u16,
    pub head: Option<Head>,
    pub body: Vec<u8>,
    pub truncated: bool,
    pub calls: Vec<Call>,
    pub log: Vec<Line>,
    pub reads: usize,
    pub tried: usize,
    pub summary: Summary,
    globals: Option<Global>,
}

/// A GET of the application in `source`.
pub fn case(source: &str) -> Case {
    Case { source: source.to_owned(), ..Case::default() }
}

/// The answer to a GET of the application in `source`.
pub fn get(source: &str) -> Answer {
    case(source).serve()
}

impl Case {
    pub fn body(mut self, pieces: &[&[u8]]) -> Case {
        self.host.body = pieces.iter().map(|piece| piece.to_vec()).collect();
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<[u8]>) -> Case {
        self.environ.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub fn head(mut self) -> Case {
        self.head = true;
        self
    }

    pub fn serve(mut self) -> Answer {
        attach(|py| {
            let globals = py.dict().unwrap();
            // `start` is what most applications begin with.
            exec(
                py,
                &globals,
                "def start(start_response, *headers, status='200 OK'):\n    \
                     return start_response(status, list(headers))\n",
            );
            exec(py, &globals, &self.source);
            self.serve_in(py, &globals)
        })
    }

    /// Calls `application` of these globals.
    pub fn serve_in<'py>(&mut self, py: Token<'py>, globals: &Bound<'py>) -> Answer {
        let (state, _) = state(py);
        let app = globals.dict_get(c"application").unwrap().unwrap();
        let pairs: Vec<(&[u8], &[u8])> =
            self.environ.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let request: Request<'_> = Request {
            environ: &pairs[..],
            head: self.head,
            https: self.https,
            content_length: self.content_length,
            script: b"/srv/app.wsgi",
            context: "main interpreter in a test",
            observer: self.observer.clone(),
            measure: self.measure,
            ..Request::default()
        };
        let host = &mut self.host;
        let served = wsgi_core::serve(py, &state, &app, &request, host);
        assert!(ptr::eq(host, &self.host));
        let status = served.outcome.status();
        let (kind, head, body, truncated) = match served.outcome {
            Outcome::Collected(response) => {
                assert_eq!(self.host.calls, []);
                (Kind::Collected, Some(response.head), response.body, response.truncated)
            }
            Outcome::Sent { .. } => {
                assert!(self.host.has_ended());
                (Kind::Sent, self.host.head.take(), self.host.sent.clone(), false)
            }
            Outcome::Truncated { .. } => {
                (Kind::Truncated, self.host.head.take(), self.host.sent.clone(), true)
            }
            Outcome::Failed { .. } => {
                assert_eq!(self.host.calls, []);
                (Kind::Failed, None, Vec::new(), false)
            }
        };
        Answer {
            kind,
            status,
            head,
            body,
            truncated,
            calls: std::mem::take(&mut self.host.calls),
            log: std::mem::take(&mut self.host.log),
            reads: self.host.reads,
            tried: self.host.tried,
            summary: served.summary,
            globals: Some(globals.clone().into_global()),
        }
    }
}

impl Answer {
    /// The `str` of a Python expression, after the request.
    pub fn eval(&self, source: &str) -> String {
        attach(|py| eval(py, &self.globals.as_ref().unwrap().bind(py).unwrap(), source))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let value = self.head.as_ref()?.get(name)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    }

    pub fn headers(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| bytes.iter().map(|&byte| byte as char).collect();
        let head = self.head.as_ref().unwrap();
        head.headers().map(|(name, value)| (text(name), text(value))).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The log's texts.
    pub fn logged(&self) -> Vec<&str> {
        self.log.iter().map(|line| &line.3[..]).collect()
    }

    /// Last line of the first traceback.
    pub fn raised(&self) -> &str {
        let lines = self.log.iter().skip_while(|line| line.1 != Style::Traceback);
        let traceback = lines.take_while(|line| line.1 == Style::Traceback);
        traceback.last().map(|line| &line.3[..]).unwrap_or_default()
    }
}

/// The client has gone.
pub fn gone() -> Fault {
    Fault::new(FaultKind::ClientGone, "Partial results are valid but processing is incomplete")
}
