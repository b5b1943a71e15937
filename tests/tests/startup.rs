//! How Python starts and ends in Apache's children: what the directives about that arrive as.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;
use tests::process::wait_for;
use tests::{Mpm, Python, Server, Site, Venv, matrix};

const FACTS: &str = r#"
import os, sys, signal, threading, json

def application(environ, start_response):
    facts = {
        "optimize": sys.flags.optimize,
        "warnings": sys.warnoptions,
        "hash_randomization": sys.flags.hash_randomization,
        "hash": hash("mod_wsgi"),
        "dont_write_bytecode": sys.dont_write_bytecode,
        "eggs": os.environ.get("PYTHON_EGG_CACHE"),
        "argv": sys.argv,
        "path": sys.path,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "executable": sys.executable,
        "marks": sorted(name for name in sys.modules if name.startswith("mark_of_")),
        "sigint": repr(signal.getsignal(signal.SIGINT)),
        "main": threading.main_thread() is threading.current_thread(),
        "asserts": [True for _ in range(1) if __debug__],
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]
"#;

fn facts(site: Site) -> serde_json::Value {
    let server = site.mount("/", "facts.wsgi", FACTS).start();
    let answer = server.get("/").with_status(200);
    server.stop();
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn nothing_said_is_python_as_it_is() {
    matrix::for_each_cell(|cell| {
        let facts = facts(Site::new(cell.mpm, &cell.python));
        assert_eq!(facts["optimize"], 0);
        assert_eq!(facts["warnings"], serde_json::json!([]));
        assert_eq!(facts["hash_randomization"], 1);
        assert_eq!(facts["dont_write_bytecode"], false);
        assert_eq!(facts["eggs"], serde_json::Value::Null);
        assert_eq!(facts["argv"], serde_json::json!(["mod_wsgi"]));
        assert_eq!(facts["asserts"], serde_json::json!([true]));
        // Apache's signals are Apache's.
        assert_ne!(facts["sigint"], "<built-in function default_int_handler>");
        // Under prefork the one thread there is has to be the main one.
        assert_eq!(facts["main"], !cell.mpm.threaded());
    });
}

#[test]
fn directives_about_the_start_arrive() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python);
        let eggs = site.writable("eggs").display().to_string();
        // A directory whose `.pth` file adds another, and runs code.
        let library = site.writable("library");
        let more = site.writable("more");
        let pth = format!("{}\nimport mark_of_pth\n", more.display());
        site.write("library/more.pth", pth);
        site.write("more/mark_of_pth.py", "");
        let all = site
            .conf("WSGIPythonOptimize 2\nWSGIDontWriteBytecode On\nWSGIPythonHashSeed 7")
            .conf(
                "WSGIPythonWarnings ignore::ImportWarning\nWSGIPythonWarnings error::BytesWarning",
            )
            .conf(format!("WSGIPythonEggs {eggs}\nWSGIPythonPath {}", library.display()));
        let facts = facts(all);
        assert_eq!(facts["optimize"], 2);
        assert_eq!(facts["asserts"], serde_json::json!([]));
        assert_eq!(facts["dont_write_bytecode"], true);
        assert_eq!(facts["hash_randomization"], 1);
        let wanted = serde_json::json!(["ignore::ImportWarning", "error::BytesWarning"]);
        assert_eq!(facts["warnings"], wanted);
        assert_eq!(facts["eggs"], eggs);
        assert_eq!(facts["path"][0], library.display().to_string());
        assert_eq!(facts["path"][1], more.display().to_string());
        assert_eq!(facts["marks"], serde_json::json!(["mark_of_pth"]));
        assert_eq!(facts["hash"], hash(&cell.python, "7"), "{}", cell.python);
    });
}

/// The hash of a string with this `PYTHONHASHSEED`, as a Python of its own has it.
fn hash(python: &Python, seed: &str) -> serde_json::Value {
    let mut command = std::process::Command::new(python.executable());
    let code = "print(hash('mod_wsgi'))";
    let output = command.args(["-c", code]).env("PYTHONHASHSEED", seed).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whatever PATH says, and through links.
#[test]
fn a_home_may_be_an_environment_a_link_or_a_path_inside() {
    let python = matrix::python();
    let Some(venv) = Venv::with(&python, &[]) else { return };
    let prefix = venv.prefix.display().to_string();
    let serve = |home: &str, path: &str| {
        let site = Site::homeless(Mpm::Event).env("PATH", path);
        facts(site.conf(format!("WSGIPythonHome \"{home}\"")))
    };
    for home in ["", "/", "/bin", "/bin/python", "/bin/python3", "/pyvenv.cfg"] {
        let facts = serve(&format!("{prefix}{home}"), "/nowhere");
        assert_eq!(facts["prefix"], prefix, "{home}");
        assert_eq!(facts["base_prefix"], python.prefix.display().to_string(), "{home}");
        assert_eq!(facts["executable"], format!("{prefix}/bin/python3"), "{home}");
    }
    let site = Site::plain(Mpm::Event);
    let link = site.path("linked");
    std::os::unix::fs::symlink(&venv.prefix, &link).unwrap();
    let facts = serve(&link.display().to_string(), "/nowhere");
    assert_eq!(facts["prefix"], link.display().to_string());
}

/// `atexit` in main and sub-interpreter, unless `WSGIDestroyInterpreter` is off; the event of the
/// shutdown always.
#[test]
fn what_runs_at_the_end() {
    const END: &str = r#"
import atexit, mod_wsgi, os
def tell(what):
    with open(os.path.join(os.path.dirname(__file__), "told"), "a") as file:
        file.write("%s %s\n" % (mod_wsgi.application_group or "main", what))
atexit.register(tell, "atexit")
mod_wsgi.subscribe_shutdown(lambda *arguments, **names: tell("event"))
def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
"#;
    matrix::for_each_cell(|cell| {
        for (destroy, expected) in [
            ("On", &["main atexit", "main event", "sub atexit", "sub event"][..]),
            ("Off", &["main event", "sub event"]),
        ] {
            let site = Site::new(cell.mpm, &cell.python).one_child(2);
            site.writable("app");
            let script = site.write("app/end.wsgi", END);
            let script = script.display();
            let mut server = site
                .conf(format!("WSGIDestroyInterpreter {destroy}"))
                .conf(format!("WSGIScriptAlias /main {script} application-group=%{{GLOBAL}}"))
                .conf(format!("WSGIScriptAlias /sub {script} application-group=sub"))
                .start();
            let told = server.site().path("app/told");
            end_child(&mut server, |server| {
                let _ = std::fs::remove_file(&told);
                for path in ["/main", "/sub"] {
                    assert_eq!(server.get(path).status, 200);
                }
            });
            let lines = wait_for(Duration::from_secs(10), || {
                let text = std::fs::read_to_string(&told).ok()?;
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                (lines.len() >= expected.len()).then_some(lines)
            });
            assert_eq!(lines.as_deref().unwrap_or_default(), expected, "{destroy}");
            server.stop();
        }
    });
}

/// Has a child end that was used like this. One of the event MPM may crash before it gets to what is
/// tested here; see `Server::restart`. Then the next one is used.
fn end_child(server: &mut Server, used: impl Fn(&Server)) {
    for crashes in 0..5 {
        used(server);
        server.restart();
        if server.log().matching("exit signal Segmentation fault").len() == crashes {
            break;
        }
    }
}

/// A child ends within the time that Apache gives it, whatever the application has running.
#[test]
fn a_thread_that_never_ends_does_not_keep_a_child() {
    const FOREVER: &str = "
import threading, time
thread = threading.Thread(target=lambda: [time.sleep(1) for _ in iter(int, 1)], daemon=False)
thread.start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'']
";
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(2);
        let mut server = site.mount("/", "forever.wsgi", FOREVER).start();
        end_child(&mut server, |server| assert_eq!(server.get("/").status, 200));
        server.log().expect("WSGI1105: Python was not shut down completely in embedded mode");
        // On a busy machine Apache asks again after three seconds; after ten it would kill.
        server.log().allow("still did not exit, sending a SIGTERM");
        server.log().refuse("sending a SIGKILL");
        server.stop();
    });
}

/// An upgrade within a minor version is no reason to build anew, but one to know of.
#[test]
fn another_patch_level_is_told() {
    let ask = std::process::Command::new("/usr/bin/python3")
        .args(["-I", "-c", "import platform; print(platform.python_version())"])
        .output();
    let running = ask.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let running = running.unwrap_or_default();
    let is_other = |python: &Python| {
        running.starts_with(&format!("{}.", python.version)) && running != python.full_version
    };
    let Some(built) = matrix::pythons().into_iter().find(is_other) else {
        return matrix::note(&format!(
            "/usr has Python {running:?}: no other patch level of a Python in dist"
        ));
    };
    // The engine was built for one of the two, and which one that was is not told anywhere else.
    let homes = [(Path::new("/usr"), &running), (&built.prefix, &built.full_version)];
    let told = homes.map(|(home, version)| {
        let site =
            Site::homeless(Mpm::Event).conf(format!("WSGIPythonHome \"{}\"", home.display()));
        let server = site.mount("/", "facts.wsgi", FACTS).start();
        assert_eq!(server.get("/").status, 200);
        let told = !server.log().matching("Compiled for Python/").is_empty();
        if told {
            let other = if *version == running { &built.full_version } else { &running };
            server.log().expect(&format!("Compiled for Python/{other}."));
            server.log().expect(&format!("Runtime using Python/{version}."));
        }
        server.stop();
        told
    });
    assert_ne!(told[0], told[1], "one of {running} and {}", built.full_version);
}
