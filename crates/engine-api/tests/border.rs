//! Both tables at once: what one side sends is what the other gets, and panics stay where they are.

#![allow(clippy::unwrap_used)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use engine_api::*;

static HOST: HostTable = host_table::<Log>();
static ENGINE: EngineTable = engine_table::<Echo>(PYTHON);
const PYTHON: Version = Version { major: 3, minor: 13, micro: 1, free_threaded: false };

struct Log;

impl Server for Log {
    fn log(records: &[Record<'_>]) {
        assert_eq!(records[0].text.get(), Some(&b"server"[..]));
        panic!("a panic while logging is nobody's business");
    }

    fn level() -> Level {
        Level::Notice
    }
}

/// Answers with what it reads, in upper case.
struct Echo;

impl Runtime for Echo {
    fn start(start: &Start<'_>) -> Result<(), Fault> {
        assert_eq!(start.executable.get(), Some(&b"/py/bin/python3"[..]));
        assert_eq!(start.interpreters.get()[0].specificity, 2);
        Ok(())
    }

    fn handle(request: &Request<'_>, mut client: Client<'_>) -> Result<Reply, Fault> {
        assert!(request.resource.get().is_none());
        let pair = request.environ.get()[0];
        assert_eq!((pair.name.or_empty(), pair.value.or_empty()), (&b"A"[..], &b"b"[..]));
        let mut buffer = [0; 4];
        let n = client.read(&mut buffer)?;
        buffer[..n].make_ascii_uppercase();
        let name = buffer[..n].to_vec();
        if name == b"BOOM" {
            panic!("a bug in the engine");
        }
        assert!(client.ssl_is_https() && client.client_gone());
        assert_eq!(client.ssl_var_lookup(b"LONG").unwrap(), vec![b'v'; 1000]);
        assert_eq!(client.ssl_var_lookup(b"NONE"), None);
        assert_eq!(client.level(), Level::Trace1);
        client.log(&[Record::new(Level::Error, 174, &name)]);
        client.server().log(&[Record::new(Level::Info, 0, b"server")]);
        assert_eq!(client.server().level(), Level::Notice);
        let headers = [Pair::new(b"X-Name", &name)];
        let head = Head {
            status: 201,
            reason: Bytes::new(b"Made"),
            headers: Slice::new(&headers),
            content_length: -1,
        };
        client.respond(Some(&head), &[Bytes::new(b"a"), Bytes::new(b"b")], Flags::FLUSH)?;
        assert_eq!(client.send_file(None, io::stdin().as_fd(), 1, 2, Flags::END)?, 2);
        Ok(Reply { kind: ReplyKind::Sent, status: 201, start: 3, application: 4 })
    }

    fn decide(
        hook: &Hook<'_>,
        mut client: Client<'_>,
        names: &mut Names<'_>,
    ) -> Result<Verdict, Fault> {
        client.log(&[Record::new(Level::Error, 59, hook.script.or_empty())]);
        for (number, argument) in (7..).zip(hook.arguments.get()) {
            names.give(number, argument.or_empty());
        }
        match hook.decision {
            Decision::Groups => Ok(Verdict::Names),
            Decision::Access => panic!("a bug in the engine"),
            _ => Err(Fault::new(FaultKind::Other, "no")),
        }
    }

    fn load(load: &Load<'_>) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Other, String::from_utf8_lossy(load.script.or_empty())))
    }

    fn interpreters() -> usize {
        3
    }

    fn places(threads: &[u64]) -> Vec<Place> {
        assert!(threads != [13], "a bug in the engine");
        threads.iter().map(|it| if *it == 7 { Place::Held } else { Place::Elsewhere }).collect()
    }

    fn stop(stop: &Stop<'_>) -> Result<(), Fault> {
        assert!(stop.destroy && stop.limit_ms == 5);
        Ok(())
    }
}

struct Page {
    body: Result<&'static [u8], Fault>,
    seen: Vec<String>,
}

impl Host for Page {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        let body = self.body.clone()?;
        assert_ne!(body, b"host", "a bug in the module");
        buffer[..body.len()].copy_from_slice(body);
        Ok(body.len())
    }

    fn respond(
        &mut self,
        head: Option<&Head<'_>>,
        chunks: &[Bytes<'_>],
        flags: Flags,
    ) -> Result<(), Fault> {
        self.seen.push(format!("{head:?} {chunks:?} {}", flags.has(Flags::FLUSH)));
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
        assert!(head.is_none() && flags == Flags::END);
        self.seen.push(format!("file {} {offset} {length}", file.as_raw_fd()));
        Ok(length)
    }

    fn client_gone(&mut self) -> bool {
        true
    }

    fn ssl_is_https(&mut self) -> bool {
        true
    }

    fn ssl_var_lookup(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        (name == b"LONG").then(|| vec![b'v'; 1000])
    }

    fn log(&mut self, records: &[Record<'_>]) {
        self.seen.push(format!("{:?} {:?}", records[0].level, records[0].text));
    }

    fn level(&mut self) -> Level {
        Level::Trace1
    }
}

fn request<'a>(environ: &'a [Pair<'a>]) -> Request<'a> {
    Request {
        environ: Slice::new(environ),
        script: Bytes::from("/app.wsgi"),
        resource: Bytes::ABSENT,
        handler_script: Bytes::ABSENT,
        script_mtime: 1,
        application_group: Bytes::from(""),
        callable: Bytes::from("application"),
        request_id: Bytes::ABSENT,
        connection_id: Bytes::ABSENT,
        request_start: 0,
        queue_start: 0,
        daemon_start: 0,
        content_length: -1,
        server_pid: 1,
        daemon_connects: 0,
        daemon_restarts: 0,
        request_rec: ptr::null_mut(),
        https: false,
        multithread: true,
        multiprocess: true,
        run_once: false,
        head: false,
        reload: true,
        lower_case: false,
        measure: true,
    }
}

/// One test, since the engine of a process is started once.
#[test]
fn there_and_back() {
    let engine = Engine::from_table(&ENGINE).unwrap();
    assert_eq!(engine.python(), PYTHON);
    let environ = [Pair::new(b"A", b"b")];
    let request = request(&environ);
    let mut page = Page { body: Ok(b"abc"), seen: Vec::new() };

    let fault = engine.handle(&request, &mut page).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unavailable);

    let options = [InterpreterOptions { specificity: 2, ..InterpreterOptions::NONE }];
    let start = Start {
        host: &HOST,
        executable: Bytes::from("/py/bin/python3"),
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
        interpreters: Slice::new(&options),
        module_version: [6, 1, 1],
        server_version: [2, 4, 1],
        server_description: Bytes::from("Apache"),
        mpm_name: Bytes::from("event"),
        server_build_date: Bytes::from(""),
        server_processes: 1,
        server_threads: 1,
        maximum_processes: 1,
        threads_per_process: 1,
        telemetry: TelemetryOptions::NONE,
    };
    engine.start(&start).unwrap();
    assert_eq!(engine.start(&start).unwrap_err().kind, FaultKind::Unavailable);

    let reply = engine.handle(&request, &mut page).unwrap();
    assert_eq!(reply, Reply { kind: ReplyKind::Sent, status: 201, start: 3, application: 4 });
    assert_eq!(
        page.seen,
        [
            "Error \"ABC\"",
            "Some(Head { status: 201, reason: \"Made\", headers: [Pair { name: \"X-Name\", value: \
             \"ABC\" }], content_length: -1 }) [\"a\", \"b\"] true",
            "file 0 1 2"
        ]
    );

    let fault =
        Fault { kind: FaultKind::Timeout, errno: 110, status: 408, text: "too slow".to_owned() };
    page.body = Err(fault.clone());
    assert_eq!(engine.handle(&request, &mut page).unwrap_err(), fault);

    page.body = Ok(b"boom");
    let fault = engine.handle(&request, &mut page).unwrap_err();
    assert_eq!(fault.text, "internal error: a bug in the engine");
    page.body = Ok(b"host");
    let fault = engine.handle(&request, &mut page).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Panic);
    assert!(fault.text.contains("a bug in the module"), "{fault}");

    let arguments = [Bytes::from("a"), Bytes::from("")];
    let mut hook = Hook {
        decision: Decision::Groups,
        environ: Slice::EMPTY,
        script: Bytes::from("/groups.wsgi"),
        application_group: Bytes::from(""),
        arguments: Slice::new(&arguments),
        request_rec: ptr::null_mut(),
        reload: true,
        lower_case: false,
    };
    let mut names = Vec::new();
    let mut keep = |number, name: &[u8]| names.push((number, name.to_vec()));
    assert_eq!(engine.decide(&hook, &mut page, &mut keep).unwrap(), Verdict::Names);
    hook.decision = Decision::Access;
    let fault = engine.decide(&hook, &mut page, &mut keep).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Panic);
    hook.decision = Decision::Dispatch;
    assert_eq!(engine.decide(&hook, &mut page, &mut keep).unwrap_err().text, "no");
    assert_eq!(names[..2], [(7, b"a".to_vec()), (8, Vec::new())]);
    assert_eq!(page.seen.last().unwrap(), "Error \"/groups.wsgi\"");

    let load = Load {
        script: Bytes::from("/x"),
        application_group: Bytes::from(""),
        reload: true,
        lower_case: false,
    };
    assert_eq!(engine.load(&load).unwrap_err().text, "/x");
    assert_eq!(engine.interpreters(), 3);
    for (threads, expected) in [(&[1, 7][..], &[Place::Elsewhere, Place::Held][..]), (&[13], &[])] {
        let mut places = Vec::new();
        engine.places(threads, 100, &mut |index, text| {
            places.push((index, Place::decode(text).unwrap()));
        });
        assert!(places.into_iter().eq((0..).zip(expected.iter().cloned())));
    }
    engine.stop(&Stop { reason: Bytes::from(""), destroy: true, limit_ms: 5 }).unwrap();
}
