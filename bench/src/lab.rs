//! Everything a contestant needs to start: Apache, peers, builds, a private directory.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;

use crate::build::{Built, Ours};
use crate::http::Connection;
use crate::httpd::Apache;
use crate::loads::{self, Expected, Kind, Load};
use crate::peers::{Peers, Wanted};
use crate::place::{self, User};
use crate::process::{Process, output};

/// Bodies, one file per load.
const EXPECTED: &str = "expected";
/// How long a server may take to answer first.
const START: Duration = Duration::from_secs(20);

/// The surroundings of a run.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) apache: Apache,
    pub(crate) peers: Peers,
    pub(crate) user: Option<User>,
    ours: Ours,
    dir: TempDir,
}

/// A contestant that answers.
#[derive(Debug)]
pub(crate) struct Running {
    /// Where to send requests.
    pub(crate) port: u16,
    /// Where Apache writes what went wrong.
    log: PathBuf,
    /// Front first, so that it stops first.
    processes: Vec<Process>,
}

impl Running {
    /// Its processes, without their descendants.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// Fails if one of its processes has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// Stops it and gives whether it went by itself.
    pub(crate) fn stop_within(&mut self, patience: Duration) -> bool {
        self.processes.iter_mut().all(|process| process.stop_within(patience))
    }

    /// The same contestant behind another one.
    pub(crate) fn behind(mut self, front: Running) -> Running {
        let mut processes = front.processes;
        processes.append(&mut self.processes);
        Running { port: front.port, log: front.log, processes }
    }

    /// The last thing Apache said.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().last().unwrap_or("it said nothing").to_owned()
    }
}

impl Lab {
    /// Finds, installs, copies and builds what is missing.
    pub(crate) fn set_up(
        python: &Path,
        cache: Option<&Path>,
        build: bool,
        wanted: Wanted,
    ) -> Result<Lab> {
        let user = place::serving_user()?;
        let cache = place::cache(user.as_ref(), cache)?;
        let apache = Apache::find()?;
        let peers = Peers::set_up(python, &cache, user.as_ref(), &apache.apxs, wanted)?;
        let ours = Ours::make(&peers.asked, &cache, user.as_ref(), build, wanted);
        let dir = tempfile::Builder::new().prefix("mod-wsgi-bench-").tempdir()?;
        let lab = Lab { apache, peers, user, ours, dir };
        lab.fill(wanted)?;
        Ok(lab)
    }

    /// Copies of the applications, and the files of the same content.
    fn fill(&self, wanted: Wanted) -> Result<()> {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.dir.path(), open)?;
        for dir in [self.app(), self.htdocs(), self.dir.path().join(EXPECTED)] {
            std::fs::create_dir(&dir)?;
        }
        let from = place::root().join("bench/app");
        for name in ["app.py", "hello.py", "page.py", "recording.py", "report.lua"] {
            std::fs::copy(from.join(name), self.app().join(name))
                .with_context(|| format!("{}/{name}", from.display()))?;
        }
        for load in loads::ALL {
            let file = load.path.trim_matches('/');
            match load.body {
                Expected::Made(body) => {
                    std::fs::write(self.expected(load), body())?;
                    if load.kind < Kind::Work {
                        std::fs::write(self.htdocs().join(file), body())?;
                    }
                }
                // These need peers.
                Expected::Printed(_) if wanted == Wanted::Nothing => {}
                Expected::Printed(program) => {
                    let mut python = Command::new(self.peers.venv.join("bin/python3"));
                    python.arg(program).current_dir(self.app());
                    python.env("LD_LIBRARY_PATH", &self.peers.lib);
                    match output(&mut python) {
                        Ok(body) => std::fs::write(self.expected(load), body)?,
                        Err(error) => eprintln!("note: {} is left out: {error:#}", load.name),
                    }
                }
            }
        }
        Ok(())
    }

    /// The body a load must be answered with.
    pub(crate) fn body(&self, load: &Load) -> Result<Vec<u8>> {
        let file = self.expected(load);
        std::fs::read(&file).with_context(|| file.display().to_string())
    }

    /// The file with that body.
    pub(crate) fn expected(&self, load: &Load) -> PathBuf {
        self.dir.path().join(EXPECTED).join(load.name)
    }

    /// The directory of the applications.
    pub(crate) fn app(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// The directory of the files.
    pub(crate) fn htdocs(&self) -> PathBuf {
        self.dir.path().join("htdocs")
    }

    /// An empty directory everybody can read.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf> {
        let place = self.dir.path().join(format!("{name}.home"));
        std::fs::create_dir(&place)?;
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755))?;
        Ok(place)
    }

    /// An empty file that the serving user may write to, as root may.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let file = self.dir.path().join(name);
        std::fs::write(&file, "")?;
        self.hand_over(&file)?;
        Ok(file)
    }

    /// Makes a file the serving user's.
    pub(crate) fn hand_over(&self, file: &Path) -> Result<()> {
        if let Some(user) = &self.user {
            std::os::unix::fs::chown(file, Some(user.uid), Some(user.gid))
                .with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    /// Our module.
    pub(crate) fn module(&self) -> Result<&Path> {
        there(&self.ours.module)
    }

    /// The handler without Python.
    pub(crate) fn bare(&self) -> Result<&Path> {
        there(&self.ours.bare)
    }

    /// The embedding example.
    pub(crate) fn hyper(&self) -> Result<&Path> {
        there(&self.ours.hyper)
    }

    /// Starts an Apache with these lines at the end of its configuration.
    pub(crate) fn httpd(&self, name: &str, own: &str) -> Result<Running> {
        let mut command = Command::new(&self.apache.httpd);
        command.arg("-DFOREGROUND");
        self.apache(&mut command, name, own)
    }

    /// The same as one process under another program, which `before` begins.
    pub(crate) fn httpd_under(
        &self,
        before: &mut Command,
        name: &str,
        own: &str,
    ) -> Result<Running> {
        self.apache(before.arg(&self.apache.httpd).arg("-X"), name, own)
    }

    fn apache(&self, command: &mut Command, name: &str, own: &str) -> Result<Running> {
        let port = free_port()?;
        let dir = self.dir.path().join(name);
        let user = self.user.as_ref();
        let config = self.apache.configure(&dir, &self.htdocs(), port, user, own)?;
        command.arg("-f").arg(&config).env("LD_LIBRARY_PATH", &self.peers.lib);
        let log = dir.join("error.log");
        let started = self.start(name, port, command, None).map_err(|error| {
            match std::fs::read_to_string(&log) {
                Ok(log) if !log.is_empty() => anyhow!("{error:#}\n{}", last_lines(&log)),
                _ => error,
            }
        });
        started.map(|running| Running { log, ..running })
    }

    /// Starts a server of its own as the serving user; the arguments get the port to listen on.
    pub(crate) fn server(
        &self,
        name: &str,
        program: &Path,
        arguments: impl FnOnce(u16) -> Vec<String>,
    ) -> Result<Running> {
        let port = free_port()?;
        let mut command = Command::new(program);
        command.args(arguments(port)).current_dir(self.app());
        command.env("LD_LIBRARY_PATH", &self.peers.lib);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        self.start(name, port, &mut command, self.user.as_ref())
    }

    fn start(
        &self,
        name: &str,
        port: u16,
        command: &mut Command,
        user: Option<&User>,
    ) -> Result<Running> {
        let log = self.dir.path().join(format!("{name}.out"));
        let mut process = Process::start(command, name, &log, user)?;
        process.wait_until(START, || answers(port))?;
        Ok(Running { port, log, processes: vec![process] })
    }
}

/// A server is there once it accepts; what it answers is checked before each round. A back end that
/// speaks no HTTP is asked nothing.
fn answers(port: u16) -> Result<()> {
    Connection::open(port).map(|_| ())
}

fn there(built: &Built) -> Result<&Path> {
    built.as_deref().map_err(|why| anyhow!(why.clone()))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
