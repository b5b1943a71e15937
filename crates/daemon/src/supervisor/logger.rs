//! Where the supervisor's and its workers' words go.
//!
//! To the relay, which logs them as the server would; if there is none or it does not keep up, as
//! lines to the main log, in the server's default form. What a worker says is escaped there: it may
//! be anybody's text. If that is a program that does not keep up either, lines are lost: nobody waits
//! for a log here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use crate::log::{Entry, Source};
use crate::sys::{send, wall_us};
use crate::wire::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Logger {
    relay: Option<OwnedFd>,
    /// The server's main log; standard error if none was given.
    main: Option<OwnedFd>,
    /// The least bad level that it logs. The relay knows that of each virtual host.
    level: u8,
}

impl Default for Logger {
    fn default() -> Logger {
        Logger { relay: None, main: None, level: u8::MAX }
    }
}

impl Logger {
    /// Where to log from now on.
    pub(super) fn set(&mut self, main: Option<OwnedFd>, relay: Option<OwnedFd>) {
        if main.is_some() {
            self.main = main;
        }
        self.relay = relay;
    }

    /// The least bad level that the main log takes.
    pub(super) fn set_level(&mut self, level: u8) {
        self.level = level;
    }

    /// Logs an entry.
    pub(super) fn log(&self, entry: &Entry<'_>) {
        if let Some(relay) = &self.relay
            && send(relay.as_fd(), &entry.encode(), &[], false).is_ok()
        {
            return;
        }
        if entry.record.level > self.level {
            return;
        }
        let line = line(entry, wall_us());
        match &self.main {
            Some(main) => write_line(main.as_fd(), line),
            None => write_line(std::io::stderr().as_fd(), line),
        }
    }

    /// Logs words of the supervisor that are about no group.
    pub(super) fn say(&self, level: u8, text: &str) {
        let record = Record::new(level, 0, text.as_bytes());
        self.log(&Entry { source: Source::Supervisor, group: b"", pid: 0, record });
    }
}

/// Most bytes that a pipe which has room takes without waiting: `PIPE_BUF`, see pipe(7).
const AT_ONCE: usize = 4096;

/// Writes a line with one call, if that does not wait. If it fails there is nowhere left to say so.
fn write_line(to: BorrowedFd<'_>, mut line: Vec<u8>) {
    let is_pipe = fstat(to).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo());
    if is_pipe {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let has_room = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], Some(&now));
        if has_room.is_ok_and(|ready| ready == 0) {
            return;
        }
        if line.len() > AT_ONCE {
            line.truncate(AT_ONCE - 1);
            line.push(b'\n');
        }
    }
    let _ = rustix::io::write(to, &line);
}

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

/// In the form of Apache's default `ErrorLogFormat`.
fn line(entry: &Entry<'_>, now: i64) -> Vec<u8> {
    let record = &entry.record;
    let level = LEVELS.get(usize::from(record.level)).unwrap_or(&"debug");
    // As a relay does it: who speaks, not whom it is about.
    let pid = match entry.source {
        Source::Worker | Source::Output if entry.pid > 0 => entry.pid,
        _ => std::process::id() as i32,
    };
    let mut line = format!("[{}] [wsgi:{level}] [pid {pid}] ", time(now)).into_bytes();
    if record.errno != 0 {
        let text = std::io::Error::from_raw_os_error(record.errno);
        line.extend_from_slice(format!("({}){text}: ", record.errno).as_bytes());
    }
    if record.code != 0 {
        line.extend_from_slice(format!("WSGI{:04}: ", record.code).as_bytes());
    }
    for byte in record.text {
        match byte {
            b'\t' => line.extend_from_slice(b"\\t"),
            0..0x20 | 0x7f => line.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

fn time(now: i64) -> String {
    let seconds: libc::time_t = now / 1_000_000;
    let mut buffer = [0u8; 64];
    // SAFETY: all zeroes is a tm; localtime_r fills it, and strftime writes at most as many bytes
    // as it is told, with the format's fields all set.
    let length = unsafe {
        let mut broken: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut broken);
        libc::strftime(
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            c"%a %b %d %H:%M:%S.?????? %Y".as_ptr(),
            &broken,
        )
    };
    let text = String::from_utf8_lossy(&buffer[..length]);
    text.replace("??????", &format!("{:06}", now.rem_euclid(1_000_000)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn nobody_waits_for_a_program_that_does_not_read() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut logger = Logger::default();
        logger.set(Some(writer.into()), None);
        let begun = Instant::now();
        for text in ["short".to_owned(), "long".repeat(5000)] {
            for _ in 0..1000 {
                logger.say(3, &text);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
        // What it reads is lines.
        drop(logger);
        let text = std::io::read_to_string(reader).unwrap();
        assert!(text.len() > 60_000 && text.ends_with('\n'));
        assert!(text.lines().all(|line| line.starts_with('[') && line.len() < AT_ONCE));
        assert!(text.lines().count() > 100);
    }

    #[test]
    fn a_line_looks_like_the_servers_and_is_one_line() {
        let record = Record { errno: 13, ..Record::new(3, 10, b"a\nb\x1b[0m\xff") };
        let entry = Entry { source: Source::Output, group: b"g", pid: 77, record };
        let line = line(&entry, 1_700_000_000_000_042);
        let text = String::from_utf8_lossy(&line);
        let (time, rest) = text.split_once("] ").unwrap();
        assert!(time.ends_with("000042 2023"), "{time}");
        let expected = "[wsgi:error] [pid 77] (13)Permission denied (os error 13): WSGI0010: \
                        a\\x0ab\\x1b[0m\u{fffd}\n";
        assert_eq!(rest, expected);
    }
}
