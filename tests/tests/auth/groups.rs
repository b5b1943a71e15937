//! The groups of users.

use super::*;

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
