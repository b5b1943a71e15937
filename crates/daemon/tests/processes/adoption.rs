//! The supervisor dies, and its workers go on with the next one.

use std::thread::sleep;
use std::time::Duration;

use crate::server::{Server, group, is_alive, kill};

crate::tests! {
    no_request_is_lost_when_the_supervisor_dies
}

fn no_request_is_lost_when_the_supervisor_dies() {
    let mut server = Server::new(vec![group("g", 2, 4)]);
    let pids = server.pids(2);
    let first = server.parent.supervisor().unwrap();
    let (load, ()) = server.load(6, "sleep/2", || {
        sleep(Duration::from_millis(100));
        kill(first, libc::SIGKILL);
        sleep(Duration::from_millis(300));
    });
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert!(load.good > 100, "{load:?}");
    let second = server.restart();
    assert_ne!(first, second);
    // The workers are the same, and belong to the new one: new connections arrive.
    server.renew();
    assert!(pids.contains(&server.pid()));
    assert_eq!(server.pids(2).iter().filter(|pid| pids.contains(pid)).count(), 2);
    server.stop();
    for pid in pids {
        assert!(!is_alive(pid));
    }
}
