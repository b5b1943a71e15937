//! Loading, reloading, and what goes wrong with scripts.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::{Ask, Site, errors, log, scenario};
use scenario::patience::until;

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
";

/// A script that answers with the value of an expression.
fn answer(expression: &str) -> String {
    format!(
        "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(({expression})).encode()]
"
    )
}

#[test]
fn hello() {
    scenario("hello", || {
        let site = Site::new();
        site.script("app.wsgi", 10, HELLO);
        log();
        let response = site.get("app.wsgi");
        assert_eq!(response.text(), "hello");
        assert_eq!((response.status, response.calls), (200, 1));
        let path = site.path("app.wsgi");
        let path = path.display();
        let line = format!(
            "Info [script {path}] Loading WSGI script '{path}' into main interpreter in embedded mode."
        );
        assert_eq!(log(), [line]);
        assert_eq!(site.get("app.wsgi").text(), "hello");
        assert_eq!(log(), Vec::<String>::new());
    });
}

#[test]
fn module_is_what_it_was() {
    scenario("module_is_what_it_was", || {
        let site = Site::new();
        let text = "
import sys
names = ['__file__', '__mtime__', '__package__', '__cached__', '__doc__']
def application(environ, start_response):
    start_response('200 OK', [])
    module = sys.modules[__name__]
    facts = [getattr(module, name) for name in names]
    facts += [__spec__.name == __name__, type(__loader__).__name__, __name__]
    return [repr(facts).encode()]
";
        let path = site.script("a b.wsgi", 10, text);
        let mut ask = Ask::new(&site, "a b.wsgi");
        ask.mtime = Some(1234567);
        let path = path.display();
        let md5 = md5(&path.to_string());
        assert_eq!(
            ask.send().text(),
            format!(
                "['{path}', 1234567, None, None, None, True, 'SourceFileLoader', \
                 '_mod_wsgi_{md5}']"
            )
        );
    });
}

/// By way of Python, not of what the engine uses.
fn md5(text: &str) -> String {
    let code = format!("import hashlib; print(hashlib.md5({text:?}.encode()).hexdigest())");
    let output = std::process::Command::new(common::python()).args(["-c", &code]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn coding_lines_and_byte_order_marks() {
    scenario("coding_lines_and_byte_order_marks", || {
        let site = Site::new();
        let body = answer("len('\u{e4}'), '\u{e4}' == chr(0xe4)");
        site.script("utf8.wsgi", 10, &format!("\u{feff}{body}"));
        assert_eq!(site.get("utf8.wsgi").text(), "(1, True)");
        let mut latin = b"# coding: latin-1\r\n".to_vec();
        for part in body.replace('\n', "\r\n").split('\u{e4}') {
            latin.extend_from_slice(part.as_bytes());
            latin.push(0xe4);
        }
        latin.pop();
        fs::write(site.path("latin.wsgi"), latin).unwrap();
        assert_eq!(site.get("latin.wsgi").text(), "(1, True)");
        site.script("bad.wsgi", 10, "# coding: nonsense\n");
        assert_eq!(site.get("bad.wsgi").failed(), 500);
    });
}

#[test]
fn errors_are_logged_each_time() {
    scenario("errors_are_logged_each_time", || {
        let site = Site::new();
        let place = "main interpreter in embedded mode";
        let path = |name: &str| site.path(name).display().to_string();

        site.script("none.wsgi", 10, "app = 1\n");
        for _ in 0..2 {
            log();
            assert_eq!(site.get("none.wsgi").failed(), 404);
            let p = path("none.wsgi");
            let line = format!(
                "Error [script {p}] WSGI0089: Target WSGI script '{p}' does not contain WSGI application 'application'."
            );
            assert_eq!(errors(), [line]);
        }

        site.script("syntax.wsgi", 10, "def (:\n");
        for _ in 0..2 {
            assert_eq!(site.get("syntax.wsgi").failed(), 500);
            let (p, lines) = (path("syntax.wsgi"), errors());
            assert_eq!(
                lines[0],
                format!(
                    "Error [script {p}] WSGI0105: Could not read or compile WSGI script '{p}' for {place}."
                )
            );
            assert_eq!(
                lines[1],
                format!(
                    "Error WSGI0174: [script {p}] SyntaxError exception raised processing WSGI script '{p}' for {place}."
                )
            );
            assert!(
                lines.iter().any(|line| line == &format!("Error   File \"{p}\", line 1")),
                "{lines:?}"
            );
            assert!(lines.last().unwrap().starts_with("Error SyntaxError: "), "{lines:?}");
        }

        site.script("raise.wsgi", 10, "raise ValueError('a\\n\\nb')\n");
        assert_eq!(site.get("raise.wsgi").failed(), 500);
        let (p, lines) = (path("raise.wsgi"), errors());
        assert_eq!(
            lines[0],
            format!("Error [script {p}] WSGI0109: Unable to execute Python script file '{p}'.")
        );
        assert_eq!(
            lines[1],
            format!(
                "Error WSGI0174: [script {p}] ValueError exception raised processing WSGI script '{p}' for {place}."
            )
        );
        assert_eq!(lines[2], "Error Traceback (most recent call last):");
        assert_eq!(lines[lines.len() - 2..], ["Error ValueError: a", "Error b"]);

        site.script("exit.wsgi", 10, "import sys; sys.exit(3)\n");
        assert_eq!(site.get("exit.wsgi").failed(), 500);
        let (p, lines) = (path("exit.wsgi"), errors());
        assert_eq!(
            lines[0],
            format!(
                "Error [script {p}] WSGI0107: SystemExit exception raised when doing exec of Python script file '{p}'."
            )
        );
        assert_eq!(
            lines[1],
            format!(
                "Error WSGI0175: [script {p}] SystemExit exception raised by WSGI script '{p}' for {place}; ignored."
            )
        );

        assert_eq!(site.get("gone.wsgi").failed(), 500);
        let (p, lines) = (path("gone.wsgi"), errors());
        assert_eq!(
            lines[0],
            format!(
                "Error (2) [script {p}] WSGI0105: Could not read or compile WSGI script '{p}' for {place}."
            )
        );
        assert!(lines[1].contains("FileNotFoundError exception raised"), "{lines:?}");
        assert_eq!(
            lines.last().unwrap(),
            &format!("Error FileNotFoundError: [Errno 2] No such file or directory: '{p}'")
        );

        site.script("int.wsgi", 10, "application = 1\n");
        assert_eq!(site.get("int.wsgi").failed(), 500);
        let lines = errors();
        assert!(
            lines[0].contains("WSGI0174: ") && lines[0].contains("TypeError exception"),
            "{lines:?}"
        );
        assert_eq!(lines.last().unwrap(), "Error TypeError: 'int' object is not callable");

        // None of them is left in sys.modules.
        site.script("ok.wsgi", 10, &answer("[n for n in __import__('sys').modules if '_mod_wsgi_' in n and n != __name__ and not n.endswith('x')]"));
        let left = site.get("ok.wsgi").text().matches("_mod_wsgi_").count();
        // Those that loaded: `none` and `int`.
        assert_eq!(left, 2);
    });
}

/// The reference ignores everything after a NUL.
#[test]
fn d14_nul_in_a_script_is_an_error() {
    scenario("d14_nul_in_a_script_is_an_error", || {
        let site = Site::new();
        site.script("nul.wsgi", 10, &format!("{HELLO}\0garbage"));
        assert_eq!(site.get("nul.wsgi").failed(), 500);
        let lines = errors();
        assert!(lines[0].contains("WSGI0105"), "{lines:?}");
        assert!(lines.last().unwrap().contains("null bytes"), "{lines:?}");
    });
}

#[test]
fn changed_script_is_reloaded_into_a_fresh_module() {
    scenario("changed_script_is_reloaded_into_a_fresh_module", || {
        let site = Site::new();
        site.script("app.wsgi", 100, &format!("old = 1\n{}", answer("1, 'old' in globals()")));
        assert_eq!(site.get("app.wsgi").text(), "(1, True)");
        // Older counts, too.
        let path = site.script("app.wsgi", 200, &answer("2, 'old' in globals()"));
        log();
        assert_eq!(site.get("app.wsgi").text(), "(2, False)");
        let path = path.display();
        let line = format!(
            "Info [script {path}] Reloading WSGI script '{path}' into main interpreter in embedded mode."
        );
        assert_eq!(log(), [line]);
        assert_eq!(site.get("app.wsgi").text(), "(2, False)");
        assert_eq!(log(), Vec::<String>::new());

        site.script("app.wsgi", 50, &answer("3"));
        let mut ask = Ask::new(&site, "app.wsgi");
        ask.reload = false;
        assert_eq!(ask.send().text(), "(2, False)");
        ask.reload = true;
        assert_eq!(ask.send().text(), "3");
    });
}

#[test]
fn script_can_ask_to_be_reloaded() {
    scenario("script_can_ask_to_be_reloaded", || {
        let site = Site::new();
        let count = "
import sys
sys.loads = getattr(sys, 'loads', 0) + 1
";
        site.script(
            "ask.wsgi",
            10,
            &format!(
                "{count}\nseen = []\ndef reload_required(resource):\n    seen.append(resource)\n    return resource.endswith('ask.wsgi') and sys.loads < 3\n{}",
                answer("sys.loads, seen")
            ),
        );
        let path = site.path("ask.wsgi").display().to_string();
        assert_eq!(site.get("ask.wsgi").text(), "(1, [])");
        assert_eq!(site.get("ask.wsgi").text(), "(2, [])");
        assert_eq!(site.get("ask.wsgi").text(), "(3, [])");
        assert_eq!(site.get("ask.wsgi").text(), format!("(3, ['{path}'])"));

        // One that raises is not reloaded, and the log says why.
        site.script("raise.wsgi", 10, &format!("def reload_required(resource): 1 / 0\n{HELLO}"));
        assert_eq!(site.get("raise.wsgi").text(), "hello");
        errors();
        assert_eq!(site.get("raise.wsgi").text(), "hello");
        assert_eq!(errors().last().unwrap(), "Error ZeroDivisionError: division by zero");

        // So is one that is taken out of sys.modules, or loses its time stamp.
        site.script(
            "gone.wsgi",
            10,
            &format!("{count}\n{}", answer("sys.loads, sys.modules.pop(__name__, 0) and 1")),
        );
        assert_eq!(site.get("gone.wsgi").text(), "(4, 1)");
        assert_eq!(site.get("gone.wsgi").text(), "(5, 1)");
        site.script(
            "stamp.wsgi",
            10,
            &format!("{count}\n{}", answer("sys.loads, globals().pop('__mtime__', 0) and 1")),
        );
        assert_eq!(site.get("stamp.wsgi").text(), "(6, 1)");
        assert_eq!(site.get("stamp.wsgi").text(), "(7, 1)");
    });
}

/// The reference throws the old module away and fails until the file is mended.
#[test]
fn d25_broken_new_version_leaves_the_old_one_serving() {
    scenario("d25_broken_new_version_leaves_the_old_one_serving", || {
        let site = Site::new();
        site.script("app.wsgi", 1000, &answer("1"));
        assert_eq!(site.get("app.wsgi").text(), "1");
        for (age, broken) in [
            (900, "def (:\n"),
            (800, "raise ValueError\n"),
            (700, ""),
            (600, "import sys; sys.exit()\n"),
        ] {
            site.script("app.wsgi", age, broken);
            errors();
            for i in 0..5 {
                assert_eq!(site.get("app.wsgi").text(), "1", "{broken}");
                let lines = errors();
                assert_eq!(lines.is_empty(), i > 0, "{lines:?}");
                if i == 0 {
                    let path = site.path("app.wsgi").display().to_string();
                    assert_eq!(
                        lines.last().unwrap(),
                        &format!(
                            "Warning [script {path}] WSGI1103: WSGI script '{path}' has changed but cannot be loaded into main interpreter in embedded mode; the version loaded before goes on serving requests."
                        )
                    );
                }
            }
        }
        site.script("app.wsgi", 500, &answer("2"));
        assert_eq!(site.get("app.wsgi").text(), "2");
        assert_eq!(errors(), Vec::<String>::new());
    });
}

/// Two versions within one tick of the clock have one time stamp.
#[test]
fn second_version_within_a_tick_is_seen() {
    scenario("second_version_within_a_tick_is_seen", || {
        let site = Site::new();
        let path = site.script("app.wsgi", 0, &answer("1"));
        let stamp = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(site.get("app.wsgi").text(), "1");
        fs::write(&path, answer("2")).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(stamp).unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(site.get("app.wsgi").text(), "2");
    });
}

/// The reference has one lock for all scripts and all interpreters.
#[test]
fn d06_loaded_script_does_not_wait_for_one_that_loads() {
    scenario("d06_loaded_script_does_not_wait_for_one_that_loads", || {
        let site = Site::new();
        // It loads until there is a file, and says when it has begun.
        let slow = |version: &str, rest: &str| {
            let (begun, end) = (site.path("begun"), site.path("end"));
            format!(
                "
import os, time
os.close(os.open({begun:?} + '{version}', os.O_CREAT))
limit = time.monotonic() + 60
while not os.path.exists({end:?} + '{version}') and time.monotonic() < limit: time.sleep(0.01)
{rest}"
            )
        };
        let begun = |version: &str| {
            let file = site.path(&format!("begun{version}"));
            until("the beginning of a load", || file.exists());
        };
        let end = |version: &str| fs::write(site.path(&format!("end{version}")), "").unwrap();
        site.script("fast.wsgi", 10, HELLO);
        site.script("slow.wsgi", 10, &slow("1", HELLO));
        assert_eq!(site.get("fast.wsgi").text(), "hello");
        thread::scope(|scope| {
            let slow: Vec<_> = (0..3).map(|_| scope.spawn(|| site.get("slow.wsgi"))).collect();
            begun("1");
            for _ in 0..10 {
                assert_eq!(site.get("fast.wsgi").text(), "hello");
            }
            // Another one can load meanwhile, here and in another interpreter.
            site.script("third.wsgi", 10, HELLO);
            assert_eq!(site.get("third.wsgi").text(), "hello");
            assert_eq!(Ask::new(&site, "third.wsgi").group("x").send().text(), "hello");
            assert!(slow.iter().all(|slow| !slow.is_finished()), "it is still being loaded");
            end("1");
            for slow in slow {
                assert_eq!(slow.join().unwrap().text(), "hello");
            }
        });
        // They waited for one another, so it was loaded once.
        let loads =
            log().iter().filter(|line| line.contains("Loading") && line.contains("slow")).count();
        assert_eq!(loads, 1);

        // And a new version that takes its time does not stop the old one.
        site.script("slow.wsgi", 5, &slow("2", &answer("2")));
        thread::scope(|scope| {
            let reload = scope.spawn(|| site.get("slow.wsgi"));
            begun("2");
            assert_eq!(site.get("slow.wsgi").text(), "hello");
            assert!(!reload.is_finished(), "it is still being loaded");
            end("2");
            assert_eq!(reload.join().unwrap().text(), "2");
        });
    });
}

#[test]
fn script_that_leaves_sys_modules_is_loaded_each_time() {
    scenario("script_that_leaves_sys_modules_is_loaded_each_time", || {
        let site = Site::new();
        let count = "import sys\nsys.n = getattr(sys, 'n', 0) + 1\nsys.modules.pop(__name__)\n";
        site.script("app.wsgi", 10, &format!("{count}{}", answer("sys.n")));
        assert_eq!(site.get("app.wsgi").text(), "1");
        assert_eq!(site.get("app.wsgi").text(), "2");
    });
}

#[test]
fn reload_under_load_serves_valid_versions_only() {
    scenario("reload_under_load_serves_valid_versions_only", || {
        let site = Site::new();
        site.script("app.wsgi", 10, &answer("'version 0'"));
        assert_eq!(site.get("app.wsgi").text(), "version 0");
        thread::scope(|scope| {
            let site = &site;
            for _ in 0..4 {
                scope.spawn(move || {
                    let began = Instant::now();
                    let mut last = 0;
                    while began.elapsed() < Duration::from_secs(3) {
                        let response = site.get("app.wsgi");
                        let number = response.text().strip_prefix("version ").unwrap();
                        last = last.max(number.parse::<u32>().unwrap());
                    }
                    assert!(last > 1);
                });
            }
            scope.spawn(move || {
                for version in 1..50 {
                    let text = match version % 5 {
                        0 => "def (:".to_owned(),
                        3 => "raise ValueError".to_owned(),
                        _ => answer(&format!("'version {version}'")),
                    };
                    // Not atomic on purpose: the file is empty for a moment.
                    fs::write(site.path("app.wsgi"), text).unwrap();
                    thread::sleep(Duration::from_millis(50));
                }
            });
        });
        thread::sleep(Duration::from_millis(100));
        assert_eq!(site.get("app.wsgi").text(), "version 49");
    });
}
