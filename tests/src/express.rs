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
use rustix::process::{
    Pid, Signal, ioctl_tiocsctty, kill_process, set_parent_process_death_signal, setsid,
};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

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
        let area = &Setup::get().area;
        if area.user.is_some() {
            make_dir(&self.root).unwrap();
            area.give(&self.root).unwrap();
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
        let command = self.command("start-server", words);
        self.run(command);
        self
    }

    #[track_caller]
    fn run(&mut self, mut command: Command) {
        let out = File::create(&self.console).unwrap();
        command.process_group(0).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        // SAFETY: the closure makes one system call and touches no memory of the parent (L1).
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        self.child = Some(command.spawn().unwrap());
        self.wait();
    }

    /// `manage.py runmodwsgi` of a project, in the foreground.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn start_django(mut self, project: &Path) -> Express<'p> {
        let words = self.command("start-server", &[]);
        let mut command = Command::new(self.package.prefix.join("bin/python"));
        command.args(["manage.py", "runmodwsgi"]).args(words.get_args().skip(1));
        command.env_clear().envs(words.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.current_dir(project);
        self.run(command);
        self
    }

    /// `start-server` with a terminal of its own.
    ///
    /// # Panics
    /// When it does not answer.
    #[track_caller]
    pub fn start_on_terminal(&mut self, words: &[&str]) -> Terminal {
        let terminal = self.run_on_terminal(words);
        self.wait();
        terminal
    }

    /// The same for what wants something to be typed before it answers.
    ///
    /// # Panics
    /// When there is no terminal.
    #[track_caller]
    pub fn run_on_terminal(&mut self, words: &[&str]) -> Terminal {
        let mut command = self.command("start-server", words);
        let terminal = Terminal::open(&mut command);
        self.child = Some(command.spawn().unwrap());
        terminal
    }

    /// Waits for the end of the process in the foreground.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let status = wait_for(PATIENCE, || child.try_wait().unwrap());
        self.child = None;
        status.unwrap_or_else(|| panic!("it does not end"))
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
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
        let status = self.ended();
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

/// The other side of a terminal.
#[derive(Debug)]
pub struct Terminal {
    file: File,
    text: Arc<Mutex<String>>,
}

impl Terminal {
    /// Makes one, which the command will have as its own.
    fn open(command: &mut Command) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap());
        command.stderr(theirs);
        // SAFETY: the closure makes three system calls and touches no memory of the parent (L1).
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                ioctl_tiocsctty(std::io::stdin())?;
                Ok(set_parent_process_death_signal(Some(Signal::TERM))?)
            });
        }
        let file = File::from(ours);
        let text = Arc::new(Mutex::new(String::new()));
        let (mut reader, shared) = (file.try_clone().unwrap(), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Terminal { file, text }
    }

    /// What is on it.
    ///
    /// # Panics
    /// When the thread that reads it has.
    pub fn text(&self) -> String {
        self.text.lock().unwrap().replace('\r', "")
    }

    /// Waits until this is on it; all there is then.
    ///
    /// # Panics
    /// When it does not appear.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        let seen = wait_for(PATIENCE, || self.text().contains(text).then_some(()));
        assert!(seen.is_some(), "{text:?} is not on the terminal:\n{}", self.text());
        self.text()
    }

    /// Types something.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn press(&mut self, keys: &[u8]) {
        self.file.write_all(keys).unwrap();
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
