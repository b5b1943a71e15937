//! `WSGIAuthUserScript` and `WSGIAuthGroupScript`: who somebody is, and which groups he is in.
//!
//! Names of groups are compared byte by byte: two that differ in case are two groups.

use engine_api::{Decision, Verdict};
use httpd_sys::{AuthnProvider, AuthzProvider, Password, RealmHash, Request, Requirement};
use log_codes::{
    Code, WSGI0041, WSGI0042, WSGI0044, WSGI0045, WSGI0048, WSGI0058, WSGI0059, WSGI0060,
};
use wsgi_config::words::Words;

use super::{Ask, ask, effective};
use crate::log;

/// The provider `wsgi`.
pub(crate) struct Users;

impl AuthnProvider for Users {
    fn check_password(request: &mut Request<'_>, user: &[u8], password: &[u8]) -> Password {
        let arguments = [user, password];
        let codes = (&WSGI0041, &WSGI0042);
        match about_user(request, Decision::Password, &arguments, codes) {
            (Verdict::Yes, _) => Password::Right,
            (Verdict::No, _) => Password::Wrong,
            (Verdict::None, _) => Password::NoUser,
            (Verdict::Names, Some(user)) => {
                request.set_user(&user);
                Password::Right
            }
            (Verdict::Names | Verdict::Failed, _) => Password::Error,
        }
    }

    fn realm_hash(request: &mut Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash {
        let arguments = [user, realm];
        let codes = (&WSGI0044, &WSGI0045);
        match about_user(request, Decision::RealmHash, &arguments, codes) {
            (Verdict::None, _) => RealmHash::NoUser,
            (Verdict::Names, Some(hash)) => RealmHash::Hash(hash),
            (Verdict::Names | Verdict::Yes | Verdict::No | Verdict::Failed, _) => RealmHash::Error,
        }
    }
}

/// Asks the script about users; `codes` are for "there is none" and "it cannot run". The second part
/// of the answer is the name it returned.
fn about_user(
    request: &mut Request<'_>,
    decision: Decision,
    arguments: &[&[u8]],
    codes: (&'static Code<0>, &'static Code<1>),
) -> (Verdict, Option<Vec<u8>>) {
    let effective = effective(request);
    let Some(script) = &effective.section.auth_user_script else {
        log::code(request, codes.0);
        return (Verdict::Failed, None);
    };
    let question = Ask { script, decision, arguments, unavailable: codes.1 };
    let mut name = None;
    let verdict = ask(request, effective, &question, &mut |_, text| name = Some(text.to_vec()));
    (verdict, name)
}

/// The provider `wsgi-group`.
pub(crate) struct Groups;

impl AuthzProvider for Groups {
    /// What cannot be told is an error: `Require not wsgi-group` and `<RequireNone>` would take a
    /// plain "no" for a reason to let somebody in.
    fn check(request: &mut Request<'_>, arguments: &[u8]) -> Requirement {
        let Some(user) = request.user() else {
            return Requirement::NoUser;
        };
        let effective = effective(request);
        let Some(script) = &effective.section.auth_group_script else {
            log::code(request, &WSGI0058);
            return Requirement::Error;
        };
        let question =
            Ask { script, decision: Decision::Groups, arguments: &[user], unavailable: &WSGI0048 };
        let mut groups = Vec::new();
        let keep = &mut |_, name: &[u8]| groups.push(name.to_vec());
        if ask(request, effective, &question, keep) != Verdict::Names {
            return Requirement::Error;
        }
        let mut words = Words::new(arguments);
        let mut required = std::iter::from_fn(|| words.word());
        if groups.is_empty() {
            log::request(request, WSGI0059.message([&user, &request.uri()]));
            Requirement::NotMet
        } else if required.any(|name| groups.contains(&name)) {
            Requirement::Met
        } else {
            log::request(request, WSGI0060.message([&user, &request.uri()]));
            Requirement::NotMet
        }
    }
}
