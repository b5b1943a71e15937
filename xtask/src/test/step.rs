//! The steps of a run: timed, counted, and repeatable by hand when they fail.
//!
//! Results are counted from what `cargo test` prints; every other step counts as one test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::show;

/// What was done so far.
pub(crate) struct Steps {
    counts: Counts,
    timings: Vec<(String, Duration)>,
    out: Box<dyn Write>,
}

/// Tests that passed, failed and were ignored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Steps {
    /// Nothing done yet; what steps print goes to `out`.
    pub(crate) fn new(out: Box<dyn Write>) -> Steps {
        Steps { counts: Counts::default(), timings: Vec::new(), out }
    }

    /// A command that passes or fails as a whole.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let again = show(command);
        self.task(name, &again, || crate::shell::run(command))
    }

    /// Something of our own that passes or fails as a whole; `again` is the command that repeats it.
    pub(crate) fn task(
        &mut self,
        name: &str,
        again: &str,
        task: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let begun = begin(name);
        let done = task();
        if let Err(error) = &done {
            eprintln!("{error:#}");
        }
        let failed = u64::from(done.is_err());
        self.end(name, again, begun, Counts { passed: 1 - failed, failed, ignored: 0 })
    }

    /// A `cargo test`, whose results are counted.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let again = show(command);
        let begun = begin(name);
        let counts = match counted(command, &mut *self.out) {
            Ok((counts, true)) => counts,
            // It may not get as far as a result, for example because it does not compile.
            Ok((counts, false)) => Counts { failed: counts.failed.max(1), ..counts },
            Err(error) => {
                eprintln!("{error:#}");
                Counts { failed: 1, ..Counts::default() }
            }
        };
        self.end(name, &again, begun, counts)
    }

    fn end(&mut self, name: &str, again: &str, begun: Instant, counts: Counts) -> Result<()> {
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        self.counts.ignored += counts.ignored;
        self.timings.push((name.to_owned(), begun.elapsed()));
        if counts.failed > 0 {
            bail!("{name} failed; to repeat it: {again}");
        }
        Ok(())
    }

    /// Notes a failure outside of the steps, so that the sum never says "0 failed" of a bad run.
    pub(crate) fn failed(&mut self) {
        self.counts.failed = self.counts.failed.max(1);
    }

    /// Prints how long each step took.
    pub(crate) fn summary(&self) {
        println!();
        for (name, took) in &self.timings {
            println!("{:>7.1} s  {name}", took.as_secs_f64());
        }
        if self.counts.ignored > 0 {
            println!("{} tests were ignored", self.counts.ignored);
        }
    }

    /// The last line.
    pub(crate) fn sum(&self) -> String {
        format!("{} passed, {} failed", self.counts.passed, self.counts.failed)
    }
}

fn begin(name: &str) -> Instant {
    println!("\n== {name}");
    Instant::now()
}

/// Runs a command, shows what it prints, and counts.
fn counted(command: &mut Command, out: &mut dyn Write) -> Result<(Counts, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", show(command)))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            out.write_all(&line)?;
            counts.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait()?;
    if !status.success() && status.code().is_none() {
        // Cargo says why it fails, unless it was killed.
        eprintln!("`{}` was ended: {status}", show(command));
    }
    Ok((counts, status.success()))
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result:") else { return };
        let Some((_, numbers)) = result.split_once(". ") else { return };
        for part in numbers.split(';') {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(what)) =
                (words.next().map(str::parse::<u64>), words.next())
            else {
                continue;
            };
            let count: &mut u64 = match what {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.ignored,
                _ => continue,
            };
            *count += number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These tests run within a run that counts what is printed.
    fn quiet() -> Steps {
        Steps::new(Box::new(std::io::sink()))
    }

    fn script(text: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn results_are_counted_over_binaries() {
        let mut steps = quiet();
        let print = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered \
             out; finished in 0.10s'";
        steps.tests("a", &mut script(&format!("{print}; {print}"))).expect("passes");
        steps.command("b", &mut script("true")).expect("passes");
        assert_eq!(steps.sum(), "7 passed, 0 failed");
        assert_eq!(steps.counts.ignored, 2);
    }

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let mut steps = quiet();
        let print = "echo 'test result: FAILED. 2 passed; 3 failed; 0 ignored; x'; exit 101";
        let error = steps.tests("unit", &mut script(print)).expect_err("fails").to_string();
        assert!(error.starts_with("unit failed; to repeat it: sh -c "), "{error}");
        assert_eq!(steps.sum(), "2 passed, 3 failed");
    }

    #[test]
    fn what_does_not_compile_counts_as_a_failure() {
        let mut steps = quiet();
        steps.tests("unit", &mut script("exit 101")).expect_err("fails");
        assert_eq!(steps.sum(), "0 passed, 1 failed");
        let mut steps = quiet();
        steps.command("fmt", &mut script("false")).expect_err("fails");
        assert_eq!(steps.sum(), "0 passed, 1 failed");
        let mut steps = quiet();
        steps.failed();
        assert_eq!(steps.sum(), "0 passed, 1 failed");
    }
}
