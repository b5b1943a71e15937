//! `start_response`: when it may be called, what it accepts, and what reaches the client.
//!
//! <https://peps.python.org/pep-3333/#the-start-response-callable>

use super::plan::{Plan, start, start_with, yields};
use super::target::Target;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

super::declare! {
    "start.status" Must "Status and reason reach the client." => status;
    "start.headers" Must "All headers reach the client, repeated ones in order." => headers;
    "start.late" Must "It may be called while the body is iterated, before the first item." => late;
    "start.never" Must "Without it there is a server error." => never;
    "start.never-empty" Must "Without it there is a server error, for an empty body, too." => never_empty;
    "start.twice" Must "A second call without exc_info is an error." => twice;
    "start.exc-info" Must "A second call with exc_info before the body replaces status and headers." => exc_info;
    "start.exc-info-empty" Must "Empty items do not send the headers: they can still be replaced." => exc_info_empty;
    "start.exc-info-sent" Must "A second call with exc_info after the headers raises that exception." => exc_info_sent;
    "start.exc-info-first" Must "A first call may give exc_info." => exc_info_first;
    "start.write" Must "It returns write(), whose data goes before the body's." => write;
    "start.write-only" Must "write() alone makes a whole response." => write_only;
    "start.write-str" Must "write() of a str is an error." => write_str;
    "start.latin1" Must "Latin-1 in status and headers is sent as these bytes." => latin1;
    "start.status-short" Must "A status of two digits never reaches the client." => status_short;
    "start.status-long" Must "A status of four digits never reaches the client." => status_long;
    "start.status-text" Must "A status without digits never reaches the client." => status_text;
    "start.status-empty" Must "An empty status never reaches the client." => status_empty;
    "start.status-bytes" Must "A status of bytes is an error." => status_bytes;
    "start.status-crlf" Must "CR and LF in a status cannot add a header." => status_crlf;
    "start.status-nul" Must "NUL in a status does not reach the client." => status_nul;
    "start.value-crlf" Must "CR and LF in a header's value cannot add a header." => value_crlf;
    "start.value-nul" Must "NUL in a header's value does not reach the client." => value_nul;
    "start.value-control" Robust "A control character in a header's value does not reach the client." => value_control;
    "start.name-crlf" Must "CR and LF in a header's name cannot add a header." => name_crlf;
    "start.name-bad" Must "A name that is empty or has a colon, space or NUL does not reach the client." => name_bad;
    "start.header-bytes" Must "A header of bytes is an error." => header_bytes;
    "start.header-shape" Must "A header that is no pair is an error." => header_shape;
    "start.headers-none" Robust "Headers that are no list at all are an error." => headers_none;
    "start.wide" Must "Characters above 255 in status or headers are an error." => wide;
    "start.length-bad" Must "A Content-Length that is no number does not reach the client." => length_bad;
    "start.length-twice" Must "Two different Content-Length do not reach the client." => length_twice;
    "start.hop-by-hop" Must "A Transfer-Encoding of the application cannot break the framing." => hop_by_hop;
    "start.connection" Robust "A Connection header of the application cannot break the framing." => connection;
    "start.interim" Robust "A 1xx status is not sent as the final one." => interim;
    "start.unknown-status" Robust "An unregistered status such as 299 or 599 is sent." => unknown_status;
    "start.many" Robust "Ten thousand headers are sent, or a clean error." => many;
    "start.large" Robust "A header of 100 000 bytes is sent, or a clean error." => large;
}

/// The plan gives a clean server error, and nothing of what it wanted.
fn refused(target: &Target, plan: &Plan) -> Result<()> {
    let response = target.carry_out(plan)?;
    ensure!(response.status == 500, "{response:?}");
    ensure!(response.header("X-Injected").is_none(), "{response:?}");
    Ok(())
}

/// As `refused`, or the server repairs it: a whole 200 without what is forbidden in its head.
fn harmless(target: &Target, plan: &Plan) -> Result<()> {
    let response = target.carry_out(plan)?;
    ensure!(response.header("X-Injected").is_none(), "a header was added: {response:?}");
    ensure!(matches!(response.status, 200 | 500), "{response:?}");
    if response.status == 200 {
        ensure!(response.body == b"body", "{response:?}");
    }
    Ok(())
}

fn bad_status(status: Value) -> Plan {
    Plan::call(json!([["start", status, [["Content-Type", "text/plain"]]]]))
        .body(json!([yields("body")]))
}

fn bad_headers(headers: Value) -> Plan {
    Plan::call(json!([["start", "200 OK", headers]])).body(json!([yields("body")]))
}

fn status(target: &Target) -> Result<()> {
    for status in ["200 OK", "404 Not here", "201 Made \"it\"", "503 Later", "418 I'm a teapot"] {
        let plan = Plan::call(json!([start(status)])).body(json!([yields("body")]));
        let response = target.carry_out(&plan)?;
        let sent = format!("{} {}", response.status, response.reason());
        ensure!(sent == status, "{status} arrives as {sent}");
        ensure!(response.body == b"body", "{response:?}");
    }
    Ok(())
}

fn headers(target: &Target) -> Result<()> {
    let headers = json!([
        ["Content-Type", "text/x-odd; charset=\"utf-8\""],
        ["X-Probe", "a: b, c"],
        ["Set-Cookie", "one=1; Path=/"],
        ["X-Empty", ""],
        ["Set-Cookie", "two=2"],
        ["WWW-Authenticate", "Basic realm=\"x\""],
        ["ETag", "\"abc\""],
    ]);
    let response = target.carry_out(&bad_headers(headers))?;
    let one = |name: &str, wanted: &str| {
        let found = response.all(name);
        ensure!(found == [wanted], "{name}: {found:?}");
        Ok(())
    };
    one("Content-Type", "text/x-odd; charset=\"utf-8\"")?;
    one("X-Probe", "a: b, c")?;
    one("X-Empty", "")?;
    one("WWW-Authenticate", "Basic realm=\"x\"")?;
    one("ETag", "\"abc\"")?;
    let cookies = response.all("Set-Cookie");
    ensure!(cookies == ["one=1; Path=/", "two=2"], "Set-Cookie: {cookies:?}");
    Ok(())
}

fn late(target: &Target) -> Result<()> {
    for kind in ["object", "generator"] {
        let plan = Plan::call(json!([])).kind(kind);
        let plan = plan.body(json!([yields(""), start("202 Late"), yields("body")]));
        let response = target.carry_out(&plan)?;
        ensure!(response.status == 202 && response.body == b"body", "{kind}: {response:?}");
    }
    Ok(())
}

fn never(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([])).body(json!([yields("body")]));
    refused(target, &plan)?;
    target.closed_once(&plan).map(drop)
}

fn never_empty(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([]));
    refused(target, &plan)?;
    target.closed_once(&plan).map(drop)
}

fn twice(target: &Target) -> Result<()> {
    let again = json!(["try", [start("201 Second")]]);
    let plan = Plan::call(json!([start("200 OK"), again])).body(json!([yields("body")]));
    target.carry_out(&plan)?;
    let events = target.closed_once(&plan)?;
    ensure!(events[0].starts_with("raised "), "it is accepted: {events:?}");
    Ok(())
}

fn exc_info(target: &Target) -> Result<()> {
    let again = json!(["restart", "500 Sorry", [["X-Second", "yes"]], "ValueError"]);
    let first = start_with(json!([["X-First", "yes"]]));
    let plan = Plan::call(json!([first, again])).body(json!([yields("sorry")]));
    let response = target.carry_out(&plan)?;
    ensure!(response.status == 500 && response.reason() == "Sorry", "{response:?}");
    ensure!(response.header("X-First").is_none(), "the first headers are sent: {response:?}");
    ensure!(response.header("X-Second").is_some() && response.body == b"sorry", "{response:?}");
    Ok(())
}

fn exc_info_empty(target: &Target) -> Result<()> {
    let again = json!(["restart", "503 Sorry", [], "ValueError"]);
    let plan = Plan::call(json!([start("200 OK")]));
    let plan = plan.body(json!([yields(""), yields(""), again, yields("sorry")]));
    let response = target.carry_out(&plan)?;
    ensure!(response.status == 503 && response.body == b"sorry", "{response:?}");
    Ok(())
}

fn exc_info_sent(target: &Target) -> Result<()> {
    let again = json!(["try", [["restart", "500 Sorry", [], "KeyboardInterrupt"]]]);
    let plan = Plan::ok(&[]).body(json!([yields("sent"), again, yields("more")]));
    target.carry_out_raw(&plan)?;
    let events = target.closed_once(&plan)?;
    ensure!(events.contains(&"raised KeyboardInterrupt told so".to_owned()), "{events:?}");
    Ok(())
}

fn exc_info_first(target: &Target) -> Result<()> {
    let first = json!(["restart", "500 Sorry", [], "ValueError"]);
    let response = target.carry_out(&Plan::call(json!([first])).body(json!([yields("sorry")])))?;
    ensure!(response.status == 500 && response.body == b"sorry", "{response:?}");
    Ok(())
}

fn write(target: &Target) -> Result<()> {
    let writes =
        json!([start("200 OK"), ["write", { "bytes": "one " }], ["write", { "bytes": "two " }]]);
    let response = target.carry_out(&Plan::call(writes).body(json!([yields("three")])))?;
    ensure!(response.status == 200 && response.body == b"one two three", "{response:?}");
    Ok(())
}

fn write_only(target: &Target) -> Result<()> {
    for kind in ["object", "list"] {
        let writes = json!([start("200 OK"), ["write", { "bytes": "one" }]]);
        let response = target.carry_out(&Plan::call(writes).kind(kind))?;
        ensure!(response.status == 200 && response.body == b"one", "{kind}: {response:?}");
    }
    Ok(())
}

fn write_str(target: &Target) -> Result<()> {
    let writes = json!([start("200 OK"), ["try", [["write", "text"]]]]);
    let plan = Plan::call(writes).body(json!([yields("body")]));
    target.carry_out(&plan)?;
    let events = target.closed_once(&plan)?;
    ensure!(events[0].starts_with("raised "), "it is accepted: {events:?}");
    Ok(())
}

fn latin1(target: &Target) -> Result<()> {
    let headers = json!([["X-Bytes", "caf\u{e9}"]]);
    let plan = Plan::call(json!([["start", "200 Tr\u{e8}s bien", headers]]));
    let response = target.carry_out(&plan.body(json!([yields("body")])))?;
    ensure!(response.reason == b"Tr\xe8s bien", "the reason is {:?}", response.reason);
    let value = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"X-Bytes"));
    ensure!(value.is_some_and(|(_, value)| value == b"caf\xe9"), "{response:?}");
    Ok(())
}

fn status_short(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("99 Short")))
}

fn status_long(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("1000 Long")))
}

fn status_text(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("OK")))?;
    refused(target, &bad_status(json!("200OK")))
}

fn status_empty(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("")))
}

fn status_bytes(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!({ "bytes": "200 OK" })))
}

fn status_crlf(target: &Target) -> Result<()> {
    for status in ["200 OK\r\nX-Injected: 1", "200 OK\nX-Injected: 1", "200 OK\rX-Injected: 1"] {
        harmless(target, &bad_status(json!(status)))?;
    }
    Ok(())
}

fn status_nul(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("200 O\u{0}K")))
}

fn value_crlf(target: &Target) -> Result<()> {
    for value in ["a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\rX-Injected: 1", "a\r\n\r\nbody"] {
        harmless(target, &bad_headers(json!([["X-Value", value]])))?;
    }
    Ok(())
}

fn value_nul(target: &Target) -> Result<()> {
    refused(target, &bad_headers(json!([["X-Value", "a\u{0}b"]])))
}

fn value_control(target: &Target) -> Result<()> {
    for value in ["a\u{1}b", "a\u{7f}b", "a\u{b}b"] {
        let response = target.carry_out(&bad_headers(json!([["X-Value", value]])))?;
        let raw = response.headers.iter().any(|(_, sent)| sent == value.as_bytes());
        ensure!(!raw, "it does: {response:?}");
    }
    Ok(())
}

fn name_crlf(target: &Target) -> Result<()> {
    for name in ["X-A\r\nX-Injected", "X-A: 1\r\nX-Injected", "X-A\nX-Injected"] {
        harmless(target, &bad_headers(json!([[name, "1"]])))?;
    }
    Ok(())
}

fn name_bad(target: &Target) -> Result<()> {
    // The reader refuses such names, so a server that sends one fails here.
    for name in ["", "X A", "X-Injected:", "X\u{0}A", " X-A", "X-A\t"] {
        let response = target.carry_out(&bad_headers(json!([[name, "1"]])))?;
        ensure!(matches!(response.status, 200 | 500), "{name:?}: {response:?}");
        ensure!(response.header("X-Injected").is_none(), "{name:?}: {response:?}");
    }
    Ok(())
}

fn header_bytes(target: &Target) -> Result<()> {
    refused(target, &bad_headers(json!([[{ "bytes": "X-A" }, "1"]])))?;
    refused(target, &bad_headers(json!([["X-A", { "bytes": "1" }]])))
}

fn header_shape(target: &Target) -> Result<()> {
    for header in [json!(["X-A"]), json!(["X-A", "1", "2"]), json!("X-A: 1"), json!(["X-A", 1])] {
        refused(target, &bad_headers(json!([header])))?;
    }
    Ok(())
}

fn headers_none(target: &Target) -> Result<()> {
    refused(target, &bad_headers(json!(null)))?;
    refused(target, &bad_headers(json!(7)))
}

fn wide(target: &Target) -> Result<()> {
    refused(target, &bad_status(json!("200 \u{20ac}")))?;
    refused(target, &bad_headers(json!([["X-A", "\u{20ac}"]])))?;
    refused(target, &bad_headers(json!([["X-\u{20ac}", "1"]])))
}

fn length_bad(target: &Target) -> Result<()> {
    for length in ["abc", "-1", "1.5", "+4", "0x4", "4 4", ""] {
        let response = target.carry_out(&bad_headers(json!([["Content-Length", length]])))?;
        ensure!(matches!(response.status, 200 | 500), "{length:?}: {response:?}");
        ensure!(
            response.status == 500 || response.body == b"body",
            "{length:?}: the body is lost: {response:?}"
        );
    }
    Ok(())
}

fn length_twice(target: &Target) -> Result<()> {
    let headers = json!([["Content-Length", "4"], ["Content-Length", "2"]]);
    let (response, rest) = target.carry_out_raw(&bad_headers(headers))?;
    ensure!(rest.is_empty(), "{} bytes follow: {response:?}", rest.len());
    Ok(())
}

fn hop_by_hop(target: &Target) -> Result<()> {
    for coding in ["chunked", "identity", "gzip"] {
        harmless(target, &bad_headers(json!([["Transfer-Encoding", coding]])))?;
    }
    Ok(())
}

fn connection(target: &Target) -> Result<()> {
    for value in ["keep-alive", "close", "upgrade", "Transfer-Encoding, Content-Length"] {
        harmless(target, &bad_headers(json!([["Connection", value], ["Upgrade", "websocket"]])))?;
    }
    Ok(())
}

fn interim(target: &Target) -> Result<()> {
    for status in ["100 Continue", "101 Switching", "103 Early", "199 Odd"] {
        let plan = Plan::call(json!([start(status)])).body(json!([yields("body")]));
        let response = target.carry_out(&plan)?;
        ensure!(response.status >= 200, "{status}: {response:?}");
    }
    Ok(())
}

fn unknown_status(target: &Target) -> Result<()> {
    for (code, status) in [(299, "299 Odd"), (499, "499 Odder"), (599, "599 Oddest")] {
        let plan = Plan::call(json!([start(status)])).body(json!([yields("body")]));
        let response = target.carry_out(&plan)?;
        ensure!(response.status == code && response.body == b"body", "{status}: {response:?}");
    }
    Ok(())
}

fn many(target: &Target) -> Result<()> {
    let response = target.carry_out(&bad_headers(json!({ "many": 10_000 })))?;
    if response.status == 200 {
        let many = |name: &[u8]| name.len() > 7 && name[..7].eq_ignore_ascii_case(b"X-Many-");
        let count = response.headers.iter().filter(|(name, _)| many(name)).count();
        ensure!(count == 10_000, "{count} of them arrive");
        ensure!(response.body == b"body", "the body is lost");
    } else {
        ensure!(response.status == 500, "{response:?}");
    }
    Ok(())
}

fn large(target: &Target) -> Result<()> {
    let large = json!({ "str": "x", "times": 100_000 });
    let response = target.carry_out(&bad_headers(json!([["X-Large", large]])))?;
    if response.status == 200 {
        let length = response.header("X-Large").map(|value| value.len());
        ensure!(length == Some(100_000), "its length is {length:?}");
        ensure!(response.body == b"body", "the body is lost");
    } else {
        ensure!(response.status == 500, "{response:?}");
    }
    Ok(())
}
