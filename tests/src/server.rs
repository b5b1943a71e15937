//! A running private httpd: started, awaited, signalled, stopped and audited.
//!
//! It runs in the foreground in a process group of its own (prefork signals its whole group when it
//! stops), and asks the kernel for a SIGTERM should the thread that started it die. Dropping it
//! stops it, in bounded time, and fails the test if that takes force, if anything it started is
//! still there, or if its error log holds a line nobody expected.
//!
//! Ports come from below the range the kernel gives to outgoing connections, so no client of
//! another test sits on one; each is held by a lock on a file.
//!
//! <https://httpd.apache.org/docs/2.4/stopping.html>

use crate::http::{Connection, Response};
use crate::log::Log;
use crate::matrix::Mpm;
use crate::process::{Process, wait_for};
use crate::setup::Setup;
use crate::site::Site;
use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// How long starting, restarting and stopping may take each.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long old children are waited for after a graceful restart.
const OLD_CHILDREN: Duration = Duration::from_secs(3);

/// A running server.
#[derive(Debug)]
pub struct Server {
    site: Site,
    port: Port,
    child: Child,
    exit: Option<ExitStatus>,
    log: Log,
    console: Log,
    finished: bool,
}

/// A port nobody else uses as long as this lives.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _lock: File,
}

impl Server {
    pub(crate) fn start(mut site: Site) -> Result<Server> {
        for _ in 0..5 {
            let mut server = Server::spawn(site)?;
            let Err(error) = server.await_answer() else { return Ok(server) };
            let said = server.log.text() + &server.console.text();
            if !said.contains("AH00072") {
                server.finished = true;
                return Err(error.context(said));
            }
            // Somebody took the port who does not ask for locks.
            site = server.give_up();
        }
        bail!("five ports in a row were taken by others")
    }

    fn spawn(site: Site) -> Result<Server> {
        let port = Port::choose()?;
        let config = site.configure(port.number)?;
        let console = site.path("console.log");
        let out = File::create(&console)?;
        let mut command = site.command(&config);
        command.arg("-DFOREGROUND").process_group(0);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // SAFETY: the closure makes one system call and touches no memory of the parent (L1).
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let child = command.spawn().context("starting httpd")?;
        let log = Log::new(site.path("error.log"));
        if site.shares_its_engine() {
            log.allow("Compiled for Python/");
            log.allow("Runtime using Python/");
        }
        let console = Log::new(console);
        Ok(Server { site, port, child, exit: None, log, console, finished: false })
    }

    fn await_answer(&mut self) -> Result<()> {
        let answered = wait_for(PATIENCE, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.exit = Some(status);
                return Some(false);
            }
            let ready =
                self.connect_to("/.ready").is_ok_and(|r| r.status == 200 && r.is_complete());
            let begun = self.log.generations() > 0 || self.site.is_one_process();
            (ready && begun).then_some(true)
        });
        match answered {
            Some(true) => Ok(()),
            Some(false) => bail!("httpd ended: {:?}", self.exit),
            None => bail!("httpd does not answer"),
        }
    }

    fn connect_to(&self, path: &str) -> Result<Response> {
        let mut connection = Connection::open(self.address())?;
        connection
            .send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))?;
        connection.response("GET")
    }

    /// Takes a server down that never worked.
    fn give_up(mut self) -> Site {
        self.finished = true;
        self.end();
        let empty = Site::plain(Mpm::Event);
        std::mem::replace(&mut self.site, empty)
    }

    /// The site it serves.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Its error log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What it wrote to standard output, and to standard error before it had a log.
    pub fn console(&self) -> &Log {
        &self.console
    }

    /// The text of its access log.
    pub fn access_log(&self) -> String {
        std::fs::read_to_string(self.site.path("access.log")).unwrap_or_default()
    }

    /// Opens a connection to it.
    ///
    /// # Panics
    /// When it cannot be reached.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.address()).unwrap()
    }

    /// A GET on a connection of its own. What comes back is well-formed and complete.
    ///
    /// # Panics
    /// When there is no such answer.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    /// A POST with a body of known length.
    ///
    /// # Panics
    /// When there is no well-formed and complete answer.
    #[track_caller]
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Response {
        self.request("POST", path, &[("Content-Type", content_type)], body)
    }

    /// Any request on a connection of its own.
    ///
    /// # Panics
    /// When there is no well-formed and complete answer.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        match crate::http::request(self.address(), method, path, headers, body) {
            Ok(response) => response,
            Err(error) => panic!("{method} {path}: {error:#}\n{}", self.log.text()),
        }
    }

    /// The process that was started: httpd's parent.
    pub fn parent(&self) -> Process {
        Process { pid: self.child.id() }
    }

    /// The parent's children: those that serve and, in daemon mode, the supervisor and the log's relay.
    pub fn children(&self) -> Vec<Process> {
        let parent = self.parent();
        let of_parent = |process: &Process| process.parent() == Some(parent);
        self.processes().into_iter().filter(of_parent).collect()
    }

    /// Everything it started, itself included.
    pub fn processes(&self) -> Vec<Process> {
        Process::marked(self.site.dir())
    }

    /// Graceful restart; comes back when the new generation answers.
    ///
    /// # Panics
    /// When that does not happen in good time.
    #[track_caller]
    pub fn graceful(&mut self) {
        let (mut old, supervisors) = (self.children(), self.supervisors());
        old.retain(|process| !supervisors.contains(process));
        self.signal_restart(Signal::USR1);
        // Old children take connections until they notice; those that still have some stay longer.
        let _ = wait_for(OLD_CHILDREN, || {
            let there = self.children();
            (!old.iter().any(|process| there.contains(process))).then_some(())
        });
    }

    /// Restart at once; comes back when the new generation answers.
    ///
    /// # Panics
    /// When that does not happen in good time.
    #[track_caller]
    pub fn restart(&mut self) {
        self.allow_ends();
        self.signal_restart(Signal::HUP);
    }

    #[track_caller]
    fn signal_restart(&mut self, signal: Signal) {
        let before = self.log.generations();
        self.parent().signal(signal);
        let done = wait_for(PATIENCE, || (self.log.generations() > before).then_some(()));
        let text = self.log.text();
        assert!(done.is_some(), "no new generation after {signal:?}\n{text}");
        if let Err(error) = self.await_answer() {
            panic!("after {signal:?}: {error:#}\n{}", self.log.text());
        }
    }

    /// Writes the configuration again with more lines, for the next restart to read.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn reconfigure(&mut self, change: impl FnOnce(Site) -> Site) {
        let empty = Site::plain(Mpm::Event);
        self.site = change(std::mem::replace(&mut self.site, empty));
        self.site.configure(self.port.number).unwrap();
    }

    /// Stops it and audits its log.
    ///
    /// # Panics
    /// When stopping took force, left something behind, or the log holds what nobody expected.
    #[track_caller]
    pub fn stop(mut self) {
        if let Some(complaint) = self.finish() {
            panic!("{complaint}");
        }
    }

    /// Stops it without judging how, for tests that broke it on purpose.
    pub fn abandon(mut self) {
        self.finished = true;
        self.end();
    }

    /// Ends everything, and says what was wrong.
    fn finish(&mut self) -> Option<String> {
        if self.finished {
            self.end();
            return None;
        }
        self.finished = true;
        let before = self.log.audit();
        self.allow_ends();
        let complaint = self.end();
        before
            .or(complaint)
            .or_else(|| self.log.audit())
            .or_else(|| Some(format!("the console says:\n{}", self.console.audit()?)))
    }

    /// Before children are told to stop at once.
    fn allow_ends(&self) {
        match self.site.mpm() {
            // httpd 2.4.71: a child of the event MPM that is told to stop closes the sockets of its
            // workers while these end (`close_worker_sockets`), and now and then one is gone in
            // between: its main thread dies in apr_os_sock_get, with and without this module.
            Mpm::Event => self.log.allow("exit signal Segmentation fault (11)"),
            // One stop of the worker MPM in some twenty takes it 2.4 s before it comes to the ends of
            // modules, with and without this module. On a busy machine that is more than the three
            // seconds after which the parent asks again; after ten it would kill.
            Mpm::Worker => self.log.allow("still did not exit, sending a SIGTERM"),
            // Its children are held to a clean end.
            Mpm::Prefork => {}
        }
    }

    /// SIGTERM, patience, SIGKILL; to the parent first, then to whatever remains.
    fn end(&mut self) -> Option<String> {
        let mut complaint = None;
        let died = matches!(self.child.try_wait(), Ok(Some(_)));
        if died {
            complaint = Some(format!("httpd ended by itself: {:?}", self.exit));
        } else {
            self.parent().signal(Signal::TERM);
            let ended = wait_for(PATIENCE, || self.child.try_wait().ok().flatten());
            if ended.is_none() {
                complaint = Some("httpd did not stop when told to".to_owned());
                let _ = self.child.kill();
            }
        }
        let _ = self.child.wait();
        let dir = self.site.dir().to_owned();
        let gone = || Process::marked(&dir).is_empty().then_some(());
        if wait_for(Duration::from_secs(5), gone).is_none() {
            let left = Process::marked(&dir);
            let shown: Vec<String> =
                left.iter().map(|p| format!("{}: {}", p.pid, p.command_line())).collect();
            complaint.get_or_insert(format!("left running: {}", shown.join(", ")));
            for process in left {
                process.signal(Signal::KILL);
            }
            wait_for(Duration::from_secs(5), gone);
        }
        complaint.map(|text| format!("{text}\n{}{}", self.log.text(), self.console.text()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let shown = self.finished;
        let complaint = self.finish();
        if std::thread::panicking() && !shown {
            eprintln!("error log:\n{}{}", self.log.text(), self.console.text());
        } else if let Some(complaint) = complaint.filter(|_| !std::thread::panicking()) {
            panic!("{complaint}");
        }
    }
}

impl Port {
    pub(crate) fn choose() -> Result<Port> {
        const RANGE: std::ops::Range<u16> = 10_000..30_000;
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = Setup::get().area.dir.join("ports");
        // Processes begin at different places, so that they rarely meet.
        let pid = (std::process::id() * 211 % u32::from(u16::MAX)) as u16;
        for _ in RANGE {
            let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(pid);
            let number = RANGE.start + step % (RANGE.end - RANGE.start);
            if let Some(lock) = lock_if_free(&dir.join(number.to_string()))?
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Ok(Port { number, _lock: lock });
            }
        }
        bail!("no free port between {} and {}", RANGE.start, RANGE.end)
    }
}

fn lock_if_free(path: &Path) -> Result<Option<File>> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
