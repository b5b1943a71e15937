//! Making things reachable for the user Apache's children run as.
//!
//! Started by root, Apache's children become an ordinary user, to whom a Python or a checkout below
//! root's home is closed. An [`Area`] is a directory that user can reach, holding copies of just
//! that; an ordinary user needs no copies. Files are linked where the file system allows it, so a
//! copy of a Python costs no space; what has its old place written into it is copied and corrected.
//!
//! A copied `bin/python3` finds its libpython by the path in its RUNPATH (see ld.so(8)), which is
//! replaced by one relative to itself.

use crate::setup::{Python, run, workspace};
use anyhow::{Context, Result, bail, ensure};
use nix::unistd;
use rustix::fs::{Access, FlockOperation, access, flock};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;
use std::{env, fs};

/// Who Apache's children are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Name of the primary group.
    pub group: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// A directory for everything the tests put on disk.
#[derive(Debug)]
pub struct Area {
    /// Its path.
    pub dir: PathBuf,
    /// The user of the children, if it is not the one running the tests.
    pub user: Option<User>,
}

impl Area {
    pub(crate) fn open() -> Result<Area> {
        let user = if rustix::process::geteuid().is_root() { Some(child_user()?) } else { None };
        let dir = place(user.as_ref())?;
        let area = Area { dir, user };
        for sub in ["run", "ports", "venvs", "pythons", "dists"] {
            make_dir(&area.dir.join(sub))?;
        }
        Ok(area)
    }

    /// The first part of `path` that the children's user cannot pass or read.
    pub fn closed(&self, path: &Path) -> Option<PathBuf> {
        closed_to(self.user.as_ref()?, path)
    }

    /// Makes a directory and what is in it the children's own.
    pub(crate) fn give(&self, path: &Path) -> Result<()> {
        let Some(user) = &self.user else { return Ok(()) };
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))?;
            left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
        }
        Ok(())
    }

    /// A dist the children can read, naming a Python they can reach.
    pub(crate) fn dist(&self, dist: &Path, default: Option<&Python>) -> Result<PathBuf> {
        let files = tree(dist)?;
        let named = fs::read_to_string(dist.join("default-python")).unwrap_or_default();
        let wanted = default.map(|python| python.prefix.clone()).unwrap_or_default();
        let moved = default.is_some() && !Path::new(named.trim()).starts_with(&wanted);
        if !moved && files.iter().all(|file| self.closed(&dist.join(file)).is_none()) {
            return Ok(dist.to_owned());
        }
        let mut stamp = format!("{}\n{}\n", dist.display(), wanted.display());
        for file in &files {
            let meta = fs::metadata(dist.join(file))?;
            stamp += &format!("{} {} {}\n", file.display(), meta.len(), mtime(&meta));
        }
        let place = self.dir.join("dists").join(hash(&stamp));
        let _lock = lock(&place.with_extension("lock"))?;
        if !place.join("complete").exists() {
            for file in &files {
                let to = place.join(file);
                make_dir(to.parent().context("a file has a directory")?)?;
                fs::copy(dist.join(file), &to)?;
            }
            if default.is_some() {
                fs::write(place.join("default-python"), format!("{}\n", wanted.display()))?;
            }
            fs::write(place.join("complete"), stamp)?;
        }
        Ok(place)
    }

    /// A prefix with this Python in it that the children can use.
    pub(crate) fn python(&self, prefix: &Path, version: &str) -> Result<PathBuf> {
        let Some(user) = &self.user else { return Ok(prefix.to_owned()) };
        if closed_to(user, &prefix.join("bin/python3")).is_none()
            && closed_to(user, &prefix.join("lib")).is_none()
        {
            return Ok(prefix.to_owned());
        }
        let name = format!("{}-{}", version, hash(&prefix.display().to_string()));
        let place = self.dir.join("pythons").join(name);
        let _lock = lock(&place.with_extension("lock"))?;
        if !place.join("complete").exists() {
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            copy_python(prefix, &place, version)
                .with_context(|| format!("copying {}", prefix.display()))?;
            let python = place.join("bin/python3");
            let mut command = Command::new(&python);
            command.args(["-I", "-c", "import ssl, sqlite3, encodings"]).current_dir("/");
            command.uid(user.uid).gid(user.gid);
            run(&mut command).with_context(|| format!("the copy of {}", prefix.display()))?;
            fs::write(place.join("complete"), "")?;
        }
        Ok(place)
    }
}

/// Makes a directory with its parents, open to everybody for reading.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .with_context(|| format!("making {}", dir.display()))
}

/// Holds `path` locked against other test processes until dropped.
pub(crate) fn lock(path: &Path) -> Result<fs::File> {
    let file = fs::File::create(path).with_context(|| path.display().to_string())?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// A short name for a text. Not for keeping anybody out.
pub(crate) fn hash(text: &str) -> String {
    let fnv = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv))
}

fn child_user() -> Result<User> {
    for name in ["www-data", "apache", "_www", "nobody"] {
        let Some(user) = unistd::User::from_name(name)? else { continue };
        let Some(group) = unistd::Group::from_gid(user.gid)? else { continue };
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        return Ok(User { name: user.name, group: group.name, uid, gid });
    }
    bail!("no ordinary user for Apache's children: none of www-data, apache, _www, nobody")
}

/// The directory named by the environment, else `target/tests`, else one below /tmp.
fn place(user: Option<&User>) -> Result<PathBuf> {
    if let Some(dir) = env::var_os("WSGI_TEST_CACHE").filter(|dir| !dir.is_empty()) {
        let dir = PathBuf::from(dir);
        make_dir(&dir)?;
        if let Some(part) = user.and_then(|user| closed_to(user, &dir)) {
            bail!("WSGI_TEST_CACHE: {} is closed to Apache's children", part.display());
        }
        return Ok(dir);
    }
    let target = workspace().join("target");
    // Tests write paths into configurations, most of them without quotes.
    let plain = !workspace().as_os_str().as_bytes().iter().any(|byte| b" \t'\"\\".contains(byte));
    if plain && user.is_none_or(|user| closed_to(user, workspace()).is_none()) {
        // The build, and what is in there, may be somebody else's.
        let dir = target.join("tests");
        let usable = make_dir(&dir).is_ok()
            && access(dir.join("run"), Access::WRITE_OK) != Err(Errno::ACCESS);
        if usable && user.is_none_or(|user| closed_to(user, &dir).is_none()) {
            return Ok(dir);
        }
    }
    let me = rustix::process::geteuid().as_raw();
    let dir = env::temp_dir().join(format!("wsgi-tests.{me}"));
    make_dir(&dir)?;
    let meta = fs::symlink_metadata(&dir)?;
    ensure!(meta.is_dir() && meta.uid() == me, "{} belongs to somebody else", dir.display());
    Ok(dir)
}

fn closed_to(user: &User, path: &Path) -> Option<PathBuf> {
    let Ok(path) = path.canonicalize() else { return Some(path.to_owned()) };
    for part in path.ancestors() {
        let Ok(meta) = fs::metadata(part) else { return Some(part.to_owned()) };
        let shift = match (meta.uid() == user.uid, meta.gid() == user.gid) {
            (true, _) => 6,
            (_, true) => 3,
            _ => 0,
        };
        let needed = if meta.is_dir() { 0o1 } else { 0o4 };
        if (meta.mode() >> shift) & needed == 0 {
            return Some(part.to_owned());
        }
    }
    None
}

pub(crate) fn mtime(meta: &fs::Metadata) -> u128 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos())
}

/// Every file below a directory, relative to it, in order.
pub(crate) fn tree(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(sub) = left.pop() {
        for entry in fs::read_dir(dir.join(&sub))? {
            let path = sub.join(entry?.file_name());
            if dir.join(&path).is_dir() {
                left.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The parts of an installation that running it needs: not its own tests, nor what was installed
/// into it beside pip and setuptools.
fn copy_python(prefix: &Path, place: &Path, version: &str) -> Result<()> {
    let library = PathBuf::from(format!("lib/python{version}"));
    let unwanted = |sub: &Path| {
        let name = sub.file_name().and_then(OsStr::to_str).unwrap_or_default();
        match sub.parent() {
            Some(dir) if dir == library => matches!(name, "test" | "idlelib" | "turtledemo"),
            Some(dir) if dir == Path::new("lib") => {
                name.ends_with(".a") || (name.starts_with("python") && sub != library)
            }
            Some(dir) if dir == library.join("site-packages") => {
                !["pip", "setuptools", "_distutils_hack", "distutils-precedence"]
                    .iter()
                    .any(|wanted| name == *wanted || name.starts_with(&format!("{wanted}-")))
            }
            Some(dir) if dir == Path::new("bin") => !name.starts_with("python"),
            Some(dir) if dir == Path::new("") => !matches!(name, "bin" | "lib" | "include"),
            _ => false,
        }
    };
    link_tree(prefix, place, Path::new(""), &unwanted)?;
    relocate(&place.join(format!("bin/python{version}")), prefix)
}

fn link_tree(from: &Path, to: &Path, sub: &Path, unwanted: &dyn Fn(&Path) -> bool) -> Result<()> {
    make_dir(&to.join(sub))?;
    for entry in fs::read_dir(from.join(sub))? {
        let path = sub.join(entry?.file_name());
        if unwanted(&path) {
            continue;
        }
        let (source, target) = (from.join(&path), to.join(&path));
        let meta = fs::symlink_metadata(&source)?;
        if meta.is_dir() {
            link_tree(from, to, &path, unwanted)?;
        } else if meta.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if meta.mode() & 0o004 == 0 {
            fs::copy(&source, &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(meta.mode() | 0o444))?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Replaces `<prefix>/lib` in an executable by a path relative to it.
fn relocate(executable: &Path, prefix: &Path) -> Result<()> {
    const RELATIVE: &[u8] = b"$ORIGIN/../lib\0";
    let mut image = fs::read(executable)?;
    let old = [prefix.join("lib").as_os_str().as_bytes(), b"\0"].concat();
    let Some(at) = image.windows(old.len()).position(|bytes| bytes == old) else { return Ok(()) };
    ensure!(old.len() >= RELATIVE.len(), "no room in the RUNPATH of {}", executable.display());
    image[at..at + RELATIVE.len()].copy_from_slice(RELATIVE);
    let mode = fs::metadata(executable)?.permissions();
    // A new file, not this one written through: it is another name of the original.
    fs::remove_file(executable)?;
    fs::write(executable, image)?;
    Ok(fs::set_permissions(executable, mode)?)
}
