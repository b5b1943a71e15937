//! What a private server is to serve: its files, its configuration, its MPM.
//!
//! A site owns a directory that Apache's children can read, and generates a configuration in which
//! nothing of the machine's own Apache takes part: modules are loaded by path and only those a test
//! needs, and every file the server writes is in that directory.
//!
//! <https://httpd.apache.org/docs/2.4/mod/directives.html>

use crate::matrix::{Mode, Mpm};
use crate::process::MARK;
use crate::reach::make_dir;
use crate::server::Server;
use crate::setup::{Python, Setup};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The name of the process group of a site in daemon mode.
pub const GROUP: &str = "tests";

/// Modules every site has, where they are not compiled in.
const BASIC: [&str; 8] = [
    "mod_unixd",
    "mod_authz_core",
    "mod_log_config",
    "mod_alias",
    "mod_dir",
    "mod_env",
    "mod_setenvif",
    "mod_mime",
];

/// A server that has not been started.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    mpm: Mpm,
    mode: Mode,
    python: Option<Python>,
    wsgi: bool,
    modules: Vec<String>,
    directives: String,
    scale: Option<String>,
    log_level: String,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
    arguments: Vec<String>,
}

/// What `httpd -t` said.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whether it found the configuration good.
    pub ok: bool,
    /// All it printed.
    pub output: String,
}

impl Check {
    /// The configuration is refused with this message, on a line of its own.
    ///
    /// # Panics
    /// When it is accepted, or refused in other words.
    #[track_caller]
    pub fn assert_refused(&self, message: &str) {
        assert!(!self.ok, "accepted, though it should say: {message}");
        let found = self.output.lines().any(|line| line == message);
        assert!(found, "should say: {message}\nbut says: {}", self.output);
    }
}

impl Site {
    /// A site with `mod_wsgi`, whose applications run in Apache's children under this Python.
    ///
    /// # Panics
    /// When no directory can be made.
    pub fn new(mpm: Mpm, python: &Python) -> Site {
        Site { wsgi: true, python: Some(python.clone()), ..Site::plain(mpm) }
    }

    /// A site without `mod_wsgi`.
    ///
    /// # Panics
    /// When no directory can be made.
    pub fn plain(mpm: Mpm) -> Site {
        let area = &Setup::get().area;
        let dir =
            tempfile::Builder::new().prefix("site.").tempdir_in(area.dir.join("run")).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let site = Site {
            dir,
            mpm,
            mode: Mode::Embedded,
            python: None,
            wsgi: false,
            modules: BASIC.map(str::to_owned).to_vec(),
            directives: String::new(),
            scale: None,
            log_level: "info".to_owned(),
            environment: Vec::new(),
            wrapper: Vec::new(),
            arguments: Vec::new(),
        };
        make_dir(&site.path("htdocs")).unwrap();
        site.write("ready.txt", "ready\n");
        site
    }

    /// A site with `mod_wsgi` that names no Python.
    ///
    /// # Panics
    /// When no directory can be made.
    pub fn homeless(mpm: Mpm) -> Site {
        Site { wsgi: true, ..Site::plain(mpm) }
    }

    /// Where applications run.
    pub fn mode(mut self, mode: Mode) -> Site {
        self.mode = mode;
        self
    }

    /// Adds a line to the configuration.
    pub fn conf(mut self, line: impl AsRef<str>) -> Site {
        let _ = writeln!(self.directives, "{}", line.as_ref());
        self
    }

    /// Serves a script, written here, below this URL path.
    pub fn mount(self, url: &str, name: &str, script: &str) -> Site {
        let path = self.write(name, script);
        self.conf(format!("WSGIScriptAlias {url} \"{}\"", path.display()))
    }

    /// Loads a module of Apache, by the name of its source: `mod_headers`.
    pub fn module(mut self, name: &str) -> Site {
        self.modules.push(name.to_owned());
        self
    }

    /// Replaces the numbers of children and threads: directives of the MPM.
    pub fn scale(mut self, directives: &str) -> Site {
        self.scale = Some(directives.to_owned());
        self
    }

    /// One child only, with this many threads where the MPM has threads.
    pub fn one_child(self, threads: usize) -> Site {
        let scale = if self.mpm.threaded() {
            format!(
                "StartServers 1\nServerLimit 1\nThreadsPerChild {threads}\nThreadLimit {threads}\n\
                 MinSpareThreads 1\nMaxSpareThreads {threads}\nMaxRequestWorkers {threads}"
            )
        } else {
            "StartServers 1\nServerLimit 1\nMinSpareServers 1\nMaxSpareServers 1\n\
             MaxRequestWorkers 1"
                .to_owned()
        };
        self.scale(&scale)
    }

    /// `LogLevel`; `info` unless told.
    pub fn log_level(mut self, level: &str) -> Site {
        self.log_level = level.to_owned();
        self
    }

    /// Sets a variable in Apache's own environment.
    pub fn env(mut self, name: &str, value: &str) -> Site {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server under this command: `valgrind`, `strace -f`.
    pub fn under(mut self, command: &[&str]) -> Site {
        self.wrapper = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Adds an argument to httpd's own: `-X`.
    pub fn argument(mut self, argument: &str) -> Site {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The directory of the site.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Writes a file the children can read.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        make_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    /// Makes a directory the children can write to, or gives them an existing one.
    ///
    /// # Panics
    /// When that fails.
    pub fn writable(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        make_dir(&path).unwrap();
        Setup::get().area.give(&path).unwrap();
        path
    }

    /// The MPM it runs under.
    pub(crate) fn mpm(&self) -> Mpm {
        self.mpm
    }

    /// Whether another Python of the same minor version has the same engine, which was compiled
    /// for the patch level of only one of them.
    pub(crate) fn shares_its_engine(&self) -> bool {
        self.python.as_ref().is_some_and(|own| {
            let mut others = Setup::get().pythons.iter();
            others.any(|it| it.version == own.version && it.full_version != own.full_version)
        })
    }

    /// Whether it has no parent and children: such a server does not say that it is ready.
    pub(crate) fn is_one_process(&self) -> bool {
        self.arguments.iter().any(|argument| argument == "-X")
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When it does not, showing what it said.
    #[track_caller]
    pub fn start(self) -> Server {
        match Server::start(self) {
            Ok(server) => server,
            Err(error) => panic!("the server did not start: {error:#}"),
        }
    }

    /// What `httpd -t` says of the configuration.
    ///
    /// # Panics
    /// When httpd cannot be run.
    pub fn check(&self) -> Check {
        self.run(&["-t"])
    }

    /// Runs httpd with these arguments on the configuration, to its end.
    ///
    /// # Panics
    /// When httpd cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Check {
        let config = self.configure(9).unwrap();
        let output = self.command(&config).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        Check { ok: output.status.success(), output: String::from_utf8_lossy(&text).into_owned() }
    }

    /// httpd on this configuration, in a clean environment.
    pub(crate) fn command(&self, config: &Path) -> Command {
        let httpd = &Setup::get().httpd;
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            Some(first) => Command::new(first),
            None => Command::new(httpd),
        };
        command.args(words);
        if !self.wrapper.is_empty() {
            command.arg(httpd);
        }
        command.arg("-d").arg(self.dir()).arg("-f").arg(config).args(&self.arguments);
        command.env_clear().env(MARK, self.dir());
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("LANG", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir("/");
        command
    }

    /// Writes the configuration for a port.
    pub(crate) fn configure(&self, port: u16) -> Result<PathBuf> {
        let text = self.config(port).context("making a configuration")?;
        Ok(self.write("httpd.conf", text))
    }

    fn config(&self, port: u16) -> Result<String> {
        let setup = Setup::get();
        let dir = self.dir().display();
        let mut text = String::new();
        let w = &mut text;
        writeln!(
            w,
            "ServerRoot \"{dir}\"\nDefaultRuntimeDir \"{dir}\"\nPidFile \"{dir}/httpd.pid\""
        )?;
        writeln!(w, "ServerName localhost\nListen 127.0.0.1:{port}")?;
        writeln!(w, "ErrorLog \"{dir}/error.log\"\nLogLevel {}", self.log_level)?;
        for name in
            std::iter::once(self.mpm.module()).chain(self.modules.iter().map(String::as_str))
        {
            if !setup.has_builtin(name) {
                let path = setup.loadable(name);
                let path = path.with_context(|| format!("there is no {name} for this Apache"))?;
                let id = name.strip_prefix("mod_").unwrap_or(name);
                writeln!(w, "LoadModule {id}_module \"{}\"", path.display())?;
            }
        }
        if let Some(user) = &setup.area.user {
            writeln!(w, "User {}\nGroup {}", user.name, user.group)?;
        } else {
            // Workers of another user than Apache's begin in that user's home, which need not exist.
            let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
            writeln!(w, "User #{}\nGroup #{}", uid.as_raw(), gid.as_raw())?;
        }
        let scale = self.scale.as_deref().unwrap_or(if self.mpm.threaded() {
            "StartServers 1\nServerLimit 2\nThreadsPerChild 8\nThreadLimit 8\nMinSpareThreads 1\n\
             MaxSpareThreads 16\nMaxRequestWorkers 16"
        } else {
            "StartServers 2\nServerLimit 8\nMinSpareServers 1\nMaxSpareServers 8\n\
             MaxRequestWorkers 8"
        });
        writeln!(w, "{scale}\nTimeout 20\nTypesConfig /dev/null\nEnableSendfile Off")?;
        writeln!(w, "LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b\" common")?;
        writeln!(w, "CustomLog \"{dir}/access.log\" common\nDocumentRoot \"{dir}/htdocs\"")?;
        writeln!(w, "<Directory />\nAllowOverride None\nRequire all granted\n</Directory>")?;
        writeln!(w, "Alias /.ready \"{dir}/ready.txt\"")?;
        if self.wsgi {
            writeln!(w, "LoadModule wsgi_module \"{}\"", setup.module().display())?;
        }
        if let Some(python) = &self.python {
            writeln!(w, "WSGIPythonHome \"{}\"", python.prefix.display())?;
        }
        if self.wsgi && self.mode == Mode::Daemon {
            writeln!(w, "WSGIDaemonProcess {GROUP} threads=8\nWSGIProcessGroup {GROUP}")?;
        }
        w.push_str(&self.directives);
        // Whatever a test does to the whole site, the harness can ask whether it is there.
        let open = "SetHandler default-handler\nRequire all granted";
        w.push_str(&format!("<Location /.ready>\n{open}\n</Location>\n"));
        Ok(text)
    }
}
