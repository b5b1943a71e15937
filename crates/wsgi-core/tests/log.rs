//! `wsgi.errors`, the standard streams, and where text goes.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Mock, attach, case, eval, exec, get, state};
use wsgi_core::{Config, Level, Record, Request, ServerLog, State, Style};

/// What is logged by these statements with `e`, the `wsgi.errors`, and standard streams `out` and
/// `err`.
fn logged(statements: &str) -> Vec<String> {
    let answer = run(statements);
    assert!(answer.log.iter().all(|l| (l.0, l.1, l.2) == (Level::Error, Style::Message, 0)));
    answer.logged().into_iter().map(str::to_owned).collect()
}

fn run(statements: &str) -> common::Answer {
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        let stream = |name| state.stream(py, name).unwrap();
        globals.dict_set(c"out", &stream("<stdout>")).unwrap();
        globals.dict_set(c"err", &stream("<stderr>")).unwrap();
        exec(
            py,
            &globals,
            &format!(
                "import sys, threading, warnings\n\
                 def t(f):\n    \
                     try:\n        return f()\n    \
                     except BaseException as error:\n        \
                         return f'{{type(error).__name__}}: {{error}}'\n\
                 def application(environ, start_response):\n    \
                     global e, b, result\n    \
                     e = environ['wsgi.errors']\n    \
                     b = e.buffer\n    \
                     result = None\n    \
                     {statements}\n    \
                     start_response('200 OK', [])\n    \
                     return []\n"
            ),
        );
        common::Case::default().serve_in(py, &globals)
    })
}

#[test]
fn an_entry_per_line() {
    assert_eq!(logged("e.write('one\\ntwo\\n')"), ["one", "two"]);
    assert_eq!(logged("e.write('one\\n\\ntwo\\n')"), ["one", "", "two"]);
    assert_eq!(logged("e.write('o'); e.write('ne\\n')"), ["one"]);
    assert_eq!(logged("e.write('one'); e.flush(); e.write('two\\n')"), ["one", "two"]);
    assert_eq!(logged("e.write('the end')"), ["the end"]);
    assert_eq!(logged("e.flush(); e.write('')"), [""; 0]);
    // A line's end makes the text stream flush.
    assert_eq!(logged("e.write('a\\nb'); e.write('c\\n')"), ["a", "b", "c"]);
    assert_eq!(logged("print('x', 1, file=e)"), ["x 1"]);
    assert_eq!(logged("e.writelines(['a', 'b\\n', 'c'])"), ["ab", "c"]);
}

#[test]
fn the_streams_of_a_request_share_a_line() {
    assert_eq!(logged("e.write('p1 '); out.write('p2 '); err.write('p3\\n')"), ["p1 p2 p3"]);
    assert_eq!(logged("out.write('o'); e.flush(); err.write('e')"), ["o", "e"]);
}

#[test]
fn what_is_not_ascii() {
    assert_eq!(logged("e.write('\\u20ac \\udcff\\t\\x1b\\n')"), ["\u{20ac} ?\t\x1b"]);
}

#[test]
fn d32_long_lines_and_what_is_behind_a_nul_are_kept() {
    let lines = logged("e.write('x' * 20000 + '\\0' + 'y\\n')");
    assert!(lines.len() > 2 && lines.iter().all(|line| line.len() < 8000));
    assert_eq!(lines.concat(), "x".repeat(20000) + "\\x00y");
    // Not held back without bound either.
    let lines = logged("[e.write('z' * 1000) for _ in range(50)]");
    assert_eq!((lines.len() > 5, lines.concat()), (true, "z".repeat(50_000)));
}

#[test]
fn the_text_stream() {
    let answer = run("result = (repr(e), e.name, e.encoding, e.errors, e.line_buffering, \
         e.write_through, e.closed, e.isatty(), e.readable(), e.seekable(), e.writable())");
    assert_eq!(
        answer.eval("result"),
        "(\"<_io.TextIOWrapper name='<wsgi.errors>' encoding='utf-8'>\", '<wsgi.errors>', 'utf-8', \
         'replace', True, True, False, False, False, False, True)"
    );
    let answer =
        run("result = [t(e.fileno), t(e.read), t(lambda: e.write(b'x')), out.name, err.name]");
    assert_eq!(
        answer.eval("result"),
        "['OSError: wsgi.errors log object has no file descriptor', \
         'UnsupportedOperation: not readable', \
         'TypeError: write() argument must be str, not bytes', '<stdout>', '<stderr>']"
    );
}

#[test]
fn the_buffer() {
    let answer = run("result = ([n for n in dir(b) if not n.startswith('_')], b.closed, b.name, \
         b.encoding, b.errors, b.isatty(), b.readable(), b.seekable(), b.writable(), b.close, )[:9]");
    assert_eq!(
        answer.eval("result"),
        "(['close', 'closed', 'encoding', 'errors', 'fileno', 'flush', 'isatty', 'name', \
         'readable', 'seekable', 'writable', 'write', 'writelines'], False, '<wsgi.errors>', \
         'utf-8', 'replace', False, False, False, True)"
    );
    let answer = run("result = [t(lambda: b.write(1)), t(lambda: b.writelines(1)), t(b.write), \
         t(lambda: b.write(data=b'')), t(lambda: b.writelines([b'a', 5])), t(lambda: type(b)())]");
    assert_eq!(
        answer.eval("'|'.join(result)"),
        "TypeError: a bytes-like object is required, not 'int'|\
         TypeError: writelines() argument must be an iterable of bytes-like objects|\
         TypeError: write() takes exactly 1 argument (0 given)|\
         TypeError: Log.write() takes no keyword arguments|\
         TypeError: a bytes-like object is required, not 'int'|\
         TypeError: cannot create 'mod_wsgi.Log' instances"
    );
    assert_eq!(answer.logged(), ["a"]);
}

#[test]
fn d32_the_buffer_counts_what_it_takes() {
    let answer = run("result = [b.write(b'ab\\n'), b.write(bytearray(b'cde\\n')), \
         b.write(memoryview(b'f\\n')), b.write(b''), b.writelines([b'g', b'h\\n'])]");
    assert_eq!(answer.eval("result"), "[3, 4, 2, 0, None]");
    assert_eq!(answer.logged(), ["ab", "cde", "f", "gh"]);
}

#[test]
fn text_to_the_buffer_is_deprecated_once() {
    let answer = run("with warnings.catch_warnings(record=True) as w:\n        \
             warnings.simplefilter('always')\n        \
             result = [b.write('\\xe9\\n'), b.write('x\\n'), [(i.category, str(i.message)) for i in w]]");
    assert_eq!(answer.raised(), "");
    let text = "Writing str to wsgi.errors.buffer / sys.stderr.buffer is deprecated; \
         write a bytes-like object instead.";
    assert_eq!(
        answer.eval("result"),
        format!("[3, 2, [(<class 'DeprecationWarning'>, '{text}')]]")
    );
    assert_eq!(answer.logged(), ["\u{e9}", "x"]);
}

#[test]
fn after_the_request() {
    let answer = run("e.write('pending')");
    assert_eq!(answer.logged(), ["pending"]);
    let text = "called on wsgi.errors after request completed";
    let write = format!("RuntimeError: write() {text}");
    assert_eq!(answer.eval("t(lambda: e.write('x'))"), write);
    assert_eq!(answer.eval("t(lambda: e.writelines(['x']))"), write);
    assert_eq!(answer.eval("t(lambda: b.write(b'x'))"), write);
    let writelines = format!("RuntimeError: writelines() {text}");
    assert_eq!(answer.eval("t(lambda: b.writelines([b'x']))"), writelines);
    assert_eq!(
        answer.eval("(e.flush(), b.flush(), e.closed, b.close())"),
        "(None, None, False, None)"
    );
}

#[test]
fn closing_ends_the_requests_log() {
    let answer = run("e.write('one'); e.close(); \
         result = [e.closed, t(lambda: e.write('x')), err.write('to the server\\n')]");
    let text = "RuntimeError: write() called on wsgi.errors after request completed";
    assert_eq!(answer.eval("result"), format!("[False, '{text}', 14]"));
    assert_eq!(answer.logged(), ["one"]);
    // Closing a standard stream in a request ends that request's log only.
    let answer = run("err.write('one'); err.close(); result = t(lambda: e.write('x'))");
    assert_eq!((answer.eval("result"), answer.logged()), (text.into(), vec!["one"]));
    assert_eq!(answer.eval("err.write('after\\n')"), "6");
    let (_, log) = attach(state);
    let texts = log.texts();
    assert!(texts.contains(&"to the server".into()) && texts.contains(&"after".into()));
}

#[test]
fn text_outside_of_requests_is_the_servers() {
    attach(|py| {
        let (state, log) = state(py);
        let globals = py.dict().unwrap();
        globals.dict_set(c"out", &state.stream(py, "<stdout>").unwrap()).unwrap();
        exec(py, &globals, "print('import time', file=out); out.write('part'); out.flush()\n");
        let texts = log.texts();
        assert!(texts.contains(&"import time".into()) && texts.contains(&"part".into()));
    });
}

#[test]
fn d32_threads_do_not_mix_their_lines() {
    let answer = run("global later; later = []\n    \
         go = threading.Event()\n    \
         def other(n):\n        \
             err.write(f'thread {n} ')\n        \
             e.write(f'captured {n} ')\n        \
             go.wait(5)\n        \
             err.write('done\\n')\n        \
             e.write('done\\n')\n        \
             err.write(f'tail {n}')\n    \
         threads = [threading.Thread(target=other, args=(n,)) for n in range(3)]\n    \
         [thread.start() for thread in threads]\n    \
         e.write('mine\\n')\n    \
         go.set()\n    \
         [thread.join() for thread in threads]");
    let mut mine = answer.logged();
    mine.sort_unstable();
    // A thread's text is the request's only where it wrote to the request's own stream.
    assert_eq!(mine, ["captured 0 done", "captured 1 done", "captured 2 done", "mine"]);
    let (_, log) = attach(state);
    for n in 0..3 {
        let done = format!("thread {n} done");
        let tail = format!("tail {n}");
        // Joined as Python sees it; the thread itself may still be about to end.
        let found = (0..500).any(|_| {
            let texts = log.texts();
            let found = texts.contains(&done) && texts.contains(&tail);
            if !found {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            found
        });
        assert!(found, "{:?}", log.texts());
    }
}

#[test]
fn streams_are_used_again_only_if_nobody_can_tell() {
    let source = |statement: &str| {
        format!(
            "kept = []\n\
             def application(environ, start_response):\n    \
                 global seen\n    \
                 e = environ['wsgi.errors']\n    \
                 seen = id(e), e.errors, e.line_buffering, hasattr(e, 'mine')\n    \
                 {statement}\n    \
                 start_response('200 OK', [])\n    \
                 return []\n"
        )
    };
    attach(|py| {
        let run = |statement: &str| {
            let globals = py.dict().unwrap();
            exec(py, &globals, &source(statement));
            let answer = common::Case::default().serve_in(py, &globals);
            (answer, eval(py, &globals, "seen[0]"), eval(py, &globals, "seen[1:]"))
        };
        for statement in [
            "kept.append(e)",
            "kept.append(e.buffer)",
            "e.reconfigure(errors='strict')",
            "e.reconfigure(line_buffering=False)",
            "e.mine = 1",
            "e.close()",
            "e.detach()",
        ] {
            let (_, _, fresh) = run(statement);
            assert_eq!(fresh, "('replace', True, False)", "before {statement}");
            let (_, _, fresh) = run("pass");
            assert_eq!(fresh, "('replace', True, False)", "after {statement}");
            let (answer, ..) = run("e.write('works\\n')");
            assert_eq!(answer.logged(), ["works"], "after {statement}");
        }
    });
}

/// Logs nothing, but finds out whether the thread is attached.
struct Never;

impl ServerLog for Never {
    fn log(&self, _: &[Record<'_>]) {
        assert!(!common::is_attached());
    }
}

#[test]
fn the_servers_log_is_called_detached() {
    attach(|py| {
        let config = Config { log: std::sync::Arc::new(Never), constants: &[] };
        let state = State::new(py, &config).unwrap();
        let globals = py.dict().unwrap();
        globals.dict_set(c"out", &state.stream(py, "<stdout>").unwrap()).unwrap();
        exec(py, &globals, "print('x', file=out)\n");
    });
}

#[test]
fn restricted_streams() {
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        globals.dict_set(c"stdin", &state.restricted(py, "sys.stdin").unwrap()).unwrap();
        exec(
            py,
            &globals,
            "def t(name):\n    \
                 try:\n        getattr(stdin, name)\n    \
                 except OSError as error:\n        return str(error)\n",
        );
        let text = "sys.stdin access restricted by mod_wsgi";
        for name in ["read", "fileno", "anything", "__class__"] {
            assert_eq!(eval(py, &globals, &format!("t('{name}')")), text);
        }
        assert_eq!(eval(py, &globals, "type(stdin).__name__"), "Restricted");
    });
}

#[test]
fn a_nested_request_has_its_own_log() {
    // As when a filter of a server runs a subrequest in the middle of a response.
    struct Nested(Mock, Vec<String>);
    impl wsgi_core::Host for Nested {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, wsgi_core::Fault> {
            self.0.read(buffer)
        }
        fn respond(
            &mut self,
            head: Option<&wsgi_core::Head>,
            chunks: &[&[u8]],
            flags: wsgi_core::Flags,
        ) -> Result<(), wsgi_core::Fault> {
            let inner = std::thread::spawn(|| {
                let answer = case(
                    "import sys\n\
                     def application(environ, start_response):\n    \
                         environ['wsgi.errors'].write('inner\\n')\n    \
                         start_response('200 OK', [])\n    \
                         return [b'inner']\n",
                )
                .serve();
                answer.logged().into_iter().map(str::to_owned).collect::<Vec<_>>()
            });
            self.1.extend(inner.join().unwrap());
            self.0.respond(head, chunks, flags)
        }
        fn send_file(
            &mut self,
            head: Option<&wsgi_core::Head>,
            file: std::os::fd::BorrowedFd<'_>,
            offset: u64,
            length: u64,
            flags: wsgi_core::Flags,
        ) -> Result<u64, wsgi_core::Fault> {
            self.0.send_file(head, file, offset, length, flags)
        }
        fn log(&mut self, records: &[Record<'_>]) {
            self.0.log(records);
        }
    }
    attach(|py| {
        let (state, _) = state(py);
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "def application(environ, start_response):\n    \
                 start_response('200 OK', [])\n    \
                 yield b'x'\n    \
                 environ['wsgi.errors'].write('outer\\n')\n",
        );
        let app = globals.dict_get(c"application").unwrap().unwrap();
        let mut host = Nested(Mock::default(), Vec::new());
        wsgi_core::serve(py, &state, &app, &<Request<'_>>::default(), &mut host);
        assert_eq!((host.1.len(), &host.1[0][..]), (2, "inner"));
        assert_eq!(host.0.log.iter().map(|line| &line.3[..]).collect::<Vec<_>>(), ["outer"]);
    });
}

#[test]
fn exceptions_of_the_application_follow_its_text() {
    let answer = get("def application(environ, start_response):\n    \
         environ['wsgi.errors'].write('first\\nunfinished')\n    \
         1 / 0\n");
    assert_eq!(answer.log[0].3, "first");
    assert_eq!(answer.log[1].2, 0);
    assert!(answer.logged().contains(&"unfinished"));
    assert_eq!(answer.status, 500);
}

/// Logs with the state while it is told what happens.
struct Talkative(std::sync::Arc<State>);

impl wsgi_core::Observer for Talkative {
    fn request_finished(&self, py: py::Token<'_>, _: &wsgi_core::Summary) {
        assert_eq!(self.0.log_level(py), Level::Info);
        let source = Some((&b"a.py"[..], 7));
        let record = Record { source, ..Record::new(Level::Debug, 0, b"in a request") };
        self.0.log(py, &[record]);
    }
}

#[test]
fn records_go_with_the_request_of_their_thread() {
    let (state, log) = attach(state);
    let mut case = case(
        "def application(environ, start_response):\n    \
         start_response('200 OK', [])\n    \
         return []\n",
    );
    case.observer = Some(std::sync::Arc::new(Talkative(state.clone())));
    let answer = case.serve();
    let expected = (Level::Debug, Style::Message, 0, "in a request".to_owned());
    assert_eq!(answer.log, [expected]);
    attach(|py| state.log(py, &[Record::new(Level::Warning, 0, b"outside")]));
    assert!(log.texts().contains(&"outside".into()));
}
