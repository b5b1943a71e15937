//! May an unprivileged user read this path, and if not, which directory is in the way?
//!
//! The kernel is asked, in a process of that user: mode bits, access lists and read-only mounts all
//! count. The process has that user's main group only, so at worst a permission that comes from a
//! further group is not seen.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::setup::Obstacle;
use crate::shell::ask;

/// Whom the server's children run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user that this system keeps for its web server, or `nobody`.
    pub(crate) fn of_httpd() -> Result<User> {
        let known = ["www-data", "apache", "httpd", "http", "wwwrun", "_www", "nobody"];
        known.into_iter().find_map(|name| User::named(name).ok()).with_context(|| {
            format!(
                "Apache's children need an unprivileged user, and none of {} exists",
                known.join(", ")
            )
        })
    }

    fn named(name: &str) -> Result<User> {
        let id = |option: &str| -> Result<String> {
            let output = ask(Command::new("id").arg(option).arg(name))?;
            if !output.status.success() {
                bail!("there is no user {name}");
            }
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let (uid, gid) = (id("-u")?.parse()?, id("-g")?.parse()?);
        Ok(User { name: name.to_owned(), group: id("-gn")?, uid, gid })
    }

    /// The part of `path` that is closed to this user: a directory that cannot be passed, or the
    /// thing itself, unreadable. `None` if the user can read it (and, of a directory, list it).
    pub(crate) fn closed(&self, path: &Path) -> Result<Option<PathBuf>> {
        // Where links lead is checked as well as where they are: both have to be open.
        let real = path.canonicalize().with_context(|| path.display().to_string())?;
        let named = std::path::absolute(path)?;
        for path in [&named, &real] {
            let mut parts: Vec<&Path> = path.ancestors().collect();
            parts.reverse();
            let output = Command::new("/bin/sh")
                .args(["-c", SCRIPT, "sh"])
                .args(parts)
                .current_dir("/")
                .env_clear()
                .uid(self.uid)
                .gid(self.gid)
                .output()
                .with_context(|| format!("cannot run a process as {}", self.name))?;
            if !output.status.success() {
                use std::os::unix::ffi::OsStringExt;
                let part = PathBuf::from(std::ffi::OsString::from_vec(output.stdout));
                // A link into a closed place is itself what cannot be read; the place says more.
                if part.as_os_str().is_empty() {
                    bail!("a check as user {} failed: {}", self.name, output.status);
                }
                if part.is_symlink() && part != real {
                    continue;
                }
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// Why the user may not read `path`, if so. `what` begins the sentence.
    pub(crate) fn obstacle(&self, what: &str, path: &Path) -> Result<Option<Obstacle>> {
        let Some(part) = self.closed(path)? else { return Ok(None) };
        let cause = format!(
            "{what} {} cannot be read by {}, the user Apache's children run as here, because {} is \
             closed to it",
            path.display(),
            self.name,
            part.display()
        );
        let mode = if part.is_dir() && part != path { "x" } else { "rX" };
        let part = crate::shell::quote(part.as_os_str());
        let advice = format!(
            "put it elsewhere, do this as an ordinary user, or open that: chmod o+{mode} {part}"
        );
        Ok(Some(Obstacle { cause, advice }))
    }

    /// The same as an error.
    pub(crate) fn check(&self, what: &str, path: &Path) -> Result<()> {
        self.obstacle(what, path)?.map_or(Ok(()), |obstacle| Err(obstacle.into()))
    }
}

/// Directories on the way must be passable, the last argument readable.
const SCRIPT: &str = r#"
for part do
    if [ $# -gt 1 ]; then
        shift
        [ -x "$part" ] && continue
    elif [ -d "$part" ]; then
        [ -r "$part" ] && [ -x "$part" ] && continue
    else
        [ -r "$part" ] && continue
    fi
    printf %s "$part"
    exit 1
done
"#;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::shell::is_root;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Somebody these tests can become: as root an unprivileged user, otherwise ourselves.
    fn somebody() -> User {
        if is_root() {
            return User::of_httpd().unwrap();
        }
        let output = ask(Command::new("id").arg("-un")).unwrap();
        User::named(String::from_utf8_lossy(&output.stdout).trim()).unwrap()
    }

    #[test]
    fn the_closed_part_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        mode(&top, 0o755);
        let middle = top.join("middle of it");
        let file = middle.join("app.wsgi");
        std::fs::create_dir(&middle).unwrap();
        std::fs::write(&file, "").unwrap();
        mode(&middle, 0o711);
        mode(&file, 0o644);
        let user = somebody();
        assert_eq!(user.closed(&file).unwrap(), None);

        mode(&file, 0o000);
        assert_eq!(user.closed(&file).unwrap(), Some(file.clone()));
        mode(&file, 0o644);
        if is_root() {
            // Its owner could not even look inside, so only root can ask this.
            mode(&middle, 0o700);
            assert_eq!(user.closed(&file).unwrap(), Some(middle.clone()));
            let text = user.check("the application", &file).unwrap_err().to_string();
            assert!(text.contains("middle of it is closed to it"), "{text}");
            assert!(text.contains("chmod o+x '"), "{text}");
        }
        mode(&middle, 0o311);
        assert_eq!(user.closed(&middle).unwrap(), Some(middle.clone()), "a directory is listed");
        mode(&middle, 0o755);
    }

    #[test]
    fn a_link_is_as_open_as_where_it_leads() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        mode(&top, 0o755);
        let (home, open) = (top.join("home"), top.join("open"));
        std::fs::create_dir(&home).unwrap();
        std::fs::create_dir(&open).unwrap();
        mode(&open, 0o755);
        std::fs::write(home.join("python3"), "").unwrap();
        std::os::unix::fs::symlink(home.join("python3"), open.join("python3")).unwrap();
        mode(&home, 0o700);
        assert_eq!(somebody().closed(&open.join("python3")).unwrap(), Some(home));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(somebody().closed(Path::new("/nonexistent/app.wsgi")).is_err());
    }
}
