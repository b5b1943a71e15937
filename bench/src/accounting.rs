//! What processes and the machine used, from proc(5): <https://man7.org/linux/man-pages/man5/proc.5.html>.
//!
//! Two sides are told apart, since a daemon may serve quickly at the front's expense: processes that
//! run Python for an application, and everything else (Apache). An embedded server is one side only.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// A process at one moment: its number may be given to another one later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) pid: u32,
    started: u64,
    zombie: bool,
}

/// What some processes have used since they started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of Apache, or of a server without Python processes of their own.
    pub(crate) front: Duration,
    /// Processor time of processes that only run Python.
    pub(crate) python: Duration,
    /// Times a thread gave up its processor.
    pub(crate) voluntary: u64,
    /// Times a thread lost it.
    pub(crate) involuntary: u64,
}

impl Usage {
    /// What was used between two looks. A process that ended between them counts as nothing.
    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage {
            front: self.front.saturating_sub(before.front),
            python: self.python.saturating_sub(before.python),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }

    pub(crate) fn cpu(self) -> Duration {
        self.front + self.python
    }
}

struct Stat {
    parent: u32,
    cpu: Duration,
    started: u64,
    zombie: bool,
}

/// A process and all its descendants.
pub(crate) fn family(root: u32) -> Vec<Member> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut stats = HashMap::new();
    let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Some(stat) = stat(pid) else { continue };
        children.entry(stat.parent).or_default().push(pid);
        stats.insert(pid, stat);
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let Some(stat) = stats.remove(&pid) else { continue };
        found.push(Member { pid, started: stat.started, zombie: stat.zombie });
        next.extend(children.remove(&pid).unwrap_or_default());
    }
    found
}

/// Whether that process still runs, and is no other one with its number.
pub(crate) fn is_still(member: &Member) -> bool {
    stat(member.pid).is_some_and(|stat| stat.started == member.started && !stat.zombie)
}

/// What these processes and their descendants have used.
pub(crate) fn usage(roots: &[u32]) -> Usage {
    let mut sum = Usage::default();
    for member in roots.iter().flat_map(|root| family(*root)) {
        let Some(stat) = stat(member.pid) else { continue };
        if is_python(member.pid) {
            sum.python += stat.cpu;
        } else {
            sum.front += stat.cpu;
        }
        let tasks = std::fs::read_dir(format!("/proc/{}/task", member.pid));
        for task in tasks.into_iter().flatten().flatten() {
            let (voluntary, involuntary) = switches(&task.path().join("status"));
            sum.voluntary += voluntary;
            sum.involuntary += involuntary;
        }
    }
    sum
}

/// A worker of a process group: C mod_wsgi forks them from Apache and renames them, everybody else
/// executes something else.
pub(crate) fn is_python(pid: u32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if line.starts_with(b"(wsgi:") {
        return true;
    }
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = String::from_utf8_lossy(program);
    let name = Path::new(program.as_ref()).file_name().unwrap_or_default().to_string_lossy();
    !["apache2", "httpd", "wsgi-supervisor"].iter().any(|front| name.starts_with(front))
}

/// How many threads a process has.
pub(crate) fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

fn stat(pid: u32) -> Option<Stat> {
    read_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name may hold anything, so counting starts behind its last parenthesis.
fn read_stat(line: &str) -> Option<Stat> {
    let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        cpu: ticks(number(11)? + number(12)?),
        started: number(19)?,
        zombie: *fields.first()? == "Z",
    })
}

fn switches(status: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    (field("voluntary_ctxt_switches:"), field("nonvoluntary_ctxt_switches:"))
}

fn ticks(count: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_nanos(count.saturating_mul(1_000_000_000 / per_second))
}

/// Time all processors together were busy, whoever used them, since the machine started.
pub(crate) fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    read_busy(text.lines().next().unwrap_or_default())
}

fn read_busy(line: &str) -> Duration {
    // user nice system idle iowait irq softirq steal
    let fields: Vec<u64> =
        line.split_ascii_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let sum = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| fields.get(*index)).sum();
    ticks(sum)
}

/// What this process and its finished children (the load generator) used.
pub(crate) fn own() -> Duration {
    let time = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| getrusage(who).ok())
        .map(|usage| time(usage.user_time()) + time(usage.system_time()))
        .sum()
}

/// Number of processors.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_confuses_nobody() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 99123 1 2";
        let stat = read_stat(line).unwrap();
        assert_eq!((stat.parent, stat.started, stat.zombie), (7, 99123, false));
        assert_eq!(stat.cpu, ticks(200));
        assert!(read_stat("42 (short) S 1").is_none());
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(
            read_busy("cpu  1 2 4 1000 2000 8 16 32 64 128"),
            ticks(1 + 2 + 4 + 8 + 16 + 32)
        );
    }

    #[test]
    fn this_process_is_seen() {
        let family = family(std::process::id());
        assert_eq!(family[0].pid, std::process::id());
        assert!(is_still(&family[0]));
        let before = own();
        let mut x = 1u64;
        while own() < before + Duration::from_millis(20) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        let used = usage(&[std::process::id()]);
        assert!(used.cpu() >= Duration::from_millis(10), "{used:?}");
    }
}
