//! `wsgiref.validate`, the standard library's judge of servers, between us and an application.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Case, Kind, case};

fn validated(returned: &str) -> Case {
    case(&format!(
        "import warnings\n\
         from wsgiref.validate import validator\n\
         warnings.simplefilter('error')\n\
         def inner(environ, start_response):\n    \
             body = environ['wsgi.input']\n    \
             data = body.readline() + body.read(2) + b''.join(body.readlines()) + b''.join(body)\n    \
             environ['wsgi.errors'].write('text\\n')\n    \
             environ['wsgi.errors'].writelines(['a', 'b'])\n    \
             environ['wsgi.errors'].flush()\n    \
             write = start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             {returned}\n\
         application = validator(inner)\n"
    ))
    .env("REQUEST_METHOD", "POST")
    .env("SCRIPT_NAME", "/app")
    .env("PATH_INFO", "/x")
    .env("QUERY_STRING", "")
    .env("SERVER_NAME", "localhost")
    .env("SERVER_PORT", "80")
    .env("CONTENT_LENGTH", "13")
    .body(&[b"one\ntwo\nthree"])
}

fn accepted(returned: &str) -> Answer {
    let answer = validated(returned).serve();
    assert_eq!(answer.logged(), ["text", "ab"], "{returned}");
    assert_eq!(answer.kind, Kind::Sent);
    answer
}

#[test]
fn it_has_nothing_to_say() {
    assert_eq!(accepted("return [data]").text(), "one\ntwo\nthree");
    assert_eq!(accepted("return iter([data, b'.'])").text(), "one\ntwo\nthree.");
    assert_eq!(accepted("write(b'first ')\n    return [data]").text(), "first one\ntwo\nthree");
    assert_eq!(
        accepted("import io; return environ['wsgi.file_wrapper'](io.BytesIO(data))").text(),
        "one\ntwo\nthree"
    );
    assert_eq!(accepted("return []").text(), "");
}

#[test]
fn it_would_have() {
    let answer = validated("return ['text']").serve();
    assert!(answer.raised().starts_with("AssertionError"), "{}", answer.raised());
}
