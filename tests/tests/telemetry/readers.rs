//! Readers that hang, are not there, or come from PyPI, and a lock that cannot be had: nobody waits.

use super::*;

fn check_hung(mode: Mode) {
    let lines = "WSGISlowRequests 0.1";
    let (site, socket) = site(mode);
    let reader = Reader::bind(&socket);
    // The kernel keeps ten datagrams for a reader, or a few hundred.
    let full = UnixDatagram::unbound().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.send_to(b"full", &socket).is_ok() {}
    let mut server = site.conf(lines).mount("/", "app.wsgi", SCRIPT).start();
    allow_slow(&server);
    let began = Instant::now();
    while began.elapsed() < 3 * SECOND {
        let asked = Instant::now();
        assert_eq!(server.get("/?sleep=0.11").status, 200);
        for _ in 0..30 {
            assert_eq!(server.get("/?collect").status, 200);
        }
        assert!(asked.elapsed() < 3 * SECOND, "a request waits");
    }
    let began = Instant::now();
    server.restart();
    assert_eq!(server.get("/").status, 200);
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(reader);
}

#[test]
fn d01_a_reader_that_hangs_holds_up_no_child() {
    check_hung(Mode::Embedded);
}

#[test]
fn d01_a_reader_that_hangs_holds_up_no_worker() {
    check_hung(Mode::Daemon);
}

#[test]
fn nobody_need_read() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (site, socket) = site(mode);
        let server = site.conf("WSGISlowRequests 0.1").mount("/", "app.wsgi", SCRIPT).start();
        allow_slow(&server);
        let pid = server.get("/?sleep=0.2").text();
        std::thread::sleep(SECOND);
        // It comes, goes, and comes again, to the same process.
        for _ in 0..2 {
            let mut reader = Reader::bind(&socket);
            let sample = reader.kind(SAMPLE);
            assert_eq!(sample.pid.to_string(), pid);
            assert!(sample.sequence > 2);
        }
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "no socket").unwrap();
        assert_eq!(server.get("/").text(), pid);
        server.stop();
    }
}

#[test]
fn pythons_lock_is_not_waited_for() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (server, mut reader) = serve(mode, "WSGISlowRequests 0.5");
        server.get("/");
        reader.kind(GC_SNAPSHOT);
        let address = server.address();
        let request =
            std::thread::spawn(move || http::request(address, "GET", "/?wedge=6", &[], b""));
        let slow = reader.kind(SLOW);
        assert_eq!(slow.get(STACK), None);
        for _ in 0..3 {
            reader.kind(SAMPLE);
        }
        assert!(!request.is_finished(), "reports come when it is over");
        assert_eq!(request.join().unwrap().unwrap().status, 200);
        reader.kind(GC_SNAPSHOT);
        server.stop();
    }
}

/// The program that shows reports, from PyPI.
struct Shown {
    program: Child,
    address: SocketAddr,
}

impl Shown {
    fn start(venv: &Venv, socket: &Path) -> Shown {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let program = Command::new(venv.prefix.join("bin/mod_wsgi-telemetry"))
            .args(["serve", "--socket-mode", "0777", "--listen"])
            .arg(format!("unix:{}", socket.display()))
            .args(["--log-level", "WARNING", "--http-port", &address.port().to_string()])
            .spawn()
            .unwrap();
        let shown = Shown { program, address };
        wait_for(LATE, || shown.state()).expect("it does not answer");
        shown
    }

    fn state(&self) -> Option<serde_json::Value> {
        let response = http::request(self.address, "GET", "/api/state", &[], b"").ok()?;
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).ok()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// It takes what it does not know for a sample, and fails over some that it does know.
#[test]
fn the_reader_that_there_is_understands_all() {
    let Some(venv) = Venv::with(&matrix::python(), &["mod_wsgi-telemetry==1.1.0"]) else { return };
    for mode in [Mode::Embedded, Mode::Daemon] {
        let (site, socket) = site(mode);
        let shown = Shown::start(&venv, &socket);
        let server = site
            .conf("WSGISlowRequests 0.6\nWSGITelemetryOptions All")
            .mount("/named", "named.wsgi", SCRIPT)
            .conf("<Location /named>\nWSGIApplicationGroup named\n</Location>")
            .mount("/", "app.wsgi", SCRIPT)
            .start();
        allow_slow(&server);
        let pid: u64 = server.get("/").text().parse().unwrap();
        server.get("/named?collect");
        server.get("/?collect");
        server.get("/caf%C3%A9%FF?sleep=1.2");
        let request = |state: &serde_json::Value| {
            let process =
                state["processes"].as_array()?.iter().find(|it| it["pid"] == pid)?.clone();
            let samples = process["samples"].as_array()?.clone();
            let counts = samples.iter().map(|it| it["fields"]["request_count"].as_u64());
            let is_meant = |slow: &&serde_json::Value| {
                slow["path_info"].as_str().is_some_and(|path| path.starts_with("/caf"))
            };
            let mut slow = state["slow_requests"].as_array()?.iter().map(|slow| &slow["entry"]);
            let slow = slow.find(is_meant)?.clone();
            let is_all = counts.flatten().sum::<u64>() == 4 && slow["state"] == 1;
            is_all.then_some((process, slow))
        };
        let found = wait_for(LATE, || shown.state().as_ref().and_then(request));
        let (process, slow) = found.expect("not all of it is shown");
        assert_eq!(process["mod_wsgi_version"], "6.1.1");
        assert_eq!(process["mpm_name"], "event");
        assert_eq!(process["process_parent_pid"], u64::from(server.parent().pid));
        assert!(process["gc_snapshots"][""].as_array().unwrap().len() >= 2);
        assert!(process["gc_events"].as_array().unwrap().len() >= 2);
        assert_eq!(slow["method"], "GET");
        assert_eq!(slow["status"], 200);
        server.stop();
        let ended = wait_for(LATE, || {
            let state = shown.state()?;
            let events = state["lifecycle_events"].as_array()?;
            let of_it = events.iter().filter(|event| event["pid"] == pid);
            let kinds: Vec<_> = of_it.filter_map(|event| event["kind"].as_str()).collect();
            let all = ["process_started", "process_stopping", "process_stopped"];
            (kinds == all).then(|| state["decode_errors"].clone())
        });
        assert_eq!(ended.expect("its life is not shown"), 0);
    }
}
