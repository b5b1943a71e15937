//! The conformance suite against both modes: every case, no exceptions.

#![allow(clippy::unwrap_used)]

use tests::conformance::{self, PROBE, Target};
use tests::matrix::Mode;
use tests::{Server, Site, matrix};

/// What applications that raise on purpose leave in the log.
fn allow_complaints(server: &Server) {
    for text in ["[wsgi:error]", "[wsgi:warn]", "[core:error]", "AH02429", "AH02430"] {
        server.log().allow(text);
    }
}

fn refuse_damage(server: &Server) {
    for text in ["panicked", "Fatal Python error", "exit signal"] {
        server.log().refuse(text);
    }
}

#[test]
fn embedded_mode_conforms() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).conf("WSGIApplicationGroup %{GLOBAL}");
        let server = site.mount("/", "probe.py", PROBE).start();
        allow_complaints(&server);
        let children = server.children();
        conformance::run(&Target::new(server.address(), ""), "").assert_clean();
        refuse_damage(&server);
        let still_there = server.children().iter().filter(|child| children.contains(child)).count();
        assert!(still_there > 0, "every child was replaced");
        server.stop();
    });
}

#[test]
fn daemon_mode_conforms() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).mode(Mode::Daemon);
        let server = site.mount("/", "probe.py", PROBE).start();
        allow_complaints(&server);
        conformance::run(&Target::new(server.address(), ""), "").assert_clean();
        refuse_damage(&server);
        server.log().refuse("has died");
        server.stop();
    });
}

#[test]
fn a_sub_interpreter_below_a_prefix_conforms() {
    let python = matrix::python();
    matrix::for_each_mpm(|mpm| {
        // Two applications, so that neither is alone in its process.
        let site = Site::new(mpm, &python).mount("/app", "probe.py", PROBE);
        let server = site.mount("/other", "other.py", PROBE).start();
        allow_complaints(&server);
        assert_eq!(server.get("/other/hello").text(), "\"hello\"");
        conformance::run(&Target::new(server.address(), "/app"), "").assert_clean();
        refuse_damage(&server);
        server.stop();
    });
}
