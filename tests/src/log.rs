//! The error log of a server, read as a test reads it.
//!
//! A line is *expected* once a test asked for it ([`Log::expect`]) or said that it may appear
//! ([`Log::allow`]); at the end everything from `warn` up that was not expected fails the test, and
//! so does every notice that Apache does not write in ordinary life (a child that died of a
//! signal), and everything that is no log record at all (a panic, a fatal error of Python). A
//! `WSGI####` code, expected or not, has to be one of the table, with its level and its text.
//!
//! <https://httpd.apache.org/docs/2.4/logs.html#errorlog>

use crate::process::wait_for;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// How long a test waits for a line.
const PATIENCE: Duration = Duration::from_secs(60);

/// What Apache says when nothing is wrong: start, stop, restarts, command line.
const ORDINARY: [&str; 16] = [
    "AH00094: Command line: ",
    "AH00163: ",
    "AH00169: caught SIGTERM, shutting down",
    "AH00171: Graceful restart requested, doing restart",
    "AH00173: SIGHUP received. ",
    "AH00292: ",
    "AH00294: SIGHUP received. ",
    "AH00295: caught SIGTERM, shutting down",
    "AH00297: SIGUSR1 received. ",
    "AH00298: ",
    "AH00489: ",
    "AH00491: caught SIGTERM, shutting down",
    "AH00492: caught SIGWINCH, shutting down gracefully",
    "AH00493: SIGUSR1 received. ",
    "AH00494: SIGHUP received. ",
    "AH00170: caught SIGWINCH, shutting down gracefully",
];

/// What Apache says when all its few threads are busy, or when it is stopped or restarted while it
/// closes a connection: tests do that on purpose.
const BUSY: [&str; 11] = [
    "AH00161: server reached MaxRequestWorkers",
    "AH00286: server reached MaxRequestWorkers",
    "AH00287: server is within MinSpareThreads",
    "AH00288: scoreboard is full",
    "AH00484: server reached MaxRequestWorkers",
    "AH00485: scoreboard is full",
    "AH10159: server is within MinSpareThreads",
    "(9)Bad file descriptor: AH03092: process_lingering_close",
    "(9)Bad file descriptor: AH03093: process_socket",
    "(9)Bad file descriptor: AH03465: process_socket",
    "(9)Bad file descriptor: AH10503: process_socket",
];

/// A record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// All of it.
    pub raw: String,
    /// The module that wrote it, `wsgi`; empty if this is not a record of Apache.
    pub module: String,
    /// The level, `error`.
    pub level: String,
    /// Process and thread, `123:tid 456`.
    pub writer: String,
    /// What follows the writer: error, client, text.
    pub rest: String,
}

/// The error log of a running or ended server.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that were asked for, by index.
    expected: Vec<usize>,
    allowed: Vec<String>,
}

impl Log {
    pub(crate) fn new(path: PathBuf) -> Log {
        Log { path, state: Mutex::default() }
    }

    /// The whole text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// Every line.
    pub fn lines(&self) -> Vec<Line> {
        self.text().lines().map(Line::parse).collect()
    }

    /// The lines that contain this text.
    pub fn matching(&self, text: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.raw.contains(text)).collect()
    }

    /// Waits for a line containing `text` that no earlier call got, and takes it.
    ///
    /// # Panics
    /// When there is none in good time.
    #[track_caller]
    pub fn expect(&self, text: &str) -> Line {
        match wait_for(PATIENCE, || self.take(text)) {
            Some(line) => line,
            None => panic!("the error log has no line with: {text}"),
        }
    }

    /// Waits for a traceback whose last line starts with `last`, and takes all of its lines.
    ///
    /// # Panics
    /// When there is none in good time.
    #[track_caller]
    pub fn expect_traceback(&self, last: &str) -> Vec<Line> {
        match wait_for(PATIENCE, || self.take_traceback(last)) {
            Some(lines) => lines,
            None => panic!("the error log has no traceback ending: {last}"),
        }
    }

    /// Lines with this text may appear, any number of times.
    pub fn allow(&self, text: &str) {
        self.state.lock().unwrap().allowed.push(text.to_owned());
    }

    /// Lines that contain `text` must not have appeared.
    ///
    /// # Panics
    /// When one has.
    #[track_caller]
    pub fn refuse(&self, text: &str) {
        let found = self.matching(text);
        assert!(found.is_empty(), "the error log has {}", found[0].raw);
    }

    /// How often the server read its configuration and went on.
    pub(crate) fn generations(&self) -> usize {
        ["AH00489: ", "AH00292: ", "AH00163: "]
            .iter()
            .map(|id| self.text().matches(id).count())
            .sum()
    }

    /// What nobody expected, as a report; `None` if all is well.
    pub fn audit(&self) -> Option<String> {
        let lines = self.lines();
        let state = self.state.lock().unwrap();
        let unexpected = |index: usize, line: &Line| {
            line.is_alarming()
                && !state.expected.contains(&index)
                && !state.allowed.iter().any(|text| line.raw.contains(text))
        };
        let bad: Vec<usize> = (0..lines.len())
            .filter(|&index| unexpected(index, &lines[index]) || lines[index].has_wrong_code())
            .collect();
        if bad.is_empty() {
            return None;
        }
        let mut report = format!("{} unexpected lines in the error log (marked !):\n", bad.len());
        for (index, line) in lines.iter().enumerate() {
            let sign = if bad.contains(&index) { '!' } else { ' ' };
            let _ = writeln!(report, "{sign} {}", line.raw);
        }
        Some(report)
    }

    fn take(&self, text: &str) -> Option<Line> {
        let lines = self.complete_lines();
        let mut state = self.state.lock().unwrap();
        let found = (0..lines.len())
            .find(|index| !state.expected.contains(index) && lines[*index].raw.contains(text))?;
        state.expected.push(found);
        Some(lines[found].clone())
    }

    fn take_traceback(&self, last: &str) -> Option<Vec<Line>> {
        const FIRST: &str = "Traceback (most recent call last):";
        let lines = self.complete_lines();
        let mut state = self.state.lock().unwrap();
        let end = (0..lines.len())
            .find(|i| !state.expected.contains(i) && lines[*i].message().starts_with(last))?;
        let same = |i: &usize| lines[*i].writer == lines[end].writer && !state.expected.contains(i);
        let start = (0..end).rev().filter(same).find(|i| lines[*i].message() == FIRST)?;
        let taken: Vec<usize> = (start..=end).filter(same).collect();
        state.expected.extend(&taken);
        Some(taken.into_iter().map(|index| lines[index].clone()).collect())
    }

    /// The lines that have their end already.
    fn complete_lines(&self) -> Vec<Line> {
        let text = self.text();
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        text[..end].lines().map(Line::parse).collect()
    }
}

impl Line {
    /// `[time] [module:level] [pid 1:tid 2] rest`.
    fn parse(raw: &str) -> Line {
        let other = Line {
            raw: raw.to_owned(),
            module: String::new(),
            level: String::new(),
            writer: String::new(),
            rest: raw.to_owned(),
        };
        let parsed = (|| {
            let rest = raw.strip_prefix('[')?.split_once("] [")?.1;
            let (who, rest) = rest.split_once("] [pid ")?;
            let (module, level) = who.split_once(':')?;
            let (writer, rest) = rest.split_once(']')?;
            Some(Line {
                module: module.to_owned(),
                level: level.to_owned(),
                writer: writer.to_owned(),
                rest: rest.trim_start().to_owned(),
                ..other.clone()
            })
        })();
        parsed.unwrap_or(other)
    }

    /// What follows the client, if one is named.
    pub fn text(&self) -> &str {
        let named = ["[client ", "[remote "].iter().any(|tag| self.rest.starts_with(tag));
        match self.rest.split_once("] ") {
            Some((_, text)) if named => text,
            _ => &self.rest,
        }
    }

    /// What follows the client and the script.
    pub fn message(&self) -> &str {
        let text = self.text();
        match text.strip_prefix("[script ") {
            Some(rest) => rest.split_once("] ").map_or(text, |(_, message)| message),
            None => text,
        }
    }

    /// The process that wrote it.
    pub fn pid(&self) -> Option<u32> {
        self.writer.split(':').next()?.parse().ok()
    }

    /// Whether it names a code in another way than the table has it.
    fn has_wrong_code(&self) -> bool {
        let Some(number) = log_codes::find_in(&self.rest).filter(|_| self.module == "wsgi") else {
            return false;
        };
        let Some(entry) = log_codes::find(number) else { return true };
        let (_, text) = self.rest.split_once(&format!("{entry}: ")).unwrap_or_default();
        // Exceptions have the script between the code and the text.
        let text = match text.strip_prefix("[script ") {
            Some(rest) => rest.split_once("] ").map_or("", |(_, text)| text),
            None => text,
        };
        entry.level().name() != self.level || !text.starts_with(entry.leading())
    }

    fn is_alarming(&self) -> bool {
        match self.level.as_str() {
            "info" | "debug" => false,
            level if level.starts_with("trace") => false,
            // What an option does not do yet is told to whoever gives it.
            "notice" if self.rest.contains(": not in force yet: ") => false,
            "notice" => !ORDINARY.iter().any(|text| self.rest.starts_with(text)),
            "" => !self.raw.is_empty(),
            _ => !BUSY.iter().any(|text| self.rest.starts_with(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> (tempfile::TempDir, Log) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        fs::write(&path, text).unwrap();
        (dir, Log::new(path))
    }

    const ERROR: &str = "[Mon Nov 21 11:00:00.000000 2026] [wsgi:error] [pid 7:tid 8] \
        [client 127.0.0.1:5] [script /x] WSGI0109: Unable to execute Python script file '/x'.\n";

    #[test]
    fn a_record_is_taken_apart() {
        let line = Line::parse(ERROR.trim_end());
        assert_eq!((line.module.as_str(), line.level.as_str()), ("wsgi", "error"));
        assert!(line.text().starts_with("[script /x] WSGI0109: Unable"));
        assert_eq!(line.pid(), Some(7));
    }

    #[test]
    fn what_nobody_expected_is_reported() {
        let (_dir, log) = log(ERROR);
        assert!(log.audit().unwrap().contains("! [Mon"));
        log.expect("WSGI0109");
        assert_eq!(log.audit(), None);
    }

    #[test]
    fn a_line_is_expected_once() {
        let (_dir, log) = log(&ERROR.repeat(2));
        log.expect("WSGI0109");
        assert!(log.audit().is_some());
        log.allow("Unable");
        assert_eq!(log.audit(), None);
    }

    #[test]
    fn deaths_and_foreign_text_are_alarming() {
        let dead = "[Mon] [core:notice] [pid 1:tid 1] AH00052: child pid 5 exit signal Abort (6)";
        assert!(Line::parse(dead).is_alarming());
        assert!(Line::parse("thread '<unnamed>' panicked at src/x.rs").is_alarming());
        let ordinary = "[Mon] [mpm_event:notice] [pid 1:tid 1] AH00489: Apache configured";
        assert!(!Line::parse(ordinary).is_alarming());
    }

    #[test]
    fn codes_are_those_of_the_table() {
        let line = |level: &str, text: &str| {
            Line::parse(&format!("[Mon] [wsgi:{level}] [pid 1:tid 2] [client ::1] {text}"))
        };
        let good = "[script /x] WSGI0109: Unable to execute Python script file '/x'.";
        assert!(!line("error", good).has_wrong_code());
        assert!(line("warn", good).has_wrong_code());
        assert!(line("error", "WSGI0109: Cannot execute").has_wrong_code());
        assert!(line("error", "WSGI0999: What?").has_wrong_code());
        let exception = "WSGI0175: [script /x] SystemExit exception raised by";
        assert!(!line("error", exception).has_wrong_code());
        assert!(!line("error", "no code").has_wrong_code());
    }

    #[test]
    fn a_traceback_is_taken_whole() {
        let record = |text: &str| format!("[Mon] [wsgi:error] [pid 1:tid 2] [client ::1] {text}\n");
        let other = "[Mon] [wsgi:error] [pid 1:tid 9] [client ::1] other\n";
        let text = record("Traceback (most recent call last):")
            + &record("  File \"x\", line 1")
            + other
            + &record("ValueError: no");
        let (_dir, log) = log(&text);
        assert_eq!(log.expect_traceback("ValueError").len(), 3);
        assert!(log.audit().unwrap().contains("! [Mon] [wsgi:error] [pid 1:tid 9]"));
    }
}
