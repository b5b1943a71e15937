//! Daemon mode: groups that cannot start, each for a reason of its own. The reason is in the log,
//! clients get a 503 at once, the server starts, and other groups do not notice. And groups that
//! come, change and go with the configuration.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};
use tests::process::{Process, wait_for};
use tests::{Mpm, Server, Site, matrix};

const SCRIPT: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return ['{} {} {}'.format(os.getpid(), environ['mod_wsgi.process_group'],
        environ['wsgi.multithread']).encode()]
";

const SOON: Duration = Duration::from_secs(20);

/// A group `good` at `/`, and `bad` at `/bad`, with these options.
fn site(options: &str) -> Site {
    let site = Site::new(Mpm::Event, &matrix::python());
    let options = options.replace('@', site.dir().to_str().unwrap());
    site.conf("WSGIDaemonProcess good")
        .conf(format!("WSGIDaemonProcess bad {options}"))
        .conf("WSGIProcessGroup good")
        .conf("<Location /bad>\nWSGIProcessGroup bad\n</Location>")
        .mount("/", "app.wsgi", SCRIPT)
}

/// Holds that the group `bad` cannot be used, that the log says why, and that all else is well.
#[track_caller]
fn is_told(server: &Server, reason: &str) {
    let refused = wait_for(SOON, || (server.get("/bad").status == 503).then_some(()));
    assert!(refused.is_some(), "{:?}", server.get("/bad"));
    let begun = Instant::now();
    assert_eq!(server.get("/bad").status, 503);
    assert!(begun.elapsed() < Duration::from_secs(12), "after {:?}", begun.elapsed());
    server.log().expect(reason);
    server.log().expect("Daemon process 'bad' cannot take requests");
    for _ in 0..10 {
        assert!(server.get("/").with_status(200).text().contains(" good "));
    }
    // Back-off: the reason is not told as fast as it can be.
    assert!(server.log().matching(reason).len() < 15, "{}", server.log().text());
    server.log().allow("bad");
    server.log().allow("[wsgi:error]");
}

#[test]
fn a_home_that_is_not_there() {
    let server = site("python-home=/no/such/python").start();
    is_told(&server, "Daemon process 'bad' has no Python: ");
    server.stop();
}

#[test]
fn a_home_that_is_no_python() {
    let site = site("python-home=@/empty");
    site.write("empty/readme", "nothing else");
    let server = site.start();
    is_told(&server, "Daemon process 'bad' has no Python: ");
    server.stop();
}

#[test]
fn a_program_that_is_no_worker() {
    let site = site("python-home=@/fake");
    let program = site.write("fake/bin/python3", "#!/bin/sh\necho I am no Python >&2\nexit 3\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let server = site.start();
    let told = wait_for(SOON, || {
        let log = server.log();
        let no = log.matching("I am no Python").len() + log.matching("has no Python").len();
        (no > 0).then_some(())
    });
    assert!(told.is_some(), "{}", server.log().text());
    is_told(&server, "'bad'");
    server.stop();
}

#[test]
fn a_python_that_has_no_engine() {
    // As if the build had none for it: a Python that looks for it in another directory.
    let site = site("python-home=@/other");
    let real = matrix::python().prefix.join("bin/python3");
    let text = format!("#!/bin/sh\nexec '{}' \"$1\" \"$2\" /no/such/engines x\n", real.display());
    let program = site.write("other/bin/python3", text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let server = site.start();
    is_told(&server, "mod_wsgi has no engine for ");
    server.stop();
}

#[test]
fn a_working_directory_that_may_not_be_entered() {
    if !rustix::process::geteuid().is_root() {
        return matrix::skip("a directory of somebody else's", "only root can make one");
    }
    let site = site("home=@/closed");
    site.write("closed/file", "");
    let closed = site.path("closed");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&closed, mode).unwrap();
    let server = site.start();
    is_told(&server, "Unable to start process 'bad'");
    let line = server.log().matching("Unable to start process 'bad'").remove(0);
    assert!(line.raw.contains("closed"), "{}", line.raw);
    assert!(line.raw.contains("Permission denied"), "{}", line.raw);
    server.stop();
}

#[test]
fn it_works_when_the_reason_is_gone() {
    let site = site("python-home=@/later");
    let home = site.path("later");
    let server = site.start();
    is_told(&server, "Daemon process 'bad' has no Python: ");
    std::os::unix::fs::symlink(&matrix::python().prefix, &home).unwrap();
    let works =
        wait_for(Duration::from_secs(60), || (server.get("/bad").status == 200).then_some(()));
    assert!(works.is_some(), "{}", server.log().text());
    server.stop();
}

/// Process, group and threads that a path is served by.
fn served(server: &Server, path: &str) -> (Process, String) {
    let text = server.get(path).with_status(200).text();
    let (pid, rest) = text.split_once(' ').unwrap();
    (Process { pid: pid.parse().unwrap() }, rest.to_owned())
}

fn lines(path: &Path, groups: &[(&str, &str)]) -> String {
    let groups = groups.iter().map(|(name, options)| {
        let script = path.display();
        format!(
            "WSGIDaemonProcess {name} {options}\n\
             WSGIScriptAlias /{name} {script} process-group={name}\n"
        )
    });
    groups.collect()
}

#[test]
fn groups_come_change_and_go() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let script = site.write("app.wsgi", SCRIPT);
    let conf = site.path("groups.conf");
    let write = |groups: &[(&str, &str)]| std::fs::write(&conf, lines(&script, groups)).unwrap();
    write(&[("one", ""), ("two", "threads=3")]);
    let mut server = site.conf(format!("Include {}", conf.display())).start();
    let (one, _) = served(&server, "/one");
    let (two, text) = served(&server, "/two");
    assert_eq!(text, "two True");
    // One goes, one changes, one comes.
    write(&[("two", "threads=1"), ("three", "")]);
    server.graceful();
    assert_eq!(served(&server, "/three").1, "three True");
    one.await_end();
    two.await_end();
    assert_eq!(served(&server, "/two").1, "two False");
    assert_eq!(server.get("/one").status, 404);
    assert_eq!(server.workers("one"), []);
    // All go; so does what ran them.
    write(&[]);
    server.graceful();
    let gone = wait_for(SOON, || server.workers("two").is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", server.workers("two"));
    // And come again.
    write(&[("one", "processes=2")]);
    server.graceful();
    assert_eq!(server.get("/one").status, 200, "{}", server.log().text());
    let two = wait_for(SOON, || (server.workers("one").len() == 2).then_some(()));
    assert!(two.is_some(), "{:?}", server.workers("one"));
    server.stop();
}
