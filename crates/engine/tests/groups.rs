//! Application groups: which interpreter they are in, and its options.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashSet;
use std::fs;
use std::sync::Barrier;
use std::thread;

use common::{Ask, Site, errors, log, scenario};
use engine_api::{Bytes, InterpreterOptions, Load, Slice, Switch};
use interp::Options;

const NONE: InterpreterOptions<'static> = InterpreterOptions::NONE;

fn options<const N: usize>(
    options: [InterpreterOptions<'static>; N],
) -> Slice<'static, InterpreterOptions<'static>> {
    Slice::new(Box::leak(Box::new(options)))
}

/// A script that answers with the value of an expression, after statements.
fn answer(statements: &str, expression: &str) -> String {
    format!(
        "
{statements}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(({expression})).encode()]
"
    )
}

/// Tells the number of the interpreter, whatever the version calls the module.
const WHERE: &str = "
try: import _interpreters as interpreters
except ImportError: import _xxsubinterpreters as interpreters
import mod_wsgi, threading
def here():
    number = interpreters.get_current()
    number = number[0] if isinstance(number, tuple) else number
    return int(number), mod_wsgi.application_group
";

#[test]
fn groups_are_interpreters() {
    scenario("groups_are_interpreters", || {
        let site = Site::new();
        site.script("app.wsgi", 10, &answer(WHERE, "here()"));
        for _ in 0..2 {
            for (group, expected) in [("", "(0, '')"), ("a", "(1, 'a')"), ("b|/x", "(2, 'b|/x')")] {
                assert_eq!(Ask::new(&site, "app.wsgi").group(group).send().text(), expected);
            }
        }
        assert_eq!(site.engine.interpreters(), 3);
    });
}

#[test]
fn only_group_of_a_process_is_in_the_main_interpreter() {
    scenario("only_group_of_a_process_is_in_the_main_interpreter", || {
        let site = Site::with(|start, _| {
            start.main_group = Bytes::from("shop");
            start.interpreters = options([InterpreterOptions {
                application_group: Bytes::from("shop"),
                specificity: 1,
                restrict_signal: Switch::Off,
                ..NONE
            }]);
        });
        let signal = "import signal\nfree = type(signal.signal).__name__ == 'function'";
        site.script(
            "app.wsgi",
            10,
            &answer(
                &format!("{WHERE}\n{signal}"),
                "here(), environ['mod_wsgi.application_group'], free",
            ),
        );
        let response = Ask::new(&site, "app.wsgi").group("shop").send();
        assert_eq!(response.text(), "((0, 'shop'), 'shop', True)");
        let response = Ask::new(&site, "app.wsgi").group("").send();
        assert_eq!(response.text(), "((0, 'shop'), 'shop', True)");
        let response = Ask::new(&site, "app.wsgi").group("other").send();
        assert_eq!(response.text(), "((1, 'other'), 'other', False)");
        assert!(log().iter().any(|line| line.ends_with("into main interpreter in embedded mode.")));
    });
}

#[test]
fn prefork_serves_on_the_main_thread() {
    scenario("prefork_serves_on_the_main_thread", || {
        let site = Site::with(|start, _| start.serve_on_this_thread = true);
        let expression = "threading.current_thread() is threading.main_thread(), threading.current_thread().name, environ['mod_wsgi.thread_id']";
        site.script("app.wsgi", 10, &answer(WHERE, expression));
        for group in ["", "sub"] {
            let response = Ask::new(&site, "app.wsgi").group(group).send();
            assert_eq!(response.text(), "(True, 'MainThread', 0)");
        }
    });
}

#[test]
fn threads_of_a_server_are_dummies() {
    scenario("threads_of_a_server_are_dummies", || {
        let site = Site::new();
        let expression = "type(threading.current_thread()).__name__, threading.current_thread().daemon, threading.main_thread().name";
        site.script("app.wsgi", 10, &answer(WHERE, expression));
        for group in ["", "sub"] {
            let response = Ask::new(&site, "app.wsgi").group(group).send();
            assert_eq!(response.text(), "('_DummyThread', True, 'MainThread')");
        }
    });
}

#[test]
fn daemon_processes_say_so() {
    scenario("daemon_processes_say_so", || {
        let site = Site::with(|start, _| start.process_group = Bytes::from("workers"));
        let statements = format!("{WHERE}\nmod_wsgi.subscribe_signals(print)");
        site.script(
            "app.wsgi",
            10,
            &answer(&statements, "mod_wsgi.process_group, mod_wsgi.signal_callbacks == [print]"),
        );
        log();
        let response = Ask::new(&site, "app.wsgi").group("x").send();
        assert_eq!(response.text(), "('workers', True)");
        let lines = log();
        assert!(
            lines.contains(
                &"Info Creating sub-interpreter 'x' in daemon process 'workers'.".to_owned()
            ),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.ends_with("into sub-interpreter 'x' of daemon process 'workers'.")), "{lines:?}");
        site.script("none.wsgi", 10, "");
        assert_eq!(site.get("none.wsgi").failed(), 500);
    });
}

#[test]
fn own_gil_and_switch_interval() {
    scenario("own_gil_and_switch_interval", || {
        let site = Site::with(|start, _| {
            start.interpreters = options([
                InterpreterOptions { switch_interval: 0.25, ..NONE },
                InterpreterOptions {
                    application_group: Bytes::from("own"),
                    specificity: 1,
                    own_gil: Switch::On,
                    switch_interval: 0.5,
                    ..NONE
                },
                InterpreterOptions {
                    application_group: Bytes::from("shared"),
                    specificity: 1,
                    switch_interval: 0.75,
                    ..NONE
                },
            ]);
        });
        let text = answer("import sys", "sys.getswitchinterval()");
        site.script("app.wsgi", 10, &text);
        assert_eq!(site.get("app.wsgi").text(), "0.25");
        log();
        let own = Ask::new(&site, "app.wsgi").group("own").send();
        let shared = Ask::new(&site, "app.wsgi").group("shared").send();
        assert_eq!(shared.text(), "0.25");
        let lines = log();
        let skipped = |name: &str, seconds: &str| {
            lines.iter().any(|line| line.starts_with(&format!("Warning WSGI0199: Skipping per-interpreter switch interval {seconds}s for sub-interpreter '{name}'")))
        };
        assert!(skipped("shared", "0.750000"), "{lines:?}");
        if Options::OWN_GIL {
            assert_eq!(own.text(), "0.5");
            assert!(
                lines.contains(
                    &"Info Creating sub-interpreter 'own' in embedded mode with own GIL."
                        .to_owned()
                ),
                "{lines:?}"
            );
            assert!(
                lines.contains(
                    &"Info Set switch interval 0.500000s for sub-interpreter 'own'.".to_owned()
                ),
                "{lines:?}"
            );
        } else {
            assert_eq!(own.text(), "0.25");
            assert!(skipped("own", "0.500000"), "{lines:?}");
        }
    });
}

#[test]
fn replicas_fill_up_as_requests_overlap() {
    scenario("replicas_fill_up_as_requests_overlap", || {
        let site = Site::with(|start, _| {
            start.interpreters = options([
                InterpreterOptions { own_gil: Switch::On, replicas: 3, ..NONE },
                InterpreterOptions {
                    application_group: Bytes::from("one"),
                    specificity: 1,
                    own_gil: Switch::Off,
                    ..NONE
                },
            ]);
        });
        log();
        site.script(
            "app.wsgi",
            10,
            &answer(
                &format!("{WHERE}\nimport time"),
                "time.sleep(float(environ['S'])), here()[0], here()[1]",
            ),
        );
        let get = |seconds: &str| {
            let mut ask = Ask::new(&site, "app.wsgi").group("app");
            ask.environ.push(("S", seconds));
            let text = ask.send().text().to_owned();
            assert!(text.ends_with(", 'app')"), "{text}");
            text
        };
        // One after the other, one is enough.
        let alone: HashSet<String> = (0..5).map(|_| get("0")).collect();
        assert_eq!(alone.len(), 1);
        let busy: HashSet<String> = thread::scope(|scope| {
            let threads: Vec<_> = (0..12).map(|_| scope.spawn(|| get("0.5"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        if Options::OWN_GIL {
            assert_eq!(busy.len(), 3, "{busy:?}");
            assert!(log().iter().any(|line| line.ends_with(
                "Creating sub-interpreter 'app' (replica 3) in embedded mode with own GIL."
            )));
        } else {
            assert_eq!(busy.len(), 1, "{busy:?}");
        }
        assert_eq!(Ask::new(&site, "app.wsgi").group("one").send().failed(), 500);
        let lines = errors();
        assert!(
            lines.iter().any(|line| line
                .starts_with("Warning WSGI1104: Skipping replicas of sub-interpreter 'one'")),
            "{lines:?}"
        );

        // A preload is for all of them.
        site.script("pre.wsgi", 10, &answer("", "1"));
        let path = site.path("pre.wsgi");
        log();
        site.engine
            .load(&Load {
                script: Bytes::from(path.to_str().unwrap()),
                application_group: Bytes::from("pre"),
                reload: true,
                lower_case: false,
            })
            .unwrap();
        let loads = log().iter().filter(|line| line.contains("Loading WSGI script")).count();
        assert_eq!(loads, if Options::OWN_GIL { 3 } else { 1 });
    });
}

#[test]
fn many_groups_at_once() {
    scenario("many_groups_at_once", || {
        let site = Site::new();
        site.script("app.wsgi", 10, &answer(WHERE, "here()[1]"));
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for t in 0..8 {
                let (site, barrier) = (&site, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for i in 0..20 {
                        let group = format!("group {}", (i * 3 + t) % 20);
                        let text = Ask::new(site, "app.wsgi").group(&group).send();
                        assert_eq!(text.text(), group);
                    }
                });
            }
        });
        assert_eq!(site.engine.interpreters(), 21);
        let lines = log();
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!(count("Creating sub-interpreter"), 20);
        assert_eq!(count("Loading WSGI script"), 20);
    });
}

/// What to do about extension modules that support one interpreter only.
#[test]
fn advice_for_extension_modules() {
    scenario("advice_for_extension_modules", || {
        let site = Site::new();
        let text = "raise ImportError('module x does not support loading in subinterpreters')";
        site.script("load.wsgi", 10, text);
        assert_eq!(Ask::new(&site, "load.wsgi").group("sub").send().failed(), 500);
        let path = site.path("load.wsgi").display().to_string();
        let advice = |path: &str| {
            format!(
                "Warning [script {path}] WSGI1101: An extension module that WSGI script '{path}' needs can be loaded into one interpreter of a process only, and sub-interpreter 'sub' is another. Set 'WSGIApplicationGroup %{{GLOBAL}}' to run the application in the main interpreter."
            )
        };
        assert_eq!(errors().last().unwrap(), &advice(&path));

        // In the main interpreter it would be wrong.
        assert_eq!(site.get("load.wsgi").failed(), 500);
        assert!(errors().last().unwrap().starts_with("Error ImportError"));

        // The import may come late, and its error be part of another.
        let late = "
def application(environ, start_response):
    try: raise ImportError('PyO3 modules do not yet support subinterpreters, see')
    except ImportError as e: raise RuntimeError('no luck') from e
";
        site.script("late.wsgi", 10, late);
        assert_eq!(Ask::new(&site, "late.wsgi").group("sub").send().failed(), 500);
        let path = site.path("late.wsgi").display().to_string();
        assert!(errors().contains(&advice(&path)));
    });
}

#[test]
fn advice_for_modules_that_let_themselves_be_imported() {
    scenario("advice_for_modules_that_let_themselves_be_imported", || {
        let site = Site::with(|start, dir| {
            fs::write(dir.join("numpy.py"), "").unwrap();
            let path = Box::leak(dir.to_str().unwrap().to_owned().into_boxed_str());
            let path = Bytes::from(&*path);
            start.interpreters = options([InterpreterOptions { python_path: path, ..NONE }]);
        });
        for name in ["a.wsgi", "b.wsgi"] {
            site.script(name, 10, &answer("import numpy", "1"));
        }
        log();
        assert_eq!(site.get("a.wsgi").text(), "1");
        let about = || log().into_iter().filter(|line| line.contains("NumPy")).collect::<Vec<_>>();
        assert_eq!(about(), Vec::<String>::new());
        for name in ["a.wsgi", "b.wsgi"] {
            assert_eq!(Ask::new(&site, name).group("sub").send().text(), "1");
        }
        let path = site.path("a.wsgi").display().to_string();
        assert_eq!(
            about(),
            [format!(
                "Info [script {path}] NumPy was imported into sub-interpreter 'sub'; it does not support sub-interpreters fully. If it fails or hangs, set 'WSGIApplicationGroup %{{GLOBAL}}' to run the application in the main interpreter."
            )]
        );
    });
}
