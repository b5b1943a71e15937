//! The iterable an application returns: what is sent of it, when, and what is no body at all.
//!
//! <https://peps.python.org/pep-3333/#specification-details>

use super::plan::{Plan, start, start_length, yields};
use super::target::Target;
use crate::http::Framing;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

super::declare! {
    "body.kinds" Must "Any iterable is a body: list, tuple, generator, iterator, own class, sequence." => kinds;
    "body.order" Must "Items are sent whole and in order." => order;
    "body.empty" Must "An empty iterable is an empty body." => empty;
    "body.empty-items" Must "Empty items neither end the body nor are sent." => empty_items;
    "body.streamed" Must "An item is sent before the next one is asked for." => streamed;
    "body.write-streamed" Must "write() sends before the application goes on." => write_streamed;
    "body.head-first" Robust "The head is not kept back until the body is complete." => head_first;
    "body.str" Must "A str in the body is an error." => str_item;
    "body.bytearray" Robust "Other types in the body are an error." => other_items;
    "body.str-later" Must "A str after bytes cuts the response visibly." => str_later;
    "body.none" Must "None instead of an iterable is an error." => none;
    "body.number" Must "A number instead of an iterable is an error." => number;
    "body.bytes" Robust "Bytes instead of an iterable of bytes are an error." => bytes;
    "body.text" Must "A str instead of an iterable of bytes is an error." => text;
    "body.iter-fails" Must "An iterable that cannot be iterated is an error." => iter_fails;
    "body.large" Must "Ten megabytes arrive as they are." => large;
    "body.item-large" Must "One item of five megabytes arrives as it is." => item_large;
    "body.many-items" Robust "Twenty thousand items arrive as they are." => many_items;
    "body.binary" Must "Every byte value arrives as it is." => binary;
    "body.length" Must "The Content-Length of the application reaches the client." => length;
    "body.length-over" Must "No more is sent than Content-Length says." => length_over;
    "body.length-over-one" Must "No more of one item is sent than Content-Length says." => length_over_one;
    "body.length-over-write" Must "write() sends no more than Content-Length says." => length_over_write;
    "body.length-zero" Must "With Content-Length 0 nothing of a body is sent." => length_zero;
    "body.length-under" Must "A body shorter than its Content-Length ends with the connection." => length_under;
    "body.length-under-empty" Must "An empty body with a Content-Length ends with the connection, or is declared empty." => length_under_empty;
    "body.length-stops" Robust "Iteration stops once Content-Length bytes are sent." => length_stops;
}

/// An error that shows: a status, or a response cut short.
fn error(target: &Target, plan: &Plan) -> Result<()> {
    let (response, rest) = target.carry_out_raw(plan)?;
    let shown = response.status == 500 || (!response.is_complete() && response.body.is_empty());
    ensure!(shown && rest.is_empty(), "{response:?}");
    Ok(())
}

fn arrives(target: &Target, plan: &Plan, wanted: &[u8]) -> Result<()> {
    let response = target.carry_out(plan)?;
    ensure!(response.status == 200, "{response:?}");
    ensure!(response.body == wanted, "{} bytes arrive: {response:?}", response.body.len());
    Ok(())
}

fn kinds(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list", "tuple", "sequence", "unclosable"] {
        for texts in [&["one"][..], &["one", "two"]] {
            let response = target.carry_out(&Plan::ok(texts).kind(kind))?;
            let whole = response.status == 200 && response.text() == texts.concat();
            ensure!(whole, "{kind}: {response:?}");
        }
    }
    Ok(())
}

fn order(target: &Target) -> Result<()> {
    let wanted: String = (0..200).map(|number| format!("{number},")).collect();
    for kind in ["object", "generator", "list"] {
        let plan = Plan::ok(&[]).kind(kind).body(json!([["count", 200]]));
        arrives(target, &plan, wanted.as_bytes())?;
    }
    Ok(())
}

fn empty(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list", "tuple", "sequence", "unclosable"] {
        arrives(target, &Plan::ok(&[]).kind(kind), b"")?;
    }
    Ok(())
}

fn empty_items(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list"] {
        arrives(target, &Plan::ok(&["", "one", "", "", "two", ""]).kind(kind), b"onetwo")?;
        arrives(target, &Plan::ok(&["", ""]).kind(kind), b"")?;
    }
    Ok(())
}

/// How long the first byte of the body is there before its end.
fn lead(target: &Target, plan: &Plan) -> Result<Duration> {
    let mut connection = target.connect()?;
    connection.send(target.head("GET", &plan.path(), &[]))?;
    let head = connection.response_head()?;
    ensure!(head.status == 200, "{head:?}");
    let mut body = Vec::new();
    while !body.windows(5).any(|bytes| bytes == b"first") {
        let more = connection.some()?;
        ensure!(!more.is_empty(), "the body ends early: {body:?}");
        body.extend(more);
    }
    ensure!(!body.windows(4).any(|bytes| bytes == b"last"), "all comes at once");
    let first = Instant::now();
    body.extend(connection.rest()?);
    ensure!(body.windows(4).any(|bytes| bytes == b"last"), "the end is lost: {body:?}");
    Ok(first.elapsed())
}

const PAUSE: f64 = 0.6;

/// What is sent before the pause is there before the end. A busy machine may hold up who measures
/// that, but not each time; a server that keeps it back does so each time.
fn ahead(target: &Target, plan: &Plan) -> Result<()> {
    let once = || {
        let time = lead(target, plan)?;
        ensure!(time > Duration::from_secs_f64(PAUSE / 2.0), "only {time:?} before the end");
        Ok(())
    };
    once().or_else(|_| once()).or_else(|_| once())
}

fn streamed(target: &Target) -> Result<()> {
    for kind in ["object", "generator"] {
        let plan = Plan::ok(&[]).kind(kind);
        let plan = plan.body(json!([yields("first"), ["sleep", PAUSE], yields("last")]));
        ahead(target, &plan)?;
    }
    Ok(())
}

fn write_streamed(target: &Target) -> Result<()> {
    let steps = json!([start("200 OK"), ["write", { "bytes": "first" }], ["sleep", PAUSE]]);
    ahead(target, &Plan::call(steps).body(json!([yields("last")])))
}

fn head_first(target: &Target) -> Result<()> {
    let steps = json!([start_length(9)]);
    let body = json!([yields("first"), ["sleep", PAUSE], yields("last")]);
    ahead(target, &Plan::call(steps).body(body))
}

fn str_item(target: &Target) -> Result<()> {
    for kind in ["object", "generator", "list"] {
        error(target, &Plan::ok(&[]).kind(kind).body(json!([["yield", "text"]])))?;
    }
    Ok(())
}

fn other_items(target: &Target) -> Result<()> {
    error(target, &Plan::ok(&[]).body(json!([["yield", 7]])))?;
    error(target, &Plan::ok(&[]).body(json!([["yield", null]])))?;
    error(target, &Plan::ok(&[]).body(json!([["yield", { "tuple": [] }]])))
}

fn str_later(target: &Target) -> Result<()> {
    let plan = Plan::ok(&[]).body(json!([yields("bytes"), ["yield", "text"], yields("more")]));
    target.cut_short(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn value(target: &Target, value: serde_json::Value) -> Result<()> {
    error(target, &Plan::ok(&[]).kind("value").with("value", value))
}

fn none(target: &Target) -> Result<()> {
    value(target, json!(null))
}

fn number(target: &Target) -> Result<()> {
    value(target, json!(7))
}

fn bytes(target: &Target) -> Result<()> {
    value(target, json!({ "bytes": "body" }))
}

fn text(target: &Target) -> Result<()> {
    value(target, json!("body"))
}

fn iter_fails(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["body"]).with("iter", json!("ValueError"));
    error(target, &plan)?;
    target.closed_once(&plan).map(drop)
}

fn large(target: &Target) -> Result<()> {
    let block = json!({ "bytes": "0123456789abcdef", "times": 4096 });
    let plan = Plan::ok(&[]).body(json!([["repeat", 160, block]]));
    arrives(target, &plan, &b"0123456789abcdef".repeat(4096 * 160))
}

fn item_large(target: &Target) -> Result<()> {
    let block = json!({ "bytes": "0123456789", "times": 524_288 });
    for kind in ["object", "list"] {
        let plan = Plan::ok(&[]).kind(kind).body(json!([["yield", block]]));
        arrives(target, &plan, &b"0123456789".repeat(524_288))?;
    }
    Ok(())
}

fn many_items(target: &Target) -> Result<()> {
    let plan = Plan::ok(&[]).body(json!([["repeat", 20_000, { "bytes": "ab" }]]));
    arrives(target, &plan, &b"ab".repeat(20_000))
}

fn binary(target: &Target) -> Result<()> {
    let all: Vec<u8> = (0..=255).collect();
    let text: String = all.iter().map(|byte| char::from(*byte)).collect();
    arrives(target, &Plan::ok(&[&text]), &all)
}

fn length(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(8)])).body(json!([yields("body"), yields("body")]));
    let response = target.carry_out(&plan)?;
    ensure!(response.framing == Framing::Length(8), "{response:?}");
    ensure!(response.body == b"bodybody", "{response:?}");
    Ok(())
}

/// The response has this body, its declared length, and the connection goes on or is closed, but
/// nothing follows.
fn exactly(target: &Target, plan: &Plan, wanted: &str) -> Result<()> {
    let mut connection = target.connect()?;
    connection.send(target.head("GET", &plan.path(), &[("Connection", "keep-alive")]))?;
    let response = connection.response("GET")?;
    ensure!(response.status == 200 && response.text() == wanted, "{response:?}");
    if !connection.is_closed(Duration::from_millis(300))? {
        let sent = connection.send(target.head("GET", "/hello", &[]));
        if sent.is_ok() {
            let next = connection.rest()?;
            let fine = next.is_empty() || next.starts_with(b"HTTP/1.1 200 ");
            let next = String::from_utf8_lossy(&next).into_owned();
            ensure!(fine, "this follows the response: {next:?}");
        }
    }
    Ok(())
}

fn length_over(target: &Target) -> Result<()> {
    let body = json!([yields("12"), yields("34"), yields("56")]);
    exactly(target, &Plan::call(json!([start_length(4)])).body(body), "1234")
}

fn length_over_one(target: &Target) -> Result<()> {
    for kind in ["object", "list"] {
        let plan = Plan::call(json!([start_length(4)])).kind(kind);
        exactly(target, &plan.body(json!([yields("123456")])), "1234")?;
    }
    Ok(())
}

fn length_over_write(target: &Target) -> Result<()> {
    let write = json!(["try", [["write", { "bytes": "123456" }]]]);
    exactly(target, &Plan::call(json!([start_length(4), write])), "1234")
}

fn length_zero(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(0)])).body(json!([yields("body")]));
    exactly(target, &plan, "")
}

fn length_under(target: &Target) -> Result<()> {
    for kind in ["object", "list", "generator"] {
        let plan = Plan::call(json!([start_length(10)])).kind(kind).body(json!([yields("body")]));
        let response = target.cut_short(&plan).context(kind)?;
        ensure!(response.status == 500 || response.body == b"body", "{kind}: {response:?}");
    }
    Ok(())
}

/// Nothing is missing from the middle of an empty body, so a server may correct the promise; what
/// replaces empty bodies (`X-Sendfile`) relies on that.
fn length_under_empty(target: &Target) -> Result<()> {
    for kind in ["object", "list"] {
        let plan = Plan::call(json!([start_length(10)])).kind(kind);
        let (response, _) = target.carry_out_raw(&plan)?;
        let corrected =
            response.is_complete() && response.header("Content-Length").as_deref() == Some("0");
        ensure!(corrected || !response.is_complete(), "{kind}: {response:?}");
    }
    Ok(())
}

fn length_stops(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(4)])).body(json!([["endless", { "bytes": "12" }]]));
    exactly(target, &plan, "1212")?;
    target.closed_once(&plan).map(drop)
}
