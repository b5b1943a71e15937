//! Groups of daemon processes: what the configuration defines, and which of them a request may use.
//!
//! Groups have one registry for the whole configuration ([`Registry`]), because their names are
//! unique in it and directives behind them refer to them. A child takes a copy when it starts
//! ([`Table`]), with what was not known before the configuration was complete: the names of the
//! servers that the groups were written in.

mod access;
mod accounts;
mod resolve;

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use httpd_sys::{Request, Server, Status};
use log_codes::{WSGI0149, WSGI0150, WSGI0151, WSGI0152};
use wsgi_config::daemon_process::{DaemonProcess, Invalid};

pub(crate) use accounts::Accounts;
pub(crate) use resolve::{Machine, check_chroot, resolve};

use crate::{Wsgi, log};

/// Where a directive is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The server, told from others by its address; nothing is read from there.
    pub(crate) server: usize,
    /// It is a virtual host.
    pub(crate) is_virtual: bool,
    /// The line in its file.
    pub(crate) line: u32,
}

impl Place {
    /// The server, among `main` and those behind it.
    pub(crate) fn find<'s>(&self, main: Server<'s>) -> Option<Server<'s>> {
        main.and_following().find(|server| server.as_ptr() as usize == self.server)
    }
}

/// One `WSGIDaemonProcess`.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What it says.
    pub(crate) process: DaemonProcess,
    /// The users and groups it names.
    pub(crate) accounts: Accounts,
    /// Where it is written: also the server whose log and `Timeout` are the group's.
    pub(crate) place: Place,
}

/// All groups, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Vec<Group>>);

impl Registry {
    /// Adds a group.
    ///
    /// # Errors
    /// There is one of this name.
    pub(crate) fn define(&self, group: Group) -> Result<(), Invalid> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.iter().any(|other| other.process.name == group.process.name) {
            return Err(Invalid::duplicate());
        }
        groups.push(group);
        Ok(())
    }

    /// Where the group of this name is written.
    pub(crate) fn place(&self, name: &[u8]) -> Option<Place> {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.iter().find(|group| group.process.name == name).map(|group| group.place.clone())
    }

    /// The groups.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The groups of a configuration, of which `main` is the main server. Not where requests are served:
/// see [`Server::shared`].
pub(crate) fn defined(main: Server<'_>) -> Vec<Group> {
    main.shared::<Wsgi>().map(Registry::groups).unwrap_or_default()
}

/// A group as a child knows it.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its number: its place in the order of the configuration, from 0.
    pub(crate) index: usize,
    pub(crate) group: Group,
    /// `ServerName` of the server it is written in.
    hostname: Vec<u8>,
}

/// The groups as a child knows them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    groups: Vec<Known>,
    by_name: HashMap<Vec<u8>, usize>,
}

impl Table {
    /// Of a complete configuration, given its main server.
    pub(crate) fn new(main: Server<'_>) -> Table {
        let hostname = |place: &Place| {
            let server = place.find(main);
            server.map(|server| server.hostname().to_vec()).unwrap_or_default()
        };
        let groups = defined(main).into_iter().map(|group| (hostname(&group.place), group));
        Table::of(groups)
    }

    fn of(groups: impl Iterator<Item = (Vec<u8>, Group)>) -> Table {
        let groups: Vec<_> = groups
            .enumerate()
            .map(|(index, (hostname, group))| Known { index, group, hostname })
            .collect();
        let by_name = groups.iter().map(|known| (known.group.process.name.clone(), known.index));
        Table { by_name: by_name.collect(), groups }
    }

    /// The group of this name.
    fn find(&self, name: &[u8]) -> Option<&Known> {
        self.by_name.get(name).and_then(|index| self.groups.get(*index))
    }
}

impl Known {
    /// Whether requests to a server may use the group: those of its own server, of one with the
    /// same name, and all if it is written in the main server.
    fn is_accessible(&self, server: usize, hostname: &[u8]) -> bool {
        let place = &self.group.place;
        !place.is_virtual || place.server == server || self.hostname == hostname
    }
}

/// Whether a script that is to be loaded in advance may be in the group written at `group`, going
/// by what is known of the servers' names so far.
///
/// # Errors
/// What the server prints.
pub(crate) fn check_preload(
    group: &Place,
    group_hostname: &[u8],
    script: &Place,
    script_hostname: &[u8],
) -> Result<(), &'static str> {
    if !group.is_virtual || group.server == script.server {
        return Ok(());
    }
    match (group_hostname, script_hostname) {
        (b"", b"") => Ok(()),
        (b"", _) | (_, b"") => Err("WSGI process group not matchable."),
        (group, script) if group == script => Ok(()),
        _ => Err("WSGI process group not accessible."),
    }
}

static TABLE: OnceLock<Table> = OnceLock::new();

/// Takes the groups over into this child.
pub(crate) fn start(main: Server<'_>) {
    let _ = TABLE.set(Table::new(main));
}

/// The groups as this child knows them.
pub(crate) fn all() -> &'static [Known] {
    TABLE.get().map_or(&[], |table| &table.groups)
}

/// Where the process for a request is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProcessGroup {
    /// Here.
    Embedded,
    /// A daemon process of this group.
    Daemon(&'static Known),
}

/// The process group called `name`, which is empty for embedded mode, if `request` may use it.
///
/// # Errors
/// The status to answer with; the reason is in the log.
pub(crate) fn select(
    request: &Request<'_>,
    name: &[u8],
    allowed: Option<&Vec<Vec<u8>>>,
) -> Result<ProcessGroup, Status> {
    if allowed.is_some_and(|allowed| !allowed.iter().any(|allowed| allowed == name)) {
        log::request(request, WSGI0149.message([&name]));
        return Err(Status::INTERNAL_SERVER_ERROR);
    }
    if name.is_empty() {
        return Ok(ProcessGroup::Embedded);
    }
    let Some(known) = TABLE.get().and_then(|table| table.find(name)) else {
        let is_empty = TABLE.get().is_none_or(|table| table.groups.is_empty());
        let code = if is_empty { &WSGI0150 } else { &WSGI0151 };
        log::request(request, code.message([&name]));
        return Err(Status::INTERNAL_SERVER_ERROR);
    };
    let server = request.server();
    if !known.is_accessible(server.as_ptr() as usize, server.hostname()) {
        log::request(request, WSGI0152.message([&name]));
        return Err(Status::INTERNAL_SERVER_ERROR);
    }
    access::check(request, &known.group.accounts)?;
    Ok(ProcessGroup::Daemon(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn place(server: usize, is_virtual: bool) -> Place {
        Place { server, is_virtual, line: 1 }
    }

    fn group(name: &str, place: Place) -> Group {
        let process = DaemonProcess::parse(name.as_bytes()).unwrap();
        Group { process, accounts: Accounts::default(), place }
    }

    #[test]
    fn names_are_unique_in_the_whole_configuration() {
        let registry = Registry::default();
        registry.define(group("a", place(1, false))).unwrap();
        registry.define(group("A", place(1, false))).unwrap();
        let error = registry.define(group("a threads=2", place(2, true))).unwrap_err();
        assert_eq!(error.to_string(), "Name duplicates previous WSGI daemon definition.");
        assert_eq!(registry.place(b"a"), Some(place(1, false)));
        assert_eq!(registry.place(b"b"), None);
        assert_eq!(registry.groups().len(), 2);
    }

    #[test]
    fn groups_of_a_virtual_host_are_its_own() {
        let groups = [
            (b"main.example".to_vec(), group("main", place(1, false))),
            (b"one.example".to_vec(), group("one", place(2, true))),
        ];
        let table = Table::of(groups.into_iter());
        let may = |name: &str, server, hostname: &str| {
            table.find(name.as_bytes()).unwrap().is_accessible(server, hostname.as_bytes())
        };
        assert!(may("main", 3, "other.example"));
        assert!(may("one", 2, "one.example"));
        assert!(may("one", 3, "one.example"));
        assert!(!may("one", 3, "ONE.example"));
        assert!(!may("one", 3, "other.example"));
        assert!(!may("one", 1, "main.example"));
        assert!(table.find(b"two").is_none());
        assert_eq!(table.find(b"one").unwrap().index, 1);
    }

    #[test]
    fn scripts_to_load_in_advance_need_a_group_they_may_use() {
        let inaccessible = Err("WSGI process group not accessible.");
        let unmatchable = Err("WSGI process group not matchable.");
        let (main, one, two) = (place(1, false), place(2, true), place(3, true));
        assert_eq!(check_preload(&main, b"", &two, b"two"), Ok(()));
        assert_eq!(check_preload(&one, b"one", &one, b"one"), Ok(()));
        assert_eq!(check_preload(&one, b"one", &two, b"one"), Ok(()));
        assert_eq!(check_preload(&one, b"one", &two, b"two"), inaccessible);
        assert_eq!(check_preload(&one, b"one", &main, b"main"), inaccessible);
        assert_eq!(check_preload(&one, b"one", &two, b""), unmatchable);
        assert_eq!(check_preload(&one, b"", &two, b"two"), unmatchable);
        assert_eq!(check_preload(&one, b"", &two, b""), Ok(()));
    }
}
