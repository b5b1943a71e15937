//! Interleaved rounds: every contestant once per round, in another order each time, so that what
//! disturbs the machine for a while disturbs everybody.
//!
//! Before each measurement the response is checked byte for byte, and after it the bytes wrk
//! counted: a server that is quick because it sends errors or nothing does not get into the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::accounting::{self, Usage};
use crate::contestants::Contestant;
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::loads::Load;
use crate::wrk::{self, Seen};

/// Above this share of the machine used by others, a measurement counts as disturbed.
pub(crate) const NOISY: f64 = 0.12;

/// How to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rounds of every load, or what the load says.
    pub(crate) rounds: Option<u32>,
    /// Seconds per measurement.
    pub(crate) seconds: u32,
    /// The user named the contestants: one that cannot take part is an error, not a note.
    pub(crate) named: bool,
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) seen: Seen,
    pub(crate) usage: Usage,
    /// Share of the machine that neither the contestant nor the load generator used.
    pub(crate) foreign: f64,
}

impl Sample {
    pub(crate) fn rate(&self) -> f64 {
        self.seen.requests as f64 / self.seen.duration.as_secs_f64()
    }

    pub(crate) fn noisy(&self) -> bool {
        self.foreign > NOISY
    }
}

/// What a load gave.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) load: &'static Load,
    /// Contestants in the order of the list, each with one sample per round, or none where it
    /// failed in that round.
    pub(crate) rows: Vec<(&'static Contestant, Vec<Option<Sample>>)>,
}

/// What a run gave.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
    /// Contestant or load to why it took no part, or failed.
    pub(crate) notes: BTreeMap<&'static str, String>,
    pub(crate) took: Duration,
}

/// Runs everything.
pub(crate) fn run(
    lab: &Lab,
    contestants: &[&'static Contestant],
    loads: &[&'static Load],
    plan: &Plan,
) -> Result<Results> {
    let began = Instant::now();
    let mut results = Results::default();
    let mut running: Vec<(&'static Contestant, Running)> = Vec::new();
    for contestant in contestants {
        eprintln!("starting {}", contestant.name);
        match start(lab, contestant) {
            Ok(server) => running.push((contestant, server)),
            Err(error) if plan.named => return Err(error.context(contestant.name)),
            Err(error) => {
                eprintln!("note: {} takes no part: {error:#}", contestant.name);
                let reason = format!("{error:#}");
                let first = reason.lines().next().unwrap_or_default();
                results.notes.insert(contestant.name, format!("took no part: {first}"));
            }
        }
    }
    for load in loads {
        if let Err(error) = lab.body(load) {
            results.notes.insert(load.name, format!("was left out: {error:#}"));
            continue;
        }
        let table = measure(lab, &mut running, load, plan, &mut results.notes)?;
        results.tables.push(table);
    }
    results.took = began.elapsed();
    Ok(results)
}

fn start(lab: &Lab, contestant: &Contestant) -> Result<Running> {
    let mut server = (contestant.start)(lab)?;
    let end = Instant::now() + Duration::from_secs(20);
    // A front end answers before what is behind it does.
    loop {
        server.check()?;
        match ask(server.port, "/hello", None, b"Hello, world!") {
            Ok(_) => return Ok(server),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error.context("it does not serve")),
        }
    }
}

fn measure(
    lab: &Lab,
    running: &mut [(&'static Contestant, Running)],
    load: &'static Load,
    plan: &Plan,
    notes: &mut BTreeMap<&'static str, String>,
) -> Result<Table> {
    let mut table = Table { load, rows: Vec::new() };
    let able: Vec<usize> =
        (0..running.len()).filter(|i| running[*i].0.serves >= load.kind).collect();
    table.rows.extend(able.iter().map(|i| (running[*i].0, Vec::new())));
    for round in 0..plan.rounds.unwrap_or(load.rounds) {
        eprint!("{} round {}:", load.name, round + 1);
        for row in order(able.len(), round) {
            let (contestant, server) = &mut running[able[row]];
            let sample = sample(lab, server, load, plan.seconds);
            match &sample {
                Ok(sample) => eprint!(" {} {:.0}", contestant.name, sample.rate()),
                Err(error) => {
                    eprintln!("\n{} failed: {error:#}", contestant.name);
                    let note = format!("failed {} at least once: {error}", load.name);
                    notes.entry(contestant.name).or_insert(note);
                }
            }
            table.rows[row].1.push(sample.ok());
        }
        eprintln!();
    }
    Ok(table)
}

/// Another first contestant each round, and every other round backwards.
fn order(count: usize, round: u32) -> Vec<usize> {
    let first = round as usize;
    let mut order: Vec<usize> = (0..count).map(|i| (i + first) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn sample(lab: &Lab, server: &mut Running, load: &Load, seconds: u32) -> Result<Sample> {
    server.check()?;
    let upload = vec![b'x'; load.upload];
    let body = (load.upload > 0).then_some(upload.as_slice());
    let expected = lab.body(load)?;
    ask(server.port, load.path, body, &expected)?;

    let pids = server.pids();
    let before = accounting::usage(&pids);
    let (busy, own, clock) = (accounting::busy(), accounting::own(), Instant::now());
    let seen = wrk::run(&lab.app().join("report.lua"), server.port, load, seconds)?;
    let elapsed = clock.elapsed();
    let (busy, own) = (accounting::busy() - busy, accounting::own() - own);
    let usage = accounting::usage(&pids).since(before);

    if seen.requests == 0 {
        bail!("no request was answered");
    }
    if seen.errors.status + seen.errors.lost > 0 {
        bail!("{} responses were errors, {} never came", seen.errors.status, seen.errors.lost);
    }
    if seen.bytes / seen.requests < expected.len() as u64 {
        bail!("responses were shorter than {} bytes", expected.len());
    }
    let machine = elapsed.as_secs_f64() * f64::from(accounting::processors());
    let foreign = busy.saturating_sub(own).saturating_sub(usage.cpu()).as_secs_f64() / machine;
    Ok(Sample { seen, usage, foreign })
}

fn ask(port: u16, path: &str, body: Option<&[u8]>, expected: &[u8]) -> Result<()> {
    let response = Connection::open(port)
        .and_then(|mut connection| connection.request(path, body))
        .with_context(|| format!("asked for {path}"))?;
    if response.status != 200 {
        bail!("{path} answered {}", response.status);
    }
    if response.body != expected {
        bail!("{path} answered {} bytes that are not the page", response.body.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_everybody_once_in_another_order() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(4, round)).collect();
        for (i, order) in orders.iter().enumerate() {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            assert!(!orders[..i].contains(order));
        }
        assert!(order(0, 3).is_empty());
    }
}
