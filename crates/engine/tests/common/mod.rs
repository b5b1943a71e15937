//! A server without Apache: the module's side of the tables, and one process per scenario.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses some of it")]

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Mutex;
use std::time::Duration;

use _mod_wsgi::mod_wsgi_engine;
use engine_api::*;
use tempfile::TempDir;

pub(crate) use scenario::scenario;

/// The Python this was built for.
pub(crate) fn python() -> &'static str {
    env!("ENGINE_TEST_PYTHON")
}

/// Everything that was logged: `LEVEL WSGI0089: text`, with `[script FILE] ` for requests.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes what was logged so far.
pub(crate) fn log() -> Vec<String> {
    std::mem::take(&mut *LOG.lock().unwrap())
}

/// The same without lines of level info and debug.
pub(crate) fn errors() -> Vec<String> {
    log()
        .into_iter()
        .filter(|line| !line.starts_with("Info") && !line.starts_with("Debug"))
        .collect()
}

fn write(records: &[Record<'_>], script: Option<&str>) {
    let mut log = LOG.lock().unwrap();
    for record in records {
        let text = String::from_utf8_lossy(record.text.or_empty()).into_owned();
        assert!(!text.contains('\n'), "{text:?}");
        let code = match record.code {
            0 => String::new(),
            code => format!("WSGI{code:04}: "),
        };
        let errno = match record.errno {
            0 => String::new(),
            errno => format!("({errno}) "),
        };
        let script = script.map(|script| format!("[script {script}] ")).unwrap_or_default();
        let text = match record.style {
            Style::Message => format!("{script}{code}{text}"),
            Style::Exception => format!("{code}{script}{text}"),
            Style::Traceback => text,
        };
        log.push(format!("{:?} {errno}{text}", record.level));
    }
}

struct Log;

impl Server for Log {
    fn log(records: &[Record<'_>]) {
        write(records, None);
    }

    fn level() -> Level {
        Level::Debug
    }
}

static HOST: HostTable = host_table::<Log>();

/// A started engine with a directory for scripts.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) dir: TempDir,
}

impl Site {
    pub(crate) fn new() -> Site {
        Site::with(|_, _| ())
    }

    /// With a chance to change how Python starts.
    pub(crate) fn with(change: impl FnOnce(&mut Start<'_>, &Path)) -> Site {
        let dir = TempDir::with_prefix("engine").unwrap();
        // SAFETY: the table is a static of this program.
        let engine = Engine::from_table(unsafe { &*mod_wsgi_engine() }).unwrap();
        let mut start = Start {
            host: &HOST,
            executable: Bytes::from(python()),
            python_home: Bytes::ABSENT,
            process_group: Bytes::from(""),
            main_group: Bytes::ABSENT,
            python_eggs: Bytes::ABSENT,
            warnings: Slice::EMPTY,
            hash_seed: -1,
            optimize: 0,
            dont_write_bytecode: false,
            free_threading: false,
            single_process: false,
            serve_on_this_thread: false,
            interpreters: Slice::EMPTY,
            module_version: [6, 1, 1],
            server_version: [2, 4, 99],
            server_description: Bytes::from("Apache/2.4.99"),
            mpm_name: Bytes::from("event"),
            server_build_date: Bytes::from("today"),
            server_processes: 3,
            server_threads: 25,
            maximum_processes: 3,
            threads_per_process: 25,
            telemetry: TelemetryOptions::NONE,
        };
        change(&mut start, dir.path());
        engine.start(&start).unwrap();
        Site { engine, dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a script; its time stamp is `age` seconds ago.
    pub(crate) fn script(&self, name: &str, age: u64, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let time = std::time::SystemTime::now() - Duration::from_secs(age);
        file.set_modified(time).unwrap();
        path
    }

    pub(crate) fn get(&self, script: &str) -> Response {
        Ask::new(self, script).send()
    }
}

/// A request to be.
pub(crate) struct Ask<'a> {
    engine: Engine,
    path: PathBuf,
    pub(crate) group: &'a str,
    pub(crate) callable: &'a str,
    pub(crate) environ: Vec<(&'a str, &'a str)>,
    pub(crate) body: &'a [u8],
    pub(crate) id: Option<&'a str>,
    pub(crate) reload: bool,
    pub(crate) mtime: Option<i64>,
    /// Runs whenever a part of the body is sent.
    pub(crate) during: Option<&'a (dyn Fn() + Sync)>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) reply: Result<Reply, Fault>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Calls of `respond`.
    pub(crate) calls: usize,
}

impl Response {
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        let sent =
            Ok(Reply { kind: ReplyKind::Sent, status: self.status, start: 0, application: 0 });
        assert_eq!(self.reply, sent, "{:#?}", log());
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn failed(&self) -> u16 {
        assert_eq!(self.calls, 0);
        match self.reply {
            Ok(Reply { kind: ReplyKind::Render, status, .. }) => status,
            _ => panic!("{self:?}"),
        }
    }
}

impl<'a> Ask<'a> {
    pub(crate) fn new(site: &Site, script: &str) -> Ask<'a> {
        Ask {
            engine: site.engine,
            path: site.path(script),
            group: "",
            callable: "application",
            environ: vec![
                ("REQUEST_METHOD", "GET"),
                ("SCRIPT_NAME", ""),
                ("PATH_INFO", "/"),
                ("SERVER_NAME", "localhost"),
                ("SERVER_PORT", "80"),
                ("SERVER_PROTOCOL", "HTTP/1.1"),
            ],
            body: b"",
            id: Some("id1"),
            reload: true,
            mtime: None,
            during: None,
        }
    }

    pub(crate) fn group(mut self, group: &'a str) -> Self {
        self.group = group;
        self
    }

    pub(crate) fn send(&self) -> Response {
        let mtime = self.mtime.or_else(|| {
            let data = fs::metadata(&self.path).ok()?;
            Some(data.mtime() * 1_000_000 + data.mtime_nsec() / 1000)
        });
        let environ: Vec<Pair<'_>> = self
            .environ
            .iter()
            .map(|(name, value)| Pair::new(name.as_bytes(), value.as_bytes()))
            .collect();
        let path = self.path.to_str().unwrap();
        let request = Request {
            environ: Slice::new(&environ),
            script: Bytes::from(path),
            resource: Bytes::from(path),
            handler_script: Bytes::from(""),
            script_mtime: mtime.unwrap_or(-1),
            application_group: Bytes::from(self.group),
            callable: Bytes::from(self.callable),
            request_id: self.id.map(str::as_bytes).into(),
            connection_id: Bytes::ABSENT,
            request_start: 1_700_000_000_500_000,
            queue_start: 0,
            daemon_start: 0,
            content_length: self.body.len() as i64,
            server_pid: std::process::id(),
            daemon_connects: 0,
            daemon_restarts: 0,
            request_rec: ptr::null_mut(),
            https: false,
            multithread: true,
            multiprocess: true,
            run_once: false,
            head: false,
            reload: self.reload,
            lower_case: false,
            measure: false,
        };
        let mut page = Page {
            body: self.body,
            script: path,
            status: 0,
            headers: vec![],
            out: vec![],
            calls: 0,
            during: self.during,
        };
        let reply = self.engine.handle(&request, &mut page);
        Response {
            reply,
            status: page.status,
            headers: page.headers,
            body: page.out,
            calls: page.calls,
        }
    }
}

struct Page<'a> {
    body: &'a [u8],
    script: &'a str,
    status: u16,
    headers: Vec<(String, String)>,
    out: Vec<u8>,
    calls: usize,
    during: Option<&'a (dyn Fn() + Sync)>,
}

impl Host for Page<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let n = self.body.len().min(buffer.len()).min(1000);
        let (now, later) = self.body.split_at(n);
        buffer[..n].copy_from_slice(now);
        self.body = later;
        Ok(n)
    }

    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        _flags: Flags,
    ) -> Result<(), Fault> {
        self.calls += 1;
        if let Some(during) = self.during
            && !chunks.is_empty()
        {
            during();
        }
        if let Some(head) = head {
            assert_eq!(self.status, 0, "two heads");
            self.status = head.status;
            let text = |bytes: &Bytes<'_>| String::from_utf8(bytes.or_empty().to_vec()).unwrap();
            let headers = head.headers.get().iter();
            self.headers = headers.map(|pair| (text(&pair.name), text(&pair.value))).collect();
        }
        for chunk in chunks {
            self.out.extend_from_slice(chunk.or_empty());
        }
        Ok(())
    }

    fn send_file(
        &mut self,
        head: Option<&Head<'_>>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: u64,
        flags: Flags,
    ) -> Result<u64, Fault> {
        use std::os::unix::fs::FileExt;
        let file = fs::File::from(file.try_clone_to_owned().unwrap());
        let mut data = vec![0; length as usize];
        let n = file.read_at(&mut data, offset).unwrap();
        self.respond(head, &[Bytes::new(&data[..n])], flags)?;
        Ok(n as u64)
    }

    fn client_gone(&mut self) -> bool {
        false
    }

    fn ssl_is_https(&mut self) -> bool {
        false
    }

    fn ssl_var_lookup(&mut self, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn log(&mut self, records: &[Record<'_>]) {
        write(records, Some(self.script));
    }

    fn level(&mut self) -> Level {
        Level::Debug
    }
}
