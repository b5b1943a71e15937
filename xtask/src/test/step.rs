//! The steps of a run: timed, counted, and repeatable by hand when they fail.
//!
//! Results are counted from what `cargo test` prints; every other step counts as one test.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::show;

/// How many tests of a step may fail and pass when they are run once more. With more than these it is
/// not the machine.
const UNSTEADY: usize = 3;

/// What was done so far.
pub(crate) struct Steps {
    counts: Counts,
    /// Tests that failed beside others and passed alone.
    unsteady: Vec<String>,
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

/// What a `cargo test` printed.
#[derive(Debug, Default)]
struct Tested {
    counts: Counts,
    failed: BTreeSet<String>,
    /// Executables that began and did not print a result: they crashed.
    crashed: u64,
}

impl Tested {
    /// Whether all that went wrong are a few tests whose names are known. A name may be in more than
    /// one executable: then it is not.
    fn is_unsteady(&self) -> bool {
        let failed = self.failed.len();
        (1..=UNSTEADY).contains(&failed) && self.counts.failed == failed as u64 && self.crashed == 0
    }
}

impl Steps {
    /// Nothing done yet; what steps print goes to `out`.
    pub(crate) fn new(out: Box<dyn Write>) -> Steps {
        Steps { counts: Counts::default(), unsteady: Vec::new(), timings: Vec::new(), out }
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
        let counts = self.run(command).counts;
        self.end(name, &again, begun, counts)
    }

    /// A `cargo test` of whole servers, some of which end at random in code that is not ours:
    /// `command` makes it, with more arguments for the test executables. The few that fail are run
    /// once more, one by one and by name; those that pass then are named in the summary.
    pub(crate) fn tests_of_servers(
        &mut self,
        name: &str,
        command: impl Fn(&[String]) -> Command,
    ) -> Result<()> {
        let mut first = command(&[]);
        let again = show(&first);
        let begun = begin(name);
        let mut done = self.run(&mut first);
        let names: Vec<String> = done.failed.iter().cloned().collect();
        if done.is_unsteady() {
            begin(&format!("{name} that failed, once more"));
            let mut alone = vec!["--exact".to_owned(), "--test-threads=1".to_owned()];
            alone.extend_from_slice(&names);
            let second = self.run(&mut command(&alone)).counts;
            if second.failed == 0 && second.passed >= names.len() as u64 {
                done.counts.passed += names.len() as u64;
                done.counts.failed = 0;
                self.unsteady.extend(names);
            }
        }
        self.end(name, &again, begun, done.counts)
    }

    /// Runs a `cargo test`.
    fn run(&mut self, command: &mut Command) -> Tested {
        match counted(command, &mut *self.out) {
            Ok((tested, true)) => tested,
            // It may not get as far as a result, for example because it does not compile.
            Ok((mut tested, false)) => {
                tested.counts.failed = tested.counts.failed.max(1);
                tested
            }
            Err(error) => {
                eprintln!("{error:#}");
                Tested { counts: Counts { failed: 1, ..Counts::default() }, ..Tested::default() }
            }
        }
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
        for name in &self.unsteady {
            println!("unsteady: {name} failed beside others and passed alone");
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
fn counted(command: &mut Command, out: &mut dyn Write) -> Result<(Tested, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", show(command)))?;
    let mut tested = Tested::default();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            out.write_all(&line)?;
            tested.add(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait()?;
    if !status.success() && status.code().is_none() {
        // Cargo says why it fails, unless it was killed.
        eprintln!("`{}` was ended: {status}", show(command));
    }
    Ok((tested, status.success()))
}

impl Tested {
    /// Adds a line such as `test groups::a_test ... FAILED`, or one with results. What tests print
    /// may stand between name and result, or before the name.
    fn add(&mut self, line: &str) {
        let begins = line.strip_prefix("running ").map(str::trim_end);
        if begins.is_some_and(|rest| rest.ends_with(" tests") || rest.ends_with(" test")) {
            self.crashed += 1;
        }
        if self.counts.add(line) {
            self.crashed = self.crashed.saturating_sub(1);
        }
        // Of a test that failed, its output is shown under its name.
        let name = line
            .trim_end()
            .strip_prefix("---- ")
            .and_then(|line| line.strip_suffix(" stdout ----"));
        self.failed.extend(name.map(str::to_owned));
    }
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, if it is one.
    fn add(&mut self, line: &str) -> bool {
        let Some(result) = line.trim_start().strip_prefix("test result:") else { return false };
        let Some((_, numbers)) = result.split_once(". ") else { return false };
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
        true
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

    /// A script in the place of `cargo test`: fails as often as a file has lines.
    fn servers(fails: usize, first: &str) -> (Steps, Result<()>) {
        let dir = tempfile::tempdir().expect("a directory");
        let left = dir.path().join("left");
        std::fs::write(&left, "x\n".repeat(fails)).expect("written");
        let mut steps = quiet();
        let left = left.display();
        let text = format!(
            "test $# = 0 || set -- \"$*\"; \
             if test -s {left}; then sed -i 1d {left}; {first}; exit 101; fi; \
             case $1 in '') exit 99;; '--exact --test-threads=1 a::b') ;; *) exit 98;; esac; \
             echo 'test result: ok. 1 passed; 0 failed; 0 ignored; x'"
        );
        let done = steps.tests_of_servers("servers", |more| {
            let mut command = script(&text);
            command.arg("sh").args(more);
            command
        });
        (steps, done)
    }

    #[test]
    fn what_passes_alone_is_named_and_does_not_fail_the_run() {
        let first = "echo '---- a::b stdout ----'; \
             echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored; x'";
        let (steps, done) = servers(1, first);
        done.expect("passes alone");
        assert_eq!(steps.sum(), "3 passed, 0 failed");
        assert_eq!(steps.unsteady, ["a::b"]);

        let (steps, done) = servers(2, first);
        done.expect_err("fails alone, too");
        assert_eq!(steps.sum(), "2 passed, 1 failed");
        assert!(steps.unsteady.is_empty());
    }

    #[test]
    fn what_has_no_name_or_is_much_is_not_run_again() {
        // An executable that crashed, one test of two without a name, and more than a few.
        let many: String = (0..4).map(|i| format!("echo '---- a::b{i} stdout ----'; ")).collect();
        for (first, sum) in [
            ("true".to_owned(), "0 passed, 1 failed"),
            ("echo 'running 3 tests'; echo 'running 2 tests'; echo '---- a::b stdout ----'; echo 'test result: FAILED. 1 passed; 1 failed; x'".to_owned(), "1 passed, 1 failed"),
            (
                "echo '---- a::b stdout ----'; echo 'test result: FAILED. 0 passed; 2 failed; x'"
                    .to_owned(),
                "0 passed, 2 failed",
            ),
            (
                format!("{many} echo 'test result: FAILED. 1 passed; 4 failed; x'"),
                "1 passed, 4 failed",
            ),
        ] {
            let (steps, done) = servers(1, &first);
            done.expect_err("fails");
            assert_eq!(steps.sum(), sum);
        }
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
