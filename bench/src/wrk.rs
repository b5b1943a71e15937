//! The load generator: <https://github.com/wg/wrk>, one thread, closed loop.
//!
//! A script (`app/report.lua`) compares the body of every response with what it must be, and prints
//! one line for us at the end. The comparison costs wrk about a microsecond per small response and
//! 0.1 ms per mebibyte, the same for every contestant. Its own processor time is part of what this
//! program's finished children used.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::loads::Load;

/// What wrk saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
    pub(crate) errors: Errors,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What went wrong meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    /// A response that is not 2xx or 3xx.
    pub(crate) status: u64,
    /// A body that is not the page.
    pub(crate) body: u64,
    /// No answer in time, or no connection.
    pub(crate) lost: u64,
    /// A connection the server closed. The event MPM does that to idle keep-alive connections when
    /// all its threads are busy, so a few of these are normal.
    pub(crate) closed: u64,
}

/// Fails unless wrk is installed.
pub(crate) fn check() -> Result<()> {
    if which::which("wrk").is_ok() {
        return Ok(());
    }
    bail!(
        "wrk, the load generator, is not on PATH; install it with: sudo apt-get install wrk \
         (Debian, Ubuntu), brew install wrk (macOS), or from https://github.com/wg/wrk"
    )
}

/// Its version.
pub(crate) fn version() -> String {
    let output = Command::new("wrk").arg("-v").stdin(Stdio::null()).output();
    let text = output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

/// Runs a load for some seconds.
///
/// `expected` is the file with the body of every response.
pub(crate) fn run(
    script: &Path,
    port: u16,
    load: &Load,
    expected: &Path,
    seconds: u32,
) -> Result<Seen> {
    let mut command = Command::new("wrk");
    command
        .arg("-t1")
        .arg(format!("-c{}", load.connections))
        .arg(format!("-d{seconds}s"))
        .args(["--timeout", "10s", "-s"])
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}{}", load.path))
        .env("BENCH_EXPECTED", expected);
    if load.upload > 0 {
        command.env("BENCH_METHOD", "POST").env("BENCH_BODY", load.upload.to_string());
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run wrk")?;
    let end = Instant::now() + Duration::from_secs(u64::from(seconds) + 30);
    // It prints less than a pipe holds, so waiting first cannot block it.
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("wrk did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text)
        .with_context(|| format!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn read(text: &str) -> Result<Seen> {
    let line = text.lines().find_map(|line| line.strip_prefix("BENCH ")).context("no result")?;
    let values: HashMap<&str, u64> = line
        .split(' ')
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let get = |name: &str| values.get(name).copied().with_context(|| format!("no {name}"));
    Ok(Seen {
        requests: get("requests")?,
        duration: Duration::from_micros(get("duration")?),
        bytes: get("bytes")?,
        errors: Errors {
            status: get("status")?,
            body: get("wrong")?,
            lost: get("connect")? + get("timeout")?,
            closed: get("read")? + get("write")?,
        },
        p50: Duration::from_micros(get("p50")?),
        p99: Duration::from_micros(get("p99")?),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_line_is_read() {
        let text = "Running 1s test\nBENCH requests=10 duration=1000000 bytes=1300 connect=1 \
                    read=2 write=3 status=4 timeout=5 wrong=7 p50=70 p99=900\n";
        let seen = read(text).unwrap();
        assert_eq!((seen.requests, seen.bytes), (10, 1300));
        assert_eq!(seen.errors, Errors { status: 4, body: 7, lost: 6, closed: 5 });
        assert_eq!(seen.p99, Duration::from_micros(900));
        assert!(read("unable to connect").is_err());
    }
}
