//! Whether a user can get at a path, and what is in the way if not.
//!
//! Asked before a server is started as root for somebody else: what is closed to that user (a home
//! directory with a Python in it, often) would otherwise show as a crash of processes that find no
//! standard library. Only mode bits are read; where a path has an access control list, nothing is
//! said about it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A user, with all groups.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The part of a path that is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) part: PathBuf,
    pub(crate) mode: u32,
    pub(crate) directory: bool,
    /// Whose bits of the mode count for the user: `u`, `g` or `o`.
    class: char,
}

const SEARCH: u32 = 0o1;
const READ: u32 = 0o4;

impl Who {
    /// What keeps this user from reading a file, or from entering a directory.
    pub(crate) fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        let real = path.canonicalize().ok()?;
        // Both the path as it is written and the one it leads to have to be open.
        [path, &real].into_iter().find_map(|path| self.along(path))
    }

    fn along(&self, path: &Path) -> Option<Obstacle> {
        let mut parts: Vec<&Path> = path.ancestors().collect();
        parts.reverse();
        parts.iter().find_map(|part| {
            // Where a link leads is a part of the other path.
            let found = part.symlink_metadata().ok().filter(|found| !found.is_symlink())?;
            let wanted = if found.is_dir() { SEARCH } else { READ };
            let (class, shift) = self.class(&found);
            let may = self.uid == 0 || (found.mode() >> shift) & wanted == wanted;
            let closed = !may && !has_list(part);
            closed.then(|| Obstacle {
                part: part.to_path_buf(),
                mode: found.mode() & 0o7777,
                directory: found.is_dir(),
                class,
            })
        })
    }

    /// Whose bits count, and where they are. They alone count: an owner has not what others have.
    fn class(&self, found: &Metadata) -> (char, u32) {
        if found.uid() == self.uid {
            ('u', 6)
        } else if self.groups.contains(&found.gid()) {
            ('g', 3)
        } else {
            ('o', 0)
        }
    }
}

impl Obstacle {
    /// "/root is closed to www-data (mode 0700)"
    pub(crate) fn describe(&self, who: &Who) -> String {
        format!("{} is closed to {} (mode {:04o})", self.part.display(), who.name, self.mode)
    }

    /// What can be done.
    pub(crate) fn mend(&self) -> String {
        let (class, what) = (self.class, if self.directory { 'x' } else { 'r' });
        let part = crate::quote::shell(&self.part.to_string_lossy());
        format!("chmod {class}+{what} {part}, or use one elsewhere")
    }
}

/// Whether there is more to say about access than the mode does.
fn has_list(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut buffer = [0_u8; 1];
        match rustix::fs::getxattr(path, "system.posix_acl_access", &mut buffer) {
            Ok(_) | Err(rustix::io::Errno::RANGE) => true,
            Err(_) => false,
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_closed_part_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        create_dir(&inner).unwrap();
        let file = inner.join("file");
        write(&file, "").unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(dir.path(), 0o755);
        let who = Who { name: "somebody".to_owned(), uid: 54321, groups: vec![54321] };

        mode(&inner, 0o711);
        mode(&file, 0o644);
        assert_eq!(who.obstacle(&file), None);
        assert_eq!(who.obstacle(&inner), None);

        mode(&file, 0o600);
        let obstacle = who.obstacle(&file).unwrap();
        assert_eq!(
            obstacle.describe(&who),
            format!("{} is closed to somebody (mode 0600)", file.display())
        );
        assert_eq!(obstacle.mend(), format!("chmod o+r {}, or use one elsewhere", file.display()));

        mode(&inner, 0o700);
        assert_eq!(who.obstacle(&file).unwrap().part, inner);

        // A link is as open as what it leads to.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(who.obstacle(&link).unwrap().part, inner);

        // What is closed to the owner, or to a group, others' permissions do not open.
        let data = file.metadata().unwrap();
        let member = Who { groups: vec![data.gid()], ..who.clone() };
        assert!(member.obstacle(&file).unwrap().mend().starts_with("chmod g+x "));
        let owner = Who { uid: data.uid(), ..who.clone() };
        if owner.uid != 0 {
            mode(&file, 0o044);
            assert!(owner.obstacle(&file).unwrap().mend().starts_with("chmod u+r "));
            mode(&file, 0o600);
        }
        assert_eq!(owner.obstacle(&file), None);
        assert_eq!(who.obstacle(&dir.path().join("missing")), None);
    }
}
