//! What `mod_wsgi-express` does with packages of PyPI, and with a person at a terminal: Flask, Paste
//! deployments, coverage, the recorder, the debugger.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::http::{Browser, request};
use tests::process::wait_for;
use tests::{Express, Package, Setup, Venv, matrix};

fn package() -> Package {
    Package::shared(&matrix::python())
}

/// The files of a directory with this ending.
fn ending(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(end));
    paths.sort();
    paths
}

/// The first thing its users do: an environment, the package, a framework, and the example.
#[test]
fn flask_in_an_environment_of_its_own() {
    let package = Package::of_wheel(&matrix::python());
    if let Err(error) = package.install(&["Flask>=3,<4"]) {
        return matrix::skip("start-server examples/flask_app.py", &format!("{error:#}"));
    }
    package.write("examples/flask_app.py", include_str!("../../examples/flask_app.py"));
    for ordinary in [false, true] {
        let name = if ordinary { "as a user" } else { "as root" };
        let server = Express::new(&package, name);
        let server = if ordinary { server.ordinary() } else { server };
        let server = server.start(&["examples/flask_app.py"]);
        let mut browser = Browser::new(server.address());
        let page = browser.get("/").unwrap().with_status(200).text();
        assert!(page.contains("<h1>Hello from Flask</h1>"), "{page}");
        let greeting = browser.submit("/greet", &[("name", "Ada")]).unwrap();
        assert_eq!(greeting.with_status(200).text(), "Hello, Ada!\n");
        let json = browser.get("/json?a=1").unwrap().with_status(200).text();
        assert!(json.contains("\"Ada\""), "{json}");
        server.stop();
    }
}

#[test]
fn a_paste_deployment_is_served_and_loaded_again() {
    let Some(venv) = Venv::with(&matrix::python(), &["PasteDeploy>=3,<4"]) else { return };
    let package = package();
    package.write(
        "site_app.py",
        "def make(global_config, greeting):\n    \
         def application(environ, start_response):\n        \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n        \
         return [('%s %s' % (greeting, environ['PATH_INFO'])).encode()]\n    \
         return application\n",
    );
    let ini = "[app:main]\npaste.app_factory = site_app:make\ngreeting = hello\n";
    package.write("site.ini", ini);
    let python = venv.prefix.display().to_string();
    let words = ["site.ini", "--application-type", "paste", "--python", &python];
    let server = Express::new(&package, "paste").start(&words);
    assert_eq!(server.get("/one").with_status(200).text(), "hello /one");
    // Later than a file system with coarse times can tell from before.
    std::thread::sleep(Duration::from_millis(1100));
    package.write("site.ini", &ini.replace("hello", "welcome"));
    assert_eq!(server.get("/two").with_status(200).text(), "welcome /two");
    server.stop();
}

#[test]
fn coverage_is_reported_when_the_server_stops() {
    let Some(venv) = Venv::with(&matrix::python(), &["coverage>=7,<8"]) else { return };
    let package = package();
    package.write(
        "covered.py",
        "def application(environ, start_response):\n    \
         if environ['PATH_INFO'] == '/never':\n        \
         never = True\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'covered']\n",
    );
    let python = venv.prefix.display().to_string();
    let words = ["covered.py", "--python", &python, "--enable-coverage"];
    let server = Express::new(&package, "coverage").start(&words);
    assert_eq!(server.get("/").with_status(200).text(), "covered");
    let report = server.root.join("htmlcov");
    let said = server.said();
    let line = format!("Coverage Output    : {}/index.html\n", report.display());
    assert!(said.contains(&line), "{said}");
    server.stop();
    let index = fs::read_to_string(report.join("index.html")).unwrap();
    assert!(index.contains("covered.py"), "{index}");
    let pages = ending(&report, "covered_py.html");
    let page = fs::read_to_string(pages.first().expect("a page of the application")).unwrap();
    // One line was not reached, the others were.
    assert_eq!(page.matches("<p class=\"mis ").count(), 1, "{page}");
    assert_eq!(page.matches("<p class=\"run\">").count(), 4, "{page}");
    // Nothing was left where the server was started.
    assert!(!package.place.join(".coverage").exists());
}

#[test]
fn the_recorder_keeps_what_was_asked_and_answered() {
    let package = package();
    package.write(
        "recorded.py",
        "def application(environ, start_response):\n    \
         if environ['PATH_INFO'] == '/fail':\n        \
         raise ValueError('on purpose')\n    \
         body = environ['wsgi.input'].read()\n    \
         write = start_response('200 OK', [('Content-Type', 'text/plain'), ('X-One', '1')])\n    \
         write(b'written ')\n    \
         return [body.upper()]\n",
    );
    let words = ["recorded.py", "--enable-recorder", "--recorder-directory", "a record"];
    let server = Express::new(&package, "recorder").start(&words);
    let answer = request(server.address(), "POST", "/it", &[], b"some body").unwrap();
    assert_eq!(answer.with_status(200).text(), "written SOME BODY");
    assert_eq!(server.get("/fail").status, 500);
    server.log().expect("WSGI0174: ");
    server.log().expect_traceback("ValueError: on purpose");
    server.stop();

    let archive = package.place.join("a record");
    let asked = ending(&archive, ".icontent");
    let asked = asked.iter().find(|path| fs::read(path).unwrap() == b"some body").unwrap();
    let beside = |kind: &str| fs::read_to_string(asked.with_extension(kind)).unwrap();
    assert!(beside("iheaders").contains("'PATH_INFO': '/it'"), "{}", beside("iheaders"));
    assert!(beside("oheaders").starts_with("('200 OK',"), "{}", beside("oheaders"));
    assert!(beside("oheaders").contains("('X-One', '1')"), "{}", beside("oheaders"));
    assert_eq!(beside("ocontent"), "written SOME BODY");
    let failed = ending(&archive, ".oaexcept");
    assert_eq!(failed.len(), 1);
    let text = fs::read_to_string(&failed[0]).unwrap();
    assert!(text.ends_with("ValueError: on purpose\n"), "{text}");
}

/// A developer's session: Python's debugger where the application failed, and Ctrl-C at the end.
#[test]
fn the_debugger_stops_where_the_application_failed() {
    let package = package();
    package.write(
        "failing.py",
        "def application(environ, start_response):\n    \
         answer = 6 * 7\n    \
         if environ['PATH_INFO'] == '/fail':\n        \
         raise ValueError('on purpose')\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'fine']\n",
    );
    let mut server = Express::new(&package, "debugger");
    let mut terminal = server.start_on_terminal(&["failing.py", "--enable-debugger"]);
    assert_eq!(server.get("/").with_status(200).text(), "fine");
    let address = server.address();
    let client = std::thread::spawn(move || request(address, "GET", "/fail", &[], b""));
    let seen = terminal.wait_for("(Pdb) ");
    assert!(seen.contains("ValueError: on purpose"), "{seen}");
    terminal.press(b"print('the answer is', answer)\n");
    terminal.wait_for("the answer is 42");
    terminal.press(b"continue\n");
    assert_eq!(client.join().unwrap().unwrap().status, 500);
    // The server goes on.
    assert_eq!(server.get("/").with_status(200).text(), "fine");
    terminal.press(b"\x03");
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{}", terminal.text());
    server.nothing_is_left();
}

#[test]
fn the_debugger_waits_for_breakpoints_at_the_start() {
    let package = package();
    package.write(
        "watched.py",
        "def answer():\n    \
         return 42\n\
         def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'%d' % answer()]\n",
    );
    let mut server = Express::new(&package, "startup");
    let words = ["watched.py", "--enable-debugger", "--debugger-startup"];
    let mut terminal = server.run_on_terminal(&words);
    terminal.wait_for("(Pdb) ");
    let place = package.place.join("watched.py");
    terminal.press(format!("break {}:2\ncontinue\n", place.display()).as_bytes());
    terminal.wait_for("Breakpoint 1 at ");
    let address = server.address();
    let client = std::thread::spawn(move || {
        // It begins to listen when the debugger has been left.
        for _ in 0..50 {
            if let Ok(answer) = request(address, "GET", "/", &[], b"") {
                return Some(answer);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    });
    terminal.wait_for("-> return 42");
    terminal.press(b"clear 1\ncontinue\n");
    let answer = client.join().unwrap().expect("an answer");
    assert_eq!(answer.with_status(200).text(), "42");
    terminal.press(b"\x03");
    server.ended();
    server.nothing_is_left();
}

/// The collector of PyPI as a service beside the application, with its page.
#[test]
fn telemetry_is_collected_beside_the_application() {
    if !matrix::nightly("--enable-telemetry") {
        return;
    }
    let package = Package::of_wheel(&matrix::python());
    if let Err(error) = package.install(&["mod_wsgi-telemetry>=1.1,<2"]) {
        return matrix::skip("--enable-telemetry", &format!("{error:#}"));
    }
    package.write(
        "app.py",
        "def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'measured']\n",
    );
    let page = Express::new(&package, "page");
    let port = page.address().port().to_string();
    let words = ["app.py", "--enable-telemetry", "--telemetry-ui-port", &port];
    let server = Express::new(&package, "telemetry").start(&words);
    assert!(server.said().contains(&format!("Telemetry          : http://127.0.0.1:{port}/\n")));
    assert_eq!(server.get("/").with_status(200).text(), "measured");
    let seen = wait_for(Duration::from_secs(30), || {
        let answer = request(page.address(), "GET", "/", &[], b"").ok()?;
        answer.text().contains("<html").then_some(())
    });
    assert!(seen.is_some(), "{}", server.log().text());
    // What the collector says of itself; and a build may say that it records nothing.
    server.log().allow("INFO mod_wsgi.telemetry.");
    server.log().allow("INFO aiohttp.access");
    server.log().allow("WSGI1005: ");
    server.stop();
}

/// The other debugger: Apache as its child, on the same terminal.
#[test]
fn gdb_has_apache_on_the_terminal() {
    if !matrix::nightly("--enable-gdb") {
        return;
    }
    if !Path::new("/usr/bin/gdb").exists() {
        return matrix::note("not tested: --enable-gdb, for there is no gdb");
    }
    let package = package();
    package.write(
        "app.py",
        "def application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [b'below gdb']\n",
    );
    let mut server = Express::new(&package, "gdb");
    let mut terminal = server.start_on_terminal(&["app.py", "--enable-gdb"]);
    assert_eq!(server.get("/").with_status(200).text(), "below gdb");
    terminal.press(b"\x03");
    terminal.wait_for("(gdb) ");
    terminal.press(b"info inferiors\n");
    terminal.wait_for(&Setup::get().httpd.display().to_string());
    terminal.press(b"kill\n");
    terminal.wait_for("(y or n) ");
    terminal.press(b"y\nquit\n");
    server.ended();
    server.nothing_is_left();
}

/// A shell script for Apache's variables, rewrite rules, another virtual host, logs by name.
#[test]
fn files_of_ones_own_take_part() {
    let package = package();
    package.write(
        "app.py",
        "import os\ndef application(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [('%s|%s|%s' % (os.environ.get('GREETING'), environ['PATH_INFO'],\n            \
         environ.get('REMOTE_USER'))).encode()]\n",
    );
    package.write("my.env", "export GREETING=\"from a script\"\n");
    package.write("my.rewrite", "RewriteRule ^old$ /new [R=301,L]\n");
    package.write(
        "beat.py",
        "import time\nprint('the service speaks', flush=True)\nwhile True:\n    time.sleep(1)\n",
    );
    package.write(
        "who.py",
        "import hashlib\ndef get_realm_hash(environ, user, realm):\n    \
         if user == 'ada':\n        \
         return hashlib.md5(f'{user}:{realm}:one'.encode()).hexdigest()\n",
    );
    let inner = Express::new(&package, "inner").start(&["app.py"]);
    let behind = format!("http://{}/", inner.address());
    let words = "app.py --envvars-script my.env --rewrite-rules my.rewrite --startup-log \
                 --service-script beat beat.py --service-log-file beat beat.log \
                 --auth-type Digest --auth-user-script who.py --proxy-virtual-host other.test";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.push(&behind);
    let server = Express::new(&package, "own files").start(&words);

    let curl = |more: &[&str], path: &str| {
        let mut command = std::process::Command::new("curl");
        command.args(["--silent", "--digest", "--max-time", "20", "--write-out", " %{http_code}"]);
        command.args(more).arg(format!("http://{}{path}", server.address()));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(curl(&["--user", "ada:one"], "/x"), "from a script|/x|ada 200");
    assert!(curl(&["--user", "ada:two"], "/x").ends_with(" 401"));
    let moved = curl(&["--user", "ada:one", "--include"], "/old");
    assert!(moved.ends_with(" 301") && moved.contains("/new\r\n"), "{moved}");
    let other = curl(&["--user", "ada:one", "--header", "Host: other.test"], "/through");
    assert_eq!(other, "None|/through|None 200");

    let log = server.root.join("beat.log");
    let seen = wait_for(Duration::from_secs(20), || {
        fs::read_to_string(&log).ok()?.contains("the service speaks").then_some(())
    });
    assert!(seen.is_some(), "{}", server.log().text());
    assert!(server.root.join("startup_log").exists());
    server.log().expect("AH01794: user ada: password mismatch");
    server.stop();
    inner.stop();
}
