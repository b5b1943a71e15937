//! Many process groups in one Apache: start-up, memory and descriptors, and whether they grow in
//! step with the number of groups.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::configs;
use crate::footprint;
use crate::lab::Lab;

/// How long this takes.
pub(crate) const TIME: Duration = Duration::from_secs(75);

/// How many groups.
const COUNTS: [u32; 3] = [1, 100, 500];

/// A table, and the costs of one more group.
pub(crate) fn run(lab: &Lab) -> String {
    let mut text = String::from(
        "### Process groups\n\n\
         Each group is one process with 5 threads and an application of its own, asked once. The last \
         line of each is what one more group costs between 100 and 500, beside what it cost between \
         1 and 100: equal figures are linear growth.\n\n\
         | groups | ms until all answered | MiB parent | MiB children | MiB supervisor and log relay \
         | MiB workers | descriptors parent | children | supervisor and log relay |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    if let Err(error) = crate::connections::allow(8192) {
        eprintln!("note: {error:#}");
    }
    for (who, module) in [("C", lab.peers.c_module()), ("ours", lab.module().map(Into::into))] {
        let mut all = Vec::new();
        for count in COUNTS {
            eprintln!("{count} groups of {who}");
            let found = module
                .as_deref()
                .map_err(|error| anyhow::anyhow!("{error:#}"))
                .and_then(|module| look(lab, module, count));
            match found {
                Ok(figures) => {
                    let _ = write!(text, "| {count} x {who}");
                    for (figure, column) in figures.iter().zip(COLUMNS) {
                        let _ = write!(text, " | {figure:.*}", column.digits);
                    }
                    text += " |\n";
                    all.push(figures);
                }
                Err(error) => {
                    eprintln!("{count} groups of {who}: {error:#}");
                    let error = format!("{error:#}");
                    let first = error.lines().next().unwrap_or_default();
                    let _ = writeln!(text, "| {count} x {who} | {first} |{}", " - |".repeat(7));
                }
            }
        }
        if let [one, some, many] = all.as_slice() {
            text += &slopes(who, one, some, many);
        }
    }
    text.push('\n');
    text
}

struct Column {
    digits: usize,
}

const COLUMNS: [Column; 8] = [
    Column { digits: 0 },
    Column { digits: 1 },
    Column { digits: 1 },
    Column { digits: 1 },
    Column { digits: 1 },
    Column { digits: 0 },
    Column { digits: 0 },
    Column { digits: 0 },
];

/// One figure per column.
type Figures = [f64; COLUMNS.len()];

fn look(lab: &Lab, module: &std::path::Path, count: u32) -> Result<Figures> {
    let lines = configs::many(lab, module, count, true)?;
    let paths: Vec<String> = (0..count).map(|number| format!("/app{number}")).collect();
    let found = footprint::look(&paths, 1, || lab.httpd("groups", &lines)).context("no groups")?;
    let memory = found.memory;
    Ok([
        found.start,
        memory.parent.mib(),
        memory.children.mib(),
        memory.helpers.mib(),
        memory.python.mib(),
        memory.parent.descriptors as f64,
        memory.children.descriptors as f64,
        memory.helpers.descriptors as f64,
    ])
}

fn slopes(who: &str, one: &Figures, some: &Figures, many: &Figures) -> String {
    let [first, second] = [(one, some, COUNTS[1] - COUNTS[0]), (some, many, COUNTS[2] - COUNTS[1])]
        .map(|(from, to, between)| {
            let mut slope = [0.0; COLUMNS.len()];
            for (slope, (from, to)) in slope.iter_mut().zip(from.iter().zip(to)) {
                *slope = (to - from) / f64::from(between);
            }
            slope
        });
    let mut text = format!("| one more of {who}");
    for (before, after) in first.iter().zip(second) {
        let _ = write!(text, " | {after:.3} ({before:.3})");
    }
    text + " |\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_growth_has_one_slope() {
        let at = |groups: f64| [3.0 + 2.0 * groups; COLUMNS.len()];
        let text = slopes("ours", &at(1.0), &at(100.0), &at(500.0));
        assert!(text.starts_with("| one more of ours | 2.000 (2.000) | "), "{text}");
    }
}
