//! Watching and ending processes that may or may not be our children.
//!
//! A process is watched by pidfd where the kernel has it (5.3): it becomes readable at the end,
//! whoever still holds whatever the process had open, and a signal sent through it never reaches a
//! stranger who got the same number. Without it the caller looks from time to time.
//!
//! <https://man7.org/linux/man-pages/man2/pidfd_open.2.html>

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal,
    test_kill_process, waitpid,
};

/// A process that is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    pid: Pid,
    pidfd: Option<OwnedFd>,
}

impl Watch {
    /// Begins to watch; `None` if there is no such process.
    pub(crate) fn new(pid: i32) -> io::Result<Option<Watch>> {
        let pid = known(pid).ok_or(io::ErrorKind::InvalidInput)?;
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Watch { pid, pidfd: Some(fd) })),
            Err(Errno::SRCH) => Ok(None),
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => {
                let watch = Watch { pid, pidfd: None };
                Ok(if watch.has_ended() { None } else { Some(watch) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on with what another process has begun to watch.
    pub(crate) fn go_on(pid: i32, pidfd: Option<OwnedFd>) -> io::Result<Option<Watch>> {
        let pid = known(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let watch = Watch { pid, pidfd };
        Ok(if watch.has_ended() { None } else { Some(watch) })
    }

    /// The process' number.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What becomes readable when the process ends. Without it, ask [`Self::has_ended`] now and
    /// then.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Whether the process has ended. One of our children that was not reaped yet counts as ended
    /// only by pidfd.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.pidfd {
            Some(fd) => {
                let mut fds = [PollFd::new(fd, PollFlags::IN)];
                let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
                poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
            }
            None => test_kill_process(self.pid) == Err(Errno::SRCH),
        }
    }

    /// Whether the process has ended and only waits for somebody to ask how. For a process that is
    /// not our child, where [`Self::has_ended`] cannot tell.
    pub(crate) fn is_zombie(&self) -> bool {
        let stat = std::fs::read(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the name, which may be anything: proc_pid_stat(5).
        let state = stat.rsplit(|byte| *byte == b')').next().and_then(|rest| rest.get(1));
        matches!(state, Some(b'Z' | b'X'))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match &self.pidfd {
            Some(fd) => Ok(pidfd_send_signal(fd, signal)?),
            None => Ok(kill_process(self.pid, signal)?),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal; with a core dump or without.
    Signal(i32, bool),
    /// It was not our child.
    Unknown,
}

impl Exit {
    /// From `waitpid`'s status.
    pub(crate) fn from_wait(status: i32) -> Exit {
        if libc::WIFEXITED(status) {
            Exit::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            Exit::Signal(libc::WTERMSIG(status), libc::WCOREDUMP(status))
        } else {
            Exit::Unknown
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "terminated normally, exit code {code}"),
            Exit::Signal(number, dumped) => {
                write!(f, "terminated by signal {number}")?;
                if let Some(name) = signal_name(*number) {
                    write!(f, " ({name})")?;
                }
                f.write_str(if *dumped { ", core dumped" } else { "" })
            }
            Exit::Unknown => f.write_str("has ended, exit code not known"),
        }
    }
}

/// Names of the signals that end processes.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

/// Takes a child's status without waiting: `None` while it runs, [`Exit::Unknown`] if it is not
/// ours (any more).
pub(crate) fn reap(pid: i32) -> Option<Exit> {
    let Some(pid) = known(pid) else { return Some(Exit::Unknown) };
    loop {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) => return None,
            Ok(Some((_, status))) => return Some(Exit::from_wait(status.as_raw())),
            Err(Errno::INTR) => {}
            Err(_) => return Some(Exit::Unknown),
        }
    }
}

/// Gives every signal its default action and holds none back, as programs expect to be started: both
/// are inherited over `exec`. For use between `fork` and `exec`: async-signal-safe.
///
/// By the system's call and not the library's, which refuses the two signals that it uses itself, and
/// leaves them ignored in what it spawns.
pub(crate) fn default_signals() -> io::Result<()> {
    /// Bytes of the kernel's set of signals.
    const SET: usize = 8;
    // All zeroes is the default action in the kernel's form; larger than it is anywhere.
    let action = [0u64; 16];
    for signal in 1..=64 {
        // Fails for the two that cannot be changed.
        // SAFETY: the call reads the action and changes this process only; no handler is set.
        unsafe {
            let none = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, SET)
        };
    }
    // SAFETY: all zeroes is storage for a set, which sigemptyset makes one; the calls change this
    // process only.
    let done = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How often the calling thread has waited for something so far.
pub(crate) fn voluntary_switches() -> Option<u64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: fills the structure, for which zeros are valid.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
            return None;
        }
        usage.assume_init()
    };
    u64::try_from(usage.ru_nvcsw).ok()
}

/// A number that means one process, and not a group of them.
fn known(pid: i32) -> Option<Pid> {
    if pid > 0 { Pid::from_raw(pid) } else { None }
}

#[cfg(test)]
// Waiting is what is tested, so it is not left to `Child`.
#[allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    reason = "how ends are waited for is tested"
)]
mod tests {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_end_is_seen_and_decoded() {
        for (script, said) in [
            ("exit 7", "terminated normally, exit code 7"),
            ("exit 130", "terminated normally, exit code 130"),
            ("kill -9 $$", "terminated by signal 9 (SIGKILL)"),
        ] {
            let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pid = child.id() as i32;
            let watch = Watch::new(pid).unwrap().unwrap();
            assert_eq!(watch.pid(), pid);
            for _ in 0..500 {
                if watch.has_ended() {
                    break;
                }
                sleep(Duration::from_millis(10));
            }
            assert!(watch.is_zombie());
            assert_eq!(reap(pid).unwrap().to_string(), said);
            assert_eq!(reap(pid), Some(Exit::Unknown));
            assert!(Watch::new(pid).unwrap().is_none());
        }
    }

    #[test]
    fn a_running_process_can_be_signalled() {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let watch = Watch::new(child.id() as i32).unwrap().unwrap();
        assert!(!watch.has_ended() && !watch.is_zombie());
        assert_eq!(reap(watch.pid()), None);
        watch.signal(Signal::TERM).unwrap();
        while !watch.has_ended() {
            sleep(Duration::from_millis(5));
        }
        assert_eq!(reap(watch.pid()), Some(Exit::Signal(15, false)));
    }

    #[test]
    fn a_number_that_is_no_process_is_refused() {
        assert!(Watch::new(0).is_err());
        assert!(Watch::new(-1).is_err());
        assert_eq!(reap(-1), Some(Exit::Unknown));
    }
}
