//! What a small request waits beside one that computes.
//!
//! A thread that runs Python keeps the GIL until another has waited for the *switch interval* (5 ms
//! unless told otherwise), so a request that takes the GIL once waits about one interval beside a
//! computation, and one that lets go of it and takes it again waits as often as it does that. Less
//! than one interval is not to be had: <https://docs.python.org/3/library/sys.html#sys.setswitchinterval>.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::configs::{self, Group};
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::rounds;
use crate::{contestants, crowd};

/// How long this takes.
pub(crate) const TIME: Duration = Duration::from_secs(60);

const ROUNDS: u32 = 3;
/// How long small requests are sent, one after the other.
const LASTS: Duration = Duration::from_millis(1000);
/// The same without a computation.
const ALONE: Duration = Duration::from_millis(200);

/// Who is asked, and the switch interval in seconds if it is not the usual one.
const ASKED: &[(&str, Option<f64>)] = &[
    ("c-embedded", None),
    ("ours-embedded", None),
    ("ours-embedded", Some(0.001)),
    ("ours-embedded", Some(0.0001)),
    ("c-daemon-16", None),
    ("ours-daemon-16", None),
    ("ours-daemon-16", Some(0.001)),
    ("ours-daemon-16", Some(0.0001)),
    ("granian-16", None),
];

/// In seconds.
const USUAL: f64 = 0.005;

fn start(name: &str, interval: Option<f64>, lab: &Lab) -> Result<Running> {
    match interval {
        None => contestants::start(name, lab),
        Some(interval) if name.contains("daemon") => daemon(lab, interval),
        Some(interval) => embedded(lab, interval),
    }
}

fn embedded(lab: &Lab, interval: f64) -> Result<Running> {
    let lines = configs::embedded(lab, lab.module()?, "app.py");
    lab.httpd(&format!("embedded-{interval}"), &format!("{lines}WSGISwitchInterval {interval}\n"))
}

fn daemon(lab: &Lab, interval: f64) -> Result<Running> {
    let options = format!("switch-interval={interval}");
    let name = format!("daemon-{interval}");
    let group = Group { name: &name, processes: 1, threads: 16, options: &options };
    lab.httpd(&name, &configs::daemon(lab, lab.module()?, "app.py", &group)?)
}

/// What one of them gave.
#[derive(Debug, Default)]
struct Waits {
    alone: Vec<Duration>,
    beside: Vec<Duration>,
    /// Computations that were finished meanwhile.
    computed: u32,
}

/// A table.
pub(crate) fn run(lab: &Lab) -> String {
    let mut text = String::from(
        "### A small request beside one that computes\n\n\
         One connection asks for hello world, again and again, while another asks for 100 ms of pure \
         Python each time. No server can wait less than a switch interval for the GIL.\n\n\
         | contestant | switch interval | p50 ms alone | p50 ms beside | p99 ms | longest ms \
         | computations per second |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut servers: Vec<Result<(Running, Waits)>> = Vec::new();
    for &(name, interval) in ASKED {
        eprintln!("starting {name}");
        let ready = || {
            let mut server = start(name, interval, lab)?;
            rounds::wait(&mut server)?;
            Ok((server, Waits::default()))
        };
        servers.push(ready());
    }
    for round in 0..ROUNDS {
        eprintln!("latency round {}", round + 1);
        for server in &mut servers {
            let Ok((running, waits)) = server else { continue };
            if let Err(error) = ask(running.port, waits) {
                *server = Err(error);
            }
        }
    }
    for (&(name, interval), server) in ASKED.iter().zip(servers) {
        let interval = format!("{} ms", interval.unwrap_or(USUAL) * 1e3);
        let _ = match server {
            Ok((_, mut waits)) => {
                let ms = |waits: &mut Vec<Duration>, share| at(waits, share).as_secs_f64() * 1e3;
                writeln!(
                    text,
                    "| {name} | {interval} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
                    ms(&mut waits.alone, 0.5),
                    ms(&mut waits.beside, 0.5),
                    ms(&mut waits.beside, 0.99),
                    ms(&mut waits.beside, 1.0),
                    f64::from(waits.computed) / (LASTS * ROUNDS).as_secs_f64(),
                )
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                let error = format!("{error:#}");
                let first = error.lines().next().unwrap_or_default();
                writeln!(text, "| {name} | {interval} | {first} | - | - | - | - |")
            }
        };
    }
    text.push('\n');
    text + &crowd::run(lab)
}

fn ask(port: u16, waits: &mut Waits) -> Result<()> {
    waits.alone.extend(small(port, ALONE)?);
    let (stop, computed) = (AtomicBool::new(false), AtomicU32::new(0));
    let beside = std::thread::scope(|scope| {
        let computing = scope.spawn(|| compute(port, &stop, &computed));
        // The first computation has begun.
        std::thread::sleep(Duration::from_millis(50));
        let before = computed.load(Ordering::Relaxed);
        let beside = small(port, LASTS);
        waits.computed += computed.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        computing.join().map_err(|_| anyhow!("the thread that computes ended"))??;
        beside
    })?;
    waits.beside.extend(beside);
    Ok(())
}

fn small(port: u16, lasts: Duration) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(port)?;
    let mut waits = Vec::new();
    let end = Instant::now() + lasts;
    while Instant::now() < end {
        let clock = Instant::now();
        rounds::demand(&mut connection, "/hello", None, b"Hello, world!")?;
        waits.push(clock.elapsed());
    }
    Ok(waits)
}

fn compute(port: u16, stop: &AtomicBool, computed: &AtomicU32) -> Result<()> {
    let mut connection = Connection::open(port)?;
    let expected: u32 = (0..GRIND).map(|i| i & 7).sum();
    while !stop.load(Ordering::Relaxed) {
        rounds::demand(&mut connection, "/grind", None, expected.to_string().as_bytes())?;
        computed.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Turns of the loop in `app.py`.
const GRIND: u32 = 2_400_000;

/// The wait that this share of the requests does not exceed.
fn at(waits: &mut [Duration], share: f64) -> Duration {
    waits.sort_unstable();
    let place = (waits.len() as f64 * share).ceil() as usize;
    waits.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_waits() {
        let mut waits: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(at(&mut waits, 0.5), Duration::from_millis(50));
        assert_eq!(at(&mut waits, 0.99), Duration::from_millis(99));
        assert_eq!(at(&mut waits, 1.0), Duration::from_millis(100));
        assert_eq!(at(&mut [], 0.5), Duration::ZERO);
    }
}
