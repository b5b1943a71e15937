//! Running a `cargo test` that may hang.
//!
//! Its silence is measured, not its time: a slow machine may be as slow as it likes. Cargo's children
//! are ended, not Cargo, which goes on with the next executable.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::output::Tested;
use crate::shell::show;

/// How often a silent command is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long the output of a command that has ended is waited for: others may have inherited it.
const REST: Duration = Duration::from_secs(5);

/// Runs a command, shows what it prints, and counts. Whether it succeeded.
pub(super) fn watched(
    command: &mut Command,
    patience: Duration,
    out: &mut dyn Write,
    tested: &mut Tested,
) -> Result<bool> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", show(command)))?;
    let lines = lines(&mut child);
    let mut last = Instant::now();
    let mut hung = false;
    // Whether executables were ended, and nothing was printed since.
    let mut in_vain = false;
    loop {
        match lines.recv_timeout(LOOK.min(patience)) {
            Ok(line) => {
                last = Instant::now();
                in_vain = false;
                out.write_all(&line)?;
                tested.add(&String::from_utf8_lossy(&line));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => {
                if last.elapsed() > REST {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) if last.elapsed() > patience => {
                let names = tested.hangs();
                eprintln!(
                    "nothing printed for {} s, running for long: {}",
                    last.elapsed().as_secs(),
                    if names.is_empty() { "no test known".to_owned() } else { names.join(", ") }
                );
                end_descendants(child.id());
                if in_vain {
                    // So it is Cargo itself, and what it was to run next is not tested.
                    tested.cut();
                    child.kill()?;
                }
                (hung, in_vain) = (true, true);
                last = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let status = child.wait()?;
    if !status.success() && status.code().is_none() {
        // Cargo says why it fails, unless it was killed.
        eprintln!("`{}` was ended: {status}", show(command));
    }
    Ok(status.success() && !hung)
}

/// The lines a command prints, as they come.
fn lines(child: &mut Child) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0)
                && sender.send(std::mem::take(&mut line)).is_ok()
            {}
        });
    }
    receiver
}

/// Kills what a process has started, and what that has.
fn end_descendants(pid: u32) {
    let parents = parents();
    let is_below = |mut at: u32| {
        while let Some(parent) = parents.get(&at) {
            if *parent == pid {
                return true;
            }
            at = *parent;
        }
        false
    };
    for descendant in parents.keys().filter(|at| is_below(**at)) {
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(descendant.cast_signed(), libc::SIGKILL) };
    }
}

/// Who started whom: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>. Nothing where there
/// is no `/proc`.
fn parents() -> HashMap<u32, u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in parentheses and may have some itself.
            let (_, rest) = stat.rsplit_once(')')?;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_others_have_inherited_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!"]);
        let (mut out, mut tested) = (Vec::new(), Tested::default());
        let begun = Instant::now();
        let done = watched(&mut command, Duration::from_secs(600), &mut out, &mut tested);
        assert!(done.expect("runs"));
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
        let pid: i32 = String::from_utf8_lossy(&out).trim().parse().expect("a number");
        // SAFETY: kill(2) touches no memory of ours; the process is the one started above, which lasts.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }

    #[test]
    fn what_does_not_even_end_its_children_is_killed() {
        let mut command = Command::new("sh");
        command.args(["-c", "while true; do sleep 60; done"]);
        let mut tested = Tested::default();
        let begun = Instant::now();
        let done = watched(&mut command, Duration::from_secs(1), &mut Vec::new(), &mut tested);
        assert!(!done.expect("runs"));
        assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    }

    #[test]
    fn cargo_goes_on_where_one_executable_after_another_hangs() {
        let hangs = "echo 'running 1 test'; \
             echo 'test NAME has been running for over 60 seconds'; sleep 60; ";
        let both = hangs.replace("NAME", "a::b") + &hangs.replace("NAME", "a::c");
        let rest = "echo 'test result: ok. 5 passed; 0 failed; 0 ignored; x'; exit 101";
        let mut command = Command::new("sh");
        command.args(["-c", &(both + rest)]);
        let mut tested = Tested::default();
        let done = watched(&mut command, Duration::from_secs(1), &mut Vec::new(), &mut tested);
        assert!(!done.expect("runs") && tested.is_unsteady());
        assert_eq!((tested.counts.passed, tested.counts.failed), (5, 2));

        // Where it does not, nobody knows what else there was.
        command = Command::new("sh");
        command.args(["-c", &(hangs.to_owned() + "while true; do sleep 60; done")]);
        let mut tested = Tested::default();
        let done = watched(&mut command, Duration::from_secs(1), &mut Vec::new(), &mut tested);
        assert!(!done.expect("runs") && !tested.is_unsteady());
    }
}
