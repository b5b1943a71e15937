//! Requests that take too long, processes that take too much: answers come in time, the others of the
//! group go on, and the log says what has happened.

use std::thread;
use std::time::{Duration, Instant};

use daemon::client::ErrorKind;
use daemon::config::{Group, Limit};

use crate::ask::Ask;
use crate::server::{Server, group, kill, until, until_gone};

crate::tests! {
    a_wedged_process_is_replaced_and_its_siblings_go_on
    a_stopped_process_is_replaced
    memory_is_limited
    processor_time_is_limited
}

fn with_deadline(milliseconds: u64) -> Ask<'static> {
    let mut ask = Ask::default();
    ask.options.deadline = Some(Duration::from_millis(milliseconds));
    ask
}

/// The pid in a line of the log about a replacement.
fn replaced(server: &Server, why: &str) -> i32 {
    server.until_logged(why);
    let log = server.log();
    let line = log.lines().find(|line| line.contains(why)).unwrap();
    line.split("(pid=").nth(1).unwrap().split(')').next().unwrap().parse().unwrap()
}

fn a_wedged_process_is_replaced_and_its_siblings_go_on() {
    let server = Server::new(vec![Group {
        request: Duration::from_millis(500),
        graceful: Duration::from_millis(500),
        shutdown: Duration::from_millis(500),
        ..group("g", 2, 2)
    }]);
    let pids = server.pids(2);
    // It keeps the lock, so nothing else runs in that process.
    let begun = Instant::now();
    let error = server.ask("g", "spin/60000", &with_deadline(300)).error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    let stuck = error.worker().unwrap();
    assert!(pids.contains(&stuck));
    // One at a time: whoever asks now gets an answer, from the other one.
    let (load, ()) = server.load(1, "hello", || {
        assert_eq!(replaced(&server, "is being replaced: request_timeout"), stuck);
        until_gone(stuck);
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    server.until_logged(&format!("(pid={stuck}) terminated"));
    let log = server.log();
    assert!(
        log.contains(&format!("Process 'g' (pid={stuck}) takes too long for: spin/60000")),
        "{log}"
    );
    let end = log.lines().find(|line| line.contains(&format!("(pid={stuck}) terminated")));
    assert!(end.is_some_and(|line| line.ends_with("it was running: spin/60000")), "{log}");
    assert!(server.pids(2).iter().all(|pid| *pid != stuck));
}

fn a_stopped_process_is_replaced() {
    // It cannot look after anything itself.
    let server = Server::new(vec![Group {
        request: Duration::from_millis(300),
        graceful: Duration::from_millis(300),
        shutdown: Duration::from_millis(300),
        ..group("g", 1, 2)
    }]);
    let ask = Ask { pairs: &[("TEXT", "stopped")], ..with_deadline(8_000) };
    thread::scope(|scope| {
        let asking = scope.spawn(|| server.ask("g", "announce/60000", &ask));
        server.until_logged("running stopped");
        let pid = server.pid();
        kill(pid, libc::SIGSTOP);
        assert_eq!(replaced(&server, "is being replaced: request_timeout"), pid);
        until_gone(pid);
        assert_eq!(asking.join().unwrap().error.unwrap().kind(), ErrorKind::Closed);
    });
    assert_eq!(server.text("hello"), "Hello");
}

fn memory_is_limited() {
    let megabyte = 1 << 20;
    let limits =
        vec![Limit { resource: libc::RLIMIT_DATA, soft: 200 * megabyte, hard: 200 * megabyte }];
    let server = Server::new(vec![Group { limits, ..group("g", 1, 2) }, group("other", 1, 2)]);
    assert_eq!(server.text("allocate/20"), "20 MiB");
    let error = server.get("allocate/5000").error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    server.until_logged("terminated by signal 6 (SIGABRT); it was running: allocate/5000");
    assert!(server.ask("other", "allocate/300", &Ask::default()).ended);
    assert_eq!(server.text("hello"), "Hello");
}

fn processor_time_is_limited() {
    let limits = vec![Limit { resource: libc::RLIMIT_CPU, soft: 1, hard: 4 }];
    let server = Server::new(vec![Group {
        limits,
        graceful: Duration::from_millis(300),
        shutdown: Duration::from_millis(300),
        ..group("g", 1, 3)
    }]);
    let pid = server.pid();
    let server = &server;
    thread::scope(|scope| {
        let mut ask = Ask::default();
        // Its processor time may take long on a machine that others use.
        ask.options.socket_timeout = Duration::from_secs(60);
        let asking = scope.spawn(move || server.ask("g", "burn", &ask));
        // The same process answers others until it is replaced, if its lock allows; then another does.
        assert_eq!(replaced(server, "is being replaced: cpu_time_limit"), pid);
        until("another process", || server.get("pid").worker != pid);
        assert_eq!(asking.join().unwrap().error.unwrap().kind(), ErrorKind::Closed);
    });
    until_gone(pid);
    assert_eq!(server.text("hello"), "Hello");
}
