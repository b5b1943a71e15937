//! What a request that waits often has to wait for more in a crowd of small ones.
//!
//! Each of its waits gives the GIL away and has to get it back. A server whose threads keep it for one
//! small request after another makes each of them last until the switch interval is over.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::lab::{Lab, Running};
use crate::loads::{self, Load};
use crate::stats::median;
use crate::{contestants, rounds, wrk};

const ASKED: &[&str] = &["c-daemon-16", "ours-daemon-16", "apache-granian"];
const ROUNDS: u32 = 3;

/// Milliseconds, round by round.
#[derive(Debug, Default)]
struct Waits {
    alone: Vec<f64>,
    beside: Vec<f64>,
}

/// A table.
pub(crate) fn run(lab: &Lab) -> String {
    let mut text = String::from(
        "### A request with many waits in a crowd\n\n\
         One connection asks for 20 times `time.sleep(0.0002)`, again and again, alone and while 15 \
         others ask for hello world. Medians of the rounds' p50.\n\n\
         | contestant | p50 ms alone | p50 ms beside | ratio |\n\
         |---|---|---|---|\n",
    );
    for name in ASKED {
        eprintln!("starting {name}, waits in a crowd");
        let _ = match measure(lab, name) {
            Ok(Waits { alone, beside }) => {
                let ratios = beside.iter().zip(&alone).map(|(beside, alone)| beside / alone);
                let ratios = ratios.collect::<Vec<_>>();
                let middle = |values: Vec<f64>| median(values).unwrap_or(0.0);
                let (alone, beside) = (middle(alone), middle(beside));
                writeln!(text, "| {name} | {alone:.2} | {beside:.2} | {:.2} |", middle(ratios))
            }
            Err(error) => writeln!(text, "| {name} | {error:#} | - | - |"),
        };
    }
    text.push('\n');
    text
}

fn measure(lab: &Lab, name: &str) -> Result<Waits> {
    let mut server = contestants::start(name, lab)?;
    rounds::wait(&mut server)?;
    let (waits, hello) = (load("waits-1")?, load("hello-15")?);
    let mut found = Waits::default();
    for _ in 0..ROUNDS {
        found.alone.push(middle(lab, &server, waits)?);
        let beside = std::thread::scope(|scope| {
            let crowd = scope.spawn(|| middle(lab, &server, hello));
            let beside = middle(lab, &server, waits);
            crowd.join().map_err(|_| anyhow!("the crowd has gone"))??;
            beside
        });
        found.beside.push(beside?);
    }
    Ok(found)
}

/// The median of a second of a load, in milliseconds.
fn middle(lab: &Lab, server: &Running, load: &Load) -> Result<f64> {
    let script = lab.app().join("report.lua");
    let seen = wrk::run(&script, server.port, load, &lab.expected(load), 1)?;
    let p50: Duration = seen.p50;
    Ok(p50.as_secs_f64() * 1e3)
}

fn load(name: &str) -> Result<&'static Load> {
    loads::ALL.iter().find(|load| load.name == name).context("there is no such load")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn its_loads_exist() {
        assert_eq!(load("waits-1").unwrap().connections, 1);
        assert_eq!(load("hello-15").unwrap().connections, 15);
    }
}
