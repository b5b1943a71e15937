//! A server as a page for people: one file, without scripts and without anything from elsewhere,
//! light or dark as the reader's system is, and readable on a phone.
//!
//! It refreshes itself by a `<meta>`: what a page like this must never need is a working script. The
//! headers that go with it ([`HEADERS`]) forbid everything but the style it has in it, so that text
//! of a client's that would get past the escaping could still do nothing.

use std::fmt::Arguments;

use crate::histogram::BOUNDS;
use crate::json::CLASSES;
use crate::snapshot::{
    Frame, Group, GroupStatus, Phase, Place, Request, Snapshot, Worker, WorkerState,
};
use crate::text::{Escape, bytes, duration, grouped, number, put, rate};

/// Headers that go with the page.
pub const HEADERS: [(&str, &str); 4] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
];

/// How the page is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOptions {
    /// Seconds until it asks for itself again; 0 for never.
    pub refresh: u32,
    /// Minutes and seconds of the time it was made, in words that fit; empty for none.
    pub clock: [u8; 8],
}

/// Most running requests that are shown to a person.
const SHOWN: usize = 200;

/// Renders it.
pub fn html(snapshot: &Snapshot, options: &PageOptions) -> String {
    let mut page = Page(String::with_capacity(24 << 10));
    page.raw("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">");
    if options.refresh > 0 {
        page.say(format_args!("<meta http-equiv=refresh content={}>", options.refresh));
    }
    page.raw("<title>WSGI status");
    if !snapshot.host.is_empty() {
        page.raw(" · ");
        page.text(&snapshot.host);
    }
    page.raw("</title><style>");
    page.raw(include_str!("page.css"));
    page.raw("</style><header><h1>WSGI status</h1><p>");
    page.text(&snapshot.host);
    page.raw(" · ");
    page.text(&snapshot.server);
    page.raw(" · ");
    page.text(&snapshot.version);
    page.raw(" · ");
    page.text(&options.clock);
    page.raw(" UTC");
    if options.refresh > 0 {
        page.say(format_args!(", again every {}\u{a0}s", options.refresh));
    }
    page.raw("</p><nav><a href=\"?format=json\">JSON</a><a href=\"?format=openmetrics\">OpenMetrics</a></nav></header><main>");
    for group in &snapshot.groups {
        page.group(group, snapshot.now);
    }
    page.running(snapshot);
    page.raw("</main></html>\n");
    page.0
}

struct Page(String);

impl Page {
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// Numbers and words of ours.
    fn say(&mut self, text: Arguments<'_>) {
        number(&mut self.0, text);
    }

    /// What somebody else chose.
    fn text(&mut self, bytes: &[u8]) {
        put(&mut self.0, bytes, Escape::Html);
    }

    fn group(&mut self, group: &Group, now: u64) {
        self.raw("<section><h2>");
        if group.is_daemon {
            self.text(&group.name);
        } else {
            self.raw("Embedded");
        }
        let (kind, status) = (class_of_status(group.status), group.status.name());
        self.say(format_args!(" <span class=\"pill {kind}\">{status}</span></h2><p class=sub>"));
        self.raw(if group.is_daemon { "Daemon mode" } else { "Apache's own processes" });
        self.say(format_args!(
            " · {} × {} threads",
            count(group.processes, "process", "es"),
            group.threads
        ));
        if group.is_daemon {
            self.say(format_args!(" · generation {}", group.generation));
        }
        if group.failures > 0 {
            self.say(format_args!(" · {} failed", count(group.failures, "new generation", "s")));
        }
        self.raw("</p><dl>");
        self.tile("Requests", &grouped(group.totals.requests()), "");
        let (persecond, over) = match group.rate(now) {
            Some((thousandths, passed)) => (rate(thousandths), format!("in {}", duration(passed))),
            None => ("–".to_owned(), String::new()),
        };
        self.tile("Per second", &persecond, &over);
        let total = u64::from(group.threads) * group.workers.len() as u64;
        self.tile("Active", &grouped(group.active), &format!("of {} threads", grouped(total)));
        self.tile("Queue", &grouped(group.queued), "");
        let p95 = group.totals.quantile_us(Phase::Total, 950);
        self.tile("95 % within", &p95.map_or_else(|| "–".to_owned(), duration), "");
        self.tile("Memory", &group.memory().map_or_else(|| "–".to_owned(), bytes), "");
        self.raw("</dl>");
        if group.totals.requests() > 0 {
            self.responses(group);
            self.phases(group);
        } else {
            self.raw("<p class=no>No request has ended yet.</p>");
        }
        self.workers(group);
        self.restarts(group);
        self.raw("</section>");
    }

    fn tile(&mut self, title: &str, value: &str, more: &str) {
        self.say(format_args!("<div><dt>{title}</dt><dd>{value} <small>{more}</small></dd></div>"));
    }

    fn responses(&mut self, group: &Group) {
        self.raw("<h3>Responses</h3><div class=bar>");
        let classes = CLASSES.iter().zip(["dim", "ok", "go", "warn", "bad", "dim"]);
        let found = || classes.clone().zip(group.totals.statuses).filter(|(_, count)| *count > 0);
        for ((_, kind), count) in found() {
            self.say(format_args!("<i class={kind} style=\"flex:{count}\"></i>"));
        }
        self.raw("</div><ul class=key>");
        for ((class, kind), count) in found() {
            self.say(format_args!("<li class={kind}>{class} <b>{}</b>", grouped(count)));
        }
        self.raw("</ul>");
    }

    fn phases(&mut self, group: &Group) {
        self.raw("<h3>Time by phase</h3><div><div class=\"ph hd\"><span></span><span class=ax><span style=--x:0>62 µs</span><span style=--x:22.7%>1 ms</span><span style=--x:45.5%>32 ms</span><span style=--x:68.2%>1 s</span><span style=--x:93%>65 s</span></span><span>mean</span><span>50 %</span><span>95 %</span><span>99 %</span></div>");
        for phase in Phase::ALL {
            let mean = group.totals.mean_us(phase);
            if mean.is_none() {
                continue;
            }
            self.say(format_args!("<div class=ph><span>{}</span>", phase.title()));
            self.shape(&group.totals.buckets[phase as usize]);
            let part = |part| group.totals.quantile_us(phase, part);
            for (name, value) in
                [("mean", mean), ("50 %", part(500)), ("95 %", part(950)), ("99 %", part(990))]
            {
                let value = value.map_or_else(String::new, duration);
                self.say(format_args!("<span><em>{name}</em>{value}</span>"));
            }
            self.raw("</div>");
        }
        self.raw("</div>");
    }

    /// A histogram as one path. Heights are roots, so that few slow requests show beside many fast.
    fn shape(&mut self, buckets: &[u64; BOUNDS + 1]) {
        self.raw("<svg viewBox=\"0 0 220 30\" preserveAspectRatio=none aria-hidden=true><path class=g d=\"M0 29.5h220M50 0v30M100 0v30M150 0v30\"/><path d=\"");
        let most = buckets.iter().max().copied().unwrap_or_default().max(1);
        for (index, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let share = (u128::from(*count) * 784 / u128::from(most)) as u64;
            let height = share.isqrt().max(2);
            self.say(format_args!("M{} 29v-{height}h8v{height}z", index * 10 + 1));
        }
        self.raw("\"/></svg>");
    }

    fn workers(&mut self, group: &Group) {
        if group.workers.is_empty() {
            self.raw("<p class=no>There is no process now.</p>");
            return;
        }
        self.raw("<h3>Processes</h3><table><thead><tr><th>PID<th>State<th class=w>Generation<th>Age<th>Memory<th>Busy</thead>");
        for Worker { pid, state, generation, age, memory, threads, active } in &group.workers {
            let (kind, state) = (class_of_state(*state), state.name());
            let age = age.map_or_else(|| "–".to_owned(), duration);
            let memory = memory.map_or_else(|| "–".to_owned(), bytes);
            self.say(format_args!("<tr><td>{pid}<td class=\"st {kind}\">{state}<td class=w>{generation}<td>{age}<td>{memory}<td>{active} / {threads}"));
        }
        self.raw("</table>");
    }

    fn restarts(&mut self, group: &Group) {
        if !group.is_daemon {
            return;
        }
        self.raw("<h3>Restarts</h3>");
        let found = || group.restarts.iter().filter(|(_, count)| *count > 0);
        if found().next().is_none() {
            self.raw("<p class=no>None since the server was started.</p>");
            return;
        }
        self.raw("<ul class=key>");
        for (reason, count) in found() {
            let kind = if is_fault(reason) { "bad" } else { "dim" };
            self.say(format_args!("<li class={kind}>{} <b>{}</b>", words(reason), count));
        }
        self.raw("</ul>");
        if let Some((reason, pid, ago)) = group.last_restart {
            let (reason, ago) = (words(reason), duration(ago));
            self.say(format_args!("<p class=no>Last: {reason}, process {pid}, {ago} ago.</p>"));
        }
    }

    fn running(&mut self, snapshot: &Snapshot) {
        let all = snapshot.running.len();
        self.say(format_args!(
            "<section><h2>Running requests <span class=\"pill dim\">{all}</span></h2>"
        ));
        if all == 0 {
            self.raw("<p class=no>None at the moment.</p>");
        }
        self.raw("<ol>");
        for request in snapshot.running.iter().take(SHOWN) {
            self.request(request, snapshot);
        }
        self.raw("</ol>");
        if all > SHOWN {
            self.say(format_args!("<p class=no>And {} more.</p>", all - SHOWN));
        }
        self.raw("</section>");
    }

    fn request(&mut self, request: &Request, snapshot: &Snapshot) {
        let kind = match request.age {
            0..1_000_000 => "dim",
            1_000_000..10_000_000 => "warn",
            _ => "bad",
        };
        self.say(format_args!("<li><b class=\"st {kind}\">{}</b><code>", duration(request.age)));
        self.text(&request.method);
        self.raw(" ");
        self.text(&request.uri);
        self.raw(if request.is_cut { "…</code><span>" } else { "</code><span>" });
        self.raw(request.stage.name());
        if let Some(group) = snapshot.groups.get(request.group) {
            self.raw(" · ");
            if group.is_daemon {
                self.text(&group.name);
            } else {
                self.raw("embedded");
            }
        }
        if request.pid > 0 {
            self.say(format_args!(" · process {}", request.pid));
        }
        self.raw("</span>");
        if let Some(place) = &request.place {
            self.place(place);
        }
    }

    fn place(&mut self, place: &Place) {
        match place {
            Place::Frames(frames) => {
                let Some((innermost, callers)) = frames.split_first() else { return };
                if callers.is_empty() {
                    self.raw("<div class=at>");
                    self.frame(innermost);
                    return self.raw("</div>");
                }
                self.raw("<details class=at><summary>");
                self.frame(innermost);
                self.raw("</summary>");
                for caller in callers {
                    self.raw("<div>");
                    self.frame(caller);
                    self.raw("</div>");
                }
                self.raw("</details>");
            }
            Place::Elsewhere => self.raw("<span>in no Python code</span>"),
            Place::Held(ms) => self.say(format_args!(
                "<span class=\"st warn\">no answer within {ms}\u{a0}ms: the GIL is held</span>"
            )),
            Place::Untold => self.raw("<span>a Python without a GIL does not tell where</span>"),
            Place::NoAnswer => {
                self.raw("<span class=\"st warn\">no answer from the process</span>")
            }
        }
    }

    fn frame(&mut self, frame: &Frame) {
        self.raw("<code>");
        self.text(frame.file.as_bytes());
        self.say(format_args!(":{}</code> ", frame.line));
        self.text(frame.function.as_bytes());
    }
}

fn count(count: u32, one: &str, more: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { more })
}

/// A reason as a person reads it.
fn words(reason: &str) -> String {
    reason.replace('_', " ")
}

fn is_fault(reason: &str) -> bool {
    [
        "died",
        "not_started",
        "request_timeout",
        "deadlock_timeout",
        "startup_timeout",
        "cpu_time_limit",
    ]
    .contains(&reason)
}

fn class_of_status(status: GroupStatus) -> &'static str {
    match status {
        GroupStatus::Serving => "ok",
        GroupStatus::Starting => "go",
        GroupStatus::Failing | GroupStatus::Down => "bad",
        GroupStatus::Service => "dim",
    }
}

fn class_of_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Serving => "ok",
        WorkerState::Starting | WorkerState::Spare => "go",
        WorkerState::Draining => "warn",
    }
}
