//! What an application sees of its process: the same as under mod_wsgi 6.1.1, but for a list with
//! reasons.
//!
//! As in `parity.rs`: one script tells environment, search path, flags, locale, limits, signals,
//! threads; what it told under 6.1.1 is kept in `data/process-MODE-6.1.1.txt`, what may differ in
//! `data/process-MODE-differences.txt`. `WSGI_TEST_PEER` names a `mod_wsgi.so` of 6.1.1 for Python
//! 3.13 to check the first against, or to write it anew with `UPDATE_DATA=1`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tests::{GROUP, Mode, Mpm, Python, Setup, Site, matrix};

/// The Python that 6.1.1 was asked with.
const PYTHON: &str = "3.13";

const SCRIPT: &str = include_str!("../apps/process.py");

/// A configuration, by the name its data has.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    mode: Mode,
    mpm: Mpm,
    group: &'static str,
    lang: &'static str,
}

const EMBEDDED: Case = Case {
    name: "embedded",
    mode: Mode::Embedded,
    mpm: Mpm::Event,
    group: "%{GLOBAL}",
    lang: "C.UTF-8",
};

const CASES: [Case; 6] = [
    EMBEDDED,
    Case { name: "embedded-sub", group: "sub", ..EMBEDDED },
    Case { name: "prefork", mpm: Mpm::Prefork, ..EMBEDDED },
    Case { name: "daemon", mode: Mode::Daemon, ..EMBEDDED },
    // What Apache has on many systems; Python has rules for it (PEP 538, PEP 540).
    Case { name: "c-locale", lang: "C", ..EMBEDDED },
    Case { name: "daemon-c-locale", mode: Mode::Daemon, lang: "C", ..EMBEDDED },
];

fn data(case: Case, what: &str) -> PathBuf {
    let name = format!("process-{}-{what}.txt", case.name);
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

fn python() -> Option<Python> {
    let found = matrix::pythons().into_iter().find(|python| python.version == PYTHON);
    if found.is_none() {
        matrix::skip("parity with mod_wsgi 6.1.1", &format!("dist has no engine for {PYTHON}"));
    }
    if Setup::get().area.user.is_none() {
        matrix::note("not root: what a change of user leads to cannot be compared");
        return None;
    }
    found
}

fn dump(site: Site, case: Case) -> BTreeSet<String> {
    let script = site.write("app/process.wsgi", SCRIPT);
    let server = site
        .one_child(3)
        .env("LANG", case.lang)
        .env("DATABASE_URL", "postgres:///shop")
        .env("WSGI_TEST_LIMITS", &std::fs::read_to_string("/proc/self/limits").unwrap())
        .env("HOME", "/root")
        .env("USER", "root")
        .conf(format!("WSGIApplicationGroup {}", case.group))
        .conf(format!("WSGIScriptAlias / \"{}\"", script.display()))
        .start();
    let text = server.get("/").with_status(200).text();
    server.stop();
    lines(&text)
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn check(case: Case) {
    let Some(python) = python() else { return };
    let theirs = lines(&std::fs::read_to_string(data(case, "6.1.1")).unwrap());
    // 6.1.1 has no such rule.
    let site = Site::new(case.mpm, &python).mode(case.mode).conf("WSGISoleTenant Off");
    let ours = dump(site, case);
    let found: BTreeSet<String> = theirs
        .difference(&ours)
        .map(|line| format!("< {line}"))
        .chain(ours.difference(&theirs).map(|line| format!("> {line}")))
        .collect();
    let list = std::fs::read_to_string(data(case, "differences")).unwrap_or_default();
    let known: BTreeSet<String> =
        list.lines().filter(|line| line.starts_with(['<', '>'])).map(str::to_owned).collect();
    let show = |set: BTreeSet<&String>| set.into_iter().cloned().collect::<Vec<_>>().join("\n");
    let new = show(found.difference(&known).collect());
    assert!(new.is_empty(), "{}: differences nobody listed (< 6.1.1, > ours):\n{new}", case.name);
    let gone = show(known.difference(&found).collect());
    assert!(gone.is_empty(), "{}: listed differences that there are no more:\n{gone}", case.name);
}

#[test]
fn embedded_mode_looks_as_it_did() {
    check(CASES[0]);
}

#[test]
fn a_sub_interpreter_looks_as_it_did() {
    check(CASES[1]);
}

#[test]
fn embedded_mode_under_prefork_looks_as_it_did() {
    check(CASES[2]);
}

#[test]
fn daemon_mode_looks_as_it_did() {
    check(CASES[3]);
}

#[test]
fn the_c_locale_looks_as_it_did() {
    check(CASES[4]);
}

#[test]
fn the_c_locale_in_daemon_mode_looks_as_it_did() {
    check(CASES[5]);
}

#[test]
fn every_difference_has_a_reason() {
    for case in CASES {
        let list = std::fs::read_to_string(data(case, "differences")).unwrap_or_default();
        for block in list.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let reason = block.lines().take_while(|line| line.starts_with("# ")).count();
            assert!(reason > 0, "{}: without a reason:\n{block}", case.name);
            for line in block.lines().skip(reason) {
                assert!(line.starts_with("< ") || line.starts_with("> "), "neither side: {line}");
            }
        }
    }
}

#[test]
fn the_dumps_are_those_of_6_1_1() {
    let Some(peer) = std::env::var_os("WSGI_TEST_PEER").map(PathBuf::from) else {
        return matrix::note("WSGI_TEST_PEER is not set: the dumps of 6.1.1 are taken as they are");
    };
    let Some(python) = python() else { return };
    for case in CASES {
        let mut site = Site::plain(case.mpm)
            .conf(format!("LoadModule wsgi_module \"{}\"", peer.display()))
            .conf(format!("WSGIPythonHome \"{}\"", python.prefix.display()));
        if case.mode == Mode::Daemon {
            let socket = site.path("wsgi");
            site = site
                .conf(format!("WSGISocketPrefix {}", socket.display()))
                .conf(format!("WSGIDaemonProcess {GROUP} threads=8\nWSGIProcessGroup {GROUP}"));
        }
        let text: String = dump(site, case).into_iter().map(|line| line + "\n").collect();
        let file = data(case, "6.1.1");
        if std::env::var_os("UPDATE_DATA").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(lines(&std::fs::read_to_string(&file).unwrap()), lines(&text), "{}", case.name);
    }
}
