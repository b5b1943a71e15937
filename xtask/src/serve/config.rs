//! The configuration of the private Apache: short, commented, and only the modules it needs.
//!
//! Modules that are compiled into the server are not loaded again; `httpd -l` names them. See
//! <https://httpd.apache.org/docs/2.4/mod/directives.html>.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::access::User;
use crate::module_config::{lines, quote};
use crate::setup::apache::Apache;
use crate::shell::ask;

/// A multi-processing module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mpm {
    Event,
    Worker,
    Prefork,
}

impl Mpm {
    pub(crate) const ALL: [Mpm; 3] = [Mpm::Event, Mpm::Worker, Mpm::Prefork];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mpm::Event => "event",
            Mpm::Worker => "worker",
            Mpm::Prefork => "prefork",
        }
    }
}

/// What a server's executable has compiled in and beside it.
#[derive(Debug)]
pub(crate) struct Modules {
    compiled: Vec<String>,
    libexecdir: PathBuf,
}

impl Modules {
    /// Asks `httpd -l`.
    pub(crate) fn of(apache: &Apache) -> Result<Modules> {
        let output = ask(Command::new(&apache.httpd).arg("-l"))
            .with_context(|| format!("cannot run {}", apache.httpd.display()))?;
        let compiled = compiled(&String::from_utf8_lossy(&output.stdout));
        if compiled.is_empty() {
            bail!("{} -l names no modules; is it Apache?", apache.httpd.display());
        }
        Ok(Modules { compiled, libexecdir: apache.libexecdir.clone() })
    }

    /// The lines that make `mpm` available: none if it is compiled in.
    pub(crate) fn load_mpm(&self, mpm: Mpm) -> Result<Option<String>> {
        let inside = |mpm: Mpm| {
            let file = format!("{}.c", mpm.name());
            self.compiled.iter().any(|name| *name == file || *name == format!("mpm_{file}"))
        };
        if inside(mpm) {
            return Ok(None);
        }
        if let Some(other) = Mpm::ALL.into_iter().find(|other| inside(*other)) {
            bail!(
                "this Apache has the MPM {} compiled in, and so cannot use {}",
                other.name(),
                mpm.name()
            );
        }
        self.load(&format!("mpm_{}", mpm.name()))
    }

    /// The line that loads `mod_<name>`, `None` if it is compiled in.
    fn load(&self, name: &str) -> Result<Option<String>> {
        if self.compiled.iter().any(|have| *have == format!("mod_{name}.c")) {
            return Ok(None);
        }
        let path = self.libexecdir.join(format!("mod_{name}.so"));
        if !path.is_file() {
            bail!("Apache's module {name} is neither compiled in nor at {}", path.display());
        }
        Ok(Some(format!("LoadModule {name}_module {}", quote(&path)?)))
    }

    /// Whether this Apache can run with `mpm`, with the reason if not.
    pub(crate) fn offers(&self, mpm: Mpm) -> Result<()> {
        self.load_mpm(mpm).map(|_| ())
    }
}

/// The names in the output of `httpd -l`.
fn compiled(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| line.ends_with(".c")).map(str::to_owned).collect()
}

/// Everything that is different from one private server to the next.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// Its own directory.
    pub(crate) directory: &'a Path,
    pub(crate) listen: &'a [SocketAddr],
    pub(crate) mpm: Mpm,
    /// Whom the children become; nobody else's business unless we are root.
    pub(crate) user: Option<&'a User>,
    pub(crate) module: &'a Path,
    pub(crate) python_home: &'a Path,
    /// Where the script's neighbours are imported from.
    pub(crate) python_path: &'a Path,
    pub(crate) script: &'a Path,
    pub(crate) callable: Option<&'a str>,
    /// Python runs in processes of its own.
    pub(crate) daemon: bool,
}

/// The user agent of our own question whether it answers yet, which is not logged.
pub(crate) const PROBE: &str = "cargo-xtask-serve";

impl Site<'_> {
    /// The text of `httpd.conf`.
    pub(crate) fn text(&self, modules: &Modules) -> Result<String> {
        let mut text = String::new();
        let out = &mut text;
        writeln!(out, "# Written by `cargo xtask serve`; gone when that stops.\n")?;
        writeln!(out, "ServerRoot {}", quote(self.directory)?)?;
        writeln!(out, "ServerName localhost")?;
        writeln!(out, "PidFile {}", quote(&self.directory.join("httpd.pid"))?)?;
        writeln!(out, "DefaultRuntimeDir {}", quote(self.directory)?)?;
        for address in self.listen {
            writeln!(out, "Listen {address}")?;
        }
        writeln!(out)?;

        let mut wanted = vec![modules.load_mpm(self.mpm)?];
        for name in ["unixd", "log_config", "authz_core"] {
            wanted.push(modules.load(name)?);
        }
        for line in wanted.into_iter().flatten() {
            writeln!(out, "{line}")?;
        }
        write!(out, "{}", lines(self.module, self.python_home)?)?;

        if let Some(user) = self.user {
            writeln!(out, "\nUser {}\nGroup {}", user.name, user.group)?;
        }
        writeln!(out, "\nErrorLog /dev/stderr")?;
        writeln!(out, "LogLevel warn wsgi:info")?;
        let not_ours = format!("expr=%{{HTTP_USER_AGENT}} != '{PROBE}'");
        writeln!(out, r#"CustomLog /dev/stdout "%h \"%r\" %>s %B %{{ms}}Tms" "{not_ours}""#)?;

        writeln!(
            out,
            "\n<Directory />\n    AllowOverride None\n    Require all granted\n</Directory>\n"
        )?;
        let path = quote(self.python_path)?;
        if self.daemon {
            writeln!(out, "WSGIDaemonProcess app display-name=%{{GROUP}} python-path={path}")?;
            writeln!(out, "WSGIProcessGroup app")?;
        } else {
            writeln!(out, "WSGIPythonPath {path}")?;
        }
        writeln!(out, "WSGIApplicationGroup %{{GLOBAL}}")?;
        if let Some(callable) = self.callable {
            writeln!(out, "WSGICallableObject {callable}")?;
        }
        writeln!(out, "WSGIScriptAlias / {}", quote(self.script)?)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn modules(compiled_in: &str, beside: &[&str]) -> (tempfile::TempDir, Modules) {
        let dir = tempfile::tempdir().unwrap();
        for name in beside {
            std::fs::write(dir.path().join(format!("mod_{name}.so")), "").unwrap();
        }
        let modules =
            Modules { compiled: compiled(compiled_in), libexecdir: dir.path().to_path_buf() };
        (dir, modules)
    }

    const DEBIAN: &str =
        "Compiled in modules:\n  core.c\n  mod_so.c\n  mod_log_config.c\n  mod_unixd.c\n";

    fn text(modules: &Modules) -> String {
        let site = Site {
            directory: Path::new("/tmp/x"),
            listen: &["127.0.0.1:8000".parse().unwrap(), "[::1]:8000".parse().unwrap()],
            mpm: Mpm::Event,
            user: None,
            module: Path::new("/tmp/x/mod_wsgi.so"),
            python_home: Path::new("/usr"),
            python_path: Path::new("/srv/my app"),
            script: Path::new("/srv/my app/app.wsgi"),
            callable: Some("app"),
            daemon: false,
        };
        site.text(modules).unwrap()
    }

    #[test]
    fn only_what_is_not_compiled_in_is_loaded() {
        let (dir, modules) = modules(DEBIAN, &["mpm_event", "authz_core", "unixd"]);
        let text = text(&modules);
        let loaded: Vec<&str> =
            text.lines().filter(|line| line.starts_with("LoadModule")).collect();
        assert_eq!(
            loaded,
            [
                &format!(
                    "LoadModule mpm_event_module \"{}/mod_mpm_event.so\"",
                    dir.path().display()
                ),
                &format!(
                    "LoadModule authz_core_module \"{}/mod_authz_core.so\"",
                    dir.path().display()
                ),
                "LoadModule wsgi_module \"/tmp/x/mod_wsgi.so\""
            ]
        );
        assert!(text.contains("\nListen 127.0.0.1:8000\nListen [::1]:8000\n"));
        assert!(text.contains("\nWSGIScriptAlias / \"/srv/my app/app.wsgi\"\n"));
        assert!(text.contains("\nWSGICallableObject app\n"));
        assert!(!text.contains("\nUser "), "an ordinary user's children stay that user's");
    }

    #[test]
    fn an_mpm_that_cannot_be_had_says_why() {
        let (_dir, modules1) = modules("  core.c\n  prefork.c\n", &["mpm_event"]);
        assert!(modules1.offers(Mpm::Prefork).is_ok());
        let error = modules1.offers(Mpm::Event).unwrap_err().to_string();
        assert_eq!(error, "this Apache has the MPM prefork compiled in, and so cannot use event");
        let (_dir, modules2) = modules("  core.c\n", &[]);
        assert!(modules2.offers(Mpm::Worker).unwrap_err().to_string().contains("nor at"));
    }
}
