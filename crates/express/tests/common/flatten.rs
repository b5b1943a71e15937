//! Apache's configuration as Apache would see it: conditions decided, variables replaced, quotes
//! gone, one directive per line with its sections before it.
//!
//! Two files that say the same in different ways come out the same.

use std::collections::{BTreeMap, BTreeSet};

/// One line per directive. `DaemonProcess` lines are one line per option.
pub fn flatten(
    conf: &str,
    defines: &[&str],
    environment: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut state = State {
        defines: defines.iter().copied().collect(),
        // What our Apache, which is none, has built in.
        modules: BTreeSet::from(
            ["core_module", "so_module", "http_module", "unixd_module"].map(str::to_owned),
        ),
        sections: Vec::new(),
        lines: Vec::new(),
    };
    for line in joined(conf) {
        state.line(&expand(line.trim(), environment));
    }
    assert!(state.sections.is_empty(), "sections are open at the end: {:?}", state.sections);
    state.lines
}

struct State<'a> {
    defines: BTreeSet<&'a str>,
    modules: BTreeSet<String>,
    sections: Vec<Section>,
    lines: Vec<String>,
}

#[derive(Debug)]
enum Section {
    /// Of Apache's, as text.
    Real(String),
    /// A condition and whether it holds.
    If(String, bool),
}

impl State<'_> {
    fn line(&mut self, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if let Some(name) = line.strip_prefix("</") {
            let section = self.sections.pop().unwrap_or_else(|| panic!("nothing to end: {line}"));
            let (Section::Real(text) | Section::If(text, _)) = section;
            let name = name.trim_end_matches('>');
            assert!(text.starts_with(name), "{text} ended by {line}");
            return;
        }
        let words = words(line.trim_start_matches('<').trim_end_matches('>'));
        if line.starts_with('<') {
            let condition = words.get(1).map(String::as_str).unwrap_or_default();
            let (negated, name) = match condition.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, condition),
            };
            let section = match words[0].as_str() {
                "IfDefine" => Section::If(words[0].clone(), self.defines.contains(name) != negated),
                "IfModule" => Section::If(words[0].clone(), self.modules.contains(name) != negated),
                _ => Section::Real(words.join(" ")),
            };
            self.sections.push(section);
            if matches!(self.sections.last(), Some(Section::Real(_))) {
                self.push("");
            }
            return;
        }
        if self.sections.iter().any(|section| matches!(section, Section::If(_, false))) {
            return;
        }
        if words[0].eq_ignore_ascii_case("LoadModule") {
            self.modules.insert(words[1].clone());
            self.push(&format!("LoadModule {}", words[1..].join(" ")));
            return;
        }
        match words[0].as_str() {
            "WSGIDaemonProcess" => {
                self.push(&format!("{} {}", words[0], words[1]));
                for option in &words[2..] {
                    self.push(&format!("{} {} : {option}", words[0], words[1]));
                }
            }
            _ => self.push(&words.join(" ")),
        }
    }

    fn push(&mut self, text: &str) {
        let open = self.sections.iter().all(|section| !matches!(section, Section::If(_, false)));
        if !open {
            return;
        }
        let mut line = String::new();
        for section in &self.sections {
            if let Section::Real(name) = section {
                line.push_str(&format!("<{name}> "));
            }
        }
        // A line that was continued has blanks where the parts met.
        line.extend(text.split_whitespace().flat_map(|word| [word, " "]));
        self.lines.push(line.trim_end().to_owned());
    }
}

/// Lines with those that follow a backslash.
fn joined(conf: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in conf.lines() {
        match line.strip_suffix('\\') {
            Some(begin) => open.push_str(begin),
            None => {
                lines.push(std::mem::take(&mut open) + line);
            }
        }
    }
    assert!(open.is_empty());
    lines
}

fn expand(line: &str, environment: &BTreeMap<String, String>) -> String {
    let mut line = line.to_owned();
    for (key, value) in environment {
        line = line.replace(&format!("${{{key}}}"), value);
    }
    line
}

/// Words as Apache reads them. An option's value may be quoted on its own.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.trim().chars().peekable();
    while chars.peek().is_some() {
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote) {
                ('\\', Some(q)) if chars.peek().is_some_and(|&next| next == q || next == '\\') => {
                    word.extend(chars.next());
                }
                ('"' | '\'', None) if word.is_empty() || word.ends_with('=') => quote = Some(c),
                (c, Some(q)) if c == q => break,
                (c, None) if c.is_whitespace() => break,
                (c, _) => word.push(c),
            }
        }
        words.push(word);
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
    }
    words
}

/// What one list of lines has and another has not, and the other way round, in order.
pub fn delta(before: &[String], after: &[String]) -> Vec<String> {
    let only = |these: &[String], those: &[String], sign: &str| {
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for line in those {
            *left.entry(line).or_default() += 1;
        }
        let mut found = Vec::new();
        for line in these {
            match left.get_mut(line.as_str()).filter(|count| **count > 0) {
                Some(count) => *count -= 1,
                None => found.push(format!("{sign} {line}")),
            }
        }
        found
    };
    let mut lines = only(before, after, "-");
    lines.extend(only(after, before, "+"));
    lines
}
