//! Users and their passwords.

use std::process::Command;

use super::*;

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
    let credentials = basic_credentials(b"ann", b"secret");
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
