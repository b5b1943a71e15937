//! Workers and children that do what they should not: it is their own group's loss.
//!
//! A hostile worker is one whose environment says so; it speaks on the descriptors that it was given
//! by number, before (or instead of) what a worker does.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use daemon::client::ErrorKind;
use daemon::config::Group;
use daemon::control::{Connect, FromWorker, Purpose, Retire};
use daemon::wire::Record;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, send};

use crate::ask::Ask;
use crate::server::{
    Server, descriptors, group, is_alive, kill, payload, processor_time, until, until_gone,
};

crate::tests! {
    rubbish_on_the_control_socket
    floods_on_the_control_socket
    a_control_socket_that_is_closed
    a_worker_that_is_never_ready_and_ignores_signals
    status_memory_that_is_nonsense
    descriptors_that_cannot_be_closed
    rubbish_from_a_child
    a_channel_that_a_child_has_shut_down
    a_group_that_always_reloads_leaves_others_their_turn
}

/// What the environment says this worker is to do.
pub(crate) fn worker() {
    let Ok(how) = std::env::var("HOSTILE") else { return };
    // SAFETY: the process was started with these descriptors; they are only borrowed.
    let control = unsafe { BorrowedFd::borrow_raw(3) };
    match how.as_str() {
        "rubbish" => {
            for length in [1, 7, 100, 40_000, 60_000] {
                let _ = send(control, &vec![0xa5; length], SendFlags::DONTWAIT);
            }
            // And descriptors, with a message that takes none.
            let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
            send_with(control, &FromWorker::Ready.encode(), one.as_fd());
        }
        "flood" => flood(control),
        "close" => {
            ignore_signals();
            // SAFETY: nothing in this process has used it.
            drop(unsafe { OwnedFd::from_raw_fd(3) });
            std::thread::sleep(Duration::from_secs(600));
        }
        "silent" => {
            ignore_signals();
            std::thread::sleep(Duration::from_secs(600));
        }
        // As a worker that serves, but for this.
        "reload" => {
            let control = control.try_clone_to_owned().unwrap();
            std::thread::spawn(move || {
                for version in 0.. {
                    let message = FromWorker::Reload { key: b"x", version }.encode();
                    if send(&control, &message, SendFlags::empty()).is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        // As a worker that serves, but for this.
        "linger" => linger(control),
        "status" => {
            // SAFETY: as above.
            let status = unsafe { BorrowedFd::borrow_raw(4) };
            let _ = rustix::io::pwrite(status, &vec![0x81; 1 << 16], 0);
            for at in (0..1 << 15).step_by(128) {
                let _ = rustix::io::pwrite(status, &[1, 255, 255, 255], at + 4);
            }
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) }
        }
        other => panic!("{other}"),
    }
}

/// All that a worker can say, again and again.
fn flood(control: BorrowedFd<'_>) {
    let long = vec![b'\n'; 8 << 10];
    for number in 0..2_000u64 {
        let key = format!("{number}").repeat(1_000);
        for message in [
            FromWorker::Loaded(key.as_bytes()),
            FromWorker::Reload { key: b"x", version: number },
            FromWorker::Failed { key: b"x", text: &long },
            FromWorker::Log(Record::new(200, 65_535, &long)),
            FromWorker::Retire(Retire::Deadlock),
            FromWorker::Ready,
        ] {
            let _ = send(control, &message.encode(), SendFlags::empty());
        }
    }
}

/// Hands over a socket that takes ten minutes to close, as its only owner, and then many others.
fn linger(control: BorrowedFd<'_>) {
    let text = FromWorker::Log(Record::new(4, 0, b"here is a gift")).encode();
    loop {
        let near = unsendable();
        send_with(control, &text, near.as_fd());
        // Whoever closes it last has to wait. That is this process if the supervisor was faster, so
        // then there is another one.
        let (tell, told) = channel();
        std::thread::spawn(move || {
            drop(near);
            tell.send(())
        });
        if told.recv_timeout(Duration::from_secs(1)).is_ok() {
            break;
        }
    }
    let control = control.try_clone_to_owned().unwrap();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            send_with(control.as_fd(), &FromWorker::Ready.encode(), control.as_fd());
        }
    });
}

/// A socket with something in it that nobody takes, for as long as this process lives.
fn unsendable() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    set_socket_linger(&near, Some(Duration::from_secs(600))).unwrap();
    // Until there is something that cannot be sent: what fills the one end goes over to the other, as
    // long as there is room.
    let mut full = 0;
    while full < 10 {
        full = if near.write(&[0; 1 << 16]).is_ok() { 0 } else { full + 1 };
        std::thread::sleep(Duration::from_millis(if full > 0 { 10 } else { 0 }));
    }
    std::mem::forget(listener);
    near
}

fn ignore_signals() {
    for signal in 1..32 {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

fn send_with(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let parts = [std::io::IoSlice::new(bytes)];
    let _ = sendmsg(socket, &parts, &mut control, SendFlags::DONTWAIT);
}

fn hostile(how: &str) -> Group {
    let env = vec![(b"HOSTILE".to_vec(), Some(how.as_bytes().to_vec()))];
    Group { env, shutdown: Duration::from_millis(500), ..group("bad", 1, 1) }
}

/// Runs beside a group that must not notice, until something is in the log.
fn beside(bad: Group, said: &str) -> Server {
    let server = Server::new(vec![bad, group("g", 1, 2)]);
    assert_eq!(server.text("hello"), "Hello");
    let supervisor = server.supervisor();
    let (load, ()) = server.load(2, "hello", || server.until_logged(said));
    assert!(load.bad.is_empty(), "{:?}", load.bad);
    assert_eq!(server.supervisor(), supervisor);
    assert!(is_alive(supervisor));
    server
}

fn rubbish_on_the_control_socket() {
    let mut server = beside(hostile("rubbish"), "Unable to understand a process");
    let supervisor = server.supervisor();
    server.until_logged("Process 'bad'");
    // Whatever it sends with it is closed again.
    until("few descriptors", || descriptors(supervisor) < 60);
    server.stop();
}

fn floods_on_the_control_socket() {
    let bad = Group { startup: Duration::from_secs(60), ..hostile("flood") };
    let mut server = beside(bad, "WSGI65535");
    assert_eq!(server.text("hello"), "Hello");
    let supervisor = server.supervisor();
    let status = std::fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let memory: u64 = memory.split_whitespace().next().unwrap().parse().unwrap();
    assert!(memory < 40_000, "{memory} KiB");
    // What it says is one line, whatever it says.
    let log = server.log();
    assert!(log.lines().all(|line| line.starts_with('[')), "{}", &log[..2_000]);
    server.stop();
}

fn a_control_socket_that_is_closed() {
    let mut server = beside(hostile("close"), "has closed what it is controlled by; ending it");
    server.until_logged("Shutdown timeout expired; aborting process 'bad'");
    server.until_logged("terminated by signal 9 (SIGKILL)");
    server.stop();
}

fn a_worker_that_is_never_ready_and_ignores_signals() {
    let bad = Group { startup: Duration::from_millis(500), ..hostile("silent") };
    let server = beside(bad, "is not ready in time");
    server.until_logged("Process 'bad' (pid=");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("is not ready in time")).unwrap();
    let pid = line.split("(pid=").nth(1).unwrap().split(')').next().unwrap();
    until_gone(pid.parse().unwrap());
}

fn status_memory_that_is_nonsense() {
    let mut server = beside(hostile("status"), "it was running: ");
    let log = server.log();
    let line = log.lines().find(|line| line.contains("it was running: ")).unwrap();
    assert!(line.len() < 4_000 && line.is_ascii(), "{line}");
    server.stop();
}

fn descriptors_that_cannot_be_closed() {
    // So that the kernel does not refuse them.
    let bad = Group { scoreboard: true, ..hostile("linger") };
    let server = beside(bad, "here is a gift");
    // The supervisor does what it has to do.
    let pid = server.pid();
    kill(pid, libc::SIGKILL);
    until_gone(pid);
    assert_eq!(server.text("hello"), "Hello");
    // Nobody may do so for long.
    server.until_logged("A process hands over what cannot be closed.");
    server.until_logged("has closed what it is controlled by; ending it");
    until("few descriptors", || descriptors(server.supervisor()) < 400);
    let (mut server, begun) = (server, Instant::now());
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(60), "nor does the server");
}

fn rubbish_from_a_child() {
    let mut server = Server::new(vec![group("g", 1, 4)]);
    let pid = server.pid();
    let channel = server.channel();
    let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let file = tempfile::tempfile().unwrap();
    let kind = rustix::net::SocketType::SEQPACKET;
    let (unread, _reader) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let purpose = Purpose::Requests { domain: 0 };
    let good = Connect { group: 0, slot: 0, epoch: 1, purpose };
    for round in 0..200u32 {
        let _ = send(channel, &vec![round as u8; round as usize], SendFlags::empty());
        let _ = send(channel, &good.encode(), SendFlags::empty());
        for (connect, fd) in [
            (Connect { group: u32::MAX, ..good }, stream.as_fd()),
            (Connect { slot: u32::MAX, ..good }, stream.as_fd()),
            (Connect { epoch: round, ..good }, pipe.as_fd()),
            (Connect { epoch: round, ..good }, file.as_fd()),
            // A connection of nobody, for a domain that is not there.
            (Connect { purpose: Purpose::Requests { domain: u16::MAX }, ..good }, stream.as_fd()),
            // Nowhere to answer, and nobody who reads the answer.
            (Connect { purpose: Purpose::Inquiry, ..good }, stream.as_fd()),
            (Connect { purpose: Purpose::Inquiry, ..good }, pipe.as_fd()),
            (Connect { purpose: Purpose::Inquiry, ..good }, unread.as_fd()),
        ] {
            send_with(channel, &connect.encode(), fd);
        }
        assert!(server.ask("g", "hello", &Ask::default()).is_hello());
    }
    assert_eq!(server.pid(), pid, "the worker, too, has taken no harm");
    let supervisor = server.supervisor();
    until("few descriptors", || descriptors(supervisor) < 40 && descriptors(pid) < 40);
    server.stop();
}

fn a_group_that_always_reloads_leaves_others_their_turn() {
    let code = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(code.path(), "one").unwrap();
    let file = payload(&[("file", code.path().to_str().unwrap())]);
    let mut server =
        Server::new(vec![hostile("reload"), Group { payload: file, ..group("g", 1, 2) }]);
    assert_eq!(server.text("hello"), "Hello");
    let generations = |server: &Server| server.log().matches("'bad' runs generation").count();
    until("reloads without end", || generations(&server) > 3);
    std::fs::write(code.path(), "two").unwrap();
    let response = server.get("hello");
    assert!(response.is_hello() && response.name.ends_with("version two"), "{response:?}");
    assert!(server.ask("bad", "hello", &Ask::default()).is_hello(), "it serves all the same");
    server.stop();
}

fn a_channel_that_a_child_has_shut_down() {
    let mut server = Server::new(vec![group("g", 1, 2)]);
    let pid = server.pid();
    let first = server.supervisor();
    rustix::net::shutdown(server.channel(), rustix::net::Shutdown::Both).unwrap();
    server.until_logged("has shut down the channel");
    // What there is goes on, and the supervisor has nothing to do.
    assert_eq!(server.pid(), pid);
    let before = processor_time(first);
    std::thread::sleep(Duration::from_millis(500));
    let used = processor_time(first) - before;
    assert!(used < 10, "hundredths of a second: {used}");
    // A new child cannot connect, until the server is restarted.
    server.renew();
    let error = server.get("hello").error.unwrap();
    assert_eq!(error.kind(), ErrorKind::NoSupervisor);
    server.restart(vec![Group { keep: true, ..group("g", 1, 2) }]);
    assert_eq!(server.text("hello"), "Hello");
    assert_ne!(server.supervisor(), first);
    server.stop();
}
