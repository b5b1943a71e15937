//! Named interpreters, attaching, and the thread states behind it.

#![allow(clippy::unwrap_used)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::{eval, eval_here, exec, run, scenario, start};
use interp::py::{Bound, Token, ffi};
use interp::{Config, Interpreter, MainThread, Options, Runtime};

/// What CPython itself thinks where the thread is.
fn really(_py: Token<'_>) -> i64 {
    // SAFETY: attached.
    unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) }
}

/// Number of thread states of an interpreter. Nothing else must attach meanwhile.
fn states(interpreter: Interpreter) -> usize {
    interpreter
        .attach(|_py| {
            let mut n = 0;
            // SAFETY: attached, and no other thread makes or deletes states now.
            unsafe {
                let mut state = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
                while !state.is_null() {
                    n += 1;
                    state = ffi::PyThreadState_Next(state);
                }
            }
            n
        })
        .unwrap()
}

#[test]
fn fifty_made_at_once_are_fifty() {
    scenario("fifty_made_at_once_are_fifty", || {
        let runtime = start();
        let barrier = Barrier::new(16);
        let made: Vec<Vec<Interpreter>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        (0..50)
                            .map(|i| {
                                let name = format!("group {i}");
                                runtime.interpreter(name, Options::default()).unwrap()
                            })
                            .collect()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|all| *all == made[0]));
        assert_eq!(runtime.interpreters().len(), 51);
        for (i, interpreter) in made[0].iter().enumerate() {
            assert_eq!(interpreter.name(), format!("group {i}").as_bytes());
            assert_eq!(interpreter.attach(really).unwrap(), interpreter.id().as_raw());
            run(*interpreter, &format!("import sys; sys.mine = {i}"));
        }
        for (i, interpreter) in made[0].iter().enumerate() {
            assert_eq!(eval(*interpreter, "sys.mine"), i.to_string());
        }
        assert_eq!(runtime.interpreter("", Options::default()).unwrap(), runtime.main());
    });
}

/// In the reference, on 3.12 and newer, a thread that had served a sub-interpreter ran requests for
/// the main interpreter in that sub-interpreter.
#[test]
fn directives_01_main_is_never_a_sub_interpreter() {
    scenario("directives_01_main_is_never_a_sub_interpreter", || {
        let runtime = start();
        let all = [
            runtime.main(),
            runtime.interpreter("a", Options::default()).unwrap(),
            runtime.interpreter("b", Options::default()).unwrap(),
        ];
        for interpreter in all {
            run(interpreter, &format!("import sys; sys.here = {}", interpreter.id().as_raw()));
        }
        let check = |interpreter: Interpreter, py: Token<'_>| {
            assert_eq!(py.interpreter(), interpreter.id());
            assert_eq!(really(py), interpreter.id().as_raw());
            let here = py.import(c"sys").and_then(|sys| sys.attr(c"here")?.to_int());
            assert_eq!(here.unwrap_or(-1), interpreter.id().as_raw());
        };
        thread::scope(|scope| {
            for t in 0..4 {
                scope.spawn(move || {
                    for i in 0..20_000 {
                        let (outer, inner) = (all[(i + t) % 3], all[i / 3 % 3]);
                        outer
                            .attach(|py| {
                                check(outer, py);
                                if i % 4 == 0 {
                                    inner.attach(|py| check(inner, py)).unwrap();
                                    check(outer, py);
                                }
                                if i % 16 == 0 {
                                    py.detach(|| inner.attach(|py| check(inner, py)).unwrap());
                                    check(outer, py);
                                }
                            })
                            .unwrap();
                    }
                });
            }
        });
    });
}

#[test]
fn thread_locals_stay_with_thread_and_interpreter() {
    scenario("thread_locals_stay_with_thread_and_interpreter", || {
        let runtime = start();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        for interpreter in [runtime.main(), sub] {
            run(interpreter, "import threading; local = threading.local(); local.n = 0");
        }
        for _ in 0..10 {
            run(runtime.main(), "local.n += 1");
            runtime
                .main()
                .attach(|py| {
                    // Into the same interpreter again, from a detached stretch, as a subrequest.
                    py.detach(|| run(runtime.main(), "local.n += 1"));
                    run(sub, "local.n += 1");
                })
                .unwrap();
        }
        assert_eq!(eval(runtime.main(), "local.n"), "20");
        assert_eq!(eval(sub, "local.n"), "10");
        let other = thread::spawn(move || eval(sub, "hasattr(local, 'n')"));
        assert_eq!(other.join().unwrap(), "False");
    });
}

#[test]
fn panic_in_an_attachment_restores_what_was() {
    scenario("panic_in_an_attachment_restores_what_was", || {
        let runtime = start();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        runtime
            .main()
            .attach(|py| {
                let panic = catch_unwind(AssertUnwindSafe(|| {
                    let _ = sub.attach(|py| py.detach(|| panic!("expected")));
                }));
                assert!(panic.is_err());
                assert_eq!(really(py), 0);
            })
            .unwrap();
        // And nobody holds the GIL.
        assert_eq!(thread::spawn(move || eval(sub, "1 + 1")).join().unwrap(), "2");
    });
}

#[test]
fn states_of_threads_that_ended_are_deleted() {
    scenario("states_of_threads_that_ended_are_deleted", || {
        let runtime = start();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        let all = [runtime.main(), sub];
        for interpreter in all {
            run(
                interpreter,
                "
import threading, ctypes
local = threading.local()
alive = 0
class Object:
    def __init__(self):
        global alive
        alive += 1
    def __del__(self):
        global alive
        alive -= 1
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: n + 1)
",
            );
        }
        let burst = || {
            let barrier = Barrier::new(20);
            thread::scope(|scope| {
                for _ in 0..20 {
                    scope.spawn(|| {
                        for interpreter in all {
                            run(interpreter, "local.object = Object()");
                        }
                        barrier.wait();
                        // A callback uses PyGILState_Ensure, which must find the right state.
                        assert_eq!(eval(all[0], "call(41)"), "42");
                    });
                }
            });
        };
        let settle = |limit: usize| {
            let deadline = Instant::now() + Duration::from_secs(20);
            loop {
                let counts = all.map(states);
                let alive = all.map(|interpreter| eval(interpreter, "alive"));
                if counts.iter().all(|n| *n <= limit) && alive.iter().all(|n| n == "0") {
                    return;
                }
                assert!(Instant::now() < deadline, "{counts:?} states, {alive:?} objects left");
                thread::sleep(Duration::from_millis(10));
            }
        };
        for _ in 0..30 {
            burst();
            // The main thread and this one.
            settle(2);
        }
        assert_eq!(eval(all[0], "call(1)"), "2");
    });
}

#[test]
fn own_gil_lets_two_run_at_once() {
    scenario("own_gil_lets_two_run_at_once", || {
        let runtime = start();
        let options = Options { own_gil: true };
        let a = runtime.interpreter("a", options).unwrap();
        let b = runtime.interpreter("b", options).unwrap();
        assert_eq!(a.has_own_gil(), Options::OWN_GIL);
        if !Options::OWN_GIL {
            return;
        }
        // Each waits for the other while it holds its GIL.
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            for interpreter in [a, b] {
                let barrier = &barrier;
                scope.spawn(move || interpreter.attach(|_py| barrier.wait()).unwrap());
            }
        });
        run(a, "import json, threading, time, logging");
        // Nested, over the border of two GILs.
        a.attach(|py| {
            assert!(exec(py, "x = 1").is_ok());
            runtime.main().attach(|py| assert!(exec(py, "x = 2").is_ok())).unwrap();
            b.attach(|py| assert!(exec(py, "x = 3").is_ok())).unwrap();
            assert_eq!(eval_here(py, "x").unwrap_or_default(), "1");
        })
        .unwrap();
        assert_eq!(eval(runtime.main(), "x"), "2");
    });
}

#[test]
fn threads_of_python_run_in_their_interpreter() {
    scenario("threads_of_python_run_in_their_interpreter", || {
        let runtime = start();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        run(
            sub,
            "
import sys, threading
sys.here = 'sub'
seen = []
def body():
    import sys
    seen.append(sys.here)
thread = threading.Thread(target=body)
thread.start()
thread.join()
",
        );
        assert_eq!(eval(sub, "seen"), "['sub']");
        assert!(Runtime::current().unwrap().existing(b"nobody").is_none());
    });
}

/// `PyGILState_Ensure` in a callback of an extension module goes where the thread is. Before 3.12 it
/// went to the first interpreter that the thread had seen, and hung.
#[test]
fn callbacks_of_extension_modules_run_where_the_thread_is() {
    const CODE: &str = "
import sqlite3, ctypes, sys
database = sqlite3.connect(':memory:', check_same_thread=False)
database.create_function('here', 0, lambda: sys.here)
again = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: sys.here)
def called_back():
    return {database.execute('select here()').fetchone()[0], again()}
";
    fn check(interpreter: Interpreter) {
        assert_eq!(
            eval(interpreter, "called_back()"),
            format!("{{{}}}", interpreter.id().as_raw())
        );
    }
    scenario("callbacks_of_extension_modules_run_where_the_thread_is", || {
        // The main thread is one that serves, too, as under the prefork MPM.
        let mut config = Config::new(common::python());
        config.main_thread = MainThread::Caller;
        let runtime = Runtime::start(&config).unwrap();
        let all = ["", "a", "b"].map(|name| runtime.interpreter(name, Options::default()).unwrap());
        for interpreter in all {
            run(interpreter, &format!("{CODE}\nsys.here = {}", interpreter.id().as_raw()));
        }
        let work = move || {
            for i in 0..60 {
                let [one, two, three] = [0, 1, 2].map(|n| all[(i * (n + 1) + n) % 3]);
                check(one);
                one.attach(|py| {
                    two.attach(|_| check(two)).unwrap();
                    check(one);
                    py.detach(|| {
                        three.attach(|py| {
                            check(three);
                            py.detach(|| check(two));
                            check(three);
                        })
                    })
                    .unwrap();
                    check(one);
                })
                .unwrap();
            }
        };
        work();
        thread::spawn(work).join().unwrap();
        // Threads of Python bring a state of their own.
        for interpreter in all {
            let code = "from concurrent.futures import ThreadPoolExecutor as Pool\n\
                        with Pool(2) as pool: assert pool.submit(called_back).result() == {sys.here}";
            run(interpreter, code);
            check(interpreter);
        }
    });
}

/// Who holds the lock of an interpreter can see where the threads in it are, and nothing of others, nor
/// of those that have ended.
#[test]
fn frames_of_threads_are_seen_from_outside() {
    scenario("frames_of_threads_are_seen_from_outside", || {
        let runtime = start();
        let all = ["", "sub", "own"].map(|name| {
            let options = Options { own_gil: name == "own" };
            runtime.interpreter(name, options).unwrap()
        });
        for interpreter in all {
            run(interpreter, "import threading\nevent = threading.Event()");
            run(interpreter, "def deep(depth): deep(depth - 1) if depth else event.wait()");
        }
        // SAFETY: always succeeds.
        let identity = || unsafe { libc::pthread_self() } as u64;
        let function = |interpreter: Interpreter, thread: u64| {
            interpreter
                .attach(|py| {
                    let mut frame = interpreter.frame_of(py, thread)?;
                    let mut names = Vec::new();
                    while !frame.is_none() {
                        let name = frame.attr(c"f_code").unwrap().attr(c"co_name").unwrap();
                        names.push(name.to_text().unwrap());
                        frame = frame.attr(c"f_back").unwrap();
                    }
                    Some(names)
                })
                .unwrap()
        };
        for round in 0..20 {
            let (tell, told) = std::sync::mpsc::channel();
            thread::scope(|scope| {
                for (index, interpreter) in all.into_iter().enumerate() {
                    let tell = tell.clone();
                    scope.spawn(move || {
                        tell.send((index, identity())).unwrap();
                        run(interpreter, "deep(3)");
                    });
                }
                for _ in all {
                    let (index, thread) = told.recv().unwrap();
                    let deadline = Instant::now() + Duration::from_secs(20);
                    // In a wait, which is a function of a module.
                    let names = loop {
                        let names = function(all[index], thread).unwrap_or_default();
                        if !Interpreter::TELLS_FRAMES || names.iter().any(|name| name == "wait") {
                            break names;
                        }
                        assert!(Instant::now() < deadline, "{names:?} in round {round}");
                    };
                    if Interpreter::TELLS_FRAMES {
                        assert_eq!(names.iter().filter(|name| *name == "deep").count(), 4);
                        assert_eq!(names.last().map(String::as_str), Some("<module>"));
                    }
                    for (other, interpreter) in all.into_iter().enumerate() {
                        assert!(other != index || interpreter.knows(thread));
                        if other != index {
                            assert_eq!(function(interpreter, thread), None);
                        }
                        // With the lock of another interpreter nothing is looked at.
                        let foreign = all[(other + 1) % 3];
                        let seen = foreign.attach(|py| interpreter.frame_of(py, thread).is_some());
                        assert!(!seen.unwrap());
                    }
                    run(all[index], "event.set()");
                }
            });
            for interpreter in all {
                run(interpreter, "event.clear()");
            }
        }
        let thread = thread::spawn(move || {
            run(all[1], "pass");
            identity()
        });
        let thread = thread.join().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while all[1].knows(thread) {
            assert!(Instant::now() < deadline, "its state is never deleted");
            thread::sleep(Duration::from_millis(10));
        }
    });
}

/// Before Python 3.12 a collection could begin while the object of a frame is made, and let the frame's
/// thread run on.
#[test]
fn nothing_is_collected_while_a_frame_is_looked_at() {
    scenario("nothing_is_collected_while_a_frame_is_looked_at", || {
        let main = start().main();
        run(main, "import gc, threading\nbegun, event = threading.Event(), threading.Event()");
        run(main, "def wait(): begun.set(); event.wait()");
        run(main, "runs = []\ndef collected(*_): runs.append(1)");
        thread::scope(|scope| {
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || {
                // SAFETY: always succeeds.
                tell.send(unsafe { libc::pthread_self() } as u64).unwrap();
                run(main, "wait()");
            });
            let thread = told.recv().unwrap();
            run(main, "begun.wait(20)\ngc.callbacks.append(collected)\ngc.set_threshold(1)");
            let (before, after, found) = main
                .attach(|py| {
                    let globals = py.import(c"__main__").unwrap();
                    let runs = globals.attr(c"runs").unwrap();
                    // SAFETY: attached; a list.
                    let count = || unsafe { ffi::PyList_Size(runs.as_ptr()) };
                    // SAFETY: attached; a new object.
                    let set = || unsafe {
                        Bound::from_owned(py, ffi::PySet_New(std::ptr::null_mut())).unwrap()
                    };
                    let begun = count();
                    let mut sets: Vec<_> =
                        (0..8).map_while(|_| (count() == begun).then(set)).collect();
                    // The next object would be the second since.
                    sets.push(set());
                    let before = count();
                    let found = main.frame_of(py, thread).is_some();
                    (before, count(), found)
                })
                .unwrap();
            run(main, "gc.set_threshold(700)\nassert gc.isenabled()\nevent.set()");
            assert_eq!((after, found), (before, Interpreter::TELLS_FRAMES));
        });
    });
}
