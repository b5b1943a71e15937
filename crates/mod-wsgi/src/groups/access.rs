//! `script-user=` and `script-group=`: whose scripts a group of processes runs.
//!
//! The file of the request and its directory must belong to the user (or have the group), and
//! nobody else may be able to write to them, or the script would be anybody's. The files are looked
//! at when the request comes, behind symbolic links.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use httpd_sys::{Level, Request, Status};
use log_codes::{
    Message, WSGI0153, WSGI0154, WSGI0155, WSGI0157, WSGI0158, WSGI0159, WSGI0160, WSGI0161,
    WSGI0162, WSGI0163, WSGI0164, WSGI0166, WSGI0168, WSGI0169, WSGI0170, WSGI0171, WSGI0172,
    WSGI0173,
};

use super::accounts::{Accounts, group_name, user_name};
use crate::log;

const GROUP_WRITES: u32 = 0o020;
const WORLD_WRITES: u32 = 0o002;

/// Checks the file of `request`, if anything is said about its owner.
///
/// # Errors
/// The status to answer with; the reason is in the log.
pub(super) fn check(request: &Request<'_>, accounts: &Accounts) -> Result<(), Status> {
    let path = Path::new(OsStr::from_bytes(request.filename()));
    let refused = check_file(path, accounts).err();
    refused.map_or(Ok(()), |line| {
        log::text(request, Level::Error, &line);
        Err(Status::Http(403))
    })
}

/// The line for the log if the file is refused.
fn check_file(path: &Path, accounts: &Accounts) -> Result<(), String> {
    if let Some(gid) = accounts.script_group {
        let file = path.metadata().map_err(|_| text(WSGI0153.message([])))?;
        check_group(&file, gid, &WSGI0154, &WSGI0155)?;
        refuse(&file, WORLD_WRITES, || text(WSGI0157.message([])))?;
        let (parent, folder) = parent(path);
        let folder = folder.map_err(|_| text(WSGI0158.message([&parent])))?;
        check_group(&folder, gid, &WSGI0159, &WSGI0160)?;
        refuse(&folder, WORLD_WRITES, || text(WSGI0161.message([])))?;
    }
    if let Some(uid) = accounts.script_user {
        let file = path.metadata().map_err(|_| text(WSGI0162.message([])))?;
        check_owner(&file, uid, &WSGI0163, &WSGI0164)?;
        refuse(&file, GROUP_WRITES, || text(WSGI0166.message([])))?;
        refuse(&file, WORLD_WRITES, || text(WSGI0168.message([])))?;
        let (parent, folder) = parent(path);
        let folder = folder.map_err(|_| text(WSGI0169.message([&parent])))?;
        check_owner(&folder, uid, &WSGI0170, &WSGI0171)?;
        refuse(&folder, WORLD_WRITES, || text(WSGI0172.message([])))?;
        refuse(&folder, GROUP_WRITES, || text(WSGI0173.message([])))?;
    }
    Ok(())
}

type Named = &'static log_codes::Code<1>;

fn check_group(file: &Metadata, gid: u32, nameless: Named, other: Named) -> Result<(), String> {
    if file.gid() == gid {
        return Ok(());
    }
    Err(match group_name(file.gid()) {
        Some(name) => text(other.message([&name])),
        None => text(nameless.message([&file.gid()])),
    })
}

fn check_owner(file: &Metadata, uid: u32, nameless: Named, other: Named) -> Result<(), String> {
    if file.uid() == uid {
        return Ok(());
    }
    Err(match user_name(file.uid()) {
        Some(name) => text(other.message([&name])),
        None => text(nameless.message([&file.uid()])),
    })
}

fn refuse(file: &Metadata, bits: u32, line: impl FnOnce() -> String) -> Result<(), String> {
    if file.mode() & bits == 0 { Ok(()) } else { Err(line()) }
}

fn parent(path: &Path) -> (Vec<u8>, std::io::Result<Metadata>) {
    let parent = path.parent().unwrap_or(Path::new("/"));
    (parent.as_os_str().as_bytes().to_vec(), parent.metadata())
}

fn text<const N: usize>(message: Message<'_, N>) -> String {
    String::from_utf8_lossy(&message.to_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A script in a folder of its own, with these permissions.
    fn script(folder: u32, file: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("app.wsgi");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(file)).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(folder)).unwrap();
        (root, path)
    }

    fn check(folder: u32, file: u32, of: impl Fn(&Metadata) -> Accounts) -> Option<String> {
        let (_root, path) = script(folder, file);
        let accounts = of(&path.metadata().unwrap());
        check_file(&path, &accounts).err()
    }

    fn user(uid: u32) -> Accounts {
        Accounts { script_user: Some(uid), ..Accounts::default() }
    }

    fn group(gid: u32) -> Accounts {
        Accounts { script_group: Some(gid), ..Accounts::default() }
    }

    #[test]
    fn scripts_of_the_user_that_nobody_else_can_write_to() {
        let own = |file: &Metadata| user(file.uid());
        assert_eq!(check(0o755, 0o644, own), None);
        let code = |folder, file| check(folder, file, own).unwrap()[..8].to_owned();
        assert_eq!(code(0o755, 0o664), "WSGI0166");
        assert_eq!(code(0o755, 0o646), "WSGI0168");
        assert_eq!(code(0o757, 0o644), "WSGI0172");
        assert_eq!(code(0o775, 0o644), "WSGI0173");
        let other = check(0o755, 0o644, |file| user(file.uid() + 1)).unwrap();
        let name = user_name(nix::unistd::geteuid().as_raw()).unwrap();
        assert_eq!(
            other,
            format!(
                "WSGI0164: WSGI script file owner '{name}' does not match user required for daemon \
                 process."
            )
        );
    }

    #[test]
    fn scripts_of_the_group_that_the_world_cannot_write_to() {
        let own = |file: &Metadata| group(file.gid());
        assert_eq!(check(0o775, 0o664, own), None);
        let code = |folder, file| check(folder, file, own).unwrap()[..8].to_owned();
        assert_eq!(code(0o755, 0o646), "WSGI0157");
        assert_eq!(code(0o757, 0o644), "WSGI0161");
        let other = check(0o755, 0o644, |file| group(file.gid() + 1)).unwrap();
        assert!(other.starts_with("WSGI0155: "), "{other}");
    }

    #[test]
    fn missing_files_and_nothing_said() {
        let missing = Path::new("/no/such/file");
        let line = |accounts: Accounts| check_file(missing, &accounts).unwrap_err();
        assert!(line(user(0)).starts_with("WSGI0162"));
        assert!(line(group(0)).starts_with("WSGI0153"));
        assert!(check_file(missing, &Accounts::default()).is_ok());
    }
}
