//! Scripts that say where a request runs.

use super::*;

const DISPATCH: &str = "
def answer(environ, name):
    assert 'mod_wsgi.callable_object' not in environ and 'wsgi.input' not in environ
    said = dict(pair.split('=', 1) for pair in environ['QUERY_STRING'].split('&') if pair)
    value = said.get(name)
    return {'RAISES': lambda: 1 / 0, 'BYTES': lambda: b'inner', 'ONE': lambda: 1,
        'WIDE': lambda: '\\u017c', 'NUL': lambda: 'a\\0b'}.get(value, lambda: value)()
def process_group(environ):
    return answer(environ, 'p')
def application_group(environ):
    return answer(environ, 'a')
def callable_object(environ):
    return answer(environ, 'c')
";

#[test]
fn dispatch_scripts_say_where_a_request_runs() {
    let site = site("");
    let script = site.write("dispatch.py", DISPATCH);
    let server = site
        .conf(format!("WSGIDispatchScript {}", script.display()))
        .conf("SetEnv GROUP from-environment")
        .start();
    let said = |query: &str| server.get(&format!("/?{query}")).with_status(200).text();
    assert_eq!(said(""), "application - app");
    assert_eq!(said("a=inner"), "application - inner");
    assert_eq!(said("a=BYTES&c=other"), "other - inner");
    assert_eq!(said("a=%{GLOBAL}"), "application - ");
    assert_eq!(said("a=%{ENV:GROUP}"), "application - from-environment");
    assert_eq!(said("p=%{GLOBAL}"), "application - app");
    assert_eq!(server.get("/?p=nowhere").status, 500);
    server.log().expect("WSGI0150: ");
    for (query, said) in [
        ("p=RAISES", "ZeroDivisionError"),
        ("p=ONE", "TypeError: Process group must be a byte string"),
        ("a=ONE", "TypeError: Application group must be a string object"),
        ("c=ONE", "TypeError: Callable object must be a string object"),
        (
            "c=WIDE",
            "TypeError: Callable object must be a string object, value containing non 'latin-1' \
             characters found",
        ),
        ("a=NUL", "TypeError: Application group must be a string object"),
    ] {
        assert_eq!(server.get(&format!("/?{query}")).status, 500);
        server.log().expect(said);
    }
    for tail in ["WSGI0174", "  File ", "    ", "Traceback", "TypeError", "ZeroDivisionError"] {
        server.log().allow(tail);
    }
    server.stop();
}

/// The scripts run in the server's children, the application in a process of its own.
#[test]
fn scripts_decide_for_daemon_mode_too() {
    let site = site(
        "WSGIDaemonProcess one threads=2\nWSGIDaemonProcess two threads=2\nWSGIProcessGroup one\n\
         <Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS\nWSGIAuthGroupScript SCRIPTS\nRequire wsgi-group admins\n\
         </Location>",
    );
    let application = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [(environ['mod_wsgi.process_group'] + ' ' + environ['REMOTE_USER']).encode()]
";
    site.write("app.wsgi", application);
    let dispatch = site.write("dispatch.py", DISPATCH).display().to_string();
    let server = site.conf(format!("WSGIDispatchScript {dispatch}")).start();
    let credentials = basic_credentials(b"ann", b"secret");
    let headers = [("Authorization", credentials.as_str())];
    assert_eq!(server.get("/").status, 401);
    for (query, said) in [("", "one ann"), ("p=two", "two ann"), ("p=%{GLOBAL}", " ann")] {
        let response = server.request("GET", &format!("/?{query}"), &headers, b"");
        assert_eq!(response.with_status(200).text(), said, "{query}");
    }
    assert_eq!(get_as(&server, "bob", "secret").status, 401);
    assert_eq!(server.request("GET", "/?p=three", &headers, b"").status, 500);
    server.log().expect("WSGI0151: No WSGI daemon process called 'three' has been configured.");
    server.log().allow("WSGI0060: ");
    server.log().allow("AH01631: ");
    server.stop();
}

/// D10: a script that cannot say where a request runs is no reason to run it anywhere.
#[test]
fn d10_dispatch_scripts_that_cannot_be_loaded_end_the_request() {
    let server = site(
        "<Location /broken>\nWSGIDispatchScript BROKEN\n</Location>\n\
         <Location /gone>\nWSGIDispatchScript /no/such/file\n</Location>\n\
         <Location /empty>\nWSGIDispatchScript EMPTY\n</Location>",
    )
    .start();
    assert_eq!(server.get("/broken").status, 500);
    assert_eq!(server.get("/gone").status, 500);
    // All of its functions are optional.
    assert_eq!(server.get("/empty").status, 200);
    for tail in ["WSGI0105", "WSGI0174", "  File ", "    ", "SyntaxError", "FileNotFoundError"] {
        server.log().allow(tail);
    }
    server.stop();
}
