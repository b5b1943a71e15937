//! The supervisor dies, and its workers go on with the next one.

use std::thread::sleep;
use std::time::{Duration, Instant};

use daemon::Capacity;
use daemon::client::ErrorKind;
use daemon::config::Group;

use crate::ask::Ask;
use crate::server::{Server, group, is_alive, kill, payload, until_gone};

crate::tests! {
    no_request_is_lost_when_the_supervisor_dies
    workers_that_died_meanwhile_are_replaced
    supervisors_may_die_again_and_again
    a_swap_that_was_under_way_is_made_anew
    children_wait_for_the_next_supervisor
    configuring_twice_is_like_once
    stopping_ends_even_what_does_not_end
    names_that_come_and_go_do_not_fill_the_board
    a_program_that_was_replaced_is_not_started
}

fn no_request_is_lost_when_the_supervisor_dies() {
    let mut server = Server::new(vec![group("g", 2, 4)]);
    let pids = server.pids(2);
    let (load, first) = server.load(6, "sleep/2", || {
        sleep(Duration::from_millis(100));
        let first = server.kill_supervisor();
        // Meanwhile there is none, and connections serve.
        sleep(Duration::from_millis(300));
        server.another_supervisor();
        first
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert!(load.good > 20, "{load:?}");
    assert_ne!(first, server.supervisor());
    // The workers are the same, and belong to the new one: new connections arrive.
    server.renew();
    assert!(pids.contains(&server.pid()));
    assert_eq!(server.pids(2).iter().filter(|pid| pids.contains(pid)).count(), 2);
    server.stop();
    for pid in pids {
        assert!(!is_alive(pid));
    }
}

fn workers_that_died_meanwhile_are_replaced() {
    let mut server = Server::new(vec![group("g", 3, 2)]);
    let pids = server.pids(3);
    server.kill_supervisor();
    // Nobody reaps it in time, and nobody is told: its end lies in the store.
    kill(pids[0], libc::SIGKILL);
    until_gone(pids[0]);
    server.another_supervisor();
    server.renew();
    let now = server.pids(3);
    assert!(now.contains(&pids[1]) && now.contains(&pids[2]) && !now.contains(&pids[0]));
    // The end of one that was taken over is seen, though it is nobody's child here.
    kill(pids[1], libc::SIGKILL);
    server.until_logged(&format!("(pid={}) has ended, exit code not known", pids[1]));
    assert_eq!(server.pids(3).len(), 3);
    server.stop();
}

fn supervisors_may_die_again_and_again() {
    let mut server = Server::new(vec![group("g", 2, 4), group("other", 1, 1)]);
    let pids = server.pids(2);
    let (load, ()) = server.load(4, "sleep/1", || {
        for _ in 0..3 {
            server.kill_supervisor();
            server.another_supervisor();
        }
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert!(server.pids(2).iter().all(|pid| pids.contains(pid)));
    // All that a supervisor does still works.
    server.configure(vec![group("g", 3, 4), group("other", 1, 1)]);
    server.renew();
    assert!(server.pids(3).iter().all(|pid| !pids.contains(pid)));
    server.stop();
}

fn a_swap_that_was_under_way_is_made_anew() {
    let slow = payload(&[("import", "1000")]);
    let mut server = Server::new(vec![group("g", 1, 4)]);
    let old = server.pid();
    let (load, ()) = server.load(2, "sleep/1", || {
        server.configure(vec![Group { payload: slow, ..group("g", 1, 4) }]);
        sleep(Duration::from_millis(200));
        server.kill_supervisor();
        server.another_supervisor();
        until_gone(old);
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    server.renew();
    assert_ne!(server.pid(), old);
    server.stop();
}

fn children_wait_for_the_next_supervisor() {
    let mut server = Server::new(vec![group("g", 1, 4)]);
    let pid = server.pid();
    server.kill_supervisor();
    // It has no connection, and nobody who would pass one on.
    server.renew();
    let response = std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.get("pid"));
        sleep(Duration::from_millis(100));
        server.another_supervisor();
        asking.join().unwrap()
    });
    assert!(response.ended, "{response:?}");
    assert_eq!(response.text(), pid.to_string());
}

fn configuring_twice_is_like_once() {
    let mut server = Server::new(vec![group("g", 1, 2)]);
    let supervisor = server.supervisor();
    server.restart(vec![group("g", 1, 2)]);
    assert_eq!(server.supervisor(), supervisor);
    assert_eq!(server.text("hello"), "Hello");
    // A supervisor that has died is found and replaced on the way.
    server.kill_supervisor();
    server.restart(vec![group("g", 1, 2)]);
    assert_ne!(server.supervisor(), supervisor);
    assert_eq!(server.text("hello"), "Hello");
    server.stop();
}

fn stopping_ends_even_what_does_not_end() {
    let endless = Group { shutdown: Duration::ZERO, graceful: Duration::ZERO, ..group("g", 1, 2) };
    let mut server = Server::new(vec![endless]);
    let pid = server.pid();
    let ask = Ask { pairs: &[("TEXT", "forever")], ..Ask::default() };
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.ask("g", "announce/600000", &ask));
        server.until_logged("running forever");
        let begun = Instant::now();
        assert!(server.stop_within(Duration::from_secs(3)));
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(!is_alive(pid));
        assert_eq!(asking.join().unwrap().error.unwrap().kind(), ErrorKind::Closed);
    });
    server.stop();
}

fn names_that_come_and_go_do_not_fill_the_board() {
    let capacity = Capacity { groups: 3, slots: 64, children: 10 };
    let mut server = Server::with(vec![group("g", 1, 2)], capacity);
    let first = server.pid();
    for round in 0..10 {
        server.restart(vec![group("g", 1, 2), group(&format!("name-{round}"), 1, 1)]);
        assert_eq!(server.text("hello"), "Hello");
    }
    until_gone(first);
    server.stop();
}

fn a_program_that_was_replaced_is_not_started() {
    let mut server = Server::new(vec![group("g", 1, 2)]);
    let pid = server.pid();
    server.program = std::fs::File::open("/bin/false").unwrap();
    server.kill_supervisor();
    server.another_supervisor();
    server.renew();
    assert_eq!(server.pid(), pid);
    server.stop();
}
