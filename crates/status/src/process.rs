//! What the system tells about a process.

use std::io::Read;

/// Whether there is a process of this number.
pub fn lives(pid: u32) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is none, it only asks.
    pid > 0
        && (unsafe { libc::kill(pid, 0) } == 0
            || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}

/// Bytes of memory that a process has; `None` if the system does not tell.
/// <https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html>
pub fn resident(pid: u32) -> Option<u64> {
    let mut text = [0; 128];
    let mut file = std::fs::File::open(format!("/proc/{pid}/statm")).ok()?;
    let length = file.read(&mut text).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: asks for a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    pages.checked_mul(u64::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_has_memory() {
        let pid = std::process::id();
        assert!(lives(pid) && !lives(0) && !lives(u32::MAX));
        assert!(resident(pid).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(resident(u32::MAX), None);
    }
}
