//! `mod_wsgi-express`, installed from a wheel, with a real Apache and our module.
//!
//! What it writes for each option is tested in its own crate; here, that this works.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tests::http::{Browser, field};
use tests::process::wait_for;
use tests::{Express, Package, Setup, matrix};

/// Says what it is told and where it runs.
const APP: &str = "
import os, sys
def application(environ, start_response):
    names = ('SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'mod_wsgi.process_group',
             'mod_wsgi.application_group', 'wsgi.multithread', 'wsgi.multiprocess', 'ADDED',
             'REMOTE_USER', 'wsgi.url_scheme', 'SSL_PROTOCOL')
    lines = ['%s=%s' % (name, environ.get(name)) for name in names]
    lines += ['uid=%d' % os.getuid(), 'cwd=' + os.getcwd(), 'prefix=' + sys.prefix]
    lines += ['first=' + sys.path[0], 'pid=%d' % os.getpid()]
    lines += ['%s=%s' % pair for pair in os.environ.items() if pair[0].startswith('MOD_WSGI_')]
    status = environ['QUERY_STRING'] or '200 OK'
    start_response(status.replace('+', ' '), [('Content-Type', 'text/plain')])
    return ['\\n'.join(lines).encode()]
";

/// The values of what the application above says.
struct Said(String);

impl Said {
    #[track_caller]
    fn of(server: &Express<'_>, path: &str) -> Said {
        Said(server.get(path).with_status(200).text())
    }

    #[track_caller]
    fn value(&self, name: &str) -> &str {
        let start = format!("{name}=");
        let line = self.0.lines().find_map(|line| line.strip_prefix(&*start));
        line.unwrap_or_else(|| panic!("no {name} in\n{}", self.0))
    }
}

fn package() -> Package {
    let package = Package::shared(&matrix::python());
    package.write("app.py", APP);
    package
}

fn own_uid() -> u32 {
    let user = Setup::get().area.user.as_ref();
    user.map_or(rustix::process::getuid().as_raw(), |user| user.uid)
}

#[test]
fn start_server_serves_until_it_is_told_to_stop() {
    let package = package();
    let server = Express::new(&package, "a root").start(&["app.py", "--setenv", "ADDED", "it's"]);
    let port = server.address().port();
    let said = Said::of(&server, "/some/path");
    assert_eq!(said.value("SCRIPT_NAME"), "");
    assert_eq!(said.value("PATH_INFO"), "/some/path");
    assert_eq!(said.value("mod_wsgi.process_group"), format!("127.0.0.1:{port}"));
    assert_eq!(said.value("mod_wsgi.application_group"), "");
    assert_eq!(said.value("wsgi.multithread"), "True");
    assert_eq!(said.value("wsgi.multiprocess"), "False");
    assert_eq!(said.value("ADDED"), "it's");
    assert_eq!(said.value("uid"), own_uid().to_string());
    let place = package.place.display().to_string();
    assert_eq!(said.value("cwd"), place);
    assert_eq!(said.value("first"), place);
    assert_eq!(said.value("prefix"), package.prefix.display().to_string());
    assert_eq!(said.value("MOD_WSGI_EXPRESS"), "true");
    assert_eq!(said.value("MOD_WSGI_HTTP_PORT"), port.to_string());
    let url = format!("Server URL         : http://127.0.0.1:{port}/\n");
    assert!(server.said().starts_with(&url), "{}", server.said());

    // A file below the document root is served before the application.
    let file = server.root.join("htdocs/a file.txt");
    std::fs::write(file, "static").unwrap();
    assert_eq!(server.get("/a%20file.txt").with_status(200).text(), "static");

    // Another start from here is refused and changes nothing.
    let conf = std::fs::read(server.root.join("httpd.conf")).unwrap();
    let again = server.command("start-server", &["app.py", "--threads", "7"]).output().unwrap();
    let error = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && error.contains("is running in"), "{error}");
    assert_eq!(std::fs::read(server.root.join("httpd.conf")).unwrap(), conf);
    assert_eq!(server.get("/").status, 200);
    server.stop();
}

#[test]
fn apachectl_starts_restarts_and_stops_what_setup_server_made() {
    let package = package();
    let mut server = Express::new(&package, "setup");
    let banner = server.setup(&["app.py", "--access-log"]);
    let control = format!("Control Script     : {}/apachectl\n", server.root.display());
    assert!(banner.contains(&control), "{banner}");
    server.apachectl("configtest");
    server.apachectl("start");
    server.wait();
    let (first, pid) = (server.pid(), Said::of(&server, "/").value("pid").to_owned());
    for (word, text) in [("graceful", "AH00493"), ("restart", "AH00494")] {
        server.apachectl(word);
        server.log().expect(text);
        server.wait();
        let new = wait_for(Duration::from_secs(10), || {
            (Said::of(&server, "/").value("pid") != pid).then_some(())
        });
        assert!(new.is_some(), "after {word} the application's process is the same");
        assert_eq!(server.pid(), first, "{word} is another server");
    }
    server.apachectl("stop");
    server.nothing_is_left();
    assert!(!server.root.join("httpd.pid").exists());
    let log = std::fs::read_to_string(server.root.join("access_log")).unwrap();
    assert!(log.contains("\"GET / HTTP/1.1\" 200 "), "{log}");
    server.audit();
}

#[test]
fn an_ordinary_user_needs_no_more() {
    let package = package();
    let server = Express::new(&package, "ordinary").ordinary().start(&["app.py"]);
    assert_eq!(Said::of(&server, "/").value("uid"), own_uid().to_string());
    let module = ["--application-type", "module", "--entry-point", "app", "--embedded-mode"];
    server.stop();
    let server = Express::new(&package, "embedded").ordinary().start(&module);
    let said = Said::of(&server, "/x");
    assert_eq!(said.value("mod_wsgi.process_group"), "");
    assert_eq!(said.value("PATH_INFO"), "/x");
    server.stop();
}

#[test]
fn places_of_the_application_and_of_files() {
    let package = package();
    package.write("docs/index.html", "index");
    package.write("docs/one.txt", "one");
    package.write("files/in.txt", "in the document root");
    package.write("files/sorry.html", "sorry");
    package.write("one.conf", "Header always set X-Included \"${MOD_WSGI_HTTP_PORT}\"\n");
    let words = "app.py --mount-point /shop --url-alias /docs docs --document-root files \
                 --url-alias /single.txt docs/one.txt --error-document 404 /sorry.html \
                 --include-file one.conf --compress-responses --server-status";
    let words: Vec<&str> = words.split_whitespace().collect();
    let server = Express::new(&package, "places").start(&words);
    let said = Said::of(&server, "/shop/a/b");
    assert_eq!((said.value("SCRIPT_NAME"), said.value("PATH_INFO")), ("/shop", "/a/b"));
    let said = Said::of(&server, "/shop/");
    assert_eq!((said.value("SCRIPT_NAME"), said.value("PATH_INFO")), ("/shop", "/"));
    assert_eq!(server.get("/shop").status, 301);
    let missing = server.get("/shopping").with_status(404);
    assert_eq!(missing.text(), "sorry");
    let port = server.address().port().to_string();
    assert_eq!(missing.header("X-Included"), Some(port));
    assert_eq!(server.get("/in.txt").with_status(200).text(), "in the document root");
    assert_eq!(server.get("/docs/").with_status(200).text(), "index");
    assert_eq!(server.get("/single.txt").with_status(200).text(), "one");
    assert_eq!(server.get("/docs/../../app.py").status, 400);
    server.log().expect("AH10244: invalid URI path");
    let packed = server.request("GET", "/shop/", &[("Accept-Encoding", "gzip")]);
    assert_eq!(packed.header("Content-Encoding").as_deref(), Some("gzip"));
    // What the application says is not Apache's to replace, unless asked.
    assert_eq!(server.get("/shop/?404+Mine").status, 404);
    let status = server.get("/server-status").with_status(200).text();
    assert!(status.contains("Apache Server Status"), "{status}");
    server.stop();
}

#[test]
fn static_files_alone() {
    let package = package();
    package.write("docs/sub/one.txt", "one");
    let words = ["--application-type", "static", "docs", "--directory-listing"];
    let server = Express::new(&package, "static").start(&words);
    assert_eq!(server.get("/sub/one.txt").with_status(200).text(), "one");
    assert!(server.get("/sub/").with_status(200).text().contains("one.txt"));
    assert_eq!(server.get("/nothing").status, 404);
    server.stop();
    // And with nothing at all there is a page that says how to go on.
    let server = Express::new(&package, "nothing").start(&[]);
    let page = server.get("/").with_status(200);
    assert_eq!(page.header("Content-Type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(server.get("/__wsgi__/images/running.svg").status, 200);
    assert!(server.get("/__wsgi__/docs/").with_status(200).text().contains("--application-type"));
    server.stop();
}

#[test]
fn a_changed_script_and_a_changed_module_are_loaded_again() {
    let package = package();
    let wrapper = "
import helper
from helper import text
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
";
    package.write("wrapper.py", wrapper);
    package.write("helper.py", "text = 'one'\n");
    let server = Express::new(&package, "reload").start(&["wrapper.py", "--reload-on-changes"]);
    assert_eq!(server.get("/").with_status(200).text(), "one");
    // Later than a file system with coarse times can tell from before.
    std::thread::sleep(Duration::from_millis(1100));
    package.write("helper.py", "text = 'second'\n");
    let seen = wait_for(Duration::from_secs(20), || {
        (server.get("/").with_status(200).text() == "second").then_some(())
    });
    assert!(seen.is_some(), "{}", server.log().text());
    package.write("wrapper.py", &wrapper.replace("text.encode()", "b'third'"));
    let seen = wait_for(Duration::from_secs(20), || {
        (server.get("/").with_status(200).text() == "third").then_some(())
    });
    assert!(seen.is_some(), "{}", server.log().text());
    server.log().allow("monitor (pid=");
    server.stop();
}

#[test]
fn services_and_handlers_of_endings() {
    let package = package();
    package.write(
        "service.py",
        "import os, time\nwith open(os.environ['MOD_WSGI_SERVER_ROOT'] + '/python-eggs/alive', \
         'w') as file:\n    file.write('alive')\nprint('the service runs', flush=True)\n\
         while True:\n    time.sleep(1)\n",
    );
    package.write(
        "page.py",
        "def handle_request(environ, start_response):\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
         return [open(environ['SCRIPT_FILENAME'], 'rb').read().upper()]\n",
    );
    package.write("files/one.page", "shout");
    let server = Express::new(&package, "services").start(&[
        "app.py",
        "--document-root",
        "files",
        "--add-handler",
        ".page",
        "page.py",
        "--service-script",
        "worker",
        "service.py",
    ]);
    assert_eq!(server.get("/one.page").with_status(200).text(), "SHOUT");
    let alive = server.root.join("python-eggs/alive");
    let seen = wait_for(Duration::from_secs(10), || alive.exists().then_some(()));
    assert!(seen.is_some(), "{}", server.log().text());
    server.log().expect("the service runs");
    server.stop();
}

#[test]
fn recorder_profiler_and_debugger_see_the_application() {
    let package = package();
    let server = Express::new(&package, "debug").start(&[
        "app.py",
        "--enable-recorder",
        "--enable-profiler",
    ]);
    let said = Said::of(&server, "/x");
    assert_eq!(said.value("MOD_WSGI_DEBUG_MODE"), "true");
    assert_eq!(said.value("wsgi.multithread"), "False");
    let kinds = |place: &str, end: &str| {
        let entries = std::fs::read_dir(server.root.join(place)).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(end)).count()
    };
    let pstats = server.root.join("pstats");
    assert!(kinds("archive", ".ocontent") >= 1);
    assert!(kinds("archive", ".iheaders") >= 1);
    server.stop();
    let dumps = std::fs::read_dir(pstats).unwrap().count();
    assert_eq!(dumps, 1, "a profile at the end");
}

#[test]
fn other_servers_programs_and_protocols() {
    use std::os::unix::fs::PermissionsExt;
    let package = package();
    let inner = Express::new(&package, "inner").start(&[
        "app.py",
        "--trust-proxy",
        "127.0.0.1",
        "--trust-proxy-header",
        "X-Forwarded-For",
        "--trust-proxy-header",
        "X-Forwarded-Prefix",
    ]);
    let program = package.write(
        "files/hello.cgi",
        "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfrom a program\\n'\n",
    );
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let behind = format!("http://{}", inner.address());
    let mut words = vec![
        "app.py",
        "--proxy-mount-point",
        "/in",
        &behind,
        "--with-cgi",
        "--document-root",
        "files",
        "--http2",
        "--access-log",
        "--processes",
        "2",
        "--threads",
        "3",
    ];
    let rotate = Path::new("/usr/bin/rotatelogs").exists();
    if rotate {
        words.push("--rotate-logs");
    }
    let server = Express::new(&package, "outer").start(&words);
    let said = Said::of(&server, "/in/side");
    let port = inner.address().port();
    assert_eq!(said.value("mod_wsgi.process_group"), format!("127.0.0.1:{port}"));
    assert!(said.value("PATH_INFO").ends_with("/side"), "{}", said.0);
    assert_eq!(Said::of(&server, "/x").value("wsgi.multiprocess"), "True");
    assert_eq!(server.get("/hello.cgi").with_status(200).text(), "from a program\n");
    let output = Command::new("curl")
        .args(["--silent", "--http2-prior-knowledge", "--max-time", "20", "--write-out"])
        .arg("\nhttp=%{http_version}")
        .arg(format!("http://{}/h2", server.address()))
        .output()
        .unwrap();
    let text = Said(String::from_utf8_lossy(&output.stdout).into_owned());
    assert_eq!((text.value("PATH_INFO"), text.value("http")), ("/h2", "2"));
    let rotated = |kind: &str| {
        let entries = std::fs::read_dir(&server.root).unwrap().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(kind)).count()
    };
    let expect = usize::from(rotate);
    assert_eq!((rotated("access_log."), rotated("error_log.")), (expect, expect));
    server.stop();
    inner.stop();
}

/// A project with an account and its static files collected, or why there is none. It has the app by
/// the name that older projects know.
fn django_project(package: &Package) -> Result<PathBuf, String> {
    package.install(&["Django>=5.2,<5.3"]).map_err(|error| format!("{error:#}"))?;
    let site = package.place.join("site");
    std::fs::create_dir(&site).unwrap();
    let django = |words: &[&str]| {
        let mut command = Command::new(package.prefix.join("bin/python"));
        command.args(words).current_dir(&site).env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.env("DJANGO_SUPERUSER_PASSWORD", "correct horse").output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    django(&["-m", "django", "startproject", "mysite", "."]);
    let settings = site.join("mysite/settings.py");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text.replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'mod_wsgi.server',")
        + "\nSTATIC_ROOT = BASE_DIR / 'static files'\n";
    std::fs::write(&settings, text).unwrap();
    django(&["manage.py", "migrate", "--verbosity", "0"]);
    django(&["manage.py", "collectstatic", "--no-input", "--verbosity", "0"]);
    let account = ["--username", "admin", "--email", "admin@example.org"];
    django(&[&["manage.py", "createsuperuser", "--no-input"][..], &account].concat());
    package.writable("site");
    Ok(site)
}

#[test]
fn django_is_served_by_its_own_command() {
    if !matrix::nightly("runmodwsgi of Django") {
        return;
    }
    let package = Package::of_wheel(&matrix::python());
    let site = match django_project(&package) {
        Ok(site) => site,
        Err(why) => return matrix::skip("runmodwsgi of Django", &why),
    };
    let server = Express::new(&package, "django root").start_django(&site);

    let mut browser = Browser::new(server.address());
    let page = browser.get("/admin/login/?next=/admin/").unwrap().with_status(200).text();
    assert_eq!(server.get("/static/admin/css/base.css").status, 200);
    let token = field(&page, "csrfmiddlewaretoken").unwrap();
    let fields = [
        ("username", "admin"),
        ("password", "correct horse"),
        ("next", "/admin/"),
        ("csrfmiddlewaretoken", &token),
    ];
    assert_eq!(browser.submit("/admin/login/", &fields).unwrap().status, 302);
    let page = browser.get("/admin/auth/group/add/").unwrap().with_status(200).text();
    let token = field(&page, "csrfmiddlewaretoken").unwrap();
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("name", "hackers"), ("_save", "Save")];
    assert_eq!(browser.submit("/admin/auth/group/add/", &fields).unwrap().status, 302);
    let groups = browser.get("/admin/auth/group/").unwrap().with_status(200).text();
    assert!(groups.contains(">hackers</a>"), "{groups}");
    in_a_browser(&package, &server);
    server.log().expect("FutureWarning: mod_wsgi.server is deprecated; use mod_wsgi.express");
    server.log().allow("return _bootstrap._gcd_import(");
    server.stop();
}

/// Logs in and adds a record with a real browser; its pages look as they should, so that the static
/// files are there, and nothing on its console is an error.
const BROWSE: &str = r"
import sys
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
url = sys.argv[1]
options = webdriver.ChromeOptions()
options.binary_location = sys.argv[2]
for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'):
    options.add_argument(word)
options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
service = webdriver.ChromeService(executable_path=sys.argv[3])
browser = webdriver.Chrome(options=options, service=service)
try:
    browser.set_page_load_timeout(60)
    wait = WebDriverWait(browser, 60)
    browser.get(url + '/admin/')
    browser.find_element(By.NAME, 'username').send_keys('admin')
    browser.find_element(By.NAME, 'password').send_keys('correct horse')
    header = browser.find_element(By.ID, 'header')
    color = header.value_of_css_property('background-color')
    assert color not in ('rgba(0, 0, 0, 0)', 'rgb(255, 255, 255)'), color
    browser.find_element(By.CSS_SELECTOR, '[type=submit]').click()
    wait.until(lambda browser: browser.find_elements(By.ID, 'user-tools'))
    browser.get(url + '/admin/auth/group/add/')
    browser.find_element(By.NAME, 'name').send_keys('from a browser')
    # The script that makes two lists of one has run.
    wait.until(lambda browser: browser.find_elements(By.CLASS_NAME, 'selector-available'))
    browser.find_element(By.NAME, '_save').click()
    wait.until(lambda browser: 'from a browser' in browser.page_source)
    assert browser.find_elements(By.CLASS_NAME, 'success')
    severe = [entry for entry in browser.get_log('browser') if entry['level'] == 'SEVERE'
              and 'favicon.ico' not in entry['message']]
    assert not severe, severe
finally:
    browser.quit()
";

fn in_a_browser(package: &Package, server: &Express<'_>) {
    let find = |names: &[&str]| {
        let places = names.iter().map(|name| Path::new("/usr/bin").join(name));
        places.into_iter().find(|path| path.is_file())
    };
    let browser = find(&["chromium", "chromium-browser", "google-chrome"]);
    let (Some(browser), Some(driver)) = (browser, find(&["chromedriver"])) else {
        return matrix::skip("Django's admin in a browser", "there is no chromium with its driver");
    };
    if let Err(error) = package.install(&["selenium>=4,<5"]) {
        return matrix::skip("Django's admin in a browser", &format!("{error:#}"));
    }
    let mut command = package.python();
    command.args(["-c", BROWSE, &format!("http://{}", server.address())]).args([browser, driver]);
    let output = command.env("HOME", &package.place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A page asks for it, and Django has none.
    server.log().allow("Not Found: /favicon.ico");
}

#[test]
fn scripts_say_who_may_see_it() {
    let package = package();
    package.write(
        "who.py",
        "def allow_access(environ, host):\n    return environ['REQUEST_URI'] != '/closed'\n\
         def check_password(environ, user, password):\n    \
         return {'ada': 'one', 'bob': 'two'}.get(user) == password\n\
         def groups_for_user(environ, user):\n    return ['wsgi'] if user == 'ada' else ['']\n",
    );
    let words = ["app.py", "--auth-user-script", "who.py", "--auth-group-script", "who.py"];
    let hosts = ["--host-access-script", "who.py"];
    let server = Express::new(&package, "who").start(&[&words[..], &hosts].concat());
    let asked = server.get("/x").with_status(401);
    let realm = format!("Basic realm=\"127.0.0.1:{}\"", server.address().port());
    assert_eq!(asked.header("WWW-Authenticate"), Some(realm));
    let with = |value: &str| server.request("GET", "/x", &[("Authorization", value)]);
    // ada:one, ada:two, bob:two
    let said = Said(with("Basic YWRhOm9uZQ==").with_status(200).text());
    assert_eq!(said.value("REMOTE_USER"), "ada");
    assert_eq!(with("Basic YWRhOnR3bw==").status, 401);
    assert_eq!(with("Basic Ym9iOnR3bw==").status, 401);
    assert_eq!(server.get("/closed").status, 403);
    for text in ["AH01617: user ada: ", "WSGI0060: ", "AH01631: ", "WSGI0057: "] {
        server.log().expect(text);
    }
    server.stop();
}

/// On a terminal the launcher stays: it shows the log, and Ctrl-C ends everything.
#[test]
fn on_a_terminal_it_shows_the_log_and_ctrl_c_ends_it() {
    let package = package();
    let failing = "
def application(environ, start_response):
    raise ValueError('the application said no')
";
    package.write("failing.py", failing);
    let mut server = Express::new(&package, "terminal");
    let mut terminal = server.start_on_terminal(&["failing.py"]);
    assert_eq!(server.get("/").status, 500);
    let seen = terminal.wait_for("ValueError: the application said no");
    assert!(seen.contains("Server URL         : "), "{seen}");
    assert!(seen.contains("Listening on http://127.0.0.1:"), "{seen}");
    terminal.press(b"\x03");
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{}", terminal.text());
    server.nothing_is_left();
}

#[test]
fn the_doctor_finds_this_machine_healthy() {
    let package = package();
    let server = Express::new(&package, "doctor");
    let output = server.command("doctor", &["app.py"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("Everything that a server needs is there.\n"), "{text}");
    let output = server.command("doctor", &["app.py", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["level"] != "error"), "{report:#}");
    // A script that is not there is told before anything is started.
    let output = server.command("start-server", &["nothing.py"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("nothing.py"), "{error}");
}

#[test]
fn signals_of_a_service_manager() {
    let package = package();
    let mut server = Express::new(&package, "signals").start(&["app.py", "--log-to-terminal"]);
    assert_eq!(server.get("/").status, 200);
    assert!(server.said().contains("AH00489"), "{}", server.said());
    let status = server.end(Signal::INT);
    assert_eq!(status.code(), Some(0), "{}", server.said());
}
