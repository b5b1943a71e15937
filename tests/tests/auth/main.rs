//! Scripts that decide who may come in, who somebody is, which groups he is in, and where a request
//! runs: through Apache's own modules, with every answer and every failure.

#![allow(clippy::unwrap_used)]

mod access;
mod dispatch;
mod groups;
mod providers;
mod users;

use base64::prelude::{BASE64_STANDARD, Engine};
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
    let credentials = basic_credentials(user, password);
    server.request("GET", "/", &[("Authorization", &credentials), ("Proxy", "x")], b"")
}

/// The value of a header `Authorization`: RFC 7617.
fn basic_credentials(user: &[u8], password: &[u8]) -> String {
    format!("Basic {}", BASE64_STANDARD.encode([user, b":", password].concat()))
}
