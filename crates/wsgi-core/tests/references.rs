//! Requests leave nothing behind. Alone in its program, since it counts what the interpreter holds.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Case, attach, eval, exec};

#[test]
fn requests_leave_no_references() {
    attach(|py| {
        let globals = py.dict().unwrap();
        exec(
            py,
            &globals,
            "import gc, sys, weakref\n\
             class Body:\n    \
                 def __init__(self, data): self.data = data\n    \
                 def __iter__(self): return iter(self.data)\n    \
                 def close(self): pass\n\
             refs = []\n\
             def application(environ, start_response):\n    \
                 write = start_response('200 OK', [('X', 'y')])\n    \
                 environ['wsgi.input'].read()\n    \
                 body = Body([b'x'])\n    \
                 refs.append(weakref.ref(body))\n    \
                 if environ['n'] == '1':\n        write(b'x')\n    \
                 if environ['n'] == '2':\n        raise ValueError\n    \
                 return body\n",
        );
        let run = || {
            for n in 0..4 {
                Case::default().env("n", n.to_string()).serve_in(py, &globals);
            }
        };
        for _ in 0..20 {
            run();
        }
        exec(py, &globals, "gc.collect()");
        let count = "len(gc.get_objects()), sys.getallocatedblocks()";
        let before = eval(py, &globals, &format!("(refs.clear(), {count})[1:]"));
        for _ in 0..200 {
            run();
        }
        assert_eq!(eval(py, &globals, "[r() for r in refs if r()]"), "[]");
        let after = eval(py, &globals, &format!("(refs.clear(), gc.collect(), {count})[2:]"));
        let number = |text: &str, i: usize| -> i64 {
            text.trim_matches(['(', ')']).split(", ").nth(i).unwrap().parse().unwrap()
        };
        // A few for the machinery of this test; 800 requests would show.
        assert!(number(&after, 0) - number(&before, 0) < 50, "{before} {after}");
        assert!(number(&after, 1) - number(&before, 1) < 200, "{before} {after}");
    });
}
