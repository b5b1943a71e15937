//! What is said arrives in the log, whole and under the right name.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;

use daemon::Capacity;
use daemon::config::Group;
use daemon::log::Source;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::ask::Ask;
use crate::server::{Server, group, kill, payload, until};

crate::tests! {
    the_relay_learns_whose_words_they_are
    a_relay_that_does_not_read_is_in_nobodys_way
    lines_are_whole_and_harmless
    a_rotated_log_is_followed
    nothing_is_lost_while_there_is_no_supervisor
}

/// What the relay was given: source, group, process, code and text.
type Heard = Arc<Mutex<Vec<(Source, String, i32, u16, String)>>>;

fn channel() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

const CAPACITY: Capacity = Capacity { groups: 4, slots: 64, children: 10 };

fn the_relay_learns_whose_words_they_are() {
    let (near, far) = channel();
    let heard: Heard = Arc::default();
    let relay = thread::spawn({
        let heard = heard.clone();
        move || {
            daemon::log::relay(far.as_fd(), |entry| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let entry = (
                    entry.source,
                    text(entry.group),
                    entry.pid,
                    entry.record.code,
                    text(entry.record.text),
                );
                heard.lock().unwrap().push(entry);
            })
        }
    });
    let import = payload(&[("say", "at import")]);
    let groups = vec![Group { payload: import, ..group("g", 1, 2) }, group("other", 1, 2)];
    let mut server = Server::with_relay(groups, CAPACITY, Some(near));
    let mine = server.print("g", "from g").worker;
    let others = server.print("other", "from other").worker;
    let ask = Ask { pairs: &[("TEXT", "of the engine")], ..Ask::default() };
    assert!(server.ask("g", "handle", &ask).ended);
    kill(mine, libc::SIGKILL);
    let has = |source, group: &str, pid, code, text: &str| {
        let entry = (source, group.to_owned(), pid, code, text.to_owned());
        until(text, || heard.lock().unwrap().contains(&entry));
    };
    has(Source::Output, "g", mine, 0, "at import");
    has(Source::Output, "g", mine, 0, "from g");
    has(Source::Output, "other", others, 0, "from other");
    has(Source::Worker, "g", mine, 77, "of the engine");
    // It may have been about to end a request.
    let end = format!("Process 'g' (pid={mine}) terminated by signal 9 (SIGKILL)");
    until(&end, || {
        let is_it = |(source, group, pid, _, text): &(_, String, _, _, String)| {
            (*source, &group[..], *pid) == (Source::Supervisor, "g", mine) && text.starts_with(&end)
        };
        heard.lock().unwrap().iter().any(is_it)
    });
    assert!(!server.log().contains("from g"), "the relay has it: {}", server.log());
    server.stop_quietly();
    drop(server);
    relay.join().unwrap().unwrap();
    let heard = heard.lock().unwrap();
    assert!(heard.iter().any(|entry| entry.4 == "Process supervisor stopped."));
}

fn a_relay_that_does_not_read_is_in_nobodys_way() {
    let (near, far) = channel();
    let mut server = Server::with_relay(vec![group("g", 1, 2)], CAPACITY, Some(near));
    // More than the channel can hold; what does not fit goes to the main log.
    let long = "x".repeat(4_000);
    let mut asked = 0;
    until("a line in the main log", || {
        for _ in 0..20 {
            asked += 1;
            assert_eq!(server.print("g", &format!("line {asked} {long}")).status, 200);
        }
        server.log().contains(&long)
    });
    drop(far);
    server.print("g", "there is no relay any more");
    server.until_logged("there is no relay any more");
    server.stop();
}

fn lines_are_whole_and_harmless() {
    let server = Server::new(vec![group("g", 1, 4)]);
    let pid = server.pid();
    // Written in pieces by threads of one process; each line arrives on its own.
    thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for line in 0..50 {
                    server.print("g", &format!("<{thread}.{line}>"));
                }
            });
        }
    });
    server.until_logged("<3.49>");
    let mut lines = HashSet::new();
    until("all lines", || {
        for line in server.log().lines().filter(|line| line.contains('<')) {
            let (start, text) = line.split_once("] <").unwrap();
            assert!(start.ends_with(&format!("[wsgi:error] [pid {pid}")), "{line}");
            lines.insert(text.to_owned());
        }
        lines.len() == 200
    });
    server.print("g", "a\x1b[31mb\x07 %s %n {} \\ \u{e9}");
    server.until_logged("a\\x1b[31mb\\x07 %s %n {} \\ \u{e9}\n");
    server.print("g", &"y".repeat(20_000));
    server.print("g", "the end");
    server.until_logged("the end");
    let long: usize = server.log().matches('y').count();
    assert!(long >= 20_000, "in parts, but all of it: {long}");
}

fn a_rotated_log_is_followed() {
    let mut server = Server::new(vec![Group { keep: true, ..group("g", 1, 2) }]);
    server.print("g", "before");
    server.until_logged("before");
    let old = server.rotate();
    server.configure(vec![Group { keep: true, ..group("g", 1, 2) }]);
    server.print("g", "after");
    server.until_logged("after");
    let old = std::fs::read_to_string(server.directory.path().join(old)).unwrap();
    assert!(old.contains("before") && !old.contains("after"));
    server.stop();
}

fn nothing_is_lost_while_there_is_no_supervisor() {
    let server = Server::new(vec![group("g", 1, 2)]);
    let pid = server.pid();
    server.kill_supervisor();
    for line in 0..20 {
        assert_eq!(server.print("g", &format!("meanwhile {line}.")).worker, pid);
    }
    let ask = Ask { pairs: &[("TEXT", "of the engine, meanwhile")], ..Ask::default() };
    assert!(server.ask("g", "handle", &ask).ended);
    server.another_supervisor();
    for line in 0..20 {
        server.until_logged(&format!("[pid {pid}] meanwhile {line}."));
    }
    server.until_logged("of the engine, meanwhile");
    assert_eq!(server.log().matches("meanwhile 7.").count(), 1);
}
