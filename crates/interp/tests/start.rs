//! Starting, joining and stopping Python.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{eval, python, run, scenario, start};
use interp::py::Token;
use interp::py::ffi;
use interp::{Config, ErrorKind, HashSeed, MainThread, Options, Runtime, add_to_path};

#[test]
fn looks_like_the_executable_and_parks_the_main_thread() {
    scenario("looks_like_the_executable_and_parks_the_main_thread", || {
        // SAFETY: no handler of anybody is replaced.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        let mut config = Config::new(python());
        config.argv = vec!["mod_wsgi".to_owned()];
        let main = Runtime::start(&config).unwrap().main();
        let sub = Runtime::current().unwrap().interpreter("sub", Options::default()).unwrap();
        for interpreter in [main, sub] {
            run(interpreter, "import sys, threading, signal");
            assert_eq!(eval(interpreter, "sys.argv"), "['mod_wsgi']");
            assert_eq!(eval(interpreter, "sys.orig_argv"), "[]");
            assert_eq!(eval(interpreter, "sys.executable"), python());
            assert_eq!(eval(interpreter, "'' in sys.path"), "False");
            assert_eq!(eval(interpreter, "threading.main_thread().name"), "MainThread");
            let here = eval(interpreter, "threading.current_thread().name");
            assert!(here.starts_with("Dummy-"), "{here}");
        }
        // SAFETY: a plain question; the mask and flags are of no interest.
        let sigint = unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
        assert_eq!(sigint, libc::SIG_DFL, "SIGINT belongs to the server");
        let on_main = Runtime::current().unwrap().on_main_thread(move || {
            eval(sub, "threading.current_thread() is threading.main_thread()")
        });
        assert_eq!(on_main.unwrap(), "True");
    });
}

#[test]
fn caller_can_be_the_main_thread() {
    scenario("caller_can_be_the_main_thread", || {
        let mut config = Config::new(python());
        config.main_thread = MainThread::Caller;
        let runtime = Runtime::start(&config).unwrap();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        for interpreter in [runtime.main(), sub] {
            run(interpreter, "import threading");
            let main = "threading.current_thread() is threading.main_thread()";
            assert_eq!(eval(interpreter, main), "True");
        }
        // Nobody is there to make an interpreter for another thread; that is an error, not a hang.
        let other = std::thread::spawn(move || runtime.interpreter("x", Options::default()));
        assert_eq!(other.join().unwrap().unwrap_err().kind(), ErrorKind::NoMainThread);
    });
}

#[test]
fn configuration_arrives() {
    scenario("configuration_arrives", || {
        let mut config = Config::new(python());
        config.optimize = Some(2);
        config.warnings = vec!["ignore::UserWarning".to_owned(), "error".to_owned()];
        config.dont_write_bytecode = true;
        config.hash_seed = HashSeed::Fixed(7);
        config.environment = vec![("PYTHON_EGG_CACHE".to_owned(), "/eggs \u{e4}".to_owned())];
        let main = Runtime::start(&config).unwrap().main();
        run(main, "import sys, os");
        assert_eq!(eval(main, "sys.flags.optimize"), "2");
        assert_eq!(eval(main, "sys.warnoptions"), "['ignore::UserWarning', 'error']");
        assert_eq!(eval(main, "sys.dont_write_bytecode"), "True");
        assert_eq!(eval(main, "os.environ['PYTHON_EGG_CACHE']"), "/eggs \u{e4}");
        let seeded = Command::new(python())
            .args(["-c", "print(hash('x'))"])
            .env("PYTHONHASHSEED", "7")
            .output()
            .unwrap();
        assert_eq!(eval(main, "hash('x')"), String::from_utf8_lossy(&seeded.stdout).trim());
    });
}

/// In the reference `random` switched randomisation off.
#[test]
fn directives_14_random_hash_seed_is_random() {
    scenario("directives_14_random_hash_seed_is_random", || {
        // SAFETY: no other thread looks at the environment.
        unsafe { std::env::set_var("PYTHONHASHSEED", "0") };
        let mut config = Config::new(python());
        config.hash_seed = HashSeed::Random;
        let main = Runtime::start(&config).unwrap().main();
        let fixed = Command::new(python())
            .args(["-c", "print(hash('randomised'))"])
            .env("PYTHONHASHSEED", "0")
            .output()
            .unwrap();
        let fixed = String::from_utf8_lossy(&fixed.stdout);
        assert_ne!(eval(main, "hash('randomised')"), fixed.trim());
    });
}

#[test]
fn virtual_environment() {
    scenario("virtual_environment", || {
        let dir = tempfile::tempdir().unwrap();
        let venv = dir.path().canonicalize().unwrap().join("venv");
        let made = Command::new(python())
            .args(["-m", "venv", "--without-pip"])
            .arg(&venv)
            .status()
            .unwrap();
        assert!(made.success());
        let main = Runtime::start(&Config::new(venv.join("bin/python3"))).unwrap().main();
        run(main, "import sys, ssl, ctypes, decimal, sqlite3");
        let venv = venv.display();
        assert_eq!(eval(main, "sys.prefix"), venv.to_string());
        assert_eq!(eval(main, "sys.executable"), format!("{venv}/bin/python3"));
        assert_ne!(eval(main, "sys.base_prefix"), venv.to_string());
        let site = format!("any(p.startswith('{venv}/lib/') for p in sys.path)");
        assert_eq!(eval(main, &site), "True");
    });
}

#[test]
fn useless_home_is_an_error() {
    scenario("useless_home_is_an_error", || {
        let mut config = Config::new(python());
        config.home = Some("/nowhere".to_owned());
        let error = Runtime::start(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Start);
        assert!(!error.to_string().is_empty());
        assert!(Runtime::current().is_none());
        let again = Runtime::start(&Config::new(python())).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Running);
    });
}

#[test]
fn starts_once() {
    scenario("starts_once", || {
        start();
        let error = Runtime::start(&Config::new(python())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Running);
    });
}

#[test]
fn joins_a_running_python() {
    scenario("joins_a_running_python", || {
        // SAFETY: this process has no Python yet; the thread is attached after, and says so.
        let runtime = unsafe {
            ffi::Py_InitializeEx(0);
            Runtime::join(Token::assume_current()).unwrap()
        };
        // Attached all along: this must not wait for itself.
        run(runtime.main(), "import threading");
        let worker = std::thread::spawn(move || {
            let sub = loop {
                match runtime.interpreter("sub", Options::default()) {
                    Ok(sub) => break sub,
                    // The other thread does not wait for jobs yet.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NoMainThread),
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            run(sub, "import threading");
            let names = "threading.main_thread().name, threading.current_thread().name";
            let names = eval(sub, names);
            runtime.leave_main_thread();
            names
        });
        runtime.run_main_thread().unwrap();
        let names = worker.join().unwrap();
        assert!(names.starts_with("('MainThread', 'Dummy-"), "{names}");
    });
}

#[test]
fn python_path_goes_to_the_front_in_order() {
    scenario("python_path_goes_to_the_front_in_order", || {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a", "b", "extra"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("a/x.pth"), format!("{}\n", root.join("extra").display())).unwrap();
        let main = start().main();
        run(main, "import sys; before = list(sys.path); path = sys.path");
        let (a, b) = (root.join("a"), root.join("b"));
        let names = [&a, &b].map(|path| path.to_str().unwrap().as_bytes());
        let mut seen = Vec::new();
        main.attach(|py| {
            let result = add_to_path(py, &[names[0], names[1], b"/not/there"], |name| {
                seen.push(name.to_vec());
            });
            assert!(result.is_ok(), "{result:?}");
        })
        .unwrap();
        assert_eq!(seen, [names[0], names[1], b"/not/there"]);
        let root = root.display();
        assert_eq!(
            eval(main, "sys.path[:4]"),
            format!("['{root}/a', '{root}/extra', '{root}/b', '/not/there']")
        );
        assert_eq!(eval(main, "sys.path[4:] == before and path is sys.path"), "True");

        // An entry that is there already keeps its place.
        main.attach(|py| assert!(add_to_path(py, &[names[1]], |_| ()).is_ok())).unwrap();
        assert_eq!(eval(main, "sys.path[2]"), format!("{root}/b"));
    });
}

#[test]
fn stop_joins_threads_and_runs_atexit_everywhere() {
    scenario("stop_joins_threads_and_runs_atexit_everywhere", || {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let runtime = start();
        let sub = runtime.interpreter("sub", Options::default()).unwrap();
        for (name, interpreter) in [("main", runtime.main()), ("sub", sub)] {
            run(
                interpreter,
                &format!(
                    "
import atexit, threading, time
from concurrent.futures import ThreadPoolExecutor
def note(what):
    with open({log:?}, 'a') as file: file.write('{name} ' + what + '\\n')
atexit.register(note, 'atexit')
atexit.register(lambda: 1 / 0)
def slow():
    time.sleep(0.3)
    note('thread')
threading.Thread(target=slow, daemon=False).start()
ThreadPoolExecutor(1).submit(int)
"
                ),
            );
        }
        runtime.stop(Duration::from_secs(30)).unwrap();
        let log = fs::read_to_string(log).unwrap();
        let of = |name: &str| {
            log.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join(",")
        };
        assert_eq!(of("main"), "main thread,main atexit", "{log}");
        assert_eq!(of("sub"), "sub thread,sub atexit", "{log}");
        assert!(log.ends_with("main atexit\n"), "{log}");
    });
}

#[test]
fn stop_gives_up_on_a_thread_that_never_ends() {
    scenario("stop_gives_up_on_a_thread_that_never_ends", || {
        let runtime = start();
        run(
            runtime.main(),
            "import threading; threading.Thread(target=threading.Event().wait, daemon=False).start()",
        );
        let began = Instant::now();
        let error = runtime.stop(Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(began.elapsed() < Duration::from_secs(60));
        // The rest of the process is not held up.
        assert_eq!(eval(runtime.main(), "1 + 1"), "2");
    });
}

#[test]
fn stop_is_bounded_on_the_main_thread_too() {
    scenario("stop_is_bounded_on_the_main_thread_too", || {
        let mut config = Config::new(python());
        config.main_thread = MainThread::Caller;
        let runtime = Runtime::start(&config).unwrap();
        run(
            runtime.main(),
            "import threading; threading.Thread(target=threading.Event().wait, daemon=False).start()",
        );
        let error = runtime.stop(Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    });
}
