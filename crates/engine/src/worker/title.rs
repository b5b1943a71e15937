//! What `ps` shows: `display-name` is written over the process's arguments, where
//! `engine_api::worker` has left room.
//!
//! The place is field 48 and 49 of `/proc/self/stat`, proc(5); without `/proc` (in a chroot) only the
//! short name is set.

use std::ffi::CString;

/// Shows `name`, if there is one.
pub(super) fn set(name: Option<&[u8]>) {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return };
    if let Ok(short) = CString::new(&name[..name.len().min(15)]) {
        // SAFETY: a C string, copied.
        unsafe { libc::prctl(libc::PR_SET_NAME, short.as_ptr(), 0, 0, 0) };
    }
    let Some((start, end)) = arguments() else { return };
    let Some(length) = end.checked_sub(start).filter(|length| *length > 1 && *length < 1 << 20)
    else {
        return;
    };
    let mut text = vec![0; length];
    let count = name.len().min(length - 1);
    text[..count].copy_from_slice(&name[..count]);
    // SAFETY: the kernel says that this is where the arguments of this process are, which is
    // writable memory of its stack; Python has copied them, and nobody else reads them.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), start as *mut u8, length) };
}

/// Where the arguments are.
fn arguments() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field may have anything in it, even this parenthesis.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_where_the_kernel_says() {
        let (start, end) = arguments().unwrap_or_default();
        let length = end - start;
        // SAFETY: as in `set`.
        let found = unsafe { std::slice::from_raw_parts(start as *const u8, length) };
        let first = std::env::args().next().unwrap_or_default();
        assert!(found.starts_with(first.as_bytes()));
    }
}
