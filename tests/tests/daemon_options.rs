//! Options of `WSGIDaemonProcess` as the application finds them: who it is, where it is, what it may
//! use, what it is told.

#![allow(clippy::unwrap_used)]

use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tests::process::{Process, wait_for};
use tests::{Load, Mpm, Server, Site, matrix};

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
        // The engine may be of another patch level.
        server.log().allow("Compiled for Python/");
        server.log().allow("Runtime using Python/");
        server.stop();
    });
}

#[test]
fn root_only_if_that_is_said() {
    if !is_root() {
        return;
    }
    let refused = Site::new(Mpm::Event, &matrix::python()).conf("WSGIDaemonProcess d user=root");
    let check = refused.check();
    assert!(!check.ok && check.output.contains("blocked from running as root"), "{}", check.output);
    assert_eq!(with("user=root allow-root=On")["uid"], 0);
}

#[test]
fn an_owner_of_no_socket() {
    let found = with("socket-user=nobody");
    assert_eq!(found["uid"], with("")["uid"]);
}

const SOON: Duration = Duration::from_secs(30);

/// An application that takes a while to load, and says when it has.
fn slow(options: &str, import: f64) -> Server {
    let script = format!(
        "import os, time\ntime.sleep({import})\n\
         open(os.path.join(os.environ['TEST_DIR'], str(os.getpid())), 'w').close()\n\
         def application(environ, start_response):\n    \
             start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n"
    );
    let site = Site::new(Mpm::Event, &matrix::python());
    let notes = site.writable("notes").to_str().unwrap().to_owned();
    site.env("TEST_DIR", &notes)
        .conf(format!("WSGIDaemonProcess d {options}\nWSGIProcessGroup d"))
        .conf("WSGIApplicationGroup %{GLOBAL}")
        .mount("/", "app.wsgi", &script)
        .start()
}

fn pid(server: &Server) -> u32 {
    server.get("/").with_status(200).text().parse().unwrap()
}

/// The processes that have loaded the application.
fn loaded(server: &Server) -> BTreeSet<u32> {
    let notes = std::fs::read_dir(server.site().path("notes")).unwrap().flatten();
    notes.filter_map(|note| note.file_name().to_str()?.parse().ok()).collect()
}

#[test]
fn a_spare_takes_over_at_once() {
    const IMPORT: f64 = 4.0;
    let server = slow("spare=1", IMPORT);
    server.log().allow("terminated by signal 9");
    let first = pid(&server);
    let both = wait_for(SOON, || Some(loaded(&server)).filter(|found| found.len() == 2));
    let both = both.unwrap_or_else(|| panic!("{:?}", loaded(&server)));
    // It stands by, and does nothing as long as there is another.
    for _ in 0..20 {
        assert_eq!(pid(&server), first);
    }
    Process { pid: first }.signal(Signal::KILL);
    Process { pid: first }.await_end();
    let begun = Instant::now();
    let second = pid(&server);
    assert!(begun.elapsed().as_secs_f64() < IMPORT, "{:?}", begun.elapsed());
    assert!(second != first && both.contains(&second));
    // And there is another spare.
    let third = wait_for(SOON, || (loaded(&server).len() == 3).then_some(()));
    assert!(third.is_some(), "{:?}", loaded(&server));
    server.stop();
}

/// Most processes there are while those of a group are replaced, and whether a request fails.
fn most_while_replaced(options: &str) -> usize {
    let server = slow(options, 0.5);
    let three = wait_for(SOON, || Some(server.workers("d")).filter(|found| found.len() == 3));
    let before = three.unwrap();
    pid(&server);
    let load = Load::start(server.address(), 2, "/", |response| response.status == 200);
    // What is asked of one process is done to all of its group.
    for worker in &before {
        worker.signal(Signal::USR1);
    }
    let mut most = 0;
    let done = wait_for(SOON, || {
        let now = server.workers("d");
        most = most.max(now.len());
        (now.len() == 3 && !now.iter().any(|one| before.contains(one))).then_some(())
    });
    assert!(done.is_some(), "{:?} after {before:?}", server.workers("d"));
    load.finish();
    server.stop();
    most
}

#[test]
fn swaps_that_overlap_and_swaps_one_after_another() {
    let overlap = most_while_replaced("processes=3 swap=overlap");
    assert!((5..=6).contains(&overlap), "{overlap}");
    let rolling = most_while_replaced("processes=3 swap=rolling");
    assert!((4..=5).contains(&rolling) && rolling < overlap, "{rolling} and {overlap}");
}

/// Each option, and each signal, with the test that shows what it does: `file::function`.
const SHOWN: &[(&str, &str)] = &[
    ("user", "daemon_options::users_and_groups"),
    ("group", "daemon_options::users_and_groups"),
    ("supplementary-groups", "daemon_options::users_and_groups"),
    ("processes", "daemon_options::numbers_of_threads_and_processes"),
    ("threads", "daemon_options::numbers_of_threads_and_processes"),
    ("umask", "daemon_options::directories_and_paths"),
    ("chroot", "daemon_chroot::an_application_in_a_root_of_its_own"),
    ("home", "daemon_options::directories_and_paths"),
    ("lang", "daemon_options::language_title_and_interval"),
    ("locale", "daemon_options::language_title_and_interval"),
    ("python-home", "daemon_options::each_group_has_its_own_python_home"),
    ("python-path", "daemon_options::directories_and_paths"),
    ("python-eggs", "daemon_options::directories_and_paths"),
    ("switch-interval", "daemon_options::language_title_and_interval"),
    ("stack-size", "daemon_timers::memory_limit_and_stack_size"),
    ("maximum-requests", "daemon_timers::maximum_requests"),
    ("startup-timeout", "daemon_timers::startup_timeout"),
    ("shutdown-timeout", "daemon_timers::graceful_and_shutdown_timeout"),
    ("deadlock-timeout", "daemon_timers::deadlock_timeout"),
    ("inactivity-timeout", "daemon_timers::inactivity_timeout"),
    ("request-timeout", "daemon_limits::request_timeout"),
    ("interrupt-timeout", "daemon_timers::d20_interrupt_timeout"),
    ("graceful-timeout", "daemon_timers::graceful_and_shutdown_timeout"),
    ("eviction-timeout", "daemon_timers::eviction_timeout"),
    ("restart-interval", "daemon_timers::restart_interval"),
    ("connect-timeout", "daemon_limits::listen_backlog_and_connect_timeout"),
    ("socket-timeout", "daemon_limits::socket_timeout"),
    ("queue-timeout", "daemon_limits::queue_timeout"),
    ("listen-backlog", "daemon_limits::listen_backlog_and_connect_timeout"),
    ("display-name", "daemon_options::language_title_and_interval"),
    ("send-buffer-size", "daemon_limits::send_and_receive_buffer_size"),
    ("receive-buffer-size", "daemon_limits::send_and_receive_buffer_size"),
    ("header-buffer-size", "daemon_limits::header_buffer_size"),
    ("response-buffer-size", "daemon_limits::response_buffer_size"),
    ("response-socket-timeout", "daemon_limits::response_socket_timeout"),
    ("response-flush-delay", "daemon_limits::response_flush_delay"),
    ("socket-user", "daemon_options::an_owner_of_no_socket"),
    ("script-user", "groups::scripts_that_others_can_write_to_are_refused"),
    ("script-group", "groups::scripts_of_another_group_are_refused"),
    ("cpu-time-limit", "daemon_timers::cpu_time_limit"),
    ("cpu-priority", "daemon_options::limits"),
    ("memory-limit", "daemon_timers::memory_limit_and_stack_size"),
    ("virtual-memory-limit", "daemon_options::limits"),
    ("server-metrics", "metrics::one_group_may_know_of_the_server_and_another_may_not"),
    ("request-timeout-scaling", "daemon_limits::request_timeout"),
    ("swap", "daemon_options::swaps_that_overlap_and_swaps_one_after_another"),
    ("warm-up", "swaps::new_processes_answer_a_request_before_they_get_any"),
    ("buffer-limit", "slow_clients/room::a_group_has_a_limit_over_all_its_requests"),
    ("keep", "swaps::unchanged_groups_stay_if_they_are_to"),
    ("spare", "daemon_options::a_spare_takes_over_at_once"),
    ("allow-root", "daemon_options::root_only_if_that_is_said"),
    (
        "SIGTERM",
        "daemon_lifecycle::a_worker_that_is_told_to_end_is_replaced_without_a_failed_request",
    ),
    (
        "SIGINT",
        "daemon_lifecycle::a_worker_that_is_told_to_end_is_replaced_without_a_failed_request",
    ),
    ("SIGUSR1", "daemon_timers::graceful_and_shutdown_timeout"),
    ("SIGXCPU", "daemon_timers::cpu_time_limit"),
    ("SIGHUP", "daemon_module::signals_are_told_to_every_interpreter"),
    ("SIGUSR2", "daemon_module::signals_are_told_to_every_interpreter"),
    ("SIGKILL", "daemon_lifecycle::a_worker_killed_before_its_response"),
    ("signals to the supervisor", "daemon_lifecycle::signals_to_the_supervisor"),
];

#[test]
fn every_option_is_shown_by_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // Made from the table of options.
    let table = std::fs::read_to_string(root.join("../docs/daemon-process.md")).unwrap();
    let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let names: Vec<&str> = names.collect();
    assert!(names.len() >= 44, "{names:?}");
    for name in names {
        assert!(SHOWN.iter().any(|(shown, _)| *shown == name), "no test is named for {name}");
    }
    for (name, test) in SHOWN {
        let (file, function) = test.split_once("::").unwrap();
        let text = std::fs::read_to_string(root.join(format!("tests/{file}.rs"))).unwrap();
        assert!(text.contains(&format!("\nfn {function}() {{")), "{test} is not there");
        let given =
            name.starts_with("SIG") || name.contains(' ') || text.contains(&format!("{name}="));
        assert!(given, "{file} does not give {name}");
    }
}
