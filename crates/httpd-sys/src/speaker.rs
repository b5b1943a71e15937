//! Whose number the lines of the logs carry, in a process that writes the words of others.
//!
//! The server puts the number of the process that writes into each line, by `getpid`. A process that
//! only writes logs ([`crate::fork_relay`]) has a copy of the configuration that is its own, so there
//! the items of `ErrorLogFormat` that write its number are replaced by one that writes the speaker's.
//! Which those are is found by asking them: functions of the server have no names here. A log without
//! a format gets one that writes what the server would.
//!
//! Left out: the number that `syslog` itself puts before a line.
//! <https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>

use std::ffi::CStr;
use std::fmt::Write;
use std::os::raw::{c_char, c_int};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::guard::quiet;
use crate::{Server, raw};

static SPEAKER: AtomicU32 = AtomicU32::new(0);

/// From now on lines carry this number.
pub fn speak_as(pid: u32) {
    SPEAKER.store(pid, Relaxed);
}

/// Has the logs of these servers write the number of [`speak_as`].
///
/// # Safety
/// In a process of its own, with one thread, that only writes logs until it ends.
pub(crate) unsafe fn speak_for_others(server: Server<'_>) {
    let own = std::process::id();
    speak_as(own);
    for server in server.and_following() {
        // SAFETY: each server has the core's configuration (A7), which is ours alone here, as is a
        // format's array; what is put there lives as long as the process.
        unsafe {
            let core = raw::ap_get_core_module_config((*server.as_ptr()).module_config)
                .cast::<raw::core_server_config>();
            let Some(core) = core.as_mut() else { continue };
            match core.error_log_format.as_mut() {
                Some(format) => replace(server, format, own),
                None => core.error_log_format = usual(),
            }
        }
    }
}

/// Replaces the items that write the number of this process.
///
/// # Safety
/// It is the format of this server's log, and nobody else's.
unsafe fn replace(server: Server<'_>, format: &mut raw::apr_array_header_t, own: u32) {
    let own = own.to_string();
    let Ok(count) = usize::try_from(format.nelts) else { return };
    if format.elts.is_null() {
        return;
    }
    // SAFETY: an array of so many items, by its type.
    let items = unsafe {
        std::slice::from_raw_parts_mut(format.elts.cast::<raw::ap_errorlog_format_item>(), count)
    };
    // SAFETY: all of it may be NULL or 0, by its documentation.
    let mut info: raw::ap_errorlog_info = unsafe { std::mem::zeroed() };
    info.s = server.as_ptr();
    info.level = raw::APLOG_ERR;
    info.module_index = raw::APLOG_NO_MODULE;
    for item in items {
        if item.flags & raw::AP_ERRORLOG_FLAG_MESSAGE as u32 != 0 {
            continue;
        }
        let Some(write) = item.func else { continue };
        let mut buffer = [0u8; 64];
        // SAFETY: as the server calls it for a line without request and connection.
        let length =
            unsafe { write(&info, item.arg, buffer.as_mut_ptr().cast(), buffer.len() as c_int) };
        let written = usize::try_from(length).ok().and_then(|length| buffer.get(..length));
        if written == Some(own.as_bytes()) {
            item.func = Some(number);
        }
    }
}

/// A format that writes what a server without one does.
fn usual() -> *mut raw::apr_array_header_t {
    let item = |func: Option<_>, flags: c_int| raw::ap_errorlog_format_item {
        func,
        arg: ptr::null(),
        flags: flags as u32,
        min_loglevel: 0,
    };
    let items = Box::leak(Box::new([
        item(Some(head as unsafe extern "C" fn(_, _, _, _) -> _), 0),
        item(None, raw::AP_ERRORLOG_FLAG_MESSAGE),
    ]));
    let count = items.len() as c_int;
    Box::leak(Box::new(raw::apr_array_header_t {
        pool: ptr::null_mut(),
        elt_size: size_of::<raw::ap_errorlog_format_item>() as c_int,
        nelts: count,
        nalloc: count,
        elts: items.as_mut_ptr().cast(),
    }))
}

/// `%P`.
unsafe extern "C" fn number(
    _: *const raw::ap_errorlog_info,
    _: *const c_char,
    buffer: *mut c_char,
    length: c_int,
) -> c_int {
    // SAFETY: the server gives a buffer of that length.
    quiet(0, || unsafe { put(&SPEAKER.load(Relaxed).to_string(), buffer, length) })
}

/// What comes before the message: time, module and level, process, place, error.
unsafe extern "C" fn head(
    info: *const raw::ap_errorlog_info,
    _: *const c_char,
    buffer: *mut c_char,
    length: c_int,
) -> c_int {
    // SAFETY: the server gives a valid record and a buffer of that length.
    quiet(0, || unsafe { put(&compose(&*info), buffer, length) })
}

/// # Safety
/// Pointers in `info` are NULL or valid.
unsafe fn compose(info: &raw::ap_errorlog_info) -> String {
    const LEVELS: [&str; 16] = [
        "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug", "trace1", "trace2",
        "trace3", "trace4", "trace5", "trace6", "trace7", "trace8",
    ];
    let mut text = String::with_capacity(100);
    if info.using_syslog == 0 {
        let _ = write!(text, "[{}] ", now());
    }
    // SAFETY: a name is NULL or a string of the module's record.
    let module = unsafe { raw::ap_find_module_short_name(info.module_index) };
    // SAFETY: as above.
    let module = unsafe { lossy(module) }.unwrap_or_else(|| "-".to_owned());
    let level = usize::try_from(info.level).ok().and_then(|level| LEVELS.get(level));
    let pid = SPEAKER.load(Relaxed);
    let level = level.copied().unwrap_or("-");
    let _ = write!(text, "[{module}:{level}] [pid {pid}:tid {pid}] ");
    // SAFETY: NULL or the name of a file.
    let file = unsafe { lossy(info.file) };
    if let Some(file) = file.filter(|_| info.level >= raw::APLOG_DEBUG) {
        let name = file.rsplit('/').next().unwrap_or_default();
        let _ = write!(text, "{name}({}): ", info.line);
    }
    if info.status != 0 {
        let error = crate::Error::new(crate::Kind::Other, info.status);
        let _ = write!(text, "({}){}: ", info.status, error.text());
    }
    text
}

/// # Safety
/// It is NULL or a C string.
unsafe fn lossy(text: *const c_char) -> Option<String> {
    // SAFETY: by contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// `Sat Nov 21 17:16:03.000042 2026`.
fn now() -> String {
    // As long as APR documents, with its NUL.
    let mut buffer = [0u8; 32];
    // SAFETY: the buffer is longer than the 25 bytes that are written.
    let time = unsafe {
        let time = raw::apr_time_now();
        raw::apr_ctime(buffer.as_mut_ptr().cast(), time);
        time
    };
    let text = String::from_utf8_lossy(&buffer);
    let (date, year) = text.split_at_checked(19).unwrap_or_default();
    format!("{date}.{:06}{}", time.rem_euclid(1_000_000), year.trim_end_matches('\0'))
}

/// Writes a text as far as there is room, and a NUL; its length.
///
/// # Safety
/// There are `length` bytes at `buffer`.
unsafe fn put(text: &str, buffer: *mut c_char, length: c_int) -> c_int {
    let room = usize::try_from(length).unwrap_or(0);
    let Some(most) = room.checked_sub(1) else { return 0 };
    let count = text.len().min(most);
    // SAFETY: `count` and the NUL behind it fit, and the text is another place.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), count);
        *buffer.add(count) = 0;
    }
    count as c_int
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut() {
        let mut buffer = [1 as c_char; 8];
        // SAFETY: it is as long as that.
        let count = unsafe { put("0123456789", buffer.as_mut_ptr(), 8) };
        assert_eq!((count, buffer[6], buffer[7]), (7, b'6' as c_char, 0));
        // SAFETY: nothing is written.
        assert_eq!(unsafe { put("0", buffer.as_mut_ptr(), 0) }, 0);
    }
}
