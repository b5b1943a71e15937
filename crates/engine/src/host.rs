//! `wsgi-core`'s traits over the host table: the same things in other words.
//!
//! The request's [`Client`] is shared with the log of the engine itself, so it is behind a lock;
//! whoever waits for it is detached.

use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine_api::{Bytes, Client, Head, Level, Pair, Record, Slice, Style};
use smallvec::SmallVec;
use wsgi_core as core;

use crate::group::Group;
use crate::telemetry::Progress;
use crate::{fork, hints, log};

type Read = Result<usize, core::Fault>;

/// A request's server, for `wsgi-core`.
pub(crate) struct Host<'a, 'c> {
    pub(crate) client: &'a Mutex<Client<'c>>,
    pub(crate) group: &'a Group,
    /// The request's file.
    pub(crate) script: &'a [u8],
    /// Where it is noted what goes in and out.
    pub(crate) progress: Option<&'a Progress>,
}

impl<'c> Host<'_, 'c> {
    fn client(&self) -> MutexGuard<'_, Client<'c>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f`, which reads.
    fn reading(&self, f: impl FnOnce() -> Option<Read>) -> Option<Read> {
        if fork::is_forked() {
            let text = "a forked process cannot read what belongs to its parent";
            return Some(Err(core::Fault::new(core::FaultKind::Other, text)));
        }
        let bytes = |read: &Option<Read>| match read {
            Some(Ok(count)) => *count as u64,
            _ => 0,
        };
        match self.progress {
            Some(progress) => progress.reading(f, bytes),
            None => f(),
        }
    }

    /// Runs `f`, which sends these chunks.
    fn writing<R>(&self, head: Option<&core::Head>, chunks: &[&[u8]], f: impl FnOnce() -> R) -> R {
        let Some(progress) = self.progress else { return f() };
        if let Some(head) = head {
            progress.status(head.status());
        }
        progress.writing(f, |_| chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

impl core::Host for Host<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, core::Fault> {
        let read = self.reading(|| Some(self.client().read(buffer).map_err(fault)));
        read.unwrap_or(Ok(0))
    }

    fn respond(
        &mut self,
        head: Option<&core::Head>,
        chunks: &[&[u8]],
        flags: core::Flags,
    ) -> Result<(), core::Fault> {
        self.writing(head, chunks, || respond(&mut self.client(), head, chunks, flags))
            .map_err(fault)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, core::Fault>> {
        self.reading(|| self.client().try_read(buffer).map(|read| read.map_err(fault)))
    }

    fn try_respond(
        &mut self,
        head: Option<&core::Head>,
        chunks: &[&[u8]],
        flags: core::Flags,
    ) -> Option<Result<(), core::Fault>> {
        let sent = try_respond(&mut self.client(), head, chunks, flags)?;
        Some(self.writing(head, chunks, || sent.map_err(fault)))
    }

    fn send_file(
        &mut self,
        head: Option<&core::Head>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: core::Flags,
    ) -> Result<u64, core::Fault> {
        fork::end_if_forked();
        let send = || {
            with_head(head, |head| {
                self.client().send_file(head, file, offset, length, bits(flags)).map_err(fault)
            })
        };
        let Some(progress) = self.progress else { return send() };
        if let Some(head) = head {
            progress.status(head.status());
        }
        progress.writing(send, |sent| *sent.as_ref().unwrap_or(&0))
    }

    fn log(&mut self, records: &[core::Record<'_>]) {
        let own: Vec<Record<'_>> = records.iter().map(record).collect();
        self.client().log(&own);
        let traceback = records.iter().filter(|record| record.style == core::Style::Traceback);
        if let Some(hint) = hints::hint(self.group, traceback.map(|record| record.text)) {
            log::coded(self.client, &hint.message([&self.script, &self.group.title]));
        }
    }

    fn log_level(&mut self) -> core::Level {
        match self.client().level() {
            Level::Alert | Level::Critical => core::Level::Critical,
            Level::Error => core::Level::Error,
            Level::Warning => core::Level::Warning,
            Level::Notice | Level::Info => core::Level::Info,
            Level::Debug | Level::Trace1 => core::Level::Debug,
        }
    }

    fn client_gone(&mut self) -> bool {
        self.client().client_gone()
    }

    fn ssl_is_https(&mut self) -> bool {
        self.client().ssl_is_https()
    }

    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.client().ssl_var_lookup(name)
    }
}

/// The server's log, for `wsgi-core`.
pub(crate) struct ServerLog(pub(crate) engine_api::ServerLog);

impl core::ServerLog for ServerLog {
    fn log(&self, records: &[core::Record<'_>]) {
        let records: Vec<Record<'_>> = records.iter().map(record).collect();
        self.0.log(&records);
    }
}

/// Sends a part of a response.
pub(crate) fn respond(
    client: &mut Client<'_>,
    head: Option<&core::Head>,
    chunks: &[&[u8]],
    flags: core::Flags,
) -> Result<(), engine_api::Fault> {
    fork::end_if_forked();
    let chunks: SmallVec<[Bytes<'_>; 2]> = chunks.iter().map(|chunk| Bytes::new(chunk)).collect();
    with_head(head, |head| client.respond(head, &chunks, bits(flags)))
}

/// Sends a part of a response without waiting; `None` if it would have to.
pub(crate) fn try_respond(
    client: &mut Client<'_>,
    head: Option<&core::Head>,
    chunks: &[&[u8]],
    flags: core::Flags,
) -> Option<Result<(), engine_api::Fault>> {
    fork::end_if_forked();
    let chunks: SmallVec<[Bytes<'_>; 2]> = chunks.iter().map(|chunk| Bytes::new(chunk)).collect();
    with_head(head, |head| client.try_respond(head, &chunks, bits(flags)))
}

fn with_head<R>(head: Option<&core::Head>, f: impl FnOnce(Option<&Head<'_>>) -> R) -> R {
    let Some(head) = head else {
        return f(None);
    };
    let mut headers = SmallVec::<[Pair<'_>; 16]>::new();
    headers.extend(head.headers().map(|(name, value)| Pair::new(name, value)));
    let content_length = head.content_length().map(|length| i64::try_from(length).ok());
    f(Some(&Head {
        status: head.status(),
        reason: head.reason().into(),
        headers: Slice::new(&headers),
        content_length: content_length.flatten().unwrap_or(-1),
    }))
}

fn bits(flags: core::Flags) -> engine_api::Flags {
    let mut bits = engine_api::Flags::NONE;
    for (flag, bit) in [
        (core::Flags::END, engine_api::Flags::END),
        (core::Flags::FLUSH, engine_api::Flags::FLUSH),
        (core::Flags::TRUNCATED, engine_api::Flags::TRUNCATED),
    ] {
        if flags.has(flag) {
            bits = bits.with(bit);
        }
    }
    bits
}

fn record<'a>(record: &core::Record<'a>) -> Record<'a> {
    let level = match record.level {
        core::Level::Critical => Level::Critical,
        core::Level::Error => Level::Error,
        core::Level::Warning => Level::Warning,
        core::Level::Info => Level::Info,
        core::Level::Debug => Level::Debug,
    };
    let style = match record.style {
        core::Style::Message => Style::Message,
        core::Style::Exception => Style::Exception,
        core::Style::Traceback => Style::Traceback,
    };
    Record { style, ..Record::new(level, record.code.into(), record.text) }
}

fn fault(fault: engine_api::Fault) -> core::Fault {
    let kind = match fault.kind {
        engine_api::FaultKind::ClientGone => core::FaultKind::ClientGone,
        engine_api::FaultKind::Timeout => core::FaultKind::Timeout,
        engine_api::FaultKind::TooLarge => core::FaultKind::TooLarge,
        engine_api::FaultKind::Malformed => core::FaultKind::Malformed,
        _ => core::FaultKind::Other,
    };
    core::Fault {
        kind,
        text: fault.text.into(),
        errno: (fault.errno != 0).then_some(fault.errno),
        status: (fault.status != 0).then_some(fault.status),
    }
}
