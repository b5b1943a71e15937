//! Workers that end when they should not: who learns what, and what is tried again.

use std::thread;
use std::time::{Duration, Instant};

use daemon::client::ErrorKind;
use daemon::config::Group;

use crate::ask::Ask;
use crate::server::{
    Server, group, halt, is_alive, kill, payload, processor_time, until, until_gone,
};

crate::tests! {
    a_worker_killed_before_its_response_is_told_from_one_killed_within_it
    a_request_that_was_read_is_not_run_twice
    a_request_that_was_not_read_is_sent_again
    each_end_is_explained_in_one_line
    what_cannot_start_is_tried_ever_more_slowly_and_hurts_nobody
    a_forked_child_does_not_hide_the_end
    only_requests_in_a_killed_worker_fail
    what_has_ended_gives_the_supervisor_nothing_to_do
    a_spare_leaves_no_gap
}

/// A request that says that it is running, and runs for long.
fn announced(text: &str) -> [(&str, &str); 1] {
    [("TEXT", text)]
}

fn a_worker_killed_before_its_response_is_told_from_one_killed_within_it() {
    let server = Server::new(vec![group("g", 1, 2)]);
    let error = server.get("signal/9").error.unwrap();
    assert_eq!((error.kind(), error.is_after_head()), (ErrorKind::Closed, false));
    assert!(error.worker().is_some_and(|pid| pid > 0));
    let response = server.get("die");
    let error = response.error.as_ref().unwrap();
    assert_eq!((error.kind(), error.is_after_head()), (ErrorKind::Truncated, true));
    assert_eq!((response.status, response.text(), response.ended), (200, "some", false));
    // And the next one finds another worker.
    assert_eq!(server.text("hello"), "Hello");
}

fn a_request_that_was_read_is_not_run_twice() {
    let server = Server::new(vec![group("g", 2, 2)]);
    server.pids(2);
    let ask = Ask { pairs: &announced("once"), ..Ask::default() };
    let response = thread::scope(|scope| {
        let asking = scope.spawn(|| server.ask("g", "announce/60000", &ask));
        server.until_logged("running once");
        // The line in the log says whose it is.
        let log = server.log();
        let line = log.lines().find(|line| line.contains("running once")).unwrap();
        let pid = line.split("[pid ").nth(1).unwrap().split(']').next().unwrap();
        kill(pid.parse().unwrap(), libc::SIGKILL);
        asking.join().unwrap()
    });
    assert_eq!(response.error.unwrap().kind(), ErrorKind::Closed);
    assert_eq!(server.text("hello"), "Hello");
    server.until_logged("SIGKILL");
    assert_eq!(server.log().matches("running once").count(), 1);
}

fn a_request_that_was_not_read_is_sent_again() {
    let server = Server::new(vec![group("g", 1, 2)]);
    for again in 0..3 {
        let pid = server.pid();
        // It cannot read what it is sent.
        halt(pid);
        let body = b"an upload can be sent again, too, until the application reads it";
        let ask = Ask { body, inline: if again == 0 { body.len() } else { 0 }, ..Ask::default() };
        let response = ask.send_then(&server.child, server.group("g"), "upload", || {
            kill(pid, libc::SIGKILL);
        });
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        assert!(response.ended, "{response:?}");
        assert_eq!(response.text(), format!("{} {sum}", body.len()));
        assert!(response.restarts >= 1);
        until_gone(pid);
    }
}

fn each_end_is_explained_in_one_line() {
    let server = Server::new(vec![group("g", 1, 2)]);
    for (path, said) in [
        ("exit/7", "terminated normally, exit code 7; it was running: exit/7"),
        ("signal/11", "terminated by signal 11 (SIGSEGV)"),
        ("signal/6", "terminated by signal 6 (SIGABRT)"),
        ("signal/9", "terminated by signal 9 (SIGKILL); it was running: signal/9"),
    ] {
        let error = server.get(path).error.unwrap();
        let pid = error.worker().unwrap();
        let line = format!("Process 'g' (pid={pid}) {said}");
        server.until_logged(&line);
        assert_eq!(server.log().matches(&format!("(pid={pid}) terminated")).count(), 1);
    }
}

fn what_cannot_start_is_tried_ever_more_slowly_and_hurts_nobody() {
    let dies = payload(&[("say", "cannot import this"), ("exit", "7")]);
    let server = Server::new(vec![group("g", 1, 2), Group { payload: dies, ..group("bad", 1, 1) }]);
    server.until_logged("terminated normally, exit code 7");
    let begun = Instant::now();
    let (load, ()) = server.load(2, "hello", || {
        let error = server.ask("bad", "hello", &Ask::default()).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Failing);
        assert!(begun.elapsed() < Duration::from_secs(15), "at once, and not when it is too late");
        until("a third start", || server.log().matches("cannot import this").count() >= 3);
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    // 250, 500 ms.
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    let log = server.log();
    let said = log.matches("cannot import this").count();
    let explained = log.matches("exit code 7").count();
    assert!(said - explained <= 1, "each end has its line, once:\n{log}");
}

fn a_forked_child_does_not_hide_the_end() {
    let server = Server::new(vec![group("g", 1, 2)]);
    let pid = server.pid();
    assert_eq!(server.text("fork/20"), "forked");
    let begun = Instant::now();
    let mut ask = Ask { pairs: &announced("with a child"), ..Ask::default() };
    ask.options.socket_timeout = Duration::from_secs(60);
    let response = thread::scope(|scope| {
        let asking = scope.spawn(|| server.ask("g", "announce/60000", &ask));
        server.until_logged("running with a child");
        // The forked child has a copy of the connection of this very request.
        assert_eq!(server.text("fork/20"), "forked");
        kill(pid, libc::SIGKILL);
        asking.join().unwrap()
    });
    assert_eq!(response.error.unwrap().kind(), ErrorKind::Closed);
    assert_eq!(server.text("hello"), "Hello");
    assert!(begun.elapsed() < Duration::from_secs(30), "long before any timeout");
    assert!(!is_alive(pid));
}

fn only_requests_in_a_killed_worker_fail() {
    let server = Server::new(vec![group("g", 2, 4), group("other", 1, 4)]);
    server.pids(2);
    let (load, kills) = server.load(6, "sleep/2", || {
        let begun = Instant::now();
        let mut kills = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            let response = server.get("pid");
            if let Ok(pid) = response.text().parse::<i32>() {
                kill(pid, libc::SIGKILL);
                until_gone(pid);
                kills += 1;
            }
            assert!(server.ask("other", "hello", &Ask::default()).is_hello());
            thread::sleep(Duration::from_millis(100));
        }
        kills
    });
    assert!(kills >= 3 && load.good > 20, "{kills} {}", load.good);
    for response in &load.bad {
        assert_eq!(response.error.as_ref().unwrap().kind(), ErrorKind::Closed, "{response:?}");
    }
    assert!(load.bad.len() <= kills * 4, "{} for {kills} deaths", load.bad.len());
}

fn what_has_ended_gives_the_supervisor_nothing_to_do() {
    let server = Server::new(vec![group("g", 2, 2)]);
    for _ in 0..3 {
        let pid = server.pid();
        kill(pid, libc::SIGTERM);
        until_gone(pid);
        assert_eq!(server.text("hello"), "Hello");
    }
    server.pids(2);
    let before = processor_time(server.supervisor());
    thread::sleep(Duration::from_secs(2));
    let used = processor_time(server.supervisor()) - before;
    assert!(used < 5, "hundredths of a second: {used}");
}

fn a_spare_leaves_no_gap() {
    let slow = payload(&[("import", "9000")]);
    let server = Server::new(vec![Group { spare: 1, payload: slow, ..group("g", 1, 2) }]);
    until("the spare", || {
        let log = server.log();
        assert!(!log.contains("died"), "{log}");
        server.child.group(b"g").is_some_and(|_| server.get("hello").is_hello())
    });
    let pid = server.pid();
    // Both were started together, so the other one is about to be ready, too.
    thread::sleep(Duration::from_millis(2000));
    let begun = Instant::now();
    kill(pid, libc::SIGKILL);
    until_gone(pid);
    assert_eq!(server.text("hello"), "Hello");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
