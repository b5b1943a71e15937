//! What waits for slow clients has its limits: of the disk, of the group, of memory. And it needs no
//! thread of Apache's.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tests::http::head;
use tests::{Mpm, Site, matrix};

use super::{
    BIG, BLOCK, SCRIPT, await_counts, body, counts, expect_pattern, reader, rest, site, timed,
    worst_of_a_file,
};

/// A file system of its own, of one MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Needs root.
    fn mount(path: &Path) -> Option<SmallDisk> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=1777", "none"]).arg(path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_holds_up_nobody_for_long() {
    let site = site().conf("Timeout 2\nSendBufferSize 65536");
    let Some(disk) = SmallDisk::mount(&site.writable("disk")) else {
        matrix::skip("a full disk", "a small file system cannot be mounted");
        return;
    };
    let server = site.conf(format!("WSGIBufferDirectory \"{}\"", disk.0.display())).start();
    // An upload is refused before anybody is asked.
    let _ = server.post("/upload", "text/plain", &vec![b'x'; 3 << 20]).with_status(507);
    assert_eq!(counts(&server), (0, 0));
    server.log().expect("WSGI0126: ");
    assert!(server.log().text().contains("it cannot be buffered in a file"));
    assert!(server.log().text().contains("No space left on device"));
    // One that finds room is not.
    let _ = server.post("/upload", "text/plain", &vec![b'x'; 500 << 10]).with_status(200);

    // As many responses as there are threads, to clients that take a little now and then.
    let begun = Instant::now();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = reader(server.address(), "/chunked");
            thread::spawn(move || {
                let (mut all, mut room) = (Vec::new(), vec![0; 16 << 10]);
                loop {
                    match client.stream().read(&mut room) {
                        Ok(0) | Err(_) => return all,
                        Ok(count) => all.extend_from_slice(&room[..count]),
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    timed(&server, "/");
    let time = begun.elapsed();
    assert!(time < Duration::from_secs(8), "{time:?}");
    // None of them looks complete.
    for client in clients {
        let got = client.join().unwrap();
        assert!(got.len() < BIG && !got.ends_with(b"0\r\n\r\n"), "{}", got.len());
    }
    for line in ["cannot be buffered in a file: No space", "is cut short: it cannot be buffered"] {
        server.log().expect(line);
        server.log().allow(line);
    }
    timed(&server, "/");
    drop(disk);
    server.stop();
}

#[test]
fn a_group_has_a_limit_over_all_its_requests() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .one_child(48)
        .conf(format!("WSGIDaemonProcess few threads=4 buffer-limit={}", 20 << 20))
        // What waits in the system is not counted.
        .conf("SendBufferSize 65536")
        .conf("WSGIProcessGroup few\nWSGIApplicationGroup x")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let ask = || reader(server.address(), "/big");
    let first = [ask(), ask()];
    await_counts(&server, (2, 0));
    let third = ask();
    server.log().expect("The buffer for a response to a slow client is full");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(counts(&server), (2, 0), "there is no room for three");
    // What a client has taken makes room for others, though Apache sends it without us.
    let [one, two] = first;
    assert_eq!(body(&rest(&one, Vec::new())).len(), BIG);
    await_counts(&server, (3, 0));
    for client in [two, third] {
        let all = rest(&client, Vec::new());
        assert_eq!(body(&all).len(), BIG);
        expect_pattern(body(&all));
    }
    server.stop();
}

#[test]
fn finished_responses_need_no_thread_of_apache() {
    let server = site().one_child(4).start();
    timed(&server, "/");
    let clients: Vec<_> = (0..7).map(|_| reader(server.address(), "/big")).collect();
    await_counts(&server, (7, 0));
    let file = worst_of_a_file(&server);
    let mut times: Vec<Duration> = (0..20).map(|_| timed(&server, "/")).collect();
    times.sort();
    // A thread that waits for a client would show in most of them, and by seconds.
    assert!(times[10] <= Duration::from_millis(50) + file, "{times:?}, a file {file:?}");
    matrix::note(&format!("7 responses wait, 4 threads, a request takes {:?}", times[10]));
    for client in clients {
        let all = rest(&client, Vec::new());
        assert_eq!(body(&all).len(), BIG);
        expect_pattern(body(&all));
    }
    server.stop();
}

#[test]
fn a_gibibyte_begins_at_once_and_takes_little_memory() {
    const MOST: u64 = 24 << 10;
    // Clients that take nothing are kept for as long as another takes a gibibyte.
    let server = site().conf("WSGIBufferLimit 16M\nTimeout 300").start();
    timed(&server, "/");
    let file = worst_of_a_file(&server);
    let children = server.children();
    let worker = server.worker("four");
    let sizes = || {
        let of_children = children.iter().map(|child| child.stats().unwrap().rss).max().unwrap();
        (of_children, worker.stats().unwrap().rss)
    };
    let before = sizes();
    let mut firsts = Vec::new();
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut client = server.connect();
        let begun = Instant::now();
        client.send(head("GET", "/gigabyte", &[], 0)).unwrap();
        let _ = client.response_head().unwrap().with_status(200);
        client.some().unwrap();
        firsts.push(begun.elapsed());
        all.push(client);
    }
    // The first comes while nothing else goes on; the others, beside applications that are as fast
    // as they can be.
    let first = firsts.iter().min().unwrap();
    assert!(*first <= Duration::from_millis(50) + file, "{firsts:?}, a file {file:?}");
    // Four clients take nothing now, and the limit is reached.
    server.log().expect("The buffer for a response to a slow client is full");
    thread::sleep(Duration::from_secs(1));
    let after = sizes();
    matrix::note(&format!("first bytes after {firsts:?}; memory {before:?}, then {after:?} KiB"));
    assert!(after.0 <= before.0 + MOST && after.1 <= before.1 + MOST, "{before:?}, {after:?}");
    if matrix::nightly("a gibibyte to its end") {
        let client = all.pop().unwrap();
        let length = rest(&client, Vec::new()).len();
        assert!(length > 16_000 * BLOCK, "{length}");
        let end = sizes();
        assert!(end.0 <= before.0 + MOST && end.1 <= before.1 + MOST, "{before:?}, {end:?}");
    }
    server.log().allow("slow client");
    drop(all);
    server.stop();
}
