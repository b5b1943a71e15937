//! Scripts that decide who may come in, who somebody is, which groups he is in, and where a request
//! runs: through Apache's own modules, with every answer and every failure.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use tests::http::Response;
use tests::{Mpm, Server, Site, matrix};

/// An application that says who it thinks asks, and where it runs.
const APPLICATION: &str = "
import json
def respond(environ, start_response, name):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    said = [name, environ.get('REMOTE_USER', '-'), environ['mod_wsgi.application_group']]
    return [' '.join(said).encode('latin-1')]
def application(environ, start_response):
    return respond(environ, start_response, 'application')
def other(environ, start_response):
    return respond(environ, start_response, 'other')
";

/// What is asked of the scripts is decided by the name of the user, or the query.
const SCRIPT: &str = r"
import hashlib

def check_password(environ, user, password):
    assert isinstance(user, str) and isinstance(password, str)
    assert 'HTTP_AUTHORIZATION' not in environ and 'HTTP_PROXY' not in environ
    if user == 'raises':
        raise ValueError('no password')
    if user == 'exits':
        raise SystemExit
    answers = {
        'ann': password == 'secret', 'bob': password == 'secret', 'eve': True,
        'stranger': None, 'alias': 'ann', 'empty': '', 'one': 1, 'bytes': b'ann',
        'nul': 'ann\0x', 'polish': '\u017c', 'same': user, 'surrogate': '\udc80',
    }
    if user == 'caf\xe9':
        return user
    return answers.get(user, True)

def get_realm_hash(environ, user, realm):
    def hashed(password):
        return hashlib.md5(f'{user}:{realm}:{password}'.encode('latin-1')).hexdigest()
    if user == 'raises':
        raise ValueError('no hash')
    return {
        'ann': hashed('secret'), 'bytes': hashed('secret').encode(), 'stranger': None,
        'empty': '', 'one': 1, 'wide': '\u017c', 'nul': hashed('secret') + '\0',
    }.get(user)

def groups_for_user(environ, user):
    if user == 'unlucky':
        raise ValueError('no groups')
    def half():
        yield 'admins'
        raise ValueError('only half')
    return {
        'ann': ['admins', 'the staff'], 'bob': (b'staff',), 'eve': [], 'half': half(),
        'number': 1, 'item': ['admins', 7], 'wide': ['\u017c'], 'dict': {'admins': 1},
        'upper': ['ADMINS'], 'word': 'admins', 'letters': b'admins', 'zero': ['admins\0x'],
    }[user]

def allow_access(environ, host):
    answer = environ['QUERY_STRING']
    if answer == 'raises':
        raise ValueError('no access')
    if answer == 'environ':
        assert environ['wsgi.errors'] is not None
        print('KEYS', ' '.join(sorted(environ)), file=environ['wsgi.errors'])
        print('HOST', host, environ['mod_ssl.is_https'](),
            environ['mod_ssl.var_lookup']('HTTPS'), file=environ['wsgi.errors'])
        global kept
        kept = environ
        return True
    if answer == 'kept':
        for call in (kept['mod_ssl.is_https'], lambda: kept['mod_ssl.var_lookup']('X')):
            try:
                call()
            except RuntimeError as error:
                print('EXPIRED', error, file=environ['wsgi.errors'])
        return True
    return {'': None, 'yes': True, 'no': False, 'none': None, 'one': 1, 'word': 'yes'}[answer]
";

const BROKEN: &str = "def check_password(:\n";

/// A site whose application is at `/`, with these lines about `/`; `SCRIPTS` in them is the script.
fn site(lines: &str) -> Site {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(8);
    let script = site.write("scripts.py", SCRIPT);
    let broken = site.write("broken.py", BROKEN);
    let empty = site.write("empty.py", "\n");
    let lines = lines
        .replace("SCRIPTS", &script.display().to_string())
        .replace("BROKEN", &broken.display().to_string())
        .replace("EMPTY", &empty.display().to_string());
    ["mod_authn_core", "mod_auth_basic", "mod_authz_user", "mod_authz_host"]
        .iter()
        .fold(site, |site, module| site.module(module))
        .mount("/", "app.wsgi", APPLICATION)
        .conf("WSGIApplicationGroup app")
        .conf(lines)
}

/// Basic authentication with the script, and these requirements.
fn basic(lines: &str) -> Site {
    site(&format!(
        "<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS\nWSGIAuthGroupScript SCRIPTS\n{lines}\n</Location>"
    ))
}

fn get_as(server: &Server, user: &str, password: &str) -> Response {
    get_as_bytes(server, user.as_bytes(), password.as_bytes())
}

fn get_as_bytes(server: &Server, user: &[u8], password: &[u8]) -> Response {
    let credentials = format!("Basic {}", base64(&[user, b":", password].concat()));
    server.request("GET", "/", &[("Authorization", &credentials), ("Proxy", "x")], b"")
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char;
            text.push(if at > chunk.len() { '=' } else { digit });
        }
    }
    text
}

#[test]
fn passwords_let_in_who_has_the_right_one() {
    matrix::for_each_cell(|cell| {
        let site = Site::new(cell.mpm, &cell.python).one_child(4);
        let script = site.write("scripts.py", SCRIPT);
        let server = ["mod_authn_core", "mod_auth_basic", "mod_authz_user"]
            .iter()
            .fold(site, |site, module| site.module(module))
            .mount("/", "app.wsgi", APPLICATION)
            .conf("<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi")
            .conf(format!("WSGIAuthUserScript {}", script.display()))
            .conf("Require valid-user\n</Location>")
            .start();
        assert_eq!(server.get("/").status, 401);
        let found = get_as(&server, "ann", "secret").with_status(200).text();
        assert!(found.starts_with("application ann "), "{found}");
        assert_eq!(get_as(&server, "ann", "wrong").status, 401);
        assert_eq!(get_as(&server, "stranger", "secret").status, 401);
        server.log().expect("user ann: authentication failure for \"/\": Password Mismatch");
        server.log().expect("user stranger not found: /");
        server.stop();
    });
}

#[test]
fn a_script_may_say_who_somebody_is() {
    let server = basic("Require valid-user").start();
    let name = |user: &[u8]| {
        let body = get_as_bytes(&server, user, b"x").with_status(200).body;
        let mut words = body.split(|byte| *byte == b' ');
        words.nth(1).unwrap().to_vec()
    };
    assert_eq!(name(b"alias"), b"ann");
    assert_eq!(name(b"same"), b"same");
    // Another character than Latin-1 has can only come from elsewhere.
    assert_eq!(name(b"polish"), "\u{17c}".as_bytes());
    server.stop();
}

/// D11: what a script gives back unchanged is unchanged.
#[test]
fn d11_names_of_users_survive_the_round_trip() {
    let server = basic("Require valid-user").start();
    let body = get_as_bytes(&server, b"caf\xe9", b"x").with_status(200).body;
    assert!(body.starts_with(b"application caf\xe9 "), "{}", body.escape_ascii());
    server.stop();
}

#[test]
fn passwords_that_cannot_be_checked_let_nobody_in() {
    let server = basic("Require valid-user").start();
    for (user, said) in [
        ("empty", "WSGI0176: Basic auth provider returned empty user name string."),
        (
            "one",
            "WSGI0177: Basic auth provider must return True, False, None or user name as string.",
        ),
        ("bytes", "WSGI0177: "),
        ("nul", "WSGI0177: "),
        ("raises", "WSGI0174: "),
        ("exits", "WSGI0175: "),
        ("surrogate", "WSGI0174: "),
    ] {
        assert_eq!(get_as(&server, user, "x").status, 500);
        server.log().expect(said);
    }
    server.log().allow("Traceback (most recent call last):");
    server.log().allow("  File ");
    server.log().allow("    ");
    server.log().allow("ValueError: no password");
    server.log().allow("SystemExit");
    server.log().allow("UnicodeEncodeError");
    assert_eq!(get_as(&server, "ann", "secret").status, 200);
    server.stop();
}

#[test]
fn user_scripts_that_are_missing_or_broken_let_nobody_in() {
    let section = |path: &str, script: &str| {
        format!(
            "<Location {path}>\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
             Require valid-user\n{script}\n</Location>\n"
        )
    };
    let lines = [
        section("/none", ""),
        section("/broken", "WSGIAuthUserScript BROKEN"),
        section("/empty", "WSGIAuthUserScript EMPTY"),
        section("/gone", "WSGIAuthUserScript /no/such/file"),
    ];
    let server = site(&lines.concat()).start();
    let credentials = format!("Basic {}", base64(b"ann:secret"));
    for (path, said) in [
        ("/none", "WSGI0041: Location of WSGI user authentication script not provided."),
        ("/broken", "WSGI0105: Could not read or compile WSGI script '"),
        ("/empty", "does not provide 'Basic' auth provider."),
        ("/gone", "WSGI0105: "),
    ] {
        let headers = [("Authorization", credentials.as_str())];
        assert_eq!(server.request("GET", path, &headers, b"").status, 500);
        server.log().expect(said);
    }
    for tail in ["WSGI0174: ", "  File ", "    ", "SyntaxError", "FileNotFoundError"] {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn requirements_of_groups_are_combined_as_any_other() {
    for (require, allowed, denied) in [
        ("Require wsgi-group admins", vec!["ann", "dict"], vec!["bob", "eve"]),
        ("Require wsgi-group other \"the staff\"", vec!["ann"], vec!["bob"]),
        (
            "<RequireAny>\nRequire wsgi-group staff\nRequire user ann\n</RequireAny>",
            vec!["ann", "bob"],
            vec!["eve"],
        ),
        (
            "<RequireAll>\nRequire wsgi-group admins\nRequire user ann\n</RequireAll>",
            vec!["ann"],
            vec!["dict", "bob"],
        ),
        (
            "<RequireAll>\nRequire valid-user\nRequire not wsgi-group admins\n</RequireAll>",
            vec!["bob", "eve"],
            vec!["ann"],
        ),
        (
            "<RequireAll>\nRequire valid-user\n<RequireNone>\nRequire wsgi-group admins\n\
             </RequireNone>\n</RequireAll>",
            vec!["bob", "eve"],
            vec!["ann"],
        ),
    ] {
        let server = basic(require).start();
        assert_eq!(server.get("/").status, 401);
        for user in allowed {
            assert_eq!(get_as(&server, user, "secret").status, 200, "{require}: {user}");
        }
        for user in denied {
            assert_eq!(get_as(&server, user, "secret").status, 401, "{require}: {user}");
        }
        server.log().allow("WSGI0059: Authorization of user '");
        server.log().allow("WSGI0060: Authorization of user '");
        server.log().allow("AH01631: ");
        server.log().allow("AH01630: ");
        server.stop();
    }
}

#[test]
fn d11_names_of_groups_differ_in_case() {
    let server = basic("Require wsgi-group admins").start();
    assert_eq!(get_as(&server, "upper", "x").status, 401);
    server.log().expect(
        "WSGI0060: Authorization of user 'upper' to access '/' failed. User is not a member of \
         designated groups.",
    );
    // A name that ends where C's strings do is another name, too.
    assert_eq!(get_as(&server, "zero", "x").status, 401);
    server.log().allow("WSGI0060: ");
    server.log().allow("AH01631: ");
    server.stop();
}

/// D9: whoever cannot be told to be in a group is not let in for that, either.
#[test]
fn d09_groups_that_cannot_be_told_grant_nothing() {
    for require in [
        "Require wsgi-group admins",
        "<RequireAll>\nRequire valid-user\nRequire not wsgi-group staff\n</RequireAll>",
        "<RequireAll>\nRequire valid-user\n<RequireNone>\nRequire wsgi-group staff\n\
         </RequireNone>\n</RequireAll>",
    ] {
        let server = basic(require).start();
        for (user, said) in [
            ("unlucky", "ValueError: no groups"),
            ("half", "ValueError: only half"),
            ("number", "WSGI0051: Result returned from 'groups_for_user' in '"),
            ("item", "WSGI0050: Item returned from 'groups_for_user' in '"),
            ("letters", "WSGI0050: "),
            ("wide", "WSGI0049: Item returned from 'groups_for_user' in '"),
        ] {
            assert_eq!(get_as(&server, user, "x").status, 500, "{require}: {user}");
            server.log().expect(said);
        }
        for tail in ["TypeError: ", "WSGI0174: ", "  File ", "    ", "Traceback"] {
            server.log().allow(tail);
        }
        server.stop();
    }
}

#[test]
fn group_scripts_that_are_missing_or_broken_let_nobody_in() {
    for (script, said) in [
        ("", "WSGI0058: Location of WSGI group authorization script not provided."),
        ("WSGIAuthGroupScript BROKEN", "WSGI0105: "),
        ("WSGIAuthGroupScript EMPTY", "does not provide 'groups_for_user' callable."),
    ] {
        let server = site(&format!(
            "<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
             WSGIAuthUserScript SCRIPTS\n{script}\n\
             <RequireAll>\nRequire valid-user\nRequire not wsgi-group x\n</RequireAll>\n</Location>"
        ))
        .start();
        assert_eq!(get_as(&server, "ann", "secret").status, 500);
        server.log().expect(said);
        for tail in ["WSGI0174: ", "  File ", "    ", "SyntaxError"] {
            server.log().allow(tail);
        }
        server.stop();
    }
}

#[test]
fn digests_let_in_who_has_the_right_password() {
    let server = site(
        "<Location />\nAuthType Digest\nAuthName realm\nAuthDigestProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS\nRequire valid-user\n</Location>",
    )
    .module("mod_auth_digest")
    .start();
    assert_eq!(server.get("/").status, 401);
    let url = format!("http://{}/", server.address());
    let curl = |user: &str| {
        let arguments = ["-s", "-m", "20", "--digest", "-w", " %{http_code}", "-u", user, &url];
        let output = Command::new("curl").args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(curl("ann:secret").starts_with("application ann "), "{}", curl("ann:secret"));
    assert!(curl("bytes:secret").starts_with("application bytes "));
    assert!(curl("ann:wrong").ends_with(" 401"));
    assert!(curl("stranger:secret").ends_with(" 401"));
    for (user, said) in [
        ("empty", "WSGI0178: Digest auth provider returned empty realm hash."),
        ("one", "WSGI0179: Digest auth provider must return None or string object."),
        ("nul", "WSGI0179: "),
        (
            "wide",
            "TypeError: Digest auth provider must return None or string object, value containing \
             non 'latin-1' characters found",
        ),
        ("raises", "ValueError: no hash"),
    ] {
        let answer = curl(&format!("{user}:secret"));
        assert!(answer.ends_with(" 500"), "{user}: {answer}");
        server.log().expect(said);
    }
    for tail in
        ["WSGI0174: ", "  File ", "    ", "Traceback", "AH01790: ", "AH01792: ", "AH01794: "]
    {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn clients_are_let_in_or_not() {
    let server = site("<Location />\nWSGIAccessScript SCRIPTS\n</Location>").start();
    for (query, status) in [
        ("yes", 200),
        ("none", 200),
        ("no", 403),
        ("one", 403),
        ("word", 403),
        ("raises", 403),
        ("unheard-of", 403),
    ] {
        assert_eq!(server.get(&format!("/?{query}")).status, status, "{query}");
        if status == 403 {
            server.log().expect("WSGI0057: Client denied by server configuration: '");
        }
    }
    server.log().expect("WSGI0055: Result returned from 'allow_access' in '");
    server.log().expect("ValueError: no access");
    server.log().expect("KeyError: 'unheard-of'");
    for tail in ["WSGI0055", "WSGI0057", "WSGI0174", "  File ", "    ", "Traceback"] {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn access_scripts_that_are_broken_let_nobody_in() {
    let server = site(
        "<Location /broken>\nWSGIAccessScript BROKEN\n</Location>\n\
         <Location /empty>\nWSGIAccessScript EMPTY\n</Location>\n\
         <Location /inner>\nWSGIAccessScript SCRIPTS application-group=inner\n</Location>",
    )
    .start();
    assert_eq!(server.get("/broken").status, 403);
    server.log().expect("WSGI0105: ");
    assert_eq!(server.get("/empty").status, 403);
    server.log().expect("does not provide 'allow_access' callable.");
    assert_eq!(server.get("/inner?yes").status, 200);
    assert_eq!(server.get("/none-of-them").status, 200);
    for tail in ["WSGI0057", "WSGI0174", "  File ", "    ", "SyntaxError"] {
        server.log().allow(tail);
    }
    server.stop();
}

#[test]
fn hooks_see_the_request_and_no_credentials() {
    let server = site(
        "SetEnv SECRET 1\nServerAdmin me@example.org\n\
         <Location />\nWSGIAccessScript SCRIPTS\n</Location>",
    )
    .start();
    let headers = [("Authorization", "Basic eDp5"), ("Proxy", "x"), ("X-Some", "y")];
    assert_eq!(server.request("GET", "/a//b?environ", &headers, b"").status, 200);
    let keys = server.log().expect("KEYS ");
    let keys: Vec<&str> = keys.message().split_whitespace().skip(1).collect();
    assert_eq!(
        keys,
        [
            "DOCUMENT_ROOT",
            "HTTP_CONNECTION",
            "HTTP_HOST",
            "HTTP_X_SOME",
            "PATH_INFO",
            "QUERY_STRING",
            "REMOTE_ADDR",
            "REMOTE_PORT",
            "REQUEST_METHOD",
            "REQUEST_URI",
            "SCRIPT_NAME",
            "SERVER_ADDR",
            "SERVER_ADMIN",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
            "SERVER_SIGNATURE",
            "SERVER_SOFTWARE",
            "apache.version",
            "mod_ssl.is_https",
            "mod_ssl.var_lookup",
            "mod_wsgi.application_group",
            "mod_wsgi.process_group",
            "mod_wsgi.version",
            "wsgi.errors",
        ]
    );
    let host = server.log().expect("HOST ");
    assert!(host.message().ends_with("HOST 127.0.0.1 0 None"), "{}", host.raw);
    assert_eq!(server.get("/?kept").status, 200);
    for _ in 0..2 {
        server.log().expect("EXPIRED request object has expired");
    }
    server.log().allow("EXPIRED ");
    server.stop();
}

/// Directives 4: hooks run, and applications do not, where embedded mode is forbidden.
#[test]
fn directives_04_hooks_start_python_where_applications_may_not() {
    let site =
        site("WSGIRestrictEmbedded On\n<Directory />\nAllowOverride AuthConfig\n</Directory>");
    let root = site.path("htdocs/files");
    site.write("htdocs/files/a.txt", "a file");
    let script = site.path("scripts.py");
    let files = root.display().to_string();
    let server = site.conf(format!("Alias /static {files}")).start();
    assert_eq!(server.get("/static/a.txt").status, 200);
    let access = format!("WSGIAccessScript {}\n", script.display());
    server.site().write("htdocs/files/.htaccess", access);
    assert_eq!(server.get("/static/a.txt?yes").with_status(200).text(), "a file");
    assert_eq!(server.get("/static/a.txt?no").status, 403);
    server.log().expect("WSGI0057: ");
    assert_eq!(server.get("/").status, 500);
    server.log().expect("WSGI0143: ");
    server.stop();
}

#[test]
fn htaccess_may_name_scripts_only_where_it_may() {
    let site = site("");
    let script = site.path("scripts.py").display().to_string();
    let htdocs = site.path("htdocs").display().to_string();
    site.write("htdocs/f/a.txt", "a file");
    let server = site
        .conf(format!("Alias /f {htdocs}/f\n<Directory {htdocs}>\nAllowOverride FileInfo"))
        .conf("</Directory>")
        .start();
    for line in [
        format!("WSGIAccessScript {script}"),
        format!("WSGIAuthUserScript {script}"),
        format!("WSGIAuthGroupScript {script}"),
        format!("WSGIDispatchScript {script}"),
        format!("WSGIHandlerScript x {script}"),
        "WSGIGroupAuthoritative On".to_owned(),
        "WSGIPassApacheRequest On".to_owned(),
    ] {
        server.site().write("htdocs/f/.htaccess", format!("{line}\n"));
        assert_eq!(server.get("/f/a.txt").status, 500);
        let name = line.split(' ').next().unwrap();
        server.log().expect(&format!(".htaccess: {name} not allowed here"));
    }
    // Errors are as in the server's own files, and nothing but an error.
    for (line, said) in [
        ("WSGITrustedProxies localhost", "Unable to parse trusted proxy IP address/subnet"),
        ("WSGITrustedProxyHeaders X_Real_IP", "X_Real_IP"),
        ("WSGIScriptReloading maybe", "WSGIScriptReloading must be one of: Off | On"),
        ("WSGIMapHEADToGET maybe", "WSGIMapHEADToGET must be one of: Off | On | Auto"),
    ] {
        server.site().write("htdocs/f/.htaccess", format!("{line}\n"));
        assert_eq!(server.get("/f/a.txt").status, 500);
        server.log().expect(said);
    }
    server.site().write("htdocs/f/.htaccess", "WSGIErrorOverride On\n");
    assert_eq!(server.get("/f/a.txt").status, 200);
    server.stop();
}

#[test]
fn satisfy_any_takes_either() {
    let server = site(
        "<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS\nWSGIAccessScript SCRIPTS\nRequire valid-user\nSatisfy Any\n\
         </Location>",
    )
    .module("mod_access_compat")
    .start();
    assert_eq!(server.get("/?yes").status, 200);
    // No line about a denied client: he may still say who he is.
    assert_eq!(server.get("/?no").status, 401);
    let credentials = format!("Basic {}", base64(b"ann:secret"));
    let headers = [("Authorization", credentials.as_str())];
    assert_eq!(server.request("GET", "/?no", &headers, b"").status, 200);
    server.stop();
}

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
    let credentials = format!("Basic {}", base64(b"ann:secret"));
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

#[test]
fn hook_scripts_are_loaded_again_when_they_change() {
    let server = site("<Location />\nWSGIAccessScript SCRIPTS\n</Location>").start();
    assert_eq!(server.get("/?no").status, 403);
    server.log().expect("WSGI0057: ");
    let path = server.site().path("scripts.py");
    std::fs::write(&path, "def allow_access(environ, host):\n    return True\n").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(99)).unwrap();
    assert_eq!(server.get("/?no").status, 200);
    server.stop();
}

#[test]
fn a_name_of_a_provider_may_be_another() {
    let server = site(
        "<AuthnProviderAlias wsgi users>\nWSGIAuthUserScript SCRIPTS\n</AuthnProviderAlias>\n\
         <AuthzProviderAlias wsgi-group administrators \"admins chiefs\">\n\
         WSGIAuthGroupScript SCRIPTS\n</AuthzProviderAlias>\n\
         <Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider users\n\
         Require administrators\n</Location>",
    )
    .start();
    assert_eq!(get_as(&server, "ann", "secret").status, 200);
    assert_eq!(get_as(&server, "bob", "secret").status, 401);
    server.log().allow("WSGI0060: ");
    server.log().allow("AH01631: ");
    server.stop();
}

/// Two interpreters on the same threads, and an application in a third.
#[test]
fn many_requests_at_once_are_decided_each() {
    let server = site(
        "<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n\
         WSGIAuthUserScript SCRIPTS application-group=users\nWSGIAuthGroupScript SCRIPTS\n\
         Require wsgi-group admins\n</Location>",
    )
    .start();
    std::thread::scope(|scope| {
        for (user, password, status) in
            [("ann", "secret", 200), ("ann", "wrong", 401), ("bob", "secret", 401)]
        {
            for _ in 0..3 {
                let server = &server;
                scope.spawn(move || {
                    for _ in 0..100 {
                        assert_eq!(get_as(server, user, password).status, status, "{user}");
                    }
                });
            }
        }
    });
    for text in ["WSGI0060: ", "AH01631: ", "AH01617: ", "authentication failure"] {
        server.log().allow(text);
    }
    server.stop();
}

/// The module is unloaded and loaded in between, and providers with it.
#[test]
fn providers_are_there_after_restarts() {
    matrix::for_each_mpm(|mpm| {
        let site = Site::new(mpm, &matrix::python()).one_child(4);
        let script = site.write("scripts.py", SCRIPT).display().to_string();
        let mut server = ["mod_authn_core", "mod_auth_basic", "mod_authz_user"]
            .iter()
            .fold(site, |site, module| site.module(module))
            .mount("/", "app.wsgi", APPLICATION)
            .conf("<Location />\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi")
            .conf(format!("WSGIAuthUserScript {script}\nWSGIAccessScript {script}"))
            .conf(format!("WSGIAuthGroupScript {script}\nRequire wsgi-group admins\n</Location>"))
            .start();
        for round in 0..3 {
            assert_eq!(get_as(&server, "ann", "secret").status, 200);
            assert_eq!(server.get("/").status, 401);
            match round {
                0 => server.graceful(),
                1 => server.restart(),
                _ => {}
            }
        }
        server.stop();
    });
}

/// Directives 4: where Python cannot be started, scripts cannot be asked, and that is all.
#[test]
fn directives_04_without_python_nobody_is_let_in() {
    let site = Site::homeless(Mpm::Event).one_child(4);
    let script = site.write("scripts.py", SCRIPT).display().to_string();
    site.write("htdocs/a.txt", "a file");
    let server = ["mod_authn_core", "mod_auth_basic", "mod_authz_user"]
        .iter()
        .fold(site, |site, module| site.module(module))
        .conf("WSGIPythonHome /no/such/home")
        .conf(format!("<Location /a.txt>\nWSGIAccessScript {script}\n</Location>"))
        .conf("<Location /b.txt>\nAuthType Basic\nAuthName here\nAuthBasicProvider wsgi")
        .conf(format!("WSGIAuthUserScript {script}\nRequire valid-user\n</Location>"))
        .start();
    assert_eq!(server.get("/a.txt?yes").status, 403);
    server.log().expect("WSGI0036: Python interpreter configuration failed in embedded mode: ");
    server.log().expect("WSGI0001: ");
    server.log().expect("WSGI0210: ");
    server.log().expect("WSGI0057: ");
    let credentials = format!("Basic {}", base64(b"ann:secret"));
    let headers = [("Authorization", credentials.as_str())];
    assert_eq!(server.request("GET", "/b.txt", &headers, b"").status, 500);
    server.log().expect("WSGI0210: ");
    server.stop();
}
