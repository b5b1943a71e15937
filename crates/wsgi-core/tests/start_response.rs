//! `start_response` and `write`: what they accept, what they raise, what they send.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Call, Kind, case, get, gone};
use wsgi_core::{Fault, FaultKind, Flags, Level};

/// What a call of `start_response(...)` with these arguments raises.
fn raises(arguments: &str) -> String {
    let answer = get(&format!(
        "def application(environ, start_response):\n    \
             global result\n    \
             try:\n        \
                 start_response({arguments})\n        \
                 result = 'nothing'\n    \
             except BaseException as error:\n        \
                 result = f'{{type(error).__name__}}: {{error}}'\n        \
                 start_response('200 OK', [])\n    \
             return []\n"
    ));
    assert_eq!(answer.status, if answer.eval("result") == "nothing" { answer.status } else { 200 });
    answer.eval("result")
}

#[test]
fn arguments() {
    let positional = "TypeError: start_response() takes no keyword arguments";
    assert_eq!(raises("status='200 OK', headers=[]"), positional);
    assert_eq!(raises("'200 OK', [], exc_info=None"), positional);
    let few = "TypeError: start_response() takes at least 2 arguments";
    assert_eq!(raises(""), format!("{few} (0 given)"));
    assert_eq!(raises("'200 OK'"), format!("{few} (1 given)"));
    let many = "TypeError: start_response() takes at most 3 arguments (4 given)";
    assert_eq!(raises("'200 OK', [], None, None"), many);
    let list = "TypeError: start_response() argument 2 must be list, not";
    assert_eq!(raises("'200 OK', ()"), format!("{list} tuple"));
    assert_eq!(raises("'200 OK', None"), format!("{list} None"));
    assert_eq!(raises("'200 OK', {}"), format!("{list} dict"));
    assert_eq!(raises("'200 OK', iter([])"), format!("{list} list_iterator"));
    let exc_info = "RuntimeError: start_response() argument 'exc_info' must be a 3-tuple or None";
    for wrong in ["1", "False", "[]", "'abc'"] {
        assert_eq!(raises(&format!("'200 OK', [], {wrong}")), exc_info);
    }
    // Before anything was sent nobody looks into it.
    assert_eq!(raises("'200 OK', [], ()"), "nothing");
    assert_eq!(raises("'200 OK', [], (1, 2)"), "nothing");
}

#[test]
fn status() {
    assert_eq!(raises("b'200 OK', []"), "TypeError: must be str, not bytes");
    assert_eq!(raises("200, []"), "TypeError: must be str, not int");
    assert_eq!(
        raises("'200 \\u20ac', []"),
        "UnicodeEncodeError: 'latin-1' codec can't encode character '\\u20ac' in position 4: \
         ordinal not in range(256)"
    );
    let digits = "ValueError: status code must be a 3 digit integer";
    for wrong in ["", "20 OK", "2000 OK", " 200 OK", "99", "1000", "OK"] {
        assert_eq!(raises(&format!("'{wrong}', []")), format!("{digits}: b'{wrong}'"));
    }
    let space = "ValueError: no space following status code";
    assert_eq!(raises("'200-OK', []"), format!("{space}: b'200-OK'"));
    assert_eq!(raises("'200\\tOK', []"), format!("{space}: b'200\\tOK'"));
    let control = "ValueError: control character in status reason phrase";
    assert_eq!(raises("'200 O\\nK', []"), format!("{control}: b'200 O\\nK'"));
    assert_eq!(raises("'200 O\\x7f', []"), format!("{control}: b'200 O\\x7f'"));
}

#[test]
fn d14_nul_is_refused() {
    assert_eq!(
        raises("'200 OK\\0\\r\\nX: 1', []"),
        "ValueError: control character in status reason phrase: b'200 OK\\x00\\r\\nX: 1'"
    );
    assert_eq!(
        raises("'200 OK', [('X\\0Y', '')]"),
        "ValueError: control character in header name: b'X\\x00Y'"
    );
    assert_eq!(
        raises("'200 OK', [('X', 'b\\0c')]"),
        "ValueError: control character in header value: b'b\\x00c'"
    );
}

#[test]
fn d17_statuses_that_end_no_response_are_refused() {
    for status in ["000 X", "100 Continue", "101 Switching Protocols", "199 X", "600 X", "999 X"] {
        assert_eq!(
            raises(&format!("'{status}', []")),
            format!("ValueError: status code must be between 200 and 599: b'{status}'")
        );
    }
}

#[test]
fn headers() {
    let pair = "each header must be a 2-tuple";
    assert_eq!(raises("'200 OK', [['A', 'b']]"), format!("TypeError: {pair}, not list"));
    assert_eq!(raises("'200 OK', ['Ab']"), format!("TypeError: {pair}, not str"));
    assert_eq!(raises("'200 OK', [None]"), format!("TypeError: {pair}, not NoneType"));
    assert_eq!(raises("'200 OK', [('A',)]"), format!("ValueError: {pair}, got length 1"));
    assert_eq!(raises("'200 OK', [(1, 2, 3)]"), format!("ValueError: {pair}, got length 3"));
    assert_eq!(raises("'200 OK', [('A', b'b')]"), "TypeError: must be str, not bytes");
    assert_eq!(raises("'200 OK', [(None, 'b')]"), "TypeError: must be str, not NoneType");
    assert!(raises("'200 OK', [('A', '\\u20ac')]").starts_with("UnicodeEncodeError: 'latin-1'"));
    assert!(raises("'200 OK', [('\\u0100', 'b')]").starts_with("UnicodeEncodeError: 'latin-1'"));
    assert_eq!(raises("'200 OK', [('', 'b')]"), "ValueError: header name is empty");
    let name = "in header name";
    assert_eq!(
        raises("'200 OK', [('A\\tB', '')]"),
        format!("ValueError: control character {name}: b'A\\tB'")
    );
    assert_eq!(
        raises("'200 OK', [('A B', '')]"),
        format!("ValueError: space character {name}: b'A B'")
    );
    for wrong in ["X-A:", "X-(a)", "\\xe9"] {
        assert_eq!(
            raises(&format!("'200 OK', [('{wrong}', '')]")),
            format!("ValueError: invalid character {name}: b'{wrong}'")
        );
    }
    let newline = "ValueError: carriage return/line feed character in header value";
    assert_eq!(raises("'200 OK', [('A', 'b\\rc')]"), format!("{newline}: b'b\\rc'"));
    assert_eq!(raises("'200 OK', [('A', 'b\\n c')]"), format!("{newline}: b'b\\n c'"));
    let control = "ValueError: control character in header value";
    assert_eq!(raises("'200 OK', [('A', '\\x01')]"), format!("{control}: b'\\x01'"));
    assert_eq!(raises("'200 OK', [('A', '\\t \\xff')]"), "nothing");
}

#[test]
fn d29_content_length_is_checked_at_once() {
    for wrong in ["+5", " 5", "", "abc", "-1", "5 ", "1.0", "99999999999999999999"] {
        assert_eq!(
            raises(&format!("'200 OK', [('content-length', '{wrong}')]")),
            format!("ValueError: invalid Content-Length header value: '{wrong}'")
        );
    }
    assert_eq!(raises("'200 OK', [('Content-Length', '0')]"), "nothing");
}

#[test]
fn subclasses_of_list_tuple_and_str_are_fine() {
    let answer = get("class L(list): pass\n\
         class T(tuple): pass\n\
         class S(str): pass\n\
         def application(environ, start_response):\n    \
             start_response(S('201 Made'), L([T((S('X-A'), S('b')))]))\n    \
             return []\n");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("x-a").unwrap(), "b");
}

#[test]
fn the_reason_phrase_is_the_applications() {
    for (status, reason) in [
        ("200 OK", Some("OK")),
        ("200 Fine and dandy", Some("Fine and dandy")),
        ("200 Error", Some("Error")),
        ("200", None),
        ("200 ", Some("")),
    ] {
        let answer = get(&format!(
            "def application(environ, start_response):\n    \
                 start(start_response, status='{status}')\n    \
                 return [b'x']\n"
        ));
        let head = answer.head.unwrap();
        assert_eq!(head.reason(), reason.map(str::as_bytes), "{status}");
    }
}

#[test]
fn headers_keep_order_spelling_duplicates_and_bytes() {
    let answer = get("def application(environ, start_response):\n    \
         headers = [('X-D', '1'), ('set-cookie', 'a'), ('Set-Cookie', 'b'), ('x-d', '\\xff '),\n        \
             ('Status', '404 Not Found'), ('Location', '/x'), ('Date', 'now')]\n    \
         start_response('200 OK', headers)\n    \
         headers[0] = ('X-D', 'changed')\n    \
         headers.append(('X-Late', '1'))\n    \
         return [b'x']\n");
    let expected = [
        ("X-D", "1"),
        ("set-cookie", "a"),
        ("Set-Cookie", "b"),
        ("x-d", "\u{ff} "),
        ("Status", "404 Not Found"),
        ("Location", "/x"),
        ("Date", "now"),
        ("Content-Length", "1"),
    ];
    let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    assert_eq!(answer.headers(), expected);
}

#[test]
fn of_content_length_and_content_type_the_last_one_counts() {
    let answer = get("def application(environ, start_response):\n    \
         return start(start_response, ('Content-Type', 'a/b'), ('Content-Length', '9'),\n        \
             ('content-type', 'c/d'), ('content-length', '2')) and [b'xyz']\n");
    let expected = [("content-type", "c/d"), ("Content-Length", "2")];
    let expected: Vec<_> = expected.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    assert_eq!(answer.headers(), expected);
    assert_eq!(answer.text(), "xy");
}

#[test]
fn d17_hop_by_hop_headers_are_dropped() {
    let answer = get("def application(environ, start_response):\n    \
         start(start_response, ('Transfer-Encoding', 'chunked'), ('Connection', 'keep-alive'),\n        \
             ('Keep-Alive', '5'), ('TE', 'x'), ('Trailer', 'x'), ('Upgrade', 'h2c'),\n        \
             ('X-A', 'b'))\n    \
         return [b'x']\n");
    let names: Vec<_> = answer.headers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["X-A", "Content-Length"]);
    let text = "Dropped hop-by-hop response header 'Upgrade' set by the application.";
    assert_eq!((answer.log[0].0, answer.logged()), (Level::Info, vec![text]));
    let answer = get("def application(environ, start_response):\n    \
         start(start_response, ('connection', 'Close'))\n    \
         return [b'x']\n");
    assert_eq!(answer.header("connection").unwrap(), "close");
    assert_eq!(answer.log, []);
}

#[test]
fn d13_a_second_call_needs_exc_info() {
    let text = "RuntimeError: start_response() called more than once without exc_info";
    let answer = get("def application(environ, start_response):\n    \
         start_response('200 OK', [])\n    \
         start_response('201 Made', [])\n    \
         return [b'x']\n");
    assert_eq!((answer.kind, answer.status, answer.raised()), (Kind::Failed, 500, text));
    // One that was refused does not count.
    let answer = get("def application(environ, start_response):\n    \
         try:\n        \
             start_response('2000 OK', [])\n    \
         except ValueError:\n        \
             start_response('201 Made', [])\n    \
         return [b'x']\n");
    assert_eq!(answer.status, 201);
}

#[test]
fn exc_info_replaces_what_was_not_sent() {
    let answer = get("import sys\n\
         def application(environ, start_response):\n    \
             try:\n        \
                 start_response('200 OK', [('X-A', '1')])\n        \
                 1 / 0\n    \
             except ZeroDivisionError:\n        \
                 start_response('500 Oops', [('X-B', '2')], sys.exc_info())\n    \
             return [b'x']\n");
    assert_eq!((answer.kind, answer.status), (Kind::Collected, 500));
    assert_eq!((answer.header("X-A"), answer.header("X-B").unwrap()), (None, "2".into()));
    assert_eq!(answer.log, []);
}

#[test]
fn exc_info_is_raised_again_once_the_head_was_sent() {
    let source = |exc_info: &str| {
        format!(
            "import sys\n\
             def application(environ, start_response):\n    \
                 start_response('200 OK', [])(b'x')\n    \
                 try:\n        \
                     1 / 0\n    \
                 except ZeroDivisionError:\n        \
                     tb = sys.exc_info()[2]\n        \
                     start_response('500 Oops', [], {exc_info})\n    \
                 return []\n"
        )
    };
    let raised = |exc_info: &str| {
        let answer = get(&source(exc_info));
        assert_eq!((answer.kind, answer.status, answer.text()), (Kind::Truncated, 200, "x".into()));
        answer
    };
    let answer = raised("sys.exc_info()");
    assert_eq!(answer.raised(), "ZeroDivisionError: division by zero");
    // With its own traceback.
    assert!(answer.logged().iter().any(|line| line.contains("line 5, in application")));
    assert_eq!(raised("(ValueError, ValueError('q'), None)").raised(), "ValueError: q");
    assert_eq!(raised("(ValueError, 'v', tb)").raised(), "ValueError: v");
    assert_eq!(raised("(ValueError, None, None)").raised(), "ValueError");
    assert_eq!(raised("(ValueError, ValueError('q'), 3)").raised(), "ValueError: q");
    let text = "TypeError: exceptions must derive from BaseException";
    for wrong in ["(1, 2, 3)", "(None, None, None)", "(int, 5, None)"] {
        assert_eq!(raised(wrong).raised(), text);
    }
    let text = "TypeError: function takes exactly 3 arguments (2 given)";
    assert_eq!(raised("(1, 2)").raised(), text);
}

#[test]
fn the_adapter_behind_start_response() {
    let source = "def application(environ, start_response):\n    \
         global out\n    \
         adapter = start_response.__self__\n    \
         out = [type(adapter).__module__ + '.' + type(adapter).__name__,\n        \
             [name for name in dir(adapter) if not name.startswith('_')],\n        \
             adapter.ssl_is_https(), adapter.ssl_var_lookup('SSL_PROTOCOL'),\n        \
             adapter.ssl_var_lookup(b'\\xff')]\n    \
         for wrong in (1, '\\u20ac', None):\n        \
             try:\n            \
                 adapter.ssl_var_lookup(wrong)\n        \
             except TypeError as error:\n            \
                 out.append(str(error))\n    \
         try:\n        \
             type(adapter)()\n    \
         except TypeError as error:\n        \
             out.append(str(error))\n    \
         write = adapter.start_response('200 OK', [])\n    \
         out.append(write.__self__ is adapter)\n    \
         return []\n";
    let names = "['ssl_is_https', 'ssl_var_lookup', 'start_response', 'write']";
    let errors = "'ssl_var_lookup() argument must be bytes, not int', \
         'ssl_var_lookup() argument must be bytes or a latin-1 str', \
         'ssl_var_lookup() argument must be bytes, not NoneType', \
         \"cannot create 'mod_wsgi.Adapter' instances\"";
    let answer = get(source);
    assert_eq!(
        answer.eval("out"),
        format!("['mod_wsgi.Adapter', {names}, 0, None, None, {errors}, True]")
    );
    let mut tls = case(source);
    tls.host.https = true;
    tls.host.ssl = Some(vec![("SSL_PROTOCOL".into(), "TLSv1.3".into())]);
    assert_eq!(
        tls.serve().eval("out"),
        format!("['mod_wsgi.Adapter', {names}, 1, 'TLSv1.3', '', {errors}, True]")
    );
}

#[test]
fn write_sends_at_once() {
    let answer = get("def application(environ, start_response):\n    \
         write = start_response('200 OK', [('X-A', 'b')])\n    \
         global result\n    \
         result = write(b'one'), write(b''), write(b'two')\n    \
         return [b'three']\n");
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "onetwothree".into()));
    let chunk = |head, body: &[u8], flags| Call::Respond { head, body: body.to_vec(), flags };
    assert_eq!(
        answer.calls,
        [
            chunk(true, b"one", Flags::FLUSH),
            chunk(false, b"two", Flags::FLUSH),
            chunk(false, b"three", Flags::FLUSH),
            chunk(false, b"", Flags::END),
        ]
    );
    assert_eq!(answer.eval("result"), "(None, None, None)");
    assert_eq!(answer.header("content-length"), None);
}

#[test]
fn d19_an_empty_write_commits_nothing() {
    let answer = get("import sys\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])(b'')\n    \
             try:\n        \
                 1 / 0\n    \
             except ZeroDivisionError:\n        \
                 start_response('500 Oops', [], sys.exc_info())(b'')\n    \
             return [b'x']\n");
    assert_eq!((answer.kind, answer.status), (Kind::Collected, 500));
    let answer = get("def application(environ, start_response):\n    \
         start_response('200 OK', [])(b'')\n    \
         raise ValueError\n");
    assert_eq!((answer.kind, answer.status), (Kind::Failed, 500));
}

#[test]
fn write_arguments() {
    let answer = get("def application(environ, start_response):\n    \
         write = start_response('200 OK', [])\n    \
         global out\n    \
         out = []\n    \
         for args, kwargs in [((), {}), ((b'', b''), {}), (('x',), {}), ((bytearray(b'x'),), {}),\n            \
                 ((memoryview(b'x'),), {}), ((), {'data': b'x'})]:\n        \
             try:\n            \
                 write(*args, **kwargs)\n        \
             except TypeError as error:\n            \
                 out.append(str(error))\n    \
         return []\n");
    assert_eq!(
        answer.eval("'|'.join(out)"),
        "write() takes exactly 1 argument (0 given)|write() takes exactly 1 argument (2 given)|\
         write() argument must be bytes, not str|write() argument must be bytes, not bytearray|\
         write() argument must be bytes, not memoryview|write() takes no keyword arguments"
    );
    assert_eq!(answer.kind, Kind::Collected);
}

#[test]
fn write_keeps_to_content_length() {
    let answer = get("def application(environ, start_response):\n    \
         write = start(start_response, ('Content-Length', '5'))\n    \
         write(b'123')\n    \
         write(b'456')\n    \
         write(b'789')\n    \
         return [b'0']\n");
    assert_eq!((answer.kind, answer.text()), (Kind::Sent, "12345".into()));
    assert_eq!(answer.logged(), ["Content length mismatch, expected 5, response generated 10."]);
    assert_eq!((answer.log[0].0, answer.log[0].2), (Level::Warning, 1001));
}

#[test]
fn d31_a_failed_write_raises_what_sockets_raise() {
    let source = "def application(environ, start_response):\n    \
         write = start_response('200 OK', [])\n    \
         global out\n    \
         out = []\n    \
         for _ in range(2):\n        \
             try:\n            \
                 write(b'x')\n        \
             except OSError as error:\n            \
                 out.append((type(error).__name__, str(error), error.errno))\n    \
         return [b'rest']\n";
    let mut client_gone = case(source);
    client_gone.host.write_fault = Some((0, gone()));
    let answer = client_gone.serve();
    let error = "('BrokenPipeError', 'mod_wsgi client connection closed', 32)";
    assert_eq!(answer.eval("out"), format!("[{error}, {error}]"));
    assert_eq!((answer.kind, answer.status), (Kind::Truncated, 200));
    assert_eq!(answer.logged(), ["Client closed connection."]);

    let mut slow = case(source);
    let text = "The timeout specified has expired";
    slow.host.write_fault = Some((1, Fault::new(FaultKind::Timeout, text)));
    let answer = slow.serve();
    let error = format!("('TimeoutError', 'mod_wsgi failed to write response data: {text}', 110)");
    assert_eq!(answer.eval("out"), format!("[{error}]"));

    let mut other = case(source);
    other.host.write_fault = Some((0, Fault::new(FaultKind::Other, "Broken").with_errno(71)));
    let error = "('OSError', 'mod_wsgi failed to write response data: Broken', 71)";
    assert_eq!(other.serve().eval("out"), format!("[{error}, {error}]"));
}

#[test]
fn d40_the_status_that_was_sent_stays() {
    let mut case = case(
        "def application(environ, start_response):\n    \
         write = start_response('203 Mine', [])\n    \
         write(b'x')\n    \
         write(b'y')\n    \
         return []\n",
    );
    case.host.write_fault = Some((1, gone()));
    let answer = case.serve();
    assert_eq!((answer.kind, answer.status, answer.summary.status), (Kind::Truncated, 203, 203));
    assert_eq!(answer.raised(), "BrokenPipeError: mod_wsgi client connection closed");
}

#[test]
fn after_the_request() {
    let answer = get("def application(environ, start_response):\n    \
         global start, write, adapter\n    \
         start = start_response\n    \
         adapter = start_response.__self__\n    \
         write = start_response('200 OK', [])\n    \
         return []\n\
         def after(f, *args):\n    \
             try:\n        \
                 f(*args)\n    \
             except RuntimeError as error:\n        \
                 return str(error)\n");
    for (call, name) in [
        ("start", "start_response"),
        ("start, '200 OK', []", "start_response"),
        ("write, b'x'", "write"),
        ("write, b''", "write"),
        ("adapter.ssl_is_https", "ssl_is_https"),
        ("adapter.ssl_var_lookup, 'X'", "ssl_var_lookup"),
    ] {
        assert_eq!(
            answer.eval(&format!("after({call})")),
            format!("{name}() called after request completed")
        );
    }
}
