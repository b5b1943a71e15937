//! Processes we start: bounded in time, stopped by number, never left behind.
//!
//! A server is told to stop, given a while, and then killed together with those of its descendants
//! that are still the processes we saw (number and start time agree). If this program dies, the
//! kernel tells the server to stop: prctl(2), `PR_SET_PDEATHSIG`.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::accounting;
use crate::place::User;

/// How long a server may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(8);

/// A server that runs until dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Process {
    /// Starts a server whose output goes to `log`.
    pub(crate) fn start(
        command: &mut Command,
        what: &str,
        log: &Path,
        user: Option<&User>,
    ) -> Result<Process> {
        let file = File::create(log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
        // SAFETY: the closure runs in the forked child and makes one async-signal-safe call.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let child = command.spawn().with_context(|| format!("cannot start {what}"))?;
        Ok(Process { child, what: what.to_owned(), log: log.to_owned() })
    }

    /// Its process number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails if it has ended, with the end of its log.
    pub(crate) fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("{} ended: {status}\n{}", self.what, self.tail())
    }

    /// The last lines it wrote.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Waits until it answers `probe`.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut probe: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        loop {
            self.check()?;
            match probe() {
                Ok(()) => return Ok(()),
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Err(error) => {
                    return Err(error.context(format!(
                        "{} does not answer after {limit:?}\n{}",
                        self.what,
                        self.tail()
                    )));
                }
            }
        }
    }

    /// Stops it and gives whether it went by itself.
    pub(crate) fn stop(&mut self) -> bool {
        self.stop_within(PATIENCE)
    }

    /// The same with another limit.
    pub(crate) fn stop_within(&mut self, patience: Duration) -> bool {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return true;
        }
        let family = accounting::family(self.pid());
        signal(self.pid(), Signal::TERM);
        let end = Instant::now() + patience;
        let mut gone = false;
        while !gone && Instant::now() < end {
            gone = !matches!(self.child.try_wait(), Ok(None));
            std::thread::sleep(Duration::from_millis(10));
        }
        for member in &family {
            // The root is our unreaped child or already waited for; the others are checked by age.
            if member.pid != self.pid() && accounting::is_still(member) {
                signal(member.pid, Signal::KILL);
            }
        }
        if !gone {
            // Not reaped yet, so the number is still its own.
            signal(self.pid(), Signal::KILL);
            let _reaped = self.child.wait();
        }
        gone
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// To a process that we have started; it may be gone.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Runs a command to its end with our standard error; its output is not shown unless it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(|_| ())
}

/// The same, giving its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed: {}\n{text}{errors}", output.status);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn start(script: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = dir.path().join("log");
        let process = Process::start(&mut command, "a shell", &log, None).unwrap();
        (dir, process)
    }

    #[test]
    fn the_end_of_a_log_explains_an_early_end() {
        let (_dir, mut process) = start("echo no such option; exit 3");
        let error = process
            .wait_until(Duration::from_secs(5), || bail!("not yet"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no such option") && error.contains("3"), "{error}");
    }

    #[test]
    fn who_does_not_stop_is_killed_with_descendants() {
        let (dir, mut process) =
            start("trap '' TERM; sleep 60 & echo ready; while :; do sleep 0.1; done");
        let log = dir.path().join("log");
        process
            .wait_until(Duration::from_secs(5), || match std::fs::read_to_string(&log)?.as_str() {
                "ready\n" => Ok(()),
                _ => bail!("not yet"),
            })
            .unwrap();
        let family = accounting::family(process.pid());
        assert!(family.len() >= 2, "{family:?}");
        assert!(!process.stop_within(Duration::from_millis(300)));
        let end = Instant::now() + Duration::from_secs(5);
        let sleeper = family.iter().find(|member| member.pid != process.pid()).unwrap();
        while accounting::is_still(sleeper) {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
