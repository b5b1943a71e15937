//! A worker's side of the host table: the stream of a request, and the log of the process.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use daemon::wire;
use daemon::worker::{self, Send, Stream};
use engine_api::{
    Bytes, Fault, FaultKind, Flags, Head, Host, HostTable, Level, Record, Style, host_table,
};

use super::PLACE;
use super::watchdog::Watchdog;
use crate::timing::{Timing, between};

/// The table that this process's engine calls.
pub(super) static TABLE: HostTable = host_table::<ProcessLog>();

/// The host of one request.
pub(super) struct StreamHost<'a, 's> {
    pub(super) stream: &'a mut Stream<'s>,
    pub(super) level: Level,
    /// The file of the request, for records that do not travel with it.
    pub(super) script: &'a [u8],
    pub(super) watchdog: Option<&'a Arc<Watchdog>>,
    /// The child wants to know how long it took.
    pub(super) measure: Option<Measure>,
}

/// A request that is measured.
pub(super) struct Measure {
    timing: Timing,
    /// Microseconds it has waited for a thread.
    queue: u32,
}

impl Measure {
    pub(super) fn start(request: &engine_api::Request<'_>) -> Measure {
        Measure {
            timing: Timing::start(request.daemon_start),
            queue: between(request.queue_start, request.daemon_start),
        }
    }

    fn times(&self, complete: bool) -> wire::Times {
        let (start, application) = if complete {
            let (start, application) = self.timing.until_now();
            (start, Some(application))
        } else {
            (self.timing.start_time(), None)
        };
        wire::Times { queue: self.queue, start, application }
    }
}

impl StreamHost<'_, '_> {
    /// The request is active.
    fn touch(&self) {
        if let Some(watchdog) = self.watchdog {
            watchdog.touch();
        }
    }

    /// The head is about to be sent.
    fn measured(&mut self, head: Option<&Head<'_>>, flags: Flags) {
        if let (Some(_), Some(measure)) = (head, &self.measure) {
            self.stream.measured(|| measure.times(flags.has(Flags::END)));
        }
    }
}

impl Host for StreamHost<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.touch();
        self.stream.read(buffer).map_err(fault)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Fault>> {
        self.touch();
        self.stream.try_read(buffer).map(|read| read.map_err(fault))
    }

    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault> {
        self.touch();
        self.measured(head, flags);
        with_parts(head, chunks, |head, chunks| {
            self.stream.respond(head, chunks, send(flags)).map_err(fault)
        })
    }

    fn try_respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Option<Result<(), Fault>> {
        self.touch();
        self.measured(head, flags);
        with_parts(head, chunks, |head, chunks| {
            let sent = self.stream.try_respond(head, chunks, send(flags));
            sent.map(|sent| sent.map_err(fault))
        })
    }

    fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        self.measured(head, flags);
        with_parts(head, &[], |head, _| {
            self.stream.send_file(head, file, offset, length, send(flags)).map_err(fault)
        })
    }

    fn client_gone(&mut self) -> bool {
        self.stream.client_gone()
    }

    fn ssl_is_https(&mut self) -> bool {
        false
    }

    fn ssl_var_lookup(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn log(&mut self, records: &[Record<'_>]) {
        let wire: Vec<wire::Record<'_>> = records
            .iter()
            .filter(|record| record.level <= self.level)
            .map(|record| to_wire(record, record.text.or_empty()))
            .collect();
        let taken = self.stream.log(&wire);
        let Some(left) = wire.get(taken..).filter(|left| !left.is_empty()) else { return };
        // Whoever logs these does not know the request.
        if let Some(place) = PLACE.get() {
            for record in left {
                let text = tagged(record, self.script);
                place.handle.log(&[wire::Record { text: &text, style: PLAIN, code: 0, ..*record }]);
            }
        }
    }

    fn level(&mut self) -> Level {
        self.level
    }
}

/// The log of what belongs to no request.
pub(super) struct ProcessLog;

impl engine_api::Server for ProcessLog {
    fn log(records: &[Record<'_>]) {
        let Some(place) = PLACE.get() else { return };
        let level = Self::level();
        for record in records.iter().filter(|record| record.level <= level) {
            place.handle.log(&[to_wire(record, record.text.or_empty())]);
        }
    }

    fn level() -> Level {
        PLACE.get().map_or(Level::Info, |place| Level::from_raw(place.config.log_level))
    }

    fn scoreboard() -> Option<Vec<u8>> {
        PLACE.get()?.handle.scoreboard(ANSWER).ok()
    }
}

/// How long to wait for the server to tell of its processes.
const ANSWER: Duration = Duration::from_secs(2);

/// Text with nothing to add.
const PLAIN: u8 = Style::Message as u8;

fn to_wire<'a>(record: &Record<'a>, text: &'a [u8]) -> wire::Record<'a> {
    wire::Record {
        level: record.level as u8,
        style: record.style as u8,
        code: u16::try_from(record.code).unwrap_or(0),
        errno: record.errno,
        text,
        file: record.file.or_empty(),
        line: record.line,
    }
}

/// A record of a request as a line that tells which.
fn tagged(record: &wire::Record<'_>, script: &[u8]) -> Vec<u8> {
    let prefix = [b"[script ", script, b"] "].concat();
    let code = match record.code {
        0 => Vec::new(),
        code => format!("WSGI{code:04}: ").into_bytes(),
    };
    if record.style == Style::Exception as u8 {
        [&code, &prefix, record.text].concat()
    } else if record.style == Style::Traceback as u8 {
        record.text.to_vec()
    } else {
        [&prefix, &code, record.text].concat()
    }
}

/// Runs `f` with the parts in the stream's words, which live on the stack where there are few.
fn with_parts<R>(
    head: Option<&Head<'_>>,
    chunks: &[Bytes<'_>],
    f: impl FnOnce(Option<&wire::Head<'_>>, &[&[u8]]) -> R,
) -> R {
    let pairs = head.map(|head| head.headers.get()).unwrap_or_default();
    let mut few: [(&[u8], &[u8]); FEW] = [(b"", b""); FEW];
    let many: Vec<(&[u8], &[u8])>;
    let headers = match few.get_mut(..pairs.len()) {
        Some(few) => {
            for (to, pair) in few.iter_mut().zip(pairs) {
                *to = (pair.name.or_empty(), pair.value.or_empty());
            }
            &*few
        }
        None => {
            many = pairs.iter().map(|it| (it.name.or_empty(), it.value.or_empty())).collect();
            &many
        }
    };
    let head = head.map(|head| wire::Head {
        status: head.status,
        reason: head.reason.get(),
        content_length: head.content_length,
        headers,
    });
    match chunks {
        [] => f(head.as_ref(), &[]),
        [chunk] => f(head.as_ref(), &[chunk.or_empty()]),
        chunks => {
            let chunks: Vec<&[u8]> = chunks.iter().map(Bytes::or_empty).collect();
            f(head.as_ref(), &chunks)
        }
    }
}

/// Headers of most responses.
const FEW: usize = 16;

fn send(flags: Flags) -> Send {
    let mut to = Send::NONE;
    for (flag, bit) in
        [(Flags::END, Send::END), (Flags::FLUSH, Send::FLUSH), (Flags::TRUNCATED, Send::TRUNCATED)]
    {
        if flags.has(flag) {
            to = to.with(bit);
        }
    }
    to
}

fn fault(error: worker::Error) -> Fault {
    let kind = match error.kind {
        worker::ErrorKind::ClientGone => FaultKind::ClientGone,
        worker::ErrorKind::Timeout => FaultKind::Timeout,
        worker::ErrorKind::TooLarge => FaultKind::TooLarge,
        worker::ErrorKind::NotHttp => FaultKind::Malformed,
        worker::ErrorKind::Other => FaultKind::Other,
    };
    Fault {
        kind,
        errno: error.errno.unwrap_or(0),
        status: error.status.unwrap_or(0),
        text: error.text.into_owned(),
    }
}
