//! What applications are told of requests, process and server, with every Python.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;

use common::{Ask, Site, errors, scenario};
use scenario::patience::{finally, until};

const SCRIPT: &str = "
import mod_wsgi, os, threading, time
def application(environ, start_response):
    value = eval(environ['QUERY'])
    start_response('200 OK', [])
    return [repr(value).encode()]
";

fn ask(site: &Site, group: &str, query: &str) -> String {
    let mut ask = Ask::new(site, "app.wsgi");
    ask.group = group;
    ask.environ.push(("QUERY", query));
    ask.send().text().to_owned()
}

#[test]
fn keys_and_types() {
    scenario("keys_and_types", || {
        let site = Site::new();
        site.script("app.wsgi", 10, SCRIPT);
        let ask = |query: &str| ask(&site, "", query);
        assert_eq!(ask("mod_wsgi.request_metrics(), mod_wsgi.process_metrics()"), "(None, None)");
        assert_eq!(ask("mod_wsgi.start_recording_metrics()"), "None");
        assert_eq!(ask("mod_wsgi.server_metrics()"), "None", "nobody can be asked here");
        let keys = ask("len(mod_wsgi.request_metrics()), sorted(mod_wsgi.process_metrics())");
        let process = "['active_requests', 'cpu_system_time', 'cpu_time', 'cpu_user_time', \
                       'current_time', 'memory_max_rss', 'memory_rss', 'pid', 'request_busy_time', \
                       'request_count', 'request_threads', 'restart_time', 'running_time', \
                       'threads'])";
        assert_eq!(keys, format!("(66, {process}"));
        let types = "{type(value).__name__ for value in mod_wsgi.request_metrics().values()} \
                     == {'int', 'float', 'list', 'NoneType'}";
        assert_eq!(ask(types), "True");
        assert_eq!(ask("mod_wsgi.request_metrics()['request_threads_maximum']"), "25");
        assert_eq!(errors(), [""; 0]);
    });
}

#[test]
fn wrong_arguments() {
    scenario("wrong_arguments", || {
        let site = Site::new();
        site.script("app.wsgi", 10, SCRIPT);
        for name in
            ["start_recording_metrics", "request_metrics", "process_metrics", "server_metrics"]
        {
            let mut ask = Ask::new(&site, "app.wsgi");
            let query = format!("mod_wsgi.{name}(1)");
            ask.environ.push(("QUERY", &query));
            assert_eq!(ask.send().failed(), 500);
            let text = format!("TypeError: mod_wsgi.{name}() takes no arguments (1 given)");
            let text = text.replace("mod_wsgi.", "");
            assert!(errors().iter().any(|line| line.contains(&text)), "{text}");
        }
    });
}

#[test]
fn interpreters_and_threads_share_one_record() {
    scenario("interpreters_and_threads_share_one_record", || {
        let site = Site::new();
        site.script("app.wsgi", 10, SCRIPT);
        ask(&site, "", "mod_wsgi.start_recording_metrics()");
        ask(&site, "", "mod_wsgi.request_metrics()");
        thread::scope(|scope| {
            for group in ["", "a", "b"] {
                let site = &site;
                scope.spawn(move || {
                    for _ in 0..10 {
                        ask(site, group, "time.sleep(0.001)");
                    }
                });
            }
        });
        let count = "(lambda m: (m['request_count'], m['status_2xx'], sum(m['request_time_buckets']), \
                     m['request_threads_started'], sum(m['request_threads_completed'])))\
                     (mod_wsgi.request_metrics())";
        assert_eq!(ask(&site, "a", count), "(31, 31, 31, 4, 31)");
        let threads = "[t['thread_id'] for t in mod_wsgi.process_metrics()['threads']]";
        assert_eq!(ask(&site, "b", threads), "[1, 2, 3, 4]");
    });
}

#[test]
fn waits_for_the_lock_are_those_of_the_thread() {
    scenario("waits_for_the_lock_are_those_of_the_thread", || {
        let site = Site::new();
        site.script(
            "app.wsgi",
            10,
            &SCRIPT.replace(
                "def application",
                "done = False\ndef spin():\n    end = time.monotonic() + 60\n    \
                 while not done and time.monotonic() < end: pass\n\
                 def stop():\n    global done\n    done = True\ndef application",
            ),
        );
        ask(&site, "", "mod_wsgi.start_recording_metrics()");
        // A Python without that lock has nothing to wait for.
        let has_lock = "getattr(__import__('sys'), '_is_gil_enabled', lambda: True)()";
        let has_lock = ask(&site, "", has_lock) == "True";
        let waited = || {
            ask(&site, "", "None");
            ask(&site, "", "mod_wsgi.request_metrics()['gil_wait_time_max_us'] >= 2000") == "True"
        };
        thread::scope(|scope| {
            scope.spawn(|| ask(&site, "", "spin()"));
            let _stop = finally(|| drop(ask(&site, "", "stop()")));
            if has_lock {
                until("a wait", waited);
            } else {
                assert!(!(0..10).any(|_| waited()));
            }
        });
    });
}
