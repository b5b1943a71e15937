//! New code, new configuration, and processes that have lived long enough.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use daemon::client::ErrorKind;
use daemon::config::{Group, Swap};

use crate::ask::Ask;
use crate::server::{Server, group, is_alive, kill, payload, until, until_gone};

crate::tests! {
    new_code_is_seen_by_the_request_that_finds_it_and_disturbs_none
    code_that_does_not_load_changes_nothing
    new_processes_that_die_change_nothing
    one_after_another_when_rolling
    a_graceful_restart_loses_nothing
    the_same_configuration_may_keep_workers
    maximum_requests_replaces_without_a_gap
    interval_replaces_without_a_gap
    signals_replace_without_a_gap
    startup_is_limited
    graceful_is_limited
    shutdown_is_limited
    a_removed_group_ends
}

/// A file that is the application's code, and a group that runs it.
struct Code {
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Code {
    fn new(text: &str) -> Code {
        let directory = tempfile::tempdir().unwrap();
        let code = Code { file: directory.path().join("app"), _directory: directory };
        code.write(text);
        code
    }

    /// Whole at every moment.
    fn write(&self, text: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.file).unwrap();
    }

    fn group(&self, processes: u32, import: &str) -> Group {
        let file = self.file.to_str().unwrap();
        let payload = payload(&[("file", file), ("import", import)]);
        Group { payload, ..group("g", processes, 4) }
    }
}

/// Which version answers.
fn version(server: &Server) -> String {
    let response = server.get("hello");
    assert!(response.is_hello(), "{response:?}");
    response.name.split("version ").nth(1).unwrap().to_owned()
}

fn new_code_is_seen_by_the_request_that_finds_it_and_disturbs_none() {
    let code = Code::new("one");
    let server = Server::new(vec![code.group(2, "100")]);
    assert_eq!(version(&server), "one");
    for new in ["two", "three"] {
        let (load, ()) = server.load(4, "sleep/2", || {
            code.write(new);
            assert_eq!(version(&server), new, "the very next request");
            assert_eq!(version(&server), new);
        });
        assert!(load.bad.is_empty(), "{:?}", load.bad);
    }
    assert!(server.log().contains("runs generation 3"), "{}", server.log());
}

fn code_that_does_not_load_changes_nothing() {
    let code = Code::new("one");
    let server = Server::new(vec![code.group(2, "0")]);
    assert_eq!(version(&server), "one");
    let pids = server.pids(2);
    code.write("broken");
    for _ in 0..20 {
        assert_eq!(version(&server), "one");
    }
    let log = server.log();
    assert_eq!(log.matches("SyntaxError: it is broken").count(), 1, "{log}");
    assert!(log.contains("goes on with the code that it has loaded"), "{log}");
    assert!(server.pids(2).iter().all(|pid| pids.contains(pid)));
    code.write("two");
    assert_eq!(version(&server), "two");
}

fn new_processes_that_die_change_nothing() {
    let code = Code::new("one");
    let server = Server::new(vec![code.group(1, "0")]);
    let pid = server.pid();
    code.write("die at import");
    for _ in 0..20 {
        assert_eq!(version(&server), "one");
    }
    assert!(server.log().contains("terminated normally, exit code 3"), "{}", server.log());
    assert_eq!(server.pid(), pid);
    code.write("two");
    until("the new code", || version(&server) == "two");
}

fn one_after_another_when_rolling() {
    let code = Code::new("one");
    let server = Server::new(vec![Group { swap: Swap::Rolling, ..code.group(3, "0") }]);
    let old = server.pids(3);
    let (load, ()) = server.load(4, "sleep/2", || {
        code.write("two");
        assert_eq!(version(&server), "two");
        for pid in &old {
            until_gone(*pid);
        }
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert!(server.pids(3).iter().all(|pid| !old.contains(pid)));
}

fn a_graceful_restart_loses_nothing() {
    let mut server = Server::new(vec![group("g", 2, 4)]);
    let supervisor = server.supervisor();
    let mut old = server.pids(2);
    for round in 0..3 {
        let (load, ()) = server.load(4, "sleep/2", || {
            // A changed option.
            let is_new = server.configure(vec![Group { umask: Some(round), ..group("g", 2, 4) }]);
            assert!(!is_new, "the supervisor stays");
            for pid in &old {
                until_gone(*pid);
            }
        });
        assert!(load.bad.is_empty(), "{:?}", load.bad);
        // A child that is made now.
        server.renew();
        old = server.pids(2);
    }
    assert_eq!(server.supervisor(), supervisor);
    server.stop();
}

fn the_same_configuration_may_keep_workers() {
    let kept = || Group { keep: true, ..group("g", 2, 2) };
    let mut server = Server::new(vec![kept()]);
    let pids = server.pids(2);
    server.restart(vec![kept()]);
    assert!(server.pids(2).iter().all(|pid| pids.contains(pid)));
    server.configure(vec![Group { umask: Some(0o7), ..kept() }]);
    for pid in pids {
        until_gone(pid);
    }
    assert_eq!(server.text("hello"), "Hello");
}

fn maximum_requests_replaces_without_a_gap() {
    let server = Server::new(vec![Group { maximum_requests: 50, ..group("g", 2, 4) }]);
    let mut seen = Vec::new();
    let (load, ()) = server.load(4, "hello", || {
        until("six processes one after another", || {
            let response = server.get("pid");
            if !seen.contains(&response.worker) {
                seen.push(response.worker);
            }
            seen.len() >= 6
        });
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    let log = server.log();
    assert!(!log.contains("has died"), "{log}");
    assert!(log.contains("Retired(MaximumRequests)"), "{log}");
}

fn interval_replaces_without_a_gap() {
    let interval = Duration::from_millis(200);
    let server = Server::new(vec![Group { interval, ..group("g", 1, 4) }]);
    let first = server.pid();
    let (load, ()) = server.load(2, "sleep/2", || until_gone(first));
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert_ne!(server.pid(), first);
}

fn signals_replace_without_a_gap() {
    let eviction = Duration::from_secs(10);
    let server = Server::new(vec![Group { eviction, ..group("g", 2, 4) }]);
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1] {
        let (load, ()) = server.load(4, "sleep/2", || {
            let pid = server.pid();
            kill(pid, signal);
            until_gone(pid);
        });
        assert!(load.bad.is_empty(), "{signal}: {:?}", load.bad);
    }
    // These are the application's.
    let pid = server.pid();
    for signal in [libc::SIGHUP, libc::SIGUSR2] {
        kill(pid, signal);
        until("the signal", || server.log().contains(&format!("signal {signal}")));
    }
    assert!(is_alive(pid));
}

fn startup_is_limited() {
    let server = Server::new(vec![
        Group {
            startup: Duration::from_millis(200),
            payload: payload(&[("import", "60000")]),
            ..group("slow", 1, 1)
        },
        group("g", 1, 1),
    ]);
    server.until_logged("is not ready in time");
    until("that requests are refused", || {
        let mut ask = Ask::default();
        ask.options.connect_timeout = Duration::ZERO;
        let error = server.ask("slow", "hello", &ask).error.unwrap();
        error.kind() == ErrorKind::Failing
    });
    assert_eq!(server.text("hello"), "Hello");
}

fn graceful_is_limited() {
    let limited = |umask| Group {
        graceful: Duration::from_millis(300),
        shutdown: Duration::from_millis(300),
        umask: Some(umask),
        ..group("g", 1, 2)
    };
    let server = Server::new(vec![limited(0o22)]);
    let pid = server.pid();
    let mut ask = Ask { pairs: &[("TEXT", "for long")], ..Ask::default() };
    ask.options.socket_timeout = Duration::from_secs(60);
    thread::scope(|scope| {
        let asking = scope.spawn(|| server.ask("g", "announce/60000", &ask));
        server.until_logged("running for long");
        server.configure(vec![limited(0o27)]);
        let begun = Instant::now();
        let response = asking.join().unwrap();
        assert_eq!(response.error.unwrap().kind(), ErrorKind::Closed);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    });
    until_gone(pid);
    assert!(server.log().contains("still has requests; forcing shutdown"), "{}", server.log());
    assert_eq!(server.text("hello"), "Hello");
}

fn shutdown_is_limited() {
    let mut server = Server::new(vec![Group {
        shutdown: Duration::from_millis(300),
        payload: payload(&[("linger", "60000")]),
        ..group("g", 1, 1)
    }]);
    let pid = server.pid();
    let begun = Instant::now();
    server.stop();
    assert!(!is_alive(pid));
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let line = format!("Shutdown timeout expired; aborting process 'g' (pid={pid})");
    assert!(server.log().contains(&line), "{}", server.log());
}

fn a_removed_group_ends() {
    let mut server = Server::new(vec![group("g", 1, 1), group("old", 1, 1)]);
    let pid = server.ask("old", "pid", &Ask::default()).worker;
    // This child is of before, and may need it.
    server.configure(vec![group("g", 1, 1)]);
    server.until_logged("runs generation 2");
    assert!(server.ask("old", "hello", &Ask::default()).is_hello());
    // Now there are only newer ones.
    server.renew();
    until_gone(pid);
    let error = server.ask("old", "hello", &Ask::default()).error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Down);
}
