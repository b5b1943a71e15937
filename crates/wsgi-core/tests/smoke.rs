//! The shortest way through.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Kind, get};

#[test]
fn hello() {
    let answer = get("def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'hello']\n");
    assert_eq!(answer.log, []);
    assert_eq!((answer.kind, answer.status, answer.text()), (Kind::Collected, 200, "hello".into()));
}
