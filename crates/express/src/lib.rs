//! mod_wsgi-express: an Apache of its own for one WSGI application, from one command.
//!
//! ```text
//! words        the command line, by the rules its users know
//!   -> values  the options, typed
//!   -> plan    every decision, from options and machine; nothing is touched yet
//!   -> files   the server root: httpd.conf, apachectl, handler.wsgi, ...
//!   -> launch  Apache
//! ```
//!
//! Options are data (`options`), generated files are templates (`templates/`), and what the machine
//! has is asked in one place (`machine`). The Python half, which runs inside Apache, is the package
//! `mod_wsgi.express` in `python/`.
//!
//! Not here: the module itself. Whatever it does, this program only writes its configuration.

mod access;
mod banner;
mod command;
mod docs;
mod doctor;
mod error;
mod files;
mod follow;
mod launch;
mod machine;
mod module;
mod options;
mod plan;
mod quote;
mod render;
mod root;
mod values;
mod words;

use std::io::Write;
use std::process::ExitCode;

use command::{Command, Parsed};
use error::{Error, Result};
use machine::Machine;
use plan::Plan;
use values::Values;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => return fail(&Error::other(format!("{word:?} is not UTF-8"))),
        }
    }
    let Some((name, words)) = words.split_first() else {
        return misused("No command was specified.");
    };
    match name.as_str() {
        "-h" | "--help" | "help" => return say(&help()),
        "-V" | "--version" => {
            return say(concat!("mod_wsgi-express ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        _ => {}
    }
    let Some(command) = Command::named(name) else {
        return misused("Invalid command was specified.");
    };
    match run(command, words) {
        Ok(status) => status,
        Err(error) => fail(&error),
    }
}

fn run(command: Command, words: &[String]) -> Result<ExitCode> {
    let variable = |name: &str| std::env::var(name).ok();
    let expanded: Vec<String> = words.iter().map(|word| words::expand(word, variable)).collect();
    let values = match command.parse(&expanded)? {
        Parsed::Help(text) => return Ok(say(&text)),
        Parsed::Run(values) => values,
    };
    match command {
        Command::ModuleLocation => module::location().map(|text| say(&text)),
        Command::ModuleConfig => module::config(&values).map(|text| say(&text)),
        Command::InstallModule => module::install(&values).map(|text| say(&text)),
        Command::Doctor => {
            let report = doctor::examine(&values);
            say(&if values.flag("json") { report.json() } else { report.text() });
            Ok(ExitCode::from(u8::from(!report.is_healthy())))
        }
        Command::Options if values.flag("json") => Ok(say(&docs::json()?)),
        Command::Options => Ok(say(&docs::markdown())),
        Command::SetupServer | Command::StartServer => serve(command, &values, words),
    }
}

/// Sets a server up, and starts it if that was asked for.
fn serve(command: Command, values: &Values, words: &[String]) -> Result<ExitCode> {
    let machine = Machine::look(values)?;
    let mut record = vec!["mod_wsgi-express".to_owned(), command.name().to_owned()];
    record.extend(words.iter().map(|word| word.replace(['\n', '\r'], " ")));
    let plan = Plan::new(command, values, &machine, &record)?;
    let setup = command == Command::SetupServer || values.flag("setup-only");
    if !setup {
        launch::check(&plan)?;
    }
    let (root, odd) = root::Root::open(
        plan.paths.root.as_ref(),
        plan.paths.is_default_root,
        files::owner(&plan, &machine),
    )?;
    for warning in plan.warnings.iter().chain(&odd) {
        eprintln!("mod_wsgi-express: warning: {warning}");
    }
    files::write(&plan, &root, values)?;
    report(&plan)?;
    // Whoever reads this may be gone: the files are there all the same.
    let status = say(&banner::banner(&plan, values, setup));
    if setup {
        return Ok(status);
    }
    launch::start(&plan, root)
}

/// Tells a Python program that called us what was decided, in the file it asks for.
fn report(plan: &Plan) -> Result<()> {
    let Some(path) = std::env::var_os("MOD_WSGI_EXPRESS_REPORT").filter(|p| !p.is_empty()) else {
        return Ok(());
    };
    let path = std::path::Path::new(&path);
    let text = plan.summary().to_string();
    std::fs::write(path, text).map_err(|e| Error::file("write", path, &e))
}

/// Writes to standard output, which may be closed.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

fn usage() -> String {
    let mut text = "Usage: mod_wsgi-express command [params]\n\nCommands:\n".to_owned();
    for command in Command::ALL {
        text.push_str(&format!("    {}\n", command.name()));
    }
    text
}

fn help() -> String {
    let mut text = "mod_wsgi-express: an Apache of its own for one WSGI application\n\n\
                    Usage: mod_wsgi-express command [params]\n\nCommands:\n"
        .to_owned();
    for command in Command::ALL {
        text.push_str(&format!("    {:<17}{}\n", command.name(), command.about()));
    }
    text.push_str(
        "\n`mod_wsgi-express command --help` lists the options of a command,\n\
         `mod_wsgi-express --version` shows the version.\n",
    );
    text
}

fn misused(text: &str) -> ExitCode {
    eprintln!("{}\nmod_wsgi-express: error: {text}", usage());
    ExitCode::from(2)
}

fn fail(error: &Error) -> ExitCode {
    if std::env::var_os("MOD_WSGI_EXPRESS_CALLER").is_some_and(|caller| caller == "runmodwsgi") {
        // The way Django tells of a command that failed.
        eprintln!("CommandError: {error}");
        return ExitCode::FAILURE;
    }
    if let Some(usage) = error.usage_line() {
        eprintln!("Usage: {usage}\n");
    }
    eprintln!("mod_wsgi-express: error: {error}");
    ExitCode::from(error.exit_status())
}
