//! Interleaved rounds: every contestant once per round, in another order each time, so that what
//! disturbs the machine for a while disturbs everybody.
//!
//! Before each measurement one response is checked byte for byte, and during it wrk compares the body
//! of every other: a server that is quick because it sends errors, halves or nothing does not get into
//! the table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::accounting::{self, Usage};
use crate::contestants::Contestant;
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::loads::Load;
use crate::plan::Plan;
use crate::stats::{Spread, spread};
use crate::wrk::{self, Seen};

/// Above this share of the machine used by others, a measurement counts as disturbed.
pub(crate) const NOISY: f64 = 0.12;

/// Good rounds that are enough to leave out the disturbed ones.
const ENOUGH: usize = 3;
/// A run that is behind its plan by this share and this time leaves out rounds after the third.
const LATE: (f64, Duration) = (0.1, Duration::from_secs(30));

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

    pub(crate) fn p50(&self) -> f64 {
        self.seen.p50.as_secs_f64() * 1e3
    }

    pub(crate) fn p99(&self) -> f64 {
        self.seen.p99.as_secs_f64() * 1e3
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

impl Table {
    /// The samples of a contestant.
    pub(crate) fn of(&self, name: &str) -> Option<&[Option<Sample>]> {
        let row = self.rows.iter().find(|(contestant, _)| contestant.name == name)?;
        Some(&row.1)
    }

    /// Median and quartiles of one contestant's figures divided by another's, round by round.
    /// Rounds in which either was disturbed are left out as long as `ENOUGH` others remain.
    pub(crate) fn ratio(
        &self,
        name: &str,
        other: &str,
        figure: &dyn Fn(&Sample) -> f64,
    ) -> Option<Spread> {
        let pairs: Vec<(&Sample, &Sample)> = self
            .of(name)?
            .iter()
            .zip(self.of(other)?)
            .filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)))
            .collect();
        let quiet: Vec<_> =
            pairs.iter().filter(|(a, b)| !a.noisy() && !b.noisy()).copied().collect();
        let used = if quiet.len() >= ENOUGH { &quiet } else { &pairs };
        spread(used.iter().map(|(a, b)| figure(a) / figure(b)))
    }

    /// Disturbed measurements, and all.
    pub(crate) fn noise(&self) -> (usize, usize) {
        let samples = || self.rows.iter().flat_map(|row| row.1.iter().flatten());
        (samples().filter(|sample| sample.noisy()).count(), samples().count())
    }
}

/// What a run gave.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
    /// Contestant or load to why it took no part, or failed.
    pub(crate) notes: BTreeMap<&'static str, String>,
    pub(crate) took: Duration,
}

/// Runs every load.
pub(crate) fn run(lab: &Lab, plan: &Plan) -> Result<Results> {
    let began = Instant::now();
    let mut results = Results::default();
    let mut running: Vec<(&'static Contestant, Running)> = Vec::new();
    for contestant in &plan.contestants {
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
    let mut due = Instant::now();
    for load in &plan.loads {
        if let Err(error) = lab.body(load) {
            results.notes.insert(load.name, format!("was left out: {error:#}"));
            continue;
        }
        due += plan.time_of(load).mul_f64(1.0 + LATE.0);
        let table = measure(lab, &mut running, load, plan, due + LATE.1, &mut results.notes)?;
        results.tables.push(table);
    }
    results.took = began.elapsed();
    Ok(results)
}

fn start(lab: &Lab, contestant: &Contestant) -> Result<Running> {
    let mut server = (contestant.start)(lab)?;
    wait(&mut server)?;
    Ok(server)
}

/// Waits until it serves: a front end answers before what is behind it does.
pub(crate) fn wait(server: &mut Running) -> Result<()> {
    wait_within(server, Duration::from_secs(20))
}

/// The same with another limit.
pub(crate) fn wait_within(server: &mut Running, limit: Duration) -> Result<()> {
    let end = Instant::now() + limit;
    loop {
        server.check()?;
        match ask(server.port, "/hello", None, b"Hello, world!") {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => bail!("it does not serve: {error:#}: {}", server.last_words()),
        }
    }
}

fn measure(
    lab: &Lab,
    running: &mut [(&'static Contestant, Running)],
    load: &'static Load,
    plan: &Plan,
    due: Instant,
    notes: &mut BTreeMap<&'static str, String>,
) -> Result<Table> {
    let mut table = Table { load, rows: Vec::new() };
    let able: Vec<usize> =
        (0..running.len()).filter(|i| running[*i].0.takes(load, plan.named)).collect();
    table.rows.extend(able.iter().map(|i| (running[*i].0, Vec::new())));
    // Who fails twice in a row is asked no more: each failure may take half a minute.
    let mut failures = vec![0; able.len()];
    let rounds = plan.rounds(load);
    for round in 0..rounds {
        if round as usize >= ENOUGH && Instant::now() > due {
            let note = format!("has {round} rounds instead of {rounds}: the run was late");
            eprintln!("note: {} {note}", load.name);
            notes.insert(load.name, note);
            break;
        }
        eprint!("{} round {}:", load.name, round + 1);
        for row in order(able.len(), round) {
            let (contestant, server) = &mut running[able[row]];
            if failures[row] >= 2 {
                table.rows[row].1.push(None);
                continue;
            }
            let sample = sample(lab, server, load, plan.seconds);
            failures[row] = if sample.is_ok() { 0 } else { failures[row] + 1 };
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

/// One measurement of a running server.
pub(crate) fn sample(lab: &Lab, server: &mut Running, load: &Load, seconds: u32) -> Result<Sample> {
    server.check()?;
    let upload = vec![b'x'; load.upload];
    let body = (load.upload > 0).then_some(upload.as_slice());
    let expected = lab.body(load)?;
    ask(server.port, load.path, body, &expected)?;

    let pids = server.pids();
    let before = accounting::usage(&pids);
    let (busy, own, clock) = (accounting::busy(), accounting::own(), Instant::now());
    let script = lab.app().join("report.lua");
    let seen = wrk::run(&script, server.port, load, &lab.expected(load), seconds)?;
    let elapsed = clock.elapsed();
    let (busy, own) = (accounting::busy() - busy, accounting::own() - own);
    let usage = accounting::usage(&pids).since(before);

    if seen.requests == 0 {
        bail!("no request was answered");
    }
    if seen.errors.status + seen.errors.lost > 0 {
        bail!("{} responses were errors, {} never came", seen.errors.status, seen.errors.lost);
    }
    if seen.errors.body > 0 {
        bail!("{} of {} bodies were not the page", seen.errors.body, seen.requests);
    }
    let machine = elapsed.as_secs_f64() * f64::from(accounting::processors());
    let foreign = busy.saturating_sub(own).saturating_sub(usage.cpu()).as_secs_f64() / machine;
    Ok(Sample { seen, usage, foreign })
}

fn ask(port: u16, path: &str, body: Option<&[u8]>, expected: &[u8]) -> Result<()> {
    demand(&mut Connection::open(port)?, path, body, expected)
}

/// Sends a request whose response has to be right.
pub(crate) fn demand(
    connection: &mut Connection,
    path: &str,
    body: Option<&[u8]>,
    expected: &[u8],
) -> Result<()> {
    let response = connection.request(path, body).with_context(|| format!("asked for {path}"))?;
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
