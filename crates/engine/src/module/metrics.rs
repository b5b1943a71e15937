//! `start_recording_metrics`, `request_metrics`, `process_metrics`, `server_metrics`.
//!
//! The numbers are kept elsewhere ([`metrics`]) and by the server; this makes dictionaries of them,
//! whose keys and units are those of mod_wsgi 6.1.1. Times that are means, sums or ages are in
//! seconds, extremes in microseconds.
//!
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/>

use std::ffi::CStr;

use engine_api::{Scoreboard, ServerProcess, ServerWorker};
use metrics::{Interval, Phase, Recorder, Totals};
use py::{Bound, Token, ffi, guard};

use super::functions::group;
use crate::process::Process;
use crate::request::seconds;

/// `start_recording_metrics()`
pub(super) unsafe extern "C" fn start_recording(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module.
    unsafe {
        guard::object(|py| {
            group(py, this)?.process.start_recording();
            Ok(py.none())
        })
    }
}

/// `request_metrics()`
pub(super) unsafe extern "C" fn request(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module.
    unsafe {
        guard::object(|py| {
            let recorder = recorder(group(py, this)?.process);
            dict_or_none(py, || recorder.and_then(Recorder::interval), of_requests)
        })
    }
}

/// `process_metrics()`
pub(super) unsafe extern "C" fn process(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module.
    unsafe {
        guard::object(|py| {
            let recorder = recorder(group(py, this)?.process);
            dict_or_none(py, || recorder.and_then(Recorder::totals), of_process)
        })
    }
}

/// `server_metrics()`
pub(super) unsafe extern "C" fn server(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module.
    unsafe {
        guard::object(|py| {
            let server = group(py, this)?.process.log;
            dict_or_none(py, || server.scoreboard(), of_server)
        })
    }
}

impl Process {
    /// Records from now on.
    pub(crate) fn start_recording(&self) {
        py::measure_waits();
        self.recorder.start();
    }
}

/// The record, if it runs and is nobody else's.
fn recorder(process: &'static Process) -> Option<&'static Recorder> {
    Some(&process.recorder).filter(|recorder| recorder.is_on() && !recorder.is_claimed())
}

/// Makes a dictionary of numbers, if there are any. They are taken detached: that asks the system or
/// the server, and waits for threads that are just recording.
fn dict_or_none<'py, T: Send>(
    py: Token<'py>,
    take: impl FnOnce() -> Option<T> + Send,
    make: fn(Token<'py>, &T) -> py::Result<'py, Bound<'py>>,
) -> py::Result<'py, Bound<'py>> {
    py.detach(take).map_or_else(|| Ok(py.none()), |numbers| make(py, &numbers))
}

/// A dictionary that is being filled.
struct Filling<'py> {
    py: Token<'py>,
    dict: Bound<'py>,
}

impl<'py> Filling<'py> {
    fn new(py: Token<'py>) -> py::Result<'py, Filling<'py>> {
        Ok(Filling { py, dict: py.dict()? })
    }

    fn set(&self, key: &CStr, value: &Bound<'py>) -> py::Result<'py, ()> {
        self.dict.dict_set(key, value)
    }

    fn int(&self, key: &CStr, value: u64) -> py::Result<'py, ()> {
        self.set(key, &int(self.py, value)?)
    }

    fn float(&self, key: &CStr, value: f64) -> py::Result<'py, ()> {
        self.set(key, &self.py.float(value)?)
    }

    /// With a key that is made of two parts.
    fn composed(&self, head: &str, tail: &str, value: &Bound<'py>) -> py::Result<'py, ()> {
        self.dict.set_dict_item(&self.py.str(&format!("{head}{tail}"))?, value)
    }

    fn list<T>(
        &self,
        key: &CStr,
        items: impl IntoIterator<Item = T>,
        make: impl Fn(T) -> py::Result<'py, Bound<'py>>,
    ) -> py::Result<'py, ()> {
        self.set(key, &list(self.py, items, make)?)
    }
}

fn int<'py>(py: Token<'py>, value: u64) -> py::Result<'py, Bound<'py>> {
    py.int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn list<'py, T>(
    py: Token<'py>,
    items: impl IntoIterator<Item = T>,
    make: impl Fn(T) -> py::Result<'py, Bound<'py>>,
) -> py::Result<'py, Bound<'py>> {
    py.list(items.into_iter().map(make).collect::<py::Result<'py, Vec<_>>>()?)
}

fn of_requests<'py>(py: Token<'py>, interval: &Interval) -> py::Result<'py, Bound<'py>> {
    let filling = Filling::new(py)?;
    let cpu = interval.cpu_utilization();
    filling.int(c"pid", std::process::id().into())?;
    for (key, value) in [
        (c"start_time", interval.start),
        (c"stop_time", interval.stop),
        (c"sample_period", interval.period),
        (c"cpu_user_utilization", cpu.user),
        (c"cpu_system_utilization", cpu.system),
        (c"cpu_utilization", cpu.sum()),
        // As they are named, these would be seconds; they never were.
        (c"cpu_user_time", cpu.user),
        (c"cpu_system_time", cpu.system),
        (c"cpu_time", cpu.sum()),
        (c"capacity_utilization", interval.capacity_utilization()),
        (c"request_throughput", interval.throughput()),
    ] {
        filling.float(key, value)?;
    }
    let [informational, success, redirection, client, server] = interval.statuses;
    for (key, value) in [
        (c"memory_rss", interval.memory.rss),
        (c"memory_max_rss", interval.memory.max_rss),
        (c"request_threads_maximum", interval.threads.len() as u64),
        (c"request_threads_started", interval.threads_started.into()),
        (c"request_threads_active", interval.threads_active.into()),
        (c"request_count", interval.requests),
        (c"status_1xx", informational),
        (c"status_2xx", success),
        (c"status_3xx", redirection),
        (c"status_4xx", client),
        (c"status_5xx", server),
        (c"input_bytes", interval.input_bytes),
        (c"input_reads", interval.input_reads),
        (c"output_bytes", interval.output_bytes),
        (c"output_writes", interval.output_writes),
        (c"gil_wait_count", interval.gil_waits),
    ] {
        filling.int(key, value)?;
    }
    for phase in Phase::ALL {
        let times = interval.phase(phase);
        let name = phase.name();
        let is_daemon_only = matches!(phase, Phase::Queue | Phase::Daemon);
        let mean =
            if is_daemon_only && !interval.daemon { py.none() } else { py.float(times.mean())? };
        filling.composed(name, "", &mean)?;
        let (least, most) = match times.extremes {
            Some((least, most)) => (int(py, least)?, int(py, most)?),
            None => (py.none(), py.none()),
        };
        filling.composed(name, "_min_us", &least)?;
        filling.composed(name, "_max_us", &most)?;
        filling.composed(name, "_buckets", &list(py, times.buckets, |count| int(py, count))?)?;
    }
    let threads = &interval.threads;
    for key in [c"request_threads_completed", c"request_threads_buckets"] {
        filling.list(key, threads, |thread| int(py, thread.completed))?;
    }
    filling.list(c"request_threads_busy_time", threads, |thread| py.float(thread.busy))?;
    filling.list(c"request_threads_cpu_time", threads, |thread| py.float(thread.cpu))?;
    filling.list(c"request_threads_current_elapsed", threads, |thread| py.float(thread.current))?;
    filling.list(c"request_threads_max_duration", threads, |thread| py.float(thread.longest))?;
    Ok(filling.dict)
}

fn of_process<'py>(py: Token<'py>, totals: &Totals) -> py::Result<'py, Bound<'py>> {
    let filling = Filling::new(py)?;
    for (key, value) in [
        (c"pid", std::process::id().into()),
        (c"running_time", totals.running as u64),
        (c"request_count", totals.requests),
        (c"request_threads", totals.threads_started.into()),
        (c"active_requests", totals.active),
        (c"memory_rss", totals.memory.rss),
        (c"memory_max_rss", totals.memory.max_rss),
    ] {
        filling.int(key, value)?;
    }
    for (key, value) in [
        (c"restart_time", totals.start),
        (c"current_time", totals.now),
        (c"request_busy_time", totals.busy),
        (c"cpu_user_time", totals.cpu.user),
        (c"cpu_system_time", totals.cpu.system),
        (c"cpu_time", totals.cpu.sum()),
    ] {
        filling.float(key, value)?;
    }
    filling.list(c"threads", &totals.threads, |thread| {
        let filling = Filling::new(py)?;
        filling.int(c"thread_id", thread.thread.into())?;
        filling.int(c"request_count", thread.calls)?;
        Ok(filling.dict)
    })?;
    Ok(filling.dict)
}

fn of_server<'py>(py: Token<'py>, board: &Scoreboard) -> py::Result<'py, Bound<'py>> {
    let filling = Filling::new(py)?;
    filling.int(c"server_limit", board.server_limit.into())?;
    filling.int(c"thread_limit", board.thread_limit.into())?;
    filling.set(c"running_generation", &py.int(board.generation.into())?)?;
    filling.float(c"restart_time", seconds(board.restart_time))?;
    filling.float(c"current_time", seconds(board.current_time))?;
    let running = (board.current_time - board.restart_time) / 1_000_000;
    filling.int(c"running_time", u64::try_from(running).unwrap_or(0))?;
    let processes = (0..).zip(&board.processes);
    filling.list(c"processes", processes, |(number, process)| {
        of_server_process(py, number, process)
    })?;
    Ok(filling.dict)
}

fn of_server_process<'py>(
    py: Token<'py>,
    number: u64,
    process: &ServerProcess,
) -> py::Result<'py, Bound<'py>> {
    let filling = Filling::new(py)?;
    filling.int(c"process_num", number)?;
    filling.set(c"pid", &py.int(process.pid.into())?)?;
    filling.set(c"generation", &py.int(process.generation.into())?)?;
    filling.set(c"quiescing", &py.bool(process.quiescing))?;
    let workers = (0..).zip(&process.workers);
    filling.list(c"workers", workers, |(number, worker)| of_server_worker(py, number, worker))?;
    Ok(filling.dict)
}

fn of_server_worker<'py>(
    py: Token<'py>,
    number: u64,
    worker: &ServerWorker,
) -> py::Result<'py, Bound<'py>> {
    let filling = Filling::new(py)?;
    filling.int(c"thread_num", number)?;
    filling.set(c"generation", &py.int(worker.generation.into())?)?;
    let status = STATUS.get(usize::from(worker.status)).copied().unwrap_or("?");
    filling.set(c"status", &py.str(status)?)?;
    filling.int(c"access_count", worker.access_count)?;
    filling.int(c"bytes_served", worker.bytes_served)?;
    filling.float(c"start_time", seconds(worker.start_time))?;
    filling.float(c"stop_time", seconds(worker.stop_time))?;
    filling.float(c"last_used", seconds(worker.last_used))?;
    filling.set(c"client", &py.latin1(&worker.client)?)?;
    filling.set(c"request", &py.latin1(&worker.request)?)?;
    filling.set(c"vhost", &py.latin1(&worker.vhost)?)?;
    Ok(filling.dict)
}

/// What Apache's threads do, by its numbers; the letters are those of `mod_status`.
const STATUS: [&str; 11] = [".", "S", "_", "R", "W", "K", "L", "D", "C", "G", "I"];
