//! From the words of the command line to words that clap takes as they are meant.
//!
//! The command line of mod_wsgi-express has always followed the rules of Python's `optparse`, and
//! scripts depend on where they differ from clap's: a prefix of a name is enough, an option with
//! two values takes the first from behind a `=`, a value may begin with a dash, and `$NAME` stands
//! for a variable of the environment even where the shell was told to leave it alone. Those rules
//! are here; what remains for clap is unambiguous.
//!
//! <https://docs.python.org/3/library/optparse.html>

use crate::options::{Opt, Takes};

/// Words that clap understands, or a request for help.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Words {
    Help,
    Options(Vec<String>),
}

/// Replaces `$NAME` and `${NAME}` by what `variable` knows; unknown names stay as they are.
pub(crate) fn expand(word: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((name, length)) = variable_name(rest) else {
            out.push('$');
            rest = &rest[1..];
            continue;
        };
        match variable(name) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The name behind a dollar sign, and how much of the text it takes with the sign.
fn variable_name(text: &str) -> Option<(&str, usize)> {
    let after = text.strip_prefix('$')?;
    if let Some(braced) = after.strip_prefix('{') {
        let end = braced.find('}')?;
        return Some((&braced[..end], end + 3));
    }
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
    (end > 0).then(|| (&after[..end], end + 1))
}

/// Spells out what the words mean. `Err` is the message for the user.
pub(crate) fn normalise(words: &[String], options: &[&'static Opt]) -> Result<Words, String> {
    let mut found = Vec::new();
    let mut positional = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            positional.extend(words.cloned());
            break;
        }
        let Some(long) = word.strip_prefix("--") else {
            if word == "-h" {
                return Ok(Words::Help);
            }
            if let (true, Some(letter)) = (word.starts_with('-'), word.chars().nth(1)) {
                return Err(format!("no such option: -{letter}"));
            }
            positional.push(word.clone());
            continue;
        };
        let (given, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let name = complete(given, options)?;
        let Some(opt) = options.iter().find(|opt| spelled(opt, name)) else {
            return match attached {
                None => Ok(Words::Help),
                Some(_) => Err("--help option does not take a value".to_owned()),
            };
        };
        let wanted = opt.metavars().len();
        let mut values: Vec<String> = attached.into_iter().collect();
        if values.len() > wanted {
            return Err(format!("--{name} option does not take a value"));
        }
        values.extend(words.by_ref().take(wanted - values.len()).cloned());
        if values.len() < wanted {
            let plural = if wanted == 1 { "" } else { "s" };
            return Err(format!("--{name} option requires {wanted} argument{plural}"));
        }
        match opt.takes {
            Takes::Pair(..) => {
                found.push(format!("--{}", opt.name));
                found.append(&mut values);
            }
            Takes::Flag => found.push(format!("--{}", opt.name)),
            _ => found.push(format!("--{}={}", opt.name, values.concat())),
        }
    }
    if !positional.is_empty() {
        found.push("--".to_owned());
        found.append(&mut positional);
    }
    Ok(Words::Options(found))
}

fn spelled(opt: &Opt, name: &str) -> bool {
    opt.name == name || opt.alias == Some(name)
}

/// The full name that was meant.
fn complete<'a>(given: &'a str, options: &[&'static Opt]) -> Result<&'a str, String> {
    let names = || options.iter().flat_map(|opt| [Some(opt.name), opt.alias]).flatten();
    let mut matching: Vec<&'static str> =
        names().chain(["help"]).filter(|name| name.starts_with(given)).collect();
    if let Some(exact) = matching.iter().find(|name| **name == given) {
        return Ok(exact);
    }
    matching.sort_unstable();
    match matching.as_slice() {
        [] => Err(format!("no such option: --{given}")),
        [one] => Ok(one),
        several => {
            let list: Vec<String> = several.iter().map(|name| format!("--{name}")).collect();
            Err(format!("ambiguous option: --{given} ({}?)", list.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options;

    fn check(words: &[&str], expect: Result<&[&str], &str>) {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let all: Vec<_> = options::all().collect();
        let expect = expect
            .map(|words| Words::Options(words.iter().map(|&word| word.to_owned()).collect()))
            .map_err(str::to_owned);
        assert_eq!(normalise(&words, &all), expect);
    }

    #[test]
    fn options_and_entry_point_mix() {
        check(
            &["--port", "80", "app.py", "--http2"],
            Ok(&["--port=80", "--http2", "--", "app.py"]),
        );
        check(&["--", "--port"], Ok(&["--", "--port"]));
        check(&["-"], Ok(&["--", "-"]));
    }

    #[test]
    fn a_prefix_is_enough_if_it_is_one_of_one_name() {
        check(&["--thr", "2"], Ok(&["--threads=2"]));
        check(&["--https-p=1"], Ok(&["--https-port=1"]));
        check(&["--ssl-port", "443"], Ok(&["--https-port=443"]));
        check(
            &["--lo", "x"],
            Err("ambiguous option: --lo (--locale, --log-directory, --log-level, \
                 --log-to-terminal?)"),
        );
        check(&["--nope"], Err("no such option: --nope"));
        check(&["-x"], Err("no such option: -x"));
        // One name is the beginning of another.
        check(&["--python", "x"], Ok(&["--python=x"]));
        check(&["--host", "x"], Ok(&["--host=x"]));
    }

    #[test]
    fn values_are_taken_whatever_they_look_like() {
        check(&["--telemetry-options", "-None"], Ok(&["--telemetry-options=-None"]));
        check(&["--host", "--port"], Ok(&["--host=--port"]));
        check(&["--host="], Ok(&["--host="]));
        check(&["--setenv", "--", "-x"], Ok(&["--setenv", "--", "-x"]));
        check(&["--setenv=A", "b"], Ok(&["--setenv", "A", "b"]));
    }

    #[test]
    fn too_many_and_too_few_values() {
        check(&["--setenv", "A"], Err("--setenv option requires 2 arguments"));
        check(&["--port"], Err("--port option requires 1 argument"));
        check(&["--access-log=1"], Err("--access-log option does not take a value"));
        check(&["--help=1"], Err("--help option does not take a value"));
    }

    #[test]
    fn options_of_older_releases_are_refused() {
        for name in ["with-newrelic", "with-newrelic-agent", "newrelic-config-file", "isatty"] {
            let text = format!("no such option: --{name}");
            check(&[&format!("--{name}")], Err(&text));
        }
    }

    #[test]
    fn variables() {
        let known = |name: &str| (name == "A").then(|| "1".to_owned());
        for (word, expect) in [
            ("$A", "1"),
            ("${A}b$B", "1b$B"),
            ("$Ab", "$Ab"),
            ("${B}", "${B}"),
            ("a$", "a$"),
            ("$$A", "$1"),
            ("${A", "${A"),
            ("%{GLOBAL}", "%{GLOBAL}"),
            ("é$A", "é1"),
        ] {
            assert_eq!(expand(word, known), expect, "{word}");
        }
    }
}
