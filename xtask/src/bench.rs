//! `bench`: hands its arguments to the package `bench`, which is compiled only when it is wanted.

use anyhow::Result;

use crate::setup::{self, Missing, packages::Need};
use crate::shell::{cargo, run};

/// `cargo xtask bench`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Its own arguments; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the task.
pub(crate) fn bench(args: &Args) -> Result<()> {
    let given = |names: &[&str]| args.arguments.iter().any(|word| names.contains(&word.as_str()));
    // What only says something needs nothing.
    if !given(&["--help", "-h", "--list", "--plan"]) {
        let (program, need) = if given(&["--instructions"]) {
            ("valgrind", Need::Valgrind)
        } else {
            ("wrk", Need::Wrk)
        };
        setup::ensure_program(program, need, Missing::Ask)?;
    }
    // Not the release profile, whose linking costs a minute: the load comes from wrk.
    run(cargo().args(["run", "--quiet", "--package", "bench", "--"]).args(&args.arguments))
}
