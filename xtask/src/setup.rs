//! Making a machine ready: find Apache, libclang, a C compiler and Pythons, and where something is
//! missing either install it or say which command does.
//!
//! Installing needs root and consent: `--yes`, `CI=true`, or no terminal to ask on. Everybody else
//! gets one sentence per problem and the command. Nothing is installed that was not announced.

pub(crate) mod apache;
pub(crate) mod libclang;
pub(crate) mod packages;
pub(crate) mod python;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::apache::Apache;
use self::packages::{Manager, Need};
use self::python::Python;
use crate::shell::{is_root, run, show};

/// What a task wants of the machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The apxs of the Apache to use [default: the variable APXS, then PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) apxs: Option<PathBuf>,
    /// Install what is missing without asking (as root; CI=true means the same)
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetupArgs {
    #[command(flatten)]
    setup: Options,
    /// A Python to check: executable, prefix or virtual environment [default: python3 on PATH]
    #[arg(long, value_name = "PATH")]
    python: Vec<PathBuf>,
}

/// A machine that has what building needs.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) apache: Apache,
    /// The Pythons asked for, in that order; never empty.
    pub(crate) pythons: Vec<Python>,
}

/// Something missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What was found where, and what would be needed; empty if another problem tells it.
    text: String,
    /// What a package would bring; `None` if no package helps.
    need: Option<Need>,
}

impl Problem {
    pub(crate) fn mendable(text: String, need: Need) -> Problem {
        Problem { text, need: Some(need) }
    }

    pub(crate) fn silent(need: Need) -> Problem {
        Problem { text: String::new(), need: Some(need) }
    }

    pub(crate) fn hopeless(text: String) -> Problem {
        Problem { text, need: None }
    }
}

/// What to do where something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Say so and fail.
    Report,
    /// Install it as root, after asking; others are told, and it fails.
    Ask,
    /// Install it as root, unasked; others are told, and it fails.
    Install,
}

impl Options {
    /// What to do where a task would do `otherwise`.
    fn missing(&self, otherwise: Missing) -> Missing {
        if self.yes { Missing::Install } else { otherwise }
    }
}

/// Runs the task.
pub(crate) fn setup(args: &SetupArgs) -> Result<()> {
    let machine = ensure(&args.setup, &args.python, Missing::Ask)?;
    println!("Apache {} ({})", machine.apache.version, machine.apache.httpd.display());
    for python in &machine.pythons {
        println!("{}", python.describe());
    }
    Ok(())
}

/// Gives a machine that has everything, installing what is missing if `missing` allows that.
/// `pythons` are paths from the command line; none means `python3` on PATH.
pub(crate) fn ensure(args: &Options, pythons: &[PathBuf], missing: Missing) -> Result<Machine> {
    let problems = match look(args, pythons) {
        Ok(machine) => return Ok(machine),
        Err(problems) => problems,
    };
    provide(&problems, args.missing(missing))?;
    // Looking again also notices what the packages did not bring.
    look(args, pythons).map_err(|problems| anyhow::anyhow!(sentences(&problems)))
}

/// Finds Apache alone, installing nothing.
pub(crate) fn find_apache(args: &Options) -> Result<Apache> {
    apache::find(args.apxs.as_deref()).map_err(|problems| {
        match provide(&problems, Missing::Report) {
            Err(error) => error,
            Ok(()) => anyhow::anyhow!(sentences(&problems)),
        }
    })
}

/// Sees to it that the Pythons of a machine can make virtual environments, which tests do.
pub(crate) fn ensure_venv(options: &Options, machine: Machine) -> Result<Machine> {
    let lacking = machine.pythons.iter().find(|python| !python.venv);
    let Some(python) = lacking else { return Ok(machine) };
    let text = format!("{} makes no virtual environments: it has no ensurepip", python.describe());
    provide(&[Problem::mendable(text.clone(), Need::Venv)], options.missing(Missing::Ask))?;
    let machine = ensure(options, &[], Missing::Report)?;
    if machine.pythons.iter().all(|python| python.venv) { Ok(machine) } else { bail!(text) }
}

/// Sees to it that there is valgrind, which only the long tier of tests and counting want.
pub(crate) fn ensure_valgrind(options: &Options) -> Result<()> {
    ensure_program("valgrind", Need::Valgrind, options.missing(Missing::Ask))
}

/// Sees to it that there is a program that few tasks want.
pub(crate) fn ensure_program(name: &str, need: Need, missing: Missing) -> Result<()> {
    let text = format!("{name} is not on PATH");
    if which::which(name).is_err() {
        provide(&[Problem::mendable(text.clone(), need)], missing)?;
    }
    which::which(name).map(drop).map_err(|_| anyhow::anyhow!(text))
}

/// Gives a Python of the system itself, installing one if need be. For servers whose processes may
/// not read the one on PATH.
pub(crate) fn system_python(args: &Options) -> Result<Python> {
    let path = Path::new("/usr/bin/python3");
    let look = || {
        let python =
            python::examine(path).map_err(|text| vec![Problem::mendable(text, Need::Python)])?;
        match python.library {
            Some(_) => Ok(python),
            None => Err(vec![Problem::mendable(no_library(&python).cause, Need::Python)]),
        }
    };
    let problems = match look() {
        Ok(python) => return Ok(python),
        Err(problems) => problems,
    };
    provide(&problems, args.missing(Missing::Ask))?;
    look().map_err(|problems| anyhow::anyhow!(sentences(&problems)))
}

/// What is in the way, and what could be done about it.
#[derive(Debug)]
pub(crate) struct Obstacle {
    pub(crate) cause: String,
    pub(crate) advice: String,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.cause, self.advice)
    }
}

impl std::error::Error for Obstacle {}

/// What is wrong with a Python that embedded mode cannot use.
pub(crate) fn no_library(python: &Python) -> Obstacle {
    Obstacle {
        cause: format!("{} has no shared libpython, which embedded mode opens", python.describe()),
        advice: "install it (on Debian libpython3-dev), or build that Python with --enable-shared"
            .to_owned(),
    }
}

fn look(args: &Options, pythons: &[PathBuf]) -> Result<Machine, Vec<Problem>> {
    let mut problems = Vec::new();
    if which::which("cc").is_err() {
        let text = "no C compiler was found: there is no `cc` on PATH".to_owned();
        problems.push(Problem::mendable(text, Need::Compiler));
    }
    let apache = apache::find(args.apxs.as_deref()).map_err(|more| problems.extend(more)).ok();
    problems.extend(libclang::problem());

    let mut found: Vec<Python> = Vec::new();
    for path in pythons {
        match python::examine(path) {
            Ok(python) if found.contains(&python) => {}
            Ok(python) => found.push(python),
            // What the user named is not replaced by a package's Python.
            Err(text) => problems.push(Problem::hopeless(text)),
        }
    }
    if pythons.is_empty() {
        match default_python() {
            Ok(python) => found.push(python),
            Err(text) => problems.push(Problem::mendable(text, Need::Python)),
        }
    }
    match apache {
        Some(apache) if problems.is_empty() => Ok(Machine { apache, pythons: found }),
        _ => Err(problems),
    }
}

/// `python3` on PATH; where that is unusable, the system's, which is what a package can mend.
fn default_python() -> Result<Python, String> {
    if which::which("python3").is_err() {
        return Err("no Python was found: there is no `python3` on PATH".to_owned());
    }
    python::examine(Path::new("python3"))
        .or_else(|why| python::examine(Path::new("/usr/bin/python3")).map_err(|_| why))
}

fn sentences(problems: &[Problem]) -> String {
    let texts = problems.iter().filter(|p| !p.text.is_empty()).map(|p| p.text.as_str());
    texts.collect::<Vec<_>>().join("\nerror: ")
}

/// Installs what `problems` miss, or fails with what to do.
fn provide(problems: &[Problem], missing: Missing) -> Result<()> {
    let needs: Vec<Need> = problems.iter().filter_map(|problem| problem.need).collect();
    let manager = Manager::find();
    let packages = manager.map(|manager| manager.packages(&needs)).unwrap_or_default();
    let hopeless = problems.iter().any(|problem| problem.need.is_none());
    let may_install = is_root() && missing != Missing::Report && !hopeless;
    let (Some(manager), false, true) = (manager, packages.is_empty(), may_install) else {
        bail!(advice(problems, manager, &packages));
    };

    eprintln!("This machine lacks something:");
    for problem in problems.iter().filter(|problem| !problem.text.is_empty()) {
        eprintln!("  {}", problem.text);
    }
    eprintln!("To be installed: {}", packages.join(" "));
    let told = missing == Missing::Install
        || std::env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    if !told && std::io::stdin().is_terminal() && !confirmed() {
        bail!("not installed; to do it yourself: {}", manager.line(&packages));
    }
    for mut command in manager.commands(&packages) {
        eprintln!("  {}", show(&command));
        run(&mut command)?;
    }
    Ok(())
}

/// One sentence per problem, and the command that mends what a command can.
fn advice(problems: &[Problem], manager: Option<Manager>, packages: &[&str]) -> String {
    let mut text = sentences(problems);
    match manager {
        Some(manager) if !packages.is_empty() => {
            text.push_str(&format!("\n\nTo mend this: {}", manager.line(packages)));
        }
        None if problems.iter().any(|problem| problem.need.is_some()) => {
            text.push_str(
                "\n\nNo package manager known here was found; needed are Apache 2.4 with apxs and \
                 headers, libclang, a C compiler and Python 3.10 or newer.",
            );
        }
        _ => {}
    }
    text
}

fn confirmed() -> bool {
    eprint!("Install now? [Y/n] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    let answer = answer.trim().to_ascii_lowercase();
    read.is_ok_and(|bytes| bytes > 0) && (answer.is_empty() || answer == "y" || answer == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_a_sentence_each_and_one_command() {
        let problems = [
            Problem::mendable("apxs is missing".into(), Need::ApacheHeaders),
            Problem::silent(Need::Httpd),
            Problem::mendable("libclang is missing".into(), Need::Libclang),
        ];
        let needs: Vec<Need> = problems.iter().filter_map(|p| p.need).collect();
        let packages = Manager::Apt.packages(&needs);
        assert_eq!(
            advice(&problems, Some(Manager::Apt), &packages),
            "apxs is missing\nerror: libclang is missing\n\nTo mend this: sudo apt-get install \
             --no-install-recommends apache2-dev apache2-bin libclang-dev"
        );
    }

    #[test]
    fn what_no_package_mends_names_none() {
        let problems = [Problem::hopeless("Python is too old".into())];
        assert_eq!(advice(&problems, Some(Manager::Apt), &[]), "Python is too old");
        assert_eq!(advice(&problems, None, &[]), "Python is too old");
    }

    #[test]
    fn without_a_manager_the_needs_are_listed() {
        let problems = [Problem::mendable("no Python".into(), Need::Python)];
        assert!(advice(&problems, None, &[]).contains("No package manager known here"));
    }
}
