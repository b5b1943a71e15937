//! Whatever a configuration file says, reading it ends in settings or in a message.
//!
//! Lines are made from the table of directives, with arguments of the kind that directives take and
//! with any bytes, and are read as the server would have them read: in the main server, or in a
//! section where that may be.

use proptest::prelude::*;

use super::*;
use crate::groups::Place as WrittenIn;

type Table = Vec<&'static Directive<Vec<u8>>>;

fn directives() -> Table {
    table::<Vec<u8>>().into_iter().flatten().collect()
}

/// Something that could stand behind a directive; never a NUL or the end of a line, for which
/// Apache has no way.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let known = prop_oneof![
        "(On|Off|Auto|random|default|%\\{GLOBAL\\}|%\\{ENV:[A-Z]{0,3}\\}|%\\{[A-Z]*)",
        "(process-group|application-group|callable-object|pass-authorization)=[a-z%{}\"]{0,9}",
        "(threads|processes|user|group|home|chroot|umask|request-timeout|swap|lang)=[-a-z0-9/#]{0,6}",
        "-?[0-9]{1,20}(\\.[0-9]+)?",
        "(/[a-z.$1]{0,5}){1,3}",
        "[0-9a-fA-F:./]{1,20}",
        "(X-Forwarded-For|X_Real_IP|x-[a-z_ ]{0,5})",
        "[\"'\\\\a-z =]{0,10}",
    ];
    prop_oneof![
        8 => known.prop_map(String::into_bytes),
        1 => proptest::collection::vec(
            any::<u8>().prop_filter("no way for it", |byte| !matches!(byte, 0 | b'\n' | b'\r')),
            0..12,
        ),
    ]
}

/// A directive by its number, whether it is in a section, and its arguments.
fn line() -> impl Strategy<Value = (usize, bool, Vec<Vec<u8>>)> {
    (any::<prop::sample::Index>(), any::<bool>(), proptest::collection::vec(argument(), 0..5))
        .prop_map(|(index, in_section, words)| (index.index(directives().len()), in_section, words))
}

proptest! {
    #[test]
    fn reading_ends_in_settings_or_a_message(lines in proptest::collection::vec(line(), 1..8)) {
        let directives = directives();
        let (mut server, mut global) = (Server::<Vec<u8>>::default(), Global::default());
        let mut section = Settings::default();
        let groups = Registry::default();
        for (index, in_section, words) in lines {
            let directive = directives[index];
            let in_section = in_section && directive.contexts.contain(Contexts::SECTION);
            let place = WrittenIn { server: 1, is_virtual: in_section, line: 1 };
            let mut own = std::mem::take(&mut server.settings);
            let mut target = Target {
                settings: if in_section { &mut section } else { &mut own },
                server: (!in_section).then_some(&mut server),
                global: &mut global,
                groups: &groups,
                written: Written { place, hostname: &|_| b"host".to_vec() },
                compile: &|pattern| (!pattern.contains(&b'(')).then(|| pattern.to_vec()),
            };
            let arguments = match directive.setter {
                Setter::Raw(_) => words.join(&b' '),
                Setter::Words(_) => words.join(&BETWEEN),
                // Apache itself sees to there being exactly one word.
                _ => words.into_iter().find(|word| !word.is_empty()).unwrap_or(b"x".to_vec()),
            };
            let result = directive.apply(&mut target, &arguments);
            server.settings = own;
            if let Err(message) = result {
                prop_assert!(!message.is_empty(), "{}", directive.name());
                prop_assert!(message.len() < arguments.len() * 4 + 300, "{message}");
                prop_assert!(!message.contains(['\0', '\n']), "{message:?}");
            }
        }
        // What was read can be merged, and what groups were defined have names of their own.
        let _ = section.merged(&server.settings);
        let mut names: Vec<_> = groups.groups().into_iter().map(|g| g.process.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), count);
    }
}
