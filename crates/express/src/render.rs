//! The templates, and the ways a value can be written in them.
//!
//! A template can be read next to the file it makes. It may leave things out and repeat them; what
//! needs thinking is in the plan. Every value goes through the filter that suits its place:
//!
//! | filter | writes |
//! |---|---|
//! | `q` | one argument of a directive |
//! | `dir` | the same where Apache would take it as a pattern |
//! | `onoff` | `On` or `Off` |
//! | `sh` | one word of a shell script |
//! | `py` | a Python literal |
//!
//! <https://docs.rs/minijinja/latest/minijinja/syntax/>

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::quote;

/// Name and text of each template.
const TEMPLATES: [(&str, &str); 16] = [
    ("apachectl", include_str!("../templates/apachectl")),
    ("default.wsgi", include_str!("../templates/default.wsgi")),
    ("handler.wsgi", include_str!("../templates/handler.wsgi")),
    ("httpd.conf", include_str!("../templates/httpd.conf")),
    ("httpd/extras.conf", include_str!("../templates/httpd/extras.conf")),
    ("httpd/handlers.conf", include_str!("../templates/httpd/handlers.conf")),
    ("httpd/hosts.conf", include_str!("../templates/httpd/hosts.conf")),
    ("httpd/logs.conf", include_str!("../templates/httpd/logs.conf")),
    ("httpd/modules.conf", include_str!("../templates/httpd/modules.conf")),
    ("httpd/mpm.conf", include_str!("../templates/httpd/mpm.conf")),
    ("httpd/server.conf", include_str!("../templates/httpd/server.conf")),
    ("httpd/site.conf", include_str!("../templates/httpd/site.conf")),
    ("httpd/wsgi.conf", include_str!("../templates/httpd/wsgi.conf")),
    ("package.py", include_str!("../templates/package.py")),
    ("resource.wsgi", include_str!("../templates/resource.wsgi")),
    ("telemetry-service.py", include_str!("../templates/telemetry-service.py")),
];

/// Fills a template in.
pub(crate) fn render(name: &str, values: impl Serialize) -> Result<String> {
    let broken = |e: minijinja::Error| Error::other(format!("template {name}: {e:#}"));
    let environment = environment().map_err(broken)?;
    let template = environment.get_template(name).map_err(broken)?;
    Ok(one_blank_line(&template.render(values).map_err(broken)?))
}

fn environment() -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // What is written here is no HTML, whatever a template's name ends in.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.add_filter("q", |text: &str| quote::apache(text));
    environment.add_filter("dir", |text: &str| quote::directory(text));
    environment.add_filter("sh", |text: &str| quote::shell(text));
    environment.add_filter("onoff", |on: bool| if on { "On" } else { "Off" });
    environment.add_filter("py", python);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// A literal of Python: its strings may be written as those of JSON are.
fn python(value: Value) -> std::result::Result<String, minijinja::Error> {
    match value.kind() {
        ValueKind::Bool => Ok(if value.is_true() { "True" } else { "False" }.to_owned()),
        ValueKind::None => Ok("None".to_owned()),
        ValueKind::String => serde_json::to_string(value.as_str().unwrap_or_default())
            .map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string())),
        kind => Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("no Python literal for a value of kind {kind}"),
        )),
    }
}

/// What was left out leaves blank lines behind.
fn one_blank_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = true;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() && blank {
            continue;
        }
        blank = line.is_empty();
        out.push_str(line);
        out.push('\n');
    }
    while out.ends_with("\n\n") {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_templates_parse() {
        environment().unwrap();
    }

    #[test]
    fn literals_of_python() {
        for (value, expect) in [
            (Value::from("it's \"a\"\\ \n"), r#""it's \"a\"\\ \n""#),
            (Value::from(true), "True"),
            (Value::from(()), "None"),
        ] {
            assert_eq!(python(value).unwrap(), expect);
        }
        assert!(python(Value::from(1)).is_err());
    }

    #[test]
    fn blank_lines() {
        assert_eq!(one_blank_line("\n\na  \n\n\n\nb\n\n"), "a\n\nb\n");
    }
}
