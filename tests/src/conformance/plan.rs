//! What a case asks the probe application to do.

use super::target::token;
pub(super) use crate::http::encode;
use serde_json::{Map, Value, json};

/// A plan: steps while the application is called, steps of its body, and the kind of its result.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    parts: Map<String, Value>,
    token: String,
}

impl Plan {
    /// Starts a plain 200 response and yields these texts.
    pub(super) fn ok(texts: &[&str]) -> Plan {
        let yields: Vec<Value> = texts.iter().map(|text| yields(text)).collect();
        Plan::call(json!([start("200 OK")])).body(Value::Array(yields))
    }

    /// These steps while the application is called, and an empty body.
    pub(super) fn call(steps: Value) -> Plan {
        let mut parts = Map::new();
        parts.insert("call".to_owned(), steps);
        let token = token();
        parts.insert("token".to_owned(), Value::from(token.clone()));
        Plan { parts, token }
    }

    /// These steps of the body.
    pub(super) fn body(self, steps: Value) -> Plan {
        self.with("body", steps)
    }

    /// What is returned: `object` (an iterable whose `close()` is recorded), `generator`, `list`…
    pub(super) fn kind(self, kind: &str) -> Plan {
        self.with("kind", json!(kind))
    }

    /// Any other part of a plan.
    pub(super) fn with(mut self, part: &str, value: Value) -> Plan {
        self.parts.insert(part.to_owned(), value);
        self
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The path that asks for it.
    pub(super) fn path(&self) -> String {
        let text = Value::Object(self.parts.clone()).to_string();
        format!("/plan?plan={}", encode(&text))
    }
}

/// `start_response` with a plain header.
pub(super) fn start(status: &str) -> Value {
    json!(["start", status, [["Content-Type", "text/plain"]]])
}

/// `start_response` with these headers.
pub(super) fn start_with(headers: Value) -> Value {
    json!(["start", "200 OK", headers])
}

/// `start_response` with a `Content-Length`.
pub(super) fn start_length(length: usize) -> Value {
    start_with(json!([["Content-Type", "text/plain"], ["Content-Length", length.to_string()]]))
}

/// Yields a text as bytes.
pub(super) fn yields(text: &str) -> Value {
    json!(["yield", { "bytes": text }])
}
