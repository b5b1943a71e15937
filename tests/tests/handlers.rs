//! Handler scripts: one script for whatever has a handler of its name.

#![allow(clippy::unwrap_used)]

use tests::{Mode, Mpm, Site, matrix};

const SCRIPT: &str = "
def handle_request(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ('SCRIPT_NAME', 'PATH_INFO', 'SCRIPT_FILENAME', 'mod_wsgi.handler_script',
             'mod_wsgi.process_group', 'mod_wsgi.application_group', 'mod_wsgi.callable_object',
             'HTTP_AUTHORIZATION')
    return [('%s=%s\\n' % (name, environ.get(name))).encode() for name in names]
application = None
";

fn values(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once('=').unwrap().1).collect()
}

#[test]
fn a_handler_script_serves_files_and_what_is_no_file() {
    for mode in [Mode::Embedded, Mode::Daemon] {
        let site = Site::new(Mpm::Event, &matrix::python()).mode(mode);
        let script = site.write("handler.py", SCRIPT).display().to_string();
        let file = site.write("htdocs/a.page", "").display().to_string();
        let group = if mode == Mode::Daemon { tests::GROUP } else { "" };
        let named = if mode == Mode::Daemon { tests::GROUP } else { "%{GLOBAL}" };
        let server = site
            .conf(format!(
                "WSGIHandlerScript Pages {script} process-group={named} \
                 application-group=%{{GLOBAL}}"
            ))
            .conf("AddHandler Pages .page")
            .conf(format!(
                "<Location /any>\nWSGIHandlerScript any {script} pass-authorization=On \
                 application-group=other\nSetHandler any\n</Location>"
            ))
            .start();
        let auth = [("Authorization", "Basic YTpi")];
        let got = server.request("GET", "/a.page/x", &auth, b"").with_status(200).text();
        let expect = ["/a.page", "/x", &file, &script, group, "", "handle_request", "None"];
        assert_eq!(values(&got), expect);
        // No such file is needed, and the section's own script has options of its own.
        let got = server.request("GET", "/any/where", &auth, b"").with_status(200).text();
        let got = values(&got);
        assert_eq!(got[..2], ["/any", "/where"]);
        assert_eq!(got[3..], [&script, group, "other", "handle_request", "Basic YTpi"]);
        // A handler of another name is somebody else's.
        assert_eq!(server.get("/nothing").status, 404);
        server.stop();
    }
}

#[test]
fn a_handler_script_says_when_it_has_to_be_loaded_again() {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(4);
    let source = "
import sys
sys.loads = getattr(sys, 'loads', 0) + 1
def reload_required(resource):
    return resource.endswith('new.page')
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [str(sys.loads).encode()]
";
    let script = site.write("handler.py", source).display().to_string();
    let server = site
        .conf(format!("WSGIHandlerScript pages {script} application-group=%{{GLOBAL}}"))
        .conf("AddHandler pages .page")
        .start();
    assert_eq!(server.get("/old.page").with_status(200).text(), "1");
    assert_eq!(server.get("/old.page").with_status(200).text(), "1");
    assert_eq!(server.get("/new.page").with_status(200).text(), "2");
    assert_eq!(server.get("/old.page").with_status(200).text(), "2");
    server.stop();
}

/// The type is the application's business alone, whatever the name in the URL looks like.
#[test]
fn no_type_is_made_of_a_name() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let source = "
def handle_request(environ, start_response):
    start_response('200 OK', [])
    return [b'a']
";
    let script = site.write("handler.py", source).display().to_string();
    site.write("htdocs/a.html", "");
    let server = site
        .conf(format!("WSGIHandlerScript any {script} application-group=%{{GLOBAL}}"))
        .conf("AddType text/html .html\n<Location />\nSetHandler any\n</Location>")
        .start();
    for path in ["/a.html", "/none.html", "/"] {
        assert_eq!(server.get(path).with_status(200).header("Content-Type"), None, "{path}");
    }
    server.stop();
}

#[test]
fn a_missing_handler_script_is_an_error() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let server = site
        .conf("WSGIHandlerScript pages /no/such.py application-group=%{GLOBAL}")
        .conf("AddHandler pages .page")
        .start();
    assert_eq!(server.get("/a.page").status, 500);
    server.log().allow("/no/such.py");
    server.stop();
}
