//! What the server reports as `apr_status_t`, with its text copied at once.
//!
//! Modules ask what kind of error it is; the number is kept for the log, where the server writes
//! it out. <https://apr.apache.org/docs/apr/1.7/group__apr__errno.html>

use std::ffi::CStr;
use std::fmt;

use apr_sys as raw;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the server or of APR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    status: raw::apr_status_t,
    text: String,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The client has closed the connection, or it broke.
    ClientGone,
    /// The client was too slow.
    Timeout,
    /// The request body is larger than `LimitRequestBody`.
    TooLarge,
    /// What the client sent is not HTTP.
    Malformed,
    /// The server has answered this request with an error page of its own.
    Answered,
    /// The end of something came too soon.
    End,
    /// Anything else.
    Other,
}

impl Error {
    /// The error of a status, with the text APR has for it.
    pub(crate) fn new(kind: Kind, status: raw::apr_status_t) -> Error {
        Error { kind, status, text: describe(status) }
    }

    pub(crate) fn with_text(kind: Kind, text: impl Into<String>) -> Error {
        Error { kind, status: 0, text: text.into() }
    }

    /// `Ok` for success.
    pub(crate) fn check(status: raw::apr_status_t) -> Result<()> {
        if status == raw::APR_SUCCESS { Ok(()) } else { Err(Error::of_output(status)) }
    }

    /// An error of writing to a client.
    pub(crate) fn of_output(status: raw::apr_status_t) -> Error {
        let kind = match status {
            raw::APR_TIMEUP | raw::APR_ETIMEDOUT => Kind::Timeout,
            raw::APR_ECONNABORTED | raw::APR_ECONNRESET | raw::APR_EPIPE => Kind::ClientGone,
            raw::APR_EOF => Kind::End,
            raw::AP_FILTER_ERROR => Kind::Answered,
            _ => Kind::Other,
        };
        Error::new(kind, status)
    }

    /// An error of reading a request body.
    pub(crate) fn of_input(status: raw::apr_status_t) -> Error {
        let kind = match status {
            raw::APR_TIMEUP | raw::APR_ETIMEDOUT => Kind::Timeout,
            raw::APR_ENOSPC => Kind::TooLarge,
            raw::APR_ECONNABORTED
            | raw::APR_ECONNRESET
            | raw::APR_EPIPE
            | raw::APR_EOF
            | raw::APR_EAGAIN
            | raw::APR_INCOMPLETE => Kind::ClientGone,
            raw::APR_EGENERAL | raw::APR_EINVAL => Kind::Malformed,
            raw::AP_FILTER_ERROR => Kind::Answered,
            _ => Kind::Other,
        };
        Error::new(kind, status)
    }

    /// What kind of error it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number, for [`crate::Logger`]; 0 if there is none.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// The system's error number, if that is what the status is; else 0.
    pub fn errno(&self) -> i32 {
        // APR's own codes begin there; below, on Unix, they are the system's.
        if self.status > 0 && self.status < raw::APR_OS_START_ERROR { self.status } else { 0 }
    }

    /// The text alone.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

fn describe(status: raw::apr_status_t) -> String {
    if status == raw::AP_FILTER_ERROR {
        return "The server has rejected the request data".to_owned();
    }
    let mut buffer = [0; 200];
    // SAFETY: the buffer is ours and its size is right; APR writes a NUL-terminated text.
    unsafe {
        raw::apr_strerror(status, buffer.as_mut_ptr(), buffer.len());
        CStr::from_ptr(buffer.as_ptr()).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_reading() {
        for (status, kind) in [
            (raw::APR_TIMEUP, Kind::Timeout),
            (raw::APR_ECONNRESET, Kind::ClientGone),
            (raw::APR_INCOMPLETE, Kind::ClientGone),
            (raw::APR_ENOSPC, Kind::TooLarge),
            (raw::APR_EGENERAL, Kind::Malformed),
            (raw::AP_FILTER_ERROR, Kind::Answered),
            (raw::APR_ENOMEM, Kind::Other),
        ] {
            assert_eq!(Error::of_input(status).kind(), kind, "{status}");
        }
    }

    #[test]
    fn texts_and_numbers() {
        let reset = Error::of_output(raw::APR_ECONNRESET);
        assert_eq!(reset.text(), "Connection reset by peer");
        assert_eq!(reset.errno(), raw::APR_ECONNRESET);
        let timeout = Error::of_input(raw::APR_TIMEUP);
        assert_eq!(timeout.text(), "The timeout specified has expired");
        assert_eq!((timeout.errno(), timeout.status()), (0, raw::APR_TIMEUP));
        assert_eq!(Error::of_input(raw::AP_FILTER_ERROR).errno(), 0);
    }
}
