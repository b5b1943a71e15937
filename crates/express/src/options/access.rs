//! Python scripts that decide who gets in.

use super::{Group, Opt};

pub(super) static GROUP: Group = Group {
    title: "Access",
    about: "",
    options: &[
        Opt::text("host-access-script", "SCRIPT-PATH")
            .help("A script whose allow_access(environ, host) decides by the client's address.")
            .makes("`WSGIAccessScript`"),
        Opt::text("auth-user-script", "SCRIPT-PATH")
            .help(
                "A script whose check_password(environ, user, password) decides who a user is; \
                 for Digest it is get_realm_hash(environ, user, realm).",
            )
            .makes("`AuthType`, `AuthName`, `WSGIAuthUserScript`, `Require valid-user`"),
        Opt::text("auth-type", "TYPE")
            .default("Basic")
            .help("How users give their password: 'Basic' or 'Digest'.")
            .makes("`AuthType`, `AuthBasicProvider` or `AuthDigestProvider`"),
        Opt::text("auth-group-script", "SCRIPT-PATH")
            .help("A script whose groups_for_user(environ, user) tells the groups of a user.")
            .makes("`WSGIAuthGroupScript`, `Require wsgi-group`"),
        Opt::text("auth-group", "NAME")
            .default("wsgi")
            .help("The group that a user must belong to, with --auth-group-script.")
            .makes("`Require wsgi-group`"),
    ],
};
