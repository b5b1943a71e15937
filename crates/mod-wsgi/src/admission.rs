//! May this request run: the checks before anything of Python is touched, in their order, each
//! with its status and log line.

use httpd_sys::{FileType, PathInfo, Request, Status};
use log_codes::{WSGI0134, WSGI0135, WSGI0136, WSGI0137, WSGI0138, WSGI0139, WSGI0141, WSGI0143};

use crate::log;
use crate::settings::Effective;

/// Checks the file of a request that is for a script itself, which an alias mapped or not. What a
/// handler script serves may be anything, and need not be there.
///
/// # Errors
/// The status to answer with; the reason is in the log.
pub(crate) fn check_file(request: &Request<'_>, aliased: bool) -> Result<(), Status> {
    if !aliased && !request.may_execute() {
        log::code(request, &WSGI0134);
        return Err(Status::Http(403));
    }
    match request.file_type() {
        FileType::Missing => {
            log::code(request, &WSGI0135);
            Err(Status::Http(404))
        }
        FileType::Directory => {
            log::code(request, &WSGI0136);
            Err(Status::Http(403))
        }
        FileType::Regular | FileType::Other => Ok(()),
    }
}

/// Checks the rest of a request. Returns the length of its body, `None` if it is not known.
///
/// # Errors
/// As [`check_file`].
pub(crate) fn check(
    request: &Request<'_>,
    effective: Effective<'_>,
) -> Result<Option<u64>, Status> {
    if request.accept_path_info() == PathInfo::Reject && !request.path_info().is_empty() {
        log::code(request, &WSGI0137);
        return Err(Status::Http(404));
    }
    body_length(request, effective)
}

/// The last check: whether embedded mode is forbidden altogether.
///
/// # Errors
/// As [`check_file`].
pub(crate) fn check_embedded(request: &Request<'_>, restricted: bool) -> Result<(), Status> {
    if restricted {
        log::code(request, &WSGI0143);
        return Err(Status::INTERNAL_SERVER_ERROR);
    }
    Ok(())
}

fn body_length(request: &Request<'_>, effective: Effective<'_>) -> Result<Option<u64>, Status> {
    let headers = request.headers_in();
    if let Some(coding) = headers.get(c"Transfer-Encoding") {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            log::request(request, WSGI0138.message([&coding]));
            return Err(Status::Http(501));
        }
        if !effective.flag(|s| &s.chunked_request, false) {
            log::code(request, &WSGI0139);
            return Err(Status::Http(411));
        }
        return Ok(None);
    }
    let Some(value) = headers.get(c"Content-Length") else {
        return Ok(None);
    };
    let Some(length) = decimal(value) else {
        log::request(request, WSGI0141.message([&value]));
        return Err(Status::Http(400));
    };
    // The server closes the connection with this status, so the body is not read for nothing.
    if request.body_limit().is_some_and(|limit| length > limit) {
        return Err(Status::Http(413));
    }
    Ok(Some(length))
}

/// A non-negative decimal number without anything around it.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(length).is_ok().then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in ["", "-1", "+5", " 5", "5 ", "0x5", "9223372036854775808"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
