//! A supervisor, workers, requests: that it works.

use std::time::{Duration, Instant};

use crate::ask::Ask;
use crate::server::{Server, group, is_alive, payload};

crate::tests! {
    requests_are_served
    groups_are_apart
    an_upload_and_a_response_pass
    a_worker_is_what_it_should_be
    idle_connections_are_closed
    a_service_takes_no_requests
    domains_are_served
}

fn requests_are_served() {
    let mut server = Server::new(vec![group("g", 2, 4)]);
    assert_eq!(server.text("hello"), "Hello");
    let (load, pids) = server.load(8, "hello", || server.pids(2));
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert!(load.good > 20);
    assert_eq!(pids.len(), 2);
    assert!(server.child.group(b"other").is_none());
    server.stop();
    for pid in pids {
        assert!(!is_alive(pid));
    }
}

fn groups_are_apart() {
    let slow = payload(&[("import", "60000")]);
    let server = Server::new(vec![
        group("g", 1, 2),
        daemon::config::Group { payload: slow, ..group("slow", 1, 1) },
        daemon::config::Group { program: b"/no/such/program".to_vec(), ..group("bad", 1, 1) },
    ]);
    assert_eq!(server.text("hello"), "Hello");
    // One that cannot be started is refused at once, with a reason in the log.
    server.until_logged("unable to execute '/no/such/program': No such file or directory");
    let begun = Instant::now();
    let error = server.ask("bad", "hello", &Ask::default()).error.unwrap();
    assert_eq!(error.kind(), daemon::client::ErrorKind::Failing);
    assert!(begun.elapsed() < Duration::from_secs(15));
    // One that is still loading is waited for, up to a limit.
    let mut ask = Ask::default();
    ask.options.connect_timeout = Duration::from_millis(100);
    let error = server.ask("slow", "hello", &ask).error.unwrap();
    assert_eq!(error.kind(), daemon::client::ErrorKind::NotReady);
    assert_eq!(server.text("hello"), "Hello");
    let log = server.log();
    let starts = log.matches("unable to execute").count();
    assert!((1..=9).contains(&starts), "{starts} starts, but there is a delay between them");
}

fn an_upload_and_a_response_pass() {
    let server = Server::new(vec![group("g", 1, 2)]);
    let body: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let response = server.ask("g", "upload", &Ask { body: &body, ..Ask::default() });
    assert_eq!(response.text(), format!("5000000 {sum}"));
    let response = server.ask("g", "both", &Ask { body: &body, ..Ask::default() });
    assert!(response.ended && response.body.len() > 10_000_000);
}

fn a_worker_is_what_it_should_be() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().canonicalize().unwrap();
    // SAFETY: no other thread of the tests looks at these variables.
    unsafe {
        std::env::set_var("NOTIFY_SOCKET", "/run/notify");
        std::env::set_var("INHERITED_BY_TESTS", "yes");
    }
    let server = Server::new(vec![daemon::config::Group {
        env: vec![(b"LANG".to_vec(), Some(b"C.UTF-8".to_vec())), (b"HOME".to_vec(), None)],
        directory: Some(home.clone().into_os_string().into_encoded_bytes()),
        umask: Some(0o27),
        limits: vec![daemon::config::Limit { resource: libc::RLIMIT_CORE, soft: 4096, hard: 8192 }],
        ..group("g", 1, 2)
    }]);
    let env = server.text("env");
    let has = |line: &str| env.lines().any(|other| other == line);
    assert!(has("LANG=C.UTF-8") && has("INHERITED_BY_TESTS=yes"), "{env}");
    assert!(!env.contains("\nHOME=") && !env.contains("NOTIFY_SOCKET"), "{env}");
    assert!(has(&format!("CWD={}", home.display())), "{env}");
    assert!(has("ARGS=[\"worker-of-tests\", \"worker\"]"), "{env}");

    let status = server.text("status");
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap().trim()
    };
    assert_eq!(field("Umask"), "0027");
    assert_eq!(field("SigBlk"), "0000000000000000");
    assert_eq!(field("SigIgn"), "0000000000001000", "Rust's own SIGPIPE");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["4096", "8192"]);

    // Standard input, output and error at their places, and everything of ours out of the way.
    let fds = server.text("fds");
    for line in fds.lines() {
        let (number, target) = line.split_once(' ').unwrap();
        let number: i32 = number.parse().unwrap();
        let expected = match number {
            0 => target == "/dev/null",
            1 | 2 => target.starts_with("pipe:"),
            // The directory that is being read.
            3..1024 => target.ends_with("/fd"),
            _ => ["socket:", "anon_inode:", "/memfd:wsgi-status", "pipe:"]
                .iter()
                .any(|start| target.starts_with(start)),
        };
        assert!(expected, "{line}\n{fds}");
    }
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    assert!(!maps.contains("wsgi-board") && !maps.contains("wsgi-cells"));
    // A group of its own, so that an application that signals its group reaches nobody else.
    let pid = server.pid();
    // SAFETY: asks about a process.
    assert_eq!(unsafe { libc::getpgid(pid) }, pid);
}

fn idle_connections_are_closed() {
    let server = Server::new(vec![daemon::config::Group {
        idle: Duration::from_millis(100),
        ..group("g", 1, 8)
    }]);
    let (load, ()) = server.load(8, "sleep/20", || {
        std::thread::sleep(Duration::from_millis(300));
    });
    assert!(load.bad.is_empty());
    let sockets = || server.text("fds").matches("socket:").count();
    assert!(sockets() >= 3);
    // One for control, one for the question.
    crate::server::until("the end of idle connections", || sockets() <= 2);
}

fn a_service_takes_no_requests() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let server = Server::new(vec![
        group("g", 1, 1),
        daemon::config::Group {
            payload: payload(&[("say", "the service runs"), ("exit", "0")]),
            ..group("s", 1, 0)
        },
    ]);
    server.until_logged("the service runs");
    let error = server.ask("s", "hello", &Ask::default()).error.unwrap();
    assert_eq!(error.kind(), daemon::client::ErrorKind::Service);
    crate::server::until("the next run", || server.log().matches("the service runs").count() > 1);
    assert!(!server.log().contains("has died"));
    drop(file);
}

fn domains_are_served() {
    let server = Server::new(vec![daemon::config::Group { domains: 3, ..group("g", 1, 2) }]);
    for domain in 0..3 {
        let mut ask = Ask::default();
        ask.options.domain = domain;
        for _ in 0..5 {
            assert!(server.ask("g", "hello", &ask).is_hello());
        }
    }
}
