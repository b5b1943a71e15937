//! What an application finds in `environ`.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Case, Mock, attach, case, eval, exec, get, state};
use wsgi_core::{Request, Value};

/// Keeps `environ` for the test to look at.
const KEEP: &str = "def application(environ, start_response):\n    \
     global env\n    \
     env = dict(environ)\n    \
     start_response('200 OK', [])\n    \
     return []\n";

#[test]
fn a_plain_dict_with_the_keys_of_the_pep() {
    let answer = get("def application(environ, start_response):\n    \
         global env, kind\n    \
         kind = type(environ)\n    \
         env = environ\n    \
         start_response('200 OK', [])\n    \
         return []\n");
    assert_eq!(answer.eval("kind is dict"), "True");
    assert_eq!(answer.eval("env['wsgi.version']"), "(1, 0)");
    assert_eq!(answer.eval("env['wsgi.url_scheme']"), "http");
    for name in ["multithread", "multiprocess", "run_once"] {
        assert_eq!(answer.eval(&format!("env['wsgi.{name}'] is False")), "True");
    }
    assert_eq!(answer.eval("env['wsgi.input_terminated'] is True"), "True");
    assert_eq!(answer.eval("type(env['wsgi.input'])"), "<class 'mod_wsgi.Input'>");
    assert_eq!(answer.eval("env['wsgi.file_wrapper']"), "<class 'mod_wsgi.FileWrapper'>");
    let errors = "<_io.TextIOWrapper name='<wsgi.errors>' encoding='utf-8'>";
    assert_eq!(answer.eval("env['wsgi.errors']"), errors);
    assert_eq!(answer.eval("env['mod_wsgi.version']"), "(6, 1, 1)");
    assert_eq!(answer.eval("len(env)"), "10");
}

#[test]
fn flags_are_what_the_server_says() {
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        exec(py, &globals, KEEP);
        let app = globals.dict_get(c"application").unwrap().unwrap();
        for bits in 0..16 {
            let bit = |n: u32| bits >> n & 1 == 1;
            let request: Request<'_> = Request {
                https: bit(0),
                multithread: bit(1),
                multiprocess: bit(2),
                run_once: bit(3),
                ..Request::default()
            };
            // Often enough to go through the caches.
            for _ in 0..4 {
                wsgi_core::serve(py, &state, &app, &request, &mut Mock::default());
                let found = eval(
                    py,
                    &globals,
                    "[env['wsgi.url_scheme'] == 'https', env['wsgi.multithread'], \
                     env['wsgi.multiprocess'], env['wsgi.run_once']]",
                );
                let expected = [bit(0), bit(1), bit(2), bit(3)]
                    .map(|bit| if bit { "True" } else { "False" })
                    .join(", ");
                assert_eq!(found, format!("[{expected}]"));
            }
        }
    });
}

#[test]
fn values_are_latin_1_and_files_are_decoded_as_files() {
    let answer = case(KEEP)
        .env("PATH_INFO", b"/\xe9\xff\n")
        .env("HTTP_X", b"\xc3\xa9")
        .env("QUERY_STRING", b"")
        .env("SCRIPT_FILENAME", "/srv/\u{e9}.wsgi")
        .env("DOCUMENT_ROOT", b"/srv/\xff")
        .serve();
    assert_eq!(answer.eval("ascii(env['PATH_INFO'])"), "'/\\xe9\\xff\\n'");
    assert_eq!(answer.eval("ascii(env['HTTP_X'])"), "'\\xc3\\xa9'");
    assert_eq!(answer.eval("repr(env['QUERY_STRING'])"), "''");
    assert_eq!(answer.eval("env['SCRIPT_FILENAME'] == '/srv/\\xe9.wsgi'"), "True");
    assert_eq!(answer.eval("ascii(env['DOCUMENT_ROOT'])"), "'/srv/\\udcff'");
}

#[test]
fn names_that_applications_do_not_get() {
    let answer = case(KEEP)
        .env("mod_wsgi.x-secret", "1")
        .env("mod_wsgi.custom", "2")
        .env("HTTP_X", "3")
        .serve();
    let names = answer.eval("sorted(name for name in env if env[name] in ('1', '2', '3'))");
    assert_eq!(names, "['HTTP_X', 'mod_wsgi.custom']");
    let mut broken = case(KEEP);
    broken.environ.push((b"HTTP_\xff".to_vec(), b"x".to_vec()));
    broken.environ.push((b"".to_vec(), b"empty".to_vec()));
    let answer = broken.serve();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.eval("[name for name in env if 'wsgi.' not in name]"), "['']");
}

#[test]
fn the_server_wins_over_what_was_configured_and_later_entries_over_earlier() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(py, &globals, KEEP);
        // Often enough to go through the caches.
        for _ in 0..4 {
            let mut request = Case::default().env("A", "1").env("A", "2");
            for name in ["version", "url_scheme", "multithread", "input", "errors", "file_wrapper"]
            {
                request = request.env(&format!("wsgi.{name}"), "x");
            }
            request.env("mod_wsgi.version", "x").serve_in(py, &globals);
            let found = eval(py, &globals, "[n for n in env if env[n] == 'x'], env['A']");
            assert_eq!(found, "([], '2')");
            assert_eq!(eval(py, &globals, "env['mod_wsgi.version']"), "(6, 1, 1)");
        }
    });
}

#[test]
fn typed_entries() {
    let mut place = 7_u8;
    let pointer = (&raw mut place).cast();
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        exec(py, &globals, KEEP);
        let app = globals.dict_get(c"application").unwrap().unwrap();
        let extra = [
            ("a.none", Value::None),
            ("a.bool", Value::Bool(true)),
            ("a.int", Value::Int(-3)),
            ("a.float", Value::Float(0.5)),
            ("a.latin1", Value::Latin1(b"\xe9")),
            ("a.str", Value::Str("\u{20ac}")),
            ("a.version", Value::Version([2, 4, 71])),
            ("a.pointer", Value::Pointer(pointer)),
            ("SERVER_NAME", Value::Str("wins")),
        ];
        let environ: &[(&[u8], &[u8])] = &[(b"SERVER_NAME", b"loses")];
        let request: Request<'_> = Request { environ, extra: &extra, ..Request::default() };
        for _ in 0..4 {
            wsgi_core::serve(py, &state, &app, &request, &mut Mock::default());
            let found = eval(
                py,
                &globals,
                "[env['a.' + n] for n in 'none bool int float latin1 str \
                 version'.split()]",
            );
            assert_eq!(found, "[None, True, -3, 0.5, '\u{e9}', '\u{20ac}', (2, 4, 71)]");
            assert_eq!(eval(py, &globals, "type(env['a.pointer']).__name__"), "PyCapsule");
            assert_eq!(eval(py, &globals, "env['SERVER_NAME']"), "wins");
        }
        // NULL is no capsule: the request fails, and says so.
        let extra = [("a.pointer", Value::Pointer(std::ptr::null_mut()))];
        let request: Request<'_> = Request { extra: &extra, ..Request::default() };
        let mut host = Mock::default();
        let served = wsgi_core::serve(py, &state, &app, &request, &mut host);
        assert_eq!(served.outcome.status(), 500);
        assert!(host.log[0].3.starts_with("ValueError exception raised"));
    });
}

/// Requests that look alike go through a cache of dictionaries; nothing may leak through it.
#[test]
fn like_requests_share_no_values() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "def application(environ, start_response):\n    \
                 global env\n    \
                 env = {k: v for k, v in environ.items() if 'wsgi.' not in k}\n    \
                 environ.clear()\n    \
                 environ['HTTP_COOKIE'] = 'left behind'\n    \
                 start_response('200 OK', [])\n    \
                 return []\n",
        );
        for i in 0..50 {
            // Kept values change, too, and go back and forth.
            let name = if i % 3 == 0 { "a.test" } else { "b.test" };
            let pairs = [
                ("SERVER_NAME", name.to_owned()),
                ("HTTP_COOKIE", format!("session={i}")),
                ("HTTP_AUTHORIZATION", format!("Basic {i}")),
                ("SCRIPT_NAME", "x".repeat(if i % 5 == 0 { 300 } else { 3 })),
                ("HTTP_X_NEW", i.to_string()),
            ];
            // The last one is there every other time.
            let count = 4 + i % 2;
            let mut request = Case::default();
            for (name, value) in &pairs[..count] {
                request = request.env(name, value);
            }
            request.serve_in(py, &globals);
            let found = eval(py, &globals, "sorted(env.items())");
            let mut expected: Vec<_> =
                pairs[..count].iter().map(|(n, v)| format!("('{n}', '{v}')")).collect();
            expected.sort();
            assert_eq!(found, format!("[{}]", expected.join(", ")));
        }
    });
}

/// A shape remembers a value that comes twice; each request must see its own all the same.
#[test]
fn values_that_repeat_are_those_of_the_request() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "def application(environ, start_response):\n    \
                 global env\n    \
                 env = [environ[n] for n in names]\n    \
                 for name in names: environ[name] = 'left behind'\n    \
                 start_response('200 OK', [])\n    \
                 return []\n\
             names = 'HTTP_HOST HTTP_ACCEPT HTTP_COOKIE REMOTE_ADDR SCRIPT_FILENAME'.split()\n",
        );
        let mut seed = 1_u32;
        for _ in 0..300 {
            let mut request = Case::default();
            let mut expected = Vec::new();
            for name in
                ["HTTP_HOST", "HTTP_ACCEPT", "HTTP_COOKIE", "REMOTE_ADDR", "SCRIPT_FILENAME"]
            {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Three values, of which the last is empty, so that many come twice and more.
                let value = ["a/b.example", "a/c.example", ""][(seed >> 16) as usize % 3];
                request = request.env(name, value);
                expected.push(format!("'{value}'"));
            }
            request.serve_in(py, &globals);
            assert_eq!(eval(py, &globals, "env"), format!("[{}]", expected.join(", ")));
        }
    });
}

/// Extra entries may change, too, and a number is not a text.
#[test]
fn extra_entries_that_repeat_are_those_of_the_request() {
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        exec(py, &globals, KEEP);
        let app = globals.dict_get(c"application").unwrap().unwrap();
        let nan = Value::Float(f64::NAN);
        let values =
            [Value::Int(1), Value::Float(1.0), Value::Latin1(b"1"), Value::Bool(true), nan];
        let shown = ["1", "1.0", "'1'", "True", "nan"];
        for i in [0, 0, 0, 1, 1, 1, 0, 2, 2, 2, 1, 3, 3, 0, 4, 4, 4, 0, 1, 2, 3, 0, 0] {
            let extra = [("x.value", values[i]), ("DOCUMENT_ROOT", Value::Latin1(b"\xe9"))];
            let request: Request<'_> = Request { extra: &extra, ..Request::default() };
            wsgi_core::serve(py, &state, &app, &request, &mut Mock::default());
            assert_eq!(eval(py, &globals, "repr(env['x.value'])"), shown[i]);
            assert_eq!(eval(py, &globals, "ascii(env['DOCUMENT_ROOT'])"), "'\\xe9'");
        }
    });
}

#[test]
fn any_number_of_names_is_served() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(py, &globals, KEEP);
        for round in 0..30 {
            let mut request = Case::default();
            for i in 0..40 {
                let long = "X".repeat(if i == 7 { 200 } else { 1 });
                request = request.env(&format!("HTTP_{long}_{round}_{i}"), format!("{i}"));
            }
            let answer = request.serve_in(py, &globals);
            assert_eq!(answer.status, 200);
            let total = "sum(int(v) for k, v in env.items() if k.startswith('HTTP_'))";
            assert_eq!(eval(py, &globals, total), "780");
        }
    });
}

#[test]
fn threads_build_at_the_same_time() {
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            std::thread::spawn(move || {
                attach(|py| {
                    let globals = py.dict().unwrap();
                    exec(py, &globals, KEEP);
                    exec(py, &globals, "import sys; sys.setswitchinterval(1e-5)");
                    for i in 0..200 {
                        let value = format!("{thread}-{i}");
                        let mut request = Case::default()
                            .env("SERVER_NAME", &value)
                            .env("HTTP_COOKIE", &value)
                            .env("HTTP_X", &value);
                        request.serve_in(py, &globals);
                        let names = "env['SERVER_NAME'] == env['HTTP_COOKIE'] == env['HTTP_X']";
                        assert_eq!(eval(py, &globals, names), "True");
                        assert_eq!(eval(py, &globals, "env['HTTP_X']"), value);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(py, &globals, "import sys; sys.setswitchinterval(0.005)");
    });
}

#[test]
#[should_panic(expected = "state of another interpreter")]
fn a_state_of_another_interpreter_is_refused() {
    attach(|py| {
        let (state, _) = state(py);
        // SAFETY: the token is a lie, but the function gives up before it uses it.
        let wrong = unsafe { py::Token::assume(py::InterpreterId::from_raw(77)) };
        let _ = Arc::clone(&state).file_wrapper(wrong);
    });
}
