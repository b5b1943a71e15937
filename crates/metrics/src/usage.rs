//! What the system says about processor time and memory.
//!
//! From `getrusage`, which counts in microseconds where `times` counts ticks of ten milliseconds.
//! <https://man7.org/linux/man-pages/man2/getrusage.2.html>

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeSpec, TimeVal};
use nix::time::{ClockId, clock_gettime};

/// Processor time, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In programs.
    pub user: f64,
    /// In the kernel, for them.
    pub system: f64,
}

impl Cpu {
    /// What this process has used.
    pub fn of_process() -> Cpu {
        getrusage(UsageWho::RUSAGE_SELF).map(|usage| Cpu::new(&usage)).unwrap_or_default()
    }

    /// What the calling thread has used; `None` where the system does not know.
    pub fn of_thread() -> Option<Cpu> {
        #[cfg(target_os = "linux")]
        return getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| Cpu::new(&usage));
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// What came between `start` and this.
    #[must_use]
    pub fn since(self, start: Cpu) -> Cpu {
        Cpu {
            user: (self.user - start.user).max(0.0),
            system: (self.system - start.system).max(0.0),
        }
    }

    /// Both kinds.
    pub fn sum(self) -> f64 {
        self.user + self.system
    }

    /// Scaled down so that the sum is no more than `time`: the clocks differ in resolution.
    #[must_use]
    pub fn within(self, time: f64) -> Cpu {
        let sum = self.sum();
        if sum <= time {
            return self;
        }
        Cpu { user: self.user * time / sum, system: self.system * time / sum }
    }

    fn new(usage: &Usage) -> Cpu {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Cpu { user: seconds(usage.user_time()), system: seconds(usage.system_time()) }
    }
}

/// Processor time of the calling thread, in nanoseconds: as [`Cpu::of_thread`], but to the point, where
/// that may be as old as the last time that the thread was interrupted.
pub(crate) fn thread_time() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, nanoseconds)
}

/// The processor time of one thread, for all threads of its process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClock(ClockId);

impl ThreadClock {
    /// Whether there is such a thing.
    pub(crate) const IS_SHARED: bool = cfg!(target_os = "linux");

    /// That of the calling thread.
    pub(crate) fn of_this_thread() -> ThreadClock {
        #[cfg(target_os = "linux")]
        {
            // As `pthread_getcpuclockid` says it: the number of the thread, inverted, and two bits for
            // "of a thread" and "as the scheduler counts".
            let thread = rustix::thread::gettid().as_raw_nonzero().get();
            ThreadClock(ClockId::from_raw((!thread << 3) | 6))
        }
        #[cfg(not(target_os = "linux"))]
        ThreadClock(ClockId::CLOCK_THREAD_CPUTIME_ID)
    }

    /// What it shows, in nanoseconds; `None` if the thread has ended, or there is no such clock.
    pub(crate) fn read(self) -> Option<u64> {
        let time = Self::IS_SHARED.then(|| clock_gettime(self.0))?;
        time.ok().map(nanoseconds)
    }
}

fn nanoseconds(time: TimeSpec) -> u64 {
    let part = |number| u64::try_from(number).unwrap_or(0);
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

/// Memory that a process has in fact, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now; 0 where the system does not say.
    pub rss: u64,
    /// At most so far: never less than now, though the kernel counts the two apart.
    pub max_rss: u64,
}

impl Memory {
    /// That of this process.
    pub fn of_process() -> Memory {
        let max_rss = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
            // Kibibytes on Linux, bytes on macOS.
            let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
            u64::try_from(usage.max_rss()).unwrap_or(0) * unit
        });
        let rss = resident();
        Memory { rss, max_rss: max_rss.max(rss) }
    }
}

/// The second number of `/proc/self/statm`, which counts pages.
fn resident() -> u64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_no_more_than_time() {
        let cpu = Cpu { user: 3.0, system: 1.0 };
        assert_eq!(cpu.within(5.0), cpu);
        assert_eq!(cpu.within(2.0), Cpu { user: 1.5, system: 0.5 });
        assert_eq!(cpu.since(Cpu { user: 1.0, system: 2.0 }), Cpu { user: 2.0, system: 0.0 });
    }

    #[test]
    fn work_and_memory_show() {
        let before = (Cpu::of_process(), Cpu::of_thread().unwrap_or_default());
        let mut pages = vec![0_u8; 64 << 20];
        for round in 0..4 {
            pages.iter_mut().for_each(|byte| *byte = byte.wrapping_add(round));
        }
        let memory = Memory::of_process();
        assert!(Cpu::of_process().since(before.0).sum() > 0.0);
        #[cfg(target_os = "linux")]
        assert!(Cpu::of_thread().unwrap_or_default().since(before.1).sum() > 0.0);
        #[cfg(target_os = "linux")]
        assert!(memory.rss >= 64 << 20, "{memory:?}");
        assert!(memory.max_rss >= memory.rss && memory.max_rss >= 64 << 20, "{memory:?}");
        drop(pages);
    }
}
