//! The body of a request, read from its input filters.
//!
//! The filters undo chunked coding, enforce `LimitRequestBody`, and send `100 Continue` when they
//! are asked for the first time, so nothing is asked before somebody wants the body.
//! <https://httpd.apache.org/docs/2.4/developer/request.html>

use apr_sys as raw;

use crate::bucket::Brigade;
use crate::error::{Error, Kind, Result};
use crate::request::Request;

/// The body of a request.
#[derive(Default)]
pub struct Body<'r> {
    /// Made at the first read.
    brigade: Option<Brigade<'r>>,
    ended: bool,
    failed: Option<Error>,
}

/// Most that is asked of the filters at a time.
const LARGEST: usize = 1 << 20;

impl<'r> Body<'r> {
    /// A body that was not read yet.
    pub fn new() -> Body<'r> {
        Body::default()
    }

    /// Reads at least one byte, unless the body is at its end or `buffer` is empty. Blocks.
    ///
    /// # Errors
    /// The body cannot be had; then neither at any later time, and the connection is closed after
    /// the response. [`Kind::Answered`] says that there is a response already.
    pub fn read(&mut self, request: &mut Request<'r>, buffer: &mut [u8]) -> Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        let result = self.fill(request, buffer, raw::APR_BLOCK_READ);
        // It blocks, so there is something.
        self.checked(request, result.map(Option::unwrap_or_default))
    }

    /// As [`Body::read`], without blocking; `None` if there is nothing now.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn read_now(
        &mut self,
        request: &mut Request<'r>,
        buffer: &mut [u8],
    ) -> Result<Option<usize>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if buffer.is_empty() || self.ended {
            return Ok(Some(0));
        }
        let result = self.fill(request, buffer, raw::APR_NONBLOCK_READ);
        self.checked(request, result)
    }

    /// Notes a failure.
    fn checked<T>(&mut self, request: &Request<'r>, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            request.connection().close_after_response();
            if let Some(brigade) = &mut self.brigade {
                brigade.clear();
            }
            self.failed = Some(error.clone());
        }
        result
    }

    fn fill(
        &mut self,
        request: &mut Request<'r>,
        buffer: &mut [u8],
        block: raw::apr_read_type_e,
    ) -> Result<Option<usize>> {
        let brigade = self.brigade.get_or_insert_with(|| Brigade::new(request));
        let mut idle = 0;
        loop {
            let (filled, ended) = drain(brigade, buffer)?;
            self.ended |= ended;
            if filled > 0 || self.ended {
                return Ok(Some(filled));
            }
            // A filter that has nothing to say twice in a row would have us ask for ever.
            if idle > 1 && block == raw::APR_NONBLOCK_READ {
                return Ok(None);
            }
            if idle > 1 {
                return Err(Error::with_text(Kind::Other, "the input filters deliver no data"));
            }
            idle += 1;
            let wanted = buffer.len().min(LARGEST) as raw::apr_off_t;
            // SAFETY: the filters are the request's; the brigade is empty and alive.
            let status = unsafe {
                let filters = (*request.as_ptr()).input_filters;
                raw::ap_get_brigade(
                    filters,
                    brigade.as_ptr(),
                    raw::AP_MODE_READBYTES,
                    block,
                    wanted,
                )
            };
            if block == raw::APR_NONBLOCK_READ && status == raw::APR_EAGAIN as raw::apr_status_t {
                return Ok(None);
            }
            if status != raw::APR_SUCCESS {
                return Err(Error::of_input(status));
            }
        }
    }
}

/// Moves data from the front of a brigade to `buffer`; says how much, and whether the end of the
/// body was met.
fn drain(brigade: &mut Brigade<'_>, buffer: &mut [u8]) -> Result<(usize, bool)> {
    let mut filled = 0;
    // SAFETY: the brigade is alive; buckets are used while they are in it, and only the data that a
    // read gave is read.
    unsafe {
        let raw_brigade = brigade.as_ptr();
        while filled < buffer.len() && !raw::apr_brigade_empty(raw_brigade) {
            let bucket = raw::apr_brigade_first(raw_brigade);
            if raw::apr_bucket_is(bucket, &raw const raw::apr_bucket_type_eos) {
                brigade.clear();
                return Ok((filled, true));
            }
            if !raw::apr_bucket_is_metadata(bucket) {
                let mut data = std::ptr::null();
                let mut length = 0;
                let status =
                    raw::apr_bucket_read(bucket, &mut data, &mut length, raw::APR_BLOCK_READ);
                if status != raw::APR_SUCCESS {
                    return Err(Error::of_input(status));
                }
                let take = length.min(buffer.len() - filled);
                std::ptr::copy_nonoverlapping(
                    data.cast::<u8>(),
                    buffer.as_mut_ptr().add(filled),
                    take,
                );
                filled += take;
                if take < length {
                    // What is left waits for the next read.
                    let status = raw::apr_bucket_split(bucket, take);
                    if status != raw::APR_SUCCESS {
                        return Err(Error::of_input(status));
                    }
                }
            }
            raw::apr_bucket_remove(raw_brigade, bucket);
            raw::apr_bucket_destroy(bucket);
        }
    }
    Ok((filled, false))
}
