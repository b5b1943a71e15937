//! Idle persistent connections: what ten thousand of them cost those who are not idle.
//!
//! Under the event MPM an idle connection holds no thread, and a module should hold nothing for it
//! either: no memory of its own and no connection to a worker.

use std::fmt::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::configs::{self, Group};
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::loads::{self, Load};
use crate::memory::Memory;
use crate::plan::Plan;
use crate::report;
use crate::rounds::{self, Sample};
use crate::stats::{median, spread};

/// How long this takes.
pub(crate) const TIME: Duration = Duration::from_secs(70);

const COUNTS: [usize; 3] = [0, 1000, 10_000];
const ROUNDS: u32 = 3;
/// Descriptors of this process besides the connections.
const OTHERS: u64 = 200;

/// Lets a connection be idle for the time of a round, and Apache accept that many. The event MPM closes
/// all that are idle when all its threads are busy, so there are more threads than busy connections.
const LINES: &str = "KeepAliveTimeout 300\nAsyncRequestWorkerFactor 1000\n\
    ThreadLimit 32\nThreadsPerChild 32\nMaxRequestWorkers 32\nMaxSpareThreads 32\n";

type Lines = fn(&Lab) -> Result<String>;

const ASKED: &[(&str, Lines)] = &[
    ("static", |_| Ok(String::new())),
    ("ours-embedded", |lab| Ok(configs::embedded(lab, lab.module()?, "app.py"))),
    ("c-daemon-16", |lab| configs::daemon(lab, &lab.peers.c_module()?, "app.py", &GROUP)),
    ("ours-daemon-16", |lab| configs::daemon(lab, lab.module()?, "app.py", &GROUP)),
];

const GROUP: Group<'static> = Group { name: "idle", processes: 1, threads: 16, options: "" };

/// What was found with a number of connections.
#[derive(Debug, Default)]
struct Found {
    samples: Vec<Sample>,
    /// Of the last round.
    memory: Memory,
    /// Connections that the server had closed in the end.
    closed: usize,
}

/// A table.
pub(crate) fn run(lab: &Lab, plan: &Plan) -> String {
    let mut text = String::from(
        "### Idle persistent connections\n\n\
         Each has had an answer and stays open, while 16 others ask for hello world. The ratio is to \
         the same server without idle connections in the same round.\n\n\
         | contestant | idle | requests per second | / none idle | p99 ms | CPU us per request \
         | MiB Apache | MiB Python | descriptors Apache | closed by the server |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let Some(load) = loads::ALL.iter().find(|load| load.name == "hello-16") else { return text };
    let most = COUNTS.iter().copied().max().unwrap_or(0) as u64;
    let asked = |name: &str| plan.contestants.iter().any(|contestant| contestant.name == name);
    for (name, lines) in ASKED.iter().filter(|(name, _)| asked(name)) {
        eprintln!("idle connections to {name}");
        // Apache inherits the limit.
        let found = allow(most + OTHERS)
            .and_then(|()| lines(lab))
            .and_then(|lines| lab.httpd(name, &(lines + LINES)))
            .and_then(|server| ask(lab, server, load));
        match found {
            Ok(found) => rows(&mut text, name, &found),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                let error = format!("{error:#}");
                let first = error.lines().next().unwrap_or_default();
                let _ = writeln!(text, "| {name} | {first} |{}", " - |".repeat(8));
            }
        }
    }
    text.push('\n');
    text
}

fn ask(lab: &Lab, mut server: Running, load: &Load) -> Result<Vec<Found>> {
    rounds::wait(&mut server)?;
    let mut all: Vec<Found> = COUNTS.iter().map(|_| Found::default()).collect();
    for _ in 0..ROUNDS {
        for (count, found) in COUNTS.iter().zip(&mut all) {
            let idle = (0..*count)
                .map(|number| open(server.port).with_context(|| format!("connection {number}")))
                .collect::<Result<Vec<_>>>()
                .with_context(|| server.last_words())?;
            let sample = rounds::sample(lab, &mut server, load, 1);
            found.samples.push(sample.with_context(|| format!("{count} idle connections"))?);
            found.memory = Memory::of(&server.pids())?;
            found.closed = idle.iter().filter(|connection| is_closed(connection)).count();
        }
    }
    Ok(all)
}

fn rows(text: &mut String, name: &str, all: &[Found]) {
    let Some(none) = all.first() else { return };
    for (count, found) in COUNTS.iter().zip(all) {
        let of = |figure: &dyn Fn(&Sample) -> f64| {
            median(found.samples.iter().map(figure)).unwrap_or(f64::NAN)
        };
        let ratios = found.samples.iter().zip(&none.samples).map(|(a, b)| a.rate() / b.rate());
        let cpu = |sample: &Sample| {
            sample.usage.cpu().as_secs_f64() * 1e6 / sample.seen.requests.max(1) as f64
        };
        let _ = writeln!(
            text,
            "| {name} | {count} | {:.0} | {} | {:.2} | {:.1} | {:.1} | {:.1} | {} | {} |",
            of(&Sample::rate),
            report::shown(spread(ratios)),
            of(&Sample::p99),
            of(&cpu),
            found.memory.apache().mib(),
            found.memory.python.mib(),
            found.memory.apache().descriptors,
            found.closed,
        );
    }
}

fn open(port: u16) -> Result<TcpStream> {
    let mut connection = Connection::open(port).context("no more connections")?;
    rounds::demand(&mut connection, "/hello", None, b"Hello, world!")?;
    Ok(connection.keep())
}

/// An idle connection has nothing to read, a closed one has its end.
fn is_closed(connection: &TcpStream) -> bool {
    let looked = connection.set_nonblocking(true).and_then(|()| connection.peek(&mut [0]));
    !matches!(looked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Lets this process, and those it starts from now on, have that many descriptors.
pub(crate) fn allow(descriptors: u64) -> Result<()> {
    // `None` is no limit.
    let suffices = |limit: Option<u64>| limit.is_none_or(|limit| limit >= descriptors);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if suffices(current) {
        return Ok(());
    }
    if !suffices(maximum) {
        bail!("at most {} descriptors are allowed here (ulimit -n)", maximum.unwrap_or_default());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_closed_connection_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        assert!(!is_closed(&near));
        drop(far);
        let end = std::time::Instant::now() + Duration::from_secs(5);
        while !is_closed(&near) {
            assert!(std::time::Instant::now() < end);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
