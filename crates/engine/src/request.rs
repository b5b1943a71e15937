//! One request: into its interpreter, its script, its application, and out again.
//!
//! The thread attaches once. A small response is collected while attached and sent after, in one
//! call; everything else goes through [`crate::host::Host`] as the application produces it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine_api::worker::Preload;
use engine_api::{Client, Fault, FaultKind, Pair, Reply, ReplyKind, Request};
use log_codes::{WSGI0087, WSGI0191};
use py::{Bound, Global, Token, Waits, ffi};
use smallvec::SmallVec;
use wsgi_core::{Flags, Outcome, Value, Variables};

use crate::current::{self, Current, Entered};
use crate::group::{Group, interpreter_name};
use crate::host::{self, Host};
use crate::log::{self, Report};
use crate::observe;
use crate::process::{Process, Visit};
use crate::record::Record;
use crate::script::{Ask, OnChange, Unusable};
use crate::telemetry::{Running, track};
use crate::timing::{self, Timing};

/// Handles a request on the calling thread, which is not attached.
pub(crate) fn handle(
    process: &'static Process,
    request: &Request<'_>,
    client: Client<'_>,
) -> Result<Reply, Fault> {
    let timing = request.measure.then(|| Timing::start(engine_api::now()));
    let client = Mutex::new(client);
    let waited = Waits::of_this_thread();
    let visit = visit(process, request, &client)?;
    let group = visit.group;
    track(group, request, waited, |running| {
        let attached = group.interpreter.attach(|py| {
            let record = open(group, waited, Waits::got_since(waited));
            serve(py, group, request, &client, OnChange::Reload, record, running)
        });
        let (outcome, record) = match attached {
            Ok(Ok(served)) => served,
            Ok(Err(Outdated(_))) => unreachable!("the script was to be loaded again"),
            Err(error) => return Err(not_attached(group, &client, &error)),
        };
        let (start, application) = timing.map(|timing| timing.until_now()).unwrap_or_default();
        let mut client = client.into_inner().unwrap_or_else(PoisonError::into_inner);
        let respond =
            |head: &_, body: &[&[u8]], flags| host::respond(&mut client, Some(head), body, flags);
        Ok(Reply { start, application, ..finish(outcome, record, running, respond) })
    })
}

/// As many entries as [`add_extra`] adds.
const MOST_EXTRA: usize = 10;

/// What became of a request in a worker.
pub(crate) enum Answer {
    /// It was handled.
    Replied(Reply),
    /// It was not run: the script has changed, and the next workers have the new one.
    Outdated {
        /// The script.
        preload: Preload,
        /// Which change it is.
        version: u64,
    },
}

/// Handles a request on the calling thread, which is attached to the main interpreter and stays so
/// for the next request: a response that the socket takes at once is sent without letting go.
///
/// `waited` is what the thread had waited for Python's lock before it was told of the request.
pub(crate) fn answer(
    process: &'static Process,
    request: &Request<'_>,
    client: Client<'_>,
    on_change: OnChange,
    waited: Waits,
) -> Result<Answer, Fault> {
    let client = Mutex::new(client);
    let visit = visit(process, request, &client)?;
    let group = visit.group;
    let attached = track(group, request, waited, |running| {
        group.interpreter.attach(|py| {
            // When the thread got the lock was before it read the request.
            let record = open(group, waited, None);
            let (outcome, record) = serve(py, group, request, &client, on_change, record, running)?;
            Ok(finish(outcome, record, running, |head, body, flags| {
                let client = &mut *client.lock().unwrap_or_else(PoisonError::into_inner);
                let sent = host::try_respond(client, Some(head), body, flags);
                sent.unwrap_or_else(|| py.detach(|| host::respond(client, Some(head), body, flags)))
            }))
        })
    });
    match attached {
        Ok(Ok(reply)) => Ok(Answer::Replied(reply)),
        Ok(Err(Outdated(stamp))) => Ok(Answer::Outdated {
            preload: Preload {
                script: request.script.or_empty().to_vec(),
                application_group: request.application_group.or_empty().to_vec(),
                reload: request.reload,
                lower_case: request.lower_case,
            },
            version: stamp as u64,
        }),
        Err(error) => Err(not_attached(group, &client, &error)),
    }
}

/// Finds the group of a request.
fn visit(
    process: &'static Process,
    request: &Request<'_>,
    client: &Mutex<Client<'_>>,
) -> Result<Visit, Fault> {
    if process.is_stopping() {
        return Err(Fault::new(FaultKind::Unavailable, "Python has been stopped"));
    }
    let name = request.application_group.or_empty();
    let visit = process.enter(name).inspect_err(|_| {
        let title = interpreter_name(if process.is_main(name) { b"" } else { name });
        let place = process.settings.place();
        log::coded(client, &WSGI0087.message([&title, &place]));
    })?;
    visit.group.objects()?;
    Ok(visit)
}

pub(crate) fn not_attached(
    group: &Group,
    client: &Mutex<Client<'_>>,
    error: &interp::Error,
) -> Fault {
    let thread = current::thread_id(|| false);
    let place = group.process.settings.place();
    log::coded(client, &WSGI0191.message([&thread, &group.title, &place]));
    Fault::new(FaultKind::Unavailable, error.to_string())
}

/// Sends what was collected with `respond`, and says what became of the request.
fn finish(
    outcome: Outcome,
    record: Record,
    running: Option<&Running<'_>>,
    respond: impl FnOnce(&wsgi_core::Head, &[&[u8]], Flags) -> Result<(), Fault>,
) -> Reply {
    let mut sending = None;
    let reply = match outcome {
        Outcome::Sent { status } => replied(ReplyKind::Sent, status),
        Outcome::Failed { status } => replied(ReplyKind::Render, status),
        Outcome::Truncated { status } => replied(ReplyKind::Truncated, status),
        Outcome::Collected(response) => {
            let status = response.head.status();
            let (flags, kind) = if response.truncated {
                (Flags::TRUNCATED, ReplyKind::Truncated)
            } else {
                (Flags::END, ReplyKind::Sent)
            };
            let body = response.body.as_slice();
            let chunks = if body.is_empty() { &[][..] } else { &[body][..] };
            let begun = record.is_wanted().then(Instant::now);
            let sent = respond(&response.head, chunks, flags);
            sending = begun.map(|begun| (begun, Instant::now()));
            match sent {
                Ok(()) => replied(kind, status),
                Err(_) => replied(ReplyKind::Truncated, status),
            }
        }
    };
    let (called, now) = record.close(reply.status, sending);
    if let Some(running) = running {
        running.end(reply.status, called.as_ref(), now);
    }
    reply
}

fn replied(kind: ReplyKind, status: u16) -> Reply {
    Reply { kind, status, start: 0, application: 0 }
}

/// What became of a request; an error if that was nothing.
type Served = Result<(Outcome, Record), Outdated>;

/// The script has changed, to the version with this time stamp.
struct Outdated(i64);

/// Begins the record of a request on this thread, see [`Record::open`].
fn open(group: &'static Group, waited: Waits, now: Option<Instant>) -> Record {
    Record::open(&group.process.recorder, thread_id(group), waited, now)
}

fn thread_id(group: &Group) -> u32 {
    current::thread_id(|| group.process.runtime.is_main_thread())
}

fn serve(
    py: Token<'_>,
    group: &'static Group,
    request: &Request<'_>,
    client: &Mutex<Client<'_>>,
    on_change: OnChange,
    mut record: Record,
    running: Option<&Running<'_>>,
) -> Served {
    let call = Call { py, group, request, client, running, thread_id: thread_id(group) };
    match call.answer(on_change, &mut record) {
        Ok(outcome) => Ok((outcome, record)),
        Err(Unserved::Failed(status)) => Ok((Outcome::Failed { status }, record)),
        Err(Unserved::Outdated(stamp)) => {
            record.cancel();
            Err(Outdated(stamp))
        }
    }
}

/// Why no application was asked.
enum Unserved {
    /// With this status; what is wrong is logged.
    Failed(u16),
    /// See [`Outdated`].
    Outdated(i64),
}

/// A request that is in its interpreter.
struct Call<'a, 'c, 'py> {
    py: Token<'py>,
    group: &'static Group,
    request: &'a Request<'a>,
    client: &'a Mutex<Client<'c>>,
    running: Option<&'a Running<'a>>,
    thread_id: u32,
}

impl<'py> Call<'_, '_, 'py> {
    fn answer(&self, on_change: OnChange, record: &mut Record) -> Result<Outcome, Unserved> {
        let Call { py, group, request, client, .. } = *self;
        let objects = group.objects().map_err(|_| Unserved::Failed(500))?;
        let data = self.data()?;
        let current = Current { group, log: client, data: data.as_ptr() };
        let _entered = Entered::new(&current);
        let id = request.request_id.get();
        let active = id.and_then(|id| Active::enter(py, group, id, &data));
        let application = self.application(on_change)?;
        let application_start = now();
        let begun = record.call(request, application_start);
        timing::application_begins(application_start);
        let progress = self.running.map(Running::progress);
        if let Some(progress) = progress {
            progress.call(application_start, begun.unwrap_or_else(Instant::now));
        }
        let mut extra = SmallVec::<[(&str, Value<'_>); MOST_EXTRA]>::new();
        let id = active.as_ref().and_then(|active| active.id.as_ref());
        add_extra(&mut extra, request, id, self.thread_id, application_start);
        let observer =
            observe::observer(py, group, request, self.thread_id, application_start, &data);
        let described = wsgi_core::Request {
            environ: Pairs(request.environ.get()),
            extra: &extra,
            https: request.https,
            multithread: request.multithread,
            multiprocess: request.multiprocess,
            run_once: request.run_once,
            head: request.head,
            content_length: u64::try_from(request.content_length).ok(),
            script: request.resource.or_empty(),
            context: &group.context,
            measure: observer.is_some() || record.is_wanted(),
            waited: Some(record.waited()),
            observer: observer.map(|observer| observer as Arc<dyn wsgi_core::Observer>),
        };
        let mut host = Host { client, group, script: request.resource.or_empty(), progress };
        let served = wsgi_core::serve(py, &objects.core, &application, &described, &mut host);
        record.served(&served.summary);
        Ok(served.outcome)
    }

    /// What the application and the functions of `mod_wsgi` keep for the request.
    fn data(&self) -> Result<Bound<'py>, Unserved> {
        self.py.dict().map_err(|error| {
            let resource = self.request.resource.or_empty();
            let report = Report::of_script(&error, resource, &self.group.context);
            self.py.detach(|| report.log(self.client));
            Unserved::Failed(500)
        })
    }

    /// The script's application, after loading the script if need be.
    fn application(&self, on_change: OnChange) -> Result<Bound<'py>, Unserved> {
        let Call { group, request, .. } = *self;
        let ask = Ask {
            path: request.script.or_empty(),
            mtime: (request.script_mtime >= 0).then_some(request.script_mtime),
            reload: request.reload,
            lower_case: request.lower_case,
            resource: Some(request.resource.or_empty()),
            callable: Some(request.callable.or_empty()),
            group,
            log: self.client,
            request: true,
            on_change,
        };
        let watchdog = group.process.watchdog.get();
        if let Some(watchdog) = watchdog {
            watchdog.enter(group, self.thread_id);
        }
        let application =
            group.scripts.callable(self.py, &ask).map_err(|unusable| match unusable {
                Unusable::Broken => Unserved::Failed(500),
                Unusable::Outdated(stamp) => Unserved::Outdated(stamp),
                // Embedded and daemon mode differ here, and configurations may rely on it.
                Unusable::NoCallable if group.process.settings.embedded() => Unserved::Failed(404),
                Unusable::NoCallable => Unserved::Failed(500),
            })?;
        if let Some(watchdog) = watchdog {
            watchdog.loaded();
        }
        Ok(application)
    }
}

/// Adds the entries of `environ` that have a place of their own in the request.
fn add_extra<'a>(
    extra: &mut SmallVec<[(&'static str, Value<'a>); MOST_EXTRA]>,
    request: &Request<'a>,
    request_id: Option<&'a Global>,
    thread_id: u32,
    application_start: f64,
) {
    extra.extend([
        ("mod_wsgi.callable_object", Value::Latin1(request.callable.or_empty())),
        ("mod_wsgi.handler_script", Value::Latin1(request.handler_script.or_empty())),
        ("mod_wsgi.thread_id", Value::Int(thread_id.into())),
        ("mod_wsgi.request_start", Value::Float(seconds(request.request_start))),
        ("mod_wsgi.queue_start", Value::Float(seconds(request.queue_start))),
        ("mod_wsgi.daemon_start", Value::Float(seconds(request.daemon_start))),
        ("mod_wsgi.application_start", Value::Float(application_start)),
    ]);
    if let Some(id) = request.request_id.get() {
        extra.push(("mod_wsgi.request_id", request_id.map_or(Value::Latin1(id), Value::Object)));
    }
    if let Some(id) = request.connection_id.get() {
        extra.push(("mod_wsgi.connection_id", Value::Latin1(id)));
    }
    if !request.request_rec.is_null() {
        extra.push(("apache.request_rec", Value::Pointer(request.request_rec)));
    }
}

/// Variables as they come from the server.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pairs<'a>(pub(crate) &'a [Pair<'a>]);

impl Variables for Pairs<'_> {
    fn pairs(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|pair| (pair.name.or_empty(), pair.value.or_empty()))
    }
}

/// Seconds since 1970 of an `apr_time_t`.
pub(crate) fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
}

/// Seconds since 1970, now.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The request's entry in `mod_wsgi.active_requests`.
struct Active<'py> {
    requests: Bound<'py>,
    /// There until it is dropped.
    id: Option<Global>,
}

impl<'py> Active<'py> {
    /// Nothing if the application has replaced the dict by something else.
    fn enter(py: Token<'py>, group: &Group, id: &[u8], data: &Bound<'py>) -> Option<Active<'py>> {
        let objects = group.objects.get()?;
        let attributes = objects.attributes.bind(py).ok()?;
        let name = objects.names.active_requests(py).ok()?;
        let requests = attributes.dict_item(&name).ok().flatten()?;
        let id = py.latin1(id).ok()?;
        // SAFETY: attached; SetItem takes references of its own; the check comes first.
        let entered = unsafe {
            ffi::PyDict_Check(requests.as_ptr()) != 0
                && ffi::PyDict_SetItem(requests.as_ptr(), id.as_ptr(), data.as_ptr()) == 0
        };
        if !entered {
            drop(py::Error::take(py));
            return None;
        }
        Some(Active { requests, id: Some(id.into_global()) })
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let py = self.requests.py();
        let Some(Ok(id)) = self.id.take().map(|id| id.into_bound(py)) else { return };
        // SAFETY: attached; a dict (`enter`) and a `str`.
        if unsafe { ffi::PyDict_DelItem(self.requests.as_ptr(), id.as_ptr()) } < 0 {
            // The application was faster.
            drop(py::Error::take(py));
        }
    }
}
