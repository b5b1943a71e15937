//! A response of 200 with a `Location` that is a path: what is there is served instead.
//!
//! As the reference does in daemon mode, and as CGI scripts may everywhere. What the application says
//! beside it is thrown away, but for cookies and challenges: what it keeps of its users would be lost
//! without the one (the reference does lose it), and a 401 means nothing without the other.

use daemon::wire::ResponseHead;
use httpd_sys::Status;

use crate::host::RequestHost;

/// So much of a response's body is waited for and thrown away; an application with more to say is
/// told that nobody listens.
const MOST: usize = 1 << 20;

/// Where to go when the application is done.
pub(super) struct Redirect {
    path: Vec<u8>,
    taken: usize,
}

impl Redirect {
    /// If this head asks for it.
    pub(super) fn of(head: &ResponseHead<'_>, host: &RequestHost<'_, '_>) -> Option<Redirect> {
        if head.status() != 200 {
            return None;
        }
        let is = |name: &[u8], known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        // The last one counts.
        let locations = head.headers().filter(|(name, _)| is(name, "Location"));
        let (_, path) = locations.last().filter(|(_, path)| path.starts_with(b"/"))?;
        let kept = host.request().error_headers_out();
        for (name, value) in head.headers() {
            let name = if is(name, "Set-Cookie") {
                c"Set-Cookie"
            } else if is(name, "WWW-Authenticate") {
                c"WWW-Authenticate"
            } else {
                continue;
            };
            kept.add_borrowed(name, host.request().pool().string(value));
        }
        Some(Redirect { path: path.to_vec(), taken: 0 })
    }

    /// Throws away a part of the body; `false` if that is enough of it.
    pub(super) fn take(&mut self, length: usize) -> bool {
        self.taken = self.taken.saturating_add(length);
        self.taken <= MOST
    }

    /// Serves what is there.
    pub(super) fn follow(&self, host: &mut RequestHost<'_, '_>) -> Status {
        host.redirect(&self.path)
    }
}
