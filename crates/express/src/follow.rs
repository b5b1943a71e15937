//! Showing on the terminal what goes to log files.
//!
//! Whoever starts a server by hand wants to see its errors without looking for a file. The files
//! stay what they are; this only reads along, from where they ended when the server was started.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::plan::Plan;

/// How often to look.
const PAUSE: Duration = Duration::from_millis(100);

/// The ends of the logs before the start.
#[derive(Debug)]
pub(crate) struct Follower {
    errors: Option<Tail>,
    requests: Option<Tail>,
}

/// A thread that reads along.
#[derive(Debug)]
pub(crate) struct Following {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) fn new(plan: &Plan) -> Follower {
        // Logs that are rotated have other names, and those on the terminal are there already.
        let tail = |path: &str| {
            let plain = !plan.log.rotates() && !path.starts_with("/dev/");
            plain.then(|| Tail::at_end(path))
        };
        Follower { errors: tail(&plan.log.error_path), requests: tail(&plan.log.access_path) }
    }

    /// Begins to show what is new, and says when the server listens.
    pub(crate) fn start(mut self, plan: &Plan) -> Following {
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let host = if plan.o.contains_key("host") { &plan.names.host } else { "localhost" };
        let address = (host.to_owned(), u16::try_from(plan.names.port).unwrap_or_default());
        let url = crate::plan::url("http", plan.names.in_urls(), plan.names.port);
        let mut ready = Some(format!("\nListening on {url} (Ctrl-C to stop)\n"));
        let thread = std::thread::spawn(move || {
            loop {
                let last = stop.load(Ordering::Acquire);
                if let Some(tail) = &mut self.errors {
                    tail.show(&mut std::io::stderr());
                }
                if let Some(tail) = &mut self.requests {
                    tail.show(&mut std::io::stdout());
                }
                if last {
                    return;
                }
                if let Some(text) = ready.take_if(|_| answers(&address)) {
                    let _ = std::io::stdout().write_all(text.as_bytes());
                }
                std::thread::sleep(PAUSE);
            }
        });
        Following { done, thread: Some(thread) }
    }
}

impl Following {
    /// Shows what is left.
    pub(crate) fn finish(mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answers(address: &(String, u16)) -> bool {
    let Ok(addresses) = address.to_socket_addrs() else { return false };
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, PAUSE).is_ok())
}

/// A file and how much of it was shown.
#[derive(Debug)]
struct Tail {
    path: String,
    shown: u64,
}

impl Tail {
    fn at_end(path: &str) -> Tail {
        let shown = std::fs::metadata(path).map_or(0, |found| found.len());
        Tail { path: path.to_owned(), shown }
    }

    fn show(&mut self, out: &mut dyn Write) {
        let Ok(mut file) = File::open(&self.path) else { return };
        let length = file.metadata().map_or(0, |found| found.len());
        if length < self.shown {
            // Somebody emptied or replaced it.
            self.shown = 0;
        }
        if length == self.shown || file.seek(SeekFrom::Start(self.shown)).is_err() {
            return;
        }
        let mut text = Vec::new();
        if let Ok(read) = file.take(length - self.shown).read_to_end(&mut text) {
            self.shown += read as u64;
            let _ = out.write_all(&text).and_then(|()| out.flush());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_new_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old\n").unwrap();
        let mut tail = Tail::at_end(path.to_str().unwrap());
        let mut out = Vec::new();
        tail.show(&mut out);
        assert_eq!(out, b"");
        std::fs::write(&path, "old\nnew\n").unwrap();
        tail.show(&mut out);
        tail.show(&mut out);
        assert_eq!(out, b"new\n");
        // Rotated away: the new file is shown from its beginning.
        std::fs::write(&path, "a\n").unwrap();
        tail.show(&mut out);
        assert_eq!(out, b"new\na\n");
    }
}
