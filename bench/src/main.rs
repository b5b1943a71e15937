//! The benchmark: this module against its peers, in interleaved rounds of one run.
//!
//! Absolute figures of a shared machine mean little, so every figure that counts is a ratio of two
//! measurements made seconds apart, and a run says how much of the machine others used meanwhile.
//! Peers come from PyPI into a virtual environment under `target/bench`; the load generator is
//! [wrk](https://github.com/wg/wrk). Adding a contestant is one entry in `contestants.rs`, adding a
//! load one in `loads.rs`. `--instructions` counts instead of timing: see `instructions.rs`.

mod accounting;
mod build;
mod configs;
mod connections;
mod contestants;
mod crowd;
mod floors;
mod footprint;
mod groups;
mod http;
mod httpd;
mod instructions;
mod lab;
mod latency;
mod loads;
mod memory;
mod peers;
mod place;
mod plan;
mod process;
mod publish;
mod report;
mod rounds;
mod stats;
mod wrk;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use contestants::Contestant;
use lab::Lab;
use loads::Load;
use plan::{Part, Plan};

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
    /// Only these parts [default: all of them; speed with --quick, --only or --load]
    #[arg(long, value_name = "PART,...", value_delimiter = ',', conflicts_with = "instructions")]
    part: Vec<Part>,
    /// Print what would be done and how long it takes
    #[arg(long, conflicts_with = "instructions")]
    plan: bool,
    /// Write the result into README.md and docs/benchmark.md, too
    #[arg(long, conflicts_with_all = ["instructions", "quick", "only", "load", "part"])]
    publish: bool,
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
    let plan = make_plan(cli)?;
    if cli.plan {
        print!("{}", plan.text());
        return Ok(ExitCode::SUCCESS);
    }
    let timed = |part: &Part| matches!(part, Part::Speed | Part::Connections);
    if !cli.instructions && plan.parts.iter().any(timed) {
        wrk::check()?;
    }
    let alone = match cli.instructions {
        true => instructions::is_alone(&cli.only),
        false => plan.is_alone(),
    };
    let wanted = if alone { peers::Wanted::Nothing } else { peers::Wanted::All };
    let lab = Lab::set_up(&cli.python, cli.cache.as_deref(), !cli.no_build, wanted)?;
    if cli.instructions {
        return instructions::run(&lab, &cli.only, cli.keep.as_deref());
    }
    eprint!("{}", plan.text());
    let written = measure(&lab, &plan)?;
    if cli.publish {
        publish::write(&written)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a run wrote.
struct Written {
    /// Date, machine, versions, and the floors.
    short: String,
    /// Every table.
    tables: String,
}

/// Each part is printed when it is done, so that a run that is interrupted has said something.
fn measure(lab: &Lab, plan: &Plan) -> Result<Written> {
    let heading = report::heading(lab);
    print!("{heading}");
    let (mut results, mut footprint) = (None, None);
    let mut tables = String::new();
    for part in &plan.parts {
        let text = match part {
            Part::Speed => {
                let found = rounds::run(lab, plan)?;
                let text = report::speed(&found, plan);
                results = Some(found);
                text
            }
            Part::Latency => latency::run(lab),
            Part::Footprint => {
                let found = footprint::run(lab, &plan.contestants);
                let text = found.markdown();
                footprint = Some(found);
                text
            }
            Part::Connections => connections::run(lab, plan),
            Part::Groups => groups::run(lab),
        };
        print!("{text}");
        tables += &text;
    }
    let mut short = heading;
    if results.is_some() || footprint.is_some() {
        short += &floors::markdown(results.as_ref(), footprint.as_ref());
    }
    if let Some(results) = &results {
        short += &report::verdict(results);
    }
    println!("### In short\n\n{short}");
    Ok(Written { short, tables })
}

fn make_plan(cli: &Cli) -> Result<Plan> {
    let named = !cli.only.is_empty() || !cli.load.is_empty();
    let mut parts = cli.part.clone();
    if parts.is_empty() {
        parts = match named || cli.quick {
            true => vec![Part::Speed],
            false => Part::value_variants().to_vec(),
        };
    }
    parts.sort_unstable();
    parts.dedup();
    Ok(Plan {
        parts,
        contestants: pick_contestants(cli)?,
        loads: pick_loads(cli)?,
        rounds: cli.rounds.or(cli.quick.then_some(3)),
        seconds: cli.seconds,
        named,
    })
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
        return Ok(loads::ALL
            .iter()
            .filter(|load| if cli.quick { load.quick } else { load.usual })
            .collect());
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
