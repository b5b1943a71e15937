//! The conformance suite with every access to memory watched by valgrind.
//!
//! What is judged here is memory only: under valgrind all is some thirty times slower, and cases
//! that look at the time fail. Python allocates with `malloc` for it, as its own instructions say
//! (<https://github.com/python/cpython/blob/main/Misc/README.valgrind>), so that nothing of Python
//! has to be excused but one thing: each 0 that Python 3.11 makes comes from memory that nobody has
//! written, times zero (<https://github.com/python/cpython/issues/102509>). With that version
//! valgrind is not asked what becomes of such memory.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Stdio};
use tests::conformance::{self, PROBE, Target};
use tests::{Mpm, Site, matrix};

fn has_valgrind() -> bool {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    let has = version.is_ok_and(|status| status.success());
    if !has {
        matrix::skip("memory errors", "there is no valgrind");
    }
    has
}

/// The errors in what a valgrind wrote, each with its stack.
fn errors(log: &str) -> Vec<String> {
    // `==PID== text`; an empty text ends an error.
    let lines: Vec<&str> =
        log.lines().map(|line| line.splitn(3, "==").nth(2).unwrap_or("").trim()).collect();
    lines
        .split(|line| line.is_empty())
        .filter(|block| block.iter().any(|line| line.starts_with("at 0x")))
        .map(|block| block.join("\n  "))
        .collect()
}

#[test]
fn valgrind_finds_nothing() {
    if !matrix::nightly("the conformance suite under valgrind") || !has_valgrind() {
        return;
    }
    for python in matrix::pythons() {
        let site = Site::new(Mpm::Event, &python).one_child(4);
        let log = site.path("valgrind").display().to_string();
        let undefined = if python.version == "3.11" { "no" } else { "yes" };
        let server = site
            .under(&[
                "valgrind",
                &format!("--log-file={log}.%p"),
                &format!("--undef-value-errors={undefined}"),
                "--keep-debuginfo=yes",
                "--num-callers=30",
                "--error-limit=no",
            ])
            .env("PYTHONMALLOC", "malloc")
            .conf("Timeout 120\nWSGIApplicationGroup %{GLOBAL}")
            .mount("/", "probe.py", PROBE)
            .start();
        for text in ["[wsgi:error]", "[wsgi:warn]", "[core:error]", "AH02429", "AH02430"] {
            server.log().allow(text);
        }
        let report = conformance::run(&Target::new(server.address(), ""), "");
        let (all, failed) = (report.verdicts.len(), report.failures().len());
        matrix::note(&format!("Python {python}: {} of {all} cases went through", all - failed));
        assert!(failed * 2 < all, "{report}");
        server.log().refuse("exit signal");
        let dir = server.site().dir().to_owned();
        let logs: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("valgrind."))
            .map(|entry| fs::read_to_string(entry.path()).unwrap())
            .collect();
        assert!(logs.len() >= 2, "{} processes were watched", logs.len());
        let found: Vec<String> = logs.iter().flat_map(|log| errors(log)).collect();
        assert!(
            found.is_empty(),
            "Python {python}: {} errors:\n{}",
            found.len(),
            found.join("\n\n")
        );
        // It does not end within the time that a server has.
        server.abandon();
    }
}

#[test]
fn errors_are_told_from_chatter() {
    let log = "==7== Memcheck, a memory error detector\n==7== \n==7== Invalid read of size 8\n\
               ==7==    at 0x1: f (a.rs:1)\n==7==  Address 0x0 is not stack'd\n==7== \n\
               ==7== ERROR SUMMARY: 1 errors\n";
    assert_eq!(
        errors(log),
        ["Invalid read of size 8\n  at 0x1: f (a.rs:1)\n  Address 0x0 is not stack'd"]
    );
}
