//! Daemon mode where the kernel lacks calls, or a sandbox refuses them: no descriptors of processes
//! (before Linux 5.3), no closing of ranges (5.9), no exec by descriptor. What is promised elsewhere
//! holds here, too; deaths may take a second longer to be seen.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::time::Duration;
use tests::process::{Process, wait_for};
use tests::{GROUP, Load, Mode, Mpm, Server, Site, matrix};

const SCRIPT: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    try:
        os.pidfd_open(os.getpid())
    except OSError as error:
        refused = error.errno == 38
    return [b'%d %d' % (os.getpid(), refused)]
";

/// Runs what follows without these system calls: seccomp(2).
const WITHOUT_CALLS: &str = r#"
import ctypes, os, platform, struct, sys

numbers = [434, 424, 436, {'x86_64': 322, 'aarch64': 281}[platform.machine()]]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = [(LOAD, 0, 0, 0)]
for index, number in enumerate(numbers):
    program.append((EQUAL, len(numbers) - index, 0, number))
program.append((RETURN, 0, 0, 0x7fff0000))
program.append((RETURN, 0, 0, 0x00050000 | 38))
code = b''.join(struct.pack('HBBI', *one) for one in program)
buffer = ctypes.create_string_buffer(code)
filters = struct.pack('HxxxxxxP', len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filters, 0, 0):
    sys.exit('no filter: %s' % os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

const SOON: Duration = Duration::from_secs(20);

fn site(mpm: Mpm) -> Site {
    let python = matrix::python();
    let site = Site::new(mpm, &python);
    let program = site.write("without.py", WITHOUT_CALLS);
    let (python, program) = (python.executable(), program.to_str().unwrap().to_owned());
    site.under(&[python.to_str().unwrap(), &program])
        .mode(Mode::Daemon)
        .mount("/", "app.wsgi", SCRIPT)
}

fn pid(server: &Server) -> u32 {
    let text = server.get("/").with_status(200).text();
    let (pid, refused) = text.split_once(' ').unwrap();
    assert_eq!(refused, "1", "there is no sandbox");
    pid.parse().unwrap()
}

fn kill(pid: u32) {
    Process { pid }.signal(Signal::KILL);
    Process { pid }.await_end();
}

#[test]
fn without_descriptors_of_processes() {
    let mut server = site(Mpm::Event).start();
    server.log().allow("terminated by signal 9");
    server.log().allow("exit code not known");
    server.log().allow("The process supervisor has died; starting another one.");
    // Our own child.
    let first = pid(&server);
    kill(first);
    let second = pid(&server);
    assert_ne!(second, first);
    // A signal finds its process.
    let load = Load::start(server.address(), 2, "/", |response| response.status == 200);
    Process { pid: second }.signal(Signal::TERM);
    Process { pid: second }.await_end();
    let third = pid(&server);
    // Another supervisor takes over, and sees the end of a process that is not its child.
    let supervisor = server.supervisor();
    supervisor.signal(Signal::KILL);
    supervisor.await_end();
    assert_ne!(server.supervisor(), supervisor);
    load.await_more(20);
    load.finish();
    assert_eq!(pid(&server), third);
    kill(third);
    let fourth = pid(&server);
    assert_ne!(fourth, third);
    // A restart, and the end.
    server.graceful();
    Process { pid: fourth }.await_end();
    let fifth = pid(&server);
    assert_ne!(fifth, fourth);
    assert_eq!(server.worker(GROUP).pid, fifth);
    server.stop();
}

#[test]
fn when_the_server_is_killed_nothing_outlives_it_without_them() {
    let server = site(Mpm::Event).start();
    pid(&server);
    let dir = server.site().dir().to_owned();
    let children = server.children();
    let supervisor = server.supervisor();
    server.parent().signal(Signal::KILL);
    supervisor.await_end();
    for child in children.into_iter().filter(|child| *child != supervisor) {
        child.signal(Signal::KILL);
    }
    server.abandon();
    let gone = wait_for(SOON, || Process::marked(&dir).is_empty().then_some(()));
    assert!(gone.is_some(), "left: {:?}", Process::marked(&dir));
}
