//! A judge of WSGI servers: every MUST of PEP 3333 that can be seen from outside, and what robust
//! servers do beyond it.
//!
//! The server runs `tests/apps/probe.py`, which carries out the plans it is sent; each [`Case`]
//! sends one, reads the answer as raw HTTP, and compares it with the rule it is named after. No
//! other tool comes between, because what matters here (a body cut short, two heads, bytes after
//! the end) is what ordinary clients hide.
//!
//! The same cases run in three ways: against embedded and daemon mode by the integration tests,
//! against any address by `cargo run -p tests --bin conformance -- --url URL`, and so against
//! gunicorn and others.
//!
//! Left out: what only the application can see and no rule of the PEP speaks of (messages of
//! exceptions, types of mod_wsgi's own objects).
//!
//! <https://peps.python.org/pep-3333/>

mod body;
mod broken;
mod ends;
mod environ;
mod files;
mod framing;
mod input;
mod plan;
mod start;
mod target;

pub use target::Target;

use anyhow::Result;
use std::fmt;

/// The probe application.
pub const PROBE: &str = include_str!("../../apps/probe.py");

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// PEP 3333 demands it, or HTTP does of whoever sends HTTP.
    Must,
    /// A server that does not can be broken or deceived by applications or clients.
    Robust,
}

/// One rule and how to test it.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name: `start.late`.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// The rule in one sentence.
    pub rule: &'static str,
    run: fn(&Target) -> Result<()>,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The case's name.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// Its rule.
    pub rule: &'static str,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// What became of all cases.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order of [`cases`].
    pub verdicts: Vec<Verdict>,
}

/// Declares the cases of a topic.
macro_rules! declare {
    ($($id:literal $level:ident $rule:literal => $run:path;)*) => {
        pub(super) const CASES: &[super::Case] = &[$(super::Case {
            id: $id,
            level: super::Level::$level,
            rule: $rule,
            run: $run,
        }),*];
    };
}
pub(crate) use declare;

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        environ::CASES,
        start::CASES,
        body::CASES,
        ends::CASES,
        framing::CASES,
        input::CASES,
        files::CASES,
        broken::CASES,
    ]
    .concat()
}

/// Judges a server by the cases whose name contains `filter`.
pub fn run(target: &Target, filter: &str) -> Report {
    let chosen = cases().into_iter().filter(|case| case.id.contains(filter));
    Report { verdicts: chosen.map(|case| case.judge(target)).collect() }
}

impl Case {
    fn judge(&self, target: &Target) -> Verdict {
        let outcome = (self.run)(target).and_then(|()| target.is_well());
        let failure = outcome.err().map(|error| format!("{error:#}").replace('\n', " "));
        if failure.is_some() {
            // One case's damage is not the next one's fault.
            target.recover();
        }
        Verdict { id: self.id, level: self.level, rule: self.rule, failure }
    }
}

impl Report {
    /// The verdicts that failed.
    pub fn failures(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.failure.is_some()).collect()
    }

    /// Fails the calling test if any case failed, or if none ran.
    ///
    /// # Panics
    /// In that case, with the table of the failures.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(!self.verdicts.is_empty(), "no case ran");
        if !self.failures().is_empty() {
            panic!("{}", Report { verdicts: self.failures().into_iter().cloned().collect() });
        }
    }

    fn score(&self, level: Level) -> (usize, usize) {
        let of_level = || self.verdicts.iter().filter(|verdict| verdict.level == level);
        (of_level().filter(|verdict| verdict.failure.is_none()).count(), of_level().count())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Must => "MUST",
            Level::Robust => "robust",
        })
    }
}

/// A table: one line per case, failures with their reason below, and the sum.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Verdict { id, level, rule, failure } in &self.verdicts {
            let word = if failure.is_none() { "pass" } else { "FAIL" };
            writeln!(f, "{word}  {level:6}  {id:28} {rule}")?;
            if let Some(reason) = failure {
                let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
                let reason: String = reason.chars().take(600).map(printable).collect();
                writeln!(f, "      {:6}  {:28} {reason}", "", "->")?;
            }
        }
        let ((must, of_must), (robust, of_robust)) =
            (self.score(Level::Must), self.score(Level::Robust));
        writeln!(f, "MUST {must} of {of_must}, robust {robust} of {of_robust}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_rules_are_sentences() {
        let cases = cases();
        for (index, case) in cases.iter().enumerate() {
            assert!(cases[..index].iter().all(|other| other.id != case.id), "{}", case.id);
            assert!(case.rule.ends_with('.') && case.id.contains('.'), "{}", case.id);
        }
        assert!(cases.len() > 100, "{}", cases.len());
    }
}
