//! `SetHandler wsgi-status`: what it says about a server that works, notes for the access log, and
//! traces. In a real browser: `status_page.rs`.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::http::{Connection, head};
use tests::process::wait_for;
use tests::{GROUP, Mode, Mpm, Server, Site, Venv, matrix};

const SCRIPT: &str = r"
import time

def application(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/slow'):
        time.sleep(float(environ['QUERY_STRING'].split('&')[0]))
    if path == '/broken':
        raise ValueError('broken')
    if path == '/stream':
        write = start_response('200 OK', [])
        write(b'a')
        time.sleep(0.2)
        write(b'b')
        return [b'c']
    body = environ.get('HTTP_TRACEPARENT', '-') + ' ' + environ.get('HTTP_TRACESTATE', '-')
    if path == '/body':
        body = str(len(environ['wsgi.input'].read()))
    status = '404 Not Found' if path == '/missing' else '200 OK'
    start_response(status, [('Content-Length', str(len(body)))])
    return [body.encode()]
";

const SOON: Duration = Duration::from_secs(20);

const STATUS: &str = "<Location /wsgi-status>\nSetHandler wsgi-status\nRequire all granted\n</Location>\n\
                      <Location /closed>\nSetHandler wsgi-status\nRequire all denied\n</Location>";

fn site(mode: Mode) -> Site {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(mode).one_child(12);
    // Before the application, which has the rest.
    site.conf("WSGIApplicationGroup %{GLOBAL}\nAlias /wsgi-status /nowhere\nAlias /closed /nowhere")
        .conf(STATUS)
        .mount("/", "app.wsgi", SCRIPT)
}

fn json(server: &Server) -> Value {
    let response = server.get("/wsgi-status?format=json").with_status(200);
    assert_eq!(response.header("Content-Type").unwrap(), "application/json");
    serde_json::from_slice(&response.body).unwrap()
}

fn group(server: &Server, mode: Mode) -> Value {
    let name = if mode == Mode::Daemon { GROUP } else { "" };
    let all = json(server);
    let found = all["groups"].as_array().unwrap().iter().find(|group| group["name"] == name);
    found.unwrap_or_else(|| panic!("{all:#}")).clone()
}

/// The same once it has counted so many requests, which may be a moment after their clients have the
/// last of their answers.
fn counted(server: &Server, mode: Mode, requests: u64) -> Value {
    let found = wait_for(SOON, || {
        let group = group(server, mode);
        (group["requests"] == requests && group["active"] == 0).then_some(group)
    });
    found.unwrap_or_else(|| panic!("{:#}", group(server, mode)))
}

/// Sends a request and does not wait for its answer.
fn begin(server: &Server, path: &str) -> Connection {
    let mut connection = server.connect();
    connection.send(head("GET", path, &[], 0)).unwrap();
    connection
}

const MODES: [Mode; 2] = [Mode::Embedded, Mode::Daemon];

#[test]
fn requests_are_counted_by_phase_and_status() {
    for mode in MODES {
        let server = site(mode).start();
        for _ in 0..3 {
            assert_eq!(server.get("/").status, 200);
        }
        assert_eq!(server.get("/missing").status, 404);
        assert_eq!(server.get("/broken").status, 500);
        server.log().expect("ValueError: broken");
        server.log().allow("[wsgi:error]");
        assert_eq!(server.get("/slow?0.3").status, 200);
        assert_eq!(server.post("/body", "text/plain", &[b'x'; 70_000]).text(), "70000");
        assert_eq!(server.get("/stream").text(), "abc");
        let group = counted(&server, mode, 8);
        assert_eq!(group["mode"], if mode == Mode::Daemon { "daemon" } else { "embedded" });
        let responses = &group["responses"];
        assert_eq!(
            (&responses["2xx"], &responses["4xx"], &responses["5xx"]),
            (&6.into(), &1.into(), &1.into())
        );
        let phase = |name: &str, field: &str| group["phases"][name][field].as_u64().unwrap();
        assert_eq!(phase("total", "count"), 8);
        assert_eq!(phase("read", "count"), 8);
        for name in ["start", "application", "send"] {
            assert!((7..=8).contains(&phase(name, "count")), "{mode:?} {name}: {group:#}");
        }
        let queued = if mode == Mode::Daemon { 7 } else { 0 };
        assert_eq!(phase("queue", "count"), queued);
        // The two pauses are the application's, and nobody else's.
        let application = phase("application", "sum_us");
        assert!((500_000..5_000_000).contains(&application), "{mode:?}: {group:#}");
        let parts: u64 = ["read", "queue", "start", "application", "send"]
            .map(|name| phase(name, "sum_us"))
            .iter()
            .sum();
        let total = phase("total", "sum_us");
        assert!(parts <= total + 10_000, "{parts} of {total}: {group:#}");
        assert!(total - parts.min(total) < 300_000, "{parts} of {total}: {group:#}");
        let worker = &group["workers"][0];
        assert_eq!(worker["state"], "serving");
        assert!(worker["memory_bytes"].as_u64().unwrap() > 4 << 20, "{worker:#}");
        let pids: Vec<i64> = match mode {
            Mode::Daemon => server.workers(GROUP).iter().map(|it| it.pid.into()).collect(),
            Mode::Embedded => server.children().iter().map(|it| it.pid.into()).collect(),
        };
        assert!(pids.contains(&worker["pid"].as_i64().unwrap()), "{pids:?} {worker:#}");
        server.stop();
    }
}

#[test]
fn what_runs_is_shown_and_nothing_of_its_query() {
    for mode in MODES {
        let server = site(mode).start();
        let hostile = "/slow/%3Cscript%3Ealert(1)%3C/script%3E'%22%0a?1.5&secret";
        let mut connection = begin(&server, hostile);
        let running = wait_for(SOON, || {
            let all = json(&server);
            let found = all["running"].as_array().unwrap().first().cloned();
            found.filter(|it| it["stage"] == "running" && it["pid"].is_u64())
        });
        let running = running.unwrap();
        assert_eq!(running["uri"], "/slow/<script>alert(1)</script>'\"\n");
        assert_eq!(running["method"], "GET");
        assert!(running["age_us"].as_u64().unwrap() < 20_000_000);
        assert_eq!(group(&server, mode)["active"], 1);
        let page = server.get("/wsgi-status").with_status(200);
        let text = page.text();
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&quot;"), "{text}");
        assert!(!text.contains("<script") && !text.contains("secret"), "{text}");
        assert!(page.header("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
        assert_eq!(page.header("Cache-Control").unwrap(), "no-store");
        assert_eq!(connection.response("GET").unwrap().status, 200);
        let over = wait_for(SOON, || {
            json(&server)["running"].as_array().unwrap().is_empty().then_some(())
        });
        assert!(over.is_some());
        server.stop();
    }
}

#[test]
fn more_requests_than_threads_are_a_queue() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .one_child(12)
        .conf("WSGIDaemonProcess narrow threads=1\nWSGIProcessGroup narrow")
        .conf("WSGIApplicationGroup %{GLOBAL}\nAlias /wsgi-status /nowhere")
        .conf("<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let mut connections: Vec<_> = (0..4).map(|_| begin(&server, "/slow?0.5")).collect();
    let deep = wait_for(SOON, || {
        let all = json(&server);
        (all["groups"][0]["queue_depth"] == 3).then_some(all)
    });
    let deep = deep.unwrap();
    assert_eq!(deep["groups"][0]["active"], 4, "{deep:#}");
    assert_eq!(deep["groups"][0]["workers"][0]["active"], 1);
    assert_eq!(deep["running"].as_array().unwrap().len(), 4);
    for connection in &mut connections {
        assert_eq!(connection.response("GET").unwrap().status, 200);
    }
    // Three have waited for half a second and more. Clients may have their answers before it is counted.
    let all = wait_for(SOON, || {
        let all = json(&server);
        (all["groups"][0]["phases"]["queue"]["count"] == 4).then_some(all)
    });
    let all = all.unwrap();
    let queue = &all["groups"][0]["phases"]["queue"];
    assert!(queue["sum_us"].as_u64().unwrap() > 2_500_000, "{queue:#}");
    assert!(queue["p99_us"].as_u64().unwrap() >= 1_000_000, "{queue:#}");
    let text = server.get("/wsgi-status?format=openmetrics").with_status(200);
    assert!(text.header("Content-Type").unwrap().starts_with("application/openmetrics-text"));
    let text = text.text();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("\nwsgi_responses_total{group=\"narrow\",class=\"2xx\"} 4\n"), "{text}");
    server.stop();
}

/// Reads OpenMetrics as Prometheus' own client does, and prints what it has found.
const READER: &str = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ' '.join(f'{name}={value!r}' for name, value in sorted(sample.labels.items()))
        print(family.type, sample.name, labels, int(sample.value))
";

#[test]
fn prometheus_reads_its_metrics() {
    let python = matrix::python();
    let Some(venv) = Venv::with(&python, &["prometheus-client==0.22.1"]) else { return };
    for mode in MODES {
        let server = site(mode).start();
        for path in ["/", "/missing", "/slow?0.02"] {
            server.get(path);
        }
        counted(&server, mode, 3);
        let text = server.get("/wsgi-status?format=openmetrics").with_status(200).body;
        let mut reader = Command::new(venv.executable())
            .args(["-c", READER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        reader.stdin.take().unwrap().write_all(&text).unwrap();
        let output = reader.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
        let found = String::from_utf8(output.stdout).unwrap();
        let group = if mode == Mode::Daemon { GROUP } else { "%{GLOBAL}" };
        for line in [
            format!("counter wsgi_responses_total class='2xx' group='{group}' 2"),
            format!("counter wsgi_responses_total class='4xx' group='{group}' 1"),
            format!("histogram wsgi_request_phase_seconds_count group='{group}' phase='total' 3"),
        ] {
            assert!(found.lines().any(|other| other == line), "{line} is not in\n{found}");
        }
        server.stop();
    }
}

#[test]
fn ends_of_workers_have_reasons_and_counters_outlive_restarts() {
    let mut server = site(Mode::Daemon).start();
    assert_eq!(server.get("/").status, 200);
    let worker = server.worker(GROUP);
    worker.signal(Signal::KILL);
    worker.await_end();
    server.log().expect("terminated by signal 9");
    let died = wait_for(SOON, || {
        let group = group(&server, Mode::Daemon);
        (group["restarts"]["died"] == 1 && group["status"] == "serving").then_some(group)
    });
    assert_eq!(died.unwrap()["last_restart"]["pid"], worker.pid);
    let worker = server.worker(GROUP);
    worker.signal(Signal::USR1);
    let replaced = wait_for(SOON, || {
        (group(&server, Mode::Daemon)["restarts"]["graceful_signal"] == 1).then_some(())
    });
    assert!(replaced.is_some());
    server.graceful();
    assert_eq!(server.get("/").status, 200);
    counted(&server, Mode::Daemon, 2);
    server.log().allow("[wsgi:");
    server.stop();
}

#[test]
fn it_is_off_unless_configured_and_closed_where_apache_says_so() {
    let server = site(Mode::Embedded).start();
    assert_eq!(server.get("/closed").status, 403);
    assert_eq!(server.get("/wsgi-status?format=xml").status, 400);
    assert_eq!(server.post("/wsgi-status", "text/plain", b"x").status, 405);
    assert_eq!(server.request("HEAD", "/wsgi-status", &[], b"").status, 200);
    server.log().allow("AH01630");
    server.stop();

    // A user's own file does not turn it on.
    let site = Site::new(Mpm::Event, &matrix::python())
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .conf("<Directory />\nAllowOverride All\n</Directory>");
    site.write("htdocs/here/.htaccess", "SetHandler wsgi-status\n");
    site.write("htdocs/here/file.txt", "a file\n");
    let server = site.start();
    assert_eq!(server.get("/here/file.txt").text(), "a file\n");
    server.stop();
}

#[test]
fn times_are_in_the_access_log() {
    for mode in MODES {
        let site = site(mode);
        let log = site.path("times.log");
        let server = site
            .conf(format!(
                "CustomLog \"{}\" \"%U %{{wsgi_read_us}}n %{{wsgi_queue_us}}n %{{wsgi_start_us}}n \
                 %{{wsgi_application_us}}n %{{wsgi_send_us}}n %{{wsgi_total_us}}n %{{wsgi_pid}}n \
                 %{{wsgi_group}}n %{{wsgi_generation}}n %D\"",
                log.display()
            ))
            .start();
        assert_eq!(server.get("/slow?0.25").status, 200);
        let line = wait_for(SOON, || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.lines().find(|line| line.starts_with("/slow")).map(str::to_owned)
        });
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        assert!((250_000..3_000_000).contains(&number(4)), "{line}");
        assert!(number(6) >= number(4) && number(6) <= number(10), "{line}");
        let parts = number(1) + number(3) + number(4) + number(5);
        match mode {
            Mode::Daemon => {
                assert!(parts + number(2) <= number(6) + 5_000, "{line}");
                assert_eq!(words[8..10], [GROUP, "1"], "{line}");
                assert_eq!(words[7], server.worker(GROUP).pid.to_string());
            }
            Mode::Embedded => {
                assert!(parts <= number(6) + 5_000, "{line}");
                assert_eq!((words[2], words[8], words[9]), ("-", "-", "-"), "{line}");
            }
        }
        server.stop();
    }
}

#[test]
fn traces_are_passed_on_and_begun_where_they_are_to_be() {
    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let site = site(Mode::Daemon).conf("<Location /begins>\nWSGITraceContext On\n</Location>");
    let log = site.path("traces.log");
    let format = "%U %{wsgi_trace_id}n %{wsgi_parent_id}n";
    let server = site.conf(format!("CustomLog \"{}\" \"{format}\"", log.display())).start();
    let ask =
        |path: &str, headers: &[(&str, &str)]| server.request("GET", path, headers, b"").text();
    // Left alone: valid, invalid, none.
    assert_eq!(ask("/a", &[("traceparent", GOOD), ("tracestate", "x=1")]), format!("{GOOD} x=1"));
    assert_eq!(ask("/b", &[("traceparent", "nonsense")]), "nonsense -");
    assert_eq!(ask("/c", &[]), "- -");
    // Begun.
    assert_eq!(
        ask("/begins/a", &[("traceparent", GOOD), ("tracestate", "x=1")]),
        format!("{GOOD} x=1")
    );
    let invalid = ask("/begins/b", &[("traceparent", "nonsense"), ("tracestate", "x=1")]);
    let none = ask("/begins/c", &[]);
    for new in [&invalid, &none] {
        let (parent, state) = new.split_once(' ').unwrap();
        assert_eq!((parent.len(), &parent[..3], &parent[52..], state), (55, "00-", "-01", "-"));
    }
    assert_ne!(invalid, none);
    let lines = wait_for(SOON, || {
        let text = std::fs::read_to_string(&log).ok()?;
        (text.matches("/begins/c").count() == 1).then_some(text)
    });
    let lines = lines.unwrap();
    let noted = |path: &str| {
        let line = lines.lines().find_map(|line| line.strip_prefix(&format!("{path} ")));
        line.unwrap_or_else(|| panic!("{lines}")).to_owned()
    };
    assert_eq!(noted("/a"), "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7");
    assert_eq!([noted("/b"), noted("/c")], ["- -", "- -"]);
    assert_eq!(noted("/begins/c"), format!("{} {}", &none[3..35], &none[36..52]));
    server.stop();
}
