//! The Markdown that a run prints.
//!
//! A ratio is the median of the ratios within each round, with the quartiles in brackets.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use crate::contestants::{self, REFERENCES};
use crate::lab::Lab;
use crate::loads;
use crate::plan::Plan;
use crate::process::output;
use crate::rounds::{NOISY, Results, Sample, Table};
use crate::stats::{Spread, median};
use crate::wrk;

/// What there is to choose from.
pub(crate) fn list() -> String {
    let mut text = String::from("Contestants (* in every run, q in --quick):\n");
    for contestant in contestants::ALL {
        let mark = match (contestant.quick, contestant.usual) {
            (true, _) => "*q",
            (_, true) => "* ",
            _ => "  ",
        };
        let _ = writeln!(text, "  {mark} {:<16} {}", contestant.name, contestant.about);
    }
    text += "Loads:\n";
    for load in loads::ALL {
        let mark = match (load.quick, load.usual) {
            (true, _) => "*q",
            (_, true) => "* ",
            _ => "  ",
        };
        let _ = writeln!(text, "  {mark} {:<16} {}", load.name, load.about);
    }
    text
}

/// The tables of all loads.
pub(crate) fn speed(results: &Results, plan: &Plan) -> String {
    let mut text = format!(
        "wrk -t1, {} s per measurement, interleaved, {} s in all; the body of every response was \
         compared. Ratios are medians of ratios within a round (quartiles in brackets); the rest are \
         medians. Times of processor and context switches are per request; *Python* is processes \
         that run nothing but Python.\n\n",
        plan.seconds,
        results.took.as_secs()
    );
    for table in &results.tables {
        text += &section(table);
    }
    if !results.notes.is_empty() {
        text += "Not everything went as planned:\n\n";
        for (name, note) in &results.notes {
            let _ = writeln!(text, "* {name} {note}");
        }
        text.push('\n');
    }
    text
}

/// When, where and what.
pub(crate) fn heading(lab: &Lab) -> String {
    let ask = |program: &str, arguments: &[&str]| {
        let text = output(Command::new(program).args(arguments).current_dir(crate::place::root()));
        text.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("unknown", |(_, name)| name);
    let peers: String =
        lab.peers.packages.iter().map(|(name, version)| format!("{name} {version}, ")).collect();
    format!(
        "{}, {} x {model}, Linux {}; Apache {} event, Python {}, {}wrk {}; this module at {}.\n\n",
        ask("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        crate::accounting::processors(),
        ask("uname", &["-r"]),
        lab.apache.version,
        lab.peers.version,
        peers,
        wrk::version(),
        ask("git", &["describe", "--always", "--dirty"]),
    )
}

fn section(table: &Table) -> String {
    let takes_part =
        |name: &&&str| table.rows.iter().any(|(contestant, _)| contestant.name == **name);
    let references: Vec<&str> = REFERENCES.iter().filter(takes_part).copied().collect();
    let rounds = table.rows.first().map_or(0, |(_, samples)| samples.len());
    let (noisy, all) = table.noise();
    let mut text = format!(
        "### {}: {}; {rounds} rounds, {noisy} of {all} measurements disturbed\n\n",
        table.load.name, table.load.about
    );
    text += "| contestant | req/s |";
    for reference in &references {
        let _ = write!(text, " / {reference} |");
    }
    text +=
        " / rival | CPU us Apache | CPU us Python | switches | p50 ms | p99 ms | p99 / rival |\n";
    text += &"|---".repeat(9 + references.len());
    text += "|\n";
    for (contestant, samples) in &table.rows {
        let good: Vec<&Sample> = samples.iter().flatten().collect();
        let of = |figure: &dyn Fn(&Sample) -> f64, digits: usize| match median(
            good.iter().map(|sample| figure(sample)),
        ) {
            Some(figure) => format!("{figure:.digits$}"),
            None => "-".to_owned(),
        };
        let per = |time: Duration, sample: &Sample| {
            time.as_secs_f64() * 1e6 / sample.seen.requests as f64
        };
        let _ = write!(text, "| {} | {} |", contestant.name, of(&Sample::rate, 0));
        for reference in &references {
            let ratio = table.ratio(contestant.name, reference, &Sample::rate);
            let _ = write!(text, " {} |", shown(ratio));
        }
        let rival = |figure: &dyn Fn(&Sample) -> f64| {
            shown(contestant.rival.and_then(|rival| table.ratio(contestant.name, rival, figure)))
        };
        let switches = |sample: &Sample| {
            let both = sample.usage.voluntary + sample.usage.involuntary;
            both as f64 / sample.seen.requests as f64
        };
        let _ = writeln!(
            text,
            " {} | {} | {} | {} | {} | {} | {} |",
            rival(&Sample::rate),
            of(&|sample| per(sample.usage.front, sample), 1),
            of(&|sample| per(sample.usage.python, sample), 1),
            of(&switches, 2),
            of(&Sample::p50, 2),
            of(&Sample::p99, 2),
            rival(&Sample::p99),
        );
    }
    text.push('\n');
    text
}

/// A ratio and its quartiles.
pub(crate) fn shown(ratio: Option<Spread>) -> String {
    match ratio {
        Some(ratio) => format!("{:.2} [{:.2}-{:.2}]", ratio.median, ratio.low, ratio.high),
        None => "-".to_owned(),
    }
}

/// Whether to believe it.
pub(crate) fn verdict(results: &Results) -> String {
    let noise = results.tables.iter().map(Table::noise);
    let (noisy, count) = noise.fold((0, 0), |sum, table| (sum.0 + table.0, sum.1 + table.1));
    let share = NOISY * 100.0;
    let mut text = format!(
        "{noisy} of {count} measurements had others use more than {share:.0} % of the machine.\n"
    );
    if noisy * 4 > count {
        text += "**The machine was too noisy**: repeat this on a quiet one before quoting it.\n";
    }
    text
}
