//! The commands, and reading a command line.

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction};

use crate::error::Error;
use crate::options::{self, Group, Opt, Takes};
use crate::values::{self, Values};
use crate::words::{self, Words};

/// What mod_wsgi-express can be told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Doctor,
    InstallModule,
    ModuleConfig,
    ModuleLocation,
    /// Tells the tables of options, for what is made from them. Not shown to users.
    Options,
    SetupServer,
    StartServer,
}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The text to show instead of doing anything.
    Help(String),
    Run(Values),
}

static PYTHON: Opt = Opt::text("python", "PATH")
    .otherwise("the Python of this command, or else python3 on PATH")
    .help(
        "The Python to name: an executable, the prefix of an installation, or a virtual \
           environment.",
    )
    .makes("`WSGIPythonHome`");

static PYTHON_ONLY: Group = Group { title: "Options", about: "", options: &[PYTHON] };

static INSTALL: Group = Group {
    title: "Options",
    about: "",
    options: &[
        Opt::text("modules-directory", "DIRECTORY")
            .otherwise("the one apxs tells of")
            .help("Where to copy the module to.")
            .makes("the path in `LoadModule`"),
        PYTHON,
    ],
};

const JSON: Opt = Opt::flag("json").help("Report as JSON.").makes("JSON");

static REPORT: Group = Group { title: "Report", about: "", options: &[JSON] };

static EXAMINATION: Group = Group {
    title: "Report",
    about: "",
    options: &[
        JSON,
        Opt::flag("build")
            .help("Look at what building mod_wsgi on this machine needs, too.")
            .makes("findings about apxs, headers and Cargo"),
    ],
};

impl Command {
    /// Those that users are told of, in the order of the help text.
    pub(crate) const ALL: [Command; 6] = [
        Command::Doctor,
        Command::InstallModule,
        Command::ModuleConfig,
        Command::ModuleLocation,
        Command::SetupServer,
        Command::StartServer,
    ];

    pub(crate) fn named(name: &str) -> Option<Command> {
        let all = Command::ALL.into_iter().chain([Command::Options]);
        all.into_iter().find(|command| command.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Command::Doctor => "doctor",
            Command::InstallModule => "install-module",
            Command::ModuleConfig => "module-config",
            Command::ModuleLocation => "module-location",
            Command::Options => "options",
            Command::SetupServer => "setup-server",
            Command::StartServer => "start-server",
        }
    }

    /// What it does, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Command::Doctor => "Check Apache, Python, files and ports, and say how to mend them",
            Command::InstallModule => "Copy the module into Apache, and print its configuration",
            Command::ModuleConfig => "Print the lines that load the module into an Apache",
            Command::ModuleLocation => "Print the path of the Apache module",
            Command::Options => "List all options",
            Command::SetupServer => "Write the files of a server, with apachectl to start it",
            Command::StartServer => "Serve an application until Ctrl-C",
        }
    }

    /// The line that begins with "Usage:".
    pub(crate) fn usage(self) -> String {
        let rest = match self {
            Command::StartServer | Command::SetupServer => " script [options]",
            Command::Doctor => " [script] [options]",
            Command::InstallModule | Command::Options => " [options]",
            Command::ModuleConfig | Command::ModuleLocation => "",
        };
        format!("mod_wsgi-express {}{rest}", self.name())
    }

    /// The tables of its options.
    pub(crate) fn groups(self) -> Vec<&'static Group> {
        match self {
            Command::StartServer | Command::SetupServer => options::GROUPS.to_vec(),
            Command::Doctor => [&EXAMINATION].into_iter().chain(options::GROUPS).collect(),
            Command::InstallModule => vec![&INSTALL],
            Command::Options => vec![&REPORT],
            Command::ModuleConfig => vec![&PYTHON_ONLY],
            Command::ModuleLocation => Vec::new(),
        }
    }

    fn takes_entry_point(self) -> bool {
        matches!(self, Command::StartServer | Command::SetupServer | Command::Doctor)
    }

    /// Reads the words behind the command's name.
    pub(crate) fn parse(self, words: &[String]) -> Result<Parsed, Error> {
        let options: Vec<&'static Opt> =
            self.groups().into_iter().flat_map(|group| group.options).collect();
        let usage = |text: String| Error::usage(self, text);
        let words = match words::normalise(words, &options).map_err(usage)? {
            Words::Help => return Ok(Parsed::Help(self.clap().render_help().to_string())),
            Words::Options(words) => words,
        };
        let words = std::iter::once(self.name().to_owned()).chain(words);
        let matches = self.clap().try_get_matches_from(words).map_err(|e| usage(reworded(&e)))?;
        if !self.takes_entry_point() && matches.contains_id("entry") {
            return Err(usage("Incorrect number of arguments.".to_owned()));
        }
        Ok(Parsed::Run(Values::new(&matches, &options)))
    }

    /// The command as clap knows it.
    fn clap(self) -> clap::Command {
        let mut command = clap::Command::new("mod_wsgi-express")
            .about(self.about())
            .override_usage(self.usage())
            .disable_help_flag(true)
            .args_override_self(true)
            .arg(Arg::new("entry").num_args(0..).hide(true));
        for group in self.groups() {
            for opt in group.options {
                command = command.arg(arg(opt).help_heading(group.title));
            }
        }
        command.arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Show this text.")
                .help_heading("Help"),
        )
    }
}

fn arg(opt: &'static Opt) -> Arg {
    let arg = Arg::new(opt.name).long(opt.name).hide(opt.hidden).help(help(opt));
    let arg = match opt.takes {
        Takes::Flag => return arg.action(ArgAction::SetTrue),
        Takes::Text(_) | Takes::Pair(..) => arg,
        Takes::Integer(_) => arg.value_parser(ValueParser::new(values::integer)),
        Takes::Float(_) => arg.value_parser(ValueParser::new(values::float)),
    };
    let arg = arg
        .value_names(opt.metavars())
        .num_args(opt.metavars().len())
        .allow_hyphen_values(true)
        .action(if opt.repeats { ArgAction::Append } else { ArgAction::Set });
    match opt.default {
        Some(value) => arg.default_value(value).hide_default_value(opt.otherwise.is_some()),
        None => arg,
    }
}

fn help(opt: &Opt) -> String {
    let mut text = opt.help.to_owned();
    if opt.repeats {
        text.push_str(" Repeatable.");
    }
    if let Some(otherwise) = opt.otherwise {
        text.push_str(&format!(" [default: {otherwise}]"));
    }
    text
}

/// An error of clap's in the words that users of mod_wsgi-express know.
fn reworded(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match (error.kind(), context(ContextKind::InvalidArg), std::error::Error::source(error)) {
        (ErrorKind::ValueValidation, Some(name), Some(why)) => {
            let name = name.split(' ').next().unwrap_or(name);
            format!("option {name}: {why}")
        }
        // Names and numbers of values were checked before; this is what remains of clap's wisdom.
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(command: Command, words: &[&str]) -> Result<Values, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        match command.parse(&words) {
            Ok(Parsed::Run(values)) => Ok(values),
            Ok(Parsed::Help(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn clap_agrees_with_the_tables() {
        for command in Command::ALL {
            command.clap().debug_assert();
        }
    }

    #[test]
    fn values_have_their_types_and_defaults() {
        let values = parse(
            Command::StartServer,
            &[
                "a.py",
                "ignored",
                "--port=80",
                "--port",
                "0x50",
                "--setenv",
                "A",
                "-b",
                "--setenv=C=d",
                "",
                "--python-path=x",
                "--python-path=y",
            ],
        )
        .unwrap();
        assert_eq!(values.entry_point(), Some("a.py"));
        assert_eq!(values.integer("port"), Some(80));
        assert!(values.given("port") && !values.given("threads"));
        assert_eq!(values.integer("threads"), Some(5));
        assert_eq!(values.integer("max-clients"), None);
        assert_eq!(values.float("telemetry-interval"), Some(1.0));
        assert_eq!(values.texts("python-path"), ["x", "y"]);
        let pairs: Vec<(&str, &str)> =
            values.pairs("setenv").iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("A", "-b"), ("C=d", "")]);
    }

    #[test]
    fn the_named_entry_point_wins() {
        let values = parse(Command::SetupServer, &["a.py", "--entry-point", "b.py"]).unwrap();
        assert_eq!(values.entry_point(), Some("b.py"));
    }

    #[test]
    fn messages_are_those_users_know() {
        for (command, words, expect) in [
            (
                Command::StartServer,
                &["--port", "abc"][..],
                "option --port: invalid integer value: 'abc'",
            ),
            (
                Command::StartServer,
                &["--initial-workers=x"],
                "option --initial-workers: invalid floating-point value: 'x'",
            ),
            (Command::ModuleConfig, &["x"], "Incorrect number of arguments."),
            (Command::ModuleLocation, &["--port=1"], "no such option: --port"),
        ] {
            assert_eq!(parse(command, words).unwrap_err(), expect);
        }
    }

    #[test]
    fn help_shows_what_is_not_hidden() {
        let help = parse(Command::StartServer, &["--no-such", "-h"]).unwrap_err();
        assert_eq!(help, "no such option: --no-such");
        let help = parse(Command::StartServer, &["-h", "--no-such"]).unwrap_err();
        assert!(help.contains("Usage: mod_wsgi-express start-server script [options]\n"), "{help}");
        for opt in options::all() {
            let shown = help.contains(&format!("--{} ", opt.name))
                || help.contains(&format!("--{}\n", opt.name));
            assert_eq!(shown, !opt.hidden, "--{}", opt.name);
        }
    }
}
