//! Memory that processes share, and blobs too large for a message.
//!
//! Shared memory is a memfd that is sealed against shrinking before anybody else sees it: whoever
//! maps it cannot be killed with SIGBUS by whoever else holds it. A reader gets a descriptor that
//! was opened for reading, from which no writable mapping can be made.
//!
//! <https://man7.org/linux/man-pages/man2/memfd_create.2.html>

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, fstat,
    ftruncate, memfd_create,
};
use rustix::io::{pread, pwrite};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Makes `length` bytes of zeroes to share. Only its own user may open it again.
pub(crate) fn shared(name: &CStr, length: u64) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, length)?;
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(fd)
}

/// A descriptor of the same memory that allows reading only.
pub(crate) fn shared_read_only(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Puts bytes into a descriptor that nobody can change any more.
pub(crate) fn write_blob(name: &CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut written = 0;
    while written < bytes.len() {
        written += pwrite(&fd, &bytes[written..], written as u64)?;
    }
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals)?;
    Ok(fd)
}

/// Reads a blob of at most `limit` bytes. What is not a memfd is refused: reading from it might
/// wait.
pub(crate) fn read_blob(fd: BorrowedFd<'_>, limit: usize) -> io::Result<Vec<u8>> {
    fcntl_get_seals(fd)?;
    let size = fstat(fd)?.st_size;
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= limit) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut bytes = vec![0; size];
    let mut read = 0;
    while read < size {
        match pread(fd, &mut bytes[read..], read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read += count,
        }
    }
    Ok(bytes)
}

/// A mapping of shared memory, seen as words that others change at any time.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Valid for `length` bytes until dropped, and aligned to a page.
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: all access goes through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes from `offset`, a multiple of the page size. The memory must be sealed
    /// against shrinking and be at least that long, or the mapping is refused.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        write: bool,
    ) -> io::Result<Mapping> {
        let size = fstat(fd)?.st_size as u64;
        let end = offset.checked_add(length as u64);
        if !fcntl_get_seals(fd)?.contains(SealFlags::SHRINK) || end.is_none_or(|end| end > size) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let access = if write { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new mapping, at a place of the kernel's choice, of a file that cannot shrink.
        let address =
            unsafe { mmap(ptr::null_mut(), length, access, MapFlags::SHARED, fd, offset)? };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { address, length })
    }

    /// The word at this offset. A mapping for reading must not be written to: that is a fault.
    ///
    /// # Panics
    /// It is not within the mapping or not aligned.
    pub(crate) fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: within the mapping and aligned (checked); atomics may be shared with others.
        unsafe { self.address.add(offset).cast().as_ref() }
    }

    /// The double word at this offset; as [`Self::u32`].
    pub(crate) fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: as above.
        unsafe { self.address.add(offset).cast().as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and references into it borrow `self`.
        let _ = unsafe { munmap(self.address.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_reader_sees_and_cannot_write() {
        let fd = shared(c"test", 8192).unwrap();
        let reader = shared_read_only(fd.as_fd()).unwrap();
        let ours = Mapping::new(fd.as_fd(), 0, 8192, true).unwrap();
        let theirs = Mapping::new(reader.as_fd(), 4096, 4096, false).unwrap();
        ours.u64(4096 + 8).store(77, SeqCst);
        assert_eq!(theirs.u64(8).load(SeqCst), 77);
        assert_eq!(theirs.u32(8).load(SeqCst), 77);
        assert!(Mapping::new(reader.as_fd(), 0, 4096, true).is_err());
        assert!(ftruncate(&fd, 4096).is_err());
        assert!(Mapping::new(fd.as_fd(), 4096, 8192, true).is_err());
    }

    #[test]
    fn what_can_shrink_is_not_mapped() {
        let fd = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&fd, 4096).unwrap();
        assert!(Mapping::new(fd.as_fd(), 0, 4096, true).is_err());
    }

    #[test]
    fn a_blob_stays_as_it_is() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let fd = write_blob(c"test", &bytes).unwrap();
        assert_eq!(read_blob(fd.as_fd(), 100_000).unwrap(), bytes);
        assert!(read_blob(fd.as_fd(), 99_999).is_err());
        assert!(pwrite(&fd, b"x", 0).is_err());
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        assert!(read_blob(pipe.as_fd(), 10).is_err());
    }
}
