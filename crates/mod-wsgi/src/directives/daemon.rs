//! Directives that define groups of daemon processes, and say who may use them.

use std::marker::PhantomData;

use wsgi_config::daemon_process::DaemonProcess;
use wsgi_config::words::Words;

use super::{Contexts, Directive, Setter, Target};
use crate::groups::{Accounts, Group, check_chroot};

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIDaemonProcess",
            contexts: Contexts(1 | 2),
            help: c"Specify details of daemon processes to start.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| define(target, arguments)),
        },
        Directive {
            name: c"WSGIRestrictProcess",
            contexts: Contexts::REQUEST,
            help: c"Limit selectable WSGI process groups.",
            default: "every group",
            setter: Setter::Raw(|target, _, arguments| {
                let mut words = Words::new(arguments);
                let names = std::iter::from_fn(|| words.word());
                let names = names.map(|name| if name == GLOBAL { Vec::new() } else { name });
                target.settings.restrict_process = Some(names.collect());
                Ok(())
            }),
        },
        Directive {
            name: c"WSGISwapConcurrency",
            contexts: Contexts::SERVER,
            help: c"Number of process groups that may replace their processes at a time.",
            default: "1",
            setter: Setter::Word(|target, number| {
                let number = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
                let number = number.filter(|number| (1..=MOST_SWAPS).contains(number));
                target.global.swap_concurrency = Some(number.ok_or_else(|| {
                    format!("WSGISwapConcurrency must be a number from 1 to {MOST_SWAPS}.")
                })?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGISocketPrefix",
            contexts: Contexts::SERVER,
            help: c"Path prefix for the daemon process sockets.",
            default: "none: there are no socket files",
            setter: Setter::Word(|_, path| {
                if path.len() < MAX_PATH {
                    return Ok(());
                }
                let path = String::from_utf8_lossy(path);
                Err(format!("Invalid WSGISocketPrefix '{path}'."))
            }),
        },
        Directive {
            name: c"WSGISocketRotation",
            contexts: Contexts::SERVER,
            help: c"Enable/Disable rotation of daemon process sockets.",
            default: "On",
            setter: Setter::Flag(|_, _| {}),
        },
        Directive {
            name: c"WSGIAcceptMutex",
            contexts: Contexts::SERVER,
            help: c"Set accept mutex type for daemon processes.",
            default: "none: no lock is needed",
            setter: Setter::Word(|_, method| {
                if MECHANISMS.iter().any(|known| method.eq_ignore_ascii_case(known.as_bytes())) {
                    return Ok(());
                }
                Err(format!(
                    "Accept mutex lock mechanism '{}' is invalid. Valid accept mutex mechanisms \
                     for this platform are: {}.",
                    String::from_utf8_lossy(method),
                    MECHANISMS.join(", ")
                ))
            }),
        },
    ];
}

const GLOBAL: &[u8] = b"%{GLOBAL}";

/// As many groups as there can be of use.
const MOST_SWAPS: u32 = 1000;

/// Longest path of the server's library.
const MAX_PATH: usize = 4096;

/// What the server's library offers.
const MECHANISMS: &[&str] = if cfg!(target_os = "macos") {
    &["default", "flock", "fcntl", "sysvsem", "posixsem"]
} else {
    &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"]
};

fn define<R>(target: &mut Target<'_, R>, arguments: &[u8]) -> Result<(), String> {
    let process = DaemonProcess::parse(arguments)?;
    let accounts = Accounts::find(&process)?;
    if process.chroot.is_some() && !nix::unistd::geteuid().is_root() {
        return Err("Cannot chroot WSGI daemon process when not root.".to_owned());
    }
    let place = target.written.place.clone();
    let group = Group { process, accounts, place };
    check_chroot(&group)?;
    target.groups.define(group)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wsgi_config::daemon_process::OPTIONS;

    use super::super::tests::{read, refused};
    use super::*;

    #[test]
    fn groups_that_swap_at_a_time() {
        let read = read("WSGISwapConcurrency 4").unwrap();
        assert_eq!(read.global.swap_concurrency, Some(4));
        for wrong in ["0", "-1", "many", "1001"] {
            let text = "WSGISwapConcurrency must be a number from 1 to 1000.";
            refused(&format!("WSGISwapConcurrency {wrong}"), text);
        }
    }

    #[test]
    fn groups_in_order() {
        let groups = read("WSGIDaemonProcess a threads=2\nWSGIDaemonProcess \"b c\" user=daemon")
            .unwrap()
            .groups
            .groups();
        assert_eq!(groups[0].process.threads, 2);
        assert_eq!(groups[1].process.name, b"b c");
        assert!(groups[1].accounts.user.is_some());
    }

    #[test]
    fn bad_groups() {
        refused("WSGIDaemonProcess", "Name of WSGI daemon process not supplied.");
        refused(
            "WSGIDaemonProcess a\nWSGIDaemonProcess a threads=2",
            "Name duplicates previous WSGI daemon definition.",
        );
        refused(
            "WSGIDaemonProcess a nonsense",
            "Invalid option to WSGI daemon process definition.",
        );
        refused("WSGIDaemonProcess a user=root", "WSGI process blocked from running as root.");
        refused("WSGIDaemonProcess a user=no-such-user", "bad user name no-such-user");
        if !nix::unistd::geteuid().is_root() {
            refused(
                "WSGIDaemonProcess a chroot=/",
                "Cannot chroot WSGI daemon process when not root.",
            );
        }
    }

    #[test]
    fn restrictions_are_lists_of_names() {
        let list = |line: &str| read(line).unwrap().server.settings.restrict_process;
        assert_eq!(list("WSGIRestrictProcess"), Some(Vec::new()));
        assert_eq!(
            list("WSGIRestrictProcess a \"b c\" %{GLOBAL}"),
            Some(vec![b"a".to_vec(), b"b c".to_vec(), Vec::new()])
        );
        assert_eq!(list(""), None);
    }

    #[test]
    fn what_sockets_no_longer_need_is_still_checked() {
        for line in [
            "WSGISocketPrefix /no/such/place",
            "WSGISocketRotation off",
            "WSGIAcceptMutex default",
            "WSGIAcceptMutex FLOCK",
        ] {
            assert!(read(line).is_ok(), "{line}");
        }
        refused("WSGISocketRotation maybe", "WSGISocketRotation must be one of: Off | On");
        let long = "/x".repeat(MAX_PATH / 2);
        refused(
            &format!("WSGISocketPrefix {long}"),
            &format!("Invalid WSGISocketPrefix '{long}'."),
        );
        refused(
            "WSGIAcceptMutex foo",
            &format!(
                "Accept mutex lock mechanism 'foo' is invalid. Valid accept mutex mechanisms for \
                 this platform are: {}.",
                MECHANISMS.join(", ")
            ),
        );
    }

    /// The page about the options, made from their table.
    fn reference() -> String {
        let mut page = "# Options of WSGIDaemonProcess\n\n\
            Made from the table of options; do not edit.\n\n\
            `WSGIDaemonProcess name [option=value ...]` in the server configuration or a virtual \
            host defines a group\nof daemon processes. Numbers are whole numbers without a unit. \
            Options marked with * are not in mod_wsgi.\n\n\
            | option | value | default | what |\n|---|---|---|---|\n"
            .to_owned();
        for rule in OPTIONS {
            let mark = if rule.is_addition { "*" } else { "" };
            page += &format!(
                "| `{}`{mark} | {} | {} | {} |\n",
                rule.name,
                rule.kind,
                rule.default,
                rule.help.trim()
            );
        }
        page
    }

    #[test]
    fn the_page_about_options_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/daemon-process.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file, reference()).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(written, reference(), "run `UPDATE_DOCS=1 cargo test -p mod-wsgi`");
    }
}
