//! Directives about interpreters, and the block that says them for some interpreters only.

use std::marker::PhantomData;

use wsgi_config::words::Words;

use super::{Contexts, Directive, Line, Setter, Target, table};
use crate::interpreters::Block;
use crate::settings::Global;

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"<WSGIInterpreterOptions",
            contexts: Contexts::SERVER,
            help: c"Container for options of some interpreters: [process-group=NAME] [application-group=NAME].",
            default: "none",
            setter: Setter::Block(block::<R>),
        },
        Directive {
            name: c"WSGIFreeThreading",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable running without the GIL (free-threaded builds of Python).",
            default: "Off",
            setter: Setter::Flag(|target, on| target.global.free_threading = Some(on)),
        },
        Directive {
            name: c"WSGIInterpreterReplicas",
            contexts: Contexts::SERVER,
            help: c"Number of interpreters with a GIL of their own that serve an application group (Python 3.12+).",
            default: "1",
            setter: Setter::Word(|target, number| {
                let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                let number = number.filter(|number| (1..=MOST_REPLICAS).contains(number));
                let number = number.ok_or_else(|| {
                    format!("WSGIInterpreterReplicas must be a number from 1 to {MOST_REPLICAS}.")
                })?;
                target.global.interpreter_replicas = Some(number);
                Ok(())
            }),
        },
    ];
}

/// More interpreters than this in one process is a mistake: each is a copy of the application.
const MOST_REPLICAS: u32 = 64;

/// What may stand in the block.
const INSIDE: [&str; 8] = [
    "WSGIPerInterpreterGIL",
    "WSGIInterpreterReplicas",
    "WSGIFreeThreading",
    "WSGISwitchInterval",
    "WSGIPythonPath",
    "WSGIRestrictStdin",
    "WSGIRestrictStdout",
    "WSGIRestrictSignal",
];

fn block<R: 'static>(
    global: &mut Global,
    arguments: &[u8],
    lines: &[Line],
) -> Result<(), (Option<usize>, String)> {
    let mut block = selectors(arguments).map_err(|text| (None, text))?;
    for (at, line) in lines.iter().enumerate() {
        inside::<R>(&mut block.options, line).map_err(|text| (Some(at), text))?;
    }
    global.interpreter_options.push(block);
    Ok(())
}

fn selectors(arguments: &[u8]) -> Result<Block, String> {
    const NAME: &str = "<WSGIInterpreterOptions>";
    let Some(end) = arguments.iter().rposition(|byte| *byte == b'>') else {
        return Err(format!("{NAME} directive missing closing '>'"));
    };
    let mut words = Words::new(&arguments[..end]);
    let mut block = Block::default();
    while let Some(option) = words.option() {
        let (key, value) = option.map_err(|_| {
            let word = words.clone().word().unwrap_or_default();
            format!("{NAME}: argument '{}' is not of the form key=value", word.escape_ascii())
        })?;
        let value = if value == b"%{GLOBAL}" { Vec::new() } else { value };
        let (name, field) = match key.to_ascii_lowercase().as_slice() {
            b"process-group" => ("process-group", &mut block.process_group),
            b"application-group" => ("application-group", &mut block.application_group),
            _ => {
                return Err(format!(
                    "{NAME}: unknown selector '{}', expected process-group or application-group",
                    key.escape_ascii()
                ));
            }
        };
        if field.replace(value).is_some() {
            return Err(format!("{NAME}: {name} given more than once"));
        }
    }
    Ok(block)
}

/// Applies a line of a block to what the block says.
fn inside<R: 'static>(options: &mut Global, line: &Line) -> Result<(), String> {
    let name = &line.directive;
    let known = INSIDE.iter().any(|inside| name.eq_ignore_ascii_case(inside.as_bytes()));
    let directive = table::<R>()
        .into_iter()
        .flatten()
        .find(|directive| known && name.eq_ignore_ascii_case(directive.name().as_bytes()))
        .ok_or_else(|| {
            format!("{} is not allowed within <WSGIInterpreterOptions>", name.escape_ascii())
        })?;
    let mut words = Words::new(&line.arguments);
    let (Some(word), None) = (words.word(), words.word()) else {
        let help = directive.help.to_string_lossy();
        return Err(format!("{} takes one argument, {help}", directive.name()));
    };
    Target::only(options, |target| directive.apply(target, &word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};
    use super::*;

    fn read_block(arguments: &str, lines: &[&str]) -> Result<Block, (Option<usize>, String)> {
        let lines: Vec<Line> = lines
            .iter()
            .map(|line| {
                let (directive, arguments) = line.split_once(' ').unwrap_or((line, ""));
                Line { directive: directive.into(), arguments: arguments.into() }
            })
            .collect();
        let mut global = Global::default();
        block::<()>(&mut global, arguments.as_bytes(), &lines)?;
        Ok(global.interpreter_options.pop().unwrap())
    }

    #[test]
    fn a_block() {
        let block = read_block(
            " Process-Group=%{GLOBAL} application-group=\"my shop\" >",
            &["WSGIPerInterpreterGIL On", "wsgiswitchinterval 0.5", "WSGIPythonPath \"/a b:/c\""],
        )
        .unwrap();
        assert_eq!(block.process_group.as_deref(), Some(&b""[..]));
        assert_eq!(block.application_group.as_deref(), Some(&b"my shop"[..]));
        assert_eq!(block.options.per_interpreter_gil, Some(true));
        assert_eq!(block.options.switch_interval, Some(0.5));
        assert_eq!(block.options.python_path.as_deref(), Some(&b"/a b:/c"[..]));
        let empty = read_block(">", &[]).unwrap();
        assert_eq!((empty.process_group, empty.application_group), (None, None));
        let nameless = read_block("application-group=>", &[]).unwrap();
        assert_eq!(nameless.application_group.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn errors() {
        for (arguments, lines, at, text) in [
            ("", &[][..], None, "<WSGIInterpreterOptions> directive missing closing '>'"),
            (
                "shop>",
                &[],
                None,
                "<WSGIInterpreterOptions>: argument 'shop' is not of the form key=value",
            ),
            (
                "process-group=a PROCESS-GROUP=b>",
                &[],
                None,
                "<WSGIInterpreterOptions>: process-group given more than once",
            ),
            (
                "application-group=a application-group=a>",
                &[],
                None,
                "<WSGIInterpreterOptions>: application-group given more than once",
            ),
            (
                "host=a>",
                &[],
                None,
                "<WSGIInterpreterOptions>: unknown selector 'host', expected process-group or application-group",
            ),
            (
                ">",
                &["WSGIFreeThreading On", "Listen 80"],
                Some(1),
                "Listen is not allowed within <WSGIInterpreterOptions>",
            ),
            (
                ">",
                &["WSGIPythonHome /x"],
                Some(0),
                "WSGIPythonHome is not allowed within <WSGIInterpreterOptions>",
            ),
            (
                ">",
                &["WSGIRestrictStdin On Off"],
                Some(0),
                "WSGIRestrictStdin takes one argument, Enable/Disable restrictions on use of STDIN.",
            ),
            (
                ">",
                &["WSGIRestrictStdin yes"],
                Some(0),
                "WSGIRestrictStdin must be one of: Off | On",
            ),
        ] {
            let error = read_block(arguments, lines).unwrap_err();
            assert_eq!(error, (at, text.to_owned()));
        }
    }

    #[test]
    fn replicas_are_a_number() {
        let global = read("WSGIInterpreterReplicas 4").unwrap().global;
        assert_eq!(global.interpreter_replicas, Some(4));
        for bad in ["0", "-1", "65", "two", "2x"] {
            refused(
                &format!("WSGIInterpreterReplicas {bad}"),
                "WSGIInterpreterReplicas must be a number from 1 to 64.",
            );
        }
    }
}
