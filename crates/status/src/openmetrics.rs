//! A server as OpenMetrics text, which Prometheus reads.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>
//!
//! Counters count since the server was started; a graceful restart does not set them back.

use crate::histogram::BOUNDS;
use crate::json::CLASSES;
use crate::snapshot::{Phase, Snapshot};
use crate::text::{Escape, number, put, seconds};

/// Its media type.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Renders it.
pub fn openmetrics(snapshot: &Snapshot) -> String {
    let mut out = Text(String::with_capacity(16384));
    out.family("wsgi", "info", "The module and its server.");
    out.sample("wsgi_info", &[("version", &snapshot.version), ("server", &snapshot.server)]);
    out.value(1);
    phases(&mut out, snapshot);
    counted(&mut out, snapshot);
    gauges(&mut out, snapshot);
    processes(&mut out, snapshot);
    out.0.push_str("# EOF\n");
    out.0
}

fn phases(out: &mut Text, snapshot: &Snapshot) {
    let name = "wsgi_request_phase_seconds";
    out.family(name, "histogram", "How long requests were in a phase.");
    for group in &snapshot.groups {
        for phase in Phase::ALL {
            let labels = [("group", label(group)), ("phase", phase.name().as_bytes())];
            let mut sum = 0u64;
            for (index, count) in group.totals.buckets[phase as usize].iter().enumerate() {
                sum = sum.wrapping_add(*count);
                let le = LE.get(index).copied().unwrap_or("+Inf");
                let [group, phase] = labels;
                out.sample(
                    "wsgi_request_phase_seconds_bucket",
                    &[group, phase, ("le", le.as_bytes())],
                );
                out.value(sum);
            }
            out.sample("wsgi_request_phase_seconds_count", &labels);
            out.value(sum);
            out.sample("wsgi_request_phase_seconds_sum", &labels);
            out.seconds(group.totals.sums[phase as usize]);
        }
    }
}

fn counted(out: &mut Text, snapshot: &Snapshot) {
    out.family("wsgi_responses", "counter", "Responses by class of status.");
    for group in &snapshot.groups {
        for (class, count) in CLASSES.iter().zip(&group.totals.statuses) {
            let labels = [("group", label(group)), ("class", class.as_bytes())];
            out.sample("wsgi_responses_total", &labels);
            out.value(*count);
        }
    }
    out.family("wsgi_restarts", "counter", "Processes that were replaced or have ended.");
    for group in &snapshot.groups {
        for (reason, count) in &group.restarts {
            let labels = [("group", label(group)), ("reason", reason.as_bytes())];
            out.sample("wsgi_restarts_total", &labels);
            out.value((*count).into());
        }
    }
    out.family("wsgi_failed_generations", "counter", "New generations that could not be made.");
    for group in snapshot.groups.iter().filter(|group| group.is_daemon) {
        out.sample("wsgi_failed_generations_total", &[("group", label(group))]);
        out.value(group.failures.into());
    }
}

fn gauges(out: &mut Text, snapshot: &Snapshot) {
    type Value = fn(&crate::Group) -> u64;
    let gauges: [(&str, &str, Value); 5] = [
        ("wsgi_requests_active", "Requests that are with a process or wait for one.", |group| {
            group.active
        }),
        ("wsgi_requests_queued", "Requests that wait for a thread.", |group| group.queued),
        ("wsgi_processes_wanted", "Processes that there are to be.", |group| {
            group.processes.into()
        }),
        ("wsgi_threads_per_process", "Threads of each process.", |group| group.threads.into()),
        ("wsgi_generation", "The newest generation that takes requests.", |group| {
            group.generation.into()
        }),
    ];
    for (name, help, value) in gauges {
        out.family(name, "gauge", help);
        for group in &snapshot.groups {
            out.sample(name, &[("group", label(group))]);
            out.value(value(group));
        }
    }
}

fn processes(out: &mut Text, snapshot: &Snapshot) {
    let mut each = |name: &str, help: &str, value: &dyn Fn(&mut Text, &crate::Worker) -> bool| {
        out.family(name, "gauge", help);
        for group in &snapshot.groups {
            for worker in &group.workers {
                let pid = worker.pid.to_string();
                let mut line = Text(String::new());
                line.sample(
                    name,
                    &[
                        ("group", label(group)),
                        ("pid", pid.as_bytes()),
                        ("state", worker.state.name().as_bytes()),
                    ],
                );
                if value(&mut line, worker) {
                    out.0.push_str(&line.0);
                }
            }
        }
    };
    each("wsgi_process_requests", "Requests that a process has.", &|out, worker| {
        out.value(worker.active.into());
        true
    });
    each("wsgi_process_resident_memory_bytes", "Memory of a process.", &|out, worker| {
        worker.memory.is_some_and(|bytes| {
            out.value(bytes);
            true
        })
    });
    each("wsgi_process_age_seconds", "For how long a process has been there.", &|out, worker| {
        worker.age.is_some_and(|age| {
            out.seconds(age);
            true
        })
    });
}

/// What a group is called: the server's own children by the name that the directives have for them.
fn label(group: &crate::Group) -> &[u8] {
    if group.is_daemon { &group.name } else { b"%{GLOBAL}" }
}

/// The bounds of the buckets in seconds, written as the specification wants numbers to be.
const LE: [&str; BOUNDS] = [
    "6.25e-05", "0.000125", "0.00025", "0.0005", "0.001", "0.002", "0.004", "0.008", "0.016",
    "0.032", "0.064", "0.128", "0.256", "0.512", "1.024", "2.048", "4.096", "8.192", "16.384",
    "32.768", "65.536",
];

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        number(&mut self.0, format_args!("# TYPE {name} {kind}\n# HELP {name} {help}\n"));
    }

    /// A line up to its value.
    fn sample(&mut self, name: &str, labels: &[(&str, &[u8])]) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            number(&mut self.0, format_args!("{before}{label}=\""));
            put(&mut self.0, value, Escape::Label);
            self.0.push('"');
        }
        self.0.push_str("} ");
    }

    fn value(&mut self, value: u64) {
        number(&mut self.0, format_args!("{value}\n"));
    }

    fn seconds(&mut self, us: u64) {
        seconds(&mut self.0, us);
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::bound_half_us;

    #[test]
    fn bounds_are_the_histograms() {
        for (index, text) in LE.iter().enumerate() {
            let seconds: f64 = text.parse().unwrap_or_default();
            assert!((seconds * 2e6 - bound_half_us(index) as f64).abs() < 1e-6, "{text}");
        }
    }
}
