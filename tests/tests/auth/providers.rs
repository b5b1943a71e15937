//! As providers of Apache's: under other names, from many threads, over restarts, without Python.

use super::*;

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
    let credentials = basic_credentials(b"ann", b"secret");
    let headers = [("Authorization", credentials.as_str())];
    assert_eq!(server.request("GET", "/b.txt", &headers, b"").status, 500);
    server.log().expect("WSGI0210: ");
    server.stop();
}
