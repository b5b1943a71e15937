//! How a response ends: `close()` exactly once whatever happened, and errors that show.
//!
//! <https://peps.python.org/pep-3333/#error-handling>

use super::plan::{Plan, start, start_length, yields};
use super::target::Target;
use anyhow::{Result, ensure};
use serde_json::json;

super::declare! {
    "ends.close" Must "close() is called once after the last item." => close;
    "ends.close-empty" Must "close() is called once on an empty body." => close_empty;
    "ends.close-sequence" Must "close() is called on the returned object, not on its iterator." => close_sequence;
    "ends.close-head" Must "close() is called once when HEAD is asked." => close_head;
    "ends.close-no-body" Must "close() is called once for 204 and 304." => close_no_body;
    "ends.close-raise-before" Must "close() is called once when the body raises before its first item." => close_raise_before;
    "ends.close-raise-after" Must "close() is called once when the body raises after its first item." => close_raise_after;
    "ends.close-over" Must "close() is called once when the body is longer than its Content-Length." => close_over;
    "ends.close-http10" Must "close() is called once for an HTTP/1.0 client." => close_http10;
    "ends.close-fails" Robust "An error in close() does not spoil a response that was complete." => close_fails;
    "ends.raise-call" Must "An application that raises is a server error." => raise_call;
    "ends.raise-before" Must "A body that raises before its first item is a server error." => raise_before;
    "ends.raise-after" Must "A body that raises after its first item is visibly cut short." => raise_after;
    "ends.raise-after-length" Must "A body with a Content-Length that raises is visibly cut short." => raise_after_length;
    "ends.raise-write" Must "An application that raises after write() is visibly cut short." => raise_write;
    "ends.one-answer" Must "Nothing of an error page follows a body cut short." => one_answer;
    "ends.stop-iteration" Robust "StopIteration out of the application is a server error." => stop_iteration;
    "ends.system-exit" Robust "SystemExit costs one request, not the process." => system_exit;
    "ends.system-exit-body" Robust "SystemExit in the body costs one request, not the process." => system_exit_body;
    "ends.interrupt" Robust "KeyboardInterrupt costs one request, not the process." => interrupt;
    "ends.generator-exit" Robust "GeneratorExit out of the application is a server error." => generator_exit;
    "ends.base-exception" Robust "Any other BaseException costs one request, not the process." => base_exception;
    "ends.memory-error" Robust "MemoryError costs one request, not the process." => memory_error;
    "ends.exit-in-close" Robust "SystemExit in close() does not spoil the response, nor the process." => exit_in_close;
}

fn close(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["one", "two"]).body(json!([yields("one"), ["event", "last"]]));
    target.carry_out(&plan)?;
    let events = target.closed_once(&plan)?;
    ensure!(events == ["last", "close"], "{events:?}");
    Ok(())
}

fn close_empty(target: &Target) -> Result<()> {
    let plan = Plan::ok(&[]);
    target.carry_out(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn close_sequence(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["one", "two"]).kind("sequence");
    target.carry_out(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn close_head(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["one", "two"]);
    target.request("HEAD", &plan.path(), &[], b"")?;
    target.closed_once(&plan).map(drop)
}

fn close_no_body(target: &Target) -> Result<()> {
    for status in ["204 No Content", "304 Not Modified"] {
        let plan = Plan::call(json!([["start", status, []]])).body(json!([yields("body")]));
        target.carry_out(&plan)?;
        target.closed_once(&plan)?;
    }
    Ok(())
}

fn close_raise_before(target: &Target) -> Result<()> {
    let plan = Plan::ok(&[]).body(json!([["raise", "ValueError"]]));
    target.carry_out(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn close_raise_after(target: &Target) -> Result<()> {
    let plan = Plan::ok(&[]).body(json!([yields("one"), ["raise", "ValueError"]]));
    target.carry_out_raw(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn close_over(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(3)])).body(json!([yields("one"), yields("two")]));
    target.carry_out_raw(&plan)?;
    target.closed_once(&plan).map(drop)
}

fn close_http10(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["one", "two"]);
    let mut connection = target.connect()?;
    connection.send(format!("GET {}{} HTTP/1.0\r\n\r\n", target.prefix(), plan.path()))?;
    ensure!(connection.response("GET")?.body == b"onetwo", "the body is lost");
    target.closed_once(&plan).map(drop)
}

fn close_fails(target: &Target) -> Result<()> {
    for kind in ["object", "sequence"] {
        let plan = Plan::ok(&["one", "two"]).kind(kind).with("close", json!("ValueError"));
        let response = target.carry_out(&plan)?;
        ensure!(response.status == 200 && response.body == b"onetwo", "{response:?}");
        target.closed_once(&plan)?;
    }
    Ok(())
}

fn error(target: &Target, plan: &Plan) -> Result<()> {
    let response = target.carry_out(plan)?;
    ensure!(response.status == 500, "{response:?}");
    Ok(())
}

/// The response is cut short, or a clean error, and no second one follows.
fn cut(target: &Target, plan: &Plan) -> Result<()> {
    target.cut_short(plan)?;
    target.closed_once(plan).map(drop)
}

fn raise_call(target: &Target) -> Result<()> {
    error(target, &Plan::call(json!([["raise", "ValueError"]])))?;
    error(target, &Plan::call(json!([start("200 OK"), ["raise", "ValueError"]])))
}

fn raise_before(target: &Target) -> Result<()> {
    for kind in ["object", "generator"] {
        error(target, &Plan::ok(&[]).kind(kind).body(json!([["raise", "ValueError"]])))?;
        let body = json!([yields(""), ["raise", "ValueError"]]);
        error(target, &Plan::ok(&[]).kind(kind).body(body))?;
    }
    Ok(())
}

fn raise_after(target: &Target) -> Result<()> {
    let body = json!([yields("one"), yields("two"), ["raise", "ValueError"]]);
    target.cut_short(&Plan::ok(&[]).kind("generator").body(body.clone()))?;
    cut(target, &Plan::ok(&[]).body(body))
}

fn raise_after_length(target: &Target) -> Result<()> {
    let plan = Plan::call(json!([start_length(10)]));
    cut(target, &plan.body(json!([yields("one"), ["raise", "ValueError"]])))
}

fn raise_write(target: &Target) -> Result<()> {
    let steps = json!([start("200 OK"), ["write", { "bytes": "one" }], ["raise", "ValueError"]]);
    target.cut_short(&Plan::call(steps)).map(drop)
}

fn one_answer(target: &Target) -> Result<()> {
    let steps = json!([start_length(4), ["write", { "bytes": "1234" }], ["raise", "ValueError"]]);
    let (response, rest) = target.carry_out_raw(&Plan::call(steps))?;
    ensure!(rest.is_empty(), "{} bytes follow {response:?}", rest.len());
    let steps = json!([start("200 OK"), ["write", { "bytes": "one" }], ["raise", "ValueError"]]);
    let (response, rest) = target.carry_out_raw(&Plan::call(steps))?;
    let page = response.text().contains("<html") || response.text().contains("Internal Server");
    ensure!(!page && rest.is_empty(), "an error page follows: {response:?}");
    Ok(())
}

/// These steps, in the call and in the body, cost one request each.
fn survived(target: &Target, error_name: &str) -> Result<()> {
    error(target, &Plan::call(json!([["raise", error_name]])))?;
    target.is_well()
}

fn stop_iteration(target: &Target) -> Result<()> {
    survived(target, "StopIteration")
}

fn system_exit(target: &Target) -> Result<()> {
    survived(target, "SystemExit")
}

fn system_exit_body(target: &Target) -> Result<()> {
    error(target, &Plan::ok(&[]).body(json!([["raise", "SystemExit"]])))?;
    cut(target, &Plan::ok(&[]).body(json!([yields("one"), ["raise", "SystemExit"]])))
}

fn interrupt(target: &Target) -> Result<()> {
    survived(target, "KeyboardInterrupt")
}

fn generator_exit(target: &Target) -> Result<()> {
    survived(target, "GeneratorExit")
}

fn base_exception(target: &Target) -> Result<()> {
    survived(target, "BaseException")
}

fn memory_error(target: &Target) -> Result<()> {
    survived(target, "MemoryError")
}

fn exit_in_close(target: &Target) -> Result<()> {
    let plan = Plan::ok(&["one"]).with("close", json!("SystemExit"));
    let response = target.carry_out(&plan)?;
    ensure!(response.status == 200 && response.body == b"one", "{response:?}");
    Ok(())
}
