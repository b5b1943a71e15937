//! HTTP around the application: HEAD, statuses without a body, versions, kept connections.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112.html#section-6>

use super::plan::{Plan, start, start_length, yields};
use super::target::Target;
use crate::http::Framing;
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

super::declare! {
    "framing.head" Must "HEAD has no body." => head;
    "framing.head-length" Must "HEAD keeps the Content-Length of the application." => head_length;
    "framing.head-write" Must "HEAD has no body from write() either." => head_write;
    "framing.204" Must "204 has no body, whatever the application yields." => no_content;
    "framing.304" Must "304 has no body, whatever the application yields." => not_modified;
    "framing.http10" Must "An HTTP/1.0 client gets no chunks." => http10;
    "framing.keep-alive" Must "After a response of known length the connection goes on, or says it closes." => keep_alive;
    "framing.keep-alive-stream" Must "After a streamed response the connection goes on, or says it closes." => keep_alive_stream;
    "framing.pipeline" Must "Requests sent ahead are answered in order." => pipeline;
    "framing.unread-body" Must "A request body nobody read is not taken for the next request." => unread_body;
    "framing.unread-large" Robust "A large request body nobody read is not taken for the next request." => unread_large;
    "framing.half-close" Robust "A client that has nothing more to send still gets its answer." => half_close;
    "framing.date" Robust "Every response has one Date." => date;
}

/// Sends two requests on one connection, and judges the second answer.
fn then_hello(target: &Target, first: &[u8], method: &str) -> Result<()> {
    let mut connection = target.connect()?;
    connection.send(first)?;
    let response = connection.response(method)?;
    ensure!(response.is_complete(), "the first answer is cut short: {response:?}");
    let says_close =
        response.all("Connection").iter().any(|value| value.to_ascii_lowercase().contains("close"));
    if says_close || response.framing == Framing::Close {
        ensure!(connection.rest()?.is_empty(), "bytes follow {response:?}");
        return Ok(());
    }
    connection.send(target.head("GET", "/hello", &[]))?;
    let next = connection.response("GET")?;
    ensure!(next.status == 200 && next.text() == "\"hello\"", "then: {next:?}");
    ensure!(connection.rest()?.is_empty(), "bytes follow {next:?}");
    Ok(())
}

const KEEP: [(&str, &str); 1] = [("Connection", "keep-alive")];

fn head(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list"] {
        let plan = Plan::ok(&["one", "two"]).kind(kind);
        then_hello(target, target.head("HEAD", &plan.path(), &KEEP).as_bytes(), "HEAD")?;
    }
    Ok(())
}

fn head_length(target: &Target) -> Result<()> {
    for kind in ["object", "list"] {
        let plan = Plan::call(json!([start_length(1234)])).kind(kind);
        let response = target.request("HEAD", &plan.path(), &[], b"")?;
        let length = response.header("Content-Length");
        ensure!(length.as_deref() == Some("1234"), "Content-Length is {length:?}");
    }
    Ok(())
}

fn head_write(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start("200 OK"), ["write", { "bytes": "one" }]]));
    then_hello(target, target.head("HEAD", &plan.path(), &KEEP).as_bytes(), "HEAD")
}

fn without_body(target: &Target, status: &str) -> Result<()> {
    for body in [json!([]), json!([yields("body")])] {
        let plan = Plan::call(json!([["start", status, [["ETag", "\"x\""]]]])).body(body);
        then_hello(target, target.head("GET", &plan.path(), &KEEP).as_bytes(), "GET")?;
        let response = target.carry_out(&plan)?;
        ensure!(response.status.to_string() == status[..3], "{response:?}");
        ensure!(response.header("Transfer-Encoding").is_none(), "{response:?}");
    }
    Ok(())
}

fn no_content(target: &Target) -> Result<()> {
    without_body(target, "204 No Content")
}

fn not_modified(target: &Target) -> Result<()> {
    without_body(target, "304 Not Modified")
}

fn http10(target: &Target) -> Result<()> {
    for plan in [Plan::ok(&["one", "two"]), Plan::ok(&["onetwo"]).kind("list")] {
        let mut connection = target.connect()?;
        connection.send(format!("GET {}{} HTTP/1.0\r\n\r\n", target.prefix(), plan.path()))?;
        let response = connection.response("GET")?;
        ensure!(response.framing != Framing::Chunked, "{response:?}");
        ensure!(response.body == b"onetwo", "{response:?}");
        ensure!(connection.rest()?.is_empty(), "bytes follow {response:?}");
    }
    Ok(())
}

fn keep_alive(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(6)])).body(json!([yields("one"), yields("two")]));
    then_hello(target, target.head("GET", &plan.path(), &KEEP).as_bytes(), "GET")
}

fn keep_alive_stream(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list"] {
        let plan = Plan::ok(&["one", "two"]).kind(kind);
        then_hello(target, target.head("GET", &plan.path(), &KEEP).as_bytes(), "GET")?;
    }
    Ok(())
}

fn pipeline(target: &Target) -> Result<()> {
    let mut connection = target.connect()?;
    let path = |number: usize| Plan::ok(&["item ", &number.to_string()]).path();
    let requests: String = (0..5).map(|number| target.head("GET", &path(number), &KEEP)).collect();
    connection.send(requests)?;
    for number in 0..5 {
        let response = connection.response("GET")?;
        ensure!(response.text() == format!("item {number}"), "{number}: {response:?}");
        let says_close = response.header("Connection").is_some_and(|v| v.contains("close"));
        if says_close || response.framing == Framing::Close {
            // A server may answer the first only, if it says so.
            return Ok(());
        }
    }
    Ok(())
}

fn unread(target: &Target, size: usize) -> Result<()> {
    let length = size.to_string();
    let headers = [KEEP[0], ("Content-Length", &length)];
    let trap = target.head("GET", "/trap", &[]);
    let mut request = target.head("POST", "/hello", &headers).into_bytes();
    request.extend(trap.bytes().cycle().take(size));
    then_hello(target, &request, "POST")
}

fn unread_body(target: &Target) -> Result<()> {
    unread(target, 500)
}

fn unread_large(target: &Target) -> Result<()> {
    unread(target, 60_000)
}

fn half_close(target: &Target) -> Result<()> {
    let mut connection = target.connect()?;
    connection.send(target.head("GET", "/hello", &[]))?;
    connection.finish_sending()?;
    let response = connection.response("GET")?;
    ensure!(response.text() == "\"hello\"", "{response:?}");
    ensure!(connection.is_closed(Duration::from_secs(5))?, "it stays open");
    Ok(())
}

fn date(target: &Target) -> Result<()> {
    let dates = target.carry_out(&Plan::ok(&["x"]))?.all("Date");
    ensure!(dates.len() == 1, "{dates:?}");
    Ok(())
}
