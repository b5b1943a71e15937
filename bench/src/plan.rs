//! What a run does, and how long that takes: a run is to end before people stop waiting for it.

use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;

use crate::contestants::Contestant;
use crate::loads::{Expected, Load};
use crate::{connections, footprint, groups, latency};

/// What there is to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// Requests per second, latency and processor time, load by load
    Speed,
    /// How long a small request waits beside one that keeps the GIL busy
    Latency,
    /// Start-up time and memory, also of many applications in one Apache
    Footprint,
    /// Idle persistent connections
    Connections,
    /// Hundreds of process groups
    Groups,
}

/// How to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
    pub(crate) contestants: Vec<&'static Contestant>,
    pub(crate) loads: Vec<&'static Load>,
    /// Rounds of every load, or what the load says.
    pub(crate) rounds: Option<u32>,
    /// Seconds per measurement.
    pub(crate) seconds: u32,
    /// The user named contestants or loads: one that cannot take part is an error, not a note, and
    /// everybody takes part in everything.
    pub(crate) named: bool,
}

/// What a measurement takes besides its seconds: checks, wrk's start, looks into /proc.
const AROUND: Duration = Duration::from_millis(120);
/// What a contestant takes to start, and in the end to stop.
const START: Duration = Duration::from_millis(1500);

impl Plan {
    /// Rounds of a load.
    pub(crate) fn rounds(&self, load: &Load) -> u32 {
        self.rounds.unwrap_or(load.rounds)
    }

    /// Measurements of a load in all.
    fn measurements(&self, load: &Load) -> u32 {
        let takes = |contestant: &&&'static Contestant| contestant.takes(load, self.named);
        self.contestants.iter().filter(takes).count() as u32 * self.rounds(load)
    }

    /// How long a load takes.
    pub(crate) fn time_of(&self, load: &Load) -> Duration {
        (Duration::from_secs(self.seconds.into()) + AROUND) * self.measurements(load)
    }

    /// How long a part takes.
    pub(crate) fn time(&self, part: Part) -> Duration {
        match part {
            Part::Speed => {
                let loads: Duration = self.loads.iter().map(|load| self.time_of(load)).sum();
                loads + START * self.contestants.len() as u32
            }
            Part::Latency => latency::TIME,
            Part::Footprint => footprint::time(self.contestants.len()),
            Part::Connections => connections::TIME,
            Part::Groups => groups::TIME,
        }
    }

    /// How long all of it takes, without building and installing.
    pub(crate) fn whole(&self) -> Duration {
        self.parts.iter().map(|part| self.time(*part)).sum()
    }

    /// Whether this module is compared with itself, and Apache's own handlers: no peer has a part.
    pub(crate) fn is_alone(&self) -> bool {
        let is_ours = |name: &str| name.starts_with("ours-") || matches!(name, "static" | "bare");
        self.named
            && self.parts == [Part::Speed]
            && self.contestants.iter().all(|contestant| is_ours(contestant.name))
            && self.loads.iter().all(|load| matches!(load.body, Expected::Made(_)))
    }

    /// The plan in words.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let name = part.to_possible_value();
            let name = name.as_ref().map_or("", |value| value.get_name());
            let _ = writeln!(text, "{:<30} {:>6}", name, minutes(self.time(*part)));
            if *part != Part::Speed {
                continue;
            }
            for load in &self.loads {
                let (rounds, count) = (self.rounds(load), self.measurements(load));
                let time = minutes(self.time_of(load));
                let _ = writeln!(
                    text,
                    "  {:<12} {rounds} rounds, {count:>4} measurements {time:>6}",
                    load.name
                );
            }
        }
        let _ = writeln!(text, "{:<30} {:>6}", "in all", minutes(self.whole()));
        text += "Building, and in a first run installing the peers, come before that.\n";
        text
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contestants, loads};

    #[test]
    fn the_usual_run_takes_less_than_a_quarter_of_an_hour() {
        let plan = Plan {
            parts: Part::value_variants().to_vec(),
            contestants: contestants::ALL.iter().filter(|one| one.usual).collect(),
            loads: loads::ALL.iter().filter(|load| load.usual).collect(),
            rounds: None,
            seconds: 1,
            named: false,
        };
        assert!(plan.whole() < Duration::from_secs(14 * 60 + 30), "{}", plan.text());
        assert!(plan.text().contains("in all"));
        assert!(!plan.is_alone());
    }

    #[test]
    fn this_module_alone_needs_no_peers() {
        let plan = |contestants: &[&str], loads: &[&str]| Plan {
            parts: vec![Part::Speed],
            contestants: contestants::ALL
                .iter()
                .filter(|one| contestants.contains(&one.name))
                .collect(),
            loads: loads::ALL.iter().filter(|load| loads.contains(&load.name)).collect(),
            rounds: None,
            seconds: 1,
            named: true,
        };
        assert!(plan(&["ours-embedded", "ours-recording", "bare"], &["hello-16"]).is_alone());
        assert!(!plan(&["ours-embedded", "c-embedded"], &["hello-16"]).is_alone());
        assert!(!plan(&["ours-embedded"], &["hello-16", "django-16"]).is_alone());
    }
}
