//! W3C trace context: which trace a request belongs to.
//!
//! A `traceparent` that a client sends is a header like any other: the application has it as
//! `HTTP_TRACEPARENT`, whatever it says. Where a log format reads the notes of this file, they have
//! what a valid one says. Where `WSGITraceContext On` holds, a request without a valid one gets a new
//! one, as the specification has whoever begins a trace do: applications see it, and an invalid one,
//! with the `tracestate` that came with it, they do not.
//!
//! A new trace is marked as sampled, since tracers commonly do as their parent says; one that is
//! to record less decides so itself.
//!
//! <https://www.w3.org/TR/trace-context/>

use std::ffi::CStr;

use httpd_sys::{Request, random};

use super::METER;
use crate::settings::Effective;

/// Names of the notes.
pub(super) const NAMES: [&CStr; 2] = [c"wsgi_trace_id", c"wsgi_parent_id"];

/// Looks at a request's header, and begins a trace if there is none and there is to be.
pub(crate) fn take(request: &Request<'_>, effective: Effective<'_>) {
    let begins = effective.flag(|s| &s.trace_context, false);
    let noted = METER.get().is_some_and(|meter| meter.traces);
    if !begins && !noted {
        return;
    }
    let headers = request.headers_in();
    let given = headers.get(c"traceparent").and_then(parse);
    let new;
    let ids = match given {
        Some(ids) => ids,
        None if begins => {
            let Some(made) = begin() else { return };
            headers.set_borrowed(c"traceparent", request.pool().string(&made));
            // It belongs to what was there before.
            headers.unset(c"tracestate");
            new = made;
            match parse(&new) {
                Some(ids) => ids,
                None => return,
            }
        }
        None => return,
    };
    if noted {
        for (name, id) in NAMES.into_iter().zip([ids.0, ids.1]) {
            request.notes().set_borrowed(name, request.pool().string(id));
        }
    }
}

/// The ids of trace and parent in a header that is valid.
fn parse(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (fixed, rest) = text.split_at_checked(LENGTH)?;
    let [v0, v1, b'-', ids @ ..] = fixed else { return None };
    let version = [*v0, *v1];
    let (trace, ids) = ids.split_at_checked(32)?;
    let (parent, flags) = ids.strip_prefix(b"-")?.split_at_checked(16)?;
    let flags = flags.strip_prefix(b"-")?;
    let is_hex = |text: &[u8]| text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &[u8]| is_hex(text) && text.iter().any(|byte| *byte != b'0');
    let ends = match &version {
        b"ff" => false,
        // Later versions may have more behind it.
        b"00" => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    (is_hex(&version) && is_id(trace) && is_id(parent) && is_hex(flags) && ends)
        .then_some((trace, parent))
}

/// `00-` trace `-` parent `-01`
const LENGTH: usize = 55;

/// A new header; `None` where the system has nothing random.
fn begin() -> Option<Vec<u8>> {
    let mut bytes = [0; 24];
    if !random(&mut bytes) {
        return None;
    }
    let mut text = b"00-".to_vec();
    for (index, byte) in bytes.iter().enumerate() {
        if index == 16 {
            text.push(b'-');
        }
        text.extend([byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]));
    }
    text.extend(b"-01");
    Some(text)
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_valid() {
        let ids = Some((&b"4bf92f3577b34da6a3ce929d0e0e4736"[..], &b"00f067aa0ba902b7"[..]));
        assert_eq!(parse(GOOD.as_bytes()), ids);
        assert_eq!(parse(GOOD.replacen("00", "cc", 1).as_bytes()), ids);
        assert_eq!(parse(format!("{}-later", GOOD.replacen("00", "01", 1)).as_bytes()), ids);
    }

    #[test]
    fn what_is_not() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replacen("00", "0g", 1),
            &format!("{GOOD}-x"),
            &format!("{GOOD}, {GOOD}"),
            &format!("{}x", GOOD.replacen("00", "01", 1)),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("-01", "-0x"),
            &GOOD.replace('-', "_"),
            &GOOD.replacen('4', "é", 1),
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
