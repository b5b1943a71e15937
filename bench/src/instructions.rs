//! Instructions per request, counted by callgrind: a figure that does not depend on the machine.
//!
//! A process runs under valgrind and answers two numbers of requests on one persistent connection; the
//! difference divided by the difference is a request, start and end cancel out. It is either all of
//! Apache (`httpd -X`), or a worker of daemon mode, whose Python is a script that begins with valgrind.
//! User space only: what the kernel does is not seen.
//! The ratio to a bare handler in the same run is held against `instructions.budget`.
//! <https://valgrind.org/docs/manual/cl-manual.html>

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::configs::{self, Group};
use crate::lab::Lab;
use crate::{place, report, rounds};

/// Requests of the two runs. The first is enough for Python to have specialised its code and for
/// every cache to be full.
const REQUESTS: (u32, u32) = (400, 2400);
/// How far above its budget a figure may be.
const SLACK: f64 = 1.05;
/// How often a figure above its budget is counted. What a busy machine adds (attempts until the
/// server answers, timers that fire) is never less than nothing, so the least is the truest.
const ATTEMPTS: usize = 3;

/// What is counted: a name, who runs under valgrind, and the lines of its configuration.
struct Counted {
    name: &'static str,
    who: Who,
    /// Gets the home of the worker's Python, if a worker is counted.
    lines: fn(&Lab, Option<&Path>) -> Result<String>,
}

/// Which process is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Apache,
    Worker,
}

const COUNTED: &[Counted] = &[
    Counted { name: "static", who: Who::Apache, lines: |_, _| Ok(String::new()) },
    Counted { name: BARE, who: Who::Apache, lines: |lab, _| configs::bare(lab) },
    Counted { name: "ours-embedded", who: Who::Apache, lines: |lab, _| embedded(lab) },
    // Against the one above: what it costs to record.
    Counted {
        name: "ours-recording",
        who: Who::Apache,
        lines: |lab, _| Ok(configs::recording(lab, &embedded(lab)?, "%{GLOBAL}")),
    },
    // The same, with an eye on requests that take long. It is reported later than the end: how much of
    // that falls to a request depends on how long the run takes.
    Counted {
        name: "ours-telemetry",
        who: Who::Apache,
        lines: |lab, _| Ok(embedded(lab)? + &configs::telemetry(lab, 3600)),
    },
    Counted {
        name: "ours-embedded-status",
        who: Who::Apache,
        lines: |lab, _| Ok(embedded(lab)? + configs::STATUS),
    },
    Counted { name: "ours-daemon-apache", who: Who::Apache, lines: daemon },
    Counted {
        name: "ours-daemon-apache-status",
        who: Who::Apache,
        lines: |lab, home| Ok(daemon(lab, home)? + configs::STATUS),
    },
    Counted { name: "ours-daemon-worker", who: Who::Worker, lines: daemon },
    Counted {
        name: "c-embedded",
        who: Who::Apache,
        lines: |lab, _| Ok(configs::embedded(lab, &lab.peers.c_module()?, "hello.py") + SEED),
    },
];

fn embedded(lab: &Lab) -> Result<String> {
    Ok(configs::embedded(lab, lab.module()?, "hello.py") + SEED)
}

fn daemon(lab: &Lab, home: Option<&Path>) -> Result<String> {
    // A worker that is counted needs a while to start and to end.
    let mut options = "startup-timeout=120 shutdown-timeout=60".to_owned();
    if let Some(home) = home {
        options += &format!(" python-home=\"{}\"", home.display());
    }
    let group = Group { name: "count", processes: 1, threads: 16, options: &options };
    Ok(configs::daemon(lab, lab.module()?, "hello.py", &group)? + SEED)
}

/// How many steps a look into a dictionary takes depends on the seed of hashes: some hundred
/// instructions per request, more or less.
const SEED: &str = "WSGIPythonHashSeed 1\n";

/// What the others are divided by.
const BARE: &str = "bare";

/// Whether a run with these names needs nothing of the peers.
pub(crate) fn is_alone(only: &[String]) -> bool {
    !only.is_empty() && !only.iter().any(|name| name.starts_with("c-"))
}

/// Counts, prints a table, and fails where a budget is exceeded.
pub(crate) fn run(lab: &Lab, only: &[String], keep: Option<&Path>) -> Result<ExitCode> {
    if which::which("valgrind").is_err() {
        bail!("valgrind is not on PATH; install it with: sudo apt-get install valgrind");
    }
    for name in only {
        if !COUNTED.iter().any(|counted| counted.name == name) {
            bail!("{name} is not among what is counted");
        }
    }
    let budgets = read_budgets(&std::fs::read_to_string(budget_file())?)?;
    let wanted = |counted: &&Counted| {
        only.is_empty() || counted.name == BARE || only.iter().any(|name| name == counted.name)
    };
    let mut figures: Vec<(&str, Result<f64>)> = Vec::new();
    let mut bare = None;
    for counted in COUNTED.iter().filter(wanted) {
        let most = budgets.get(counted.name).zip(bare).map(|(budget, bare)| budget * bare * SLACK);
        let figure = count_within(lab, counted, keep, most);
        if counted.name == BARE {
            bare = figure.as_ref().ok().copied();
        }
        figures.push((counted.name, figure));
    }

    let mut exceeded = false;
    print!("{}", report::heading(lab));
    println!("| hello world, `httpd -X` | instructions / request | / {BARE} | budget | |");
    println!("|---|---|---|---|---|");
    for (name, figure) in &figures {
        let budget = budgets.get(*name).copied();
        let budget_text = budget.map_or("-".to_owned(), |budget| format!("{budget:.2}"));
        let (figure, ratio) = match figure {
            Ok(figure) => (*figure, bare.map(|bare| figure / bare)),
            Err(error) => {
                println!("| {name} | - | - | {budget_text} | {error:#} |");
                // A figure with a budget has to exist.
                exceeded |= budget.is_some();
                continue;
            }
        };
        let verdict = match (ratio, budget) {
            (Some(ratio), Some(budget)) if ratio > budget * SLACK => {
                exceeded = true;
                "**exceeded**"
            }
            (Some(ratio), Some(budget)) if ratio * SLACK < budget => "could be lowered",
            (None, Some(_)) => {
                exceeded = true;
                "no bare handler to compare with"
            }
            _ => "",
        };
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        println!("| {name} | {figure:.0} | {ratio} | {budget_text} | {verdict} |");
    }
    Ok(if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Counts until the figure is at most this, or for the last time.
fn count_within(
    lab: &Lab,
    counted: &Counted,
    keep: Option<&Path>,
    most: Option<f64>,
) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..ATTEMPTS {
        eprintln!("counting {}", counted.name);
        least = least.min(count(lab, counted, keep)?);
        if most.is_none_or(|most| least <= most) {
            break;
        }
    }
    Ok(least)
}

fn count(lab: &Lab, counted: &Counted, keep: Option<&Path>) -> Result<f64> {
    let few = total(lab, counted, REQUESTS.0, keep)?;
    let many = total(lab, counted, REQUESTS.1, keep)?;
    let between = many.checked_sub(few).context("more requests took fewer instructions")?;
    Ok(between as f64 / f64::from(REQUESTS.1 - REQUESTS.0))
}

/// Instructions of a whole run with that many requests.
fn total(lab: &Lab, counted: &Counted, requests: u32, keep: Option<&Path>) -> Result<u64> {
    let name = counted.name;
    let run = format!("count-{name}-{requests}");
    // Opened by root, and once more by whoever Apache has become when it ends.
    let mut file = lab.scratch(&format!("{run}.callgrind"))?;
    let mut server = match counted.who {
        Who::Apache => {
            let mut valgrind = Command::new("valgrind");
            // What Apache forks, such as a log relay, ends after it, and would write to its file.
            valgrind.args(CALLGRIND).arg(out_file(&file) + ".%p");
            lab.httpd_under(&mut valgrind, &run, &(counted.lines)(lab, None)?)?
        }
        Who::Worker => {
            let home = home_under_valgrind(lab, &run, &file)?;
            lab.httpd(&run, &(counted.lines)(lab, Some(&home))?)?
        }
    };
    // One answer in both runs. A worker under valgrind starts slowly, and meanwhile children answer
    // that there is none.
    rounds::wait_within(&mut server, Duration::from_secs(180))?;
    if counted.who == Who::Apache {
        let pid = server.pids().first().copied().context("it has no process")?;
        file.set_extension(format!("callgrind.{pid}"));
        lab.hand_over(&file)?;
    }
    let mut connection = crate::http::Connection::open(server.port)?;
    for _ in 0..requests {
        let response = connection.request("/hello", None)?;
        if response.status != 200 || response.body != b"Hello, world!" {
            bail!("it answered {} with {} bytes", response.status, response.body.len());
        }
    }
    drop(connection);
    if !server.stop_within(Duration::from_secs(60)) {
        bail!("it did not stop by itself, so nothing was counted");
    }
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    if let Some(keep) = keep {
        std::fs::create_dir_all(keep)?;
        std::fs::copy(&file, keep.join(format!("callgrind.out.{name}.{requests}")))?;
    }
    read_total(&text).context("callgrind wrote no total")
}

const CALLGRIND: [&str; 3] = ["--tool=callgrind", "--quiet", "--dump-instr=no"];

fn out_file(file: &Path) -> String {
    format!("--callgrind-out-file={}", file.display())
}

/// An environment like that of the peers, whose Python runs under valgrind.
fn home_under_valgrind(lab: &Lab, run: &str, file: &Path) -> Result<PathBuf> {
    let home = lab.place(run)?;
    let venv = &lab.peers.venv;
    for name in ["pyvenv.cfg", "lib", "include"] {
        symlink(venv.join(name), home.join(name))?;
    }
    std::fs::create_dir(home.join("bin"))?;
    let script = home.join("bin/python3");
    std::fs::write(
        &script,
        format!(
            "#!/bin/sh\nexec valgrind {} '{}' '{}/bin/python3' \"$@\"\n",
            CALLGRIND.join(" "),
            out_file(file),
            venv.display()
        ),
    )?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
    Ok(home)
}

fn read_total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_whitespace().next()?.parse().ok()
}

fn budget_file() -> PathBuf {
    place::root().join("bench/instructions.budget")
}

/// Lines of a name and the greatest ratio to the bare handler; `#` begins a comment.
fn read_budgets(text: &str) -> Result<BTreeMap<String, f64>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, ratio) = line.split_once(' ').with_context(|| format!("budget {line:?}"))?;
            if !COUNTED.iter().any(|counted| counted.name == name) {
                bail!("a budget for {name}, which is not counted");
            }
            let ratio = ratio.trim().parse().with_context(|| format!("budget {line:?}"))?;
            Ok((name.to_owned(), ratio))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_committed_budget_is_readable() {
        let text = std::fs::read_to_string(budget_file()).unwrap();
        let budgets = read_budgets(&text).unwrap();
        assert!(budgets["ours-embedded"] > 1.0);
        assert!(budgets["ours-daemon-worker"] > 1.0);
        assert!(read_budgets("ours-embedded").is_err());
        assert!(read_budgets("somebody 2.0").is_err());
    }

    #[test]
    fn callgrind_states_its_total() {
        assert_eq!(read_total("version: 1\nevents: Ir\n\nfn=(1) a\n1 5\ntotals: 123\n"), Some(123));
        assert_eq!(read_total("version: 1\n"), None);
    }
}
