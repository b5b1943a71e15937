//! Several interpreters in one process, each with a state of its own.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Case, MemoryLog, Mock, attach, eval, exec, state};
use py::{Bound, Token, ffi};
use wsgi_core::{Config, Observer, Outcome, Request, State, Summary};

/// Runs `body` in a new interpreter, with a GIL of its own where there is such a thing.
fn in_sub_interpreter<R>(body: impl for<'py> FnOnce(Token<'py>) -> R) -> R {
    // SAFETY: attached to the main interpreter, and again at the end. The new interpreter is not
    // ended.
    unsafe {
        let main = ffi::PyThreadState_Get();
        #[cfg(not(Py_3_12))]
        let sub = ffi::Py_NewInterpreter();
        #[cfg(Py_3_12)]
        let sub = {
            let config = ffi::PyInterpreterConfig {
                use_main_obmalloc: 0,
                allow_fork: 0,
                allow_exec: 0,
                allow_threads: 1,
                allow_daemon_threads: 0,
                check_multi_interp_extensions: 1,
                gil: ffi::PyInterpreterConfig_OWN_GIL,
            };
            let mut sub = std::ptr::null_mut();
            let status = ffi::Py_NewInterpreterFromConfig(&mut sub, &config);
            assert_eq!(ffi::PyStatus_Exception(status), 0);
            sub
        };
        assert!(!sub.is_null());
        let result = body(Token::assume_current());
        ffi::PyThreadState_Swap(main);
        result
    }
}

const APP: &str = "def application(environ, start_response):\n    \
     global types, e\n    \
     e = environ['wsgi.errors']\n    \
     types = [type(environ['wsgi.input']), environ['wsgi.file_wrapper'], type(e.buffer)]\n    \
     e.write('here\\n')\n    \
     start_response('200 OK', [('X-Id', str(id(types[0])))])\n    \
     return [environ['PATH_INFO'].encode()]\n";

fn serve<'py>(
    py: Token<'py>,
    state: &Arc<State>,
    globals: &Bound<'py>,
    path: &str,
) -> (String, String) {
    let app = globals.dict_get(c"application").unwrap().unwrap();
    let environ: &[(&[u8], &[u8])] =
        &[(b"PATH_INFO", path.as_bytes()), (b"SERVER_NAME", b"a.test")];
    let request: Request<'_> = Request { environ, ..Request::default() };
    let mut host = Mock::default();
    let served = wsgi_core::serve(py, state, &app, &request, &mut host);
    assert_eq!(host.log.iter().map(|line| &line.3[..]).collect::<Vec<_>>(), ["here"]);
    match served.outcome {
        Outcome::Collected(response) => {
            let id = String::from_utf8(response.head.get("x-id").unwrap().to_vec()).unwrap();
            (String::from_utf8(response.body).unwrap(), id)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn states_share_nothing() {
    attach(|py| {
        let (main, _) = state(py);
        let mut ids = vec![serve_in_main(py, &main)];
        for _ in 0..2 {
            let id = in_sub_interpreter(|py| {
                assert_ne!(py.interpreter(), main.interpreter());
                let log = Arc::new(MemoryLog::default());
                let state = State::new(py, &Config { log: log.clone(), constants: &[] }).unwrap();
                let globals = py.dict().unwrap();
                globals.dict_set(c"out", &state.stream(py, "<stdout>").unwrap()).unwrap();
                exec(py, &globals, APP);
                let mut last = String::new();
                for i in 0..5 {
                    let (body, id) = serve(py, &state, &globals, &format!("/{i}"));
                    assert_eq!(body, format!("/{i}"));
                    last = id;
                }
                exec(py, &globals, "print('of this interpreter', file=out)");
                assert_eq!(log.texts(), ["of this interpreter"]);
                assert_eq!(
                    eval(py, &globals, "[t.__module__ for t in types]"),
                    "['mod_wsgi', 'mod_wsgi', 'mod_wsgi']"
                );
                last
            });
            ids.push(id);
        }
        ids.push(serve_in_main(py, &main));
        assert_eq!(ids[0], ids[3]);
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    });
}

fn serve_in_main(py: Token<'_>, state: &Arc<State>) -> String {
    let globals = py.dict().unwrap();
    exec(py, &globals, APP);
    serve(py, state, &globals, "/main").1
}

/// Visits another interpreter while a request runs in the main one, and prints there.
struct Visitor;

impl Observer for Visitor {
    fn request_finished(&self, _: Token<'_>, _: &Summary) {
        in_sub_interpreter(|py| {
            let log = Arc::new(MemoryLog::default());
            let state = State::new(py, &Config { log: log.clone(), constants: &[] }).unwrap();
            let globals = py.dict().unwrap();
            globals.dict_set(c"out", &state.stream(py, "<stdout>").unwrap()).unwrap();
            exec(py, &globals, "print('elsewhere', file=out)");
            assert_eq!(log.texts(), ["elsewhere"]);
        });
    }
}

#[test]
fn a_request_in_one_interpreter_is_not_the_current_one_of_another() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(py, &globals, APP);
        let mut case = Case::default().env("PATH_INFO", "/");
        case.observer = Some(Arc::new(Visitor));
        assert_eq!(case.serve_in(py, &globals).logged(), ["here"]);
    });
}
