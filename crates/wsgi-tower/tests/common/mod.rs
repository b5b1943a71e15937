//! One application per test process, since Python starts once.

#![allow(dead_code, reason = "each test uses some of it")]

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower_service::Service;
use wsgi_tower::{Body, Truncated, Wsgi};

/// The application.
pub(crate) const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/app.py");

/// The service with two threads.
pub(crate) fn service() -> Wsgi {
    static WSGI: OnceLock<Wsgi> = OnceLock::new();
    let start = || {
        // All tests of the program together: what Python waits for, nobody interrupts.
        std::mem::forget(scenario::patience::Deadline::start());
        let python = env!("WSGI_TOWER_TEST_PYTHON");
        Wsgi::builder(python).script(SCRIPT).threads(2).start().unwrap()
    };
    WSGI.get_or_init(start).clone()
}

/// Asks for a path.
pub(crate) async fn ask(path: &str) -> Response<Body> {
    let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    service().call(request).await.unwrap()
}

/// The body of a response.
pub(crate) async fn text(response: Response<Body>) -> Result<String, Truncated> {
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}
