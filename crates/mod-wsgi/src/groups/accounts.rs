//! Users and groups that `WSGIDaemonProcess` names, in the machine's databases.
//!
//! Looked up while the configuration is read, so that a mistake is told with its line.
//! <https://man7.org/linux/man-pages/man3/getpwnam.3.html>

use nix::unistd::{Gid, Uid};
use wsgi_config::daemon_process::{Account, DaemonProcess};

/// The users and groups that a group of processes names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// `user=`.
    pub(crate) user: Option<User>,
    /// `group=`.
    pub(crate) gid: Option<u32>,
    /// `supplementary-groups=`.
    pub(crate) supplementary: Option<Vec<u32>>,
    /// `script-user=`.
    pub(crate) script_user: Option<u32>,
    /// `script-group=`.
    pub(crate) script_group: Option<u32>,
}

/// A user of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) name: String,
    pub(crate) home: Vec<u8>,
}

impl User {
    /// The user of this number, if there is one.
    pub(crate) fn of(uid: u32) -> Option<User> {
        nix::unistd::User::from_uid(Uid::from_raw(uid)).ok().flatten().map(User::from)
    }

    /// The groups that the user is in, with `gid` among them.
    pub(crate) fn groups(&self, gid: u32) -> Option<Vec<u32>> {
        let name = std::ffi::CString::new(self.name.as_str()).ok()?;
        let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(gid)).ok()?;
        Some(groups.into_iter().map(Gid::as_raw).collect())
    }
}

impl From<nix::unistd::User> for User {
    fn from(user: nix::unistd::User) -> User {
        use std::os::unix::ffi::OsStringExt;
        let home = user.dir.into_os_string().into_vec();
        User { uid: user.uid.as_raw(), name: user.name, home }
    }
}

impl Accounts {
    /// Looks up what `process` names.
    ///
    /// # Errors
    /// What the server prints.
    pub(crate) fn find(process: &DaemonProcess) -> Result<Accounts, String> {
        let mut accounts = Accounts::default();
        if let Some(user) = &process.user {
            let unknown = "Couldn't determine user name from uid.";
            // Root needs no entry to be refused.
            let is_root = *user == Account::Id(0);
            let user = if is_root { None } else { Some(find_user(user, unknown)?) };
            if user.as_ref().is_none_or(|user| user.uid == 0) && !process.allow_root {
                return Err("WSGI process blocked from running as root.".to_owned());
            }
            accounts.user = user.or_else(|| User::of(0));
        }
        accounts.gid = process.group.as_ref().map(find_group).transpose()?;
        if let Some(groups) = &process.supplementary_groups {
            let most = most_groups();
            // The primary group is one of them.
            if groups.len() + 1 > most {
                return Err("Too many supplementary groups WSGI daemon process".to_owned());
            }
            accounts.supplementary = Some(groups.iter().map(find_group).collect::<Result<_, _>>()?);
        }
        if let Some(user) = &process.socket_user {
            find_user(user, "Couldn't determine user name from socket user.")?;
        }
        if let Some(user) = &process.script_user {
            let user = find_user(user, "Couldn't determine uid from script user.")?;
            accounts.script_user = Some(user.uid);
        }
        if let Some(group) = &process.script_group {
            let gid = find_group(group)?;
            if group_name(gid).is_none() {
                return Err("Couldn't determine gid from script group.".to_owned());
            }
            accounts.script_group = Some(gid);
        }
        Ok(accounts)
    }
}

/// Name of the user.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    User::of(uid).map(|user| user.name)
}

/// Name of the group.
pub(crate) fn group_name(gid: u32) -> Option<String> {
    nix::unistd::Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}

fn find_user(account: &Account, unknown_number: &str) -> Result<User, String> {
    match account {
        Account::Id(uid) => User::of(*uid).ok_or_else(|| unknown_number.to_owned()),
        Account::Name(name) => {
            let name = String::from_utf8_lossy(name);
            let user = nix::unistd::User::from_name(&name).ok().flatten();
            user.map(User::from).ok_or_else(|| format!("bad user name {name}"))
        }
    }
}

/// A number needs no entry.
fn find_group(account: &Account) -> Result<u32, String> {
    match account {
        Account::Id(gid) => Ok(*gid),
        Account::Name(name) => {
            let name = String::from_utf8_lossy(name);
            let group = nix::unistd::Group::from_name(&name).ok().flatten();
            group.map(|group| group.gid.as_raw()).ok_or_else(|| format!("bad group name {name}"))
        }
    }
}

/// Most groups that a process can be in.
fn most_groups() -> usize {
    let most = nix::unistd::sysconf(nix::unistd::SysconfVar::NGROUPS_MAX).ok().flatten();
    most.and_then(|most| usize::try_from(most).ok()).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn find(options: &str) -> Result<Accounts, String> {
        Accounts::find(&DaemonProcess::parse(format!("d {options}").as_bytes()).unwrap())
    }

    #[track_caller]
    fn refused(options: &str, message: &str) {
        assert_eq!(find(options).unwrap_err(), message, "{options}");
    }

    #[test]
    fn by_name_and_by_number() {
        let daemon = nix::unistd::User::from_name("daemon").unwrap().unwrap();
        let uid = daemon.uid.as_raw();
        let accounts = find("user=daemon group=root supplementary-groups=daemon,#77777").unwrap();
        assert_eq!(accounts.user.as_ref().unwrap().uid, uid);
        assert_eq!(accounts.gid, Some(0));
        assert_eq!(accounts.supplementary.as_ref().unwrap().len(), 2);
        assert_eq!(accounts.supplementary.as_ref().unwrap()[1], 77777);
        assert_eq!(find(&format!("user=#{uid}")).unwrap().user, accounts.user);
        assert!(accounts.user.unwrap().groups(77777).unwrap().contains(&77777));
        assert_eq!(find("group=#77777").unwrap().gid, Some(77777));
        assert_eq!(find("supplementary-groups=").unwrap().supplementary, Some(Vec::new()));
        assert_eq!(find("script-user=root").unwrap().script_user, Some(0));
        assert_eq!(find("script-group=#0").unwrap().script_group, Some(0));
        assert_eq!(find("").unwrap(), Accounts::default());
        assert!(find("socket-user=root").is_ok());
    }

    #[test]
    fn unknown_ones() {
        refused("user=no-such-user", "bad user name no-such-user");
        refused("group=no-such-group", "bad group name no-such-group");
        refused("supplementary-groups=root,no-such-group", "bad group name no-such-group");
        refused("script-user=no-such-user", "bad user name no-such-user");
        refused("socket-user=no-such-user", "bad user name no-such-user");
        refused("user=#77777", "Couldn't determine user name from uid.");
        refused("socket-user=#77777", "Couldn't determine user name from socket user.");
        refused("script-user=#77777", "Couldn't determine uid from script user.");
        refused("script-group=#77777", "Couldn't determine gid from script group.");
    }

    #[test]
    fn root_must_be_meant() {
        refused("user=root", "WSGI process blocked from running as root.");
        refused("user=#0", "WSGI process blocked from running as root.");
        assert_eq!(find("user=root allow-root=On").unwrap().user.unwrap().uid, 0);
    }

    #[test]
    fn the_number_of_groups_has_an_end() {
        let many = vec!["#1"; most_groups()].join(",");
        refused(
            &format!("supplementary-groups={many}"),
            "Too many supplementary groups WSGI daemon process",
        );
    }
}
