//! Options of `WSGIDaemonProcess` as the application finds them: who it is, where it is, what it may
//! use, what it is told.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use tests::{Mpm, Server, Site, matrix};

const SCRIPT: &str = r#"
import grp, json, os, pwd, resource, sys

def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    limit = lambda name: list(resource.getrlimit(getattr(resource, name)))
    with open('/proc/self/cmdline', 'rb') as file:
        title = file.read().rstrip(b' \0').split(b'\0')[0].decode()
    found = {
        'uid': os.getuid(), 'euid': os.geteuid(), 'gid': os.getgid(), 'egid': os.getegid(),
        'groups': sorted(os.getgroups()),
        'umask': umask, 'cwd': os.getcwd(), 'path': sys.path, 'nice': os.nice(0),
        'cpu': limit('RLIMIT_CPU'), 'data': limit('RLIMIT_DATA'), 'space': limit('RLIMIT_AS'),
        'interval': round(sys.getswitchinterval(), 6), 'title': title,
        'prefix': sys.prefix,
        'environment': {name: value for name, value in os.environ.items() if name.isupper()},
        'group': environ['mod_wsgi.process_group'],
        'multithread': environ['wsgi.multithread'],
        'multiprocess': environ['wsgi.multiprocess'],
        'run_once': environ['wsgi.run_once'],
    }
    body = json.dumps(found).encode()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [body]
"#;

/// A server with these lines, in which the application is `/`, in the group `d`.
fn serve(lines: &str) -> Server {
    Site::new(Mpm::Event, &matrix::python())
        .conf(lines)
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .start()
}

fn found(server: &Server) -> Value {
    serde_json::from_str(&server.get("/").with_status(200).text()).unwrap()
}

/// What the application finds in a group with these options.
#[track_caller]
fn with(options: &str) -> Value {
    let server = serve(&format!("WSGIDaemonProcess d {options}"));
    let found = found(&server);
    server.stop();
    found
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        matrix::skip("users of process groups", "only root can become somebody else");
    }
    root
}

/// Number and home of a user, and number of the user's own group.
fn user(name: &str) -> (u32, u32, String) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    let fields: Vec<_> = line.split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap(), fields[5].to_owned())
}

#[test]
fn without_options() {
    let server = serve("WSGIDaemonProcess d");
    let found = found(&server);
    assert_eq!(found["group"], "d");
    assert_eq!(found["multithread"], true);
    assert_eq!(found["multiprocess"], false);
    assert_eq!(found["run_once"], false);
    assert_eq!(found["environment"].get("NOTIFY_SOCKET"), None);
    // It is who the children are.
    let child = server.children().pop().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(found["uid"], of("Uid:"));
    assert_eq!(found["gid"], of("Gid:"));
    assert_eq!(found["uid"], found["euid"]);
    assert_eq!(found["gid"], found["egid"]);
    server.stop();
}

#[test]
fn users_and_groups() {
    if !is_root() {
        return;
    }
    let (uid, own, home) = user("daemon");
    let apache = with("")["gid"].clone();
    let found = with("user=daemon");
    assert_eq!(found["uid"], uid);
    // Apache's group, and those the user is in.
    assert_eq!(found["gid"], apache);
    assert!(found["groups"].as_array().unwrap().contains(&apache));
    assert_eq!(found["cwd"], home);
    assert_eq!(found["environment"]["HOME"], home);

    let found = with("user=daemon group=daemon supplementary-groups=#77,#78");
    assert_eq!((&found["uid"], &found["gid"]), (&json!(uid), &json!(own)));
    assert_eq!(found["groups"], json!([own, 77, 78]));
}

#[test]
fn directories_and_paths() {
    let site = Site::new(Mpm::Event, &matrix::python());
    site.write("home/marker.txt", "");
    site.write("first/one.py", "");
    site.write("second/two.py", "");
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (home, first, second) = (path("home"), path("first"), path("second"));
    let server = site
        .conf(format!(
            "WSGIDaemonProcess d home={home} python-path={first}:{second} umask=0027 \
             python-eggs={first}"
        ))
        .conf("WSGIProcessGroup d")
        .mount("/", "app.wsgi", SCRIPT)
        .start();
    let found = found(&server);
    assert_eq!(found["cwd"], home);
    assert_eq!(found["umask"], 0o027);
    let paths: Vec<_> = found["path"].as_array().unwrap().iter().take(3).collect();
    assert_eq!(paths, [&json!(home), &json!(first), &json!(second)]);
    assert_eq!(found["environment"]["PYTHON_EGG_CACHE"], first);
    server.stop();
}

#[test]
fn limits() {
    let found = with(
        "cpu-time-limit=100 memory-limit=2147483648 virtual-memory-limit=34359738368 \
         shutdown-timeout=7",
    );
    assert_eq!(found["cpu"], json!([100, 108]));
    assert_eq!(found["data"], json!([2147483648u32, 2147483648u32]));
    assert_eq!(found["space"], json!([34359738368u64, 34359738368u64]));
    let before = with("")["nice"].as_i64().unwrap();
    let nice = (before + 3).min(19);
    let found = with(&format!("cpu-priority={nice}"));
    assert_eq!(found["nice"], nice);
}

#[test]
fn language_title_and_interval() {
    let found = with("lang=C.UTF-8 locale=C.UTF-8 switch-interval=0.02 display-name=%{GROUP}");
    assert_eq!(found["environment"]["LANG"], "C.UTF-8");
    assert_eq!(found["environment"]["LC_ALL"], "C.UTF-8");
    assert_eq!(found["interval"], 0.02);
    assert_eq!(found["title"], "(wsgi:d)");
    assert_eq!(with("display-name=shop")["title"], "shop");
}

#[test]
fn numbers_of_threads_and_processes() {
    let found = with("processes=1 threads=1");
    assert_eq!((&found["multiprocess"], &found["multithread"]), (&json!(true), &json!(false)));
    assert_eq!(found["run_once"], false);
    let found = with("processes=2 threads=2");
    assert_eq!((&found["multiprocess"], &found["multithread"]), (&json!(true), &json!(true)));
    let found = with("threads=1 maximum-requests=1");
    assert_eq!(found["run_once"], true);
}

#[test]
fn directives_15_the_option_wins_over_the_directive() {
    let server = serve("WSGISwitchInterval 0.03\nWSGIDaemonProcess d switch-interval=0.02");
    assert_eq!(found(&server)["interval"], 0.02);
    server.stop();
    let server = serve("WSGISwitchInterval 0.03\nWSGIDaemonProcess d");
    assert_eq!(found(&server)["interval"], 0.03);
    server.stop();
}

#[test]
fn each_group_has_its_own_python_home() {
    matrix::for_each_python(|python| {
        let prefix = python.prefix.to_str().unwrap().to_owned();
        let server = serve(&format!("WSGIDaemonProcess d python-home={prefix}"));
        assert_eq!(found(&server)["prefix"], prefix);
        server.stop();
    });
}
