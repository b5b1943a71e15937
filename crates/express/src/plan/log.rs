//! Where errors, requests and the words before the start are logged.

use std::fs::OpenOptions;

use serde::Serialize;

use super::Paths;
use super::paths::{given, writable};
use crate::machine::Machine;
use crate::quote::piped;
use crate::values::Values;

/// The logs, as arguments of Apache's directives and as paths to show.
#[derive(Debug, Serialize)]
pub(crate) struct Log {
    #[serde(skip)]
    pub(crate) directory: String,
    #[serde(skip)]
    terminal: bool,
    #[serde(skip)]
    rotation: Option<Rotation>,
    /// The argument of `ErrorLog`.
    error: String,
    #[serde(skip)]
    pub(crate) error_path: String,
    /// The argument of `CustomLog`.
    access: String,
    #[serde(skip)]
    pub(crate) access_path: String,
    /// The format of the access log if it is none of the well-known ones.
    custom: Option<String>,
    nickname: String,
    pub(crate) startup: Option<String>,
}

#[derive(Debug)]
struct Rotation {
    program: String,
    size: i64,
}

impl Log {
    pub(super) fn new(values: &Values, machine: &Machine, paths: &Paths) -> Result<Log, String> {
        let given = given(values, machine, "log-directory")?;
        let terminal = values.flag("log-to-terminal") && given.is_none();
        let directory = given.unwrap_or_else(|| paths.root.clone());
        let name = |option| values.text(option).unwrap_or_default();
        let rotation = match values.flag("rotate-logs") && !terminal {
            true => Some(Rotation {
                program: rotatelogs(machine)?,
                size: values.integer("max-log-size").unwrap_or_default(),
            }),
            false => None,
        };
        let format = values.text("access-log-format").unwrap_or("common");
        let known = ["common", "combined"].contains(&format);
        let mut log = Log {
            error: String::new(),
            error_path: String::new(),
            access: String::new(),
            access_path: String::new(),
            custom: (!known).then(|| format.to_owned()),
            nickname: if known { format } else { "custom" }.to_owned(),
            startup: None,
            directory,
            terminal,
            rotation,
        };
        log.error_path = log.path(name("error-log-name"), "/dev/stderr");
        log.access_path = log.path(name("access-log-name"), "/dev/stdout");
        log.error = log.target(&log.error_path);
        log.access = log.target(&log.access_path);
        log.startup = values.flag("startup-log").then(|| {
            format!("{}/{}", log.directory.trim_end_matches('/'), name("startup-log-name"))
        });
        Ok(log)
    }

    /// The argument of `ErrorLog` for a log of somebody else in the same directory.
    pub(super) fn another(&self, name: &str) -> String {
        self.target(&self.path(name, "/dev/stderr"))
    }

    /// Whether full logs are put aside.
    pub(crate) fn rotates(&self) -> bool {
        self.rotation.is_some()
    }

    /// The program that puts full logs aside, if it is needed and not there.
    pub(super) fn missing_program(&self) -> Option<&str> {
        let program = self.rotation.as_ref()?.program.as_str();
        crate::machine::program(program).is_none().then_some(program)
    }

    fn path(&self, name: &str, terminal: &str) -> String {
        if self.terminal {
            return terminal.to_owned();
        }
        format!("{}/{name}", self.directory.trim_end_matches('/'))
    }

    fn target(&self, path: &str) -> String {
        if let Some(rotation) = &self.rotation {
            // rotatelogs puts the date where a per cent sign stands.
            let pattern = format!("{}.%Y-%m-%d-%H_%M_%S", path.replace('%', "%%"));
            return format!("|{} {} {}M", piped(&rotation.program), piped(&pattern), rotation.size);
        }
        if self.terminal && !can_be_opened(path) {
            // A socket, such as systemd's journal, cannot be opened by name, but written to.
            return match path {
                "/dev/stdout" => "|/bin/cat".to_owned(),
                _ => "|/bin/sh -c \"exec cat 1>&2\"".to_owned(),
            };
        }
        path.to_owned()
    }
}

/// The program, by its path if it was found.
fn rotatelogs(machine: &Machine) -> Result<String, String> {
    let program = machine.apache.rotatelogs.to_string_lossy();
    match program.contains('/') {
        true => writable("--rotatelogs-executable", &program, machine),
        false => Ok(program.into_owned()),
    }
}

/// Tries as Apache will, without harm to what was written before.
fn can_be_opened(path: &str) -> bool {
    OpenOptions::new().append(true).open(path).is_ok()
}
