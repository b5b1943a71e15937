//! What the engine may ask of a request: its body, and somewhere to put the response.

use std::os::fd::BorrowedFd;

use engine_api::{Bytes, Fault, FaultKind, Flags, Head, Host, Level, Record};
use httpd_sys::{Body, Brigade, Error, Flush, Kind, Request};

use crate::{Wsgi, log};

/// A request of httpd as the engine's host.
pub(crate) struct RequestHost<'a, 'r> {
    request: &'a mut Request<'r>,
    body: Body<'r>,
    /// Made for the first part of the response.
    brigade: Option<Brigade<'r>>,
    sendfile: bool,
}

// SAFETY: engine_api::Host promises one call at a time, and only while `handle` runs, which keeps
// the request alive. httpd's structures do not care which thread uses them, only that one does at a
// time (A4).
unsafe impl Send for RequestHost<'_, '_> {}

impl<'a, 'r> RequestHost<'a, 'r> {
    /// The host of a request of which nothing was read and to which nothing was sent.
    pub(crate) fn new(request: &'a mut Request<'r>, sendfile: bool) -> RequestHost<'a, 'r> {
        RequestHost { request, body: Body::new(), brigade: None, sendfile }
    }

    /// The request.
    pub(crate) fn request(&self) -> &Request<'r> {
        self.request
    }

    /// Whether a response was begun.
    pub(crate) fn is_begun(&self) -> bool {
        self.brigade.is_some()
    }

    /// Breaks the response off so that the client can tell.
    pub(crate) fn abort(&mut self) {
        if let Some(brigade) = &mut self.brigade {
            self.request.abort(brigade);
        }
    }

    /// Sets the head, if this is the first part; the brigade to send it with.
    fn begin(&mut self, head: Option<&Head<'_>>) -> Result<(), Fault> {
        if self.brigade.is_none() && self.request.is_answered() {
            // Apache has sent its own response; there is nobody to hear another.
            return Err(Fault::new(FaultKind::ClientGone, "the request was answered already"));
        }
        if let Some(head) = head {
            let reason = head.reason.or_empty();
            self.request.set_head(httpd_sys::Head {
                status: head.status,
                reason: (!reason.is_empty()).then_some(reason),
                headers: head
                    .headers
                    .get()
                    .iter()
                    .map(|field| (field.name.or_empty(), field.value.or_empty())),
            });
        }
        Ok(())
    }

    fn end(&mut self, flags: Flags) {
        if flags.has(Flags::TRUNCATED) {
            self.abort();
        }
    }
}

/// What follows the data of a call. What comes before a break is flushed, or filters would keep it.
fn flush(flags: Flags) -> Flush {
    if flags.has(Flags::TRUNCATED) || flags.has(Flags::FLUSH) && !flags.has(Flags::END) {
        Flush::Now
    } else if flags.has(Flags::END) {
        Flush::End
    } else {
        Flush::No
    }
}

impl Host for RequestHost<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.body.read(self.request, buffer).map_err(|error| {
            let (kind, status) = match error.kind() {
                Kind::ClientGone | Kind::End => (FaultKind::ClientGone, 400),
                Kind::Timeout => (FaultKind::Timeout, 408),
                Kind::TooLarge => (FaultKind::TooLarge, 413),
                Kind::Malformed | Kind::Answered => (FaultKind::Malformed, 400),
                _ => (FaultKind::Other, 500),
            };
            Fault { kind, errno: error.errno(), status, text: error.text().to_owned() }
        })
    }

    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault> {
        self.begin(head)?;
        let brigade = self.brigade.get_or_insert_with(|| Brigade::new(self.request));
        let data = chunks.iter().map(|chunk| chunk.or_empty());
        let sent = self.request.send(brigade, data, flush(flags)).map_err(|e| write_fault(&e));
        self.end(flags);
        sent
    }

    fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        fd: i32,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        self.begin(head)?;
        let brigade = self.brigade.get_or_insert_with(|| Brigade::new(self.request));
        // SAFETY: the descriptor is the caller's and open for the length of the call.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let sent = self
            .request
            .send_file(brigade, file, offset, length, self.sendfile, flush(flags))
            .map_err(|error| write_fault(&error));
        self.end(flags);
        sent
    }

    fn client_gone(&mut self) -> bool {
        self.request.connection().aborted()
    }

    fn ssl_is_https(&mut self) -> bool {
        httpd_sys::ssl_is_https(self.request)
    }

    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let name = self.request.pool().string(name);
        httpd_sys::ssl_variable(self.request, name).map(<[u8]>::to_vec)
    }

    fn log(&mut self, records: &[Record<'_>]) {
        log::records(Some(self.request), records);
    }

    fn level(&mut self) -> Level {
        Level::from_raw(self.request.logger::<Wsgi>().level() as u32)
    }
}

fn write_fault(error: &Error) -> Fault {
    let kind = match error.kind() {
        Kind::ClientGone | Kind::Timeout | Kind::End | Kind::Answered => FaultKind::ClientGone,
        _ => FaultKind::Other,
    };
    Fault { kind, errno: error.errno(), status: 0, text: error.text().to_owned() }
}
