//! `cargo xtask`: everything one does with this workspace besides writing code.
//!
//! Here is only the dispatch; one file per task. Nothing of the workspace's crates is linked, so
//! this compiles in seconds and works while they do not.

mod bench;
mod build;
mod dist;
mod elf;
mod install;
mod module_config;
mod serve;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, build, install, serve and test mod_wsgi.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check that this machine can build and serve; install what is missing (root)
    Setup(setup::SetupArgs),
    /// Build the module and one engine per Python into target/dist
    Build(build::Args),
    /// Print the LoadModule and WSGIPythonHome lines of the last build
    ModuleConfig(module_config::Args),
    /// Put the last build into Apache's directory of modules, and print its configuration lines
    Install(install::Args),
    /// Build for every Python and make a wheel and a source archive of it
    Dist(dist::Args),
    /// Build, and serve an application on a private Apache until Ctrl-C
    Serve(serve::Args),
    /// Run everything CI checks
    Test(test::Args),
    /// Measure this module against its peers (see `bench --help`)
    Bench(bench::Args),
    /// House lints: module docs, layer arrows, log codes, change notes
    Tidy,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Setup(args) => setup::setup(&args),
        Task::Build(args) => build::run(&args),
        Task::ModuleConfig(args) => module_config::run(&args),
        Task::Install(args) => install::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Serve(args) => serve::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::bench(&args),
        Task::Tidy => tidy::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Reported>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A failure that was already told.
#[derive(Debug)]
struct Reported;

impl std::fmt::Display for Reported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Reported {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
