//! What a `cargo test` prints, as far as it is counted.
//!
//! The form is that of libtest, which has no other one in stable Rust. What tests themselves print may
//! stand anywhere, so only sums that add up are believed.

use std::collections::BTreeSet;

/// How many tests of a step may fail and pass when they are run once more. With more than these it is
/// not the machine.
const UNSTEADY: usize = 3;

/// Tests that passed, failed and were ignored.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

/// What a `cargo test` printed.
#[derive(Debug, Default)]
pub(super) struct Tested {
    pub(super) counts: Counts,
    pub(super) failed: BTreeSet<String>,
    /// Executables that began and did not print a result: they crashed.
    crashed: u64,
    running: Option<Running>,
}

/// What the executable that runs has printed so far.
#[derive(Debug, Default)]
struct Running {
    announced: u64,
    counts: Counts,
    /// Tests that are said to take long and have not ended.
    slow: BTreeSet<String>,
}

impl Tested {
    /// Whether all that went wrong are a few tests whose names are known. A name may be in more than
    /// one executable: then it is not.
    pub(super) fn is_unsteady(&self) -> bool {
        let failed = self.failed.len();
        let known = self.crashed == 0 && self.running.is_none();
        known && (1..=UNSTEADY).contains(&failed) && self.counts.failed == failed as u64
    }

    /// Adds a line such as `test groups::a_test ... FAILED`, or one with results. What tests print
    /// may stand between name and result, or before the name.
    pub(super) fn add(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("running ")
            && let Some(number) = rest.strip_suffix(" tests").or(rest.strip_suffix(" test"))
            && let Ok(announced) = number.parse()
        {
            self.crashed += u64::from(self.running.is_some());
            self.running = Some(Running { announced, ..Running::default() });
        }
        if self.counts.add(line) {
            self.running = None;
        }
        if let Some(running) = &mut self.running {
            self.failed.extend(running.add(line));
        }
        // Of a test that failed, its output is shown under its name.
        let name = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        self.failed.extend(name.map(str::to_owned));
    }

    /// The executable that runs printed nothing for long and is ended: the tests that hang, if it is
    /// known how all others ended. They count as failed.
    pub(super) fn hangs(&mut self) -> Vec<String> {
        let Some(running) = self.running.take() else { return Vec::new() };
        let Counts { passed, failed, ignored } = running.counts;
        let slow = running.slow.len() as u64;
        if slow == 0 || passed + failed + ignored + slow != running.announced {
            self.crashed += 1;
            return running.slow.into_iter().collect();
        }
        self.counts.passed += passed;
        self.counts.ignored += ignored;
        self.counts.failed += failed + slow;
        self.failed.extend(running.slow.iter().cloned());
        running.slow.into_iter().collect()
    }

    /// The run was ended before all was run.
    pub(super) fn cut(&mut self) {
        self.crashed += 1;
    }
}

impl Running {
    /// Adds a line about one test; gives its name if it failed.
    fn add(&mut self, line: &str) -> Option<String> {
        let rest = line.strip_prefix("test ")?;
        if let Some((name, _)) = rest.split_once(" has been running for over ") {
            self.slow.insert(name.to_owned());
            return None;
        }
        let (name, result) = rest.split_once(" ... ")?;
        let name = name.strip_suffix(" - should panic").unwrap_or(name);
        let count = match result {
            "ok" => &mut self.counts.passed,
            "FAILED" => &mut self.counts.failed,
            _ if result.starts_with("ignored") => &mut self.counts.ignored,
            _ => return None,
        };
        *count += 1;
        self.slow.remove(name);
        (result == "FAILED").then(|| name.to_owned())
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
