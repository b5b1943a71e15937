//! What applications are told of their requests, their process and the server, in both modes.

#![allow(clippy::unwrap_used)]

use std::thread::{scope, sleep};
use std::time::Duration;

use serde_json::{Value, json};
use tests::process::wait_for;
use tests::{Mode, Mpm, Server, Site, http, matrix};

const MODES: [Mode; 2] = [Mode::Embedded, Mode::Daemon];

/// Does what the query string says and answers with its value as JSON.
const SCRIPT: &str = r#"
import json, os, threading, time
import mod_wsgi

def start():
    return mod_wsgi.start_recording_metrics()

meeting = threading.Barrier(3)
done = threading.Event()
def spin():
    end = time.monotonic() + 25
    while not done.is_set() and time.monotonic() < end:
        pass

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def forked(function):
    """What a forked child gets."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, json.dumps(function()).encode())
        os._exit(0)
    os.close(write)
    with open(read, 'rb') as file:
        text = file.read()
    os.waitpid(pid, 0)
    return json.loads(text)

def application(environ, start_response):
    from urllib.parse import unquote
    read = len(environ['wsgi.input'].read())
    path = environ['PATH_INFO'].strip('/')
    value = eval(unquote(environ['QUERY_STRING'] or 'None'), dict(globals(), environ=environ))
    body = json.dumps(value).encode()
    start_response((path or '200') + ' Told', [('Content-Length', str(len(body)))])
    return [body]
"#;

fn site(mpm: Mpm, mode: Mode, lines: &str, options: &str) -> Site {
    site_with(mpm, mode, lines, options, "/unused", SCRIPT)
}

/// With another script, at another URL.
fn site_with(mpm: Mpm, mode: Mode, lines: &str, options: &str, url: &str, script: &str) -> Site {
    let site = Site::new(mpm, &matrix::python()).conf(lines);
    let site = match mode {
        Mode::Embedded => site.one_child(3),
        Mode::Daemon => site.one_child(6).conf(format!(
            "WSGIDaemonProcess metrics threads=3 {options}\nWSGIProcessGroup metrics"
        )),
    };
    site.mount(url, "other.wsgi", script).mount("/", "app.wsgi", SCRIPT)
}

fn serve(mode: Mode) -> Server {
    site(Mpm::Event, mode, "", "").start()
}

/// What the application makes of an expression.
#[track_caller]
fn ask(server: &Server, expression: &str) -> Value {
    let query: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    serde_json::from_str(&server.get(&format!("/?{query}")).with_status(200).text()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The sum of a list.
fn sum(value: &Value) -> f64 {
    value.as_array().unwrap().iter().map(number).sum()
}

const PHASES: [&str; 8] = [
    "server_time",
    "queue_time",
    "daemon_time",
    "application_time",
    "request_time",
    "gil_wait_time",
    "input_read_time",
    "output_write_time",
];

#[test]
fn there_is_nothing_until_it_is_asked_for() {
    for mode in MODES {
        let server = serve(mode);
        assert_eq!(ask(&server, "mod_wsgi.request_metrics()"), Value::Null);
        assert_eq!(ask(&server, "mod_wsgi.process_metrics()"), Value::Null);
        assert_eq!(ask(&server, "start()"), Value::Null);
        assert!(ask(&server, "mod_wsgi.request_metrics()").is_object());
        assert!(ask(&server, "mod_wsgi.process_metrics()").is_object());
        assert_eq!(ask(&server, "mod_wsgi.server_metrics()"), Value::Null);
        server.stop();
    }
}

#[test]
fn an_interval_has_every_request_as_a_whole() {
    for mode in MODES {
        let server = serve(mode);
        ask(&server, "start()");
        ask(&server, "mod_wsgi.request_metrics()");
        for status in ["200", "201", "302", "404", "503"] {
            let text = format!("/{status}?time.sleep(0.01)");
            let response = http::request(server.address(), "POST", &text, &[], b"body").unwrap();
            assert_eq!(response.status.to_string(), status);
        }
        let found = ask(&server, "mod_wsgi.request_metrics()");
        // And the request that took the interval before.
        assert_eq!(found["request_count"], 6);
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let classes = classes.map(|class| found[format!("status_{class}")].as_u64().unwrap());
        assert_eq!(classes, [0, 3, 1, 1, 1]);
        let of_daemon = |phase: &str| ["queue_time", "daemon_time"].contains(&phase);
        for phase in PHASES {
            let buckets = &found[format!("{phase}_buckets")];
            assert_eq!(buckets.as_array().unwrap().len(), 65);
            let [least, most] = ["min", "max"].map(|name| &found[format!("{phase}_{name}_us")]);
            if of_daemon(phase) && mode == Mode::Embedded {
                assert_eq!((sum(buckets), &found[phase]), (0.0, &Value::Null));
                assert_eq!((least, most), (&Value::Null, &Value::Null));
                continue;
            }
            assert_eq!(sum(buckets), 6.0, "{phase}");
            let (least, most, mean) = (number(least), number(most), number(&found[phase]) * 1e6);
            assert!(least <= mean + 1.0 && mean <= most + 1.0, "{phase}: {least} {mean} {most}");
        }
        assert!(number(&found["application_time_max_us"]) >= 10_000.0);
        let sum_of = |names: &[&str]| names.iter().map(|name| number(&found[*name])).sum::<f64>();
        let parts = match mode {
            Mode::Embedded => sum_of(&["server_time", "application_time"]),
            Mode::Daemon => {
                sum_of(&["server_time", "queue_time", "daemon_time", "application_time"])
            }
        };
        assert!((parts - number(&found["request_time"])).abs() < 1e-6);
        assert_eq!(found["input_bytes"], 20);
        assert!(number(&found["input_reads"]) >= 5.0);
        assert_eq!(found["output_writes"], 6);
        assert!(number(&found["output_bytes"]) > 20.0);
        assert_eq!(sum(&found["request_threads_completed"]), 6.0);
        assert_eq!(found["request_threads_buckets"], found["request_threads_completed"]);
        for list in ["completed", "busy_time", "cpu_time", "current_elapsed", "max_duration"] {
            let list = found[format!("request_threads_{list}")].as_array().unwrap();
            assert_eq!(list.len(), 3, "one for each thread there may be");
        }
        assert!(sum(&found["request_threads_busy_time"]) >= 0.05);
        assert!(sum(&found["request_threads_current_elapsed"]) > 0.0, "this very request");
        let longest = found["request_threads_max_duration"].as_array().unwrap();
        assert!(longest.iter().map(number).fold(0.0, f64::max) >= 0.01);
        let capacity = number(&found["capacity_utilization"]);
        assert!(capacity > 0.0 && capacity <= 1.0);
        let throughput = number(&found["request_throughput"]);
        assert!((throughput * number(&found["sample_period"]) - 6.0).abs() < 1e-6);
        assert!(number(&found["memory_max_rss"]) >= number(&found["memory_rss"]));
        assert!(number(&found["memory_rss"]) > 1e6);
        assert_eq!(found["cpu_time"], found["cpu_utilization"]);
        server.stop();
    }
}

#[test]
fn d03_an_interval_begins_before_it_ends() {
    for mode in MODES {
        let server = serve(mode);
        ask(&server, "start()");
        let first = ask(&server, "mod_wsgi.request_metrics()");
        sleep(Duration::from_millis(50));
        let second = ask(&server, "mod_wsgi.request_metrics()");
        for found in [&first, &second] {
            let length = number(&found["stop_time"]) - number(&found["start_time"]);
            assert!(length > 0.0 && (length - number(&found["sample_period"])).abs() < 0.02);
        }
        assert_eq!(first["stop_time"], second["start_time"]);
        assert!(number(&second["sample_period"]) >= 0.05);
        server.stop();
    }
}

#[test]
fn d04_only_threads_that_serve_are_counted() {
    for mode in MODES {
        let server = serve(mode);
        ask(&server, "start()");
        // All three at one time.
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| ask(&server, "meeting.wait(20) and None"));
            }
        });
        // Threads of the application's own are none.
        ask(&server, "threading.Thread(target=mod_wsgi.process_metrics).start()");
        let found = ask(&server, "mod_wsgi.request_metrics()");
        for key in ["maximum", "started", "active"] {
            assert_eq!(found[format!("request_threads_{key}")], 3, "{mode}: {key}");
        }
        let found = ask(&server, "mod_wsgi.process_metrics()");
        let threads = found["threads"].as_array().unwrap();
        let ids: Vec<_> = threads.iter().map(|thread| thread["thread_id"].as_u64()).collect();
        assert_eq!(ids, [Some(1), Some(2), Some(3)]);
        assert_eq!(found["request_threads"], 3);
        server.stop();
    }
}

#[test]
fn under_prefork_the_main_thread_serves() {
    let server = site(Mpm::Prefork, Mode::Embedded, "", "").start();
    ask(&server, "start()");
    let found = ask(&server, "mod_wsgi.process_metrics()");
    let thread = &found["threads"].as_array().unwrap()[..];
    assert_eq!(thread.len(), 1);
    assert_eq!(thread[0], json!({"thread_id": 0, "request_count": 2}));
    let found = ask(&server, "mod_wsgi.request_metrics()");
    assert_eq!(found["request_threads_completed"], json!([1]));
    server.stop();
}

#[test]
fn a_process_is_told_of_itself() {
    for mode in MODES {
        let server = serve(mode);
        for _ in 0..3 {
            ask(&server, "None");
        }
        ask(&server, "start()");
        let found = ask(&server, "[mod_wsgi.process_metrics(), os.getpid(), time.time()]");
        let (found, pid, now) = (&found[0], &found[1], number(&found[2]));
        assert_eq!(&found["pid"], pid);
        assert_eq!(found["request_count"], 4);
        assert_eq!(found["active_requests"], 1);
        assert!((number(&found["current_time"]) - now).abs() < 1.0);
        let age = number(&found["current_time"]) - number(&found["restart_time"]);
        assert!(
            age > 0.0 && age < 60.0 && (age.floor() - number(&found["running_time"])).abs() <= 1.0
        );
        assert!(number(&found["cpu_time"]) > 0.0);
        let sum = number(&found["cpu_user_time"]) + number(&found["cpu_system_time"]);
        assert!((sum - number(&found["cpu_time"])).abs() < 1e-9);
        let calls: u64 = found["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|thread| thread["request_count"].as_u64().unwrap())
            .sum();
        assert_eq!(calls, 5, "this one was called, too");
        server.stop();
    }
}

#[test]
fn waiting_to_get_pythons_lock_is_waiting_for_it() {
    for mode in MODES {
        let server = serve(mode);
        ask(&server, "start()");
        let waited = |found: &Value| number(&found["gil_wait_time_max_us"]) >= 2_000.0;
        let found = scope(|scope| {
            scope.spawn(|| ask(&server, "spin()"));
            // The interpreter makes the other thread let go after 5 ms.
            let found = wait_for(Duration::from_secs(20), || {
                ask(&server, "None");
                Some(ask(&server, "mod_wsgi.request_metrics()")).filter(waited)
            });
            ask(&server, "done.set()");
            found.unwrap_or_else(|| panic!("{mode}: nobody has waited"))
        });
        assert!(number(&found["gil_wait_count"]) >= 1.0);
        if mode == Mode::Daemon {
            assert!(number(&found["daemon_time_max_us"]) >= 2_000.0, "{mode}: {found}");
        }
        server.stop();
    }
}

#[test]
fn threads_use_processors_as_much_as_their_requests_do() {
    for mode in MODES {
        let server = serve(mode);
        ask(&server, "start()");
        ask(&server, "mod_wsgi.request_metrics()");
        for _ in 0..40 {
            ask(&server, "burn(0.01)");
        }
        ask(&server, "time.sleep(0.2)");
        let found = ask(&server, "mod_wsgi.request_metrics()");
        let used = sum(&found["request_threads_cpu_time"]);
        // What the server and Python add is some hundred microseconds for each.
        assert!((0.38..0.7).contains(&used), "{mode}: {used}");
        assert!(used <= sum(&found["request_threads_busy_time"]));
        let idle = ask(&server, "mod_wsgi.request_metrics()");
        assert!(sum(&idle["request_threads_cpu_time"]) < 0.1, "{mode}: {idle}");
        server.stop();
    }
}

#[test]
fn a_script_that_cannot_be_loaded_counts_and_has_no_times() {
    for mode in MODES {
        let group = "WSGIApplicationGroup %{GLOBAL}";
        let broken = "raise ValueError('broken')\n";
        let server = site_with(Mpm::Event, mode, group, "", "/broken", broken).start();
        server.log().allow("broken");
        server.log().allow("Traceback");
        ask(&server, "start()");
        ask(&server, "mod_wsgi.request_metrics()");
        assert_eq!(server.get("/broken").status, 500);
        let found = ask(&server, "mod_wsgi.request_metrics()");
        assert_eq!(found["request_count"], 2);
        assert_eq!(found["status_5xx"], 1);
        assert_eq!(sum(&found["request_time_buckets"]), 1.0);
        server.abandon();
    }
}

#[test]
fn interpreters_of_a_process_share_its_record() {
    for mode in MODES {
        let site = site_with(Mpm::Event, mode, "", "", "/other", SCRIPT);
        let site = site.conf("<Location /other>\nWSGIApplicationGroup other\n</Location>");
        let server = site.start();
        ask(&server, "start()");
        assert_eq!(server.get("/other/201").status, 201);
        assert_eq!(ask(&server, "mod_wsgi.request_metrics()")["status_2xx"], 1);
        let other = server.get("/other?mod_wsgi.request_metrics()").with_status(200).text();
        let other: Value = serde_json::from_str(&other).unwrap();
        assert_eq!(other["status_2xx"], 1, "what the other has not taken");
        server.stop();
    }
}

#[test]
fn a_forked_child_has_no_record() {
    for mode in MODES {
        // Python forks from the main interpreter only.
        let server = site(Mpm::Event, mode, "WSGIApplicationGroup %{GLOBAL}", "").start();
        ask(&server, "start()");
        assert_eq!(ask(&server, "forked(mod_wsgi.request_metrics)"), Value::Null);
        assert_eq!(ask(&server, "forked(mod_wsgi.process_metrics)"), Value::Null);
        assert!(ask(&server, "mod_wsgi.request_metrics()").is_object());
        server.stop();
    }
}

const SERVER: &str =
    "[mod_wsgi.server_metrics(), int(environ['mod_wsgi.server_pid']), time.time()]";

/// What is told of a server, checked; the process that has passed on the request, and all others.
#[track_caller]
fn check_server(found: &Value) {
    let (board, child, now) = (&found[0], found[1].as_i64().unwrap(), number(&found[2]));
    let processes = board["processes"].as_array().unwrap_or_else(|| panic!("{board}"));
    assert_eq!(processes.len() as u64, board["server_limit"].as_u64().unwrap());
    let mut pids = Vec::new();
    for (index, process) in processes.iter().enumerate() {
        assert_eq!(process["process_num"], index);
        pids.push(process["pid"].as_i64().unwrap());
        let workers = process["workers"].as_array().unwrap();
        assert_eq!(workers.len() as u64, board["thread_limit"].as_u64().unwrap());
        for (index, worker) in workers.iter().enumerate() {
            assert_eq!(worker["thread_num"], index);
            assert!("._SRWKLDCGI".contains(worker["status"].as_str().unwrap()));
        }
    }
    let at = pids.iter().position(|pid| *pid == child).expect("the child is among them");
    let process = &processes[at];
    assert_eq!(process["generation"], board["running_generation"]);
    assert_eq!(process["quiescing"], false);
    let writes = |worker: &&Value| worker["status"] == "W";
    let worker = process["workers"].as_array().unwrap().iter().find(writes).unwrap();
    assert!((number(&worker["last_used"]) - now).abs() < 60.0);
    assert!(worker["request"].as_str().unwrap().starts_with("GET /"), "{worker}");
    assert_eq!(worker["client"], "127.0.0.1");
    assert!((number(&board["current_time"]) - now).abs() < 5.0);
    let age = number(&board["current_time"]) - number(&board["restart_time"]);
    assert_eq!(board["running_time"].as_f64(), Some(age.floor()));
}

#[test]
fn the_server_is_told_of_where_it_may_be() {
    let status = "ExtendedStatus On\n";
    for mode in MODES {
        let on =
            site(Mpm::Event, mode, &format!("{status}WSGIServerMetrics On"), "server-metrics=On");
        let mut server = on.start();
        check_server(&ask(&server, SERVER));
        let generation = &ask(&server, SERVER)[0]["running_generation"].clone();
        server.graceful();
        let found = ask(&server, SERVER);
        check_server(&found);
        assert_ne!(&found[0]["running_generation"], generation);
        server.stop();
        // Each mode has a switch of its own.
        let off = match mode {
            Mode::Embedded => site(Mpm::Event, mode, "WSGIServerMetrics Off", ""),
            Mode::Daemon => site(Mpm::Event, mode, "WSGIServerMetrics On", "server-metrics=Off"),
        };
        let server = off.start();
        assert_eq!(ask(&server, "mod_wsgi.server_metrics()"), Value::Null);
        server.stop();
    }
}

#[test]
fn every_mpm_tells_of_the_server() {
    for mpm in Mpm::ALL {
        let lines = "ExtendedStatus On\nWSGIServerMetrics On";
        for mode in MODES {
            let server = site(mpm, mode, lines, "server-metrics=On").start();
            check_server(&ask(&server, SERVER));
            server.stop();
        }
    }
}

#[test]
fn one_group_may_know_of_the_server_and_another_may_not() {
    let lines = "ExtendedStatus On\nWSGIDaemonProcess other threads=2";
    let site = site_with(Mpm::Event, Mode::Daemon, lines, "server-metrics=On", "/other", SCRIPT)
        .conf("<Location /other>\nWSGIProcessGroup other\n</Location>");
    let server = site.start();
    check_server(&ask(&server, SERVER));
    let other = server.get("/other?mod_wsgi.server_metrics()").with_status(200).text();
    assert_eq!(other, "null");
    // Many at once, from threads that serve and others.
    scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..10 {
                    check_server(&ask(&server, SERVER));
                }
            });
        }
    });
    server.stop();
}

#[test]
fn a_service_may_know_of_the_server() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(2);
    let told = site.writable("told").join("pid");
    let script = site.write(
        "service.py",
        format!(
            "import mod_wsgi, os, time\n\
             for _ in range(100):\n    \
                 board = mod_wsgi.server_metrics()\n    \
                 pids = [p['pid'] for p in board['processes'] if p['pid']] if board else []\n    \
                 if pids:\n        \
                     with open({0:?} + '.new', 'w') as file:\n            \
                         file.write(str(pids[0]))\n        \
                     os.rename({0:?} + '.new', {0:?})\n        \
                     break\n    \
                 time.sleep(0.1)\n",
            told.display().to_string()
        ),
    );
    let server = site
        .conf("WSGIDaemonProcess service threads=0 server-metrics=On")
        .conf(format!(
            "WSGIImportScript \"{}\" process-group=service application-group=%{{GLOBAL}}",
            script.display()
        ))
        .start();
    let read = || std::fs::read_to_string(&told).ok();
    let pid = wait_for(Duration::from_secs(15), read).expect("it is told nothing");
    let children: Vec<String> = server.children().iter().map(|it| it.pid.to_string()).collect();
    assert!(children.contains(&pid), "{pid} is none of {children:?}");
    server.stop();
}
