//! A server as JSON: <https://www.rfc-editor.org/rfc/rfc8259>.
//!
//! Durations are in microseconds, as their names say; buckets of a histogram are counts, not sums,
//! and their bounds come once. Names may be added, and stay what they are.

use crate::histogram::{BOUNDS, bound_half_us};
use crate::snapshot::{Group, Phase, Place, Request, Snapshot, Worker};
use crate::text::{Escape, number, put, seconds};

/// Renders it.
pub fn json(snapshot: &Snapshot) -> String {
    let mut json = Json { out: String::with_capacity(4096), first: true };
    json.open(None, '{');
    json.text("version", &snapshot.version);
    json.text("server", &snapshot.server);
    json.text("host", &snapshot.host);
    json.key("time");
    seconds(&mut json.out, snapshot.now);
    json.open(Some("bucket_bounds_us"), '[');
    for index in 0..BOUNDS {
        let half = bound_half_us(index);
        json.next();
        number(&mut json.out, format_args!("{}.{}", half / 2, half % 2 * 5));
    }
    json.close(']');
    json.open(Some("groups"), '[');
    snapshot.groups.iter().for_each(|it| group(&mut json, it, snapshot.now));
    json.close(']');
    json.open(Some("running"), '[');
    snapshot.running.iter().for_each(|it| request(&mut json, it, snapshot));
    json.close(']');
    json.close('}');
    json.out.push('\n');
    json.out
}

fn group(json: &mut Json, group: &Group, now: u64) {
    json.open(None, '{');
    json.text("name", &group.name);
    json.text("mode", if group.is_daemon { b"daemon" } else { b"embedded" });
    json.text("status", group.status.name().as_bytes());
    for (name, value) in [
        ("generation", group.generation.into()),
        ("failed_generations", group.failures.into()),
        ("processes", group.processes.into()),
        ("threads_per_process", group.threads.into()),
        ("queue_depth", group.queued),
        ("active", group.active),
        ("requests", group.totals.requests()),
    ] {
        json.number(name, Some(value));
    }
    json.number("memory_bytes", group.memory());
    json.key("requests_per_second");
    match group.rate(now) {
        Some((rate, _)) => {
            number(&mut json.out, format_args!("{}.{:03}", rate / 1000, rate % 1000));
        }
        None => json.out.push_str("null"),
    }
    json.open(Some("responses"), '{');
    for (class, count) in CLASSES.iter().zip(&group.totals.statuses) {
        json.number(class, Some(*count));
    }
    json.close('}');
    json.open(Some("phases"), '{');
    for phase in Phase::ALL {
        json.open(Some(phase.name()), '{');
        json.number("count", Some(group.totals.count(phase)));
        json.number("sum_us", Some(group.totals.sums[phase as usize]));
        json.number("mean_us", group.totals.mean_us(phase));
        for (name, part) in [("p50_us", 500), ("p95_us", 950), ("p99_us", 990)] {
            json.number(name, group.totals.quantile_us(phase, part));
        }
        json.open(Some("buckets"), '[');
        for count in group.totals.buckets[phase as usize] {
            json.next();
            number(&mut json.out, format_args!("{count}"));
        }
        json.close(']');
        json.close('}');
    }
    json.close('}');
    json.open(Some("restarts"), '{');
    for (reason, count) in &group.restarts {
        json.number(reason, Some((*count).into()));
    }
    json.close('}');
    json.key("last_restart");
    match group.last_restart {
        None => json.out.push_str("null"),
        Some((reason, pid, ago)) => {
            json.first = true;
            json.open(None, '{');
            json.text("reason", reason.as_bytes());
            json.number("pid", Some(pid.into()));
            json.number("ago_us", Some(ago));
            json.close('}');
        }
    }
    json.open(Some("workers"), '[');
    group.workers.iter().for_each(|it| worker(json, it));
    json.close(']');
    json.close('}');
}

fn worker(json: &mut Json, worker: &Worker) {
    json.open(None, '{');
    json.number("pid", Some(worker.pid.into()));
    json.text("state", worker.state.name().as_bytes());
    json.number("generation", Some(worker.generation.into()));
    json.number("age_us", worker.age);
    json.number("memory_bytes", worker.memory);
    json.number("threads", Some(worker.threads.into()));
    json.number("active", Some(worker.active.into()));
    json.close('}');
}

fn request(json: &mut Json, request: &Request, snapshot: &Snapshot) {
    json.open(None, '{');
    let group = snapshot.groups.get(request.group);
    json.text("group", group.map_or(b"", |group| &group.name));
    json.number("pid", Some(request.pid.into()).filter(|_| request.pid > 0));
    json.number("age_us", Some(request.age));
    json.text("stage", request.stage.name().as_bytes());
    json.text("method", &request.method);
    json.text("uri", &request.uri);
    json.key("uri_is_cut");
    json.out.push_str(if request.is_cut { "true" } else { "false" });
    json.key("place");
    match &request.place {
        None => json.out.push_str("null"),
        Some(place) => number(&mut json.out, format_args!("\"{}\"", place.name())),
    }
    json.open(Some("frames"), '[');
    if let Some(Place::Frames(frames)) = &request.place {
        for frame in frames {
            json.open(None, '{');
            json.text("file", frame.file.as_bytes());
            json.number("line", Some(frame.line.into()));
            json.text("function", frame.function.as_bytes());
            json.close('}');
        }
    }
    json.close(']');
    json.close('}');
}

/// Classes of statuses, as [`crate::Totals::statuses`] counts them.
pub(crate) const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

struct Json {
    out: String,
    /// Nothing stands before in the object or list that is open.
    first: bool,
}

impl Json {
    fn next(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.next();
        number(&mut self.out, format_args!("\"{key}\":"));
    }

    fn open(&mut self, key: Option<&str>, bracket: char) {
        match key {
            Some(key) => self.key(key),
            None => self.next(),
        }
        self.out.push(bracket);
        self.first = true;
    }

    fn close(&mut self, bracket: char) {
        self.out.push(bracket);
        self.first = false;
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push('"');
        put(&mut self.out, value, Escape::Json);
        self.out.push('"');
    }

    fn number(&mut self, key: &str, value: Option<u64>) {
        self.key(key);
        match value {
            Some(value) => number(&mut self.out, format_args!("{value}")),
            None => self.out.push_str("null"),
        }
    }
}
