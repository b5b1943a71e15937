//! What becomes of what an application returns.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Answer, Call, Kind, case, get, gone};
use wsgi_core::{Fault, FaultKind, Flags, Level, Style};

/// An application whose response is this expression; `log` is a list for it to write to.
fn app(expression: &str, headers: &str) -> String {
    format!(
        "log = []\n\
         class Closing:\n    \
             def __init__(self, blocks):\n        \
                 self.blocks = iter(blocks)\n    \
             def __iter__(self):\n        \
                 return self\n    \
             def __next__(self):\n        \
                 log.append('next')\n        \
                 return next(self.blocks)\n    \
             def close(self):\n        \
                 log.append('close')\n\
         def application(environ, start_response):\n    \
             start(start_response, {headers})\n    \
             return {expression}\n"
    )
}

fn respond(expression: &str) -> Answer {
    get(&app(expression, ""))
}

fn chunk(head: bool, body: &[u8], flags: Flags) -> Call {
    Call::Respond { head, body: body.to_vec(), flags }
}

const FLUSH: Flags = Flags::FLUSH;
const END: Flags = Flags::END;
const TRUNCATED: Flags = Flags::TRUNCATED;

#[test]
fn a_small_list_or_tuple_is_collected() {
    for expression in ["[b'a', b'', b'bc']", "(b'abc',)", "[b'abc']"] {
        let answer = respond(expression);
        assert_eq!((answer.kind, answer.text()), (Kind::Collected, "abc".into()));
    }
    let answer = respond("[bytes(60000), bytes(5536)]");
    assert_eq!((answer.kind, answer.body.len()), (Kind::Collected, 65536));
    let answer = respond("[bytes(60000), bytes(5537)]");
    assert_eq!((answer.kind, answer.body.len()), (Kind::Sent, 65537));
}

#[test]
fn d27_a_body_known_as_a_whole_has_a_length() {
    for (expression, length) in [
        ("[b'abc']", "3"),
        ("(b'abc',)", "3"),
        ("[b'a', b'b']", "2"),
        ("[]", "0"),
        ("()", "0"),
        ("[b'']", "0"),
        ("iter([])", "0"),
        ("(x for x in [])", "0"),
        ("Closing([b'', b''])", "0"),
        ("[bytes(100000)]", "100000"),
        ("(bytes(100000),)", "100000"),
    ] {
        let answer = respond(expression);
        assert_eq!(answer.header("content-length").unwrap(), length, "{expression}");
        assert_eq!(answer.body.len().to_string(), length);
        assert_eq!(answer.log, []);
    }
    let large = respond("[bytes(100000)]");
    assert_eq!(large.calls, [chunk(true, &vec![0; 100_000], END)]);
}

#[test]
fn other_iterables_are_sent_block_by_block() {
    for expression in [
        "iter([b'ab', b'', b'c'])",
        "Closing([b'ab', b'', b'c'])",
        "(x for x in [b'ab', b'', b'c'])",
        "type('S', (), {'__getitem__': lambda self, i: [b'ab', b'', b'c'][i]})()",
        "type('L', (list,), {})([b'ab', b'', b'c'])",
        "{b'ab': 1, b'c': 2}",
    ] {
        let answer = respond(expression);
        assert_eq!(
            answer.calls,
            [chunk(true, b"ab", FLUSH), chunk(false, b"c", FLUSH), chunk(false, b"", END)],
            "{expression}"
        );
        assert_eq!((answer.kind, answer.header("content-length")), (Kind::Sent, None));
        assert_eq!(answer.log, []);
    }
}

#[test]
fn a_promised_length_ends_the_response_before_close() {
    let source = app("Closing([b'ab', b'c'])", "('Content-Length', '3')") + "class Host: pass\n";
    let answer = get(&source);
    assert_eq!(answer.calls, [chunk(true, b"ab", FLUSH), chunk(false, b"c", END)]);
    assert_eq!(answer.eval("log"), "['next', 'next', 'next', 'close']");
    // One block: one call.
    let answer = get(&app("Closing([b'abc'])", "('Content-Length', '3')"));
    assert_eq!(answer.calls, [chunk(true, b"abc", END)]);
}

#[test]
fn what_is_no_iterable_of_bytes() {
    for (expression, text) in [
        ("None", "TypeError: 'NoneType' object is not iterable"),
        ("5", "TypeError: 'int' object is not iterable"),
        ("b'abc'", "TypeError: response iterable must yield bytes, not int"),
        ("'abc'", "TypeError: response iterable must yield bytes, not str"),
        ("['abc']", "TypeError: response iterable must yield bytes, not str"),
        ("[b'a', 'abc']", "TypeError: response iterable must yield bytes, not str"),
        ("(None,)", "TypeError: response iterable must yield bytes, not NoneType"),
        ("[bytearray(b'a')]", "TypeError: response iterable must yield bytes, not bytearray"),
        ("iter(['a'])", "TypeError: response iterable must yield bytes, not str"),
        ("[bytes(99999), 5]", "TypeError: response iterable must yield bytes, not int"),
    ] {
        let answer = respond(expression);
        if expression == "[bytes(99999), 5]" {
            assert_eq!((answer.kind, answer.raised()), (Kind::Truncated, text));
        } else {
            assert_eq!((answer.kind, answer.status), (Kind::Failed, 500), "{expression}");
            assert_eq!(answer.raised(), text);
        }
    }
    let answer = respond("[type('B', (bytes,), {})(b'sub')]");
    assert_eq!(answer.text(), "sub");
}

#[test]
fn start_response_may_come_late() {
    let answer = get("def application(environ, start_response):\n    \
         yield b''\n    \
         start_response('201 Made', [])\n    \
         yield b''\n    \
         yield b'x'\n");
    assert_eq!((answer.kind, answer.status, answer.text()), (Kind::Sent, 201, "x".into()));
    let answer = get("def application(environ, start_response):\n    \
         yield b''\n    \
         start_response('201 Made', [])\n");
    assert_eq!((answer.kind, answer.status), (Kind::Collected, 201));
}

#[test]
fn start_response_must_come() {
    let text = "RuntimeError: start_response() must be called before response content is produced";
    for expression in
        ["[b'x']", "[]", "iter([b'x'])", "iter([])", "(x for x in [])", "[bytes(99999)]"]
    {
        let answer = get(&format!("def application(e, s):\n    return {expression}\n"));
        assert_eq!((answer.kind, answer.status), (Kind::Failed, 500));
        assert_eq!(answer.raised(), text, "{expression}");
        assert_eq!(answer.summary.status, 500);
    }
}

#[test]
fn d01_a_body_shorter_than_promised_truncates() {
    let answer = get(&app("[b'abc']", "('Content-Length', '5')"));
    assert_eq!(
        (answer.kind, answer.truncated, answer.text()),
        (Kind::Collected, true, "abc".into())
    );
    let text = "Content length mismatch, expected 5, response generated 3.";
    let expected = (Level::Warning, Style::Message, 1001, text.to_owned());
    assert_eq!(answer.log, std::slice::from_ref(&expected));
    let answer = get(&app("iter([b'abc'])", "('Content-Length', '5')"));
    assert_eq!(answer.calls, [chunk(true, b"abc", FLUSH), chunk(false, b"", TRUNCATED)]);
    assert_eq!((answer.kind, answer.log), (Kind::Truncated, vec![expected]));
    // An empty one is not cut, but wrong: corrected.
    for expression in ["[]", "iter([])", "Closing([])"] {
        let answer = get(&app(expression, "('Content-Length', '5')"));
        assert!(!answer.truncated);
        assert_eq!(answer.header("content-length").unwrap(), "0");
        assert_eq!(answer.logged(), ["Content length mismatch, expected 5, response generated 0."]);
    }
}

#[test]
fn d28_a_body_longer_than_promised_is_cut_and_no_longer_asked_for() {
    let answer = get(&app("Closing(b'abc' for _ in iter(int, 1))", "('Content-Length', '5')"));
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "abcab".into()));
    assert_eq!(answer.eval("log"), "['next', 'next', 'close']");
    assert_eq!(answer.logged(), ["Content length mismatch, expected 5, response generated 6."]);
    // Exactly the length, and then more of it.
    let answer = get(&app("Closing([b'abcde', b'', b'f', b'g'])", "('Content-Length', '5')"));
    assert_eq!(answer.text(), "abcde");
    assert_eq!(answer.eval("log"), "['next', 'next', 'next', 'close']");
    let answer = get(&app("[b'abc', b'def']", "('Content-Length', '5')"));
    assert_eq!((answer.kind, answer.text()), (Kind::Collected, "abcde".into()));
    let answer = get(&app("[b'abc']", "('Content-Length', '0')"));
    assert_eq!((answer.kind, answer.text()), (Kind::Collected, "".into()));
}

#[test]
fn statuses_without_a_body() {
    for status in ["204 No Content", "304 Not Modified"] {
        for expression in ["[b'body']", "iter([b'body'])", "Closing([b'body', b'x'])", "[]"] {
            let source = app(expression, &format!("('ETag', 'x'), status='{status}'"));
            let answer = get(&source);
            assert_eq!((answer.text(), answer.header("etag").unwrap()), ("".into(), "x".into()));
            assert!(matches!(answer.kind, Kind::Collected | Kind::Sent));
            assert_eq!(answer.header("content-length"), None);
            assert_eq!(answer.log, []);
        }
    }
    assert_eq!(get(&app("[b'body']", "status='205 Reset'")).text(), "body");
}

#[test]
fn head_requests() {
    let source = app("[b'body']", "");
    let answer = case(&source).head().serve();
    assert_eq!(answer.header("content-length").unwrap(), "4");
    let answer = case(&app("[]", "")).head().serve();
    assert_eq!((answer.kind, answer.header("content-length")), (Kind::Collected, None));
    let answer = case(&app("[]", "('Content-Length', '99')")).head().serve();
    assert_eq!((answer.kind, answer.truncated), (Kind::Collected, false));
    assert_eq!((answer.header("content-length").unwrap(), &answer.log[..]), ("99".into(), &[][..]));
    // One without end is asked once.
    let answer = case(&app("Closing(iter(lambda: b'x', b''))", "")).head().serve();
    assert_eq!(answer.calls, [chunk(true, b"x", FLUSH), chunk(false, b"", END)]);
    assert_eq!(answer.eval("log"), "['next', 'close']");
    assert_eq!(answer.kind, Kind::Sent);
    let source = "def application(environ, start_response):\n    \
         write = start_response('200 OK', [])\n    \
         write(b'one')\n    \
         write(b'two')\n    \
         return [b'three']\n";
    let answer = case(source).head().serve();
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "one".into()));
}

#[test]
fn an_exception_before_any_data_is_the_servers_page() {
    for source in [
        "def application(environ, start_response):\n    1 / 0\n",
        "def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    1 / 0\n",
        "def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    yield b''\n    1 / 0\n",
        "def application(environ, start_response):\n    \
             start_response('200 OK', [])(b'')\n    1 / 0\n",
    ] {
        let answer = get(source);
        assert_eq!((answer.kind, answer.status), (Kind::Failed, 500));
        assert_eq!(answer.raised(), "ZeroDivisionError: division by zero");
        let head = "ZeroDivisionError exception raised processing WSGI script '/srv/app.wsgi' \
             for main interpreter in a test.";
        let first = (Level::Error, Style::Exception, 174, head.to_owned());
        assert_eq!(answer.log[0], first);
        let second = "Traceback (most recent call last):".to_owned();
        assert_eq!(answer.log[1], (Level::Error, Style::Traceback, 0, second));
        assert!(answer.log[1..].iter().all(|line| line.1 == Style::Traceback));
        assert!(answer.log.iter().all(|line| !line.3.is_empty()));
    }
}

#[test]
fn d01_an_exception_after_data_truncates() {
    let source = |headers: &str| {
        format!(
            "def application(environ, start_response):\n    \
                 start(start_response, {headers})\n    \
                 yield b'x'\n    1 / 0\n"
        )
    };
    for headers in ["", "('Content-Length', '5')"] {
        let answer = get(&source(headers));
        assert_eq!(answer.calls, [chunk(true, b"x", FLUSH), chunk(false, b"", TRUNCATED)]);
        assert_eq!((answer.kind, answer.status), (Kind::Truncated, 200));
    }
    // All that was promised has been sent already.
    let answer = get(&source("('Content-Length', '1')"));
    assert_eq!((answer.kind, answer.status), (Kind::Sent, 200));
    assert_eq!(answer.raised(), "ZeroDivisionError: division by zero");
}

#[test]
fn d03_an_exception_after_write_truncates() {
    let answer = get("def application(environ, start_response):\n    \
         start_response('200 OK', [])(b'x')\n    1 / 0\n");
    assert_eq!(answer.calls, [chunk(true, b"x", FLUSH), chunk(false, b"", TRUNCATED)]);
    assert_eq!((answer.kind, answer.status), (Kind::Truncated, 200));
}

#[test]
fn whatever_is_raised_ends_the_request_and_nothing_else() {
    for (raised, code, first) in [
        (
            "SystemExit(3)",
            175,
            "SystemExit exception raised by WSGI script '/srv/app.wsgi' \
              for main interpreter in a test; ignored.",
        ),
        (
            "KeyboardInterrupt()",
            174,
            "KeyboardInterrupt exception raised processing WSGI script \
              '/srv/app.wsgi' for main interpreter in a test.",
        ),
        (
            "GeneratorExit()",
            174,
            "GeneratorExit exception raised processing WSGI script \
              '/srv/app.wsgi' for main interpreter in a test.",
        ),
        (
            "StopIteration()",
            174,
            "StopIteration exception raised processing WSGI script \
              '/srv/app.wsgi' for main interpreter in a test.",
        ),
    ] {
        let answer =
            get(&format!("def application(environ, start_response):\n    raise {raised}\n"));
        assert_eq!((answer.kind, answer.status), (Kind::Failed, 500));
        assert_eq!((answer.log[0].2, &answer.log[0].3[..]), (code, first));
    }
}

#[test]
fn exceptions_that_are_hard_to_print() {
    let answer = get("class Odd(Exception):\n    \
             def __str__(self):\n        \
                 raise ValueError\n\
         def application(environ, start_response):\n    \
             raise Odd\n");
    assert_eq!(answer.status, 500);
    assert!(answer.raised().contains("Odd"), "{:?}", answer.log);
    let answer = get("def application(environ, start_response):\n    \
         raise ValueError('one\\n\\ntwo\\0three \\udcff ' + 'x' * 20000)\n");
    let text: String = answer.logged()[4..].concat();
    assert!(answer.logged().contains(&"ValueError: one"), "{:?}", answer.log);
    assert!(text.contains("two\\x00three \\udcff xxx"), "{text}");
    assert!(text.ends_with("xxxx") && text.len() > 20000);
    let answer = get("def application(environ, start_response):\n    \
         def f(): f()\n    f()\n");
    assert!(answer.raised().starts_with("RecursionError"));
    // Causes are shown.
    let answer = get("def application(environ, start_response):\n    \
         try:\n        1 / 0\n    except Exception as error:\n        \
             raise ValueError('outer') from error\n");
    let text = "The above exception was the direct cause of the following exception:";
    assert!(answer.logged().contains(&text));
}

#[test]
fn close_is_called_once_in_every_outcome() {
    // After success, in order.
    let answer = respond("Closing([b'x'])");
    assert_eq!(answer.eval("log"), "['next', 'next', 'close']");
    // After an exception of the iterator, of its __iter__, and of an item.
    let answer = respond("Closing([b'x', 'y'])");
    assert_eq!(
        (answer.kind, answer.eval("log")),
        (Kind::Truncated, "['next', 'next', 'close']".into())
    );
    let answer = respond("type('I', (Closing,), {'__iter__': lambda self: 1 / 0})([])");
    assert_eq!((answer.kind, answer.eval("log")), (Kind::Failed, "['close']".into()));
    let answer = respond("type('I', (), {'close': lambda self: log.append('close')})()");
    assert_eq!((answer.kind, answer.eval("log")), (Kind::Failed, "['close']".into()));
    // Where start_response was never called.
    let answer = get(&(app("None", "") + "def application(e, s): return Closing([b'x'])\n"));
    assert_eq!((answer.kind, answer.eval("log")), (Kind::Failed, "['next', 'close']".into()));
    // Not where the application itself failed.
    let answer = respond("Closing([b'x']) and 1 / 0");
    assert_eq!((answer.kind, answer.eval("log")), (Kind::Failed, "[]".into()));
}

#[test]
fn close_is_called_when_the_client_has_gone() {
    for calls in [0, 1, 3] {
        let mut case = case(&app("Closing(iter(lambda: b'x', b''))", ""));
        case.host.write_fault = Some((calls, gone()));
        let answer = case.serve();
        let mut expected = vec!["next"; calls + 1];
        expected.push("close");
        assert_eq!(answer.eval("log"), format!("{expected:?}").replace('"', "'"));
        assert_eq!((answer.kind, answer.status), (Kind::Truncated, 200));
        assert_eq!(answer.logged(), ["Client closed connection."]);
        assert_eq!(answer.log[0].0, Level::Info);
    }
    let mut slow = case(&app("Closing([b'x'])", ""));
    slow.host.write_fault = Some((0, Fault::new(FaultKind::Timeout, "The timeout specified")));
    let answer = slow.serve();
    assert_eq!(answer.logged(), ["Unable to write response data: The timeout specified."]);
    assert_eq!(answer.eval("log"), "['next', 'close']");
}

#[test]
fn a_generator_that_never_ran_is_closed() {
    // For HEAD and for bodies that are not wanted nothing runs it, but close() must be called.
    let source = "log = []\n\
         def blocks():\n    \
             log.append('ran')\n    \
             try:\n        yield b'x'\n        yield b'y'\n    \
             finally:\n        log.append('finally')\n\
         class G:\n    \
             def __iter__(self): return blocks()\n    \
             def close(self): log.append('close')\n\
         def application(environ, start_response):\n    \
             start(start_response)\n    \
             start_response.__self__.write(b'x')\n    \
             return G()\n";
    let mut gone_before = case(source);
    gone_before.host.write_fault = Some((1, gone()));
    let answer = gone_before.serve();
    assert_eq!(answer.eval("log"), "['ran', 'finally', 'close']");
    let source = "log = []\n\
         def application(environ, start_response):\n    \
             start(start_response, status='304 Not Modified')\n    \
             try:\n        yield b'x'\n        log.append('went on')\n    \
             finally:\n        log.append('finally')\n";
    let answer = get(source);
    assert_eq!((answer.kind, answer.eval("log")), (Kind::Sent, "['finally']".into()));
}

#[test]
fn exceptions_of_close_are_only_logged() {
    let source = |close: &str| {
        format!(
            "class C:\n    \
                 def __iter__(self): return iter([b'x'])\n    \
                 {close}\n\
             def application(environ, start_response):\n    \
                 start(start_response)\n    \
                 return C()\n"
        )
    };
    let answer = get(&source("def close(self): 1 / 0"));
    assert_eq!((answer.kind, answer.status, answer.text()), (Kind::Sent, 200, "x".into()));
    assert_eq!(answer.log[0].2, 174);
    let answer = get(&source("def close(self): raise SystemExit"));
    assert_eq!((answer.kind, answer.log[0].2), (Kind::Sent, 175));
    let answer = get(&source("close = property(lambda self: 1 / 0)"));
    assert_eq!((answer.kind, answer.log[0].2, answer.log[1].2), (Kind::Sent, 194, 174));
    let text = "Lookup of 'close' attribute on WSGI response iterable raised an exception.";
    assert_eq!(answer.log[0].3, text);
    assert_eq!(answer.raised(), "ZeroDivisionError: division by zero");
    let answer = get(&source("close = property(lambda self: self.nothing)"));
    assert_eq!((answer.kind, &answer.log[..]), (Kind::Sent, &[][..]));
    let answer = get(&source("close = None"));
    assert_eq!(answer.raised(), "TypeError: 'NoneType' object is not callable");
}

#[test]
fn request_timeout_becomes_a_504() {
    let raise = "import builtins\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    ";
    // The test puts the class where the application finds it.
    common::attach(|py| {
        let (state, _) = common::state(py);
        py.import(c"builtins")
            .unwrap()
            .set_attr(c"RequestTimeout", &state.request_timeout(py))
            .unwrap();
    });
    let answer = get(&format!("{raise}raise RequestTimeout\n"));
    assert_eq!((answer.kind, answer.status), (Kind::Failed, 504));
    let text = "Request interrupted by RequestTimeout; thread recovered.";
    assert_eq!((answer.log[0].0, answer.logged()), (Level::Info, vec![text]));
    let answer = get(&format!("{raise}yield b'x'\n    raise RequestTimeout\n"));
    assert_eq!((answer.kind, answer.status), (Kind::Truncated, 200));
    let text = "Request interrupted by RequestTimeout after headers sent; response truncated.";
    assert_eq!(answer.logged(), [text]);
    let answer = get("class C:\n    \
             def __iter__(self): return iter([b'x'])\n    \
             def close(self): raise RequestTimeout\n\
         def application(environ, start_response):\n    \
             start(start_response)\n    return C()\n");
    assert_eq!((answer.kind, &answer.log[..]), (Kind::Sent, &[][..]));
    let described = "(RequestTimeout.__mro__[1:], RequestTimeout.__module__, \
         bool(RequestTimeout.__doc__))";
    assert_eq!(
        answer.eval(described),
        "((<class 'BaseException'>, <class 'object'>), 'mod_wsgi', True)"
    );
}

#[test]
fn a_host_that_does_not_wait_is_not_waited_for() {
    let mut case = case(&app("Closing([b'ab', b'c'])", ""));
    case.host.nonblocking = true;
    let answer = case.serve();
    assert_eq!(
        answer.calls,
        [chunk(true, b"ab", FLUSH), chunk(false, b"c", FLUSH), chunk(false, b"", END)]
    );
    assert_eq!(answer.tried, 3);
    let answer = get(&app("Closing([b'ab', b'c'])", ""));
    assert_eq!((answer.calls.len(), answer.tried), (3, 3));
}

#[test]
fn numbers_about_a_request() {
    let source = "def application(environ, start_response):\n    \
         environ['wsgi.input'].read()\n    \
         start(start_response, ('Content-Length', '4'), status='201 Made')\n    \
         yield b'abc'\n    \
         yield b'def'\n";
    let mut measured = case(source).body(&[b"hello", b"world"]);
    measured.measure = true;
    let answer = measured.serve();
    let summary = answer.summary;
    assert_eq!((summary.status, summary.input_reads, summary.input_length), (201, 3, 10));
    assert_eq!((summary.output_writes, summary.output_length), (2, 6));
    assert!(summary.input_time > 0.0 && summary.output_time > 0.0);
    assert!(summary.gil_wait_count >= 5 && summary.gil_wait_time > 0.0);
    let summary = case(source).serve().summary;
    assert_eq!((summary.input_time, summary.gil_wait_count), (0.0, 0));
    let summary = get(&app("[b'abc', b'', b'd']", "")).summary;
    assert_eq!((summary.output_writes, summary.output_length), (2, 4));
}
