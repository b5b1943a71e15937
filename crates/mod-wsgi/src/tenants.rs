//! Which application groups a process can have, and whether that is just one.
//!
//! The only group that a process can ever have runs in the main interpreter, under its own name:
//! half of all trouble with Python in a server comes from extension modules that support the main
//! interpreter only. So that nothing but the configuration decides it, what can add a group that
//! is not known now (a name made of a request, files that any URL may reach, `.htaccess`) means that
//! the group is not alone. Too cautious is harmless: then it is a sub-interpreter, as it would be
//! without this rule.
//!
//! `WSGISoleTenant Off` turns the rule off. This file knows no Apache type.

use std::collections::HashSet;
use std::path::Path;

use wsgi_config::names::with_port;
use wsgi_config::words::Words;
use wsgi_config::{cgi, names};

use crate::settings::{AliasOptions, Location, Preload, Settings};
use crate::translate::HANDLER;

/// A server or virtual host, and what is configured in it.
pub(crate) struct Host<'a, R> {
    pub(crate) name: &'a [u8],
    pub(crate) port: Option<u16>,
    pub(crate) server: &'a crate::settings::Server<R>,
}

/// The one group of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sole {
    /// The name that the application sees.
    pub(crate) name: Vec<u8>,
    /// Where the name has a port: what is before and behind it.
    around_port: Option<(Vec<u8>, Vec<u8>)>,
}

impl Sole {
    /// Whether a request's group is this one. Its name may have another port, where the client's
    /// `Host` decides that: who listens on two ports has one application.
    pub(crate) fn is(&self, group: &[u8]) -> bool {
        if group == self.name {
            return true;
        }
        let Some((host, tail)) = &self.around_port else { return false };
        let port = group.strip_prefix(&host[..]).and_then(|rest| rest.strip_suffix(&tail[..]));
        port.is_some_and(|port| {
            port.is_empty()
                || port.strip_prefix(b":").is_some_and(|port| port.iter().all(u8::is_ascii_digit))
        })
    }
}

/// What the lines of the configuration say beyond the settings of servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// `WSGIApplicationGroup` in sections.
    groups: Vec<Vec<u8>>,
    /// `WSGIProcessGroup` in sections.
    process_groups: Vec<Vec<u8>>,
    /// Groups of hooks, which run in the server's own children.
    hooks: Vec<Option<Vec<u8>>>,
    /// Requests can be for scripts that no alias names, or in groups that nothing names.
    open: bool,
    /// There can be hooks that no line names.
    open_to_hooks: bool,
}

impl Lines {
    /// Takes a line into account; `in_section` is true in `<Directory>` and the like.
    pub(crate) fn add(&mut self, directive: &[u8], arguments: &[u8], in_section: bool) {
        let mut words = Words::new(arguments);
        let is = |name: &str| directive.eq_ignore_ascii_case(name.as_bytes());
        let is_any = |names: &[&str]| names.iter().any(|name| is(name));
        if is("WSGIApplicationGroup") && in_section {
            self.groups.extend(words.word());
        } else if is("WSGIProcessGroup") && in_section {
            self.process_groups.extend(words.word());
        } else if is_any(&["WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript"]) {
            words.word();
            self.hooks.push(
                std::iter::from_fn(|| words.option()?.ok())
                    .find_map(|(name, value)| (name == b"application-group").then_some(value)),
            );
        } else if is_any(&["WSGIDispatchScript", "WSGIHandlerScript"]) {
            self.open = true;
        } else if is_any(&[
            "SetHandler",
            "AddHandler",
            "AddType",
            "ForceType",
            "Action",
            "RewriteRule",
        ]) {
            self.open |= [HANDLER.to_bytes(), b"x-httpd-wsgi"].into_iter().any(|name| {
                arguments.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name))
            });
        } else if is_any(&["AllowOverride", "AllowOverrideList"]) {
            // What lets `.htaccess` set a handler.
            const NAMES: [&str; 6] =
                ["All", "FileInfo", "SetHandler", "AddHandler", "AddType", "ForceType"];
            // What lets it name a hook.
            const HOOKS: [&str; 4] =
                ["AuthConfig", "WSGIAccessScript", "WSGIAuthUserScript", "WSGIAuthGroupScript"];
            let words: Vec<_> = std::iter::from_fn(|| words.word()).collect();
            let has = |names: &[&str]| {
                let is_word = |name: &&str| {
                    words.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
                };
                names.iter().any(is_word)
            };
            self.open |= has(&NAMES);
            self.open_to_hooks |= has(&HOOKS);
        }
    }
}

/// A group that a process can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tenant {
    Named(Vec<u8>),
    /// Named after a host, its port, and a mount point.
    Hosted {
        host: Vec<u8>,
        port: Option<u16>,
        tail: Vec<u8>,
    },
}

/// The one group that a process of `process_group` (empty: a child of the server) can have, unless
/// it has several, none, or the main interpreter's own.
pub(crate) fn sole<'a, R: 'a>(
    process_group: &[u8],
    hosts: impl Iterator<Item = Host<'a, R>>,
    preloads: impl Iterator<Item = &'a Preload>,
    lines: &Lines,
    lower_case: bool,
) -> Option<Sole> {
    if lines.open {
        return None;
    }
    let mut tenants = HashSet::new();
    for host in hosts {
        for alias in &host.server.aliases {
            let AliasOptions { process_group: process, application_group, .. } = &alias.options;
            let settings = &host.server.settings;
            let in_process = chosen(process, settings, |s| &s.process_group, &lines.process_groups);
            if !in_process.into_iter().any(|name| may_be(name, process_group)) {
                continue;
            }
            let mount = mount(&alias.location, &alias.target, lower_case);
            let groups =
                chosen(application_group, settings, |s| &s.application_group, &lines.groups);
            for group in groups {
                tenants.insert(tenant(group, &host, mount.as_deref())?);
            }
        }
    }
    for preload in preloads.filter(|preload| preload.process_group == process_group) {
        tenants.insert(Tenant::Named(preload.application_group.clone()));
    }
    if process_group.is_empty() {
        if lines.open_to_hooks {
            return None;
        }
        for group in &lines.hooks {
            let group = group.as_deref().unwrap_or_default();
            // Other keywords mean nothing to a hook.
            if matches!(group, b"%{SERVER}" | b"%{HOST}") {
                return None;
            }
            let group = if group == b"%{GLOBAL}" { b"" } else { group };
            tenants.insert(Tenant::Named(group.to_vec()));
        }
    }
    let mut tenants = tenants.into_iter();
    match (tenants.next()?, tenants.next()) {
        (Tenant::Named(name), None) if name.is_empty() => None,
        (Tenant::Named(name), None) => Some(Sole { name, around_port: None }),
        (Tenant::Hosted { host, port, tail }, None) => {
            let name = [with_port(&host, port.unwrap_or(80)), tail.clone()].concat();
            Some(Sole { name, around_port: Some((host, tail)) })
        }
        _ => None,
    }
}

/// The values that a setting can have for the requests of an alias.
fn chosen<'a>(
    option: &'a Option<Vec<u8>>,
    settings: &'a Settings,
    field: impl Fn(&'a Settings) -> &'a Option<Vec<u8>>,
    sections: &'a [Vec<u8>],
) -> Vec<Option<&'a [u8]>> {
    match option {
        Some(option) => vec![Some(option)],
        None => {
            let sections = sections.iter().map(|group| Some(group.as_slice()));
            [field(settings).as_deref()].into_iter().chain(sections).collect()
        }
    }
}

/// Whether a setting of the process group can mean this one.
fn may_be(setting: Option<&[u8]>, process_group: &[u8]) -> bool {
    match setting.unwrap_or_default() {
        b"%{GLOBAL}" => process_group.is_empty(),
        name if name.starts_with(b"%{") => true,
        name => name == process_group,
    }
}

/// The `SCRIPT_NAME` of what an alias maps, if that is always the same.
fn mount<R>(location: &Location<R>, target: &[u8], lower_case: bool) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;

    let Location::Prefix(prefix) = location else { return None };
    if Path::new(std::ffi::OsStr::from_bytes(target)).is_dir() {
        return None;
    }
    let mut name = cgi::collapse_slashes(prefix).into_owned();
    if name.last() == Some(&b'/') {
        name.pop();
    }
    if lower_case {
        name.make_ascii_lowercase();
    }
    Some(name)
}

/// What a setting of the application group means; `None` if each request may mean something else.
fn tenant<R>(setting: Option<&[u8]>, host: &Host<'_, R>, mount: Option<&[u8]>) -> Option<Tenant> {
    let hosted = |tail: Vec<u8>| {
        // As in names.
        let port = host.port.filter(|port| !matches!(port, 80 | 443));
        Tenant::Hosted { host: host.name.to_vec(), port, tail }
    };
    match setting.unwrap_or(b"%{RESOURCE}") {
        b"%{GLOBAL}" => Some(Tenant::Named(Vec::new())),
        b"%{RESOURCE}" => Some(hosted([b"|", mount?].concat())),
        b"%{SERVER}" => Some(hosted(Vec::new())),
        b"%{HOST}" => None,
        name if names::is_static(name) => Some(Tenant::Named(name.to_vec())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::directives::tests::read;

    /// The name of the sole group of the server's own children.
    fn sole_name(own: &str, lines: &[(&str, &str)]) -> Option<String> {
        sole_of("", own, lines).map(|sole| String::from_utf8(sole.name).unwrap())
    }

    fn sole_of(process_group: &str, own: &str, others: &[(&str, &str)]) -> Option<Sole> {
        let read = read(own).unwrap();
        let mut lines = Lines::default();
        for (directive, arguments) in others {
            lines.add(directive.as_bytes(), arguments.as_bytes(), true);
        }
        let host = Host { name: b"site.example", port: Some(8080), server: &read.server };
        let preloads = read.global.preloads.iter();
        sole(process_group.as_bytes(), [host].into_iter(), preloads, &lines, false)
    }

    #[track_caller]
    fn check(own: &str, expected: Option<&str>) {
        assert_eq!(sole_name(own, &[]).as_deref(), expected, "{own}");
    }

    #[test]
    fn one_alias_is_alone() {
        check("WSGIScriptAlias / /s.wsgi", Some("site.example:8080|"));
        check("WSGIScriptAlias //my/app/ /s.wsgi", Some("site.example:8080|/my/app"));
        check("WSGIScriptAlias /a /s.wsgi application-group=shop", Some("shop"));
        check("WSGIScriptAlias /a /s.wsgi application-group=%{SERVER}", Some("site.example:8080"));
        check("WSGIApplicationGroup shop\nWSGIScriptAlias /a /s.wsgi", Some("shop"));
        check("WSGIScriptAliasMatch ^/a /s.wsgi application-group=shop", Some("shop"));
        check("", None);
        check("WSGIScriptAlias / /s.wsgi application-group=%{GLOBAL}", None);
    }

    #[test]
    fn two_are_not_unless_they_share_a_group() {
        let two = "WSGIScriptAlias /a /s.wsgi\nWSGIScriptAlias /b /s.wsgi";
        check(two, None);
        check(&format!("WSGIApplicationGroup shop\n{two}"), Some("shop"));
        check(
            "WSGIScriptAlias /a /a.wsgi\nWSGIScriptAlias /a/ /b.wsgi",
            Some("site.example:8080|/a"),
        );
        let import = "WSGIImportScript /i.py process-group=%{GLOBAL} application-group=";
        let alias = "WSGIScriptAlias /a /s.wsgi application-group=x";
        check(&format!("{import}x\n{alias}"), Some("x"));
        check(&format!("{import}%{{GLOBAL}}\n{alias}"), None);
    }

    #[test]
    fn what_requests_choose_is_never_alone() {
        check("WSGIScriptAlias / /", None);
        check("WSGIScriptAliasMatch ^/(.*) /$1.wsgi", None);
        check("WSGIScriptAlias / /s.wsgi application-group=%{HOST}", None);
        check("WSGIScriptAlias / /s.wsgi application-group=%{ENV:X}", None);
        let alias = "WSGIScriptAlias / /s.wsgi application-group=x";
        for (directive, arguments) in [
            ("SetHandler", "wsgi-script"),
            ("addhandler", "WSGI-script .wsgi"),
            ("AddType", "application/x-httpd-wsgi .wsgi"),
            ("RewriteRule", "^ - [H=wsgi-script]"),
            ("AllowOverride", "FileInfo Limit"),
            ("AllowOverride", "AuthConfig"),
            ("AllowOverrideList", "WSGIAuthUserScript"),
            ("AllowOverride", "all"),
            ("AllowOverrideList", "Redirect SetHandler"),
            ("WSGIHandlerScript", "name /s.wsgi"),
            ("WSGIDispatchScript", "/s.wsgi"),
            ("WSGIAccessScript", "/s.wsgi"),
            ("WSGIAuthUserScript", "/s.wsgi application-group=other"),
            ("WSGIAuthGroupScript", "/s.wsgi application-group=%{SERVER}"),
            ("WSGIApplicationGroup", "other"),
            ("WSGIApplicationGroup", "%{ENV:X}"),
        ] {
            let alias = if directive == "WSGIApplicationGroup" {
                "WSGIScriptAlias / /s.wsgi"
            } else {
                alias
            };
            assert_eq!(
                sole_name(alias, &[(directive, arguments)]),
                None,
                "{directive} {arguments}"
            );
        }
        for (directive, arguments) in [
            ("SetHandler", "cgi-script"),
            ("AllowOverride", "None"),
            ("AllowOverride", "Limit Indexes"),
            ("WSGIAuthUserScript", "/s.wsgi application-group=x"),
            ("WSGIApplicationGroup", "other"),
        ] {
            let name = sole_name(alias, &[(directive, arguments)]);
            assert_eq!(name.as_deref(), Some("x"), "{directive} {arguments}");
        }
    }

    #[test]
    fn process_groups_have_tenants_of_their_own() {
        let alias = "WSGIScriptAlias /a /s.wsgi\nWSGIScriptAlias /b /s.wsgi process-group=blue";
        check(alias, Some("site.example:8080|/a"));
        assert_eq!(sole_of("blue", alias, &[]).unwrap().name, b"site.example:8080|/b");
        assert_eq!(sole_of("red", alias, &[]), None);
        let hook = [("WSGIAccessScript", "/s.wsgi")];
        assert_eq!(sole_of("blue", alias, &hook).unwrap().name, b"site.example:8080|/b");
        let section = [("WSGIProcessGroup", "blue")];
        assert_eq!(sole_of("blue", alias, &section), None);
        let variable = [("WSGIProcessGroup", "%{ENV:X}")];
        assert_eq!(sole_of("blue", alias, &variable), None);
    }

    #[test]
    fn another_port_is_the_same_application() {
        let sole = sole_of("", "WSGIScriptAlias /a /s.wsgi", &[]).unwrap();
        for same in ["site.example:8080|/a", "site.example|/a", "site.example:9|/a"] {
            assert!(sole.is(same.as_bytes()), "{same}");
        }
        for other in [
            "",
            "site.example",
            "site.example|/ab",
            "x|/a",
            "site.example:x|/a",
            "site.example8|/a",
        ] {
            assert!(!sole.is(other.as_bytes()), "{other}");
        }
        let named = sole_of("", "WSGIScriptAlias /a /s.wsgi application-group=x", &[]).unwrap();
        assert!(named.is(b"x") && !named.is(b"x:80"));
    }

    #[test]
    fn virtual_hosts_are_the_same_application_under_the_same_name() {
        let read = read("WSGIScriptAlias / /s.wsgi").unwrap();
        let name = |hosts: &[(&'static str, Option<u16>)]| {
            let hosts = hosts.iter().map(|(name, port)| Host {
                name: name.as_bytes(),
                port: *port,
                server: &read.server,
            });
            sole(b"", hosts, [].into_iter(), &Lines::default(), false).map(|sole| sole.name)
        };
        assert_eq!(name(&[("a", None), ("a", Some(443))]).as_deref(), Some(&b"a|"[..]));
        assert_eq!(name(&[("a", None), ("b", None)]), None);
        assert_eq!(name(&[("a", None), ("a", Some(8080))]), None);
    }
}
