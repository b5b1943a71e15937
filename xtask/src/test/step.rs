//! The steps of a run: timed, counted, and repeatable by hand when they fail.
//!
//! Results are counted from what `cargo test` prints; every other step counts as one test.
//!
//! No run lasts forever: tests that print nothing for long are ended and named.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::output::{Counts, Tested};
use super::watch::watched;
use crate::shell::show;

/// What was done so far.
pub(crate) struct Steps {
    counts: Counts,
    /// Tests that failed beside others and passed alone.
    unsteady: Vec<String>,
    timings: Vec<(String, Duration)>,
    out: Box<dyn Write>,
    /// How long tests may print nothing.
    patience: Duration,
}

impl Steps {
    /// Nothing done yet; what steps print goes to `out`. Tests that print nothing for as long as
    /// `patience` hang.
    pub(crate) fn new(out: Box<dyn Write>, patience: Duration) -> Steps {
        let (counts, unsteady, timings) = (Counts::default(), Vec::new(), Vec::new());
        Steps { counts, unsteady, timings, out, patience }
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

    /// A `cargo test`, whose results are counted: `command` makes it, with more arguments for the
    /// test executables. Some tests measure time, and some servers end at random in code that is not
    /// ours: the few that fail are run once more, one by one and by name. Those that pass then are
    /// named in the summary.
    pub(crate) fn tests(
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
        let mut tested = Tested::default();
        match watched(command, self.patience, &mut *self.out, &mut tested) {
            Ok(true) => {}
            // It may not get as far as a result, for example because it does not compile.
            Ok(false) => tested.counts.failed = tested.counts.failed.max(1),
            Err(error) => {
                eprintln!("{error:#}");
                tested.counts.failed += 1;
            }
        }
        tested
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

#[cfg(test)]
mod tests {
    use super::*;

    /// These tests run within a run that counts what is printed.
    fn quiet() -> Steps {
        Steps::new(Box::new(std::io::sink()), Duration::from_secs(2))
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
        steps.tests("a", |_| script(&format!("{print}; {print}"))).expect("passes");
        steps.command("b", &mut script("true")).expect("passes");
        assert_eq!(steps.sum(), "7 passed, 0 failed");
        assert_eq!(steps.counts.ignored, 2);
    }

    #[test]
    fn a_failure_says_how_to_repeat_it() {
        let mut steps = quiet();
        let print = "echo 'test result: FAILED. 2 passed; 3 failed; 0 ignored; x'; exit 101";
        let error = steps.tests("unit", |_| script(print)).expect_err("fails").to_string();
        assert!(error.starts_with("unit failed; to repeat it: sh -c "), "{error}");
        assert_eq!(steps.sum(), "2 passed, 3 failed");
    }

    /// A script in the place of `cargo test`: fails as often as a file has lines.
    fn flaky(fails: usize, first: &str) -> (Steps, Result<()>) {
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
        let done = steps.tests("flaky", |more| {
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
        let (steps, done) = flaky(1, first);
        done.expect("passes alone");
        assert_eq!(steps.sum(), "3 passed, 0 failed");
        assert_eq!(steps.unsteady, ["a::b"]);

        let (steps, done) = flaky(2, first);
        done.expect_err("fails alone, too");
        assert_eq!(steps.sum(), "2 passed, 1 failed");
        assert!(steps.unsteady.is_empty());
    }

    #[test]
    fn what_hangs_is_ended_and_may_pass_alone() {
        let first = "echo 'running 2 tests'; echo 'test a::c ... ok'; \
             echo 'test a::b has been running for over 60 seconds'; sleep 100";
        let (steps, done) = flaky(1, first);
        done.expect("passes alone");
        assert_eq!(steps.sum(), "2 passed, 0 failed");
        assert_eq!(steps.unsteady, ["a::b"]);

        let (steps, done) = flaky(2, first);
        done.expect_err("hangs alone, too");
        assert_eq!(steps.sum(), "1 passed, 1 failed");

        // One of three is not known.
        let (steps, done) = flaky(1, &first.replace('2', "3"));
        done.expect_err("is not run again");
        assert_eq!(steps.sum(), "0 passed, 1 failed");
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
            let (steps, done) = flaky(1, &first);
            done.expect_err("fails");
            assert_eq!(steps.sum(), sum);
        }
    }

    #[test]
    fn what_does_not_compile_counts_as_a_failure() {
        let mut steps = quiet();
        steps.tests("unit", |_| script("exit 101")).expect_err("fails");
        assert_eq!(steps.sum(), "0 passed, 1 failed");
        let mut steps = quiet();
        steps.command("fmt", &mut script("false")).expect_err("fails");
        assert_eq!(steps.sum(), "0 passed, 1 failed");
        let mut steps = quiet();
        steps.failed();
        assert_eq!(steps.sum(), "0 passed, 1 failed");
    }
}
