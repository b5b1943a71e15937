//! Who may use what for how long: threads, contexts, observers, references.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Case, Kind, attach, case, eval, exec, get, state};
use py::{Bound, Error, Token};
use wsgi_core::{Observer, Summary};

#[test]
fn d36_a_fresh_context_per_request_and_the_threads_locals() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "import contextvars, threading, decimal\n\
             var = contextvars.ContextVar('var', default='unset')\n\
             outside = contextvars.ContextVar('outside')\n\
             outside.set('import')\n\
             decimal.getcontext().prec = 50\n\
             local = threading.local()\n\
             seen = []\n\
             def application(environ, start_response):\n    \
                 seen.append((var.get(), outside.get(), getattr(local, 'n', 0)))\n    \
                 var.set('leaked')\n    \
                 local.n = getattr(local, 'n', 0) + 1\n    \
                 start_response('200 OK', [])\n    \
                 yield var.get().encode()\n    \
                 seen.append(decimal.getcontext().prec)\n",
        );
        for _ in 0..2 {
            let answer = Case::default().serve_in(py, &globals);
            assert_eq!(answer.text(), "leaked");
        }
        assert_eq!(
            eval(py, &globals, "seen"),
            "[('unset', 'import', 0), 50, ('unset', 'import', 1), 50]"
        );
        assert_eq!(eval(py, &globals, "var.get()"), "unset");
    });
}

#[test]
fn a_context_that_the_application_left_open_does_no_harm() {
    let answer = get("import contextvars\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return [b'x']\n");
    assert_eq!(answer.kind, Kind::Collected);
}

#[test]
fn a_thread_reads_the_body_while_another_answers() {
    let source = "import threading\n\
         def application(environ, start_response):\n    \
             result = []\n    \
             thread = threading.Thread(target=lambda: result.append(environ['wsgi.input'].read()))\n    \
             thread.start()\n    \
             start_response('200 OK', [])\n    \
             for i in range(50):\n        \
                 yield b'%d ' % i\n    \
             thread.join()\n    \
             yield result[0]\n";
    let pieces: Vec<&[u8]> = vec![b"piece "; 50];
    let answer = case(source).body(&pieces).serve();
    let counted: String = (0..50).map(|i| format!("{i} ")).collect();
    assert_eq!(answer.text(), counted + &"piece ".repeat(50));
}

#[test]
fn threads_write_whole_blocks_behind_one_head() {
    let answer = get("import threading\n\
         def application(environ, start_response):\n    \
             write = start_response('200 OK', [])\n    \
             def run(n):\n        \
                 for _ in range(50):\n            \
                     write(b'%d' % n * 10)\n    \
             threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]\n    \
             [t.start() for t in threads]\n    \
             [t.join() for t in threads]\n    \
             return []\n");
    assert_eq!((answer.kind, answer.body.len()), (Kind::Sent, 2000));
    for block in answer.body.chunks(10) {
        assert!(block.iter().all(|byte| *byte == block[0]));
    }
}

#[test]
fn a_thread_that_outlives_the_request_finds_it_over() {
    let answer = get("import threading\n\
         result = []\n\
         over = threading.Event()\n\
         def application(environ, start_response):\n    \
             global thread\n    \
             i, e = environ['wsgi.input'], environ['wsgi.errors']\n    \
             write = start_response('200 OK', [])\n    \
             def run():\n        \
                 over.wait(10)\n        \
                 for f in (i.read, lambda: e.write('x'), lambda: write(b'x')):\n            \
                     try:\n                f()\n            \
                     except RuntimeError as error:\n                \
                         result.append(str(error))\n    \
             thread = threading.Thread(target=run)\n    \
             thread.start()\n    \
             return []\n");
    assert_eq!(
        answer.eval("(over.set(), thread.join(), result)[2]"),
        "['read() called on wsgi.input after request completed', \
         'write() called on wsgi.errors after request completed', \
         'write() called after request completed']"
    );
}

/// Writes down what it is told.
#[derive(Default)]
struct Notes {
    events: Mutex<Vec<String>>,
    replace: bool,
}

fn text(object: &Bound<'_>) -> String {
    // SAFETY: attached; a live object.
    let repr = unsafe { Bound::from_owned(object.py(), py::ffi::PyObject_Repr(object.as_ptr())) };
    repr.unwrap().to_text().unwrap()
}

impl Observer for Notes {
    fn request_started<'py>(
        &self,
        py: Token<'py>,
        application: &Bound<'py>,
        environ: &Bound<'py>,
    ) -> Option<Bound<'py>> {
        assert!(application.is_callable());
        let path = environ.dict_get(c"PATH_INFO").unwrap().unwrap();
        self.events.lock().unwrap().push(format!("started {}", text(&path)));
        if !self.replace {
            return None;
        }
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "def replaced(environ, start_response):\n    \
                 start_response('202 Other', [])\n    \
                 return [b'other']\n",
        );
        globals.dict_get(c"replaced").unwrap()
    }

    fn response_started<'py>(
        &self,
        _: Token<'py>,
        status: &Bound<'py>,
        headers: &Bound<'py>,
        exc_info: &Bound<'py>,
    ) {
        let text = format!("response {} {} {}", text(status), text(headers), text(exc_info));
        self.events.lock().unwrap().push(text);
        // A header added here is sent.
        let py = headers.py();
        let pair = py.tuple([py.str("X-Added").unwrap(), py.str("1").unwrap()]).unwrap();
        // SAFETY: attached; a list.
        unsafe { py::ffi::PyList_Append(headers.as_ptr(), pair.as_ptr()) };
    }

    fn request_exception<'py>(&self, _: Token<'py>, error: &Error<'py>) {
        self.events.lock().unwrap().push(format!("exception {error}"));
    }

    fn request_finished(&self, _: Token<'_>, summary: &Summary) {
        let text = format!("finished {} {}", summary.status, summary.output_length);
        self.events.lock().unwrap().push(text);
    }
}

fn observed(source: &str, replace: bool) -> (common::Answer, Vec<String>) {
    let notes = Arc::new(Notes { replace, ..Notes::default() });
    let mut case = case(source).env("PATH_INFO", "/x");
    case.observer = Some(Arc::clone(&notes) as Arc<dyn Observer>);
    let answer = case.serve();
    let events = notes.events.lock().unwrap().clone();
    (answer, events)
}

#[test]
fn an_observer_is_told_in_order() {
    let (answer, events) = observed(
        "def application(environ, start_response):\n    \
             start_response('200 OK', [('A', 'b')])\n    \
             return [b'body']\n",
        false,
    );
    assert_eq!(events, ["started '/x'", "response '200 OK' [('A', 'b')] None", "finished 200 4"]);
    assert_eq!(answer.header("x-added").unwrap(), "1");
}

#[test]
fn an_observer_hears_of_responses_before_they_are_checked() {
    let (answer, events) = observed(
        "def application(environ, start_response):\n    \
             start_response(b'2000', [None])\n",
        false,
    );
    assert_eq!(
        events,
        [
            "started '/x'",
            "response b'2000' [None] None",
            "exception TypeError: must be str, not bytes",
            "finished 500 0"
        ]
    );
    assert_eq!(answer.kind, Kind::Failed);
}

#[test]
fn an_observer_hears_of_every_exception() {
    let (_, events) = observed(
        "class C:\n    \
             def __iter__(self): return self\n    \
             def __next__(self): 1 / 0\n    \
             def close(self): raise SystemExit(1)\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    \
             return C()\n",
        false,
    );
    assert_eq!(
        events[2..],
        [
            "exception ZeroDivisionError: division by zero",
            "exception SystemExit: 1",
            "finished 500 0"
        ]
    );
}

#[test]
fn an_observer_may_replace_the_application() {
    let (answer, _) = observed("def application(e, s): raise ValueError\n", true);
    assert_eq!((answer.status, answer.text()), (202, "other".into()));
}

/// The objects of a request are used again, but never ones that an application can still reach.
#[test]
fn what_an_application_keeps_is_not_another_requests() {
    for keep in [
        "start_response",
        "start_response('200 OK', [])",
        "environ",
        "environ['wsgi.input']",
        "environ['wsgi.input'].read",
        "weakref.ref(start_response)",
        "start_response.__self__",
        "lambda: start_response",
    ] {
        attach(|py| {
            let globals = py.dict().unwrap();
            exec(
                py,
                &globals,
                &format!(
                    "import weakref\n\
                     kept = []\n\
                     def application(environ, start_response):\n    \
                         kept.append({keep})\n    \
                         start_response('200 OK', [('X', 'own')], None) \
                             if 'start_response(' not in {keep:?} else None\n    \
                         return [environ['wsgi.input'].read()]\n\
                     def other(environ, start_response):\n    \
                         start_response('200 OK', [])\n    \
                         problems.extend(look())\n    \
                         return [environ['wsgi.input'].read()]\n\
                     problems = []\n\
                     def attempt(call):\n    \
                         try: return [repr(call())]\n    \
                         except RuntimeError as error: return []\n\
                     def reach(thing):\n    \
                         if type(thing) is dict: thing = thing['wsgi.input']\n    \
                         if type(thing) is type(look): thing = thing()\n    \
                         if type(thing) is weakref.ref: thing = thing()\n    \
                         name = getattr(thing, '__name__', type(thing).__name__)\n    \
                         if thing is None: return []\n    \
                         if name == 'Input': return attempt(thing.read)\n    \
                         if name == 'read': return attempt(thing)\n    \
                         if name == 'write': return attempt(lambda: thing(b'!'))\n    \
                         if name == 'Adapter': thing = thing.start_response\n    \
                         return attempt(lambda: thing('200 OK', [], (None, None, None)))\n\
                     def look():\n    \
                         return [found for thing in kept for found in reach(thing)]\n"
                ),
            );
            for round in 0..3 {
                let body = format!("body {round}");
                let answer = Case::default().body(&[body.as_bytes()]).serve_in(py, &globals);
                assert_eq!((answer.status, answer.text()), (200, body), "{keep}");
                exec(py, &globals, "first, application = application, other");
                let answer = Case::default().body(&[b"other"]).serve_in(py, &globals);
                assert_eq!((answer.status, &*answer.text()), (200, "other"), "{keep}");
                assert_eq!(eval(py, &globals, "problems"), "[]", "{keep}");
                exec(py, &globals, "application = first");
            }
        });
    }
}

#[test]
fn objects_kept_for_ever_are_harmless() {
    let answer = get("kept = []\n\
         def application(environ, start_response):\n    \
             kept.append((environ, start_response, start_response('200 OK', [])))\n    \
             return []\n");
    assert_eq!(answer.eval("kept.clear()"), "None");
    attach(|py| {
        let (state, _) = state(py);
        assert!(Arc::strong_count(&state) >= 2);
    });
}
