//! What a contestant takes before anybody asks for speed: time to its first answer, memory, and
//! both again with many applications in one Apache.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::configs;
use crate::contestants::Contestant;
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::memory::Memory;
use crate::stats::median;

/// Starts whose median counts.
const STARTS: u32 = 5;
/// Starts of many applications.
const STARTS_OF_MANY: u32 = 3;
/// Requests before memory is looked at.
const REQUESTS: u32 = 2000;
/// How many applications.
const APPLICATIONS: [u32; 3] = [1, 10, 50];
/// Nothing takes longer to answer, five hundred processes on a busy machine included.
const LIMIT: Duration = Duration::from_secs(180);

/// How long this takes.
pub(crate) fn time(contestants: usize) -> Duration {
    Duration::from_millis(3500) * contestants as u32 + Duration::from_secs(40)
}

/// Everything that was found, by name.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    contestants: Vec<Row>,
    many: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    found: Result<Found, String>,
}

/// What was found about one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Until everything had answered, in milliseconds.
    pub(crate) start: f64,
    pub(crate) memory: Memory,
}

impl Footprint {
    /// What was found about a contestant.
    pub(crate) fn contestant(&self, name: &str) -> Option<Found> {
        find(&self.contestants, name)
    }

    /// What was found about that many applications.
    pub(crate) fn many(&self, count: u32, who: &str, mode: &str) -> Option<Found> {
        find(&self.many, &name_of(count, who, mode))
    }

    /// Two tables.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "### Start and memory\n\n\
             Medians of {STARTS} starts, each until the first answer; memory after {REQUESTS} \
             requests, proportional set size.\n\n\
             | contestant | ms to first answer | MiB Apache | MiB Python | MiB per Python process \
             | processes |\n\
             |---|---|---|---|---|---|\n"
        );
        self.contestants.iter().for_each(|found| row(&mut text, found));
        text += "\n### Applications in one Apache\n\n\
                 Each in an interpreter of its own (embedded) or a process group of its own with 5 \
                 threads (daemon), each asked once.\n\n\
                 | applications | ms until all answered | MiB Apache | MiB Python | MiB per Python \
                 process | processes |\n\
                 |---|---|---|---|---|---|\n";
        self.many.iter().for_each(|found| row(&mut text, found));
        text.push('\n');
        text
    }
}

fn find(rows: &[Row], name: &str) -> Option<Found> {
    rows.iter().find(|row| row.name == name)?.found.as_ref().ok().copied()
}

fn name_of(count: u32, who: &str, mode: &str) -> String {
    format!("{count} x {who}, {mode}")
}

/// Looks at the contestants, and at many applications in both modes of both modules.
pub(crate) fn run(lab: &Lab, contestants: &[&'static Contestant]) -> Footprint {
    let mut all = Footprint::default();
    for contestant in contestants {
        eprintln!("footprint of {}", contestant.name);
        let found = repeat(STARTS, |number| {
            let requests = if number == 0 { REQUESTS } else { 1 };
            look(&[String::from("/hello")], requests, || (contestant.start)(lab))
        });
        all.contestants.push(Row { name: contestant.name.to_owned(), found: said(found) });
    }
    for (who, module) in [("C", lab.peers.c_module()), ("ours", lab.module().map(Into::into))] {
        for mode in ["embedded", "daemon"] {
            for count in APPLICATIONS {
                let name = name_of(count, who, mode);
                eprintln!("footprint of {name}");
                let found = module.as_deref().map_err(|error| anyhow::anyhow!("{error:#}"));
                let found = found.and_then(|module| {
                    let lines = configs::many(lab, module, count, mode == "daemon")?;
                    let paths: Vec<String> =
                        (0..count).map(|number| format!("/app{number}")).collect();
                    repeat(STARTS_OF_MANY, |_| look(&paths, 1, || lab.httpd("many", &lines)))
                });
                all.many.push(Row { name, found: said(found) });
            }
        }
    }
    all
}

/// Medians of times, and the memory of the first start, which had more requests.
fn repeat(times: u32, start: impl FnMut(u32) -> Result<Found>) -> Result<Found> {
    let found = (0..times).map(start).collect::<Result<Vec<_>>>()?;
    let memory = found.first().context("nothing was found")?.memory;
    let start = median(found.iter().map(|found| found.start)).unwrap_or(f64::NAN);
    Ok(Found { start, memory })
}

fn said(found: Result<Found>) -> Result<Found, String> {
    found.map_err(|error| {
        eprintln!("{error:#}");
        format!("{error:#}").lines().next().unwrap_or_default().to_owned()
    })
}

fn row(text: &mut String, row: &Row) {
    // Writing to a string does not fail.
    let _ = match &row.found {
        Ok(Found { start, memory }) => {
            let python = match memory.python.processes {
                0 => "- | -".to_owned(),
                _ => format!("{:.1} | {:.1}", memory.python.mib(), memory.python.mib_each()),
            };
            writeln!(
                text,
                "| {} | {start:.0} | {:.1} | {python} | {} |",
                row.name,
                memory.apache().mib(),
                memory.all().processes
            )
        }
        Err(reason) => writeln!(text, "| {} | {reason} | - | - | - | - |", row.name),
    };
}

/// Starts something, waits until every path has answered, sends requests, and looks.
pub(crate) fn look(
    paths: &[String],
    requests: u32,
    start: impl FnOnce() -> Result<Running>,
) -> Result<Found> {
    let clock = Instant::now();
    let mut server = start()?;
    for path in paths {
        while let Err(error) = ask(server.port, path, 1) {
            server.check()?;
            if clock.elapsed() > LIMIT {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let start = clock.elapsed().as_secs_f64() * 1e3;
    for path in paths {
        ask(server.port, path, requests)?;
    }
    Ok(Found { start, memory: Memory::of(&server.pids())? })
}

fn ask(port: u16, path: &str, times: u32) -> Result<()> {
    let mut connection = Connection::open(port)?;
    for _ in 0..times {
        let response = connection.request(path, None)?;
        if response.status != 200 || response.body != b"Hello, world!" {
            bail!("{path} answered {} with {} bytes", response.status, response.body.len());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_failed_is_a_row_without_figures() {
        let found = Found { start: 12.0, memory: Memory::default() };
        let good = Row { name: name_of(50, "ours", "daemon"), found: Ok(found) };
        let bad = Row { name: "c-embedded".to_owned(), found: Err("no module".to_owned()) };
        let all = Footprint { contestants: vec![bad], many: vec![good] };
        assert_eq!(all.many(50, "ours", "daemon").unwrap().start, 12.0);
        assert!(all.contestant("c-embedded").is_none());
        let text = all.markdown();
        assert!(text.contains("| c-embedded | no module | - |"), "{text}");
        assert!(text.contains("| 50 x ours, daemon | 12 | 0.0 | - | - | 0 |"), "{text}");
    }
}
