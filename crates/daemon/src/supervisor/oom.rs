//! Was it the kernel that ran out of memory?
//!
//! A SIGKILL that nobody here sent is often the out-of-memory killer's. It says so in the control
//! group's counters, not to us; so they are compared with what they were. Only a hint: others in the
//! same control group count, too.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>

use std::fs;
use std::path::PathBuf;

/// The counter of the control group we live in.
#[derive(Debug, Default)]
pub(super) struct OomKills {
    file: Option<PathBuf>,
    last: u64,
}

impl OomKills {
    /// Begins to count.
    pub(super) fn new() -> OomKills {
        let file = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
            let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
            Some(PathBuf::from(format!("/sys/fs/cgroup{path}/memory.events")))
        });
        let mut kills = OomKills { file, last: 0 };
        kills.last = kills.count();
        kills
    }

    /// Whether there were some since the last time.
    pub(super) fn have_risen(&mut self) -> bool {
        let count = self.count();
        std::mem::replace(&mut self.last, count) < count
    }

    fn count(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        text.as_deref().and_then(oom_kill).unwrap_or(0)
    }
}

fn oom_kill(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found() {
        assert_eq!(oom_kill("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(oom_kill("low 0\n"), None);
        let mut kills = OomKills::new();
        assert!(!kills.have_risen());
    }

    #[test]
    fn a_rise_is_seen_once() {
        let file = std::env::temp_dir().join(format!("memory.events.{}", std::process::id()));
        let _ = fs::write(&file, "oom_kill 1\n");
        let mut kills = OomKills { file: Some(file.clone()), last: 0 };
        assert!(kills.have_risen() && !kills.have_risen());
        let _ = fs::remove_file(file);
    }
}
