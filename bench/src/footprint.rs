//! What a contestant takes before anybody asks for speed: time to its first answer, memory, and
//! both again with many applications in one Apache.
//!
//! Memory is the proportional set size, which counts a page shared by n processes as 1/n in each,
//! so that sums mean something: <https://docs.kernel.org/filesystems/proc.html>.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::accounting;
use crate::contestants::{self, Contestant};
use crate::http::Connection;
use crate::lab::{Lab, Running};
use crate::stats::median;

/// Starts whose median counts.
const STARTS: u32 = 5;
/// Requests before memory is looked at.
const REQUESTS: u32 = 2000;
/// How many applications.
const APPLICATIONS: [u32; 3] = [1, 10, 50];
/// Nothing takes longer to answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What was found for one start.
struct Found {
    start: Duration,
    memory: Memory,
}

/// Bytes of proportional set size.
#[derive(Clone, Copy, Default)]
struct Memory {
    front: u64,
    python: u64,
    processes: usize,
}

/// Looks at the contestants, and at many applications in both modes of both modules.
pub(crate) fn run(lab: &Lab, contestants: &[&'static Contestant]) -> String {
    let mut text = String::from(
        "### start and memory\n\n\
         | contestant | ms to first answer | MiB Apache | MiB Python | processes |\n\
         |---|---|---|---|---|\n",
    );
    for contestant in contestants {
        eprintln!("footprint of {}", contestant.name);
        let found = (0..STARTS)
            .map(|number| {
                let requests = if number == 0 { REQUESTS } else { 1 };
                look(&[String::from("/hello")], requests, || (contestant.start)(lab))
            })
            .collect::<Result<Vec<_>>>();
        row(&mut text, contestant.name, found);
    }
    text += "\n### applications in one Apache\n\n\
             | applications | ms until all answered | MiB Apache | MiB Python | processes |\n\
             |---|---|---|---|---|\n";
    for (who, module) in
        [("mod_wsgi 6 in C", lab.peers.c_module()), ("this module", lab.module().map(Into::into))]
    {
        for daemon in [false, true] {
            for count in APPLICATIONS {
                let mode = if daemon { "daemon" } else { "embedded" };
                let name = format!("{count} x {who}, {mode}");
                eprintln!("footprint of {name}");
                let found = module.as_deref().map_err(|error| anyhow::anyhow!("{error:#}"));
                let found = found.and_then(|module| {
                    let lines = contestants::many(lab, module, count, daemon)?;
                    let paths: Vec<String> =
                        (0..count).map(|number| format!("/app{number}")).collect();
                    look(&paths, 1, || lab.httpd("many", &lines)).map(|found| vec![found])
                });
                row(&mut text, &name, found);
            }
        }
    }
    text.push('\n');
    text
}

fn row(text: &mut String, name: &str, found: Result<Vec<Found>>) {
    let done = found.and_then(|found| {
        let start = median(found.iter().map(|found| found.start.as_secs_f64() * 1e3));
        let memory = found.first().context("nothing was found")?.memory;
        Ok((start.unwrap_or(f64::NAN), memory))
    });
    // Writing to a string does not fail.
    let _ = match done {
        Ok((start, memory)) => {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            writeln!(
                text,
                "| {name} | {start:.0} | {:.1} | {:.1} | {} |",
                mib(memory.front),
                mib(memory.python),
                memory.processes
            )
        }
        Err(error) => {
            let reason = format!("{error:#}");
            eprintln!("{name}: {reason}");
            writeln!(text, "| {name} | {} | - | - | - |", reason.lines().next().unwrap_or_default())
        }
    };
}

/// Starts something, waits until every path has answered, sends requests, and looks.
fn look(paths: &[String], requests: u32, start: impl FnOnce() -> Result<Running>) -> Result<Found> {
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
    let start = clock.elapsed();
    for path in paths {
        ask(server.port, path, requests)?;
    }
    Ok(Found { start, memory: memory(&server.pids())? })
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

fn memory(roots: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for member in roots.iter().flat_map(|root| accounting::family(*root)) {
        let file = format!("/proc/{}/smaps_rollup", member.pid);
        let text = std::fs::read_to_string(&file).with_context(|| file)?;
        let bytes = read_pss(&text).context("no Pss")?;
        if accounting::is_python(member.pid) {
            sum.python += bytes;
        } else {
            sum.front += bytes;
        }
        sum.processes += 1;
    }
    Ok(sum)
}

fn read_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollup_states_the_sum() {
        let text = "00400000-7ffd [rollup]\nRss:   900 kB\nPss:   512 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(read_pss(text), Some(512 * 1024));
        assert_eq!(read_pss(""), None);
    }
}
