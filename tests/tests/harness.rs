//! The harness itself, on an Apache without our module: what it promises to tests must hold before
//! they can judge anything else.

#![allow(clippy::unwrap_used)]

use std::time::Duration;
use tests::http::{End, Framing};
use tests::process::Process;
use tests::{Mpm, Site, matrix};

#[test]
fn a_plain_server_answers_under_every_mpm() {
    matrix::for_each_mpm(|mpm| {
        let site = Site::plain(mpm);
        site.write("htdocs/hello.txt", "Hello!\n");
        let dir = site.dir().to_owned();
        let server = site.start();
        let response = server.get("/hello.txt").with_status(200);
        assert_eq!(response.text(), "Hello!\n");
        assert_eq!(response.framing, Framing::Length(7));
        assert!(!server.children().is_empty());
        assert!(server.parent().stats().unwrap().rss > 0);
        server.stop();
        assert!(Process::marked(&dir).is_empty());
    });
}

#[test]
fn restarts_bring_a_new_generation() {
    matrix::for_each_mpm(|mpm| {
        let mut server = Site::plain(mpm).start();
        let parent = server.parent();
        let before = server.children();
        server.restart();
        assert!(server.children().iter().all(|child| !before.contains(child)));
        server.graceful();
        assert_eq!(server.parent(), parent);
        server.reconfigure(|site| site.conf("Redirect 307 /old /new"));
        server.graceful();
        assert_eq!(server.get("/old").status, 307);
    });
}

#[test]
fn several_servers_run_side_by_side() {
    let servers: Vec<_> = (0..3).map(|_| Site::plain(Mpm::Event).start()).collect();
    for server in &servers {
        assert_eq!(server.get("/.ready").text(), "ready\n");
    }
}

#[test]
fn a_bad_configuration_is_reported() {
    let check = Site::plain(Mpm::Event).conf("NoSuchDirective on").check();
    assert!(!check.ok);
    assert!(check.output.contains("Invalid command 'NoSuchDirective'"), "{}", check.output);
}

#[test]
#[should_panic(expected = "AH01276")]
fn an_unexpected_error_in_the_log_fails_a_test() {
    let site = Site::plain(Mpm::Event).module("mod_autoindex").module("mod_negotiation");
    let server = site.start();
    assert_eq!(server.get("/").status, 403);
    server.stop();
}

#[test]
fn an_expected_error_does_not() {
    let server = Site::plain(Mpm::Event).module("mod_autoindex").module("mod_negotiation").start();
    assert_eq!(server.get("/").status, 403);
    let line = server.log().expect("AH01276: Cannot serve directory");
    assert_eq!((line.module.as_str(), line.level.as_str()), ("autoindex", "error"));
    server.stop();
}

#[test]
#[should_panic(expected = "left running")]
fn what_is_left_running_fails_a_test() {
    // A piped log that leaves a process behind.
    let pipe = "CustomLog \"|$sleep 60 & exec cat >/dev/null\" common";
    let server = Site::plain(Mpm::Event).conf(pipe).start();
    server.stop();
}

#[test]
#[should_panic(expected = "ended by itself")]
fn a_server_that_died_fails_a_test() {
    let server = Site::plain(Mpm::Event).start();
    server.parent().signal(rustix::process::Signal::TERM);
    std::thread::sleep(Duration::from_secs(3));
    server.stop();
}

#[test]
fn connections_are_kept_and_pipelined() {
    let server = Site::plain(Mpm::Event).start();
    let mut connection = server.connect();
    let request = "GET /.ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.send(request.repeat(3)).unwrap();
    for _ in 0..3 {
        let response = connection.response("GET").unwrap();
        assert_eq!((response.status, response.end), (200, End::Complete));
    }
    connection
        .send("HEAD /.ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let response = connection.response("HEAD").unwrap();
    assert_eq!((response.framing, response.body.len()), (Framing::None, 0));
    assert!(connection.is_closed(Duration::from_secs(5)).unwrap());
}
