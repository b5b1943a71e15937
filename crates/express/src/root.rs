//! The server root: the directory that holds everything of one server.
//!
//! By default it has a name that anybody can guess, in a directory where anybody can make files.
//! So it is made for its owner alone, and one that is there already is used only if nobody else
//! can have put anything into it. A directory that the user chose is the user's business; what is
//! odd about it is told.
//!
//! Files are renamed into place: a server that runs from them never sees half of one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, Result};

/// A server root that nobody else is working in.
#[derive(Debug)]
pub(crate) struct Root {
    directory: PathBuf,
    owner: Option<Owner>,
    /// Held for as long as we are at work.
    _lock: File,
}

/// Who the server runs as, if that is not us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Root {
    /// Makes the directory, or takes one that is there. Returns what is odd about it, too.
    pub(crate) fn open(
        directory: &Path,
        is_default: bool,
        owner: Option<Owner>,
    ) -> Result<(Root, Option<String>)> {
        let odd = match is_default {
            true => own_private(directory, owner).map(|()| None)?,
            false => chosen(directory)?,
        };
        let path = directory.join(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|e| Error::file("write", &path, &e))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Error::other(format!("another mod_wsgi-express is at work in {}", directory.display()))
        })?;
        Ok((Root { directory: directory.to_path_buf(), owner, _lock: lock }, odd))
    }

    /// Writes a file that replaces an older one at once.
    pub(crate) fn write(&self, path: &str, text: &str, executable: bool) -> Result<()> {
        let path = Path::new(path);
        let mut name = OsString::from(".new-");
        name.push(path.file_name().unwrap_or_default());
        let new = path.with_file_name(name);
        let written = || -> std::io::Result<()> {
            match fs::remove_file(&new) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(if executable { 0o777 } else { 0o666 })
                .open(&new)?;
            file.write_all(text.as_bytes())?;
            if executable {
                // Whatever the umask says, it is there to be run.
                let mode = file.metadata()?.mode() | 0o700;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            fs::rename(&new, path)
        };
        written().map_err(|e| Error::file("write", path, &e))
    }

    /// Makes an empty file for the user to fill, unless it is there.
    pub(crate) fn keep(&self, path: &str) -> Result<()> {
        match OpenOptions::new().create(true).append(true).open(path) {
            Ok(_) => Ok(()),
            Err(e) => Err(Error::file("write", Path::new(path), &e)),
        }
    }

    /// Makes a directory and those above it.
    pub(crate) fn directory(&self, path: &str) -> Result<()> {
        fs::create_dir_all(path).map_err(|e| Error::file("make", Path::new(path), &e))
    }

    /// Makes a directory that the application can write to. One that is there and was not made by
    /// us before keeps its owner.
    pub(crate) fn writable_directory(&self, path: &str) -> Result<()> {
        let path = Path::new(path);
        let new = !path.exists();
        self.directory(&path.to_string_lossy())?;
        match self.owner {
            Some(owner) if new || path.starts_with(&self.directory) => {
                std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid))
                    .map_err(|e| Error::file("change the owner of", path, &e))
            }
            _ => Ok(()),
        }
    }
}

/// A directory of our own, closed to everyone else.
fn own_private(directory: &Path, owner: Option<Owner>) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|e| Error::file("make", directory, &e))?,
    }
    let refused = |why: &str| {
        Err(Error::other(format!(
            "{} {why}, so it is not used; remove it, or name another directory with --server-root",
            directory.display()
        )))
    };
    let found = fs::symlink_metadata(directory).map_err(|e| Error::file("use", directory, &e))?;
    if !found.is_dir() {
        return refused("is not a directory");
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refused("belongs to somebody else");
    }
    if found.mode() & 0o022 != 0 {
        return refused("can be written to by others");
    }
    let mode = match owner {
        // Apache's children come from that group, and have to read what is in it.
        Some(owner) => {
            std::os::unix::fs::chown(directory, None, Some(owner.gid))
                .map_err(|e| Error::file("change the group of", directory, &e))?;
            0o750
        }
        None => 0o700,
    };
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(|e| Error::file("change the mode of", directory, &e))
}

/// A directory that the user chose.
fn chosen(directory: &Path) -> Result<Option<String>> {
    fs::create_dir_all(directory).map_err(|e| Error::file("make", directory, &e))?;
    let found = fs::metadata(directory).map_err(|e| Error::file("use", directory, &e))?;
    let us = rustix::process::geteuid().as_raw();
    let odd = if ![us, 0].contains(&found.uid()) {
        "belongs to another user"
    } else if found.mode() & 0o002 != 0 {
        "can be written to by everyone"
    } else {
        return Ok(None);
    };
    Ok(Some(format!("{} {odd}, who can change what the server does", directory.display())))
}

/// The process that serves from here already.
pub(crate) fn serving(pid_file: &str, conf: &str) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    // The number may have gone to another process since; a server names its configuration.
    let words = fs::read(format!("/proc/{pid}/cmdline"));
    match words {
        Ok(words) => words.split(|&byte| byte == 0).any(|word| word == conf.as_bytes()),
        // No /proc: on other systems than Linux.
        Err(_) if Path::new("/proc/self/cmdline").exists() => false,
        Err(_) => {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed())?;
            rustix::process::test_kill_process(pid).is_ok()
        }
    }
    .then_some(pid)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn d15_the_default_server_root_is_private_and_its_owner_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        drop(Root::open(&root, true, None).unwrap());
        assert_eq!(mode(&root), 0o700);

        // One that was left open for reading is closed, one that was open for writing is not used.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        drop(Root::open(&root, true, None).unwrap());
        assert_eq!(mode(&root), 0o700);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        let error = Root::open(&root, true, None).unwrap_err().to_string();
        assert!(error.contains("can be written to by others"), "{error}");

        // A link leads anywhere.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let error = Root::open(&link, true, None).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");

        if rustix::process::geteuid().is_root() {
            fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&root, Some(33), None).unwrap();
            let error = Root::open(&root, true, None).unwrap_err().to_string();
            assert!(error.contains("belongs to somebody else"), "{error}");
            // Chosen on purpose it is used, but not without a word.
            let (_, odd) = Root::open(&root, false, None).unwrap();
            assert!(odd.unwrap().contains("belongs to another user"));
        }
    }

    #[test]
    fn only_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Root::open(&dir.path().join("deep/root"), false, None).unwrap();
        let error = Root::open(&dir.path().join("deep/root"), false, None).unwrap_err();
        assert!(error.to_string().contains("another mod_wsgi-express"), "{error}");
        drop(first);
        Root::open(&dir.path().join("deep/root"), false, None).unwrap();
    }

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (root, _) = Root::open(dir.path(), false, None).unwrap();
        let path = dir.path().join("a").to_str().unwrap().to_owned();
        root.write(&path, "one", false).unwrap();
        let before = File::open(&path).unwrap();
        root.write(&path, "two", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::io::read_to_string(before).unwrap(), "one");
        assert_eq!(mode(Path::new(&path)) & 0o700, 0o700);
        root.keep(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn a_server_is_known_by_its_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid").to_str().unwrap().to_owned();
        assert_eq!(serving(&file, "x"), None);
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        let own = std::env::args().next().unwrap();
        assert_eq!(serving(&file, &own), Some(std::process::id()));
        assert_eq!(serving(&file, "/no/such.conf"), None);
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(serving(&file, &own), None);
    }
}
