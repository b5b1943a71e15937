//! The end of a process: who is told, in which order, and for how long.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Ask, Site, scenario};
use engine_api::{Bytes, FaultKind, Stop};

/// A script that answers with the value of an expression, after statements.
fn answer(statements: &str, expression: &str) -> String {
    format!(
        "
{statements}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(({expression})).encode()]
"
    )
}

#[test]
fn stop_tells_and_ends() {
    scenario("stop_tells_and_ends", || {
        let site = Site::new();
        let file = site.path("out");
        let statements = format!(
            "
import mod_wsgi, atexit, threading
def note(what):
    with open({file:?}, 'a') as f: f.write(mod_wsgi.application_group + ' ' + what + '\\n')
@mod_wsgi.subscribe_shutdown
def shutdown(name, **event):
    note(f'{{name}} {{event}} {{threading.current_thread() is threading.main_thread()}}')
@mod_wsgi.subscribe_events
def any(name, **event):
    if name.startswith('process'): note(name)
atexit.register(note, 'atexit')
"
        );
        site.script("app.wsgi", 10, &answer(&statements, "1"));
        for group in ["", "sub"] {
            assert_eq!(Ask::new(&site, "app.wsgi").group(group).send().text(), "1");
        }
        site.engine
            .stop(&Stop { reason: Bytes::from("why"), destroy: true, limit_ms: 20_000 })
            .unwrap();
        assert_eq!(
            fs::read_to_string(file).unwrap(),
            " process_stopping\n process_stopping {'shutdown_reason': 'why'} True\nsub process_stopping\nsub process_stopping {'shutdown_reason': 'why'} True\nsub atexit\n atexit\n"
        );
        assert!(Ask::new(&site, "app.wsgi").send().reply.is_err());
    });
}

/// The thread that would wait for it is the one that callbacks ran on.
#[test]
fn stopping_under_prefork_is_bounded() {
    scenario("stopping_under_prefork_is_bounded", || {
        let site = Site::with(|start, _| start.serve_on_this_thread = true);
        let file = site.path("out");
        let statements = format!(
            "
import mod_wsgi, time
@mod_wsgi.subscribe_shutdown
def shutdown(name, **event):
    with open({file:?}, 'w') as f: f.write(name)
    time.sleep(600)
"
        );
        site.script("app.wsgi", 10, &answer(&statements, "1"));
        assert_eq!(site.get("app.wsgi").text(), "1");
        let began = Instant::now();
        let stop = Stop { reason: Bytes::from(""), destroy: true, limit_ms: 500 };
        let fault = site.engine.stop(&stop).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(60), "{took:?}");
        assert_eq!(fs::read_to_string(file).unwrap(), "process_stopping");
    });
}

/// Threads make groups while the process stops: the list of groups changes under nobody's feet.
#[test]
fn python_api_07_groups_are_made_while_the_process_stops() {
    scenario("python_api_07_groups_are_made_while_the_process_stops", || {
        let site = Site::new();
        let file = site.path("out");
        let statements = format!(
            "
import mod_wsgi, os
def note(name, **event):
    out = os.open({file:?}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(out, (mod_wsgi.application_group + '\\n').encode())
    os.close(out)
mod_wsgi.subscribe_shutdown(note)
"
        );
        site.script("app.wsgi", 10, &answer(&statements, "1"));
        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let mut served: Vec<String> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|thread| {
                    let (site, stop, count) = (&site, &stop, &count);
                    scope.spawn(move || {
                        let mut served = Vec::new();
                        for number in 0..20 {
                            let before = !stop.load(Ordering::SeqCst);
                            let group = format!("g{thread}x{number}");
                            match Ask::new(site, "app.wsgi").group(&group).send().reply {
                                Ok(_) if before && !stop.load(Ordering::SeqCst) => {
                                    served.push(group);
                                    count.fetch_add(1, Ordering::SeqCst);
                                }
                                Ok(_) => {}
                                Err(fault) => {
                                    assert_eq!(fault.kind, FaultKind::Unavailable, "{fault}");
                                    break;
                                }
                            }
                        }
                        served
                    })
                })
                .collect();
            while count.load(Ordering::SeqCst) < 3 && !threads.iter().all(|t| t.is_finished()) {
                thread::sleep(Duration::from_millis(10));
            }
            stop.store(true, Ordering::SeqCst);
            let how = Stop { reason: Bytes::from(""), destroy: false, limit_ms: 60_000 };
            site.engine.stop(&how).unwrap();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let text = fs::read_to_string(file).unwrap();
        let mut told: Vec<&str> = text.lines().collect();
        told.sort_unstable();
        served.sort_unstable();
        assert!(!served.is_empty());
        assert!(served.iter().all(|group| told.contains(&group.as_str())), "{served:?} {told:?}");
        let count = told.len();
        told.dedup();
        assert_eq!(told.len(), count, "one was told twice");
    });
}
