//! Daemon mode: whatever an application says, and however, is in the log of the server it belongs
//! to, in that log's format, through renames, pipes and deaths.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tests::process::{Process, wait_for};
use tests::{GROUP, Mode, Mpm, Server, Site, matrix};

/// Speaks in every way there is: when it is loaded, in a request, from a thread, past Python.
const SCRIPT: &str = r#"
import ctypes, logging, os, sys, threading

def speak(where):
    print('%s print' % where)
    sys.stderr.write('%s stderr\n' % where)
    logging.getLogger().warning('%s logging', where)
    os.write(1, b'%s fd1\n' % where.encode())
    os.write(2, b'%s fd2\n' % where.encode())
    ctypes.CDLL(None).dprintf(2, b'%s %s\n', where.encode(), b'C')

speak('START')

def application(environ, start_response):
    tag = environ['QUERY_STRING']
    environ['wsgi.errors'].write('%s-REQUEST errors\n' % tag)
    speak('%s-REQUEST' % tag)
    thread = threading.Thread(target=speak, args=['%s-THREAD' % tag])
    thread.start()
    thread.join()
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
"#;

/// Ways of [`SCRIPT`]'s to say something, but for `wsgi.errors`.
const WAYS: [&str; 6] = ["print", "stderr", "logging", "fd1", "fd2", "C"];

const SOON: Duration = Duration::from_secs(30);

/// The lines of a file that say this, once there is one.
#[track_caller]
fn said(file: &Path, what: &str) -> Vec<String> {
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    };
    let found = wait_for(SOON, || {
        let text = fs::read(file).unwrap_or_default();
        let lines = lines(&String::from_utf8_lossy(&text));
        (!lines.is_empty()).then_some(lines)
    });
    found.unwrap_or_else(|| {
        let text = fs::read_to_string(file).unwrap_or_default();
        panic!("{} does not say: {what}\n{text}", file.display())
    })
}

/// All that was said there is in the file, each thing once, as `good` wants it.
#[track_caller]
fn all_said(file: &Path, place: &str, good: impl Fn(&str) -> bool) {
    for way in WAYS {
        let lines = said(file, &format!("{place} {way}"));
        assert_eq!(lines.len(), 1, "{lines:#?}");
        let line = &lines[0];
        assert!(good(line), "{line}");
        assert!(line.ends_with(&format!("{place} {way}")), "{line}");
    }
}

/// None of it is in this file.
#[track_caller]
fn nothing_said(file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_default();
    for place in ["START", "-REQUEST", "-THREAD"] {
        for way in WAYS {
            assert!(!text.contains(&format!("{place} {way}")), "{text}");
        }
    }
}

/// Alias and preload of the script.
fn mount(site: &Site, group: &str) -> String {
    let path = site.write("app.wsgi", SCRIPT);
    let path = path.display();
    format!("WSGIScriptAlias / {path} process-group={group} application-group=%{{GLOBAL}}")
}

fn of_wsgi(line: &str) -> bool {
    line.contains(" [wsgi:error] [pid ")
}

fn main_log(server: &Server) -> PathBuf {
    server.site().path("error.log")
}

#[track_caller]
fn ask(server: &Server, tag: &str) {
    assert_eq!(server.get(&format!("/?{tag}")).status, 200);
}

#[test]
fn everything_is_in_the_log_with_what_belongs_to_it() {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let lines = mount(&site, GROUP);
    let server = site.conf(lines).start();
    server.log().allow("[wsgi:error]");
    let log = main_log(&server);
    all_said(&log, "START", of_wsgi);
    ask(&server, "one");
    let client = |line: &str| of_wsgi(line) && line.contains("] [client 127.0.0.1:");
    for way in ["print", "stderr", "logging"] {
        let lines = said(&log, &format!("one-REQUEST {way}"));
        assert!(lines.len() == 1 && client(&lines[0]), "{lines:?}");
    }
    assert!(client(&said(&log, "one-REQUEST errors")[0]));
    all_said(&log, "one-REQUEST", of_wsgi);
    // Nobody knows whose it is: no client is named, rather than a wrong one. But who has said it is
    // known.
    let own = format!("[pid {}:", server.worker(GROUP).pid);
    let of_worker = |line: &str| of_wsgi(line) && line.contains(&own);
    all_said(&log, "START", of_worker);
    all_said(&log, "one-THREAD", |line| of_worker(line) && !line.contains("[client "));
    server.stop();
}

#[test]
fn a_log_is_renamed_and_the_server_told() {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let lines = mount(&site, GROUP);
    let mut server = site.conf(lines).start();
    server.log().allow("[wsgi:error]");
    let (log, old) = (main_log(&server), server.site().path("error.old"));
    all_said(&log, "START", of_wsgi);
    let first = server.worker(GROUP);
    fs::rename(&log, &old).unwrap();
    ask(&server, "before");
    // Nobody was told yet: it is where it was.
    all_said(&old, "before-REQUEST", of_wsgi);
    all_said(&old, "before-THREAD", of_wsgi);
    server.graceful();
    first.await_end();
    all_said(&log, "START", of_wsgi);
    ask(&server, "after");
    all_said(&log, "after-REQUEST", of_wsgi);
    all_said(&log, "after-THREAD", of_wsgi);
    let text = fs::read_to_string(&old).unwrap();
    assert!(!text.contains("after-"), "{text}");
    server.stop();
}

#[test]
fn logging_outlives_the_supervisor() {
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let lines = mount(&site, GROUP);
    let server = site.conf(lines).start();
    server.log().allow("[wsgi:error]");
    let log = main_log(&server);
    all_said(&log, "START", of_wsgi);
    let worker = server.worker(GROUP);
    let supervisor = server.supervisor();
    supervisor.signal(Signal::KILL);
    supervisor.await_end();
    // Said while nobody listens.
    ask(&server, "alone");
    server.log().expect("The process supervisor has died; starting another one.");
    all_said(&log, "alone-REQUEST", of_wsgi);
    all_said(&log, "alone-THREAD", of_wsgi);
    ask(&server, "again");
    all_said(&log, "again-THREAD", of_wsgi);
    assert_eq!(server.worker(GROUP), worker);
    server.stop();
}

/// A server whose group belongs to a virtual host with this log.
fn in_virtual_host(log: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python());
    let mount = mount(&site, "own");
    let log = log.replace('@', site.dir().to_str().unwrap());
    let server = site
        .conf("<VirtualHost *>\nServerName localhost")
        .conf(format!("ErrorLog \"{log}\"\nErrorLogFormat \"FORM %l %m %P %M\""))
        .conf("WSGIDaemonProcess own")
        .conf(mount)
        .conf("</VirtualHost>")
        .start();
    server.log().allow("[wsgi:error]");
    server
}

fn in_format(line: &str) -> bool {
    line.starts_with("FORM error wsgi ")
}

#[test]
fn a_group_of_a_virtual_host_has_its_log_and_format() {
    let server = in_virtual_host("@/own.log");
    let own = server.site().path("own.log");
    all_said(&own, "START", in_format);
    ask(&server, "one");
    all_said(&own, "one-REQUEST", in_format);
    let worker = server.worker("own");
    let by_worker = |line: &str| line.starts_with(&format!("FORM error wsgi {} ", worker.pid));
    all_said(&own, "START", by_worker);
    all_said(&own, "one-THREAD", by_worker);
    worker.signal(Signal::KILL);
    let deaths = said(&own, "terminated by signal 9");
    assert!(deaths.len() == 1 && in_format(&deaths[0]), "{deaths:?}");
    nothing_said(&main_log(&server));
    server.stop();
}

#[test]
fn a_log_is_a_program() {
    let server = telling_a_program("|$cat >> @/piped.log", "piped.log");
    // The end of the old process is told, too, to a program that was there to hear it.
    let begins = said(&server.site().path("piped.log"), "START print");
    assert_eq!(begins.len(), 2, "{begins:?}");
    server.stop();
}

/// As [`a_log_is_a_program`], with the program that people use, and a size after which it takes
/// another file.
#[test]
fn a_log_is_rotated_by_a_program() {
    let places =
        ["/usr/bin/rotatelogs", "/usr/sbin/rotatelogs", "/usr/local/apache2/bin/rotatelogs"];
    let Some(program) = places.into_iter().find(|place| Path::new(place).exists()) else {
        return matrix::skip("rotatelogs", "it is not installed");
    };
    telling_a_program(&format!("|{program} -n 3 @/rotated.log 1M"), "rotated.log").stop();
}

/// A server whose log is a program that writes to `file`, and has what a group says before and after
/// a graceful restart. A new program begins where it finds the file.
fn telling_a_program(log: &str, file: &str) -> Server {
    let mut server = in_virtual_host(log);
    let written = server.site().path(file);
    all_said(&written, "START", in_format);
    ask(&server, "one");
    all_said(&written, "one-REQUEST", in_format);
    all_said(&written, "one-THREAD", in_format);
    let first = server.worker("own");
    server.graceful();
    first.await_end();
    ask(&server, "two");
    all_said(&written, "two-REQUEST", in_format);
    all_said(&written, "two-THREAD", in_format);
    nothing_said(&main_log(&server));
    server
}

/// Runs what follows where `/dev` is this directory, with the devices that programs need.
const OTHER_DEV: &str = r#"
dev=$1; shift
for name in null zero full random urandom; do
    : > "$dev/$name"
    mount --bind "/dev/$name" "$dev/$name" || exit 1
done
mkdir -p "$dev/shm" "$dev/pts"
mount --bind /dev/shm "$dev/shm"
ln -sf /proc/self/fd "$dev/fd"
mount --rbind "$dev" /dev || exit 1
exec "$@"
"#;

/// All that comes to the system's log, in a file.
fn syslog(dev: &Path, into: &Path) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let socket = UnixDatagram::bind(dev.join("log"))?;
    fs::set_permissions(dev.join("log"), fs::Permissions::from_mode(0o666))?;
    let mut file = fs::File::create(into)?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        // Until the test ends: it is a socket of this process.
        while let Ok(length) = socket.recv(&mut buffer) {
            let mut line = buffer[..length].to_vec();
            line.retain(|byte| *byte != 0);
            line.push(b'\n');
            if file.write_all(&line).is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[test]
fn a_log_is_the_systems() {
    let able = std::process::Command::new("unshare").args(["-m", "true"]).status();
    if !able.is_ok_and(|status| status.success()) {
        return matrix::skip("syslog", "only root can put a socket where it belongs");
    }
    let site = Site::new(Mpm::Event, &matrix::python());
    let dev = site.path("dev");
    fs::create_dir(&dev).unwrap();
    let said = site.path("syslog");
    syslog(&dev, &said).unwrap();
    let mount = mount(&site, "own");
    let directory = dev.to_str().unwrap().to_owned();
    let server = site
        .under(&["unshare", "-m", "sh", "-c", OTHER_DEV, "sh", &directory])
        .conf("<VirtualHost *>\nServerName localhost")
        .conf("ErrorLog syslog:local5:shop")
        .conf("WSGIDaemonProcess own")
        .conf(mount)
        .conf("</VirtualHost>")
        .start();
    // 21 * 8 is the facility, and the level is added.
    let in_syslog = |line: &str| line.starts_with("<171>") && line.contains(" shop");
    all_said(&said, "START", in_syslog);
    ask(&server, "one");
    all_said(&said, "one-REQUEST", in_syslog);
    all_said(&said, "one-THREAD", in_syslog);
    nothing_said(&main_log(&server));
    server.stop();
}

#[test]
fn levels_hold_for_all_that_is_said() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .log_level("warn")
        .mode(Mode::Daemon)
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    server.log().allow("[wsgi:error]");
    server.log().allow("terminated by signal 9");
    ask(&server, "one");
    let supervisor = server.supervisor();
    let worker = server.worker(GROUP);
    // Also where there is no relay any more: then its words go to the log directly.
    let relay = |process: &Process| {
        let mut others = server.children();
        others.extend([server.parent(), supervisor, worker]);
        !others.contains(process)
    };
    let relays: Vec<Process> = server.processes().into_iter().filter(relay).collect();
    assert_eq!(relays.len(), 1, "{relays:?}");
    relays[0].signal(Signal::KILL);
    relays[0].await_end();
    worker.signal(Signal::KILL);
    worker.await_end();
    ask(&server, "two");
    server.log().expect("terminated by signal 9");
    for line in server.log().lines() {
        assert!(!["info", "debug"].contains(&line.level.as_str()), "{}", line.raw);
    }
    server.stop();
}

/// `multiprocessing` and its kin: what a forked process says is heard while its parent's request runs,
/// and after that, from any of its threads.
#[test]
fn forked_processes_are_heard() {
    let script = r#"
import logging, os, sys, time

def application(environ, start_response):
    errors = environ['wsgi.errors']
    pid = os.fork()
    if pid == 0:
        print('CHILD stderr', file=sys.stderr)
        print('CHILD errors', file=errors)
        print('CHILD print')
        logging.getLogger().warning('CHILD logging')
        if os.fork() == 0:
            time.sleep(1)
            print('GRANDCHILD stderr', file=sys.stderr)
        os._exit(0)
    os.waitpid(pid, 0)
    start_response('200 OK', [])
    return [b'parent']
"#;
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let server = site.mount("/", "app.wsgi", script).start();
    server.log().allow("CHILD");
    assert_eq!(server.get("/").with_status(200).text(), "parent");
    let log = main_log(&server);
    for way in ["stderr", "errors", "print", "logging"] {
        let lines = said(&log, &format!(" CHILD {way}"));
        assert!(lines.len() == 1 && of_wsgi(&lines[0]), "{lines:#?}");
        assert!(lines[0].ends_with(&format!("CHILD {way}")), "{lines:#?}");
    }
    assert_eq!(said(&log, "GRANDCHILD stderr").len(), 1);
    assert_eq!(server.get("/").with_status(200).text(), "parent");
    server.stop();
}

#[test]
fn what_is_no_line_and_no_text_is_logged_too() {
    const ODD: &str = "
import os, sys
os.write(2, b'half')
os.write(2, b' and half\\n')
os.write(2, b'escape \\x1b[31m %s %n \\xff\\n')
os.write(2, b'long ' + b'x' * 20000 + b' end\\n')
sys.stderr.write('unfinished')
sys.stderr.flush()
def application(environ, start_response):
    start_response('200 OK', [])
    return []
";
    let site = Site::new(Mpm::Event, &matrix::python()).mode(Mode::Daemon);
    let path = site.write("odd.wsgi", ODD);
    let line = format!(
        "WSGIScriptAlias / {} process-group={GROUP} application-group=%{{GLOBAL}}",
        path.display()
    );
    let server = site.conf(line).start();
    server.log().allow("[wsgi:error]");
    assert_eq!(server.get("/").status, 200);
    let log = main_log(&server);
    assert_eq!(said(&log, "half and half").len(), 1);
    let odd = said(&log, "escape ");
    // Apache escapes what could fool a terminal; a format stays text.
    assert!(odd[0].contains("escape \\x1b[31m %s %n \\xff"), "{odd:?}");
    // A line that is too long for one record comes in several.
    said(&log, " end");
    let length: usize = said(&log, "xxxx").iter().map(|line| line.matches('x').count()).sum();
    assert!(length >= 20_000, "{length}");
    said(&log, "unfinished");
    server.stop();
}
