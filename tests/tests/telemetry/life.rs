//! What a process reports of its beginning, its requests, and its end.

use super::*;

fn check_life(mpm: Mpm, mode: Mode) {
    let (site, socket) = site_of(mpm, mode);
    let mut reader = Reader::bind(&socket);
    let server = site.mount("/", "app.wsgi", SCRIPT).start();
    let pid: u32 = server.get("/").text().parse().unwrap();
    let started = reader.kind(STARTED);
    assert_eq!(started.pid, pid);
    assert_eq!(text(&started, field::MOD_WSGI_VERSION), "6.1.1");
    assert!(text(&started, field::PYTHON_VERSION).starts_with("3."));
    assert!(text(&started, field::APACHE_VERSION).starts_with("Apache/2.4."));
    let mpm_name = if mpm.threaded() { "event" } else { "prefork" };
    assert_eq!(text(&started, field::MPM_NAME), mpm_name);
    assert!(!text(&started, field::HOSTNAME).is_empty());
    let group = if mode == Mode::Daemon { tests::GROUP } else { "" };
    assert_eq!(text(&started, field::PROCESS_GROUP), group);
    let parent = u64::from(server.parent().pid);
    assert_eq!(started.count(field::PROCESS_PARENT_PID), Some(parent));
    assert_eq!(started.number(field::SWITCH_INTERVAL), Some(0.005));

    for _ in 0..9 {
        server.get("/");
    }
    server.post("/?status=404", "text/plain", &[b'x'; 3000]);
    server.get("/?status=500");
    let seen = |reader: &Reader| requests(reader) >= 12;
    while !seen(&reader) {
        reader.kind(SAMPLE);
    }
    assert_eq!(requests(&reader), 12);
    let samples: Vec<&Datagram> = reader.kept.iter().filter(|it| it.kind == SAMPLE).collect();
    let sum = |id| samples.iter().filter_map(|it| it.count(id)).sum::<u64>();
    let statuses: Vec<u64> = (field::STATUS_TOTAL..field::STATUS_TOTAL + 5).map(sum).collect();
    assert_eq!(statuses, [0, 10, 0, 1, 1]);
    let busy = samples.iter().find(|it| it.count(field::REQUEST_COUNT) > Some(0)).unwrap();
    let daemon = mode == Mode::Daemon;
    for phase in 0..8u16 {
        let is_there = daemon || ![1, 2].contains(&phase);
        for id in [field::PHASE_MEAN, field::PHASE_MIN, field::PHASE_MAX, field::PHASE_BUCKETS] {
            assert_eq!(busy.get(id + phase).is_some(), is_there, "{}", id + phase);
        }
    }
    let buckets = list(busy, field::PHASE_BUCKETS + 4);
    assert_eq!(buckets.len(), 65);
    let count = buckets.iter().sum::<i32>() as u64;
    assert_eq!(Some(count), busy.count(field::REQUEST_COUNT));
    let threads = busy.count(field::REQUEST_THREADS_MAXIMUM).unwrap();
    assert_eq!(list(busy, field::REQUEST_THREADS_COMPLETED).len() as u64, threads);
    assert!(busy.count(field::MEMORY_RSS).unwrap() > 1 << 20);
    assert!(busy.number(field::SAMPLE_PERIOD).unwrap() >= 0.4);
    assert_eq!(busy.number(field::TELEMETRY_INTERVAL), Some(0.5));
    assert_eq!(busy.number(field::SLOW_REQUESTS_THRESHOLD), Some(0.0));

    server.log().expect("Telemetry reporter started; target='unix:");
    server.stop();
    let stopping = reader.kind(STOPPING);
    assert_eq!(stopping.count(field::ACTIVE_REQUESTS_AT_DECISION), Some(0));
    let stopped = reader.kind(STOPPED);
    assert_eq!(stopped.pid, pid);
    assert_eq!(stopped.count(field::LIFETIME_REQUEST_COUNT), Some(12));
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(1));
    let reason = if daemon { "shutdown_signal" } else { "" };
    assert_eq!(text(&stopped, field::SHUTDOWN_REASON), reason);
    // All of them count, whatever they are about.
    let sequence: Vec<u32> = reader.kept.iter().map(|it| it.sequence).collect();
    assert!(sequence.iter().copied().eq(1..=sequence.len() as u32), "{sequence:?}");
}

#[test]
fn the_life_of_a_child() {
    check_life(Mpm::Event, Mode::Embedded);
}

#[test]
fn the_life_of_a_child_without_threads() {
    check_life(Mpm::Prefork, Mode::Embedded);
}

#[test]
fn the_life_of_a_worker() {
    check_life(Mpm::Event, Mode::Daemon);
}

#[test]
fn d02_an_end_does_not_wait_for_the_interval() {
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let server = site
        .conf(format!("WSGITelemetryService unix:{} interval=600", socket.display()))
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let worker = Process { pid: server.get("/").text().parse().unwrap() };
    reader.kind(STARTED);
    worker.signal(Signal::TERM);
    let stopped = reader.kind(STOPPED);
    assert_eq!(text(&stopped, field::SHUTDOWN_REASON), "shutdown_signal");
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(1));
    assert_eq!(requests(&reader), 1, "the last interval is reported");
    server.stop();
}

#[test]
fn a_drain_that_is_given_up_is_reported() {
    let lines = "WSGIDaemonProcess d threads=2 shutdown-timeout=1\nWSGIProcessGroup d";
    let (server, mut reader) = serve(Mode::Embedded, lines);
    let worker = Process { pid: server.get("/").text().parse().unwrap() };
    reader.kind(STARTED);
    let address = server.address();
    let request = std::thread::spawn(move || http::request(address, "GET", "/?sleep=30", &[], b""));
    reader.find(|it| match it.get(field::REQUEST_THREADS_CURRENT_ELAPSED) {
        Some(Value::F64s(threads)) => threads.iter().any(|age| *age > 0.0),
        _ => false,
    });
    worker.signal(Signal::TERM);
    let stopping = reader.kind(STOPPING);
    assert_eq!(stopping.count(field::ACTIVE_REQUESTS_AT_DECISION), Some(1));
    let stopped = reader.find(|it| it.kind == STOPPED);
    assert_eq!(stopped.count(field::ACTIVE_REQUESTS_AT_EXIT), Some(1));
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(0));
    drop(request.join());
    server.log().expect("still has requests; forcing shutdown.");
    server.log().expect("Shutdown timeout expired; aborting daemon process 'd'.");
    server.log().expect("WSGI0146: Daemon process 'd' closed connection before sending complete");
    server.stop();
}

#[test]
fn d04_only_threads_that_serve_are_counted() {
    let (server, mut reader) = serve(Mode::Daemon, "");
    for _ in 0..20 {
        server.get("/");
    }
    let sample = reader.find(|it| it.count(field::REQUEST_COUNT) > Some(0));
    let started = sample.count(field::REQUEST_THREADS_STARTED).unwrap();
    let maximum = sample.count(field::REQUEST_THREADS_MAXIMUM).unwrap();
    assert!(started >= 1 && started <= maximum, "{started} of {maximum}");
    server.stop();
}

#[test]
fn a_directive_that_is_taken_out_ends_it() {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon).one_child(4);
    let socket = site.path("telemetry.sock");
    let mut reader = Reader::bind(&socket);
    let line = format!("WSGITelemetryService unix:{} interval=0.5", socket.display());
    let file = site.write("telemetry.conf", line);
    let mut server =
        site.conf(format!("Include {}", file.display())).mount("/", "app.wsgi", SCRIPT).start();
    let pid = server.get("/").text();
    reader.kind(SAMPLE);
    fs::write(&file, "").unwrap();
    server.restart();
    wait_for(LATE, || (server.get("/").text() != pid).then_some(())).unwrap();
    reader.find(|it| it.kind == STOPPED);
    reader.socket.set_read_timeout(Some(2 * SECOND)).unwrap();
    assert!(reader.socket.recv(&mut [0; 9]).is_err(), "somebody still reports");
    assert_eq!(server.get("/?callbacks").text(), "[]");
    server.stop();
}

#[test]
fn services_and_forked_processes_do_not_report() {
    let script = "
import os
def application(environ, start_response):
    child = os.fork()
    if child == 0:
        import gc, time
        gc.collect()
        time.sleep(1.5)
        os._exit(0)
    os.waitpid(child, 0)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let service = site.write("service.py", "import time\ntime.sleep(60)\n");
    let server = site
        .conf("WSGIDaemonProcess service threads=0")
        .conf(format!(
            "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
            service.display()
        ))
        .mount("/", "app.wsgi", script)
        .start();
    let pid = server.get("/").text();
    reader.kind(SAMPLE);
    reader.kind(SAMPLE);
    let pids: HashSet<String> = reader.kept.iter().map(|it| it.pid.to_string()).collect();
    assert_eq!(pids, HashSet::from([pid]));
    server.stop();
}

#[test]
fn a_child_that_is_closed_to_applications_does_not_report() {
    let (site, socket) = site(Mode::Embedded);
    let reader = Reader::bind(&socket);
    let script = site.write("access.wsgi", "def allow_access(environ, host):\n    return True\n");
    let page = site.write("htdocs/page.txt", "page");
    let server = site
        .conf("WSGIRestrictEmbedded On")
        .conf(format!("<Location /asked>\nWSGIAccessScript {}\n</Location>", script.display()))
        .conf(format!("Alias /asked {}", page.display()))
        .start();
    assert_eq!(server.get("/asked").text(), "page");
    server.log().expect("Initializing Python runtime in embedded mode.");
    reader.socket.set_read_timeout(Some(2 * SECOND)).unwrap();
    assert!(reader.socket.recv(&mut [0; 9]).is_err(), "it reports");
    server.log().refuse("Telemetry reporter started");
    server.stop();
}

/// Each interval has one reader.
#[test]
fn numbers_that_are_reported_are_nobody_elses() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (server, mut reader) = serve(mode, "");
        for _ in 0..3 {
            assert_eq!(server.get("/?metrics").text(), "(None, None)");
        }
        while requests(&reader) < 3 {
            reader.kind(SAMPLE);
        }
        server.stop();
    }
}
