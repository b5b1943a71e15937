//! The directives: each one entry of a table, which yields what Apache is told, what is parsed and
//! what the reference page of the documentation says.
//!
//! A setter knows the settings and the text it was given; contexts and argument counts are checked
//! before it is called. Its error is what Apache prints behind "Syntax error on line N".

mod access;
#[cfg(test)]
mod any_text;
mod buffer;
mod daemon;
mod interpreters;
mod observe;
mod python;
mod request;
mod script;

use std::ffi::{CStr, CString};
use std::ops::BitOr;
use std::sync::Arc;

use httpd_sys::{Argument, Command, Context, Place, Regex, Set};

use crate::groups::{Place as WrittenIn, Registry};
use crate::settings::{Global, Server, Settings};
use crate::{Pattern, Wsgi};

/// Where a directive may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contexts(u8);

impl Contexts {
    /// The main server, outside of any section.
    pub(crate) const SERVER: Contexts = Contexts(1);
    /// Virtual hosts.
    pub(crate) const VHOST: Contexts = Contexts(2);
    /// `<Directory>`, `<Location>`, `<Files>`, `<If>`.
    pub(crate) const SECTION: Contexts = Contexts(4);
    /// `.htaccess` where `AllowOverride FileInfo` holds.
    pub(crate) const FILE_INFO: Contexts = Contexts(8);
    /// `.htaccess` where `AllowOverride AuthConfig` holds.
    pub(crate) const AUTH_CONFIG: Contexts = Contexts(16);
    /// Wherever a request's settings may be.
    pub(crate) const REQUEST: Contexts = Contexts(1 | 2 | 4);
    /// The same, and `.htaccess`.
    pub(crate) const ANYWHERE: Contexts = Contexts(1 | 2 | 4 | 8);

    /// Whether all contexts of `other` are among these.
    pub(crate) const fn contain(self, other: Contexts) -> bool {
        self.0 & other.0 == other.0
    }

    /// The same in the server's terms.
    const fn as_server_has_it(self) -> Context {
        let mut context = if self.contain(Contexts::VHOST) {
            Context::SERVER
        } else if self.contain(Contexts::SERVER) {
            Context::MAIN
        } else {
            Context::NOWHERE
        };
        if self.contain(Contexts::SECTION) {
            context = context.or(Context::SECTION);
        }
        if self.contain(Contexts::AUTH_CONFIG) {
            context = context.or(Context::HTACCESS_AUTH_CONFIG);
        }
        if self.contain(Contexts::FILE_INFO) {
            context = context.or(Context::HTACCESS_FILE_INFO);
        }
        context
    }
}

impl BitOr for Contexts {
    type Output = Contexts;

    fn bitor(self, other: Contexts) -> Contexts {
        Contexts(self.0 | other.0)
    }
}

/// Applies the rest of a line; the directive is there for its name.
pub(crate) type SetRaw<R> = fn(&mut Target<'_, R>, &Directive<R>, &[u8]) -> Result<(), String>;

/// Applies some words.
pub(crate) type SetWords<R> = fn(&mut Target<'_, R>, &[&[u8]]) -> Result<(), String>;

/// What a directive does with its arguments.
pub(crate) enum Setter<R> {
    /// Exactly one word, `On` or `Off`.
    Flag(fn(&mut Target<'_, R>, bool)),
    /// Exactly one word.
    Word(fn(&mut Target<'_, R>, &[u8]) -> Result<(), String>),
    /// One word or two.
    Words(SetWords<R>),
    /// The rest of the line as it is.
    Raw(SetRaw<R>),
    /// The rest of the line, and the lines of the block that it begins.
    Block(SetBlock),
}

/// Applies a block; an error may name the line in it that is wrong.
pub(crate) type SetBlock = fn(&mut Global, &[u8], &[Line]) -> Result<(), (Option<usize>, String)>;

/// A line of a block.
pub(crate) struct Line {
    pub(crate) directive: Vec<u8>,
    pub(crate) arguments: Vec<u8>,
}

/// What a setter may write to.
pub(crate) struct Target<'a, R> {
    /// The server's settings, or the section's if the directive stands in one.
    pub(crate) settings: &'a mut Settings,
    /// The server that the directive stands in.
    pub(crate) server: Option<&'a mut Server<R>>,
    /// What is said once.
    pub(crate) global: &'a mut Global,
    /// The groups of daemon processes that are defined so far.
    pub(crate) groups: &'a Registry,
    /// Where the directive stands.
    pub(crate) written: Written<'a>,
    /// Compiles a regular expression the way Apache does.
    pub(crate) compile: &'a dyn Fn(&[u8]) -> Option<R>,
}

impl Target<'_, ()> {
    /// Runs `f` with a target of which only `global` lasts.
    fn only<R, T>(global: &mut Global, f: impl FnOnce(&mut Target<'_, R>) -> T) -> T {
        f(&mut Target {
            settings: &mut Settings::default(),
            server: None,
            global,
            groups: &Registry::default(),
            written: Written {
                place: WrittenIn { server: 0, is_virtual: false, line: 0 },
                hostname: &|_| Vec::new(),
            },
            compile: &|_| None,
        })
    }
}

/// Where a directive stands, and what is known of servers there.
#[derive(Clone)]
pub(crate) struct Written<'a> {
    pub(crate) place: WrittenIn,
    /// The name of the server that a group stands in, as far as it has been read; empty if it has
    /// none yet.
    pub(crate) hostname: &'a dyn Fn(&WrittenIn) -> Vec<u8>,
}

/// One directive.
pub(crate) struct Directive<R> {
    pub(crate) name: &'static CStr,
    pub(crate) contexts: Contexts,
    /// Shown by `httpd -L` and behind errors about the number of arguments.
    pub(crate) help: &'static CStr,
    /// What holds where it is not written, for the reference page.
    #[cfg_attr(not(test), expect(dead_code, reason = "only the reference page needs it"))]
    pub(crate) default: &'static str,
    pub(crate) setter: Setter<R>,
}

impl<R> Directive<R> {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or_default()
    }

    /// Applies the directive to one word ([`Setter::Flag`], [`Setter::Word`]), to words that have
    /// [`BETWEEN`] between them ([`Setter::Words`]), or to the rest of its line.
    ///
    /// # Errors
    /// What Apache prints.
    pub(crate) fn apply(&self, target: &mut Target<'_, R>, arguments: &[u8]) -> Result<(), String> {
        match &self.setter {
            Setter::Flag(set) => {
                let value = wsgi_config::words::flag(arguments)
                    .ok_or_else(|| format!("{} must be one of: Off | On", self.name()))?;
                set(target, value);
                Ok(())
            }
            Setter::Word(set) => set(target, arguments),
            Setter::Words(set) => {
                set(target, &arguments.split(|byte| *byte == BETWEEN).collect::<Vec<_>>())
            }
            Setter::Raw(set) => set(target, self, arguments),
            Setter::Block(set) => set(target.global, arguments, &[]).map_err(|(_, text)| text),
        }
    }
}

/// A byte that no configuration has in a word.
const BETWEEN: u8 = 0;

/// The number of directives.
pub(crate) const COUNT: usize = {
    let table = table::<Pattern>();
    let (mut count, mut group) = (0, 0);
    while group < table.len() {
        count += table[group].len();
        group += 1;
    }
    count
};

/// The directives as the server takes them.
pub(crate) static COMMANDS: [httpd_sys::Directive<Wsgi>; COUNT] = {
    let table = table::<Pattern>();
    const ANY: httpd_sys::Directive<Wsgi> = command(&script::Entries::<Pattern>::TABLE[0]);
    let mut commands = [ANY; COUNT];
    let (mut group, mut index) = (0, 0);
    while group < table.len() {
        let mut at = 0;
        while at < table[group].len() {
            commands[index] = command(&table[group][at]);
            at += 1;
            index += 1;
        }
        group += 1;
    }
    commands
};

const fn command(directive: &Directive<Pattern>) -> httpd_sys::Directive<Wsgi> {
    httpd_sys::Directive {
        name: directive.name,
        context: directive.contexts.as_server_has_it(),
        argument: match directive.setter {
            Setter::Flag(_) | Setter::Word(_) => Argument::One(take),
            Setter::Words(_) => Argument::OneOrTwo(take_two),
            Setter::Raw(_) => Argument::Raw(take),
            Setter::Block(_) => Argument::Raw(take_block),
        },
        help: directive.help,
    }
}

/// Takes a line of the configuration that has one word or two.
fn take_two(command: &mut Command<'_, Wsgi>, first: &[u8], second: Option<&[u8]>) -> Set {
    match second {
        Some(second) => take(command, &[first, &[BETWEEN], second].concat()),
        None => take(command, first),
    }
}

/// Takes a line of the configuration.
fn take(command: &mut Command<'_, Wsgi>, arguments: &[u8]) -> Set {
    let name = command.name();
    let directive = table::<Pattern>()
        .into_iter()
        .flatten()
        .find(|directive| directive.name() == name)
        .ok_or("internal error: no such directive")?;
    let compile = |pattern: &[u8]| Regex::new(&CString::new(pattern).ok()?).map(Arc::new);
    let server = command.server();
    let groups = server.shared::<Wsgi>().ok_or("internal error: no registry of groups")?;
    let place = WrittenIn {
        server: server.as_ptr() as usize,
        is_virtual: server.is_virtual(),
        line: command.line(),
    };
    // Virtual hosts that were read before stand behind this one in the list.
    let hostname = |place: &WrittenIn| {
        let mut servers = server.and_following();
        let found = servers.find(|server| server.as_ptr() as usize == place.server);
        found.map(|server| server.hostname().to_vec()).unwrap_or_default()
    };
    let written = Written { place, hostname: &hostname };
    match command.place()? {
        Place::Section(settings) => {
            // Nothing that is said once can be said in a section: see the contexts.
            let mut nowhere = Global::default();
            let mut target = Target {
                settings,
                server: None,
                global: &mut nowhere,
                groups,
                written,
                compile: &compile,
            };
            directive.apply(&mut target, arguments)
        }
        Place::Server(configured) => {
            let mut settings = std::mem::take(&mut configured.server.settings);
            let mut target = Target {
                settings: &mut settings,
                server: Some(&mut configured.server),
                global: &mut configured.global,
                groups,
                written,
                compile: &compile,
            };
            let result = directive.apply(&mut target, arguments);
            configured.server.settings = settings;
            result
        }
    }
}

/// Takes the first line of a block.
fn take_block(command: &mut Command<'_, Wsgi>, arguments: &[u8]) -> Set {
    let name = command.name();
    let mut blocks = table::<Pattern>().into_iter().flatten().filter_map(|directive| {
        let Setter::Block(set) = directive.setter else { return None };
        (directive.name() == name).then_some(set)
    });
    let set = blocks.next().ok_or("internal error: no such block")?;
    let nodes: Vec<_> = command.node().iter().flat_map(httpd_sys::Line::inside).collect();
    let lines: Vec<Line> = nodes
        .iter()
        .map(|node| Line {
            directive: node.directive().to_vec(),
            arguments: node.arguments().to_vec(),
        })
        .collect();
    set(&mut command.server_config()?.global, arguments, &lines).map_err(|(at, text)| {
        if let Some(node) = at.and_then(|at| nodes.get(at)) {
            command.blame(*node);
        }
        text
    })
}

/// Every directive of the module.
pub(crate) const fn table<R: 'static>() -> [&'static [Directive<R>]; 8] {
    const {
        [
            script::Entries::<R>::TABLE,
            daemon::Entries::<R>::TABLE,
            request::Entries::<R>::TABLE,
            access::Entries::<R>::TABLE,
            buffer::Entries::<R>::TABLE,
            python::Entries::<R>::TABLE,
            observe::Entries::<R>::TABLE,
            interpreters::Entries::<R>::TABLE,
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A configuration that was read without Apache.
    #[derive(Default)]
    pub(crate) struct Read {
        pub(crate) server: Server<Vec<u8>>,
        pub(crate) global: Global,
        pub(crate) groups: Registry,
    }

    /// Reads lines of directives as the main server would; an error is what Apache would print.
    pub(crate) fn read(lines: &str) -> Result<Read, String> {
        let mut read = Read::default();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let directive = table::<Vec<u8>>()
                .into_iter()
                .flatten()
                .find(|directive| directive.name() == name)
                .unwrap_or_else(|| panic!("no directive {name}"));
            let mut settings = std::mem::take(&mut read.server.settings);
            let mut target = Target {
                settings: &mut settings,
                server: Some(&mut read.server),
                global: &mut read.global,
                groups: &read.groups,
                written: Written { place: WrittenIn::default(), hostname: &|_| Vec::new() },
                compile: &|pattern| (pattern != b"(").then(|| pattern.to_vec()),
            };
            let arguments = match directive.setter {
                Setter::Raw(_) => rest.as_bytes().to_vec(),
                Setter::Words(_) => rest.replacen(' ', "\0", 1).into_bytes(),
                _ => wsgi_config::words::Words::new(rest.as_bytes()).word().unwrap_or_default(),
            };
            let result = directive.apply(&mut target, &arguments);
            read.server.settings = settings;
            result?;
        }
        Ok(read)
    }

    /// Checks that `line` is refused with `message`.
    pub(crate) fn refused(line: &str, message: &str) {
        assert_eq!(read(line).err().as_deref(), Some(message), "{line}");
    }

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<_> = table::<()>().into_iter().flatten().map(|d| d.name()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        for directive in table::<()>().into_iter().flatten() {
            assert!(directive.name().trim_start_matches('<').starts_with("WSGI"));
            assert!(
                directive.help.to_bytes().ends_with(b".") || directive.name().contains("Telemetry")
            );
            assert!(!directive.default.is_empty());
        }
    }

    /// The reference page of the documentation, made from the table.
    fn reference() -> String {
        let mut page = "# Directives\n\nMade from the table of directives; do not edit.\n\n\
                        | directive | where | default | what |\n|---|---|---|---|\n"
            .to_owned();
        for directive in table::<()>().into_iter().flatten() {
            let places = [
                (Contexts::SERVER, "server config"),
                (Contexts::VHOST, "virtual host"),
                (Contexts::SECTION, "directory"),
                (Contexts::FILE_INFO, ".htaccess (FileInfo)"),
                (Contexts::AUTH_CONFIG, ".htaccess (AuthConfig)"),
            ];
            let places: Vec<_> = places
                .iter()
                .filter(|(context, _)| directive.contexts.contain(*context))
                .map(|(_, name)| *name)
                .collect();
            page += &format!(
                "| `{}` | {} | {} | {} |\n",
                directive.name().replace("<WSGIInterpreterOptions", "<WSGIInterpreterOptions>"),
                places.join(", "),
                directive.default,
                directive.help.to_string_lossy()
            );
        }
        page
    }

    #[test]
    fn the_reference_page_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/directives.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file, reference()).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(written, reference(), "run `UPDATE_DOCS=1 cargo test -p mod-wsgi`");
    }

    #[test]
    fn flags_have_one_error() {
        for bad in ["true", "1", "yes"] {
            refused(
                &format!("WSGIScriptReloading {bad}"),
                "WSGIScriptReloading must be one of: Off | On",
            );
        }
        assert_eq!(
            read("WSGIScriptReloading oFF").unwrap().server.settings.script_reloading,
            Some(false)
        );
    }
}
