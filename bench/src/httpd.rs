//! A private Apache: generated configuration, loopback only, one child of 16 threads.
//!
//! One child and as many threads as connections, so that no contestant waits for Apache to start
//! children; `AllowOverride None`, for each level of `.htaccess` is an `open` that would be charged
//! to everybody alike and hide the differences; no access log.
//! Directives: <https://httpd.apache.org/docs/2.4/mod/directives.html>.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::User;
use crate::process::output;

/// Threads of the one child, and the most connections a load may have without queueing.
pub(crate) const THREADS: u32 = 16;

/// An installed Apache.
#[derive(Debug)]
pub(crate) struct Apache {
    pub(crate) apxs: PathBuf,
    pub(crate) httpd: PathBuf,
    modules: PathBuf,
    pub(crate) version: String,
}

impl Apache {
    /// Asks apxs (the variable `APXS`, or PATH) where everything is.
    pub(crate) fn find() -> Result<Apache> {
        let apxs = match std::env::var_os("APXS") {
            Some(path) => PathBuf::from(path),
            None => which::which("apxs").or_else(|_| which::which("apxs2")).context(
                "apxs is not on PATH; `cargo xtask setup` installs Apache and its headers",
            )?,
        };
        let ask = |what: &str| -> Result<String> {
            Ok(output(Command::new(&apxs).args(["-q", what]))?.trim().to_owned())
        };
        let httpd = Path::new(&ask("SBINDIR")?).join(ask("PROGNAME")?);
        let text = output(Command::new(&httpd).arg("-v"))?;
        let version = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix("Apache/"))
            .with_context(|| format!("{} does not say its version", httpd.display()))?
            .to_owned();
        Ok(Apache { modules: ask("LIBEXECDIR")?.into(), apxs, httpd, version })
    }

    /// A `LoadModule` line for one of Apache's own modules, or none where it is built in.
    pub(crate) fn load(&self, name: &str) -> String {
        let file = self.modules.join(format!("mod_{name}.so"));
        if !file.exists() {
            return String::new();
        }
        let module = format!("{name}_module");
        format!("<IfModule !{module}>\nLoadModule {module} \"{}\"\n</IfModule>\n", file.display())
    }

    /// Writes a configuration into `dir` and gives its path. `own` is what the contestant adds.
    pub(crate) fn configure(
        &self,
        dir: &Path,
        htdocs: &Path,
        port: u16,
        user: Option<&User>,
        own: &str,
    ) -> Result<PathBuf> {
        if dir.to_string_lossy().contains(['"', '\n', '$', '%']) {
            bail!("{} cannot stand in a configuration file", dir.display());
        }
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
        let mut text = String::new();
        for module in ["mpm_event", "unixd", "authz_core", "log_config"] {
            text += &self.load(module);
        }
        if let Some(user) = user {
            text += &format!("User #{}\nGroup #{}\n", user.uid, user.gid);
        }
        text += &format!(
            "ServerRoot \"{dir}\"\n\
             DefaultRuntimeDir \"{dir}\"\n\
             PidFile \"{dir}/pid\"\n\
             ErrorLog \"{dir}/error.log\"\n\
             LogLevel warn\n\
             ServerName localhost\n\
             Listen 127.0.0.1:{port}\n\
             ServerLimit 1\n\
             StartServers 1\n\
             ThreadLimit {THREADS}\n\
             ThreadsPerChild {THREADS}\n\
             MaxRequestWorkers {THREADS}\n\
             MinSpareThreads 1\n\
             MaxSpareThreads {THREADS}\n\
             AsyncRequestWorkerFactor 16\n\
             KeepAlive On\n\
             MaxKeepAliveRequests 0\n\
             DocumentRoot \"{htdocs}\"\n\
             <Directory />\n\
             Options FollowSymLinks\n\
             AllowOverride None\n\
             Require all granted\n\
             </Directory>\n\
             {own}",
            dir = dir.display(),
            htdocs = htdocs.display(),
        );
        // What an earlier start left there would explain nothing about this one.
        let log = dir.join("error.log");
        if log.exists() {
            std::fs::remove_file(log)?;
        }
        let path = dir.join("httpd.conf");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
