//! A private Apache in the foreground: started, asked whether it answers, stopped, waited for.
//!
//! It is told to end by signals to its parent process and, should that not suffice, to its process
//! group, which is its own. If we are killed outright, the kernel ends it (on Linux).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::config::PROBE;
use crate::shell::dies_with_us;

/// How long it may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    relays: Vec<Receiver<()>>,
    ended: Option<ExitStatus>,
}

impl Server {
    /// Starts `httpd` with that configuration. What it writes comes out on our own streams.
    pub(crate) fn start(httpd: &Path, config: &Path) -> Result<Server> {
        let mut command = Command::new(httpd);
        command.arg("-f").arg(config).arg("-DFOREGROUND");
        // Pipes, because the server opens /dev/stderr anew, which fails for a socket and would
        // begin at the start of a file.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on a terminal reaches us and not it: it ends once, and in order.
        command.process_group(0);
        dies_with_us(&mut command);
        let mut child =
            command.spawn().with_context(|| format!("cannot run {}", httpd.display()))?;
        let mut relays = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            relays.push(relay(stdout, std::io::stdout()));
        }
        if let Some(stderr) = child.stderr.take() {
            relays.push(relay(stderr, std::io::stderr()));
        }
        Ok(Server { child, relays, ended: None })
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                self.last_words();
            }
        }
        Ok(self.ended)
    }

    /// Stops it and waits for it.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM, self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while self.ended()?.is_none() {
            if Instant::now() > deadline {
                eprintln!("Apache does not stop; killing it");
                self.kill()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let Ok(group) = i32::try_from(self.child.id()) else { return Ok(()) };
        if self.ended.is_none() {
            // SAFETY: killpg(2) touches no memory. The group is our child's own (process_group(0)
            // above), and its number is not free for others until the child was waited for.
            unsafe { libc::killpg(group, libc::SIGKILL) };
            self.ended = Some(self.child.wait()?);
            self.last_words();
        }
        Ok(())
    }

    fn signal(&self, signal: i32, pid: u32) {
        if let (None, Ok(pid)) = (self.ended, i32::try_from(pid)) {
            // SAFETY: kill(2) touches no memory. The child was not waited for, so the number is its.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Lets what it wrote last come through; something it left behind may hold the pipe open.
    fn last_words(&mut self) {
        for relay in self.relays.drain(..) {
            let _ = relay.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended.is_none() && (self.stop().is_err() || self.ended.is_none()) {
            let _ = self.kill();
        }
    }
}

/// Asks once whether the server answers; gives the status of the answer.
pub(crate) fn probe(address: SocketAddr) -> Option<u16> {
    let patience = Duration::from_secs(60);
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    let request = format!(
        "HEAD / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {PROBE}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut line).ok()?;
    status(&line)
}

fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()
}

/// Copies a stream until its end; the receiver hears of the end.
fn relay(
    mut from: impl Read + Send + 'static,
    mut to: impl Write + Send + 'static,
) -> Receiver<()> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // A terminal that went away does not make the server wait.
            let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
        }
        let _ = sender.send(());
    });
    receiver
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_status_line_is_read() {
        assert_eq!(status("HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status("HTTP/1.0 500\r\n"), Some(500));
        assert_eq!(status("SSH-2.0-OpenSSH"), None);
        assert_eq!(status(""), None);
    }

    /// A stand-in for httpd.
    fn script(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("httpd");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    fn wait_for(path: &Path) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !path.exists() {
            assert!(Instant::now() < deadline, "{} did not appear", path.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn stopping_waits_and_leaves_nothing() {
        let (dir, httpd) =
            script("trap 'rm \"$2\".up; exit 0' TERM; : > \"$2\".up; while :; do sleep 0.05; done");
        let config = dir.path().join("conf");
        let mut server = Server::start(&httpd, &config).unwrap();
        wait_for(&dir.path().join("conf.up"));
        assert_eq!(server.ended().unwrap(), None);
        server.stop().unwrap();
        assert!(server.ended().unwrap().unwrap().success());
        assert!(!dir.path().join("conf.up").exists());
    }

    #[test]
    fn one_that_ends_by_itself_is_noticed() {
        let (dir, httpd) = script("exit 7");
        let mut server = Server::start(&httpd, &dir.path().join("conf")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.ended().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(server.ended().unwrap().unwrap().code(), Some(7));
    }
}
