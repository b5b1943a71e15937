//! Requests that take long, while they run and when they have ended.

use super::*;

fn check_slow(mode: Mode) {
    let lines = "WSGISlowRequests 0.6\nWSGITelemetryOptions +CaptureUserAgent";
    let (server, mut reader) = serve(mode, lines);
    let url = "/a/b?sleep=2";
    let headers = [("User-Agent", "browser"), ("Host", "shop.example:8080")];
    let began = Instant::now();
    let response = server.request("GET", url, &headers, b"");
    assert_eq!(response.status, 200);
    let took = began.elapsed().as_secs_f64();
    let completed =
        reader.find(|it| it.kind == SLOW && it.count(field::SLOW_RECORD_STATE) == Some(1));
    let active: Vec<&Datagram> = reader
        .kept
        .iter()
        .filter(|it| it.kind == SLOW && it.count(field::SLOW_RECORD_STATE) == Some(0))
        .collect();
    assert!(active.len() >= 2, "{active:?}");
    for (id, expected) in [
        (field::SLOW_METHOD, "GET"),
        (field::SLOW_SCHEME, "http"),
        (field::SLOW_HOSTNAME, "shop.example"),
        (field::SLOW_PATH_INFO, "/a/b"),
        (field::SLOW_PROTOCOL, "HTTP/1.1"),
        (field::SLOW_PEER_IP, "127.0.0.1"),
        (field::SLOW_USER_AGENT, "browser"),
    ] {
        assert_eq!(text(&completed, id), expected, "{id}");
        assert_eq!(text(active[0], id), expected, "{id}");
    }
    assert!(!text(&completed, field::SLOW_LOG_ID).is_empty());
    for id in [field::SLOW_LOG_ID, field::SLOW_THREAD_ID, field::SLOW_START_STAMP] {
        assert_eq!(completed.get(id), active[0].get(id), "one row, for the reader");
    }
    let duration = completed.number(field::SLOW_DURATION).unwrap();
    assert!(duration >= 2.0 && duration <= took + 0.1, "{duration} of {took}");
    assert!(completed.number(field::SLOW_APPLICATION_TIME).unwrap() >= 2.0);
    assert_eq!(completed.count(field::SLOW_STATUS), Some(200));
    assert_eq!(completed.count(field::SLOW_ACTIVE_AT_COMPLETION), Some(1));
    assert_eq!(active[0].count(field::SLOW_ACTIVE_AT_START), Some(1));
    let ages: Vec<f64> = active.iter().map(|it| it.number(field::SLOW_DURATION).unwrap()).collect();
    assert!(ages[0] >= 0.6 && ages.is_sorted() && ages.iter().all(|age| *age < took), "{ages:?}");
    // Where it is.
    let stack = text(active[0], STACK);
    let inner = stack.trim_end().lines().last().unwrap();
    assert!(inner.contains("app.wsgi") && inner.ends_with("in deep"), "{stack}");
    assert_eq!(stack.lines().count(), 2, "{stack}");
    assert_eq!(completed.get(STACK), None);
    let told = server.log().expect("WSGI1006: Request 'GET /a/b' has been running for ");
    assert!(told.raw.contains("seconds; the next lines say where it is"), "{}", told.raw);
    server.log().expect("app.wsgi\", line 5, in deep");
    server.log().expect("WSGI1004: Request 'GET /a/b' took 2.");
    assert_eq!(server.log().matching("WSGI1006").len(), 1, "once for each request");
    server.stop();
}

#[test]
fn slow_requests_of_a_child() {
    check_slow(Mode::Embedded);
}

#[test]
fn slow_requests_of_a_worker() {
    check_slow(Mode::Daemon);
}

#[test]
fn a_user_agent_is_nobodys_business_unless_asked_for() {
    let (server, mut reader) = serve(Mode::Daemon, "WSGISlowRequests 0.2");
    server.request("GET", "/?sleep=0.4", &[("User-Agent", "browser")], b"");
    let slow = reader.kind(SLOW);
    assert_eq!(slow.get(field::SLOW_USER_AGENT), None);
    server.stop();
}

#[test]
fn d06_what_goes_in_and_out_is_known_while_a_request_runs() {
    let (server, mut reader) = serve(Mode::Daemon, "WSGISlowRequests 0.5");
    server.request("POST", "/?stream=2", &[], &[b'x'; 2000]);
    let active = reader.kind(SLOW);
    assert_eq!(active.count(field::SLOW_RECORD_STATE), Some(0));
    assert_eq!(active.count(field::SLOW_STATUS), Some(202));
    assert_eq!(active.count(field::SLOW_OUTPUT_BYTES), Some(5000));
    assert_eq!(active.count(field::SLOW_INPUT_BYTES), Some(2000));
    assert!(text(&active, STACK).contains("in deep"));
    server.stop();
}

#[test]
fn d07_waiting_for_a_process_makes_a_request_slow() {
    let lines = "WSGISlowRequests 0.7\nWSGIDaemonProcess one threads=1\nWSGIProcessGroup one";
    let (server, mut reader) = serve(Mode::Embedded, lines);
    server.get("/");
    // One thread: each waits for the one before.
    let address = server.address();
    let all: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || http::request(address, "GET", "/?sleep=0.4", &[], b"")))
        .collect();
    for thread in all {
        thread.join().unwrap().unwrap();
    }
    let slow = reader.kind(SLOW);
    let waited = slow.number(field::SLOW_QUEUE_TIME).unwrap();
    assert!(slow.number(field::SLOW_DURATION).unwrap() >= 0.7);
    assert!(slow.number(field::SLOW_APPLICATION_TIME).unwrap() < 0.7);
    assert!(waited > 0.2, "{waited}");
    server.stop();
}
