//! `dist`: a wheel with an engine for every Python of this machine, and the source archive.
//!
//! ```text
//! target/wheels/mod_wsgi-<version>-cp310.cp311...-<platform>.whl
//! target/wheels/mod_wsgi-<version>.tar.gz
//! ```
//!
//! What is in them is decided in one place, `python/packaging/mod_wsgi_build.py`, which is what
//! pip calls for `pip install .`, too. The wheel installs where there is no compiler, and no Apache
//! yet.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, Profile};
use crate::setup::python::{self, Python};
use crate::setup::{self, Missing};
use crate::shell::{root, short, stdout};

/// `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: setup::Options,
    /// A Python to build an engine for; repeatable [default: one of each version there is]
    #[arg(long, value_name = "PATH")]
    python: Vec<PathBuf>,
    /// Where to put them [default: target/wheels]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let machine = setup::ensure(&args.setup, &args.python, Missing::Report)?;
    let others = if args.python.is_empty() { python::all().0 } else { Vec::new() };
    let pythons = one_of_each(machine.pythons.iter().chain(&others));
    for python in &pythons {
        println!("engine for {}", python.describe());
    }
    let dist = build::build(&machine, &pythons, Profile::Release)?;
    let to = match &args.to {
        Some(dir) => std::path::absolute(dir).with_context(|| dir.display().to_string())?,
        None => root().join("target/wheels"),
    };
    let first = pythons.first().context("no Python to build for")?;
    for task in ["wheel", "sdist"] {
        let mut command = Command::new(&first.executable);
        command.arg(root().join("python/packaging/mod_wsgi_build.py")).arg(task);
        if task == "wheel" {
            command.arg("--from").arg(&dist.dir);
        }
        let made = stdout(command.arg("--to").arg(&to))?;
        println!("{}", short(made.trim_end().as_ref()));
    }
    Ok(())
}

/// Installations of one version share an engine.
fn one_of_each<'a>(pythons: impl Iterator<Item = &'a Python>) -> Vec<Python> {
    let mut chosen: Vec<Python> = Vec::new();
    for python in pythons {
        if !chosen.iter().any(|other| other.tag() == python.tag()) {
            chosen.push(python.clone());
        }
    }
    chosen
}
