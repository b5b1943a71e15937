//! The response driver: uses up what an application returned, and calls `close()`.
//!
//! A list or tuple is known as a whole. If it is small it is collected, and sent by the caller
//! after it has detached, once. Everything else is sent block by block, as PEP 3333 wants it, and
//! ended as soon as the promised length is reached: before `close()`, which may take its time.
//!
//! <https://peps.python.org/pep-3333/#buffering-and-streaming>

use std::ptr;
use std::sync::Arc;

use py::{Bound, Error, Result, Token, compat, ffi, text};

use crate::adapter::not_started;
use crate::exchange::{Exchange, SendError, lock};
use crate::host::{FaultKind, Flags, Level, Record};
use crate::reply::Reply;
use crate::report::{Report, message_bytes};
use crate::request::{Outcome, Request, Response, Variables};
use crate::state::State;

/// The largest response that is collected.
const COLLECT: usize = 64 * 1024;

/// A request that is being served.
pub(crate) struct Run<'a, 'py, V> {
    pub(crate) py: Token<'py>,
    pub(crate) state: &'a State,
    pub(crate) request: &'a Request<'a, V>,
    pub(crate) exchange: &'a Arc<Exchange>,
}

/// How the application's part ended.
#[derive(Default)]
pub(crate) struct End {
    /// A response that is not sent yet.
    collected: Option<Response>,
    /// The status for an application that failed before anything was sent.
    failed: Option<u16>,
}

impl<'py, V: Variables> Run<'_, 'py, V> {
    /// Sends what the application returned, and closes it.
    pub(crate) fn consume(&self, result: Bound<'py>) -> End {
        if let Some(end) = self.small_sequence(&result) {
            // A list or a tuple has no `close`.
            return end;
        }
        let end = match self.send_all(&result) {
            Ok(end) => end,
            Err(error) => self.fail(&error),
        };
        self.log_mismatch();
        self.log_fault();
        self.close(&result);
        end
    }

    /// The application, or sending its response, failed.
    pub(crate) fn fail(&self, error: &Error<'py>) -> End {
        let Run { py, state, request, exchange } = self;
        let is_committed = lock(&exchange.reply).is_committed();
        let mut status = lock(&exchange.input).status.unwrap_or(500);
        // SAFETY: a live class, of this interpreter.
        if unsafe { error.matches(state.refs.request_timeout.as_ptr()) } {
            status = 504;
            let text = if is_committed {
                "Request interrupted by RequestTimeout after headers sent; response truncated."
            } else {
                "Request interrupted by RequestTimeout; thread recovered."
            };
            self.info(text);
        } else {
            if let Some(observer) = &request.observer {
                observer.request_exception(*py, error);
            }
            let report = Report::of_application(*py, state, error, request.script, request.context);
            exchange.log(*py, &report.records());
        }
        // What cannot be sent any more has had its say.
        let _ = exchange.send(*py, b"", |reply| Ok(reply.abort()));
        End { failed: Some(status), ..End::default() }
    }

    /// What became of the request.
    pub(crate) fn outcome(&self, end: End) -> Outcome {
        if let Some(response) = end.collected {
            return Outcome::Collected(response);
        }
        let reply = lock(&self.exchange.reply);
        let status = reply.status();
        match (reply.is_committed(), reply.is_complete()) {
            (true, true) => Outcome::Sent { status },
            (true, false) => Outcome::Truncated { status },
            (false, _) => Outcome::Failed { status: end.failed.unwrap_or(500) },
        }
    }

    /// Collects a list or tuple if it is small and nothing was sent yet.
    fn small_sequence(&self, result: &Bound<'py>) -> Option<End> {
        let sequence = result.as_ptr();
        // SAFETY: attached; a live object.
        let is_list = unsafe { ffi::PyList_CheckExact(sequence) } != 0;
        // SAFETY: as above.
        let is_tuple = unsafe { ffi::PyTuple_CheckExact(sequence) } != 0;
        if !(is_list || is_tuple) || lock(&self.exchange.reply).is_committed() {
            return None;
        }
        let mut body = Vec::new();
        let mut blocks = 0;
        let mut index = 0;
        loop {
            let item = match sequence_item(result, is_list, index) {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => return Some(self.fail(&error)),
            };
            index += 1;
            // SAFETY: `item` lives longer than the slice.
            let Some(bytes) = (unsafe { text::bytes(item.as_ptr()) }) else {
                return Some(self.fail(&self.not_bytes(&item)));
            };
            if body.len() + bytes.len() > COLLECT {
                return None;
            }
            blocks += u64::from(!bytes.is_empty());
            if body.is_empty() {
                body = bytes.to_vec();
            } else {
                body.extend_from_slice(bytes);
            }
        }
        Some(self.collect(body, blocks))
    }

    /// The whole response, to be sent by the caller.
    fn collect(&self, mut body: Vec<u8>, blocks: u64) -> End {
        let step = lock(&self.exchange.reply).whole(body.len() as u64, blocks);
        let Ok(step) = step else {
            return self.fail(&not_started(self.py));
        };
        body.truncate(step.take);
        self.log_mismatch();
        let truncated = step.flags.has(Flags::TRUNCATED);
        let collected = step.head.map(|head| Response { head, body, truncated });
        End { collected, ..End::default() }
    }

    /// Sends whatever it is.
    fn send_all(&self, result: &Bound<'py>) -> Result<'py, End> {
        #[cfg(unix)]
        if let Some(end) = self.send_file(result)? {
            return Ok(end);
        }
        if let Some(end) = self.send_one(result)? {
            return Ok(end);
        }
        // SAFETY: attached; a live object; a new reference or NULL with an exception.
        let iterator =
            unsafe { Bound::from_owned(self.py, ffi::PyObject_GetIter(result.as_ptr()))? };
        loop {
            // SAFETY: attached; an iterator; a new reference, or NULL at the end or with an
            // exception.
            let item = unsafe {
                let item = ffi::PyIter_Next(iterator.as_ptr());
                Bound::from_owned_or_none(self.py, item)
            };
            let Some(item) = item else {
                if let Some(error) = Error::take(self.py) {
                    return Err(error);
                }
                return self.finish(result);
            };
            // SAFETY: `item` lives longer than the slice.
            let Some(bytes) = (unsafe { text::bytes(item.as_ptr()) }) else {
                return Err(self.not_bytes(&item));
            };
            if bytes.is_empty() {
                continue;
            }
            let length = bytes.len();
            if self.send(bytes, |reply| reply.block(length).map(Some))? {
                return self.finish(result);
            }
        }
    }

    /// The iteration is over: ends the response, if it is not.
    fn finish(&self, result: &Bound<'py>) -> Result<'py, End> {
        // SAFETY: attached; a live object.
        let is_generator = unsafe { ffi::PyGen_CheckExact(result.as_ptr()) } != 0;
        if is_generator && !lock(&self.exchange.reply).is_committed() {
            // Its `close` has nothing left to do, so the head can wait for it.
            return Ok(self.collect(Vec::new(), 0));
        }
        self.send(b"", Reply::finish)?;
        Ok(End::default())
    }

    /// Sends the only block of a list or tuple, whose length is that of the body.
    fn send_one(&self, result: &Bound<'py>) -> Result<'py, Option<End>> {
        let sequence = result.as_ptr();
        // SAFETY: attached; a live object, asked for its length if it has one of these types.
        let (is_list, length) = unsafe {
            if ffi::PyList_CheckExact(sequence) != 0 {
                (true, ffi::PyList_Size(sequence))
            } else if ffi::PyTuple_CheckExact(sequence) != 0 {
                (false, ffi::PyTuple_GET_SIZE(sequence))
            } else {
                return Ok(None);
            }
        };
        if length != 1 || lock(&self.exchange.reply).is_committed() {
            return Ok(None);
        }
        let Some(item) = sequence_item(result, is_list, 0)? else {
            return Ok(None);
        };
        // SAFETY: `item` lives longer than the slice.
        let Some(bytes) = (unsafe { text::bytes(item.as_ptr()) }) else {
            return Err(self.not_bytes(&item));
        };
        self.send(bytes, |reply| reply.whole(bytes.len() as u64, 1).map(Some))?;
        Ok(Some(End::default()))
    }

    /// Sends the file in a wrapper, if it is one that a host can send.
    #[cfg(unix)]
    fn send_file(&self, result: &Bound<'py>) -> Result<'py, Option<End>> {
        let class = self.state.refs.file_wrapper.bind(self.py);
        let Some(filelike) = crate::file_wrapper::filelike(&class, result) else {
            return Ok(None);
        };
        let (is_started, is_committed) = {
            let reply = lock(&self.exchange.reply);
            (reply.is_started(), reply.is_committed())
        };
        if is_committed {
            return Ok(None);
        }
        let Some(file) = crate::file::RegularFile::of(&filelike)? else {
            return Ok(None);
        };
        if !is_started {
            return Err(not_started(self.py));
        }
        let decision = lock(&self.exchange.reply).file(file.available());
        let (step, length) = decision.map_err(|_| not_started(self.py))?;
        // What goes wrong is known to the reply.
        let _ = self.exchange.send_file(self.py, &step, file.descriptor(), file.offset(), length);
        Ok(Some(End::default()))
    }

    /// Sends `block`; `true` if nothing further is wanted. A client that has gone is no exception.
    fn send(
        &self,
        block: &[u8],
        decide: impl FnOnce(
            &mut Reply,
        )
            -> std::result::Result<Option<crate::reply::Step>, crate::reply::NotStarted>,
    ) -> Result<'py, bool> {
        match self.exchange.send(self.py, block, decide) {
            Ok(sent) => Ok(sent.stop),
            Err(SendError::NotStarted) => Err(not_started(self.py)),
            Err(SendError::Expired) => Ok(true),
            Err(SendError::Fault(_)) => Ok(true),
        }
    }

    /// Says why the client did not get all of the response, if it was the host's doing.
    fn log_fault(&self) {
        let Some(fault) = lock(&self.exchange.reply).fault().cloned() else {
            return;
        };
        if fault.kind == FaultKind::ClientGone {
            self.info("Client closed connection.");
        } else {
            self.info(&format!("Unable to write response data: {}.", fault.text));
        }
    }

    fn info(&self, text: &str) {
        self.exchange.log(self.py, &[Record::new(Level::Info, 0, text.as_bytes())]);
    }

    fn log_mismatch(&self) {
        let Some(mismatch) = lock(&self.exchange.reply).mismatch() else {
            return;
        };
        let values: [&dyn log_codes::Value; 2] = [&mismatch.promised, &mismatch.produced];
        let message = log_codes::WSGI1001.message(values);
        let text = message_bytes(|out| message.text().write_to(out));
        self.exchange.log(self.py, &[Record::new(Level::Warning, 1001, &text)]);
    }

    /// Calls `result.close()`, if there is one.
    fn close(&self, result: &Bound<'py>) {
        let mut close = ptr::null_mut();
        let name = self.state.refs.close.as_ptr();
        // SAFETY: attached; live objects; writes a new reference or NULL.
        let found = unsafe { compat::get_optional_attr(result.as_ptr(), name, &mut close) };
        // SAFETY: a new reference, or NULL.
        let close = unsafe { Bound::from_owned_or_none(self.py, close) };
        if found < 0 {
            let error = Error::fetch(self.py);
            let message = log_codes::WSGI0194.message([]);
            let text = message_bytes(|out| message.text().write_to(out));
            self.exchange.log(self.py, &[Record::new(Level::Error, 194, &text)]);
            self.report(&error);
        }
        if let Some(close) = close
            && let Err(error) = close.call_n([])
        {
            self.report(&error);
        }
    }

    /// Logs an exception that has no effect on the response.
    fn report(&self, error: &Error<'py>) {
        let Run { py, state, request, exchange } = self;
        // SAFETY: a live class, of this interpreter.
        if unsafe { error.matches(state.refs.request_timeout.as_ptr()) } {
            return;
        }
        if let Some(observer) = &request.observer {
            observer.request_exception(*py, error);
        }
        let report = Report::of_application(*py, state, error, request.script, request.context);
        exchange.log(*py, &report.records());
    }

    fn not_bytes(&self, item: &Bound<'py>) -> Error<'py> {
        let text = format!("response iterable must yield bytes, not {}", item.type_name());
        // SAFETY: a static class of libpython.
        unsafe { Error::new(self.py, ffi::PyExc_TypeError, &text) }
    }
}

/// `sequence[index]`, or nothing behind the end.
#[inline]
fn sequence_item<'py>(
    sequence: &Bound<'py>,
    is_list: bool,
    index: ffi::Py_ssize_t,
) -> Result<'py, Option<Bound<'py>>> {
    let py = sequence.py();
    // SAFETY: attached; a list or a tuple, as the caller has found out; the index is checked.
    unsafe {
        if !is_list {
            if index >= ffi::PyTuple_GET_SIZE(sequence.as_ptr()) {
                return Ok(None);
            }
            let item = ffi::PyTuple_GET_ITEM(sequence.as_ptr(), index);
            return Ok(Bound::from_borrowed(py, item));
        }
        if index >= ffi::PyList_Size(sequence.as_ptr()) {
            return Ok(None);
        }
        compat::list_item(py, sequence.as_ptr(), index).map(Some)
    }
}
