//! A worker process. What it does is in the payload, as lines of `name=value`.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use daemon::worker::{Request, Runner, Stream, Worker};

use crate::app::App;

/// The application, which has loaded a file: it answers `version` with what the file said then, and
/// wants to be loaded anew when it says something else.
struct Loaded {
    app: App,
    file: Option<String>,
    version: String,
    worker: daemon::worker::Handle,
}

impl Runner for Loaded {
    fn attached(&self, domain: u16, serve: &mut dyn FnMut()) {
        self.app.attached(domain, serve);
    }

    fn run(&self, request: &Request<'_>, stream: &mut Stream<'_>) {
        if let Some(file) = &self.file
            && !request.facts().stay
        {
            let now = std::fs::read_to_string(file).unwrap_or_default();
            if now != self.version {
                let next = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
                let version = now.bytes().fold(0, next);
                self.worker.reload(file.as_bytes(), version);
                let _ = stream.later();
                return;
            }
        }
        self.app.run(request, stream);
    }

    fn signal(&self, signal: i32) {
        println!("signal {signal}");
    }
}

/// Is a worker until told otherwise.
pub(crate) fn main() -> ! {
    crate::hostile::worker();
    // SAFETY: the process was started by a supervisor, and this is the first thing it does.
    let worker = match unsafe { Worker::inherit() } {
        Ok(worker) => worker,
        Err(error) => {
            eprintln!("cannot be a worker: {error}");
            // SAFETY: ends the process.
            unsafe { libc::_exit(9) }
        }
    };
    let start = worker.start().clone();
    let payload = String::from_utf8(start.payload.clone()).unwrap();
    let what: HashMap<&str, &str> =
        payload.lines().filter_map(|line| line.split_once('=')).collect();
    let number = |name: &str| what.get(name).and_then(|text| text.parse().ok()).unwrap_or(0u64);
    if let Some(text) = what.get("say") {
        println!("{text}");
    }
    sleep(Duration::from_millis(number("import")));
    if let Some(code) = what.get("exit") {
        // SAFETY: ends the process.
        unsafe { libc::_exit(code.parse().unwrap()) }
    }
    let handle = worker.handle();
    let file = what.get("file").map(|file| (*file).to_owned());
    let mut version = String::new();
    if let Some(file) = &file {
        version = std::fs::read_to_string(file).unwrap_or_default();
        let wanted = start.loads.iter().any(|load| load == file.as_bytes());
        if version.starts_with("die") {
            // SAFETY: ends the process.
            unsafe { libc::_exit(3) }
        }
        if version.starts_with("broken") && wanted {
            handle.failed(file.as_bytes(), b"SyntaxError: it is broken");
        } else {
            handle.loaded(file.as_bytes());
        }
    }
    let name = format!("generation {} version {version}", start.generation);
    let app = App::new(&name, start.domains.into());
    *app.handle.lock().unwrap() = Some(handle.clone());
    let runner: Arc<dyn Runner> = Arc::new(Loaded { app, file, version, worker: handle });
    let stopped = worker.serve(&runner).unwrap();
    println!("stopped: {:?}, {} stuck", stopped.reason, stopped.stuck);
    sleep(Duration::from_millis(number("linger")));
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}
