//! One process per test: for what can be started once in a process, as Python can, and whose life
//! from start to end is what is tested. And [`patience`], for tests that wait.
//!
//! A test runs its own executable again with a variable set and its own name as the filter; the
//! child then does the real work. For tests only: everything that goes wrong is a panic.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "the only consumers are tests, where a panic is the report")]

pub mod patience;

use std::env;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use patience::{Deadline, LIMIT};

/// Set in the child, to the name of its test.
const VARIABLE: &str = "TEST_SCENARIO";

/// What the child prints when the body is through: a process may end early, and well.
const DONE: &str = "scenario done";

/// How much longer than its limit a child gets to say so itself, and what it has said to arrive.
const MORE: Duration = Duration::from_secs(20);

/// Runs `body` in a process of its own. `name` is that of the test that calls this.
///
/// # Panics
/// The body panicked, the child ended otherwise or took too long; what it printed is shown.
#[track_caller]
pub fn scenario(name: &str, body: impl FnOnce()) {
    if env::var(VARIABLE).is_ok_and(|running| running == name) {
        let _deadline = Deadline::start();
        body();
        println!("{DONE}");
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
    let stdout = read(child.stdout.take().unwrap());
    let stderr = read(child.stderr.take().unwrap());
    let deadline = Instant::now() + LIMIT + MORE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.to_string();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break format!("killed after {:?}", LIMIT + MORE);
        }
        thread::sleep(Duration::from_millis(10));
    };
    let (stdout, stderr) = (all(&stdout), all(&stderr));
    let done = stdout.contains(DONE) && status == "exit status: 0";
    assert!(done, "{name}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
}

/// Reads on a thread of its own: what the child has left behind may keep the stream open.
fn read(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (say, said) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if say.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    said
}

/// All that comes, up to the end or until nothing has come for long.
fn all(said: &Receiver<Vec<u8>>) -> String {
    let mut text = Vec::new();
    while let Ok(part) = said.recv_timeout(MORE) {
        text.extend(part);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_runs_in_a_process_of_its_own() {
        use std::sync::atomic::{AtomicBool, Ordering};
        static RAN: AtomicBool = AtomicBool::new(false);
        scenario("tests::a_body_runs_in_a_process_of_its_own", || {
            RAN.store(true, Ordering::Relaxed);
        });
        let child = env::var_os(VARIABLE).is_some();
        assert_eq!(RAN.load(Ordering::Relaxed), child);
    }

    #[test]
    #[should_panic(expected = "no luck")]
    fn a_panic_of_the_body_is_told() {
        scenario("tests::a_panic_of_the_body_is_told", || panic!("no luck"));
    }

    #[test]
    #[should_panic(expected = "exit status: 0")]
    #[allow(clippy::disallowed_methods, reason = "ending the process is the point")]
    fn a_body_that_ends_the_process_is_not_through() {
        scenario("tests::a_body_that_ends_the_process_is_not_through", || std::process::exit(0));
    }
}
