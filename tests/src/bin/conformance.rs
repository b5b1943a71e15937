//! `conformance --url http://127.0.0.1:8000/`: judges the WSGI server at that address.
//!
//! The server has to run `tests/apps/probe.py` (printed by `--probe`). `--only TEXT` runs the cases
//! whose name contains the text; `--list` shows them all. The exit status is 0 if every case
//! passed, 1 if one failed, 2 if it could not begin.

use std::process::ExitCode;
use tests::conformance::{self, Target};

const USAGE: &str = "usage: conformance --url http://HOST:PORT[/PREFIX] [--only TEXT]
       conformance --list
       conformance --probe > probe.py

The server at that address has to run the probe application:
gunicorn probe:application, waitress-serve probe:application, ...
";

fn main() -> ExitCode {
    let (mut url, mut only) = (None, String::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--url", Some(value)) => url = Some(value),
            ("--only", Some(value)) => only = value,
            ("--list", None) => {
                for case in conformance::cases() {
                    println!("{:6}  {:28} {}", case.level, case.id, case.rule);
                }
                return ExitCode::SUCCESS;
            }
            ("--probe", None) => {
                print!("{}", conformance::PROBE);
                return ExitCode::SUCCESS;
            }
            _ => return usage(),
        }
    }
    let Some(url) = url else { return usage() };
    let target = match Target::from_url(&url) {
        Ok(target) => target,
        Err(error) => {
            eprintln!("{url}: {error:#}");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = target.is_probe() {
        eprintln!("{url}: {error:#}");
        return ExitCode::from(2);
    }
    let report = conformance::run(&target, &only);
    print!("{report}");
    if report.verdicts.is_empty() {
        eprintln!("no case is named like {only:?}");
        return ExitCode::from(2);
    }
    if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
