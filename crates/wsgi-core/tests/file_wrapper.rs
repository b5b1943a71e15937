//! `wsgi.file_wrapper`: the type, and responses that are files.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;

use common::{Answer, Call, Case, Kind, case, get, gone};
use tempfile::NamedTempFile;
use wsgi_core::Flags;

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

/// Returns a wrapper around `f`, which is what `statements` make of the open file.
fn wrapped(file: &NamedTempFile, statements: &str, headers: &str) -> Case {
    let path = file.path().display();
    case(&format!(
        "import io\n\
         closed = 0\n\
         class File(io.FileIO):\n    \
             def close(self):\n        \
                 global closed\n        \
                 closed += not self.closed\n        \
                 super().close()\n\
         def application(environ, start_response):\n    \
             global FileWrapper\n    \
             FileWrapper = environ['wsgi.file_wrapper']\n    \
             write = start(start_response, {headers})\n    \
             f = File('{path}')\n    \
             wrap = FileWrapper\n    \
             {statements}\n    \
             return wrap(f)\n"
    ))
}

fn send(file: &NamedTempFile, statements: &str, headers: &str) -> Answer {
    wrapped(file, statements, headers).serve()
}

fn sent(offset: u64, length: u64, flags: Flags) -> Call {
    Call::File { head: true, offset, length, flags }
}

#[test]
fn a_file_is_sent_as_one() {
    let file = file(b"0123456789");
    let answer = send(&file, "pass", "('X-A', 'b')");
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "0123456789".into()));
    assert_eq!(answer.calls, [sent(0, 10, Flags::END)]);
    assert_eq!(answer.header("content-length").unwrap(), "10");
    assert_eq!(answer.eval("closed"), "1");
    assert_eq!((answer.summary.output_writes, answer.summary.output_length), (0, 10));
    assert_eq!(answer.log, []);
}

#[test]
fn it_begins_where_the_object_is_not_the_descriptor() {
    let file = file(b"0123456789");
    // Buffered: the descriptor is at the end already.
    let answer = send(&file, "f = io.BufferedReader(f); f.read(3)", "");
    assert_eq!((answer.calls, answer.body), (vec![sent(3, 7, Flags::END)], b"3456789".to_vec()));
    let answer = send(&file, "f.seek(4)", "");
    assert_eq!(answer.calls, [sent(4, 6, Flags::END)]);
    let answer = send(&file, "f = open(f.name, encoding='ascii'); f.read(2)", "");
    assert_eq!(answer.text(), "23456789");
    let answer = send(&file, "f.seek(10)", "");
    assert_eq!((answer.kind, answer.header("content-length").unwrap()), (Kind::Sent, "0".into()));
    assert_eq!(answer.log, []);
}

#[test]
fn a_promised_length_is_sent_and_no_more() {
    let file = file(b"0123456789");
    let answer = send(&file, "pass", "('Content-Length', '4')");
    assert_eq!((answer.calls, answer.body), (vec![sent(0, 4, Flags::END)], b"0123".to_vec()));
    assert_eq!(answer.log, []);
    let answer = send(&file, "pass", "('Content-Length', '0')");
    assert_eq!((answer.kind, answer.body), (Kind::Sent, Vec::new()));
}

#[test]
fn d05_a_length_beyond_the_file_truncates() {
    let file = file(b"0123456789");
    let answer = send(&file, "pass", "('Content-Length', '100')");
    assert_eq!(answer.calls, [sent(0, 10, Flags::TRUNCATED)]);
    assert_eq!((answer.kind, answer.eval("closed")), (Kind::Truncated, "1".into()));
    assert_eq!(answer.logged(), ["Content length mismatch, expected 100, response generated 10."]);
}

#[test]
fn d05_an_offset_beyond_the_file_truncates() {
    let file = file(b"0123456789");
    let answer = send(&file, "f.seek(50)", "('Content-Length', '5')");
    let call = Call::Respond { head: true, body: Vec::new(), flags: Flags::TRUNCATED };
    assert_eq!((answer.kind, answer.calls), (Kind::Truncated, vec![call]));
    let answer = send(&file, "f.seek(50)", "");
    assert_eq!((answer.kind, answer.header("content-length").unwrap()), (Kind::Sent, "0".into()));
}

#[test]
fn d05_a_file_that_shrinks_while_sent_truncates() {
    let file = file(b"0123456789");
    let mut case = wrapped(&file, "pass", "");
    case.host.file_limit = Some(6);
    let answer = case.serve();
    assert_eq!((answer.kind, answer.text()), (Kind::Truncated, "012345".into()));
    assert_eq!(answer.eval("closed"), "1");
}

#[test]
fn without_a_body() {
    let file = file(b"0123456789");
    let answer = wrapped(&file, "pass", "").head().serve();
    assert_eq!((answer.kind, answer.header("content-length").unwrap()), (Kind::Sent, "10".into()));
    assert_eq!((answer.text(), answer.eval("closed")), ("".into(), "1".into()));
    let answer = wrapped(&file, "pass", "('Content-Length', '99')").head().serve();
    assert_eq!((answer.kind, answer.header("content-length").unwrap()), (Kind::Sent, "99".into()));
    let answer = send(&file, "pass", "status='304 Not Modified'");
    assert_eq!((answer.kind, answer.text(), answer.log), (Kind::Sent, "".into(), vec![]));
}

#[test]
fn subclasses_are_files_too_and_their_close_is_called() {
    let file = file(b"0123456789");
    let answer = send(
        &file,
        "global calls; calls = []\n    \
         class Mine(wrap):\n        \
             def __iter__(self): calls.append('iter')\n        \
             def __next__(self): calls.append('next')\n        \
             def close(self): calls.append('close'); super().close()\n    \
         wrap = Mine",
        "",
    );
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "0123456789".into()));
    assert_eq!(answer.eval("calls, closed"), "(['close'], 1)");
}

#[test]
fn anything_else_is_read() {
    let file = file(b"0123456789");
    for statements in [
        // Not files, or not such that a server can send.
        "f = io.BytesIO(f.read())",
        "f.tell = None",
        "f = type('F', (), {'read': f.read})()",
        "f = type('F', (), {'read': f.read, 'fileno': lambda s: 1 / 0, 'tell': f.tell})()",
        "f = type('F', (), {'read': f.read, 'fileno': lambda s: '1', 'tell': f.tell})()",
        "f = type('F', (), {'read': f.read, 'fileno': lambda s: -1, 'tell': f.tell})()",
        "f = type('F', (), {'read': f.read, 'fileno': lambda s: 99999, 'tell': f.tell})()",
        "f = type('F', (), {'read': f.read, 'fileno': f.fileno, 'tell': lambda s: -1})()",
        "f = type('F', (), {'read': f.read, 'fileno': f.fileno, 'tell': lambda s: 1.5})()",
        "f = type('F', (), {'read': f.read, 'fileno': lambda s: 2**80, 'tell': f.tell})()",
        "import os; r, w = os.pipe(); os.write(w, f.read()); os.close(w); f = open(r, 'rb', 0)",
        // Data has been sent before, or something wraps the wrapper.
        "write(b'')",
        "w = wrap(f); wrap = lambda f: iter(w)",
    ] {
        let answer = send(&file, statements, "");
        assert_eq!((answer.kind, answer.text()), (Kind::Sent, "0123456789".into()), "{statements}");
        if !statements.contains("write(b'')") && !statements.starts_with("w = ") {
            assert!(!answer.calls.contains(&sent(0, 10, Flags::END)), "{statements}");
        }
    }
    let answer = send(&file, "write(b'before ')", "");
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "before 0123456789".into()));
    let answer = send(&file, "wrap = lambda f: FileWrapper(f, 3)\n    write(b'-')", "");
    let bodies = answer.calls.iter().map(|call| match call {
        Call::Respond { body, .. } => &body[..],
        Call::File { .. } => panic!("sent as a file"),
    });
    let bodies: Vec<_> = bodies.collect();
    assert_eq!(bodies, [&b"-"[..], b"012", b"345", b"678", b"9", b""]);
    assert_eq!(answer.eval("closed"), "1");
}

#[test]
fn what_is_no_exception_is_not_swallowed() {
    let file = file(b"0123456789");
    let answer = send(
        &file,
        "def interrupt(s): raise KeyboardInterrupt\n    \
         f = type('F', (), {'read': f.read, 'fileno': interrupt, 'tell': f.tell})()",
        "",
    );
    assert_eq!((answer.kind, answer.raised()), (Kind::Failed, "KeyboardInterrupt"));
}

#[test]
fn start_response_must_come() {
    let file = file(b"x");
    let answer = case(&format!(
        "def application(environ, start_response):\n    \
             return environ['wsgi.file_wrapper'](open('{}', 'rb'))\n",
        file.path().display()
    ))
    .serve();
    let text = "RuntimeError: start_response() must be called before response content is produced";
    assert_eq!((answer.kind, answer.raised()), (Kind::Failed, text));
}

#[test]
fn a_client_that_has_gone() {
    let file = file(b"0123456789");
    let mut case = wrapped(&file, "pass", "");
    case.host.write_fault = Some((0, gone()));
    let answer = case.serve();
    assert_eq!((answer.kind, answer.eval("closed")), (Kind::Truncated, "1".into()));
    assert_eq!(answer.logged(), ["Client closed connection."]);
}

/// Results of Python expressions about the type, `F`.
fn about(expressions: &[&str]) -> Vec<String> {
    let source = "import io\n\
         def t(f):\n    \
             try:\n        return repr(f())\n    \
             except BaseException as error:\n        \
                 return f'{type(error).__name__}: {error}'\n\
         def application(environ, start_response):\n    \
             global F\n    \
             F = environ['wsgi.file_wrapper']\n    \
             start(start_response)\n    \
             return []\n\
         def closed(f):\n    \
             f.close(); f.close()\n    \
             return f\n\
         class Bad:\n    \
             def read(self, n): return 'text'\n    \
             def close(self): raise ValueError\n\
         def sub():\n    \
             class S(F):\n        \
                 def __init__(self, f, more):\n            \
                     super().__init__(f, 5)\n            \
                     self.more = more\n    \
             s = S(io.BytesIO(b'x'), 3)\n    \
             return s.blksize, s.more, list(s)\n\
         def cycle():\n    \
             import gc, time, weakref\n    \
             class B(io.BytesIO): pass\n    \
             b = B(); b.wrapper = F(b); r = weakref.ref(b)\n    \
             del b\n    \
             for _ in range(200):\n        \
                 gc.collect()  # Does nothing while another thread collects.\n        \
                 if r() is None: break\n        \
                 time.sleep(0.01)\n    \
             return r()\n";
    let answer = get(source);
    expressions.iter().map(|e| answer.eval(&format!("t(lambda: {e})"))).collect()
}

#[test]
fn construction() {
    assert_eq!(
        about(&[
            "F()",
            "F(1, 2, 3)",
            "F(1, 'a')",
            "F(1, -1)",
            "F(blksize=1)",
            "F(1).blksize",
            "F(filelike=1, blksize=3).blksize",
            "F(1).filelike",
            "F.__new__(F).filelike",
        ]),
        [
            "TypeError: FileWrapper() missing required argument 'filelike' (pos 1)",
            "TypeError: FileWrapper() takes at most 2 arguments (3 given)",
            "TypeError: 'str' object cannot be interpreted as an integer",
            "ValueError: blksize must not be negative",
            "TypeError: FileWrapper() missing required argument 'filelike' (pos 1)",
            "8192",
            "3",
            "1",
            "ValueError: I/O operation on closed file",
        ]
    );
}

#[test]
fn attributes_and_iteration() {
    let results = about(&[
        "[name for name in dir(F(1)) if not name.startswith('__')]",
        "setattr(F(1), 'blksize', 3)",
        "setattr(F(1), 'filelike', 3)",
        "(lambda f: iter(f) is f)(F(1))",
        "list(F(io.BytesIO(b'abcde'), 2))",
        "list(F(io.BytesIO(b'abcde'), 0))",
        "list(F(Bad()))",
        "list(F(1))",
        "sub()",
        "cycle()",
    ]);
    assert_eq!(results[0], "['blksize', 'close', 'filelike']");
    assert!(
        results[1].starts_with("AttributeError: attribute 'blksize' of 'mod_wsgi.FileWrapper'")
    );
    assert!(results[2].starts_with("AttributeError: attribute 'filelike' of"));
    assert_eq!(
        results[3..],
        [
            "True",
            "[b'ab', b'cd', b'e']",
            "[]",
            "TypeError: file wrapper read() must return bytes, not str",
            "AttributeError: 'int' object has no attribute 'read'",
            "(5, 3, [b'x'])",
            "None",
        ]
    );
}

#[test]
fn closing() {
    let closed = "ValueError: I/O operation on closed file";
    assert_eq!(
        about(&[
            "closed(F(io.BytesIO(b'x'))).filelike",
            "next(closed(F(io.BytesIO(b'x'))))",
            "closed(F(Bad())).blksize",
            "F(1).close()",
            "(lambda b: (F(b).close(), b.closed))(io.BytesIO())",
        ]),
        [closed, closed, "8192", "None", "(None, True)"]
    );
}
