//! Requests of a worker: from the frame to the engine, and what became of it.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use daemon::control::Retire;
use daemon::wire::{Value, field};
use daemon::worker::{Inquiry, Request, Runner, StopReason, Stream};
use engine_api::worker::{Config, Preload};
use engine_api::{Bytes, Client, Fault, Level, Pair, ReplyKind, Slice};
use log_codes::{WSGI0081, WSGI1002};
use py::Waits;

use super::audience::Audience;
use super::ending::Ending;
use super::host::{self, Measure, StreamHost};
use super::signals;
use crate::log;
use crate::places;
use crate::process::Process;
use crate::request::{self, Answer};
use crate::script::OnChange;
use crate::telemetry;

/// Interpreters that requests may name, beside those that the configuration does.
const MOST_NAMES: usize = 100;

/// Most that is told about one request.
const MOST_TEXT: usize = 2048;

/// What serves.
pub(super) struct Requests {
    process: &'static Process,
    multithread: bool,
    multiprocess: bool,
    run_once: bool,
    chroot: Option<Vec<u8>>,
    evicts: bool,
    audience: Audience,
    /// Names that requests have made.
    names: Mutex<HashSet<Vec<u8>>>,
    signals: mpsc::SyncSender<i32>,
    ending: Arc<Ending>,
}

thread_local! {
    /// When this thread found something to do and began to wait for Python's lock; 0 if it has it
    /// for longer.
    static FOUND: Cell<i64> = const { Cell::new(0) };
    /// What it had waited by then, or by the end of its last request.
    static WAITED: Cell<Waits> = const { Cell::new(Waits::NONE) };
}

impl Requests {
    pub(super) fn new(process: &'static Process, config: &Config, ending: Arc<Ending>) -> Requests {
        Requests {
            process,
            multithread: config.threads > 1,
            multiprocess: config.multiprocess,
            run_once: config.run_once,
            chroot: config.chroot.clone(),
            evicts: config.evicts,
            audience: Audience::new(config.tells_places),
            names: Mutex::default(),
            signals: signals::dispatcher(process),
            ending,
        }
    }

    fn answer(&self, request: &Request<'_>, stream: &mut Stream<'_>) -> Result<Answer, Fault> {
        let mut call = Call::new(request);
        if let Some(root) = &self.chroot
            && !call.enter(root)
        {
            let text = WSGI0081.message([&call.script, root]);
            log::coded(&self.process.log, &text);
            return Err(Fault { status: 502, ..Fault::new(engine_api::FaultKind::Other, "") });
        }
        if call.is_named && !self.admits(call.application_group) {
            let text = message(&WSGI1002.message([&call.application_group, &MOST_NAMES]));
            return Err(Fault { status: 503, ..Fault::new(engine_api::FaultKind::Other, text) });
        }
        let facts = request.facts();
        let described = engine_api::Request {
            environ: Slice::new(&call.environ),
            script: Bytes::new(call.script),
            resource: Bytes::new(call.resource.unwrap_or(call.script)),
            handler_script: call.handler_script.into(),
            script_mtime: call.script_mtime,
            application_group: Bytes::new(call.application_group),
            callable: Bytes::new(call.callable),
            request_id: call.request_id.into(),
            connection_id: call.connection_id.into(),
            request_start: facts.request_start,
            queue_start: facts.queue_start,
            // A request may have come while the thread waited for the lock on behalf of another.
            daemon_start: match FOUND.take() {
                0 => engine_api::now(),
                found => found.max(facts.queue_start),
            },
            content_length: facts.body_length,
            server_pid: call.server_pid,
            daemon_connects: facts.connects.into(),
            daemon_restarts: facts.restarts.into(),
            request_rec: std::ptr::null_mut(),
            https: call.https,
            multithread: self.multithread,
            multiprocess: self.multiprocess,
            run_once: self.run_once,
            head: call.head,
            reload: call.reload,
            lower_case: call.lower_case,
            measure: false,
        };
        let on_change = if facts.stay { OnChange::Keep } else { OnChange::GiveBack };
        let watchdog = self.process.watchdog.get().filter(|_| !call.ignore_activity);
        if let Some(watchdog) = watchdog {
            watchdog.touch();
        }
        let measure = facts.measure.then(|| Measure::start(&described));
        let mut host =
            StreamHost { stream, level: call.level, script: call.script, watchdog, measure };
        let answer = Client::with(&host::TABLE, &mut host, |client| {
            request::answer(self.process, &described, client, on_change, WAITED.get())
        });
        if let Some(watchdog) = watchdog {
            watchdog.touch();
        }
        answer
    }
}

impl Requests {
    /// Whether a name that a request made may have an interpreter.
    fn admits(&self, name: &[u8]) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name) || (names.len() < MOST_NAMES && names.insert(name.to_vec()))
    }
}

/// A coded message as a line.
fn message<const N: usize>(message: &log_codes::Message<'_, N>) -> String {
    String::from_utf8_lossy(&message.to_bytes()).into_owned()
}

impl Runner for Requests {
    fn attached(&self, _: u16, serve: &mut dyn FnMut()) {
        FOUND.set(engine_api::now());
        WAITED.set(Waits::of_this_thread());
        // Without memory for a thread state `serve` is not called, which is what to do then.
        let _ = self.process.runtime.main().attach(|_| serve());
    }

    fn batches(&self, _: u16) -> bool {
        !self.process.settings.free_threading
    }

    fn run(&self, request: &Request<'_>, stream: &mut Stream<'_>) {
        let _running = self.process.watchdog.get().and_then(|watchdog| watchdog.begin());
        let answer = self.answer(request, stream);
        // What is said now may have to wait for a full socket.
        let say = |f: &mut (dyn FnMut(&mut Stream<'_>) + Send), stream: &mut Stream<'_>| {
            let main = self.process.runtime.main();
            let _ = main.attach(|py| py.detach(|| f(stream)));
        };
        match answer {
            Ok(Answer::Replied(reply)) if reply.kind == ReplyKind::Render => {
                say(&mut |stream| drop(stream.render(reply.status, b"")), stream);
            }
            Ok(Answer::Replied(_)) => {}
            Ok(Answer::Outdated { preload, version }) => {
                self.announce(&preload);
                if let (Some(worker), Some(key)) = (&self.process.worker, key(&preload)) {
                    worker.reload(&key, version);
                }
                say(&mut |stream| drop(stream.later()), stream);
            }
            Err(fault) => {
                let status = if fault.status == 0 { 500 } else { fault.status };
                let text = fault.text.as_bytes();
                say(&mut |stream| drop(stream.render(status, text)), stream);
            }
        }
        WAITED.set(Waits::of_this_thread());
    }

    fn stopping(&self, reason: StopReason) {
        let process = self.process;
        let name = String::from_utf8_lossy(&process.settings.process_group);
        let line = format!("Shutdown requested for daemon process '{name}'.");
        log::plain(&process.log, Level::Info, &line);
        let reason = self.name(reason);
        telemetry::stopping(process, reason.as_bytes());
        self.ending.begin(process, reason);
    }

    fn inquire(&self, inquiry: Inquiry) -> Result<(), Inquiry> {
        let Some(told) = self.audience.admit() else { return Err(inquiry) };
        let process = self.process;
        // Without a thread the inquiry ends, as any does that nobody answers.
        let _ = ::telemetry::spawn("wsgi-places", move || {
            let _told = told;
            let threads: Vec<_> = inquiry.inside().iter().map(|inside| inside.thread).collect();
            let room = inquiry.room().min(MOST_TEXT);
            let places = places::of(process, &threads);
            inquiry.answer(places.iter().map(|place| place.encode(room)).collect());
        });
        Ok(())
    }

    fn signal(&self, signal: i32) {
        // Callbacks are slower than signals: what does not fit is told already.
        let _ = self.signals.try_send(signal);
    }
}

impl Requests {
    /// `shutdown_reason` of the event.
    fn name(&self, reason: StopReason) -> &'static str {
        match reason {
            StopReason::Retired(Retire::GracefulSignal) if self.evicts => "eviction_signal",
            StopReason::Retired(why) => why.name(),
            StopReason::Quit(_) | StopReason::Alone => Retire::ShutdownSignal.name(),
        }
    }

    fn announce(&self, preload: &Preload) {
        let name = String::from_utf8_lossy(&self.process.settings.process_group);
        let script = String::from_utf8_lossy(&preload.script);
        let line = format!(
            "Forcing restart of daemon process '{name}' due to modification of script '{script}'."
        );
        log::plain(&self.process.log, Level::Info, &line);
    }
}

/// Tells the supervisor that a script is in use: the next workers load it before they are ready.
pub(crate) fn report_loaded(process: &Process, preload: &Preload) {
    if let (Some(worker), Some(key)) = (&process.worker, key(preload)) {
        worker.loaded(&key);
    }
}

pub(super) fn key(preload: &Preload) -> Option<Vec<u8>> {
    // Fails only without memory.
    postcard::to_stdvec(preload).ok()
}

/// What a request says beside its environment.
struct Call<'a> {
    environ: Vec<Pair<'a>>,
    script: &'a [u8],
    resource: Option<&'a [u8]>,
    handler_script: Option<&'a [u8]>,
    application_group: &'a [u8],
    callable: &'a [u8],
    request_id: Option<&'a [u8]>,
    connection_id: Option<&'a [u8]>,
    script_mtime: i64,
    server_pid: u32,
    https: bool,
    head: bool,
    reload: bool,
    lower_case: bool,
    ignore_activity: bool,
    is_named: bool,
    level: Level,
}

impl<'a> Call<'a> {
    fn new(request: &Request<'a>) -> Call<'a> {
        let mut call = Call {
            environ: request.environ().map(|(name, value)| Pair::new(name, value)).collect(),
            script: b"",
            resource: None,
            handler_script: None,
            application_group: b"",
            callable: b"application",
            request_id: None,
            connection_id: None,
            script_mtime: -1,
            server_pid: 0,
            https: false,
            head: false,
            reload: false,
            lower_case: false,
            ignore_activity: false,
            is_named: false,
            level: Level::Info,
        };
        for (number, value) in request.fields() {
            match (number, value) {
                (field::SCRIPT, Value::Bytes(text)) => call.script = text,
                (field::RESOURCE, Value::Bytes(text)) => call.resource = Some(text),
                (field::HANDLER_SCRIPT, Value::Bytes(text)) => call.handler_script = Some(text),
                (field::APPLICATION_GROUP, Value::Bytes(text)) => call.application_group = text,
                (field::CALLABLE, Value::Bytes(text)) => call.callable = text,
                (field::REQUEST_ID, Value::Bytes(text)) => call.request_id = Some(text),
                (field::CONNECTION_ID, Value::Bytes(text)) => call.connection_id = Some(text),
                (field::SCRIPT_MTIME, Value::Int(time)) => call.script_mtime = time,
                (field::SERVER_PID, Value::Int(pid)) => {
                    call.server_pid = u32::try_from(pid).unwrap_or(0);
                }
                (field::HTTPS, Value::Flag(flag)) => call.https = flag,
                (field::HEAD, Value::Flag(flag)) => call.head = flag,
                (field::RELOAD, Value::Flag(flag)) => call.reload = flag,
                (field::LOWER_CASE, Value::Flag(flag)) => call.lower_case = flag,
                (field::IGNORE_ACTIVITY, Value::Flag(flag)) => call.ignore_activity = flag,
                (field::NAMED_GROUP, Value::Flag(flag)) => call.is_named = flag,
                (field::LOG_LEVEL, Value::Int(level)) => {
                    call.level = Level::from_raw(u32::try_from(level).unwrap_or(0));
                }
                _ => {}
            }
        }
        call
    }

    /// Takes the new root directory off the paths of the request's own file and of the documents;
    /// `false` if the file is not under it.
    fn enter(&mut self, root: &[u8]) -> bool {
        let Some(inside) = self.resource.unwrap_or(self.script).strip_prefix(root) else {
            return false;
        };
        if !inside.starts_with(b"/") {
            return false;
        }
        match &mut self.resource {
            Some(resource) => *resource = inside,
            None => self.script = inside,
        }
        self.environ.retain_mut(|pair| match pair.name.or_empty() {
            b"SCRIPT_FILENAME" => {
                *pair = Pair::new(b"SCRIPT_FILENAME", inside);
                true
            }
            b"DOCUMENT_ROOT" => match pair.value.or_empty().strip_prefix(root) {
                Some(documents) => {
                    *pair = Pair::new(b"DOCUMENT_ROOT", documents);
                    true
                }
                None => false,
            },
            _ => true,
        });
        true
    }
}
