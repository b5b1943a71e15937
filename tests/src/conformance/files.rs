//! `wsgi.file_wrapper`, where there is one: the PEP leaves it to servers, but not how it behaves.
//!
//! <https://peps.python.org/pep-3333/#optional-platform-specific-file-handling>

use super::plan::{Plan, start, start_length};
use super::target::Target;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

super::declare! {
    "file.real" Must "A real file arrives as it is." => real;
    "file.like" Must "An object with nothing but read() arrives as it is." => like;
    "file.offset" Must "Sending begins where the file stands." => offset;
    "file.empty" Must "An empty file is an empty body." => empty;
    "file.iterated" Must "The wrapper can be iterated by middleware." => iterated;
    "file.close" Must "close() of the file is called once." => close;
    "file.block" Must "A block size may be given." => block;
    "file.head" Must "HEAD of a file has no body." => head;
    "file.length-over" Must "A Content-Length beyond the file ends with the connection, no byte invented." => length_over;
    "file.length-under" Must "No more of a file is sent than Content-Length says." => length_under;
    "file.offset-beyond" Robust "A file standing behind its end is an empty body or an error." => offset_beyond;
    "file.written" Must "A file after write() follows what was written." => written;
    "file.large" Must "Twenty megabytes of a file arrive as they are." => large;
    "file.subclass" Robust "A subclass of the wrapper works, too." => subclass;
}

/// Whether the server has a wrapper; without one there is nothing to judge.
fn has_wrapper(target: &Target) -> Result<bool> {
    Ok(target.environ("/environ", &[])?["file_wrapper"] == Value::Bool(true))
}

fn plan(start: Value, file: Value) -> Plan {
    Plan::call(json!([start])).kind("file").with("file", file)
}

fn file(spec: Value) -> Plan {
    plan(start("200 OK"), spec)
}

fn bytes(text: &str, times: usize) -> Value {
    json!({ "bytes": text, "times": times })
}

fn arrives(target: &Target, plan: &Plan, wanted: &[u8]) -> Result<()> {
    if has_wrapper(target)? {
        let response = target.carry_out(plan)?;
        ensure!(response.status == 200, "{response:?}");
        ensure!(response.body == wanted, "{} bytes arrive: {response:?}", response.body.len());
    }
    Ok(())
}

fn real(target: &Target) -> Result<()> {
    arrives(
        target,
        &file(json!({ "data": bytes("0123456789", 2000) })),
        &b"0123456789".repeat(2000),
    )
}

fn like(target: &Target) -> Result<()> {
    let spec = json!({ "data": bytes("0123456789", 2000), "real": false });
    arrives(target, &file(spec), &b"0123456789".repeat(2000))
}

fn offset(target: &Target) -> Result<()> {
    for real in [true, false] {
        let spec = json!({ "data": bytes("0123456789", 2), "offset": 7, "real": real });
        arrives(target, &file(spec), b"7890123456789")?;
    }
    Ok(())
}

fn empty(target: &Target) -> Result<()> {
    for real in [true, false] {
        arrives(target, &file(json!({ "data": bytes("", 1), "real": real })), b"")?;
    }
    Ok(())
}

fn iterated(target: &Target) -> Result<()> {
    for real in [true, false] {
        let spec = json!({ "data": bytes("0123456789", 2000), "real": real, "middleware": true });
        arrives(target, &file(spec), &b"0123456789".repeat(2000))?;
    }
    Ok(())
}

fn close(target: &Target) -> Result<()> {
    if has_wrapper(target)? {
        for real in [true, false] {
            let plan = file(json!({ "data": bytes("x", 100), "real": real }));
            target.carry_out(&plan)?;
            target.closed_once(&plan)?;
        }
    }
    Ok(())
}

fn block(target: &Target) -> Result<()> {
    for real in [true, false] {
        let spec = json!({ "data": bytes("0123456789", 200), "real": real, "block": 7 });
        arrives(target, &file(spec), &b"0123456789".repeat(200))?;
    }
    Ok(())
}

fn head(target: &Target) -> Result<()> {
    if has_wrapper(target)? {
        let plan = file(json!({ "data": bytes("x", 100) }));
        target.request("HEAD", &plan.path(), &[], b"")?;
        target.closed_once(&plan)?;
    }
    Ok(())
}

fn length_over(target: &Target) -> Result<()> {
    if !has_wrapper(target)? {
        return Ok(());
    }
    for (size, length) in [(10, 20), (10, 5000), (10_000, 100_000), (0, 10)] {
        for real in [true, false] {
            let spec = json!({ "data": bytes("x", size), "real": real });
            let lying = || plan(start_length(length), spec.clone());
            // Sending the true length instead is honest, too.
            if target.carry_out(&lying()).is_ok_and(|response| response.body.len() == size) {
                continue;
            }
            let plan = lying();
            let cut = target.cut_short(&plan).with_context(|| format!("{size} of {length}"))?;
            let honest = cut.status >= 500 || cut.body == b"x".repeat(size);
            ensure!(honest, "{size} of {length}: {cut:?}");
            target.closed_once(&plan)?;
        }
    }
    Ok(())
}

fn length_under(target: &Target) -> Result<()> {
    for real in [true, false] {
        let spec = json!({ "data": bytes("0123456789", 1000), "real": real });
        arrives(target, &plan(start_length(15), spec), b"012345678901234")?;
    }
    Ok(())
}

fn offset_beyond(target: &Target) -> Result<()> {
    if has_wrapper(target)? {
        let spec = json!({ "data": bytes("0123456789", 1), "offset": 100 });
        let response = target.carry_out(&file(spec))?;
        ensure!(response.status == 500 || response.body.is_empty(), "{response:?}");
    }
    Ok(())
}

fn written(target: &Target) -> Result<()> {
    let steps = json!([start("200 OK"), ["write", { "bytes": "first " }]]);
    let plan = Plan::call(steps).kind("file").with("file", json!({ "data": bytes("then", 1) }));
    arrives(target, &plan, b"first then")
}

fn large(target: &Target) -> Result<()> {
    let spec = json!({ "data": bytes("0123456789abcdef", 1_310_720) });
    arrives(target, &file(spec), &b"0123456789abcdef".repeat(1_310_720))
}

fn subclass(target: &Target) -> Result<()> {
    let spec = json!({ "data": bytes("0123456789", 2000), "subclass": true });
    arrives(target, &file(spec), &b"0123456789".repeat(2000))
}
