//! What an application sees of mod_wsgi: the same as in 6.1.1, but for a list with reasons.
//!
//! One script (`apps/parity.py`) tells all it can see: attributes, functions and what they raise,
//! events with their payloads, streams. What it told in mod_wsgi 6.1.1 from PyPI is kept in
//! `data/parity-MODE-6.1.1.txt`, what may differ in `data/parity-MODE-differences.txt`; ours is
//! asked live. Wordings of Python itself differ between its versions, so both speak of the same one.
//!
//! `WSGI_TEST_PEER` names a `mod_wsgi.so` of 6.1.1 for Python 3.13 to check the first files against,
//! or to write them anew with `UPDATE_DATA=1`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::process::wait_for;
use tests::{Mode, Mpm, Python, Site, http, matrix};

/// The Python that 6.1.1 was asked with.
const PYTHON: &str = "3.13";

const SCRIPT: &str = include_str!("../apps/parity.py");

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

fn python() -> Option<Python> {
    let found = matrix::pythons().into_iter().find(|python| python.version == PYTHON);
    if found.is_none() {
        matrix::skip("parity with mod_wsgi 6.1.1", &format!("dist has no engine for {PYTHON}"));
    }
    found
}

/// What the script tells on this site, sorted.
fn dump(site: Site) -> BTreeSet<String> {
    site.writable("app");
    let script = site.write("app/parity.wsgi", SCRIPT);
    let end = site.path("app/stopping.txt");
    let mut server = site
        .one_child(1)
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf("WSGIServerMetrics On")
        .conf(format!("WSGIScriptAlias / \"{}\"", script.display()))
        .start();
    server.log().allow("[wsgi:error]");
    for case in ["plain", "raises", "breaks", "recovers", "never", "wraps", "closes"] {
        // Some of them break off.
        let _ = http::request(server.address(), "GET", &format!("/{case}"), &[], b"");
    }
    server.post("/reads", "text/plain", b"body");
    let mut text = server.get("/dump").with_status(200).text();
    // What was recorded has a request in it, and another is running.
    for path in ["/starts", "/plain", "/metrics"] {
        let answer = server.get(path).with_status(200).text();
        if path == "/metrics" {
            text.push_str(&answer);
        }
    }
    server.graceful();
    let end = wait_for(Duration::from_secs(10), || {
        std::fs::read_to_string(&end).ok().filter(|text| text.ends_with('\n'))
    });
    let end = end.expect("nothing was told at the end of the process");
    // A child that never ran the script tells nothing; one told once.
    server.abandon();
    text.lines().chain(end.lines()).map(str::to_owned).collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn theirs(mode: Mode) -> PathBuf {
    data(&format!("parity-{mode}-6.1.1.txt"))
}

fn differences(mode: Mode) -> String {
    std::fs::read_to_string(data(&format!("parity-{mode}-differences.txt"))).unwrap()
}

/// One thread and one process, as in embedded mode.
const GROUP: &str = "WSGIDaemonProcess parity threads=1 server-metrics=On\nWSGIProcessGroup parity";

fn compare(mode: Mode) {
    let Some(python) = python() else { return };
    let theirs = lines(&std::fs::read_to_string(theirs(mode)).unwrap());
    let site = Site::new(Mpm::Event, &python);
    let ours = dump(if mode == Mode::Daemon { site.conf(GROUP) } else { site });
    let found: BTreeSet<String> = theirs
        .difference(&ours)
        .map(|line| format!("< {line}"))
        .chain(ours.difference(&theirs).map(|line| format!("> {line}")))
        .collect();
    let known: BTreeSet<String> = differences(mode)
        .lines()
        .filter(|line| line.starts_with(['<', '>']))
        .map(str::to_owned)
        .collect();
    let show = |set: BTreeSet<&String>| set.into_iter().cloned().collect::<Vec<_>>().join("\n");
    let new = show(found.difference(&known).collect());
    assert!(new.is_empty(), "differences nobody listed (< 6.1.1, > ours):\n{new}");
    let gone = show(known.difference(&found).collect());
    assert!(gone.is_empty(), "listed differences that there are no more:\n{gone}");
}

#[test]
fn an_application_sees_what_it_saw_in_6_1_1() {
    compare(Mode::Embedded);
}

#[test]
fn in_daemon_mode_an_application_sees_what_it_saw_in_6_1_1() {
    compare(Mode::Daemon);
}

#[test]
fn every_difference_has_a_reason() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let list = differences(mode);
        for block in list.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let reason = block.lines().take_while(|line| line.starts_with("# ")).count();
            assert!(reason > 0, "without a reason:\n{block}");
            for line in block.lines().skip(reason) {
                assert!(line.starts_with("< ") || line.starts_with("> "), "neither side: {line}");
            }
        }
    }
}

#[test]
fn the_dump_is_that_of_6_1_1() {
    let Some(peer) = std::env::var_os("WSGI_TEST_PEER").map(PathBuf::from) else {
        return matrix::note("WSGI_TEST_PEER is not set: the dump of 6.1.1 is taken as it is");
    };
    let Some(python) = python() else { return };
    for mode in [Mode::Embedded, Mode::Daemon] {
        let mut site = Site::plain(Mpm::Event)
            .conf(format!("LoadModule wsgi_module \"{}\"", peer.display()))
            .conf(format!("WSGIPythonHome \"{}\"", python.prefix.display()));
        if mode == Mode::Daemon {
            site = site.conf(GROUP);
            // Its sockets have to be somewhere.
            let prefix = site.path("wsgi").display().to_string();
            site = site.conf(format!("WSGISocketPrefix \"{prefix}\""));
        }
        let text: String = dump(site).into_iter().map(|line| line + "\n").collect();
        if std::env::var_os("UPDATE_DATA").is_some() {
            std::fs::write(theirs(mode), &text).unwrap();
        }
        assert_eq!(lines(&std::fs::read_to_string(theirs(mode)).unwrap()), lines(&text));
    }
}
