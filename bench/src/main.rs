//! The benchmark: this module against its peers, in interleaved rounds of one run.
//!
//! Absolute figures of a shared machine mean little, so every figure that counts is a ratio of two
//! measurements made seconds apart, and a run says how much of the machine others used meanwhile.
//! Peers come from PyPI into a virtual environment under `target/bench`; the load generator is
//! [wrk](https://github.com/wg/wrk). Adding a contestant is one entry in `contestants.rs`, adding a
//! load one in `loads.rs`. `--instructions` counts instead of timing: see `instructions.rs`.

mod accounting;
mod build;
mod contestants;
mod footprint;
mod http;
mod httpd;
mod instructions;
mod lab;
mod loads;
mod peers;
mod place;
mod process;
mod report;
mod rounds;
mod stats;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;

use contestants::Contestant;
use lab::Lab;
use loads::Load;

/// Measure this module against its peers.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
struct Cli {
    /// Two loads, three rounds, the contestants that matter most
    #[arg(long)]
    quick: bool,
    /// Only these contestants (see --list)
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these loads (see --list)
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    load: Vec<String>,
    /// Rounds per load [default: what the load says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds per measurement
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The Python everything runs on: executable, prefix or virtual environment
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Where the virtual environment and builds are kept; must be reachable for Apache's user
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Measure what is in target/dist instead of building first
    #[arg(long)]
    no_build: bool,
    /// Count instructions per request with callgrind and hold them against the budget
    #[arg(long)]
    instructions: bool,
    /// Start-up time and memory instead of speed, also of many applications in one Apache
    #[arg(long, conflicts_with_all = ["instructions", "load", "rounds"])]
    footprint: bool,
    /// With --instructions: where callgrind's files are kept [default: nowhere]
    #[arg(long, value_name = "DIR", requires = "instructions")]
    keep: Option<PathBuf>,
    /// Print the contestants and loads
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if cli.list {
        print!("{}", report::list());
        return Ok(ExitCode::SUCCESS);
    }
    let contestants = pick_contestants(cli)?;
    let loads = pick_loads(cli)?;
    if !cli.instructions && !cli.footprint {
        wrk::check()?;
    }
    let wanted = match cli.instructions && instructions::is_alone(&cli.only) {
        true => peers::Wanted::Nothing,
        false => peers::Wanted::All,
    };
    let lab = Lab::set_up(&cli.python, cli.cache.as_deref(), !cli.no_build, wanted)?;
    if cli.instructions {
        return instructions::run(&lab, &cli.only, cli.keep.as_deref());
    }
    if cli.footprint {
        print!("{}{}", report::heading(&lab), footprint::run(&lab, &contestants));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = rounds::Plan {
        rounds: cli.rounds.or(cli.quick.then_some(3)),
        seconds: cli.seconds,
        named: !cli.only.is_empty(),
    };
    let results = rounds::run(&lab, &contestants, &loads, &plan)?;
    print!("{}", report::markdown(&lab, &results, &plan));
    Ok(ExitCode::SUCCESS)
}

fn pick_contestants(cli: &Cli) -> Result<Vec<&'static Contestant>> {
    if cli.instructions {
        return Ok(Vec::new());
    }
    if cli.only.is_empty() {
        let wanted = |c: &&Contestant| if cli.quick { c.quick } else { c.usual };
        return Ok(contestants::ALL.iter().filter(wanted).collect());
    }
    let find = |name: &String| {
        contestants::ALL
            .iter()
            .find(|contestant| contestant.name == name)
            .with_context(|| format!("no contestant is called {name}; see --list"))
    };
    cli.only.iter().map(find).collect()
}

fn pick_loads(cli: &Cli) -> Result<Vec<&'static Load>> {
    if cli.load.is_empty() {
        return Ok(loads::ALL.iter().filter(|load| !cli.quick || load.quick).collect());
    }
    if cli.instructions {
        bail!("--instructions has one load, hello world; --load does not go with it");
    }
    let find = |name: &String| {
        loads::ALL
            .iter()
            .find(|load| load.name == name)
            .with_context(|| format!("no load is called {name}; see --list"))
    };
    cli.load.iter().map(find).collect()
}
