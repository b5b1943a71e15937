//! The error log.
//!
//! Text goes to C as the value of a constant `%s`, whatever is in it. The server cuts a line at
//! about 8 KiB after escaping, so longer text is split here into several records.
//! <https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use apr_sys as raw;

use crate::module::Module;

/// Levels of the error log, worst first.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the directive LogLevel")]
pub enum Level {
    Emergency = 0,
    Alert = 1,
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
    Trace1 = 8,
    Trace2 = 9,
    Trace3 = 10,
    Trace4 = 11,
    Trace5 = 12,
    Trace6 = 13,
    Trace7 = 14,
    Trace8 = 15,
}

/// Where in a source a record was made; shown at debug levels and by `%F`.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a> {
    /// Name of the file.
    pub file: &'a CStr,
    /// Line in it.
    pub line: u32,
}

/// The place in this source file, as a [`Location`].
#[macro_export]
macro_rules! here {
    () => {
        $crate::Location {
            file: match ::core::ffi::CStr::from_bytes_with_nul(
                ::core::concat!(::core::file!(), "\0").as_bytes(),
            ) {
                Ok(file) => file,
                Err(_) => c"",
            },
            line: ::core::line!(),
        }
    };
}

/// Something the server can log for, and the module that does.
#[derive(Clone, Copy)]
pub struct Logger<'a> {
    target: Target,
    /// Index of the module, for its own `LogLevel`.
    module: c_int,
    life: PhantomData<&'a ()>,
}

#[derive(Clone, Copy)]
enum Target {
    /// Alive while the logger is.
    Request(*const raw::request_rec),
    /// Alive while the logger is, or NULL for the process's own log.
    Server(*const raw::server_rec),
}

/// The main server of a child, for those who have no request; NULL in the parent.
static PROCESS: AtomicPtr<raw::server_rec> = AtomicPtr::new(ptr::null_mut());

/// Names the server that [`Logger::process`] logs for.
///
/// # Safety
/// `server` is NULL, or alive until the next call of this function.
pub(crate) unsafe fn set_process_server(server: *mut raw::server_rec) {
    PROCESS.store(server, Ordering::Release);
}

impl<'a> Logger<'a> {
    /// # Safety
    /// `request` is alive for `'a`.
    pub(crate) unsafe fn request<M: Module>(request: *const raw::request_rec) -> Logger<'a> {
        Logger::new::<M>(Target::Request(request))
    }

    /// # Safety
    /// `server` is NULL or alive for `'a`.
    pub(crate) unsafe fn server<M: Module>(server: *const raw::server_rec) -> Logger<'a> {
        Logger::new::<M>(Target::Server(server))
    }

    /// The log of the main server in a child that serves, of the process otherwise. Any thread.
    pub fn process<M: Module>() -> Logger<'static> {
        Logger::new::<M>(Target::Server(PROCESS.load(Ordering::Acquire)))
    }

    fn new<M: Module>(target: Target) -> Logger<'a> {
        Logger { target, module: M::record().index(), life: PhantomData }
    }

    /// The least bad level that is logged.
    pub fn level(&self) -> Level {
        // SAFETY: alive (constructors).
        let level = unsafe {
            match self.target {
                Target::Request(request) => {
                    raw::ap_get_request_module_loglevel(request, self.module)
                }
                Target::Server(server) if server.is_null() => raw::APLOG_NOTICE,
                Target::Server(server) => raw::ap_get_server_module_loglevel(server, self.module),
            }
        };
        Level::from_raw(level)
    }

    /// Whether records of this level are logged.
    pub fn enabled(&self, level: Level) -> bool {
        level <= self.level()
    }

    /// Logs `text`; `status` is a system's or APR's error number that goes with it, or 0.
    pub fn log(&self, level: Level, at: Location<'_>, status: i32, text: &[u8]) {
        if !self.enabled(level) {
            return;
        }
        let mut line = Vec::with_capacity(text.len().min(LONGEST) + 1);
        for piece in pieces(text) {
            line.clear();
            // C would end at a NUL and hide what is behind it.
            for byte in piece {
                match byte {
                    0 => line.extend_from_slice(b"\\x00"),
                    byte => line.push(*byte),
                }
            }
            line.push(0);
            self.put(level, at, status, &line);
        }
    }

    /// `line` ends in its only NUL.
    fn put(&self, level: Level, at: Location<'_>, status: i32, line: &[u8]) {
        let at_line = c_int::try_from(at.line).unwrap_or(0);
        // SAFETY: the target is alive (constructors); strings are NUL-terminated and are not kept.
        unsafe {
            match self.target {
                Target::Request(request) => raw::ap_log_rerror_(
                    at.file.as_ptr(),
                    at_line,
                    self.module,
                    level as c_int,
                    status,
                    request,
                    c"%s".as_ptr(),
                    line.as_ptr(),
                ),
                Target::Server(server) => raw::ap_log_error_(
                    at.file.as_ptr(),
                    at_line,
                    self.module,
                    level as c_int,
                    status,
                    server,
                    c"%s".as_ptr(),
                    line.as_ptr(),
                ),
            }
        }
    }
}

impl Level {
    const ALL: [Level; 16] = [
        Level::Emergency,
        Level::Alert,
        Level::Critical,
        Level::Error,
        Level::Warning,
        Level::Notice,
        Level::Info,
        Level::Debug,
        Level::Trace1,
        Level::Trace2,
        Level::Trace3,
        Level::Trace4,
        Level::Trace5,
        Level::Trace6,
        Level::Trace7,
        Level::Trace8,
    ];

    /// The level of a number; what is out of range becomes the nearest.
    pub fn from_raw(level: i32) -> Level {
        let index = usize::try_from(level).unwrap_or(0);
        Level::ALL[index.min(Level::ALL.len() - 1)]
    }
}

/// What fits into a line of the log beside time, client, referer and the rest, after escaping.
const LONGEST: usize = 7500;

/// Cuts text so that each piece fits into one line, between characters where it is UTF-8.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut room = LONGEST;
        let fits = text.iter().position(|byte| {
            // Escaped as in `ap_escape_errorlog_item`; a NUL as above and then again.
            let cost = match byte {
                0 => 5,
                b' '..=b'~' if !matches!(byte, b'"' | b'\\') => 1,
                _ => 4,
            };
            let full = cost > room;
            room = room.saturating_sub(cost);
            full
        });
        let Some(mut end) = fits else {
            rest = None;
            return Some(text);
        };
        // Continuation bytes of UTF-8 belong to what is before them; more than three are none.
        let back = text[..=end].iter().rev().take_while(|byte| **byte & 0xc0 == 0x80).count();
        if back < 4 {
            end -= back;
        }
        rest = Some(&text[end..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &[u8]) -> Vec<usize> {
        let parts: Vec<&[u8]> = pieces(text).collect();
        assert_eq!(parts.concat(), text);
        parts.iter().map(|part| part.len()).collect()
    }

    #[test]
    fn d32_long_text_is_split_and_not_cut() {
        assert_eq!(lengths(b""), [0]);
        assert_eq!(lengths(b"short"), [5]);
        assert_eq!(lengths(&[b'x'; LONGEST]), [LONGEST]);
        assert_eq!(lengths(&[b'x'; 2 * LONGEST + 1]), [LONGEST, LONGEST, 1]);
        assert_eq!(lengths(&[b'"'; LONGEST]), [LONGEST / 4; 4]);
        let umlauts = format!("x{}", "\u{e4}".repeat(LONGEST));
        for part in pieces(umlauts.as_bytes()) {
            assert!(std::str::from_utf8(part).is_ok());
        }
        assert_eq!(lengths(&[0x80; LONGEST]).len(), 4);
    }

    #[test]
    fn levels() {
        assert_eq!(Level::from_raw(-1), Level::Emergency);
        assert_eq!(Level::from_raw(3), Level::Error);
        assert_eq!(Level::from_raw(99), Level::Trace8);
        assert!(Level::ALL.iter().enumerate().all(|(i, level)| *level as usize == i));
    }

    #[test]
    fn a_location_names_this_file() {
        let here = here!();
        assert!(here.file.to_bytes().ends_with(b"log.rs") && here.line > 0);
    }
}
