//! Which combinations of MPM, mode and Python a test runs over, and saying so when one is left out.
//!
//! The quick tier runs each Python once and each MPM once, paired; the nightly tier runs every
//! combination. Nothing is left out in silence: a skip is printed past the test runner's capture,
//! and under `CI=true` it is a failure.

use crate::setup::{Python, Setup};
use anyhow::{Result, bail};
use std::fmt;
use std::io::Write;

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Each Python once and each MPM once.
    Quick,
    /// Every combination, and what takes long.
    Nightly,
}

/// How Apache serves connections: <https://httpd.apache.org/docs/2.4/mpm.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the modules")]
pub enum Mpm {
    Event,
    Worker,
    Prefork,
}

/// Where applications run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// In Apache's children.
    Embedded,
    /// In a process group of their own.
    Daemon,
}

impl Mpm {
    /// All of them.
    pub const ALL: [Mpm; 3] = [Mpm::Event, Mpm::Worker, Mpm::Prefork];

    /// Its module, by the name of its source.
    pub fn module(self) -> &'static str {
        match self {
            Mpm::Event => "mod_mpm_event",
            Mpm::Worker => "mod_mpm_worker",
            Mpm::Prefork => "mod_mpm_prefork",
        }
    }

    /// Whether its children have several threads.
    pub fn threaded(self) -> bool {
        self != Mpm::Prefork
    }
}

impl fmt::Display for Mpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mpm::Event => "event",
            Mpm::Worker => "worker",
            Mpm::Prefork => "prefork",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Embedded => "embedded",
            Mode::Daemon => "daemon",
        })
    }
}

impl Tier {
    pub(crate) fn from_env() -> Result<Tier> {
        match std::env::var("WSGI_TEST_TIER").as_deref() {
            Err(_) | Ok("" | "quick") => Ok(Tier::Quick),
            Ok("nightly") => Ok(Tier::Nightly),
            Ok(other) => bail!("WSGI_TEST_TIER: {other} is neither quick nor nightly"),
        }
    }
}

/// One cell of the matrix.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The MPM.
    pub mpm: Mpm,
    /// The Python.
    pub python: Python,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Python {}", self.mpm, self.python)
    }
}

/// The MPMs this server has.
pub fn mpms() -> Vec<Mpm> {
    let setup = Setup::get();
    let usable = |mpm: &Mpm| match setup.lacks(*mpm) {
        Some(reason) => {
            skip(&format!("{mpm} MPM"), &reason);
            false
        }
        None => true,
    };
    Mpm::ALL.into_iter().filter(usable).collect()
}

/// The Pythons dist has engines for.
///
/// # Panics
/// When there is none: then nothing could be tested, and that is no success.
pub fn pythons() -> Vec<Python> {
    let pythons = Setup::get().pythons.clone();
    assert!(!pythons.is_empty(), "there is no engine in dist: run `cargo xtask build` first");
    pythons
}

/// The newest Python, for tests to which the version does not matter.
///
/// # Panics
/// When there is none.
pub fn python() -> Python {
    pythons().pop().unwrap()
}

/// The combinations this tier runs.
pub fn cells() -> Vec<Cell> {
    let (mpms, pythons) = (mpms(), pythons());
    combine(Setup::get().tier, &mpms, &pythons)
}

/// Runs `test` on every combination of this tier, and names the one that failed.
pub fn for_each_cell(test: impl Fn(&Cell)) {
    for cell in cells() {
        named(&cell.to_string(), || test(&cell));
    }
}

/// Runs `test` with every Python.
pub fn for_each_python(test: impl Fn(&Python)) {
    for python in pythons() {
        named(&format!("Python {python}"), || test(&python));
    }
}

/// Runs `test` under every MPM.
pub fn for_each_mpm(test: impl Fn(Mpm)) {
    for mpm in mpms() {
        named(&format!("{mpm} MPM"), || test(mpm));
    }
}

/// Says that something is not tested, and why; fails where that is not allowed.
///
/// # Panics
/// Under `CI=true`.
pub fn skip(what: &str, why: &str) {
    assert!(!Setup::get().strict(), "not tested: {what}: {why}");
    // Written, not printed: the runner captures what is printed by tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// Says something past the runner's capture: what a test found and nobody would look up otherwise.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// Whether this is the tier for tests that take long; says so when it is not.
pub fn nightly(what: &str) -> bool {
    let nightly = Setup::get().tier == Tier::Nightly;
    if !nightly {
        let _ = writeln!(std::io::stderr(), "nightly tier only: {what}");
    }
    nightly
}

fn named(name: &str, test: impl FnOnce()) {
    struct Name<'a>(&'a str);
    impl Drop for Name<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with: {}", self.0);
            }
        }
    }
    let _name = Name(name);
    test();
}

fn combine(tier: Tier, mpms: &[Mpm], pythons: &[Python]) -> Vec<Cell> {
    let cell = |mpm: &Mpm, python: &Python| Cell { mpm: *mpm, python: python.clone() };
    match tier {
        Tier::Nightly => {
            mpms.iter().flat_map(|mpm| pythons.iter().map(move |p| cell(mpm, p))).collect()
        }
        Tier::Quick => {
            let both = !mpms.is_empty() && !pythons.is_empty();
            let count = if both { mpms.len().max(pythons.len()) } else { 0 };
            // The newest Python goes with the MPM most people use.
            let pythons: Vec<&Python> = pythons.iter().rev().collect();
            (0..count).map(|i| cell(&mpms[i % mpms.len()], pythons[i % pythons.len()])).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(version: &str) -> Python {
        let version = version.to_owned();
        let prefix = "/usr".into();
        Python { origin: "/usr".into(), prefix, full_version: version.clone(), version }
    }

    #[test]
    fn the_quick_tier_has_everything_once() {
        let pythons = ["3.10", "3.11", "3.12", "3.13"].map(python);
        let cells = combine(Tier::Quick, &Mpm::ALL, &pythons);
        let shown: Vec<String> = cells.iter().map(Cell::to_string).collect();
        let wanted = [
            "event, Python 3.13",
            "worker, Python 3.12",
            "prefork, Python 3.11",
            "event, Python 3.10",
        ];
        assert_eq!(shown, wanted);
        assert_eq!(combine(Tier::Quick, &Mpm::ALL, &pythons[..1]).len(), 3);
        assert!(combine(Tier::Quick, &Mpm::ALL, &[]).is_empty());
    }

    #[test]
    fn the_nightly_tier_has_all() {
        let pythons = ["3.10", "3.13"].map(python);
        assert_eq!(combine(Tier::Nightly, &Mpm::ALL, &pythons).len(), 6);
    }
}
