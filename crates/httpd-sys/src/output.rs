//! The response: its head, and its body in brigades.
//!
//! A small response is one brigade of data and end, passed on once, which costs the least
//! (`ap_rwrite` makes a brigade per call). A response that breaks off must not look complete: the
//! filters get an error in place of the end, so that no last chunk is sent and the connection is
//! closed, and under HTTP/2 the stream is reset.
//! <https://httpd.apache.org/docs/2.4/developer/output-filters.html>

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use apr_sys as raw;

use crate::bucket::{Brigade, FileRange};
use crate::error::{Error, Kind, Result};
use crate::request::Request;
use crate::text::bytes;

/// Status line and header of a response.
#[derive(Clone, Debug)]
pub struct Head<'a, I> {
    /// The status.
    pub status: u16,
    /// The reason phrase; `None` for the usual one.
    pub reason: Option<&'a [u8]>,
    /// Names and values in order, without NUL, CR and LF.
    pub headers: I,
}

/// What follows the data of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// More data, some time.
    No,
    /// More data, but this goes to the client now.
    Now,
    /// Nothing: the response is complete.
    End,
}

impl<'r> Request<'r> {
    /// Sets the head. It is sent with the first part of the body, so it can be set again until
    /// then.
    pub fn set_head<'a, I>(&mut self, head: Head<'a, I>)
    where
        I: Iterator<Item = (&'a [u8], &'a [u8])>,
    {
        let pool = self.pool();
        self.set_status(head.status);
        // SAFETY: alive; strings are in the request's pool.
        unsafe {
            let request = self.as_ptr();
            (*request).status_line = match head.reason {
                None => std::ptr::null(),
                // The server has a line of its own for these.
                Some(reason) if is_usual(head.status, reason) => std::ptr::null(),
                Some(reason) => {
                    let line = [head.status.to_string().as_bytes(), b" ", reason].concat();
                    pool.string(&line).as_ptr()
                }
            };
            // What mod_mime made of the name of a file that is not what is sent.
            (*request).content_type = std::ptr::null();
        }
        let (headers, error_headers) = (self.headers_out(), self.error_headers_out());
        for (name, value) in head.headers {
            let text = pool.string(value);
            // As it is usually written, which is quickly compared, or not.
            let is = |usual: &[u8]| name == usual || name.eq_ignore_ascii_case(usual);
            if is(b"Content-Type") {
                // SAFETY: alive; the type is in the request's pool. Filters by type are added here.
                unsafe { raw::ap_set_content_type(self.as_ptr(), text.as_ptr()) };
            } else if is(b"Content-Length") {
                if let Some(length) = decimal(value) {
                    // As `ap_set_content_length` does, less making the text anew.
                    // SAFETY: alive.
                    unsafe { (*self.as_ptr()).clength = length };
                    headers.set_borrowed(c"Content-Length", text);
                }
            } else if is(b"WWW-Authenticate") {
                // Survives an error page.
                error_headers.add_borrowed(pool.string(name), text);
            } else {
                headers.add_borrowed(pool.string(name), text);
            }
        }
    }

    /// Has the server send the response as it is, and not the part of it that the client has asked for
    /// with `Range`: that is for what answers. Before anything is sent.
    pub fn ignore_range(&mut self) {
        let headers = self.headers_in();
        let asks = headers.get(c"Range").or_else(|| headers.get(c"Request-Range")).is_some();
        // SAFETY: alive. Only a request that is part of another shares its filters.
        unsafe {
            let request = self.as_ptr();
            if asks && (*request).main.is_null() {
                let name = c"byterange".as_ptr();
                // It is not there if the response is no longer to be changed.
                raw::ap_remove_output_filter_byhandle((*request).output_filters, name);
            }
        }
    }

    /// Sends a part of the body, behind the head if that was not sent yet. Blocks.
    ///
    /// # Errors
    /// What the filters say. [`Kind::Answered`]: the server has sent an error page of its own.
    pub fn send<'a>(
        &mut self,
        brigade: &mut Brigade<'r>,
        chunks: impl Iterator<Item = &'a [u8]>,
        flush: Flush,
    ) -> Result<()> {
        self.check_open()?;
        for chunk in chunks {
            // SAFETY: the brigade is passed on below, before the chunk ends.
            unsafe { brigade.push_transient(chunk) };
        }
        finish(brigade, flush);
        brigade.pass(self)
    }

    /// Sends a part of a regular file, as far as there is that much of it, and says how much there
    /// was. The position of the descriptor neither matters nor changes.
    ///
    /// # Errors
    /// As [`Request::send`]; or it is no regular file.
    pub fn send_file(
        &mut self,
        brigade: &mut Brigade<'r>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        sendfile: bool,
        flush: Flush,
    ) -> Result<u64> {
        self.check_open()?;
        let there = size_of_file(file)?.saturating_sub(offset).min(length);
        if there > 0 {
            let range = FileRange { fd: file.as_raw_fd(), offset, length: there, sendfile };
            brigade.push_file(self, range)?;
        }
        // Less than was asked for is not the end the caller had in mind.
        if there == length || flush != Flush::End {
            finish(brigade, flush);
        }
        brigade.pass(self)?;
        Ok(there)
    }

    /// Breaks the response off behind its head: the client must see that it is not complete.
    pub fn abort(&mut self, brigade: &mut Brigade<'r>) {
        self.connection().close_after_response();
        // SAFETY: alive. Caches must not keep what is cut short.
        unsafe { (*self.as_ptr()).no_cache = 1 };
        if self.check_open().is_err() {
            return;
        }
        // The one status with which the filters of HTTP/1.1 leave the last chunk out; those of
        // HTTP/2 reset the stream with any from 500 on.
        brigade.clear();
        brigade.push_error(self, raw::HTTP_BAD_GATEWAY);
        brigade.push_end();
        // The client is told by closing, whatever the filters say.
        let _ = brigade.pass(self);
    }

    /// An error if nothing can be sent any more.
    fn check_open(&self) -> Result<()> {
        if self.connection().aborted() {
            return Err(Error::of_output(raw::APR_ECONNABORTED));
        }
        if self.is_answered() {
            return Err(Error::with_text(Kind::Answered, "the response is complete already"));
        }
        Ok(())
    }

    /// Whether the end of a response was sent, be it ours or an error page of the server's.
    pub fn is_answered(&self) -> bool {
        // SAFETY: alive.
        unsafe { (*self.as_ptr()).eos_sent != 0 }
    }
}

/// Whether a reason phrase is the one that the server gives to that status.
fn is_usual(status: u16, reason: &[u8]) -> bool {
    // SAFETY: a table of the server's; one that it does not know gets the line of another status.
    let line = unsafe { bytes(raw::ap_get_status_line(c_int::from(status))) };
    line.and_then(|line| line.split_first_chunk()).is_some_and(|(code, rest)| {
        *code == three_digits(status) && rest.strip_prefix(b" ") == Some(reason)
    })
}

/// A length as text, without anything around it.
fn decimal(text: &[u8]) -> Option<raw::apr_off_t> {
    let digit = |sum: raw::apr_off_t, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| raw::apr_off_t::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

fn three_digits(status: u16) -> [u8; 3] {
    [status / 100, status / 10, status].map(|digits| b'0' + (digits % 10) as u8)
}

fn finish(brigade: &mut Brigade<'_>, flush: Flush) {
    match flush {
        Flush::No => {}
        Flush::Now => brigade.push_flush(),
        Flush::End => brigade.push_end(),
    }
}

fn size_of_file(file: BorrowedFd<'_>) -> Result<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: an open descriptor; the structure is filled if the result is 0.
    let stat = unsafe {
        if libc::fstat(file.as_raw_fd(), stat.as_mut_ptr()) != 0 {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(Error::new(Kind::Other, errno as c_int));
        }
        stat.assume_init()
    };
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Error::with_text(Kind::Other, "it is not a regular file"));
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_status_is_three_digits() {
        assert_eq!([200, 404, 999].map(three_digits), [*b"200", *b"404", *b"999"]);
    }

    #[test]
    fn lengths() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX));
        for bad in ["", "-1", "+1", "1 ", "9223372036854775808"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_regular_files_have_a_size() {
        let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
        assert_eq!(size_of_file(file.as_fd()).unwrap(), file.metadata().unwrap().len());
        let directory = File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert!(size_of_file(directory.as_fd()).is_err());
    }
}
