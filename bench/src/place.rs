//! Who serves, and what that user can reach.
//!
//! Apache started by root serves as another user, who cannot read below a home directory such as
//! root's. Paths are therefore checked step by step before a server is pointed at them, and copied
//! where that fails.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The user servers run as, if that is not the one who runs us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// For root: www-data, or nobody. For everybody else none, the servers run as we do.
pub(crate) fn serving_user() -> Result<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let found = ["www-data", "apache", "nobody"].into_iter().find_map(look_up);
    found.map(Some).context("neither www-data nor nobody exists, and Apache will not serve as root")
}

fn look_up(name: &str) -> Option<User> {
    let found = nix::unistd::User::from_name(name).ok()??;
    Some(User { name: found.name, uid: found.uid.as_raw(), gid: found.gid.as_raw() })
}

/// Whether `user` (`None`: whoever we are) can read `path`, every directory above it included.
pub(crate) fn reaches(user: Option<&User>, path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let Some(user) = user else { return true };
    path.ancestors().all(|step| {
        let Ok(metadata) = std::fs::metadata(step) else { return false };
        let needed = if metadata.is_dir() { 0o5 } else { 0o4 };
        let granted = match metadata.mode() {
            mode if metadata.uid() == user.uid => mode >> 6,
            mode if metadata.gid() == user.gid => mode >> 3,
            mode => mode,
        };
        // A directory in the middle needs no list permission, only passage.
        let needed = if step == path { needed } else { 0o1 };
        granted & needed == needed
    })
}

/// The directory for what is kept between runs: below `target`, or where the user says.
pub(crate) fn cache(user: Option<&User>, given: Option<&Path>) -> Result<PathBuf> {
    let place = match given {
        Some(path) => std::path::absolute(path)?,
        None => root().join("target/bench"),
    };
    std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    if reaches(user, &place) {
        return Ok(place);
    }
    let name = user.map_or("you", |user| &user.name);
    bail!(
        "{} cannot be reached by {name}, who serves; name another directory with --cache, such as \
         --cache /var/tmp/mod-wsgi-bench",
        place.display()
    )
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Copies a directory with its links and times; `to` holds a complete copy or nothing.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("a copy needs a directory to be in")?;
    std::fs::create_dir_all(parent)?;
    let beside = tempfile::Builder::new().prefix(".copy-").tempdir_in(parent)?;
    let new = beside.path().join("new");
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto"]).arg(from).arg(&new);
    crate::process::run(&mut command)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::rename(&new, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_closed_directory_hides_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("file");
        std::fs::write(&inside, "x").unwrap();
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o644)).unwrap();
        let stranger = User { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        let mode = |mode| {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o700);
        assert!(!reaches(Some(&stranger), &inside));
        assert!(reaches(None, &inside));
        mode(0o711);
        assert!(reaches(Some(&stranger), &inside));
        assert!(!reaches(Some(&stranger), dir.path()), "it may pass, not list");
    }

    #[test]
    fn a_copy_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::create_dir(&from).unwrap();
        std::fs::write(from.join("new"), "x").unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(to.join("old"), "x").unwrap();
        copy(&from, &to).unwrap();
        assert!(to.join("new").exists() && !to.join("old").exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    }
}
