//! The Markdown that a run prints.
//!
//! A ratio is the median of the ratios within each round, with the quartiles in brackets; rounds in
//! which either side was disturbed are left out as long as three good ones remain.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use crate::contestants::{self, REFERENCES};
use crate::lab::Lab;
use crate::loads;
use crate::process::output;
use crate::rounds::{NOISY, Plan, Results, Sample, Table};
use crate::stats::{median, spread};
use crate::wrk;

/// Good rounds that are enough to leave out the disturbed ones.
const ENOUGH: usize = 3;

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
        let mark = if load.quick { "*q" } else { "* " };
        let _ = writeln!(text, "  {mark} {:<16} {}", load.name, load.about);
    }
    text
}

/// The whole report.
pub(crate) fn markdown(lab: &Lab, results: &Results, plan: &Plan) -> String {
    let mut text = heading(lab);
    let _ = writeln!(
        text,
        "wrk -t1, {} s per measurement, interleaved, {} s in all. Ratios are medians of ratios \
         within a round (quartiles in brackets); the rest are medians.\n",
        plan.seconds,
        results.took.as_secs()
    );
    for table in &results.tables {
        text += &section(table);
    }
    if !results.notes.is_empty() {
        text += "Not everybody made it:\n\n";
        for (name, note) in &results.notes {
            let _ = writeln!(text, "* {name} {note}");
        }
        text.push('\n');
    }
    text += &verdict(results);
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
    let mut text = format!("### {}: {}; rounds: {rounds}\n\n", table.load.name, table.load.about);
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
            let _ = write!(text, " {} |", ratio(table, samples, reference, &Sample::rate));
        }
        let p99 = |sample: &Sample| sample.seen.p99.as_secs_f64() * 1e3;
        let rival = |figure: &dyn Fn(&Sample) -> f64| match contestant.rival {
            Some(rival) => ratio(table, samples, rival, figure),
            None => "-".to_owned(),
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
            of(&|sample| sample.seen.p50.as_secs_f64() * 1e3, 2),
            of(&p99, 2),
            rival(&p99),
        );
    }
    text.push('\n');
    text
}

/// Median and quartiles of the ratios to another contestant, round by round.
fn ratio(
    table: &Table,
    samples: &[Option<Sample>],
    other: &str,
    figure: &dyn Fn(&Sample) -> f64,
) -> String {
    let Some((_, others)) = table.rows.iter().find(|(contestant, _)| contestant.name == other)
    else {
        return "-".to_owned();
    };
    let pairs: Vec<(&Sample, &Sample)> =
        samples.iter().zip(others).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?))).collect();
    let quiet: Vec<_> = pairs.iter().filter(|(a, b)| !a.noisy() && !b.noisy()).copied().collect();
    let used = if quiet.len() >= ENOUGH { &quiet } else { &pairs };
    match spread(used.iter().map(|(a, b)| figure(a) / figure(b))) {
        Some(ratio) => format!("{:.2} [{:.2}-{:.2}]", ratio.median, ratio.low, ratio.high),
        None => "-".to_owned(),
    }
}

/// Whether to believe it.
fn verdict(results: &Results) -> String {
    let samples = results.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.1);
    let (mut count, mut noisy) = (0, 0);
    for sample in samples.flatten() {
        count += 1;
        noisy += usize::from(sample.noisy());
    }
    let share = NOISY * 100.0;
    let mut text = format!(
        "{noisy} of {count} measurements had others use more than {share:.0} % of the machine.\n"
    );
    if noisy * 4 > count {
        text += "**The machine was too noisy**: repeat this on a quiet one before quoting it.\n";
    }
    text
}
