//! Every option of `start-server` and `setup-server`.
//!
//! Names, defaults and the order within a group are an interface: scripts and unit files name
//! them, and prefixes of them.

mod access;
mod application;
mod capacity;
mod debugging;
mod identity;
mod lifecycle;
mod listener;
mod logging;
mod opt;
mod proxying;
mod services;
mod static_files;
mod telemetry;

pub(crate) use opt::{Group, Opt, Takes};

/// All options, in the order of the documentation.
pub(crate) static GROUPS: [&Group; 14] = [
    &application::GROUP,
    &listener::GROUP,
    &listener::HTTPS,
    &capacity::GROUP,
    &lifecycle::GROUP,
    &lifecycle::READING,
    &identity::GROUP,
    &static_files::GROUP,
    &proxying::GROUP,
    &access::GROUP,
    &logging::GROUP,
    &telemetry::GROUP,
    &services::GROUP,
    &debugging::GROUP,
];

/// All options, without their groups.
pub(crate) fn all() -> impl Iterator<Item = &'static Opt> {
    GROUPS.iter().flat_map(|group| group.options)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_used_twice() {
        let mut seen = BTreeSet::new();
        for opt in all() {
            assert!(seen.insert(opt.name), "{}", opt.name);
            if let Some(alias) = opt.alias {
                assert!(seen.insert(alias), "{alias}");
            }
        }
    }

    #[test]
    fn every_option_says_what_it_is_for() {
        for opt in all() {
            assert!(opt.help.ends_with('.'), "--{}: {:?}", opt.name, opt.help);
            assert!(opt.hidden || !opt.makes.is_empty(), "--{} makes nothing?", opt.name);
            assert!(
                opt.takes != Takes::Flag || (opt.default.is_none() && !opt.repeats),
                "--{} is a flag",
                opt.name
            );
        }
    }
}
