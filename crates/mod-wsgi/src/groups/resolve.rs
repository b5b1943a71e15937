//! From what is written about a group to what its processes are started with: numbers for names,
//! limits, changes to the environment, the working directory.
//!
//! Done by the parent when the configuration is complete, since `User` and `Group` may stand behind
//! the definition of a group. What needs Python (the program, its home) is not in here.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use httpd_sys::Identity;
use nix::libc;

use super::Group;
use super::accounts::User;

/// What the parent knows beside the definition of a group.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// `User` and `Group`.
    pub(crate) apache: Identity,
    /// Who the parent is.
    pub(crate) euid: u32,
    /// Where the parent is.
    pub(crate) directory: Option<Vec<u8>>,
    /// Variables of its environment.
    pub(crate) has_variable: fn(&str) -> bool,
}

impl Machine {
    /// This process.
    pub(crate) fn here() -> Machine {
        use std::os::unix::ffi::OsStringExt;
        let directory = std::env::current_dir().ok();
        Machine {
            apache: Identity::configured(),
            euid: nix::unistd::geteuid().as_raw(),
            directory: directory.map(|directory| directory.into_os_string().into_vec()),
            has_variable: |name| std::env::var_os(name).is_some(),
        }
    }
}

/// Whom to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Become {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, with the primary one.
    pub(crate) groups: Vec<u32>,
}

/// A limit of `setrlimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// A change of the environment; without a value, the variable is removed.
pub(crate) type Variable = (Vec<u8>, Option<Vec<u8>>);

/// What the processes of a group are started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Nobody where the parent is not root.
    pub(crate) user: Option<Become>,
    /// Working directory, inside the new root if there is one; `None` is the root.
    pub(crate) directory: Option<Vec<u8>>,
    pub(crate) env: Vec<Variable>,
    pub(crate) limits: Vec<Limit>,
}

/// Resolves a group.
///
/// # Errors
/// It cannot be started, for a reason that the administrator has to mend.
pub(crate) fn resolve(group: &Group, machine: &Machine) -> Result<Resolved, String> {
    let is_root = machine.euid == 0;
    let account = account(group, machine)?;
    let uid = if is_root { account.uid } else { machine.euid };
    // The user whose home directory and name the processes see.
    let seen = User::of(uid);
    let user = if is_root { Some(identity(group, machine, &account)?) } else { None };
    let process = &group.process;
    let own = || machine.directory.clone().filter(|_| process.chroot.is_none());
    let directory = match &process.home {
        Some(home) => Some(home.clone()),
        // Containers have users without an entry; they stay where they are.
        None if uid != machine.apache.uid => {
            seen.as_ref().map(|user| user.home.clone()).or_else(own)
        }
        None => own(),
    };
    let env = environment(group, machine, seen.as_ref());
    Ok(Resolved { user, directory, env, limits: limits(group) })
}

/// The user of the group's processes, if the parent is root.
struct Account {
    uid: u32,
    user: Option<User>,
}

fn account(group: &Group, machine: &Machine) -> Result<Account, String> {
    let (uid, user) = match &group.accounts.user {
        Some(user) => (user.uid, Some(user.clone())),
        None => (machine.apache.uid, User::of(machine.apache.uid)),
    };
    if machine.euid == 0 && uid == 0 && !group.process.allow_root {
        return Err("WSGI process blocked from running as root.".to_owned());
    }
    Ok(Account { uid, user })
}

fn identity(group: &Group, machine: &Machine, account: &Account) -> Result<Become, String> {
    let gid = group.accounts.gid.unwrap_or(machine.apache.gid);
    let groups = match &group.accounts.supplementary {
        Some(listed) => {
            let mut groups = vec![gid];
            groups.extend(listed.iter().filter(|listed| **listed != gid));
            groups
        }
        None => {
            let groups = account.user.as_ref().and_then(|user| user.groups(gid));
            groups.ok_or("Couldn't determine user name from uid.")?
        }
    };
    Ok(Become { uid: account.uid, gid, groups })
}

/// `LANG` and `LC_ALL`, and who the user is, for variables that say so.
fn environment(group: &Group, machine: &Machine, seen: Option<&User>) -> Vec<Variable> {
    let mut env = Vec::new();
    let mut set = |name: &str, value: &[u8]| {
        env.push((name.as_bytes().to_vec(), Some(value.to_vec())));
    };
    if let Some(user) = seen {
        for name in ["USER", "USERNAME", "LOGNAME"] {
            if (machine.has_variable)(name) {
                set(name, user.name.as_bytes());
            }
        }
        set("HOME", &user.home);
    }
    if let Some(lang) = &group.process.lang {
        set("LANG", lang);
    }
    if let Some(locale) = &group.process.locale {
        set("LC_ALL", locale);
    }
    // How the parent talks to systemd is nobody else's business.
    for name in ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        if (machine.has_variable)(name) {
            env.push((name.as_bytes().to_vec(), None));
        }
    }
    env
}

fn limits(group: &Group) -> Vec<Limit> {
    let process = &group.process;
    #[allow(clippy::unnecessary_cast, reason = "a signed number on other systems")]
    let limit = |resource, (soft, hard)| Limit { resource: resource as u32, soft, hard };
    let same = |bytes: u64| (bytes, bytes);
    let cpu = process.cpu_limits().map(|limits| limit(libc::RLIMIT_CPU, limits));
    let data = process.memory_limit.map(|bytes| limit(libc::RLIMIT_DATA, same(bytes)));
    let space = process.virtual_memory_limit.map(|bytes| limit(libc::RLIMIT_AS, same(bytes)));
    cpu.into_iter().chain(data).chain(space).collect()
}

/// What must exist inside of a new root directory, told by name where it does not.
///
/// # Errors
/// What the server prints.
pub(crate) fn check_chroot(group: &Group) -> Result<(), String> {
    let process = &group.process;
    let Some(chroot) = &process.chroot else {
        return Ok(());
    };
    let shown = chroot.escape_ascii();
    if !Path::new(OsStr::from_bytes(chroot)).is_dir() {
        return Err(format!("chroot directory '{shown}' for WSGI daemon process does not exist."));
    }
    let missing = |what: &[u8], option: &str| {
        Err(format!(
            "chroot directory '{shown}' for WSGI daemon process has no '{}' inside, which {option} \
             names.",
            what.escape_ascii()
        ))
    };
    if let Some(home) = &process.home
        && !is_directory_inside(chroot, home)
    {
        return missing(home, "home=");
    }
    if let Some(home) = process.python_home.as_ref().filter(|home| !home.is_empty())
        && !is_directory_inside(chroot, home)
    {
        return missing(home, "python-home=");
    }
    Ok(())
}

/// Whether there is a directory at `path` for a process whose root is `root`. Symbolic links mean
/// what they mean there. Where that cannot be told, there is.
fn is_directory_inside(root: &[u8], path: &[u8]) -> bool {
    #[cfg(target_os = "linux")]
    {
        use nix::errno::Errno;
        use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
        use nix::sys::stat::Mode;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let found = open(root, flags, Mode::empty()).and_then(|root| openat2(root, path, how));
        !matches!(found, Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (root, path);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wsgi_config::daemon_process::DaemonProcess;

    use super::super::{Accounts, Place};
    use super::*;

    fn group(options: &str) -> Group {
        let process = DaemonProcess::parse(format!("d {options}").as_bytes()).unwrap();
        let accounts = Accounts::find(&process).unwrap();
        Group { process, accounts, place: Place::default() }
    }

    fn daemon() -> User {
        User::from(nix::unistd::User::from_name("daemon").unwrap().unwrap())
    }

    /// Apache was started as `euid` and has `daemon` as `User` and 55 as `Group`.
    fn machine(euid: u32) -> Machine {
        let daemon = daemon();
        Machine {
            apache: Identity { user_name: daemon.name.into_bytes(), uid: daemon.uid, gid: 55 },
            euid,
            directory: Some(b"/run".to_vec()),
            has_variable: |name| matches!(name, "USER" | "NOTIFY_SOCKET"),
        }
    }

    fn as_root(options: &str) -> Resolved {
        resolve(&group(options), &machine(0)).unwrap()
    }

    fn variable<'a>(resolved: &'a Resolved, name: &str) -> Option<&'a Option<Vec<u8>>> {
        resolved.env.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value)
    }

    #[test]
    fn the_user_is_apaches_unless_another_is_named() {
        let user = as_root("").user.unwrap();
        assert_eq!((user.uid, user.gid), (daemon().uid, 55));
        assert!(user.groups.contains(&55));
        // The group is Apache's, not the user's own.
        let user = as_root("user=nobody").user.unwrap();
        assert_ne!(user.uid, daemon().uid);
        assert_eq!(user.gid, 55);
        let user = as_root("group=#66").user.unwrap();
        assert_eq!(user.gid, 66);
        assert!(user.groups.contains(&66) && !user.groups.contains(&55));
    }

    #[test]
    fn listed_groups_take_the_place_of_the_users() {
        let groups = |options: &str| as_root(options).user.unwrap().groups;
        assert_eq!(groups("supplementary-groups=#7,#8"), [55, 7, 8]);
        assert_eq!(groups("supplementary-groups=#7,#55"), [55, 7]);
        assert_eq!(groups("supplementary-groups="), [55]);
    }

    #[test]
    fn who_is_not_root_becomes_nobody_else() {
        let own = daemon().uid;
        let resolved = resolve(&group("user=nobody group=#66"), &machine(own)).unwrap();
        assert_eq!(resolved.user, None);
        assert_eq!(variable(&resolved, "USER"), Some(&Some(b"daemon".to_vec())));
    }

    #[test]
    fn apache_as_root_does_not_make_its_groups_root() {
        let mut machine = machine(0);
        machine.apache.uid = 0;
        let refused = resolve(&group(""), &machine).unwrap_err();
        assert_eq!(refused, "WSGI process blocked from running as root.");
        assert_eq!(resolve(&group("allow-root=On"), &machine).unwrap().user.unwrap().uid, 0);
    }

    #[test]
    fn working_directories() {
        let directory = |options: &str| as_root(options).directory;
        assert_eq!(directory("home=/srv"), Some(b"/srv".to_vec()));
        assert_eq!(directory(""), Some(b"/run".to_vec()));
        let nobody = User::from(nix::unistd::User::from_name("nobody").unwrap().unwrap());
        assert_eq!(directory("user=nobody"), Some(nobody.home));
        // Also where Apache was started by somebody else than its `User`.
        let root = User::of(0).unwrap();
        let mut as_other = machine(0);
        as_other.apache.uid = nobody.uid;
        as_other.euid = daemon().uid;
        assert_eq!(resolve(&group(""), &as_other).unwrap().directory, Some(daemon().home));
        as_other.euid = 77777;
        assert_eq!(resolve(&group(""), &as_other).unwrap().directory, Some(b"/run".to_vec()));
        assert_ne!(root.home, daemon().home);
    }

    #[test]
    fn the_environment_says_who_the_user_is() {
        let resolved = as_root("lang=C.UTF-8 locale=de_DE.UTF-8");
        let value = |name: &str| variable(&resolved, name).cloned();
        let is = |text: &str| Some(Some(text.as_bytes().to_vec()));
        assert_eq!(value("USER"), is("daemon"));
        assert_eq!(value("LOGNAME"), None);
        assert_eq!(value("HOME"), Some(Some(daemon().home)));
        assert_eq!(value("LANG"), is("C.UTF-8"));
        assert_eq!(value("LC_ALL"), is("de_DE.UTF-8"));
        assert_eq!(value("NOTIFY_SOCKET"), Some(None));
        assert_eq!(variable(&as_root(""), "LANG"), None);
    }

    #[test]
    fn limits_of_the_system() {
        #[allow(clippy::unnecessary_cast, reason = "a signed number on other systems")]
        let limit = |resource, soft, hard| Limit { resource: resource as u32, soft, hard };
        assert_eq!(
            as_root("cpu-time-limit=100 memory-limit=5 virtual-memory-limit=6").limits,
            [
                limit(libc::RLIMIT_CPU, 100, 106),
                limit(libc::RLIMIT_DATA, 5, 5),
                limit(libc::RLIMIT_AS, 6, 6)
            ]
        );
        assert!(as_root("memory-limit=0").limits.is_empty());
    }

    #[test]
    fn what_is_missing_in_a_new_root_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("srv")).unwrap();
        let path = root.path().to_str().unwrap();
        let check = |options: &str| check_chroot(&group(options));
        assert_eq!(check(&format!("chroot={path} home=/srv python-home=/srv")), Ok(()));
        assert_eq!(check("home=/no/such"), Ok(()));
        assert_eq!(
            check("chroot=/no/such").unwrap_err(),
            "chroot directory '/no/such' for WSGI daemon process does not exist."
        );
        assert_eq!(
            check(&format!("chroot={path} home=/app")).unwrap_err(),
            format!(
                "chroot directory '{path}' for WSGI daemon process has no '/app' inside, which \
                 home= names."
            )
        );
        assert!(check(&format!("chroot={path} python-home=/opt")).is_err());
        // Links mean what they mean inside.
        std::os::unix::fs::symlink("/srv", root.path().join("app")).unwrap();
        assert_eq!(check(&format!("chroot={path} home=/app")), Ok(()));
        std::os::unix::fs::symlink("/usr", root.path().join("opt")).unwrap();
        assert!(check(&format!("chroot={path} python-home=/opt")).is_err());
    }
}
