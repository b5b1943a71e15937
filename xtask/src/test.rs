//! `test`: everything CI checks, in the order that fails soonest.
//!
//! Formatting, house lints, clippy, unit tests (those that link Python with one, nightly with all),
//! a build for every usable Python, the package `tests` against that build, and the instructions of a
//! request against their budget. The first step that fails ends the run with the command that repeats
//! it; the last line is always the sum.
//!
//! The package `tests` learns what to test from its environment:
//!
//! | variable | value |
//! |---|---|
//! | `WSGI_TEST_DIST` | the directory of the build |
//! | `WSGI_TEST_PYTHONS` | prefixes of the Pythons that have an engine there, joined by colons |
//! | `WSGI_TEST_HTTPD` | the server's executable |
//! | `WSGI_TEST_LIBEXECDIR` | where its modules are |
//! | `WSGI_TEST_TIER` | `quick` or `nightly` |

mod ordinary;
mod output;
mod plan;
mod step;
mod watch;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use self::plan::Crates;
use self::step::Steps;
use crate::build::{self, Dist, Profile};
use crate::install;
use crate::serve::config::{Modules, Mpm};
use crate::setup::python::{self, Python};
use crate::setup::{self, Machine, Missing};
use crate::shell::{ask, cargo, quote, root, run as execute, show};

/// `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only tests whose name contains this; leaves formatting and lints out
    filter: Option<String>,
    /// The long tier: every Python for everything, soak, valgrind, fuzzing
    #[arg(long)]
    nightly: bool,
    #[command(flatten)]
    setup: setup::Options,
}

/// Undoes that a shell has jobs in the background ignore Ctrl-C, and `nohup` a hang-up: programs that
/// tests start would inherit it, and some tests send them just these signals.
fn heed_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        // SAFETY: the default action, before there are threads that could care.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Runs the task. Steps that fail are reported here; an error is something else.
pub(crate) fn run(args: &Args) -> Result<()> {
    heed_signals();
    let minutes = if args.nightly { 60 } else { 15 };
    let mut steps = Steps::new(Box::new(std::io::stdout()), Duration::from_secs(60 * minutes));
    let done = all(args, &mut steps);
    steps.summary();
    if let Err(error) = &done {
        steps.failed();
        // Before the sum, which is to be the last line.
        eprintln!("error: {error:#}");
    }
    println!("{}", steps.sum());
    done.map_err(|_| crate::Reported.into())
}

fn all(args: &Args, steps: &mut Steps) -> Result<()> {
    let machine = setup::ensure(&args.setup, &[], Missing::Ask)?;
    let machine = setup::ensure_venv(&args.setup, machine)?;
    let crates = Crates::of_workspace()?;
    let pythons = choose_pythons(&machine, args.nightly);
    skipped_mpms(&machine)?;
    let linkable = pythons.iter().find(|python| python.link_dir().is_some());

    if args.filter.is_none() {
        components()?;
        steps.command("format", cargo().args(["fmt", "--all", "--check"]))?;
        steps.task("tidy", "cargo xtask tidy", crate::tidy::run)?;
        let mut clippy = cargo();
        clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
        machine_env(&mut clippy, &machine, linkable);
        steps.command("clippy", clippy.args(["--", "-D", "warnings"]))?;
        let mut doc = cargo();
        doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        machine_env(&mut doc, &machine, linkable);
        steps.command("documentation", &mut doc)?;
    }

    steps.tests("unit tests", |more| tests(&crates.plain, args, &machine, None, more))?;
    match linkable {
        Some(python) if !crates.python.is_empty() => {
            let name = format!("unit tests, Python {}", python.version);
            let some = Some(python);
            steps.tests(&name, |more| tests(&crates.python, args, &machine, some, more))?;
        }
        Some(_) => {}
        None => println!("skipped: unit tests that link Python: no Python here can be linked"),
    }

    if crates.has("mod-wsgi") && crates.has("engine") {
        // The long tier tests what users run; the quick one what compiles fast.
        let profile = if args.nightly { Profile::Release } else { Profile::Dev };
        let again = build_command(&machine, &pythons, profile);
        steps.task("build", &again, || build::build(&machine, &pythons, profile).map(|_| ()))?;
        steps.task("install", "cargo xtask install --destdir DIR", || try_install(&machine))?;
        if crates.has("tests") {
            integration(args, &machine, &pythons, steps)?;
        }
        if crates.has("bench") && args.filter.is_none() {
            instructions(args, &machine, &pythons, steps)?;
        }
    }
    if args.nightly {
        nightly(args, &machine, &crates, &pythons, linkable, steps)?;
    }
    Ok(())
}

/// Installs below a directory of its own, and asks Apache whether it likes the lines that are
/// printed then.
fn try_install(machine: &Machine) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lines = install::install(Some(dir.path()), &machine.apache)?;
    let modules = &machine.apache.libexecdir;
    let here = install::below(Some(dir.path()), modules);
    // The lines are for the machine that a package goes to.
    let lines = lines.replacen(&*modules.to_string_lossy(), &here.to_string_lossy(), 1);
    let mpm = Modules::of(&machine.apache)?;
    let mpm = Mpm::ALL.into_iter().find_map(|name| mpm.load_mpm(name).ok()).flatten();
    let config = dir.path().join("httpd.conf");
    let server =
        format!("ServerName localhost\nListen 127.0.0.1:9\nErrorLog {}/log", dir.path().display());
    std::fs::write(&config, format!("{}\n{server}\n{lines}", mpm.unwrap_or_default()))?;
    execute(Command::new(&machine.apache.httpd).arg("-t").arg("-f").arg(&config))
}

fn integration(
    args: &Args,
    machine: &Machine,
    pythons: &[Python],
    steps: &mut Steps,
) -> Result<()> {
    let prefixes: Vec<String> = pythons.iter().map(|p| p.prefix.display().to_string()).collect();
    steps.tests("integration tests", |more| {
        let mut command = tests(&["tests".to_owned()], args, machine, None, more);
        command
            .env("WSGI_TEST_DIST", Dist::place().dir)
            .env("WSGI_TEST_PYTHONS", prefixes.join(":"))
            .env("WSGI_TEST_HTTPD", &machine.apache.httpd)
            .env("WSGI_TEST_LIBEXECDIR", &machine.apache.libexecdir)
            .env("WSGI_TEST_TIER", if args.nightly { "nightly" } else { "quick" });
        command
    })
}

/// What only the long tier does.
fn nightly(
    args: &Args,
    machine: &Machine,
    crates: &Crates,
    pythons: &[Python],
    done: Option<&Python>,
    steps: &mut Steps,
) -> Result<()> {
    let mut seen: BTreeSet<&str> = done.into_iter().map(Python::tag).collect();
    for python in pythons.iter().filter(|python| python.link_dir().is_some()) {
        if crates.python.is_empty() || !seen.insert(python.tag()) {
            continue;
        }
        let place = root().join("target/unit").join(python.tag());
        steps.tests(&format!("unit tests, Python {}", python.version), |more| {
            let mut command = tests(&crates.python, args, machine, Some(python), more);
            command.env("CARGO_TARGET_DIR", &place);
            command
        })?;
    }
    if args.filter.is_none() {
        ordinary::run(machine, pythons, steps)?;
    }
    fuzz(args, machine, done, steps)
}

/// The minor version of Python that the budget of instructions was measured with.
const COUNTED: &str = "3.13.";

/// Instructions per request against the committed budget: a figure that, unlike a time, is the same
/// on any machine.
fn instructions(
    args: &Args,
    machine: &Machine,
    pythons: &[Python],
    steps: &mut Steps,
) -> Result<()> {
    let Some(python) = pythons.iter().find(|python| python.version.starts_with(COUNTED)) else {
        println!("skipped: instructions per request: there is no Python {COUNTED}x");
        return Ok(());
    };
    if let Err(error) = setup::ensure_valgrind(&args.setup) {
        println!("skipped: instructions per request: {error:#}");
        return Ok(());
    }
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "bench", "--", "--instructions"]);
    command.args(["--only", INSTRUCTIONS, "--python"]).arg(&python.prefix);
    machine_env(&mut command, machine, None);
    steps.command("instructions per request", &mut command)
}

/// Everything of this module that has a budget.
const INSTRUCTIONS: &str = "ours-embedded,ours-recording,ours-telemetry,ours-embedded-status,\
                            ours-daemon-apache,ours-daemon-apache-status,ours-daemon-worker";

/// Each target of `fuzz/` for a minute, with the stable compiler.
fn fuzz(args: &Args, machine: &Machine, python: Option<&Python>, steps: &mut Steps) -> Result<()> {
    let place = root().join("fuzz");
    let Some(python) = python else {
        println!("skipped: fuzzing: no Python here can be linked");
        return Ok(());
    };
    let mut targets: Vec<String> = std::fs::read_dir(place.join("fuzz_targets"))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .filter(|target| args.filter.as_ref().is_none_or(|filter| target.contains(filter)))
        .collect();
    targets.sort();
    for target in targets {
        let mut command = Command::new(place.join("run"));
        command.args([&target, "-max_total_time=60", "-timeout=60"]).current_dir(root());
        machine_env(&mut command, machine, Some(python));
        steps.command(&format!("fuzz {target}"), &mut command)?;
    }
    Ok(())
}

/// `cargo test` of some packages, with what they need to be built and to run, and with more arguments
/// for the test executables.
fn tests(
    packages: &[String],
    args: &Args,
    machine: &Machine,
    python: Option<&Python>,
    more: &[String],
) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]);
    for package in packages {
        command.args(["--package", package]);
    }
    command.args(&args.filter);
    if !more.is_empty() {
        command.arg("--").args(more);
    }
    machine_env(&mut command, machine, python);
    command
}

/// The variables that tell build scripts about Apache and Python, and the loader about libpython.
fn machine_env(command: &mut Command, machine: &Machine, python: Option<&Python>) {
    command.env("APXS", &machine.apache.apxs);
    let Some(python) = python else { return };
    command.env("PYO3_PYTHON", &python.executable);
    if let Some(dir) = python.link_dir() {
        command.env("LD_LIBRARY_PATH", dir);
    }
}

/// The Pythons to test with, the default one first; says which are left out and why.
fn choose_pythons(machine: &Machine, nightly: bool) -> Vec<Python> {
    let (found, mut left_out) = python::all();
    let mut chosen: Vec<Python> = Vec::new();
    for python in machine.pythons.iter().chain(&found) {
        let name = python.describe();
        if chosen.contains(python) {
        } else if python.library.is_none() {
            left_out.push(format!("{name} has no shared libpython"));
        } else if !python.venv {
            left_out.push(format!("{name} has no ensurepip, which virtual environments need"));
        } else if let (false, Some(other)) =
            (nightly, chosen.iter().find(|other| other.tag() == python.tag()))
        {
            left_out
                .push(format!("{name} has the engine of {} (--nightly tests it)", other.version));
        } else {
            chosen.push(python.clone());
        }
    }
    for python in &chosen {
        println!("tested: {}", python.describe());
    }
    left_out.dedup();
    for why in &left_out {
        println!("skipped: {why}");
    }
    chosen
}

fn skipped_mpms(machine: &Machine) -> Result<()> {
    let modules = Modules::of(&machine.apache)?;
    for mpm in Mpm::ALL {
        match modules.offers(mpm) {
            Ok(()) => println!("tested: Apache {} {}", machine.apache.version, mpm.name()),
            Err(why) => println!("skipped: {}: {why}", mpm.name()),
        }
    }
    Ok(())
}

/// rustfmt and clippy, which a minimal toolchain does not have.
fn components() -> Result<()> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(task, _)| {
            let answer = ask(cargo().args([task, "--version"]));
            !answer.is_ok_and(|output| output.status.success())
        })
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.args(["component", "add"]).args(missing).current_dir(root());
    eprintln!("The toolchain lacks something: {}", show(&command));
    execute(&mut command)
}

/// The build as one would type it.
fn build_command(machine: &Machine, pythons: &[Python], profile: Profile) -> String {
    let mut words = vec!["cargo xtask build --apxs".to_owned()];
    words.push(quote(machine.apache.apxs.as_os_str()));
    for python in pythons {
        words.push(format!("--python {}", quote(python.executable.as_os_str())));
    }
    if profile == Profile::Release {
        words.push("--release".to_owned());
    }
    words.join(" ")
}
