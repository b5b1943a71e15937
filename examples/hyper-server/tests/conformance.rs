//! The conformance suite against a server that has no Apache in it: every case, no exceptions.

#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tests::conformance::{self, PROBE, Target};

/// The server, until drop.
struct Server(Child);

impl Server {
    fn start(address: SocketAddr, script: &std::path::Path, threads: usize) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyper-server"));
        command.args(["--bind", &address.to_string(), "--threads", &threads.to_string()]);
        Server(command.arg(script).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_example_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("probe.py");
    std::fs::write(&script, PROBE).unwrap();
    // Free a moment ago; the server says so if it is not any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = Server::start(address, &script, 4);
    let target = Target::new(address, "");
    let begun = Instant::now();
    while let Err(error) = target.is_probe() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{error:#}");
        assert!(server.0.try_wait().unwrap().is_none(), "the server has ended");
        std::thread::sleep(Duration::from_millis(50));
    }
    conformance::run(&target, "").assert_clean();
    assert!(server.0.try_wait().unwrap().is_none(), "the server has ended");
}
