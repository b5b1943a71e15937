//! A server that `mod_wsgi-express` set up.
//!
//! Started as users start it: from the installed command, by root with `--user` and `--group` or by
//! an ordinary user, in the foreground or through the `apachectl` that `setup-server` leaves. It
//! is stopped when it goes out of scope, and nothing that carries its mark may be left.

use crate::http::{Response, request};
use crate::log::Log;
use crate::package::Package;
use crate::process::{MARK, Process, wait_for};
use crate::reach::make_dir;
use crate::server::Port;
use crate::setup::Setup;
use rustix::fs::chown;
use rustix::process::{Gid, Pid, Signal, Uid, kill_process, set_parent_process_death_signal};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server, set up and maybe started.
#[derive(Debug)]
pub struct Express<'p> {
    package: &'p Package,
    /// The server root.
    pub root: PathBuf,
    port: Port,
    log: Log,
    console: PathBuf,
    child: Option<Child>,
    ordinary: bool,
}

impl<'p> Express<'p> {
    /// A server of this package, with a root of this name.
    ///
    /// # Panics
    /// When there is no port.
    pub fn new(package: &'p Package, name: &str) -> Express<'p> {
        let root = package.place.join(name);
        let log = Log::new(root.join("error_log"));
        let console = package.place.join(format!("{name}.console"));
        let port = Port::choose().unwrap();
        Express { package, root, port, log, console, child: None, ordinary: false }
    }

    /// All of it by the user whom Apache's children are otherwise; no difference for other users.
    ///
    /// # Panics
    /// When the server root cannot be made.
    #[must_use]
    pub fn ordinary(mut self) -> Express<'p> {
        if let Some(user) = &Setup::get().area.user {
            make_dir(&self.root).unwrap();
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            chown(&self.root, Some(uid), Some(gid)).unwrap();
            self.ordinary = true;
        }
        self
    }

    /// `setup-server` or `start-server` with these words, and what makes it ours.
    pub fn command(&self, name: &str, words: &[&str]) -> Command {
        let setup = Setup::get();
        let mut command = self.package.express();
        command.arg(name).args(["--port", &self.port.number.to_string()]);
        command.args(["--host", "127.0.0.1", "--server-root"]).arg(&self.root);
        command.arg("--httpd-executable").arg(&setup.httpd);
        command.arg("--modules-directory").arg(&setup.libexecdir);
        if let Some(user) = &setup.area.user {
            if self.ordinary {
                command.uid(user.uid).gid(user.gid);
            } else {
                command.args(["--user", &user.name, "--group", &user.group]);
            }
        }
        command.args(words).env(MARK, &self.root);
        command
    }

    /// Sets it up; what that said.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn setup(&self, words: &[&str]) -> String {
        let output = self.command("setup-server", words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `apachectl` of the server root.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn apachectl(&self, word: &str) {
        let mut command = Command::new(self.root.join("apachectl"));
        command.arg(word).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let console = File::options().append(true).create(true).open(&self.console).unwrap();
        // A server that stays in the background keeps its standard streams, so no pipe.
        command.stdin(Stdio::null()).stdout(console.try_clone().unwrap()).stderr(console);
        let status = command.env(MARK, &self.root).status().unwrap();
        assert!(status.success(), "apachectl {word}: {status}\n{}", self.said());
    }

    /// Starts it in the foreground and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start(mut self, words: &[&str]) -> Express<'p> {
        let mut command = self.command("start-server", words);
        let out = File::create(&self.console).unwrap();
        command.process_group(0).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        // SAFETY: the closure makes one system call and touches no memory of the parent (L1).
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        self.child = Some(command.spawn().unwrap());
        self.wait();
        self
    }

    /// Waits until it answers anything.
    ///
    /// # Panics
    /// When it does not, with what it said.
    #[track_caller]
    pub fn wait(&mut self) {
        let answered = wait_for(PATIENCE, || {
            if let Some(child) = &mut self.child
                && child.try_wait().unwrap().is_some()
            {
                return Some(false);
            }
            request(self.address(), "GET", "/", &[], b"").is_ok().then_some(true)
        });
        assert_eq!(answered, Some(true), "{}\n{}", self.said(), self.log.text());
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// A request on a connection of its own.
    ///
    /// # Panics
    /// When there is no well-formed answer.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        match request(self.address(), method, path, headers, b"") {
            Ok(response) => response,
            Err(error) => panic!("{method} {path}: {error:#}\n{}", self.log.text()),
        }
    }

    /// A GET.
    ///
    /// # Panics
    /// When there is no well-formed answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// Its error log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it wrote to its standard output and standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.console).unwrap_or_default()
    }

    /// The process Apache wrote into its file.
    ///
    /// # Panics
    /// When there is no such file.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.root.join("httpd.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Sends the process in the foreground a signal, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end(&mut self, signal: Signal) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
        let status = wait_for(PATIENCE, || child.try_wait().unwrap());
        let status = status.unwrap_or_else(|| panic!("it does not end"));
        self.child = None;
        self.nothing_is_left();
        status
    }

    /// Stops it as a service manager does, and audits its log.
    ///
    /// # Panics
    /// When something was not as it should be.
    #[track_caller]
    pub fn stop(mut self) {
        let status = self.end(Signal::TERM);
        assert_eq!(status.code(), Some(0), "{}", self.said());
        self.audit();
    }

    /// Fails if the log holds what nobody expected.
    ///
    /// # Panics
    /// With what that is.
    #[track_caller]
    pub fn audit(&self) {
        // See the same in `Server`: children of the event MPM may crash while they are told to stop.
        self.log.allow("exit signal Segmentation fault (11)");
        if let Some(complaint) = self.log.audit() {
            panic!("{complaint}");
        }
    }

    /// Fails if a process of it is still there.
    ///
    /// # Panics
    /// With their command lines.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        let gone = || Process::marked(&self.root).is_empty().then_some(());
        if wait_for(Duration::from_secs(10), gone).is_none() {
            panic!("left running: {}", left(&self.root).join(", "));
        }
    }
}

fn left(root: &Path) -> Vec<String> {
    Process::marked(root).iter().map(|p| format!("{}: {}", p.pid, p.command_line())).collect()
}

impl Drop for Express<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.said(), self.log.text());
        }
        for signal in [Signal::TERM, Signal::KILL] {
            for process in Process::marked(&self.root) {
                process.signal(signal);
            }
            let gone = || Process::marked(&self.root).is_empty().then_some(());
            if wait_for(PATIENCE, gone).is_some() {
                break;
            }
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}
