//! Memory and descriptors of a server, told apart by what its processes are for.
//!
//! Memory is the proportional set size, which counts a page shared by n processes as 1/n in each,
//! so that sums mean something: <https://docs.kernel.org/filesystems/proc.html>.

use anyhow::{Context, Result};

use crate::accounting;

/// What some processes take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// Bytes of proportional set size.
    pub(crate) bytes: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    pub(crate) processes: usize,
}

impl Share {
    fn add(&mut self, other: Share) {
        self.bytes += other.bytes;
        self.descriptors += other.descriptors;
        self.processes += other.processes;
    }

    /// Mebibytes.
    pub(crate) fn mib(self) -> f64 {
        self.bytes as f64 / f64::from(1 << 20)
    }

    /// Mebibytes of one of them.
    pub(crate) fn mib_each(self) -> f64 {
        self.mib() / self.processes.max(1) as f64
    }
}

/// A server, by what its processes are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The processes that were started by the benchmark, such as Apache's parent.
    pub(crate) parent: Share,
    /// Those that answer clients.
    pub(crate) children: Share,
    /// A supervisor, and whatever else has one thread and runs no Python.
    pub(crate) helpers: Share,
    /// Those that only run Python.
    pub(crate) python: Share,
}

impl Memory {
    /// Everything but Python.
    pub(crate) fn apache(self) -> Share {
        let mut sum = self.parent;
        sum.add(self.children);
        sum.add(self.helpers);
        sum
    }

    /// All of it.
    pub(crate) fn all(self) -> Share {
        let mut sum = self.apache();
        sum.add(self.python);
        sum
    }

    /// Looks at processes and their descendants. Who ends meanwhile is not counted.
    pub(crate) fn of(roots: &[u32]) -> Result<Memory> {
        let mut found = Memory::default();
        for root in roots {
            for member in accounting::family(*root) {
                let Some(share) = look(member.pid)? else { continue };
                let part = if accounting::is_python(member.pid) {
                    &mut found.python
                } else if member.pid == *root {
                    &mut found.parent
                } else if accounting::threads(member.pid) > 1 {
                    &mut found.children
                } else {
                    &mut found.helpers
                };
                part.add(share);
            }
        }
        Ok(found)
    }
}

fn look(pid: u32) -> Result<Option<Share>> {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
        return Ok(None);
    };
    // A zombie has an empty one.
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = read_pss(&text).context("no Pss in smaps_rollup")?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Ok(Some(Share { bytes, descriptors, processes: 1 }))
}

fn read_pss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_rollup_states_the_sum() {
        let text = "00400000-7ffd [rollup]\nRss:   900 kB\nPss:   512 kB\nPss_Dirty:  1 kB\n";
        assert_eq!(read_pss(text), Some(512 * 1024));
        assert_eq!(read_pss(""), None);
    }

    #[test]
    fn this_process_is_seen() {
        let memory = Memory::of(&[std::process::id()]).unwrap();
        // The tests are no server: which kind of process they are does not matter.
        assert!(memory.all().bytes > 100_000);
        assert!(memory.all().descriptors >= 3);
        assert!(memory.all().processes >= 1);
    }
}
