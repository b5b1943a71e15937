//! What the engine may ask of a request: its body, and somewhere to put the response.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use engine_api::{Bytes, Fault, FaultKind, Flags, Head, Host, Level, Record};
use httpd_sys::{Body, Brigade, Error, Flush, Kind, Request, Status};

use crate::meter::Metered;
use crate::{Wsgi, log};

/// A request of the server as the engine's host.
pub(crate) struct RequestHost<'a, 'r> {
    request: &'a mut Request<'r>,
    body: Body<'r>,
    output: Brigade<'r>,
    /// The server has a head of ours, and something behind it.
    begun: bool,
    sendfile: bool,
    /// What is recorded of the request, if anything is.
    pub(crate) metered: Option<Metered>,
    /// `WSGIErrorOverride On`.
    override_errors: bool,
    /// The status of a response that the server's own page takes the place of.
    overridden: Option<u16>,
}

// SAFETY: `engine_api::Host` promises one call at a time, and only while `handle` runs, which keeps
// the request alive. The server's structures do not care which thread uses them, only that one does
// at a time (A4).
unsafe impl Send for RequestHost<'_, '_> {}

impl<'a, 'r> RequestHost<'a, 'r> {
    /// The host of a request of which nothing was read and to which nothing was sent.
    pub(crate) fn new(request: &'a mut Request<'r>, sendfile: bool) -> RequestHost<'a, 'r> {
        let output = Brigade::new(request);
        RequestHost {
            request,
            body: Body::new(),
            output,
            begun: false,
            sendfile,
            metered: None,
            override_errors: false,
            overridden: None,
        }
    }

    /// Whether pages of the server take the place of the application's responses of 400 and up.
    pub(crate) fn override_errors(&mut self, on: bool) {
        self.override_errors = on;
    }

    /// What to tell the server if its own page is to take the place of what the application said.
    pub(crate) fn overridden(&self) -> Option<Status> {
        self.overridden.map(Status::Http)
    }

    /// Whether a part of a response goes nowhere, since the server's own page takes its place.
    ///
    /// Two headers stay: a 401 means nothing without the one, and what an application keeps of its
    /// users would be lost without the other.
    fn is_overridden(&mut self, head: Option<&Head<'_>>) -> bool {
        let head = head.filter(|head| self.override_errors && (400..600).contains(&head.status));
        if let Some(head) = head.filter(|_| !self.begun) {
            self.overridden = Some(head.status);
            let kept = self.request.error_headers_out();
            for name in [c"Set-Cookie", c"WWW-Authenticate"] {
                for pair in head.headers.get() {
                    if pair.name.or_empty().eq_ignore_ascii_case(name.to_bytes()) {
                        let value = self.request.pool().string(pair.value.or_empty());
                        kept.add_borrowed(name, value);
                    }
                }
            }
        }
        self.overridden.is_some()
    }

    /// The request is handed to a process now, which is returned.
    pub(crate) fn hand(&mut self) -> i64 {
        let now = engine_api::now();
        if let Some(metered) = &mut self.metered {
            metered.hand(now);
        }
        now
    }

    /// From here on files are ours, of which the server need not read what a socket does not take:
    /// what it has read it would have to keep, and wait for the client.
    pub(crate) fn allow_sendfile(&mut self) {
        self.sendfile = true;
    }

    /// The request.
    pub(crate) fn request(&self) -> &Request<'r> {
        self.request
    }

    /// [`Host::read`] without waiting; `None` if it would have to.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        self.body.read_now(self.request, buffer).map_err(|error| read_fault(&error)).transpose()
    }

    /// Says what to tell the server where there is no response, or only a part of one: it renders
    /// this status, unless something was sent, which nothing may follow.
    pub(crate) fn fail(&mut self, status: u16) -> Status {
        if self.begun || self.is_answered() { self.break_off() } else { Status::Http(status) }
    }

    /// Breaks off what was begun, and says what to tell the server.
    pub(crate) fn break_off(&mut self) -> Status {
        if self.is_answered() {
            return Status::Done;
        }
        self.abort();
        Status::Ok
    }

    /// Whether a response of the application was begun.
    pub(crate) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether the server has sent an error page of its own while the body was read, or instead of
    /// a head that is not HTTP.
    pub(crate) fn is_answered(&self) -> bool {
        !self.begun && self.request.is_answered()
    }

    /// Breaks the response off so that the client can tell.
    pub(crate) fn abort(&mut self) {
        if self.begun {
            self.request.abort(&mut self.output);
        }
    }

    /// Serves what is at this path instead, and says what the handler is to return.
    pub(crate) fn redirect(&mut self, path: &[u8]) -> Status {
        self.request.redirect(path)
    }

    /// Sets the head and says what follows the data.
    fn begin(&mut self, head: Option<&Head<'_>>, flags: Flags) -> Flush {
        // Behind an error page of the server's own, its status is the one that was sent.
        if let Some(head) = head.filter(|_| !self.request.is_answered()) {
            let headers = head.headers.get();
            self.request.set_head(httpd_sys::Head {
                status: head.status,
                reason: head.reason.get(),
                headers: headers.iter().map(|pair| (pair.name.or_empty(), pair.value.or_empty())),
            });
        }
        if flags.has(Flags::TRUNCATED) {
            // What comes before a break goes out, or filters would keep it.
            Flush::Now
        } else if flags.has(Flags::END) {
            Flush::End
        } else if flags.has(Flags::FLUSH) {
            Flush::Now
        } else {
            Flush::No
        }
    }

    /// Notes that a head is out, if it is, and breaks the response off if that was asked for.
    fn end<T>(&mut self, result: httpd_sys::Result<T>, flags: Flags) -> Result<T, Fault> {
        // A refused head is answered by the server; anything else went behind ours.
        self.begun |= !matches!(&result, Err(error) if error.kind() == Kind::Answered);
        if flags.has(Flags::TRUNCATED) {
            self.abort();
        }
        result.map_err(|error| write_fault(&error))
    }
}

impl Host for RequestHost<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.body.read(self.request, buffer).map_err(|error| read_fault(&error))
    }

    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault> {
        if self.is_overridden(head) {
            return Ok(());
        }
        if head.is_some() {
            // Files are another matter; see `send_file`.
            self.request.ignore_range();
        }
        let flush = self.begin(head, flags);
        if chunks.is_empty() && flush == Flush::No {
            return Ok(());
        }
        let chunks = chunks.iter().map(Bytes::or_empty).filter(|chunk| !chunk.is_empty());
        let result = self.request.send(&mut self.output, chunks, flush);
        self.end(result, flags)
    }

    fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        if self.is_overridden(head) {
            return Ok(length);
        }
        let flush = self.begin(head, flags);
        let request = &mut *self.request;
        let result =
            request.send_file(&mut self.output, file, offset, length, self.sendfile, flush);
        self.end(result, flags)
    }

    fn client_gone(&mut self) -> bool {
        self.request.connection().aborted()
    }

    fn ssl_is_https(&mut self) -> bool {
        httpd_sys::ssl_is_https(self.request)
    }

    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        let name = CString::new(name).ok()?;
        httpd_sys::ssl_variable(self.request, &name).map(<[u8]>::to_vec)
    }

    fn log(&mut self, records: &[Record<'_>]) {
        log::records(Some(self.request), records);
    }

    fn level(&mut self) -> Level {
        log::to_engine(&self.request.logger::<Wsgi>())
    }
}

/// How an error of reading looks to the engine; the status is for an application that lets it go.
fn read_fault(error: &Error) -> Fault {
    let (kind, status) = match error.kind() {
        Kind::ClientGone | Kind::End => (FaultKind::ClientGone, 400),
        Kind::Timeout => (FaultKind::Timeout, 408),
        Kind::TooLarge => (FaultKind::TooLarge, 413),
        Kind::Malformed | Kind::Answered => (FaultKind::Malformed, 400),
        _ => (FaultKind::Other, 500),
    };
    Fault { kind, errno: error.errno(), status, text: error.text().to_owned() }
}

/// How an error of writing looks to the engine.
fn write_fault(error: &Error) -> Fault {
    let kind = match error.kind() {
        // After a page of the server's own there is nobody to hear another.
        Kind::ClientGone | Kind::Answered => FaultKind::ClientGone,
        Kind::Timeout => FaultKind::Timeout,
        _ => FaultKind::Other,
    };
    Fault { kind, errno: error.errno(), status: 0, text: error.text().to_owned() }
}
