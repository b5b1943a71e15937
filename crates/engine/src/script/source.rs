//! The file of a script: its bytes and its time stamp.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest, Md5};
use py::{Bound, Error, Token, ffi};

use super::system_error;

/// A source file as it was read.
pub(super) struct Source {
    pub(super) text: Vec<u8>,
    pub(super) digest: [u8; 16],
    /// Of the file that was read, in microseconds.
    pub(super) mtime: i64,
}

impl Source {
    pub(super) fn read(path: &Path) -> io::Result<Source> {
        let mut file = File::open(path)?;
        let mtime = microseconds(&file.metadata()?);
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let digest = Md5::digest(&text).into();
        Ok(Source { text, digest, mtime })
    }
}

/// The time stamp of a file that is not there.
pub(super) const GONE: i64 = -1;

/// How long after its time stamp a file may change without a change of the time stamp: some ticks
/// of the kernel's clock.
const TICKS: Duration = Duration::from_millis(50);

pub(super) fn is_fresh(mtime: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = i64::try_from(now.as_micros()).unwrap_or(i64::MAX).saturating_sub(mtime);
    (0..=TICKS.as_micros() as i64).contains(&age)
}

/// As `apr_time_t`.
pub(super) fn microseconds(data: &fs::Metadata) -> i64 {
    data.mtime().saturating_mul(1_000_000).saturating_add(data.mtime_nsec() / 1000)
}

/// The exception that `open(path)` raises with this error number.
pub(super) fn os_error<'py>(py: Token<'py>, errno: i32, path: &[u8]) -> Error<'py> {
    let make = || {
        let text = io::Error::from_raw_os_error(errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        // SAFETY: the class is a static of libpython.
        let class = unsafe { Bound::from_borrowed(py, ffi::PyExc_OSError) };
        let class = class.ok_or_else(|| system_error(py, "no OSError"))?;
        class.call(&[&py.int(errno.into())?, &py.str(text)?, &py.fs_str(path)?])
    };
    match make() {
        // SAFETY: attached; the class of an exception instance is an exception class.
        Ok(value) => unsafe {
            ffi::PyErr_SetObject(ffi::Py_TYPE(value.as_ptr()).cast(), value.as_ptr());
            Error::fetch(py)
        },
        Err(error) => error,
    }
}
