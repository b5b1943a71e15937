//! Clients and applications that break off, lie or never end.

use super::plan::{Plan, encode, start, yields};
use super::target::Target;
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

super::declare! {
    "broken.leave-endless" Robust "An endless body stops when the client leaves, and close() is called once." => leave_endless;
    "broken.leave-abort" Robust "An endless body stops when the client resets, and close() is called once." => leave_abort;
    "broken.leave-write" Robust "write() fails when the client has left." => leave_write;
    "broken.leave-slow" Robust "A slow body stops when the client has left." => leave_slow;
    "broken.leave-mid-read" Robust "A body the client broke off is an error or the end for whoever reads it." => leave_mid_read;
    "broken.leave-mid-head" Robust "Half a request is dropped." => leave_mid_head;
    "broken.leave-before" Robust "A client that leaves at once costs nothing." => leave_before;
    "broken.leave-close-raises" Robust "An error in close() after the client left costs nothing." => leave_close_raises;
    "broken.stalled-read" Robust "While one client stalls, others are answered." => stalled_read;
    "broken.request-headers" Robust "A request with ten thousand headers is answered or refused." => request_headers;
    "broken.request-line" Robust "A request line of 100 000 bytes is answered or refused." => request_line;
    "broken.request-garbage" Robust "Garbage instead of a request is refused." => request_garbage;
    "broken.request-length" Robust "A bad Content-Length is refused." => request_length;
    "broken.request-smuggling" Robust "Content-Length beside Transfer-Encoding cannot smuggle a request." => request_smuggling;
}

/// Starts a response, reads some of it, and leaves.
fn leave(target: &Target, plan: &Plan, abort: bool) -> Result<()> {
    let mut connection = target.connect()?;
    connection.send(target.head("GET", &plan.path(), &[]))?;
    let head = connection.response_head()?;
    ensure!(head.status == 200, "{head:?}");
    ensure!(!connection.some()?.is_empty(), "there is no body");
    if abort {
        connection.abort()?;
    }
    Ok(())
}

fn endless() -> Plan {
    Plan::ok(&[]).body(json!([["endless", { "bytes": "x", "times": 8192 }]]))
}

fn leave_endless(target: &Target) -> Result<()> {
    let plan = endless();
    leave(target, &plan, false)?;
    target.closed_once(&plan).map(drop)
}

fn leave_abort(target: &Target) -> Result<()> {
    let plan = endless();
    leave(target, &plan, true)?;
    target.closed_once(&plan).map(drop)
}

fn leave_write(target: &Target) -> Result<()> {
    let writes = json!([["times", 150, [["write", { "bytes": "x", "times": 65_536 }]]]]);
    let plan = Plan::call(json!([start("200 OK"), ["try", writes]]));
    leave(target, &plan, true)?;
    let events = target.closed_once(&plan)?;
    ensure!(events[0].starts_with("raised "), "it goes on: {events:?}");
    Ok(())
}

fn leave_slow(target: &Target) -> Result<()> {
    let slow = json!([["times", 400, [yields("some"), ["sleep", 0.05]]]]);
    let plan = Plan::ok(&[]).body(slow);
    leave(target, &plan, true)?;
    target.closed_once(&plan).map(drop)
}

fn leave_mid_read(target: &Target) -> Result<()> {
    for abort in [false, true] {
        let plan =
            Plan::call(json!([["read"], start("200 OK")])).body(json!([["event", "read on"]]));
        let mut connection = target.connect()?;
        let headers = [("Content-Length", "100000")];
        connection.send(target.head("POST", &plan.path(), &headers))?;
        connection.send([b'x'; 1000])?;
        std::thread::sleep(Duration::from_millis(100));
        if abort {
            connection.abort()?;
        } else {
            drop(connection);
        }
        // A server that reads the body first may never call the application.
        std::thread::sleep(Duration::from_millis(400));
        let events = target.events(&plan, |_| true)?;
        ensure!(!events.contains(&"read 100000".to_owned()), "bytes are invented: {events:?}");
        target.is_well()?;
    }
    Ok(())
}

fn leave_mid_head(target: &Target) -> Result<()> {
    for _ in 0..3 {
        let mut connection = target.connect()?;
        connection.send(format!("GET {}/hello HTTP/1.1\r\nHost: loc", target.prefix()))?;
    }
    Ok(())
}

fn leave_before(target: &Target) -> Result<()> {
    for _ in 0..10 {
        let mut connection = target.connect()?;
        connection.send(target.head("GET", "/hello", &[]))?;
        connection.abort()?;
    }
    Ok(())
}

fn leave_close_raises(target: &Target) -> Result<()> {
    let plan = endless().with("close", json!("ValueError"));
    leave(target, &plan, true)?;
    target.closed_once(&plan).map(drop)
}

fn stalled_read(target: &Target) -> Result<()> {
    if target.environ("/environ", &[])?["environ"]["wsgi.multithread"]["value"] != json!(true) {
        // One thread serves one client at a time; how many there are is not known here.
        return Ok(());
    }
    let path = format!("/input?reads={}", encode(r#"[["read"]]"#));
    let mut stalled = target.connect()?;
    stalled.send(target.head("POST", &path, &[("Content-Length", "4")]))?;
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..3 {
        target.is_well()?;
    }
    stalled.send("body")?;
    ensure!(stalled.response("POST")?.text() == "[\"body\"]", "the stalled client is lost");
    Ok(())
}

/// The server answers something well-formed, or closes.
fn answered_or_closed(target: &Target, request: &[u8], good: &[u16]) -> Result<()> {
    let mut connection = target.connect()?;
    // It may refuse before it has read all.
    let _ = connection.send(request);
    match connection.response("GET") {
        Ok(response) => ensure!(good.contains(&response.status), "{response:?}"),
        Err(error) => {
            let quiet = connection.is_closed(Duration::from_millis(100))?;
            ensure!(quiet, "{error:#}");
        }
    }
    Ok(())
}

fn request_headers(target: &Target) -> Result<()> {
    let mut head = target.head("GET", "/hello", &[]);
    head.truncate(head.len() - 2);
    for number in 0..10_000 {
        head += &format!("X-Many-{number}: {number}\r\n");
    }
    answered_or_closed(target, (head + "\r\n").as_bytes(), &[200, 400, 413, 431])
}

fn request_line(target: &Target) -> Result<()> {
    let path = format!("/hello?{}", "x".repeat(100_000));
    let head = target.head("GET", &path, &[]);
    answered_or_closed(target, head.as_bytes(), &[200, 400, 414, 431])
}

fn request_garbage(target: &Target) -> Result<()> {
    let garbage: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        b"GET\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / JUNK\r\n\r\n",
    ];
    for bytes in garbage {
        answered_or_closed(target, bytes, &[400, 408, 501, 505])?;
    }
    Ok(())
}

fn request_length(target: &Target) -> Result<()> {
    for length in ["abc", "-1", "1 2", "0x4", "99999999999999999999999"] {
        let head = target.head("POST", "/hello", &[("Content-Length", length)]);
        answered_or_closed(target, head.as_bytes(), &[400, 413, 501])?;
    }
    Ok(())
}

fn request_smuggling(target: &Target) -> Result<()> {
    let headers =
        [("Connection", "keep-alive"), ("Content-Length", "4"), ("Transfer-Encoding", "chunked")];
    let trap = target.head("GET", "/hello", &[]);
    let mut connection = target.connect()?;
    let body = format!("0\r\n\r\n{trap}");
    connection.send(target.head("POST", "/environ", &headers) + &body)?;
    let Ok(first) = connection.response("POST") else { return Ok(()) };
    // By the length, the body is "0\r\n\r" and what follows is garbage; by the chunks, it is empty
    // and the trap is the next request. Going by the length is the mistake.
    let rest = connection.rest()?;
    let text = String::from_utf8_lossy(&rest).into_owned();
    let by_chunks = text.starts_with("HTTP/1.1 200") || first.status >= 400 || rest.is_empty();
    ensure!(by_chunks, "{first:?} then {text:?}");
    Ok(())
}
