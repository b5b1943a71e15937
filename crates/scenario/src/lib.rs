//! One process per test: for what can be started once in a process, as Python can, and whose life
//! from start to end is what is tested.
//!
//! A test runs its own executable again with a variable set and its own name as the filter; the
//! child then does the real work. For tests only: everything that goes wrong is a panic.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "the only consumers are tests, where a panic is the report")]

use std::env;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the child, to the name of its test.
const VARIABLE: &str = "TEST_SCENARIO";

/// What the child prints when the body is through: a process may end early, and well.
const DONE: &str = "scenario done";

/// The longest a scenario may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `body` in a process of its own. `name` is that of the test that calls this.
///
/// # Panics
/// The body panicked, the child ended otherwise or took too long; what it printed is shown.
#[track_caller]
pub fn scenario(name: &str, body: impl FnOnce()) {
    if env::var(VARIABLE).is_ok_and(|running| running == name) {
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
    let done = stdout.contains(DONE) && status == "exit status: 0";
    assert!(done, "{name}: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
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
