//! The three renderings of one server, with values that somebody hostile would choose.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;
use status::{
    BOUNDS, Frame, Group, GroupStatus, PageOptions, Phase, Place, Request, Snapshot, Stage, Totals,
    Worker, WorkerState, html, json, openmetrics,
};

const OPTIONS: PageOptions = PageOptions { refresh: 5, clock: *b"12:34:56" };

fn totals(scale: u64) -> Totals {
    let mut totals = Totals::default();
    let peaks = [2, 3, 1, 7, 2, 8];
    for (phase, peak) in peaks.into_iter().enumerate() {
        for (index, count) in totals.buckets[phase].iter_mut().enumerate() {
            let away = (index as u64).abs_diff(peak);
            *count = if away < 7 { scale * 1000 / (1 + away * away * away * 3) } else { 0 };
        }
        let count: u64 = totals.buckets[phase].iter().sum();
        totals.sums[phase] = count * (90 << peak);
    }
    let all: u64 = totals.buckets[Phase::Total as usize].iter().sum();
    totals.statuses = [0, all - 60, 40, 15, 5, 0];
    totals
}

fn sample(name: &[u8], uri: &[u8]) -> Snapshot {
    let worker = |pid, state, age: u64, active| Worker {
        pid,
        state,
        generation: 7,
        age: Some(age * 1_000_000),
        memory: Some(u64::from(pid) * 45_000),
        threads: 15,
        active,
    };
    let group = Group {
        name: name.to_vec(),
        is_daemon: true,
        status: GroupStatus::Serving,
        generation: 7,
        failures: 1,
        processes: 2,
        threads: 15,
        queued: 3,
        active: 21,
        workers: vec![
            worker(1402, WorkerState::Serving, 86_400 * 3 + 7200, 15),
            worker(1403, WorkerState::Serving, 5400, 6),
            worker(1500, WorkerState::Draining, 40, 0),
        ],
        totals: totals(40),
        looked: (1_700_000_000_000_000, 100),
        restarts: vec![("died", 2), ("maximum_requests", 12), ("script_reload", 0)],
        last_restart: Some(("maximum_requests", 1391, 95_000_000)),
    };
    let embedded = Group {
        status: GroupStatus::Serving,
        processes: 3,
        threads: 25,
        workers: vec![worker(1300, WorkerState::Serving, 86_400 * 3, 1), Worker::default()],
        totals: totals(1),
        ..Group::default()
    };
    let idle = Group {
        name: b"idle".to_vec(),
        is_daemon: true,
        status: GroupStatus::Starting,
        ..Group::default()
    };
    let request = |age, method: &[u8], uri: &[u8]| Request {
        group: 0,
        pid: 1402,
        age,
        stage: Stage::Running,
        method: method.to_vec(),
        uri: uri.to_vec(),
        is_cut: uri.len() > 100,
        place: None,
    };
    Snapshot {
        version: b"mod_wsgi/6.1.1".to_vec(),
        server: b"Apache/2.4.62 (Debian)".to_vec(),
        host: b"www.example.com".to_vec(),
        now: 1_700_000_005_000_000,
        groups: vec![group, embedded, idle],
        running: vec![
            Request {
                place: Some(Place::Frames(vec![frame(uri, 120, uri), frame(b"/app.py", 7, b"f")])),
                ..request(12_400_000, b"POST", b"/reports/annual")
            },
            Request { place: Some(Place::Held(200)), ..request(1_900_000, b"GET", uri) },
            Request {
                place: Some(Place::Frames(vec![frame(b"/app.py", 0, b"<module>")])),
                ..request(90_000, b"GET", b"/one-frame")
            },
            Request { place: Some(Place::NoAnswer), ..request(80_000, b"GET", b"/silent") },
            Request { place: Some(Place::Elsewhere), ..request(70_000, b"GET", b"/elsewhere") },
            Request { place: Some(Place::Untold), ..request(60_000, b"GET", b"/untold") },
            request(35_000, b"GET", &b"/a-very-long-path/".repeat(12)),
        ],
    }
}

fn frame(file: &[u8], line: u32, function: &[u8]) -> Frame {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Frame { file: text(file), line, function: text(function) }
}

const HOSTILE: [&[u8]; 5] = [
    b"</style><script>alert(1)</script>",
    b"\"><img src=x onerror=alert(1)>",
    b"a\\\"b\nc\x00\x1b[31m",
    b"\xff\xfe\xe2\x80\xae' onload='x",
    b"{{7*7}}\r\n# EOF\nx 1\n",
];

/// What a page says between its tags, and the tags.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).map(|part| part.split('>').next().unwrap()).collect()
}

#[test]
fn hostile_text_adds_no_tag_and_no_attribute() {
    let plain = html(&sample(b"plain", b"/plain"), &OPTIONS);
    for text in HOSTILE {
        let page = html(&sample(text, text), &OPTIONS);
        assert_eq!(tags(&page), tags(&plain), "{}", text.escape_ascii());
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'));
    }
}

#[test]
fn the_page_takes_nothing_from_elsewhere() {
    let page = html(&sample(b"blog", b"/x"), &OPTIONS);
    for word in
        ["src=", "url(", "@import", "<script", "<link", "http://", "https://", "style=\"background"]
    {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("<meta http-equiv=refresh content=5>"));
    assert!(!html(&sample(b"", b""), &PageOptions { refresh: 0, ..OPTIONS }).contains("refresh"));
    assert!(page.contains("prefers-color-scheme:dark"));
    if let Some(file) = std::env::var_os("STATUS_PAGE") {
        std::fs::write(file, page).unwrap();
    }
}

#[test]
fn people_are_told_where_requests_are() {
    let page = html(&sample(b"blog", b"/x.py"), &OPTIONS);
    for text in [
        "<summary><code>/x.py:120</code> /x.py</summary><div><code>/app.py:7</code> f</div>",
        "<div class=at><code>/app.py:0</code> &lt;module&gt;</div>",
        "no answer within 200\u{a0}ms: the GIL is held",
        "no answer from the process",
        "in no Python code",
        "a Python without a GIL does not tell where",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Labels would be without bound.
    let metrics = openmetrics(&sample(b"blog", b"/x.py"));
    assert!(!metrics.contains("x.py") && !metrics.contains("app.py"));
}

#[test]
fn json_is_what_was_put_in() {
    for text in HOSTILE {
        let read: serde_json::Value = serde_json::from_str(&json(&sample(text, text))).unwrap();
        let expected = String::from_utf8_lossy(text);
        assert_eq!(read["groups"][0]["name"], *expected);
        assert_eq!(read["running"][1]["uri"], *expected);
        let frame = &read["running"][0]["frames"][0];
        assert_eq!((&frame["file"], &frame["function"]), (&json!(expected), &json!(expected)));
    }
    let read: serde_json::Value = serde_json::from_str(&json(&sample(b"a", b"/b"))).unwrap();
    let group = &read["groups"][0];
    assert_eq!(group["workers"][0]["pid"], 1402);
    assert_eq!(group["restarts"]["maximum_requests"], 12);
    assert_eq!(group["last_restart"]["pid"], 1391);
    assert_eq!(read["groups"][1]["last_restart"], serde_json::Value::Null);
    assert_eq!(read["bucket_bounds_us"][0], 62.5);
    assert_eq!(read["bucket_bounds_us"].as_array().unwrap().len(), BOUNDS);
    let running = read["running"].as_array().unwrap();
    assert_eq!(running[0]["frames"][1], json!({ "file": "/app.py", "line": 7, "function": "f" }));
    let places: Vec<_> = running.iter().map(|request| request["place"].as_str()).collect();
    let expected = ["python", "gil_held", "python", "no_answer", "elsewhere", "untold"].map(Some);
    assert_eq!(places, [&expected[..], &[None]].concat());
    assert!(running[1]["frames"].as_array().unwrap().is_empty());
    let phase = &group["phases"]["application"];
    assert_eq!(phase["buckets"].as_array().unwrap().len(), BOUNDS + 1);
    assert!(group["requests_per_second"].as_f64().unwrap() > 1.0);
}

/// A series: its name and its labels in order.
type Series = (String, Vec<(String, String)>);

/// Reads a line of OpenMetrics by the grammar of its specification.
fn sample_of(line: &str) -> (Series, f64) {
    let name: String =
        line.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let mut rest = line[name.len()..].strip_prefix('{').unwrap_or_else(|| panic!("{line}"));
    let mut labels = Vec::new();
    loop {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().unwrap_or_else(|| panic!("{line}")) {
                (at, '"') => break at,
                (_, '\\') => match chars.next().unwrap().1 {
                    'n' => value.push('\n'),
                    c @ ('"' | '\\') => value.push(c),
                    c => panic!("\\{c} in {line}"),
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => break,
        }
    }
    let value = rest.strip_prefix("} ").unwrap_or_else(|| panic!("{line}"));
    ((name, labels), value.parse().unwrap())
}

/// Checks a text and returns its series.
fn checked(text: &str) -> BTreeMap<Series, f64> {
    let text = text.strip_suffix("# EOF\n").expect("an end");
    let (mut found, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, rest) = rest.split_once(' ').unwrap();
            (family, kind) = (name.to_owned(), rest.to_owned());
            assert!(families.insert(family.clone()), "{family} twice");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")));
            continue;
        }
        let (series, value) = sample_of(line);
        let suffix = series.0.strip_prefix(&family).unwrap_or_else(|| panic!("{line}"));
        let fits: &[&str] = match kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => panic!("{other}"),
        };
        assert!(fits.contains(&suffix), "{line}");
        assert!(value >= 0.0);
        assert!(found.insert(series, value).is_none(), "twice: {line}");
    }
    found
}

#[test]
fn openmetrics_is_well_formed() {
    for text in HOSTILE {
        let found = checked(&openmetrics(&sample(text, text)));
        assert!(found.len() > 400);
    }
    let found = checked(&openmetrics(&sample(b"blog", b"/x")));
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let value =
        |name: &str, labels: &[(String, String)]| found[&(name.to_owned(), labels.to_vec())];
    let group = label("group", "blog");
    assert_eq!(value("wsgi_restarts_total", &[group.clone(), label("reason", "died")]), 2.0);
    assert_eq!(value("wsgi_requests_queued", std::slice::from_ref(&group)), 3.0);
    let phase = label("phase", "queue");
    let all = [group.clone(), phase.clone(), label("le", "+Inf")];
    let count = value("wsgi_request_phase_seconds_count", &[group, phase]);
    assert_eq!(value("wsgi_request_phase_seconds_bucket", &all), count);
    if let Some(file) = std::env::var_os("STATUS_METRICS") {
        std::fs::write(file, openmetrics(&sample(HOSTILE[2], b"/x"))).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_bytes_are(name: Vec<u8>, uri: Vec<u8>) {
        let snapshot = sample(&name, &uri);
        let plain = html(&sample(b"plain", if uri.len() > 100 { HOSTILE[0] } else { b"" }), &OPTIONS);
        let page = html(&snapshot, &OPTIONS);
        prop_assert_eq!(tags(&page), tags(&plain));
        let read: serde_json::Value = serde_json::from_str(&json(&snapshot)).unwrap();
        prop_assert_eq!(read["groups"][0]["name"].as_str(), Some(&*String::from_utf8_lossy(&name)));
        checked(&openmetrics(&snapshot));
    }

    #[test]
    fn whatever_the_numbers_are(value: u64, small: u32) {
        let mut snapshot = sample(b"a", b"/b");
        snapshot.now = value;
        for group in &mut snapshot.groups {
            (group.queued, group.active, group.threads) = (value, value, small);
            group.totals.buckets = [[value; BOUNDS + 1]; Phase::COUNT];
            (group.totals.sums, group.totals.statuses) = ([value; Phase::COUNT], [value; 6]);
            group.looked = (value / 2, value / 3);
            for worker in &mut group.workers {
                (worker.age, worker.memory, worker.active) = (Some(value), Some(value), small);
            }
        }
        snapshot.running.iter_mut().for_each(|request| request.age = value);
        html(&snapshot, &OPTIONS);
        let _: serde_json::Value = serde_json::from_str(&json(&snapshot)).unwrap();
        checked(&openmetrics(&snapshot));
    }
}
