//! Finding out whether a file-like object is a file that a host can send by itself.
//!
//! The object's own position counts, as `tell()` gives it, not the descriptor's: it may have read
//! ahead. The size is that of the moment; a file that shrinks later is the host's to notice. The
//! descriptor is duplicated, since the application may close the file in another thread.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use py::{Bound, Error, Result, ffi};

/// An open regular file and where to begin.
pub(crate) struct RegularFile {
    descriptor: OwnedFd,
    offset: u64,
    size: u64,
}

impl RegularFile {
    /// The file behind `filelike`; `None` if it is none, or a special one.
    ///
    /// An exception that is no `Exception` (such as `KeyboardInterrupt`) is passed on, any other
    /// means "none": the object may still have a `read`.
    pub(crate) fn of<'py>(filelike: &Bound<'py>) -> Result<'py, Option<RegularFile>> {
        let Some(fd) = integer(filelike, c"fileno")? else {
            return Ok(None);
        };
        let Some(offset) = integer(filelike, c"tell")? else {
            return Ok(None);
        };
        let (Ok(fd), Ok(offset)) = (i32::try_from(fd), u64::try_from(offset)) else {
            return Ok(None);
        };
        let Some(descriptor) = duplicate(fd) else {
            return Ok(None);
        };
        let file = std::fs::File::from(descriptor);
        let size = match file.metadata() {
            Ok(metadata) if metadata.is_file() => metadata.len(),
            _ => return Ok(None),
        };
        Ok(Some(RegularFile { descriptor: file.into(), offset, size }))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes from the offset to the end.
    pub(crate) fn available(&self) -> u64 {
        self.size.saturating_sub(self.offset)
    }
}

/// A descriptor of our own; `None` if it is not open.
fn duplicate(fd: i32) -> Option<OwnedFd> {
    // SAFETY: a system call on numbers; it checks the descriptor.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: a new descriptor, ours alone.
    (copy >= 0).then(|| unsafe { OwnedFd::from_raw_fd(copy) })
}

/// `filelike.name()` if that is an integer.
fn integer<'py>(filelike: &Bound<'py>, name: &std::ffi::CStr) -> Result<'py, Option<i64>> {
    match filelike.call_method(name, &[]) {
        // SAFETY: attached; a live object.
        Ok(value) if unsafe { ffi::PyLong_Check(value.as_ptr()) } != 0 => Ok(value.to_int().ok()),
        Ok(_) => Ok(None),
        // SAFETY: a static class of libpython.
        Err(error) if unsafe { error.matches(ffi::PyExc_Exception) } => Ok(None),
        Err(error) => Err::<_, Error<'py>>(error),
    }
}
