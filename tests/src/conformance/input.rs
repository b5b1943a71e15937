//! `wsgi.input`: every way to read it, and where it ends.
//!
//! <https://peps.python.org/pep-3333/#input-and-error-streams>

use super::plan::{Plan, encode, start, yields};
use super::target::Target;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

super::declare! {
    "input.read" Must "read() gives everything, then nothing." => read;
    "input.read-size" Must "read(n) gives n bytes as long as there are." => read_size;
    "input.read-zero" Must "read(0) gives nothing and takes nothing." => read_zero;
    "input.read-negative" Must "read(-1) gives everything." => read_negative;
    "input.readline" Must "readline() gives one line with its end." => readline;
    "input.readline-size" Must "readline(n) gives at most n bytes of a line." => readline_size;
    "input.readlines" Must "readlines() gives the list of lines." => readlines;
    "input.readlines-hint" Must "readlines(hint) may stop early, and the rest remains." => readlines_hint;
    "input.iterate" Must "Iteration gives lines." => iterate;
    "input.mixed" Must "The ways to read can be mixed." => mixed;
    "input.ends" Must "Reading ends at CONTENT_LENGTH though the connection stays open." => ends;
    "input.none" Must "Without a body every read gives nothing at once." => none;
    "input.binary" Must "Every byte value arrives as it is." => binary;
    "input.large" Must "Five megabytes arrive as they are." => large;
    "input.lines-long" Must "Lines longer than any buffer arrive as they are." => lines_long;
    "input.slow" Must "A body sent byte by byte arrives as it is." => slow;
    "input.chunked" Robust "A chunked body arrives without its chunks, or is refused with 411 or 501." => chunked;
    "input.chunked-bad" Robust "A malformed chunk is an error, and one answer." => chunked_bad;
    "input.expect" Must "Expect: 100-continue is answered, before or when the body is read." => expect;
    "input.expect-unread" Must "Expect: 100-continue is answered though nobody reads the body." => expect_unread;
    "input.read-after-start" Must "The body can be read after start_response." => read_after_start;
    "input.read-none" Robust "read(None) gives everything." => read_none;
    "input.read-huge" Robust "read(10**12) gives what there is and no MemoryError." => read_huge;
}

/// What these reads give for this request body.
fn reads(target: &Target, body: &[u8], reads: &Value) -> Result<Value> {
    let path = format!("/input?reads={}", encode(&reads.to_string()));
    let headers = [("Content-Type", "application/octet-stream")];
    let response = target.request("POST", &path, &headers, body)?;
    ensure!(response.status == 200, "{response:?}");
    Ok(serde_json::from_slice(&response.body)?)
}

fn gives(target: &Target, body: &[u8], calls: Value, wanted: Value) -> Result<()> {
    let found = reads(target, body, &calls)?;
    ensure!(found == wanted, "{calls} gives {found}, not {wanted}");
    Ok(())
}

const LINES: &[u8] = b"one\ntwo\r\n\nfour";

fn read(target: &Target) -> Result<()> {
    let wanted = json!(["one\ntwo\r\n\nfour", "", ""]);
    gives(target, LINES, json!([["read"], ["read"], ["read", 5]]), wanted)
}

fn read_size(target: &Target) -> Result<()> {
    let calls = json!([["read", 5], ["read", 2], ["read", 100], ["read", 1]]);
    gives(target, LINES, calls, json!(["one\nt", "wo", "\r\n\nfour", ""]))
}

fn read_zero(target: &Target) -> Result<()> {
    let calls = json!([["read", 0], ["read", 3], ["read", 0], ["read"]]);
    gives(target, LINES, calls, json!(["", "one", "", "\ntwo\r\n\nfour"]))
}

fn read_negative(target: &Target) -> Result<()> {
    gives(target, LINES, json!([["read", 4], ["read", -1]]), json!(["one\n", "two\r\n\nfour"]))
}

fn readline(target: &Target) -> Result<()> {
    let calls = json!([["readline"], ["readline"], ["readline"], ["readline"], ["readline"]]);
    gives(target, LINES, calls, json!(["one\n", "two\r\n", "\n", "four", ""]))
}

fn readline_size(target: &Target) -> Result<()> {
    let calls = json!([
        ["readline", 2],
        ["readline", 2],
        ["readline", 100],
        ["readline", 0],
        ["readline", 1],
        ["readline", -1],
        ["readline", 5]
    ]);
    gives(target, LINES, calls, json!(["on", "e\n", "two\r\n", "", "\n", "four", ""]))
}

fn readlines(target: &Target) -> Result<()> {
    let wanted = json!([["one\n", "two\r\n", "\n", "four"], []]);
    gives(target, LINES, json!([["readlines"], ["readlines"]]), wanted)
}

fn readlines_hint(target: &Target) -> Result<()> {
    let found = reads(target, LINES, &json!([["readlines", 4], ["read"]]))?;
    let lines = found[0].as_array().map(Vec::as_slice).unwrap_or_default();
    let first: String = lines.iter().filter_map(Value::as_str).collect();
    let all = first.clone() + found[1].as_str().unwrap_or_default();
    ensure!(!first.is_empty() && all.as_bytes() == LINES, "it gives {found}");
    Ok(())
}

fn iterate(target: &Target) -> Result<()> {
    let wanted = json!([["one\n", "two\r\n", "\n", "four"], [], ""]);
    gives(target, LINES, json!([["iter"], ["iter"], ["read"]]), wanted)
}

fn mixed(target: &Target) -> Result<()> {
    let calls =
        json!([["readline"], ["read", 1], ["readline", 1], ["read", 2], ["iter"], ["read"]]);
    gives(target, LINES, calls, json!(["one\n", "t", "w", "o\r", ["\n", "\n", "four"], ""]))
}

fn ends(target: &Target) -> Result<()> {
    for call in [json!(["read"]), json!(["read", 1000]), json!(["readlines"]), json!(["iter"])] {
        let path = format!("/input?reads={}", encode(&json!([call]).to_string()));
        let mut connection = target.connect()?;
        let headers = [("Connection", "keep-alive"), ("Content-Length", "4")];
        connection.send(target.head("POST", &path, &headers) + "body")?;
        let response = connection.response("POST")?;
        ensure!(response.text().contains("body"), "{call}: {response:?}");
    }
    Ok(())
}

fn none(target: &Target) -> Result<()> {
    let calls = json!([["read"], ["read", 5], ["readline"], ["readlines"], ["iter"]]);
    gives(target, b"", calls.clone(), json!(["", "", "", [], []]))?;
    let path = format!("/input?reads={}", encode(&calls.to_string()));
    let mut connection = target.connect()?;
    connection.send(target.head("GET", &path, &[("Connection", "keep-alive")]))?;
    let response = connection.response("GET")?;
    let found: Value = serde_json::from_slice(&response.body)?;
    ensure!(found == json!(["", "", "", [], []]), "a GET without a body gives {found}");
    Ok(())
}

/// Bytes that look random and are always the same.
fn noise(length: usize, mut state: u32) -> Vec<u8> {
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn binary(target: &Target) -> Result<()> {
    let all: Vec<u8> = (0..=255).rev().collect();
    let text: String = all.iter().map(|byte| char::from(*byte)).collect();
    gives(target, &all, json!([["read"]]), json!([text]))
}

/// The probe's digest of what some way of reading gave, compared among ways of reading.
fn large(target: &Target) -> Result<()> {
    let body = noise(5 << 20, 1);
    let whole = reads(target, &body, &json!([["digest"]]))?;
    ensure!(whole[0][0] == body.len(), "{} bytes of {}", whole[0][0], body.len());
    for size in [1 << 20, 65_536, 8192, 4097] {
        let found = reads(target, &body, &json!([["digest", size]]))?;
        ensure!(found == whole, "read({size}) gives other bytes than read()");
    }
    Ok(())
}

fn lines_long(target: &Target) -> Result<()> {
    for (seed, longest) in [(1, 300), (2, 9000), (3, 70_000), (4, 200_000)] {
        let mut body = Vec::new();
        let lengths = noise(64, seed);
        for (index, length) in lengths.iter().enumerate().take(40) {
            let length = longest * usize::from(*length) / 255;
            let line = noise(length, index as u32)
                .into_iter()
                .map(|byte| if byte == 10 { 11 } else { byte });
            body.extend(line);
            body.push(b'\n');
        }
        for size in [-1, 8192, 100_000] {
            let found = reads(target, &body, &json!([["lines", size]]))?;
            let limit = usize::try_from(size).unwrap_or(usize::MAX);
            let lines: Vec<&[u8]> =
                body.split_inclusive(|byte| *byte == 10).flat_map(|l| l.chunks(limit)).collect();
            ensure!(
                found[0][0] == lines.len(),
                "readline({size}) of lines up to {longest}: {} of {}",
                found[0][0],
                lines.len()
            );
        }
        let calls = json!([["read", 10], ["readline", 5], ["digest", 777]]);
        let found = reads(target, &body, &calls)?;
        let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
        let cut = body[10..15].iter().position(|byte| *byte == 10).map_or(15, |at| 11 + at);
        ensure!(found[0] == text(&body[..10]) && found[1] == text(&body[10..cut]), "{found}");
        ensure!(found[2][0] == body.len() - cut, "after readline(5) {} remain", found[2][0]);
    }
    Ok(())
}

fn slow(target: &Target) -> Result<()> {
    for call in [json!(["read"]), json!(["readline"]), json!(["read", 8])] {
        let path = format!("/input?reads={}", encode(&json!([call]).to_string()));
        let mut connection = target.connect()?;
        connection.send(target.head("POST", &path, &[("Content-Length", "8")]))?;
        for byte in b"abcdefgh" {
            std::thread::sleep(Duration::from_millis(15));
            connection.send([*byte])?;
        }
        let response = connection.response("POST")?;
        ensure!(response.text() == "[\"abcdefgh\"]", "{call}: {response:?}");
    }
    Ok(())
}

fn chunked(target: &Target) -> Result<()> {
    let path = format!("/input?reads={}", encode(r#"[["read",3],["readline"],["read"],["read"]]"#));
    let mut connection = target.connect()?;
    connection.send(target.head("POST", &path, &[("Transfer-Encoding", "chunked")]))?;
    connection.send("4\r\nbody\r\n5;x=y\r\n\nmore\r\n0\r\nX-Trailer: 1\r\n\r\n")?;
    let response = connection.response("POST")?;
    if !matches!(response.status, 411 | 501) {
        let found: Value = serde_json::from_slice(&response.body)?;
        ensure!(found == json!(["bod", "y\n", "more", ""]), "{response:?}");
    }
    Ok(())
}

fn chunked_bad(target: &Target) -> Result<()> {
    for bad in ["zz\r\nbody\r\n0\r\n\r\n", "4\r\nbodyX0\r\n\r\n", "fffffffffffffffff\r\nbody"] {
        let path = format!("/input?reads={}", encode(r#"[["read"]]"#));
        let mut connection = target.connect()?;
        connection.send(target.head("POST", &path, &[("Transfer-Encoding", "chunked")]))?;
        connection.send(bad)?;
        connection.finish_sending()?;
        // Closing without a word is a way to refuse it.
        let Ok(response) = connection.response("POST") else { continue };
        let told = response.status >= 400 || response.text().contains("raised");
        ensure!(told, "{bad:?} passes: {response:?}");
        let rest = connection.rest()?;
        ensure!(!rest.windows(5).any(|w| w == b"HTTP/"), "{bad:?}: a second answer follows");
        let pages = response.text().matches("<html").count();
        ensure!(pages <= 1, "{bad:?}: two pages in one: {response:?}");
    }
    Ok(())
}

fn expect(target: &Target) -> Result<()> {
    let path = format!("/input?reads={}", encode(r#"[["read"]]"#));
    let headers = [("Expect", "100-continue"), ("Content-Length", "4")];
    let mut connection = target.connect()?;
    connection.send(target.head("POST", &path, &headers))?;
    let first = connection.response_head()?;
    ensure!(first.status == 100, "instead of 100: {first:?}");
    connection.send("body")?;
    let response = connection.response("POST")?;
    ensure!(response.text() == "[\"body\"]", "{response:?}");
    Ok(())
}

fn expect_unread(target: &Target) -> Result<()> {
    let headers = [("Expect", "100-continue"), ("Content-Length", "4")];
    let mut connection = target.connect()?;
    connection.send(target.head("POST", "/hello", &headers))?;
    let first = connection.response_head()?;
    ensure!(matches!(first.status, 100 | 200), "{first:?}");
    if first.status == 100 {
        connection.send("body")?;
        ensure!(connection.response("POST")?.text() == "\"hello\"", "no answer after the body");
    }
    Ok(())
}

fn read_after_start(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start("200 OK"), ["read", 4]]));
    let plan = plan.body(json!([yields("one"), ["read"], yields("two")]));
    let response = target.request("POST", &plan.path(), &[], &b"x".repeat(100_000))?;
    ensure!(response.body == b"onetwo", "{response:?}");
    let events = target.closed_once(&plan)?;
    ensure!(events == ["read 4", "read 99996", "close"], "{events:?}");
    Ok(())
}

fn read_none(target: &Target) -> Result<()> {
    gives(target, b"body", json!([["read", null], ["read"]]), json!(["body", ""]))
}

fn read_huge(target: &Target) -> Result<()> {
    gives(target, b"body", json!([["read", 1_000_000_000_000_u64]]), json!(["body"]))
}
