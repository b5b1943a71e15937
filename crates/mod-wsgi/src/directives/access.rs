//! Directives about scripts that decide about requests.

use std::marker::PhantomData;
use std::sync::Arc;

use wsgi_config::words::Words;

use super::{Contexts, Directive, Setter};
use crate::settings::HookScript;

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

/// Sections, and `.htaccess` where `AllowOverride AuthConfig` holds.
const AUTH: Contexts = Contexts(4 | 16);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIAccessScript",
            contexts: AUTH,
            help: c"Location of WSGI host access script file.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| {
                target.settings.access_script = Some(script(arguments, "access")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIAuthUserScript",
            contexts: AUTH,
            help: c"Location of WSGI user auth script file.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| {
                target.settings.auth_user_script = Some(script(arguments, "auth user")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIAuthGroupScript",
            contexts: AUTH,
            help: c"Location of WSGI group auth script file.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| {
                target.settings.auth_group_script = Some(script(arguments, "auth group")?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIGroupAuthoritative",
            contexts: AUTH,
            help: c"Enable/Disable as being authoritative on groups.",
            default: "On; has no effect",
            // `Require` says since Apache 2.4 how several answers are combined.
            setter: Setter::Flag(|_, _| {}),
        },
        Directive {
            name: c"WSGIDispatchScript",
            contexts: Contexts::REQUEST,
            help: c"Location of WSGI dispatch script.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| {
                target.settings.dispatch_script = Some(script(arguments, "dispatch")?);
                Ok(())
            }),
        },
    ];
}

const INVALID_APPLICATION_GROUP: &str = "Invalid name for WSGI application group.";

/// `file [application-group=name]`
fn script(arguments: &[u8], what: &str) -> Result<Arc<HookScript>, String> {
    let mut words = Words::new(arguments);
    let path = words.word().filter(|word| !word.is_empty());
    let path = path.ok_or_else(|| format!("Location of {what} script not supplied."))?;
    let mut application_group = None;
    while let Some(option) = words.option() {
        match option {
            Ok((b"application-group", value)) if value.is_empty() => {
                return Err(INVALID_APPLICATION_GROUP.to_owned());
            }
            Ok((b"application-group", value)) => application_group = Some(value),
            _ => return Err(format!("Invalid option to WSGI {what} script definition.")),
        }
    }
    Ok(Arc::new(HookScript { path, application_group }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};

    #[test]
    fn scripts_with_and_without_a_group() {
        let settings = read(
            "WSGIAccessScript /a.py
             WSGIAuthUserScript \"/b c.py\" application-group=x
             WSGIAuthGroupScript /c.py application-group=%{GLOBAL}
             WSGIDispatchScript /d.py",
        )
        .unwrap()
        .server
        .settings;
        let user = settings.auth_user_script.unwrap();
        assert_eq!(
            (&*user.path, user.application_group.as_deref()),
            (&b"/b c.py"[..], Some(&b"x"[..]))
        );
        assert_eq!(settings.access_script.unwrap().application_group, None);
        assert!(settings.auth_group_script.is_some() && settings.dispatch_script.is_some());
    }

    #[test]
    fn errors_of_scripts() {
        for (directive, what) in [
            ("WSGIAccessScript", "access"),
            ("WSGIAuthUserScript", "auth user"),
            ("WSGIAuthGroupScript", "auth group"),
            ("WSGIDispatchScript", "dispatch"),
        ] {
            refused(directive, &format!("Location of {what} script not supplied."));
            let option = format!("Invalid option to WSGI {what} script definition.");
            for bad in ["process-group=a", "x", "application-group =a"] {
                refused(&format!("{directive} /a.py {bad}"), &option);
            }
            let group = "Invalid name for WSGI application group.";
            refused(&format!("{directive} /a.py application-group="), group);
        }
    }
}
