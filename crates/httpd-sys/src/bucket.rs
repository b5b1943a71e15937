//! Brigades: the lists of buckets that filters pass on.
//!
//! A brigade never holds data for longer than the call that put it there: [`Brigade::pass`] hands
//! it down and clears what filters left. Filters that need data for longer set it aside (A10).
//! <https://httpd.apache.org/docs/2.4/developer/output-filters.html>

use std::ffi::c_int;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use apr_sys as raw;

use crate::error::{Error, Kind, Result};
use crate::request::Request;

/// A brigade of a request.
pub struct Brigade<'r> {
    /// Alive for `'r`: it and its buckets are memory of the request and of its connection.
    raw: NonNull<raw::apr_bucket_brigade>,
    life: PhantomData<&'r ()>,
}

/// A descriptor, and what of it is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRange {
    pub(crate) fd: c_int,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) sendfile: bool,
}

impl<'r> Brigade<'r> {
    /// An empty brigade, in the request's pool.
    pub fn new(request: &Request<'r>) -> Brigade<'r> {
        // SAFETY: pool and allocator live as long as the request; APR aborts when memory is short.
        unsafe {
            let connection = request.connection().as_ptr();
            let brigade =
                raw::apr_brigade_create(request.pool().as_ptr(), (*connection).bucket_alloc);
            Brigade { raw: NonNull::new_unchecked(brigade), life: PhantomData }
        }
    }

    pub(crate) fn as_ptr(&mut self) -> *mut raw::apr_bucket_brigade {
        self.raw.as_ptr()
    }

    /// Removes all buckets.
    pub(crate) fn clear(&mut self) {
        // SAFETY: alive (field).
        unsafe {
            raw::apr_brigade_cleanup(self.as_ptr().cast());
        }
    }

    fn allocator(&mut self) -> *mut raw::apr_bucket_alloc_t {
        // SAFETY: alive (field).
        unsafe { (*self.as_ptr()).bucket_alloc }
    }

    /// Appends `data` without a copy.
    ///
    /// # Safety
    /// The brigade is passed on or cleared before `data` ends.
    pub(crate) unsafe fn push_transient(&mut self, data: &[u8]) {
        // SAFETY: alive; the bucket is new. By contract the data outlives it.
        unsafe {
            let bucket = raw::apr_bucket_transient_create(
                data.as_ptr().cast(),
                data.len(),
                self.allocator(),
            );
            raw::apr_brigade_insert_tail(self.as_ptr(), bucket);
        }
    }

    /// Appends a flush.
    pub(crate) fn push_flush(&mut self) {
        // SAFETY: alive; the bucket is new.
        unsafe {
            let bucket = raw::apr_bucket_flush_create(self.allocator());
            raw::apr_brigade_insert_tail(self.as_ptr(), bucket);
        }
    }

    /// Appends the end of the response.
    pub(crate) fn push_end(&mut self) {
        // SAFETY: alive; the bucket is new.
        unsafe {
            let bucket = raw::apr_bucket_eos_create(self.allocator());
            raw::apr_brigade_insert_tail(self.as_ptr(), bucket);
        }
    }

    /// Appends an error: behind a head, it says that the response broke off.
    pub(crate) fn push_error(&mut self, request: &Request<'r>, status: c_int) {
        // SAFETY: alive; the bucket is new, in the request's pool.
        unsafe {
            let pool = request.pool().as_ptr();
            let bucket = raw::ap_bucket_error_create(status, ptr::null(), pool, self.allocator());
            raw::apr_brigade_insert_tail(self.as_ptr(), bucket);
        }
    }

    /// Appends a part of a file. The descriptor stays the caller's: filters may want the file
    /// after this call, so they get a duplicate, which lives as long as they need it.
    pub(crate) fn push_file(&mut self, request: &Request<'r>, range: FileRange) -> Result<()> {
        let pool = request.pool().as_ptr();
        let mut flags = raw::APR_FOPEN_READ;
        if range.sendfile {
            flags |= raw::APR_FOPEN_SENDFILE_ENABLED;
        }
        let mut fd = range.fd;
        let mut borrowed = ptr::null_mut();
        let mut file = ptr::null_mut();
        let out_of_range = || Error::with_text(Kind::Other, "the file is too large to be sent");
        let offset = raw::apr_off_t::try_from(range.offset).map_err(|_| out_of_range())?;
        let length = raw::apr_off_t::try_from(range.length).map_err(|_| out_of_range())?;
        // SAFETY: APR copies the descriptor's number, and then the descriptor; only the copy has a
        // clean-up. Buckets are new; the file lives as long as the request, or is set aside.
        unsafe {
            let status = raw::apr_os_file_put(
                &mut borrowed,
                &mut fd,
                flags | raw::APR_FOPEN_NOCLEANUP,
                pool,
            );
            Error::check(status)?;
            Error::check(raw::apr_file_dup(&mut file, borrowed, pool))?;
            let first = raw::apr_brigade_insert_file(self.as_ptr(), file, offset, length, pool);
            // A mapped file that shrinks while it is sent kills the process with SIGBUS; read in
            // pieces, it only ends early.
            let mut bucket = first;
            let sentinel = raw::apr_brigade_sentinel(self.as_ptr());
            while bucket != sentinel && !bucket.is_null() {
                if raw::apr_bucket_is(bucket, &raw const raw::apr_bucket_type_file) {
                    raw::apr_bucket_file_enable_mmap(bucket, 0);
                }
                bucket = raw::apr_bucket_next(bucket);
            }
        }
        Ok(())
    }

    /// Hands everything to the filters of the response, and clears what they left.
    ///
    /// # Errors
    /// What the filters say, or that the client is gone.
    pub(crate) fn pass(&mut self, request: &mut Request<'r>) -> Result<()> {
        // SAFETY: the filters are the request's; the brigade is alive, and what it borrows outlives
        // this call, which is all that filters may count on (A10).
        let status = unsafe {
            let filters = (*request.as_ptr()).output_filters;
            raw::ap_pass_brigade(filters, self.as_ptr())
        };
        self.clear();
        let passed = Error::check(status);
        // The server gives up a client that is too slow as it does one that has gone.
        let late = passed.as_ref().is_err_and(|error| error.kind() == Kind::Timeout);
        if request.connection().aborted() && !late {
            return Err(Error::of_output(raw::APR_ECONNABORTED));
        }
        passed
    }
}
