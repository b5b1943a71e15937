//! `wsgi.input`: every method with every form of size, faults, and what comes after the request.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Kind, attach, case, exec, gone};
use proptest::prelude::*;
use wsgi_core::{Fault, FaultKind};

/// The `repr` of what an expression with `i`, the input, gives or raises; `body` arrives in these
/// pieces.
fn with_body(body: &[&[u8]], expression: &str) -> String {
    let answer = case(&format!(
        "def application(environ, start_response):\n    \
             global result\n    \
             i = environ['wsgi.input']\n    \
             try:\n        \
                 result = repr(({expression}))\n    \
             except BaseException as error:\n        \
                 result = f'{{type(error).__name__}}: {{error}}'\n    \
             start(start_response)\n    \
             return []\n"
    ))
    .body(body)
    .serve();
    assert_eq!(answer.log, []);
    answer.eval("result")
}

fn input(expression: &str) -> String {
    with_body(&[b"one\ntw", b"o\n", b"\nfour"], expression)
}

#[test]
fn read() {
    let all = "b'one\\ntwo\\n\\nfour'";
    for call in ["read()", "read(-1)", "read(-5)", "read(None)", "read(size=None)", "read(99)"] {
        assert_eq!(input(&format!("i.{call}")), all, "{call}");
    }
    assert_eq!(input("i.read(5), i.read(size=3), i.read(True)"), "(b'one\\nt', b'wo\\n', b'\\n')");
    assert_eq!(
        input("i.read(0), i.read(), i.read(), i.read(5)"),
        format!("(b'', {all}, b'', b'')")
    );
    assert_eq!(input("i.read(type('I', (), {'__index__': lambda s: 3})())"), "b'one'");
    assert_eq!(with_body(&[], "i.read(), i.read(5), i.readline(), list(i)"), "(b'', b'', b'', [])");
}

#[test]
fn readline() {
    assert_eq!(
        input("i.readline(), i.readline(-1), i.readline(None)"),
        "(b'one\\n', b'two\\n', b'\\n')"
    );
    assert_eq!(input("[i.readline(2) for _ in range(4)]"), "[b'on', b'e\\n', b'tw', b'o\\n']");
    assert_eq!(
        input("i.readline(0), i.readline(size=4), i.readline(9)"),
        "(b'', b'one\\n', b'two\\n')"
    );
    assert_eq!(input("[i.readline() for _ in range(6)][3:]"), "[b'four', b'', b'']");
}

#[test]
fn readlines_and_iteration() {
    let all = "[b'one\\n', b'two\\n', b'\\n', b'four']";
    for call in ["readlines()", "readlines(-1)", "readlines(0)", "readlines(None)"] {
        assert_eq!(input(&format!("i.{call}")), all, "{call}");
    }
    assert_eq!(input("i.readlines(4)"), "[b'one\\n']");
    assert_eq!(input("i.readlines(hint=5)"), "[b'one\\n', b'two\\n']");
    assert_eq!(input("list(i)"), all);
    assert_eq!(
        input("iter(i) is i, next(i), next(i), next(i), next(i)"),
        format!("(True, {}", &all[1..].replace(']', ")"))
    );
    assert_eq!(input("(list(i), next(i, 'end'), i.readlines())"), format!("({all}, 'end', [])"));
}

#[test]
fn wrong_arguments() {
    for method in ["read", "readline", "readlines"] {
        let index = "object cannot be interpreted as an integer";
        assert_eq!(input(&format!("i.{method}('a')")), format!("TypeError: 'str' {index}"));
        assert_eq!(input(&format!("i.{method}(1.5)")), format!("TypeError: 'float' {index}"));
        assert_eq!(
            input(&format!("i.{method}(1, 2)")),
            format!("TypeError: {method}() takes at most 1 argument (2 given)")
        );
        assert_eq!(
            input(&format!("i.{method}(10**30)")),
            "OverflowError: Python int too large to convert to C ssize_t"
        );
        assert_eq!(
            input(&format!("i.{method}(x=1)")),
            format!("TypeError: {method}() got an unexpected keyword argument 'x'")
        );
    }
}

#[test]
fn the_type() {
    assert_eq!(
        input("[name for name in dir(i) if not name.startswith('_')]"),
        "['close', 'read', 'readline', 'readlines']"
    );
    assert_eq!(input("(i.close(), i.close(), i.read(3))"), "(None, None, b'one')");
    assert_eq!(input("type(i)()"), "TypeError: cannot create 'mod_wsgi.Input' instances");
}

#[test]
fn d30_memory_is_taken_as_data_arrives() {
    assert_eq!(input("len(i.read(10**13))"), "13");
    assert_eq!(input("len(i.read(2**63 - 1))"), "13");
    let mut lying = case(
        "def application(environ, start_response):\n    \
             global result\n    \
             result = environ['wsgi.input'].read()\n    \
             start(start_response)\n    \
             return []\n",
    )
    .body(&[b"short"]);
    lying.content_length = Some(u64::MAX);
    assert_eq!(lying.serve().eval("result"), "b'short'");
}

#[test]
fn d30_none_and_keywords_are_taken() {
    assert_eq!(input("i.readline(None), i.readlines(hint=None)[0]"), "(b'one\\n', b'two\\n')");
    assert_eq!(
        input("i.read(size=2), i.readline(size=1), i.read(None)[:3]"),
        "(b'on', b'e', b'\\ntw')"
    );
}

#[test]
fn d04_lines_behind_a_very_long_line_are_whole() {
    let mut body = vec![b'a'; 100_000];
    body.push(b'\n');
    body.extend_from_slice(&[b'b'; 8500]);
    body.push(b'\n');
    body.extend_from_slice(b"rest\n");
    body.extend_from_slice(&[b'c'; 30_000]);
    for size in [8000, 8192, 65_536, 200_000] {
        let pieces: Vec<&[u8]> = body.chunks(size).collect();
        let found = with_body(&pieces, "[(len(l), l[:1], l[-1:]) for l in i]");
        let expected = "[(100001, b'a', b'\\n'), (8501, b'b', b'\\n'), (5, b'r', b'\\n'), \
             (30000, b'c', b'c')]";
        assert_eq!(found, expected);
    }
}

#[test]
fn large_bodies() {
    let body: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let pieces: Vec<&[u8]> = body.chunks(70_001).collect();
    let sum = "(lambda d: (len(d), sum(d[::1000]), d[-1]))";
    let expected = format!(
        "(3000000, {}, {})",
        body.iter().step_by(1000).map(|&b| u32::from(b)).sum::<u32>(),
        body[2_999_999]
    );
    for call in [
        "i.read()",
        "i.read(5000000)",
        "b''.join(iter(lambda: i.read(100003), b''))",
        "b''.join(i)",
    ] {
        assert_eq!(with_body(&pieces, &format!("{sum}({call})")), expected, "{call}");
    }
}

#[test]
fn reading_nothing_first_makes_the_client_continue() {
    let source = |expression: &str| {
        format!(
            "def application(environ, start_response):\n    \
                 i = environ['wsgi.input']\n    \
                 {expression}\n    \
                 start(start_response)\n    \
                 return []\n"
        )
    };
    let reads = |expression: &str| case(&source(expression)).body(&[b"abc"]).serve().reads;
    assert_eq!(reads("pass"), 0);
    assert_eq!(reads("i.read(0)"), 1);
    assert_eq!(reads("i.read(0); i.read(0)"), 1);
    assert_eq!(reads("i.read(1); i.read(0); i.read(1)"), 1);
}

#[test]
fn a_host_that_does_not_wait_is_not_waited_for() {
    let source = "def application(environ, start_response):\n    \
         global result\n    \
         result = environ['wsgi.input'].read()\n    \
         start(start_response)\n    \
         return []\n";
    let mut case = case(source).body(&[b"abc", b"def"]);
    case.host.nonblocking = true;
    let answer = case.serve();
    assert_eq!((answer.eval("result"), answer.tried), ("b'abcdef'".into(), 3));
}

fn after_fault(fault: Fault) -> String {
    let mut case = case(
        "def application(environ, start_response):\n    \
         global result\n    \
         i = environ['wsgi.input']\n    \
         result = [i.readline()]\n    \
         for method in (i.read, i.read, i.readline, i.readlines, lambda: next(i)):\n        \
             try:\n            \
                 method()\n        \
             except OSError as error:\n            \
                 result.append((type(error).__name__, error.errno, str(error)))\n    \
         start(start_response)\n    \
         return []\n",
    )
    .body(&[b"line\nrest"]);
    case.host.read_fault = Some(fault);
    let answer = case.serve();
    assert_eq!(answer.kind, Kind::Collected);
    let again = "('OSError', None, 'mod_wsgi request data read error: input is already in error \
         state')";
    let result = answer.eval("result");
    let end = format!(", {again}, {again}, {again}, {again}]");
    let first = result.strip_prefix("[b'line\\n', ").unwrap().strip_suffix(&end).unwrap();
    first.to_owned()
}

#[test]
fn d31_faults_are_what_sockets_raise() {
    let prefix = "mod_wsgi request data read error: ";
    assert_eq!(
        after_fault(gone()),
        format!(
            "('ConnectionResetError', 104, '{prefix}Partial results are valid but processing \
             is incomplete')"
        )
    );
    let fault = Fault::new(FaultKind::Timeout, "The timeout specified has expired");
    assert_eq!(
        after_fault(fault),
        format!("('TimeoutError', 110, '{prefix}The timeout specified has expired')")
    );
    let fault = Fault::new(FaultKind::TooLarge, "Request body is too large");
    assert_eq!(after_fault(fault), format!("('OSError', 27, '{prefix}Request body is too large')"));
    let fault = Fault::new(FaultKind::Malformed, "Bad chunk").with_errno(71);
    assert_eq!(after_fault(fault), format!("('OSError', 71, '{prefix}Bad chunk')"));
    let fault = Fault::new(FaultKind::Other, String::from("Odd"));
    assert_eq!(after_fault(fault), format!("('OSError', 5, '{prefix}Odd')"));
}

#[test]
fn d22_a_fault_that_the_application_lets_through_decides_the_status() {
    let source = "def application(environ, start_response):\n    \
         environ['wsgi.input'].read()\n";
    for (kind, status) in
        [(FaultKind::TooLarge, 413), (FaultKind::Malformed, 400), (FaultKind::Timeout, 408)]
    {
        let mut case = case(source);
        case.host.read_fault = Some(Fault::new(kind, "x").with_status(status));
        let answer = case.serve();
        assert_eq!((answer.kind, answer.status), (Kind::Failed, status));
        assert!(answer.raised().ends_with("Error: mod_wsgi request data read error: x"));
    }
    let mut case = case(source);
    case.host.read_fault = Some(gone());
    assert_eq!(case.serve().status, 500);
}

#[test]
fn after_the_request() {
    let answer = case(
        "def application(environ, start_response):\n    \
             global i\n    \
             i = environ['wsgi.input']\n    \
             i.readline()\n    \
             start(start_response)\n    \
             return []\n\
         def after(f):\n    \
             try:\n        \
                 f()\n    \
             except RuntimeError as error:\n        \
                 return str(error)\n",
    )
    .body(&[b"one\ntwo\n"])
    .serve();
    for method in ["read", "readline", "readlines", "close"] {
        assert_eq!(
            answer.eval(&format!("after(i.{method})")),
            format!("{method}() called on wsgi.input after request completed")
        );
    }
    let text = "iteration of wsgi.input attempted after request completed";
    assert_eq!(answer.eval("after(lambda: next(i))"), text);
    assert_eq!(answer.eval("after(lambda: iter(i))"), text);
}

/// One call of a method.
#[derive(Clone, Debug)]
enum Op {
    Read(Option<i32>),
    Readline(Option<i32>),
    Readlines(Option<i32>),
    Next,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![Just(None), (-2..40_i32).prop_map(Some), (0..30_000_i32).prop_map(Some)];
    prop_oneof![
        size.clone().prop_map(Op::Read),
        size.clone().prop_map(Op::Readline),
        size.prop_map(Op::Readlines),
        Just(Op::Next),
    ]
}

/// A body of lines, short and long, and the sizes in which it arrives.
fn body() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let line = prop_oneof![
        proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..20),
        (0..40_000_usize).prop_map(|length| vec![b'y'; length]),
        (8180..8200_usize).prop_map(|length| vec![b'z'; length]),
    ];
    let lines = proptest::collection::vec((line, any::<bool>()), 0..8).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(mut line, newline)| {
                if newline {
                    line.push(b'\n');
                }
                line
            })
            .collect()
    });
    (lines, proptest::collection::vec(1..20_000_usize, 1..6))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever the order of calls, the results are those of `io.BytesIO`.
    #[test]
    fn like_bytes_io((data, sizes) in body(), ops in proptest::collection::vec(op(), 1..20)) {
        let calls: Vec<String> = ops
            .iter()
            .map(|op| {
                let size = |size: &Option<i32>| size.map(|n| n.to_string()).unwrap_or_default();
                match op {
                    Op::Read(n) => format!("('read', ({},))", size(n)).replace("(,)", "()"),
                    Op::Readline(n) => format!("('readline', ({},))", size(n)).replace("(,)", "()"),
                    Op::Readlines(n) => format!("('readlines', ({},))", size(n)).replace("(,)", "()"),
                    Op::Next => "('__next__', ())".to_owned(),
                }
            })
            .collect();
        let source = format!(
            "import io\n\
             def run(f):\n    \
                 out = []\n    \
                 for name, args in [{}]:\n        \
                     try:\n            \
                         out.append(getattr(f, name)(*args))\n        \
                     except StopIteration:\n            \
                         out.append('stop')\n    \
                 out.append(f.read())\n    \
                 return out\n\
             def application(environ, start_response):\n    \
                 global mine\n    \
                 mine = run(environ['wsgi.input'])\n    \
                 start_response('200 OK', [])\n    \
                 return []\n",
            calls.join(", ")
        );
        let mut rest = &data[..];
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let same = attach(|py| {
            let globals = py.dict().unwrap();
            exec(py, &globals, &source);
            common::Case::default().body(&pieces).serve_in(py, &globals);
            globals.dict_set(c"data", &py.bytes(&data).unwrap()).unwrap();
            common::eval(py, &globals, "mine == run(io.BytesIO(data)) or (mine, run(io.BytesIO(data)))")
        });
        prop_assert_eq!(same, "True");
    }
}
