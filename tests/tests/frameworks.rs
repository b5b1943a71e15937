//! Real applications of real frameworks, installed from PyPI, driven as their users drive them.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use tests::http::{Browser, encode, field};
use tests::{Mode, Mpm, Python, Server, Site, Venv, matrix};

/// One environment for all, so that it is made once per Python.
const PACKAGES: [&str; 6] = [
    "Flask>=3,<4",
    "Django>=5.2,<5.3",
    "bottle>=0.13,<0.14",
    "falcon>=4,<5",
    "pyramid>=2,<3",
    // Pyramid 2.0 imports pkg_resources.
    "setuptools<81",
];

fn site(mpm: Mpm, venv: &Venv) -> Site {
    Site::new(mpm, &venv.home())
}

#[test]
fn flask_works() {
    matrix::for_each_cell(|cell| {
        let Some(venv) = Venv::with(&cell.python, &PACKAGES) else { return };
        let example = include_str!("../../examples/flask_app.py");
        let server = site(cell.mpm, &venv).mount("/", "flask_app.py", example).start();
        use_flask(&server, "");
        server.stop();
    });
}

fn use_flask(server: &Server, mount: &str) {
    let mut browser = Browser::new(server.address());
    let mut get = |path: &str| browser.get(&format!("{mount}{path}")).unwrap();
    assert!(get("/").with_status(200).text().contains("Hello from Flask"));
    let name = encode("J\u{fc}rgen \u{1f600}");
    assert_eq!(get(&format!("/user/{name}")).text(), "user J\u{fc}rgen \u{1f600}\n");
    let lines: String = (0..1000).map(|number| format!("{number}\n")).collect();
    assert_eq!(get("/stream").text(), lines);
    assert_eq!(get("/missing").status, 404);
    assert_eq!(get("/user").status, 404);

    let greeting = browser.submit(&format!("{mount}/greet"), &[("name", "Ada")]).unwrap();
    assert_eq!(greeting.with_status(200).text(), "Hello, Ada!\n");
    let json = browser.get(&format!("{mount}/json?a=1")).unwrap();
    assert_eq!(json.header("Content-Type").unwrap(), "application/json");
    let facts: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(facts["cookies"]["name"], "Ada", "{facts}");
    assert_eq!(facts["arguments"]["a"], "1", "{facts}");

    let mut upload =
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n".to_vec();
    upload.extend((0..300_000_u32).map(|number| (number * 7 % 251) as u8));
    upload.extend(b"\r\n--x--\r\n");
    let kind = "multipart/form-data; boundary=x";
    let answer = server.post(&format!("{mount}/upload"), kind, &upload).with_status(200);
    let facts: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(facts["length"], 300_000, "{facts}");

    let head = server.request("HEAD", &format!("{mount}/"), &[], b"").with_status(200);
    assert!(head.body.is_empty());
    assert_eq!(server.request("PUT", &format!("{mount}/"), &[], b"").status, 405);
    assert_eq!(server.post(&format!("{mount}/greet"), "text/plain", b"").status, 400);
}

#[test]
fn flask_works_below_a_prefix() {
    let python = matrix::python();
    let Some(venv) = Venv::with(&python, &PACKAGES) else { return };
    let example = include_str!("../../examples/flask_app.py");
    let server = site(Mpm::Event, &venv).mount("/my/app", "flask_app.py", example).start();
    use_flask(&server, "/my/app");
    server.stop();
}

#[test]
fn django_admin_works() {
    matrix::for_each_cell(|cell| {
        let Some(venv) = Venv::with(&cell.python, &PACKAGES) else { return };
        let site = site(cell.mpm, &venv);
        let project = start_project(&site, &venv, "project");
        let server = site
            .conf(format!("WSGIPythonPath \"{}\"", project.display()))
            .conf(format!("WSGIScriptAlias / \"{}/mysite/wsgi.py\"", project.display()))
            .start();
        // The debug page's log of a page that is not there is Django's way, not ours.
        server.log().allow("Not Found: ");
        use_django(&server, "");
        server.stop();
    });
}

/// Each in a sub-interpreter, on the same threads; SQLite calls back into Python.
#[test]
fn two_django_projects_work_side_by_side() {
    matrix::for_each_cell(|cell| {
        let Some(venv) = Venv::with(&cell.python, &PACKAGES) else { return };
        let mut site = site(cell.mpm, &venv).one_child(2);
        for name in ["one", "two"] {
            let project = start_project(&site, &venv, name);
            let script = site.write(
                &format!("{name}.wsgi"),
                format!(
                    "import sys\nsys.path.insert(0, {:?})\nfrom mysite.wsgi import application\n",
                    project.display().to_string()
                ),
            );
            site = site.conf(format!("WSGIScriptAlias /{name} \"{}\"", script.display()));
        }
        let server = site.start();
        server.log().allow("Not Found: ");
        for mount in ["/one", "/two"] {
            use_django(&server, mount);
        }
        server.stop();
    });
}

/// "Authenticating against Django's user database from Apache", as its documentation prints it.
#[test]
fn django_s_users_are_the_server_s() {
    let Some(venv) = Venv::with(&matrix::python(), &PACKAGES) else { return };
    for mode in [Mode::Embedded, Mode::Daemon] {
        let mut site = site(Mpm::Event, &venv).one_child(4).mode(mode);
        let project = start_project(&site, &venv, "project").display().to_string();
        let groups = "from django.contrib.auth.models import Group, User\n\
                      User.objects.get(username='admin').groups.create(name='secret-agents')\n\
                      User.objects.create_user('grace', password='nanosecond wire')\n";
        let made = Command::new(venv.executable())
            .args(["manage.py", "shell", "-c", groups])
            .current_dir(&project)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        site.writable("project");
        site.write(
            "project/mysite/wsgi.py",
            format!(
                "import os, sys\n\
                 sys.path.insert(0, '{project}')\n\
                 os.environ['DJANGO_SETTINGS_MODULE'] = 'mysite.settings'\n\
                 from django.core.wsgi import get_wsgi_application\n\
                 application = get_wsgi_application()\n\
                 from django.contrib.auth.handlers.modwsgi import check_password, groups_for_user\n"
            ),
        );
        for name in ["mod_authn_core", "mod_auth_basic", "mod_authz_user"] {
            site = site.module(name);
        }
        let section = |path: &str, require: &str| {
            format!(
                "<Location \"{path}\">\nAuthType Basic\nAuthName \"Top Secret\"\n\
                 AuthBasicProvider wsgi\nWSGIAuthUserScript {project}/mysite/wsgi.py\n\
                 WSGIAuthGroupScript {project}/mysite/wsgi.py\nRequire {require}\n</Location>"
            )
        };
        let server = site
            .conf(format!("WSGIScriptAlias / {project}/mysite/wsgi.py"))
            .conf("WSGIApplicationGroup %{GLOBAL}")
            .conf(section("/secret", "wsgi-group secret-agents"))
            .conf(section("/admin", "valid-user"))
            .start();
        let ask = |path: &str, user: &str| {
            let url = format!("http://{}{path}", server.address());
            let arguments = ["-s", "-m", "120", "-o", "/dev/null", "-w", "%{http_code}"];
            let output = Command::new("curl").args(arguments).args(["-u", user, &url]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        for (path, user, status) in [
            ("/admin/login/", "admin:correct horse", "200"),
            ("/admin/login/", "grace:nanosecond wire", "200"),
            ("/admin/login/", "admin:wrong", "401"),
            ("/admin/login/", "nobody:wrong", "401"),
            // Django has no such page; but the door is open.
            ("/secret/", "admin:correct horse", "404"),
            ("/secret/", "grace:nanosecond wire", "401"),
        ] {
            assert_eq!(ask(path, user), status, "{mode:?} {path} {user}");
        }
        for text in ["Not Found: ", "WSGI0059: ", "AH01", "not found: "] {
            server.log().allow(text);
        }
        server.stop();
    }
}

/// A new project with an account, which the server may write to.
fn start_project(site: &Site, venv: &Venv, name: &str) -> PathBuf {
    let project = site.path(name);
    let django = |arguments: &[&str]| {
        let mut command = Command::new(venv.executable());
        command.args(arguments).current_dir(&project);
        command.env("DJANGO_SUPERUSER_PASSWORD", "correct horse");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    std::fs::create_dir(&project).unwrap();
    django(&["-m", "django", "startproject", "mysite", "."]);
    django(&["manage.py", "migrate", "--verbosity", "0"]);
    let account = ["--username", "admin", "--email", "admin@example.org"];
    django(&[&["manage.py", "createsuperuser", "--no-input"][..], &account].concat());
    site.writable(name)
}

fn use_django(server: &Server, mount: &str) {
    let mut browser = Browser::new(server.address());
    let at = |path: &str| format!("{mount}{path}");
    assert!(browser.get(&at("/")).unwrap().text().contains("The install worked successfully"));
    assert_eq!(browser.get(&at("/nowhere/")).unwrap().status, 404);
    let away = browser.get(&at("/admin/")).unwrap().with_status(302);
    assert_eq!(
        away.header("Location").unwrap(),
        format!("{mount}/admin/login/?next={mount}/admin/")
    );

    let (login, admin) = (at("/admin/login/"), at("/admin/"));
    let page = browser.get(&format!("{login}?next={admin}")).unwrap().with_status(200).text();
    let token = field(&page, "csrfmiddlewaretoken").unwrap();
    let mut fields = vec![("username", "admin"), ("password", "wrong"), ("next", &admin)];
    fields.push(("csrfmiddlewaretoken", &token));
    let refused = browser.submit(&login, &fields).unwrap().with_status(200);
    assert!(refused.text().contains("Please enter the correct username"));
    fields[1] = ("password", "correct horse");
    let without = browser.submit(&login, &fields[..3]).unwrap();
    assert_eq!(without.status, 403, "a form without its token is accepted");
    server.log().expect("Forbidden (CSRF token missing.)");
    let accepted = browser.submit(&login, &fields).unwrap().with_status(302);
    assert_eq!(accepted.header("Location").unwrap(), admin);
    assert!(browser.cookie("sessionid").is_some());

    let page = browser.get(&at("/admin/auth/user/add/")).unwrap().with_status(200).text();
    let token = field(&page, "csrfmiddlewaretoken").unwrap();
    let fields = [
        ("csrfmiddlewaretoken", token.as_str()),
        ("username", "grace"),
        ("usable_password", "true"),
        ("password1", "nanosecond wire"),
        ("password2", "nanosecond wire"),
        ("_save", "Save"),
    ];
    let saved = browser.submit(&at("/admin/auth/user/add/"), &fields).unwrap();
    assert_eq!(saved.status, 302, "{saved:?}");
    let users = browser.get(&at("/admin/auth/user/?q=grace")).unwrap().with_status(200).text();
    assert!(users.contains(">grace</a>") && users.contains("1 result"), "{users}");
}

#[test]
fn other_frameworks_work() {
    matrix::for_each_cell(|cell| {
        let Some(venv) = Venv::with(&cell.python, &PACKAGES) else { return };
        let mut site = site(cell.mpm, &venv);
        for (name, script) in FRAMEWORKS {
            // Werkzeug reads to the end without a size, which the checker does not let pass.
            let checker = if name == "flask_app" { "" } else { VALIDATED };
            let script = format!("{script}{checker}");
            site = site.mount(&format!("/{name}"), &format!("{name}.py"), &script);
        }
        let server = site.start();
        // Pyramid's import of it is what the setuptools it needs warns about.
        server.log().allow("pkg_resources");
        for (name, _) in FRAMEWORKS {
            let hello = server.get(&format!("/{name}/hello/World")).with_status(200);
            assert_eq!(hello.text(), "Hello World!", "{name}");
            assert_eq!(server.get(&format!("/{name}/nothing")).status, 404, "{name}");
            let posted = server.post(&format!("/{name}/echo"), "text/plain", b"abc\n\xff");
            assert_eq!(posted.with_status(200).body, b"abc\n\xff", "{name}");
            let head = server.request("HEAD", &format!("/{name}/hello/World"), &[], b"");
            assert_eq!((head.status, head.body.len()), (200, 0), "{name}");
        }
        server.stop();
    });
}

/// The reference checker around each: it asserts what the PEP says of both sides.
const VALIDATED: &str = "
from wsgiref.validate import validator
application = validator(application)
";

const FRAMEWORKS: [(&str, &str); 5] = [
    (
        "plain",
        r#"
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    else:
        body = b"Hello World!"
    status = "404 Not Found" if path == "/nothing" else "200 OK"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
"#,
    ),
    (
        "bottle_app",
        r#"
import bottle
application = bottle.Bottle()

@application.get("/hello/<name>")
def hello(name):
    return "Hello %s!" % name

@application.post("/echo")
def echo():
    bottle.response.content_type = "application/octet-stream"
    return bottle.request.body.read()
"#,
    ),
    (
        "falcon_app",
        r#"
import falcon

class Hello:
    def on_get(self, req, resp, name):
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello %s!" % name

    on_head = on_get

class Echo:
    def on_post(self, req, resp):
        resp.content_type = "application/octet-stream"
        resp.data = req.bounded_stream.read()

application = falcon.App()
application.add_route("/hello/{name}", Hello())
application.add_route("/echo", Echo())
"#,
    ),
    (
        "pyramid_app",
        r#"
from pyramid.config import Configurator
from pyramid.response import Response

def hello(request):
    return Response("Hello %s!" % request.matchdict["name"])

def echo(request):
    return Response(request.body, content_type="application/octet-stream")

with Configurator() as config:
    config.add_route("hello", "/hello/{name}")
    config.add_view(hello, route_name="hello")
    config.add_route("echo", "/echo")
    config.add_view(echo, route_name="echo")
    application = config.make_wsgi_app()
"#,
    ),
    (
        "flask_app",
        r#"
import flask
application = flask.Flask("x")

@application.get("/hello/<name>")
def hello(name):
    return "Hello %s!" % name

@application.post("/echo")
def echo():
    return flask.Response(flask.request.get_data(), mimetype="application/octet-stream")
"#,
    ),
];

#[test]
fn packages_of_an_environment_are_its_own() {
    let python: Python = matrix::python();
    let Some(venv) = Venv::with(&python, &PACKAGES) else { return };
    let script = "
import flask, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return ['\\n'.join([flask.__file__, sys.prefix, sys.executable]).encode()]
";
    let server = site(Mpm::Event, &venv).mount("/", "where.wsgi", script).start();
    let text = server.get("/").text();
    for line in text.lines() {
        assert!(line.starts_with(&*venv.prefix.to_string_lossy()), "{text}");
    }
    server.stop();
}
