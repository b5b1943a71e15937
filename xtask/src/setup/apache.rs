//! Finding Apache: apxs says where its headers, modules and server are.
//!
//! Paths are asked, never guessed: <https://httpd.apache.org/docs/2.4/programs/apxs.html>.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Problem;
use super::packages::Need;
use crate::shell::ask;

/// An Apache 2.4 that modules can be built for.
#[derive(Debug, Clone)]
pub(crate) struct Apache {
    /// The apxs that described it.
    pub(crate) apxs: PathBuf,
    /// The server's executable.
    pub(crate) httpd: PathBuf,
    /// Where its modules are.
    pub(crate) libexecdir: PathBuf,
    /// Its version, as in `2.4.62`.
    pub(crate) version: Version,
}

/// Major, minor and patch level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

const OLDEST: Version = Version(2, 4, 37);

/// Where apxs is on systems that keep it off PATH.
const USUAL: [&str; 7] = [
    "/usr/bin/apxs",
    "/usr/bin/apxs2",
    "/usr/sbin/apxs",
    "/usr/sbin/apxs2",
    "/usr/local/apache2/bin/apxs",
    "/usr/local/bin/apxs",
    "/opt/homebrew/bin/apxs",
];

/// Finds Apache. `given` is what `--apxs` says; the variable `APXS` comes next, then PATH, then
/// the usual places.
pub(crate) fn find(given: Option<&Path>) -> Result<Apache, Vec<Problem>> {
    if let Some(path) = given {
        return examine(path, "--apxs");
    }
    if let Some(path) = std::env::var_os("APXS").filter(|path| !path.is_empty()) {
        return examine(Path::new(&path), "the variable APXS");
    }
    let on_path = ["apxs", "apxs2"].iter().find_map(|name| which::which(name).ok());
    let found = on_path.or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.is_file()));
    match found {
        Some(path) => examine(&path, ""),
        None => Err(vec![
            Problem::mendable(
                format!(
                    "apxs, which says where Apache's headers are, is neither on PATH nor at {}",
                    USUAL.join(", ")
                ),
                Need::ApacheHeaders,
            ),
            // Without apxs nobody can say where a server is, so a bare machine gets both.
            Problem::silent(Need::Httpd),
        ]),
    }
}

/// Asks one apxs. `origin` says who named it, empty if we found it ourselves.
fn examine(path: &Path, origin: &str) -> Result<Apache, Vec<Problem>> {
    let whose = if origin.is_empty() { String::new() } else { format!(" (from {origin})") };
    let hopeless = |text: String| vec![Problem::hopeless(text)];

    // A bare name means PATH, as a shell would have it.
    let apxs = which::which(path)
        .map_err(|_| hopeless(format!("{}{whose} is not an executable apxs", path.display())))?;
    let output =
        ask(Command::new(&apxs).args(["-q", "INCLUDEDIR", "LIBEXECDIR", "SBINDIR", "PROGNAME"]))
            .map_err(|e| hopeless(format!("{}{whose} does not run: {e}", apxs.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let Some([include, libexec, sbin, progname]) = answers(&text) else {
        return Err(hopeless(format!(
            "{}{whose} is not Apache's apxs: it did not answer `-q INCLUDEDIR LIBEXECDIR SBINDIR \
             PROGNAME`",
            apxs.display()
        )));
    };

    let header = Path::new(include).join("ap_release.h");
    let text = std::fs::read_to_string(&header).map_err(|e| {
        vec![Problem::mendable(
            format!("{} has no Apache headers: {}: {e}", apxs.display(), header.display()),
            Need::ApacheHeaders,
        )]
    })?;
    let version = release(&text)
        .ok_or_else(|| hopeless(format!("{} names no Apache version", header.display())))?;
    if (version.0, version.1) != (2, 4) || version < OLDEST {
        return Err(hopeless(format!(
            "{}{whose} is of Apache {version}, and this needs 2.4 from {OLDEST} on: name another \
             with --apxs",
            apxs.display()
        )));
    }

    let httpd = Path::new(sbin).join(progname);
    if which::which(&httpd).is_err() {
        return Err(vec![Problem::mendable(
            format!(
                "{} says the server is {}, which is not there",
                apxs.display(),
                httpd.display()
            ),
            Need::Httpd,
        )]);
    }
    Ok(Apache { apxs, httpd, libexecdir: libexec.into(), version })
}

/// Splits `apxs -q A B C D`'s answer, which joins values with two semicolons.
fn answers(text: &str) -> Option<[&str; 4]> {
    let values: Vec<&str> = text.trim().split(";;").map(str::trim).collect();
    let values: [&str; 4] = values.try_into().ok()?;
    values.iter().all(|value| !value.is_empty()).then_some(values)
}

/// The version in the text of `ap_release.h`.
fn release(text: &str) -> Option<Version> {
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let is_it = words.next() == Some("#define") && words.next() == Some(name);
            is_it.then(|| words.next()?.parse().ok()).flatten()
        })
    };
    Some(Version(
        number("AP_SERVER_MAJORVERSION_NUMBER")?,
        number("AP_SERVER_MINORVERSION_NUMBER")?,
        number("AP_SERVER_PATCHLEVEL_NUMBER")?,
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn answers_of_apxs_are_split() {
        assert_eq!(
            answers("/inc;;/mods;;/usr/sbin;;apache2\n"),
            Some(["/inc", "/mods", "/usr/sbin", "apache2"])
        );
        assert_eq!(answers("/inc;;/mods;;;;apache2"), None);
        assert_eq!(answers("usage: something else"), None);
    }

    const RELEASE: &str = "/* comment */\n#define AP_SERVER_MAJORVERSION_NUMBER 2\n\
        #define AP_SERVER_MINORVERSION_NUMBER 4\n#define AP_SERVER_PATCHLEVEL_NUMBER   62\n\
        #define AP_SERVER_DEVBUILD_BOOLEAN    0\n";

    #[test]
    fn the_release_header_is_read() {
        assert_eq!(release(RELEASE), Some(Version(2, 4, 62)));
        assert_eq!(release("#define AP_SERVER_MAJORVERSION_NUMBER 2"), None);
    }

    /// An apxs that answers with directories below a temporary one.
    fn fake(version: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let apxs = dir.path().join("apxs");
        std::fs::write(&apxs, format!("#!/bin/sh\necho '{at};;{at};;{at};;apxs'\n")).unwrap();
        std::fs::set_permissions(&apxs, std::fs::Permissions::from_mode(0o755)).unwrap();
        let header = RELEASE.replace("NUMBER   62", &format!("NUMBER {version}"));
        std::fs::write(dir.path().join("ap_release.h"), header).unwrap();
        (dir, apxs)
    }

    #[test]
    fn a_good_one_is_taken_and_an_old_one_is_named() {
        let (dir, apxs) = fake("41");
        let apache = find(Some(&apxs)).unwrap();
        assert_eq!(apache.version, Version(2, 4, 41));
        assert_eq!(apache.libexecdir, dir.path());

        let (_dir, apxs) = fake("6");
        let problems = find(Some(&apxs)).unwrap_err();
        assert_eq!(
            problems[0].text,
            format!(
                "{} (from --apxs) is of Apache 2.4.6, and this needs 2.4 from 2.4.37 on: name \
                 another with --apxs",
                apxs.display()
            )
        );
        assert_eq!(problems[0].need, None);
    }

    #[test]
    fn something_else_is_not_apxs() {
        let problems = find(Some(Path::new("/bin/true"))).unwrap_err();
        assert!(problems[0].text.contains("/bin/true (from --apxs) is not Apache's apxs"));
        let problems = find(Some(Path::new("/nonexistent/apxs"))).unwrap_err();
        assert_eq!(problems[0].text, "/nonexistent/apxs (from --apxs) is not an executable apxs");
    }
}
