//! What this module has to reach, and whether it does: the short form of a run.
//!
//! The floors are a promise to users, so a run says of each what it measured; where a figure was not
//! measured, it says that.

use std::fmt::Write;

use crate::footprint::Footprint;
use crate::rounds::{Results, Sample};
use crate::stats::Spread;

/// A bound for a ratio of two contestants.
struct Floor {
    what: &'static str,
    load: &'static str,
    who: &'static str,
    to: &'static str,
    figure: fn(&Sample) -> f64,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => figure >= bound,
            Bound::AtMost(bound) => figure <= bound,
        }
    }

    fn shown(self) -> String {
        match self {
            Bound::AtLeast(bound) => format!("at least {bound:.2}"),
            Bound::AtMost(bound) => format!("at most {bound:.2}"),
        }
    }
}

const HELLO: Floor = Floor {
    what: "",
    load: "hello-16",
    who: "",
    to: "",
    figure: Sample::rate,
    bound: Bound::AtLeast(1.0),
};

const FLOORS: &[Floor] = &[
    Floor {
        what: "hello world embedded / a static file",
        who: "ours-embedded",
        to: "static",
        bound: Bound::AtLeast(1.15),
        ..HELLO
    },
    Floor {
        what: "hello world embedded / mod_wsgi 6.1.1 embedded",
        who: "ours-embedded",
        to: "c-embedded",
        bound: Bound::AtLeast(2.8),
        ..HELLO
    },
    Floor {
        what: "hello world in daemon mode / a static file",
        who: "ours-daemon-16",
        to: "static",
        bound: Bound::AtLeast(1.0),
        ..HELLO
    },
    Floor {
        what: "hello world in daemon mode / mod_wsgi 6.1.1, 16 threads each",
        who: "ours-daemon-16",
        to: "c-daemon-16",
        bound: Bound::AtLeast(3.5),
        ..HELLO
    },
    Floor {
        what: "the same with 5 threads each",
        who: "ours-daemon-5",
        to: "c-daemon-5",
        bound: Bound::AtLeast(3.5),
        ..HELLO
    },
    Floor {
        what: "the same with 1 thread each",
        who: "ours-daemon-1",
        to: "c-daemon-1",
        bound: Bound::AtLeast(3.5),
        ..HELLO
    },
    Floor {
        what: "the same with 2 processes of 8 threads each",
        who: "ours-daemon-2x8",
        to: "c-daemon-2x8",
        bound: Bound::AtLeast(3.5),
        ..HELLO
    },
    Floor {
        what: "hello world in daemon mode / Apache to Granian by mod_proxy_http",
        who: "ours-daemon-16",
        to: "apache-granian",
        bound: Bound::AtLeast(1.4),
        ..HELLO
    },
    Floor {
        what: "p99 embedded / mod_wsgi 6.1.1 embedded",
        who: "ours-embedded",
        to: "c-embedded",
        figure: Sample::p99,
        bound: Bound::AtMost(1.0),
        ..HELLO
    },
    Floor {
        what: "p99 in daemon mode / mod_wsgi 6.1.1, 16 threads each",
        who: "ours-daemon-16",
        to: "c-daemon-16",
        figure: Sample::p99,
        bound: Bound::AtMost(1.0),
        ..HELLO
    },
    Floor {
        what: "p50 with 1 connection in daemon mode / mod_wsgi 6.1.1",
        load: "hello-1",
        who: "ours-daemon-16",
        to: "c-daemon-16",
        figure: Sample::p50,
        bound: Bound::AtMost(0.5),
    },
    Floor {
        what: "Django page in daemon mode / Granian without Apache, 16 threads each",
        load: "django-16",
        who: "ours-daemon-16",
        to: "granian-16",
        bound: Bound::AtLeast(0.9),
        ..HELLO
    },
];

/// The figures besides speed: what, ours and theirs in MiB.
fn memory(footprint: &Footprint) -> Vec<(String, Option<(f64, f64)>)> {
    let mut all = Vec::new();
    for (ours, theirs) in [("ours-daemon-16", "c-daemon-16"), ("ours-daemon-1", "c-daemon-1")] {
        let each = |name| Some(footprint.contestant(name)?.memory.python.mib_each());
        let figure = each(ours).zip(each(theirs));
        all.push((format!("memory of a worker ({ours}) / mod_wsgi 6.1.1, MiB"), figure));
    }
    // C workers are forked from a parent that has Python mapped, which therefore bears a share of
    // it; what one worker more adds to the sum of all processes does not depend on that.
    let more = |who| {
        let [few, many] =
            [10, 50].map(|count| Some(footprint.many(count, who, "daemon")?.memory.all().mib()));
        Some((many? - few?) / 40.0)
    };
    let figure = more("ours").zip(more("C"));
    all.push(("memory of one worker more / mod_wsgi 6.1.1, MiB".to_owned(), figure));
    for mode in ["embedded", "daemon"] {
        let whole = |who| Some(footprint.many(50, who, mode)?.memory.all().mib());
        let figure = whole("ours").zip(whole("C"));
        all.push((format!("memory of 50 applications, {mode} / mod_wsgi 6.1.1, MiB"), figure));
    }
    all
}

/// A table of the floors. `instructions` is not measured here.
pub(crate) fn markdown(results: Option<&Results>, footprint: Option<&Footprint>) -> String {
    let mut text = String::from("| ratio | wanted | measured | |\n|---|---|---|---|\n");
    for floor in FLOORS {
        let figure = results.and_then(|results| measured(floor, results));
        let shown = crate::report::shown(figure);
        let verdict = verdict(floor.bound, figure.map(|figure| figure.median));
        let _ =
            writeln!(text, "| {} | {} | {shown} | {verdict} |", floor.what, floor.bound.shown());
    }
    let bound = Bound::AtMost(1.0);
    for (what, figure) in footprint.map(memory).unwrap_or_default() {
        let ratio = figure.map(|(ours, theirs)| ours / theirs);
        let shown = match (figure, ratio) {
            (Some((ours, theirs)), Some(ratio)) => format!("{ratio:.2} ({ours:.1} / {theirs:.1})"),
            _ => "-".to_owned(),
        };
        let _ =
            writeln!(text, "| {what} | {} | {shown} | {} |", bound.shown(), verdict(bound, ratio));
    }
    text.push('\n');
    text
}

fn measured(floor: &Floor, results: &Results) -> Option<Spread> {
    let table = results.tables.iter().find(|table| table.load.name == floor.load)?;
    table.ratio(floor.who, floor.to, &floor.figure)
}

fn verdict(bound: Bound, figure: Option<f64>) -> &'static str {
    match figure {
        Some(figure) if bound.holds(figure) => "met",
        Some(_) => "**not met**",
        None => "not measured",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contestants, loads};

    #[test]
    fn every_floor_is_measured_by_the_usual_run() {
        for floor in FLOORS {
            let load = loads::ALL.iter().find(|load| load.name == floor.load);
            assert!(load.is_some_and(|load| load.usual), "{}", floor.load);
            for name in [floor.who, floor.to] {
                let found = contestants::ALL.iter().find(|contestant| contestant.name == name);
                let takes = found.zip(load).is_some_and(|(contestant, load)| {
                    contestant.usual && contestant.takes(load, false)
                });
                assert!(takes, "{name} in {}", floor.load);
            }
        }
    }

    #[test]
    fn nothing_measured_is_nothing_met() {
        let text = markdown(None, None);
        assert!(text.contains("| not measured |") && !text.contains("| met |"), "{text}");
        assert_eq!(verdict(Bound::AtLeast(1.0), Some(1.0)), "met");
        assert_eq!(verdict(Bound::AtMost(1.0), Some(1.1)), "**not met**");
    }
}
