//! Serving something else in place of what was asked for, without the client's knowing.
//!
//! As CGI scripts do with a `Location` that is a path: RFC 3875 section 6.2.2. Another request is
//! made for it and served within the first one. It has the first one's headers but for those about
//! a body, is a GET, and has what the first one put among the headers of errors.
//! <https://httpd.apache.org/docs/2.4/mod/mod_cgi.html>

use apr_sys as raw;

use crate::request::Request;
use crate::status::Status;

impl Request<'_> {
    /// Serves what is at this path, with its query, and says what the handler is to return. Nothing
    /// of a response was sent before.
    ///
    /// What is left of the body is read and thrown away: the other request has none, and would leave
    /// it to be taken for the next request of the connection.
    pub fn redirect(&mut self, path: &[u8]) -> Status {
        let path = self.pool().string(path);
        let request = self.as_ptr();
        // SAFETY: a live request on its own thread (fields of `Request`, A2).
        let discarded = unsafe { raw::ap_discard_request_body(request) };
        if discarded != raw::OK {
            return u16::try_from(discarded).map_or(Status::Done, Status::Http);
        }
        let headers = self.headers_in();
        headers.unset(c"Content-Length");
        headers.unset(c"Transfer-Encoding");
        // SAFETY: as above; the method's name is static, and the path lives in the request's pool,
        // which outlives the other request. Handlers of the other request are entered through their
        // own guards, and nobody else uses this one before it is served.
        unsafe {
            (*request).method = c"GET".as_ptr();
            (*request).method_number = raw::M_GET;
            raw::ap_internal_redirect(path.as_ptr(), request);
        }
        Status::Ok
    }
}
