//! One process per scenario: a process has one Python, and what is tested is its life.
//!
//! A test runs itself again with a variable set, and the child then does the real work.

#![allow(dead_code, clippy::unwrap_used)]

use std::env;
use std::ffi::CString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use interp::py::{Bound, Result, Token};
use interp::{Config, Interpreter, Runtime};

const VARIABLE: &str = "INTERP_SCENARIO";
const LIMIT: Duration = Duration::from_secs(120);

/// The Python this was built for.
pub(crate) fn python() -> &'static str {
    env!("INTERP_TEST_PYTHON")
}

/// Runs `body` in a process of its own; `name` is the test's.
#[track_caller]
pub(crate) fn scenario(name: &str, body: impl FnOnce()) {
    if env::var(VARIABLE).is_ok_and(|running| running == name) {
        body();
        println!("scenario done");
        return;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let read = |mut stream: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            stream.read_to_end(&mut text).unwrap();
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.to_string();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break format!("killed after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(10));
    };
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let done = stdout.contains("scenario done") && status == "exit status: 0";
    assert!(done, "{name}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
}

/// Starts the Python this was built for.
pub(crate) fn start() -> Runtime {
    Runtime::start(&Config::new(python())).unwrap()
}

/// Executes statements in the interpreter's `__main__`.
#[track_caller]
pub(crate) fn run(interpreter: Interpreter, code: &str) {
    interpreter
        .attach(|py| {
            if let Err(error) = exec(py, code) {
                panic!("{error} in {code}");
            }
        })
        .unwrap();
}

/// `str(eval(code))` in the interpreter's `__main__`.
#[track_caller]
pub(crate) fn eval(interpreter: Interpreter, code: &str) -> String {
    interpreter
        .attach(|py| match eval_here(py, code) {
            Ok(text) => text,
            Err(error) => panic!("{error} in {code}"),
        })
        .unwrap()
}

pub(crate) fn exec<'py>(py: Token<'py>, code: &str) -> Result<'py, ()> {
    call(py, "exec", code).map(|_| ())
}

pub(crate) fn eval_here<'py>(py: Token<'py>, code: &str) -> Result<'py, String> {
    let value = call(py, "eval", code)?;
    py.import(c"builtins")?.attr(c"str")?.call(&[&value])?.to_text()
}

fn call<'py>(py: Token<'py>, how: &str, code: &str) -> Result<'py, Bound<'py>> {
    let globals = py.import(c"__main__")?.attr(c"__dict__")?;
    let how = CString::new(how).unwrap();
    py.import(c"builtins")?.call_method(&how, &[&py.str(code)?, &globals])
}
