//! The options as they were given, typed, with plain defaults filled in.
//!
//! Names are those of the tables; asking for one that is not there, or as another type, is a
//! mistake in this program and ends it in a debug build. Commands with fewer options than
//! `start-server` have the others at nothing.

use std::collections::BTreeMap;

use clap::ArgMatches;
use serde::Serialize;

use crate::options::{Opt, Takes};

/// What one option says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Flag(bool),
    Text(String),
    Integer(i64),
    Float(f64),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// All options of a command line.
#[derive(Debug, Default, Clone)]
pub(crate) struct Values {
    values: BTreeMap<&'static str, Value>,
    given: Vec<&'static str>,
    /// The names there are, to notice questions about others.
    known: Vec<&'static str>,
    entry_point: Option<String>,
}

impl Values {
    pub(crate) fn new(matches: &ArgMatches, options: &[&'static Opt]) -> Values {
        let mut values =
            Values { entry_point: words(matches, "entry").next(), ..Values::default() };
        for opt in options {
            values.known.push(opt.name);
            let value = value(matches, opt);
            if matches.value_source(opt.name) == Some(clap::parser::ValueSource::CommandLine) {
                values.given.push(opt.name);
            }
            if let Some(value) = value {
                values.values.insert(opt.name, value);
            }
        }
        values
    }

    /// The entry point: the option, or else the first word that is none.
    pub(crate) fn entry_point(&self) -> Option<&str> {
        self.text("entry-point").or(self.entry_point.as_deref())
    }

    /// Whether the option was on the command line.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Value::Flag(true)))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn texts(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Value::Texts(texts)) => texts,
            _ => &[],
        }
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn float(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(Value::Float(number)) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn pairs(&self, name: &str) -> &[(String, String)] {
        match self.get(name) {
            Some(Value::Pairs(pairs)) => pairs,
            _ => &[],
        }
    }

    /// Puts another text in the place of an option's.
    pub(crate) fn replace(&mut self, name: &'static str, text: &str) {
        self.values.insert(name, Value::Text(text.to_owned()));
    }

    /// Name and value of each option that has one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        debug_assert!(
            self.known.contains(&name) || crate::options::all().any(|opt| opt.name == name),
            "there is no option --{name}"
        );
        self.values.get(name)
    }
}

fn value(matches: &ArgMatches, opt: &Opt) -> Option<Value> {
    match opt.takes {
        Takes::Flag => Some(Value::Flag(matches.get_flag(opt.name))),
        Takes::Pair(..) => {
            let occurrences = matches.get_occurrences::<String>(opt.name).into_iter().flatten();
            let pairs = occurrences.filter_map(|mut words| {
                let first = words.next()?;
                Some((first.clone(), words.next()?.clone()))
            });
            Some(Value::Pairs(pairs.collect()))
        }
        Takes::Text(_) if opt.repeats => Some(Value::Texts(words(matches, opt.name).collect())),
        Takes::Text(_) => words(matches, opt.name).next().map(Value::Text),
        Takes::Integer(_) => matches.get_one(opt.name).copied().map(Value::Integer),
        Takes::Float(_) => matches.get_one(opt.name).copied().map(Value::Float),
    }
}

fn words(matches: &ArgMatches, name: &str) -> impl Iterator<Item = String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned()
}

/// A whole number as Python's `optparse` reads one: `0x1f`, `0b11` and `017` are understood.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid integer value: '{text}'");
    let digits = text.trim();
    let lower = digits.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).map_err(|_| invalid());
    }
    if let Some(binary) = lower.strip_prefix("0b") {
        return i64::from_str_radix(binary, 2).map_err(|_| invalid());
    }
    match lower.strip_prefix('0') {
        Some("") | None => digits.parse().map_err(|_| invalid()),
        Some(octal) => {
            i64::from_str_radix(octal.strip_prefix('o').unwrap_or(octal), 8).map_err(|_| invalid())
        }
    }
}

/// A number with a fraction. Not-a-number passes here: which limits apply is said elsewhere.
pub(crate) fn float(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("invalid floating-point value: '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, expect) in [
            ("8000", 8000),
            ("-1", -1),
            ("0x1F", 31),
            ("0b11", 3),
            ("010", 8),
            ("0o10", 8),
            ("0", 0),
        ] {
            assert_eq!(integer(text), Ok(expect), "{text}");
        }
        for text in ["", "abc", "1.5", "08", "0x", "99999999999999999999", "1 2"] {
            assert_eq!(integer(text), Err(format!("invalid integer value: '{text}'")), "{text}");
        }
    }

    #[test]
    fn floats() {
        assert_eq!(float("0.5"), Ok(0.5));
        assert_eq!(float("1e-3"), Ok(0.001));
        assert_eq!(float("x"), Err("invalid floating-point value: 'x'".to_owned()));
    }
}
