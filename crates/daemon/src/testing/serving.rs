//! Many requests at a time: sharing the lock, sharing the workers, ending.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::*;
use crate::client::ErrorKind;
use crate::sys::{alone, slow};

/// So many threads, each asking so often.
fn load(stage: &Stage, threads: usize, each: usize, path: &str) {
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..each {
                    let response = stage.get(path);
                    assert!(response.ended && response.status == 200, "{response:?}");
                }
            });
        }
    });
}

/// So many threads ask for what takes until the application gives up, and are all inside at one time.
fn all_inside(stage: &Stage, app: &App, threads: usize, path: &str) {
    thread::scope(|scope| {
        scope.spawn(|| load(stage, threads, 1, path));
        until("all of them", || app.inside.load(SeqCst) == threads);
        app.give_up.store(true, SeqCst);
    });
}

#[test]
fn one_lock_is_taken_for_many_requests() {
    let (app, stage) = one(8);
    stage.run(|stage| load(stage, 8, 500, "hello"));
    assert_eq!(app.requests.load(SeqCst), 4000);
    assert_eq!(app.most.load(SeqCst), 1, "the lock was held");
    let batches = app.batches.load(SeqCst);
    assert!(batches < 4000, "{batches} batches");
}

#[test]
fn requests_that_wait_overlap() {
    let (app, stage) = one(8);
    stage.run(|stage| all_inside(stage, &app, 8, "stay"));
}

#[test]
fn workers_say_where_their_requests_are() {
    let apps = ["one", "silent", "late"].map(|name| app::shared(name, 1));
    let stage = Stage::new(apps.to_vec(), Start { threads: 2, ..Start::default() });
    stage.run(|stage| {
        let addresses = || {
            let seen = stage.child.overview(stage.group()).workers;
            seen.iter().map(|worker| worker.address).collect::<Vec<_>>()
        };
        let ask = |limit| stage.child.inquire(&addresses(), Duration::from_millis(limit));
        let begun = Instant::now();
        assert_eq!(ask(60_000), [Some(Vec::new()), None, Some(Vec::new())], "nothing runs");
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody waits for who is silent");
        thread::scope(|scope| {
            // One after another: the next goes to a worker that has none.
            for count in 1..=3 {
                scope.spawn(|| assert_eq!(stage.get("stay").text(), "stayed until told"));
                until("a worker has it", || {
                    apps.iter().filter(|app| app.inside.load(SeqCst) == 1).count() == count
                });
            }
            let begun = Instant::now();
            assert_eq!(ask(500), [Some(vec![(0, b"one".to_vec())]), None, None], "one is late");
            let took = begun.elapsed();
            assert!(took >= Duration::from_millis(500) && took < app::LATE, "{took:?}");
            apps.iter().for_each(|app| app.give_up.store(true, SeqCst));
        });
        assert!(stage.child.inquire(&[], Duration::from_secs(9)).is_empty());
    });
}

#[test]
fn a_worker_waits_for_nothing_that_it_refuses() {
    let _alone = alone();
    let app = app::shared("silent", 1);
    Stage::new(vec![app], Start { threads: 1, ..Start::default() }).run(|stage| {
        // Where it is to answer lies something that takes ten minutes to close.
        let (end, far) = slow(Duration::from_secs(600));
        let (near, to) = pair().unwrap();
        send(near.as_fd(), b"x", &[end.as_fd()], false).unwrap();
        let control = stage.controls[0].as_ref().unwrap();
        send(control.as_fd(), &ToWorker::Inquiry.encode(), &[to.as_fd()], true).unwrap();
        drop((near, end, to));
        // The thread that would wait is also the one that is told of connections.
        assert!(stage.get("hello").is_hello());
        drop(far);
    });
}

#[test]
fn one_that_waits_often_is_not_starved_by_others() {
    one(8).1.run(|stage| {
        let done = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(SeqCst) {
                        assert!(stage.get("hello").is_hello());
                    }
                });
            }
            let _done = finally(|| done.store(true, SeqCst));
            let mut times: Vec<Duration> = (0..20)
                .map(|_| {
                    let begun = Instant::now();
                    assert_eq!(stage.get("waits/20").text(), "waited");
                    begun.elapsed()
                })
                .collect();
            times.sort();
            // 20 waits of 0.2 ms; with a thread that never lets go it would be a multiple of 100. Most
            // of them may wait for a processor, too, but not all.
            assert!(times[4] < Duration::from_millis(60), "{times:?}");
        });
    });
}

#[test]
fn without_a_lock_threads_run_side_by_side() {
    let app = Arc::new(App { unlocked: true, ..App::new("free", 1) });
    let shape = Start { threads: 4, ..Start::default() };
    Stage::new(vec![app.clone()], shape).run(|stage| {
        all_inside(stage, &app, 4, "hold");
        load(stage, 8, 200, "hello");
        let body = vec![3; 500_000];
        let response = stage.ask("upload", &Ask { body: &body, ..Ask::default() });
        assert_eq!(response.text(), "500000 1500000");
    });
    assert_eq!(app.most.load(SeqCst), 4);
}

#[test]
fn domains_do_not_wait_for_each_other() {
    let app = app::shared("two", 2);
    let shape = Start { threads: 1, ..Start::default() };
    Stage::new(vec![app.clone()], shape).run(|stage| {
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(stage.get("hold").text(), "held until told"));
            until("the first one", || app.inside.load(SeqCst) == 1);
            let mut ask = Ask::default();
            ask.options.domain = 1;
            assert!(stage.ask("hello", &ask).is_hello());
            assert!(app.inside.load(SeqCst) >= 1, "the first one still has its lock");
            app.give_up.store(true, SeqCst);
        });
        // A domain that does not exist: the connection is not taken.
        let mut ask = Ask::default();
        ask.options.domain = 7;
        ask.options.connect_timeout = Duration::from_millis(300);
        let error = stage.ask("hello", &ask).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::TooManyRestarts);
    });
}

#[test]
fn a_lock_that_cannot_be_taken_is_an_error_and_no_loop() {
    let app = app::shared("cannot attach", 1);
    let shape = Start { threads: 2, ..Start::default() };
    Stage::new(vec![app.clone()], shape).run(|stage| {
        for _ in 0..5 {
            assert_eq!(stage.get("hello").rendered.unwrap().0, 500);
        }
        thread::sleep(Duration::from_millis(50));
    });
    assert!(app.batches.load(SeqCst) < 50);
}

#[test]
fn the_worker_with_the_fewest_requests_is_chosen() {
    let apps = vec![app::shared("a", 1), app::shared("b", 1), app::shared("c", 1)];
    let shape = Start { threads: 4, ..Start::default() };
    Stage::new(apps, shape).run(|stage| {
        let inside = || stage.apps.iter().map(|app| app.inside.load(SeqCst)).collect::<Vec<_>>();
        thread::scope(|scope| {
            for number in 1..=6 {
                scope.spawn(|| assert_eq!(stage.get("stay").text(), "stayed until told"));
                until("the next one", || inside().iter().sum::<usize>() == number);
                let (least, most) = (inside().into_iter().min(), inside().into_iter().max());
                assert!(most <= least.map(|count| count + 1), "{:?}", inside());
            }
            stage.apps.iter().for_each(|app| app.give_up.store(true, SeqCst));
        });
        load(stage, 6, 10, "hello");
    });
}

#[test]
fn a_worker_that_ends_gives_its_requests_back() {
    let apps = vec![app::shared("a", 1), app::shared("b", 1)];
    let shape = Start { threads: 1, ..Start::default() };
    Stage::new(apps, shape).run(|stage| {
        let first = stage.entry.first;
        // Worker a has one request inside and some waiting when it is told to quit: the one inside
        // is finished, the others go to b once a's slot is out of use.
        thread::scope(|scope| {
            let b = stage.board.slot(first + 1);
            stage.board.set_slot(first + 1, &Slot { state: State::Draining, ..b });
            let inside = scope.spawn(|| stage.get("hold"));
            until("the first one", || stage.apps[0].inside.load(SeqCst) == 1);
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| stage.get("hello"))).collect();
            until("the others", || stage.child.load_for_tests(first) == 4);
            thread::sleep(Duration::from_millis(50));
            let a = stage.board.slot(first);
            stage.board.set_slot(first, &Slot { state: State::Draining, ..a });
            stage.board.set_slot(first + 1, &b);
            stage.quit(0);
            for one in waiting {
                let response = one.join().unwrap();
                assert!(response.is_hello() && response.name == "b", "{response:?}");
                assert_eq!(response.restarts, 1);
            }
            stage.apps[0].give_up.store(true, SeqCst);
            assert_eq!(inside.join().unwrap().name, "a");
        });
    });
}

#[test]
fn a_worker_that_is_stuck_does_not_seem_idle() {
    let apps = vec![app::shared("a", 1), app::shared("b", 1)];
    let shape = Start { threads: 2, ..Start::default() };
    Stage::new(apps, shape).run(|stage| {
        let mut ask = Ask::default();
        ask.options.deadline = Some(Duration::from_millis(100));
        let error = stage.ask("hold", &ask).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        let stuck = error.worker().unwrap();
        for _ in 0..20 {
            let response = stage.get("hello");
            assert!(response.is_hello() && response.worker != stuck, "{response:?}");
        }
        // When it has finished, it gets requests again.
        stage.apps.iter().for_each(|app| app.give_up.store(true, SeqCst));
        until("its next request", || stage.get("hello").worker == stuck);
        let first = stage.entry.first;
        let loads = [first, first + 1].map(|slot| stage.child.load_for_tests(slot));
        assert!(loads.iter().all(|load| *load == 0), "{loads:?}");
    });
}

#[test]
fn the_maximum_of_requests_is_reported() {
    let app = app::shared("a", 1);
    let shape = Start { threads: 1, maximum_requests: 3, ..Start::default() };
    Stage::new(vec![app.clone()], shape).run(|stage| {
        let handle = app.handle.lock().unwrap().clone().unwrap();
        for _ in 0..2 {
            assert!(stage.get("hello").is_hello());
        }
        assert!(handle.retiring().is_none());
        assert!(stage.get("hello").is_hello());
        // The answer is out before it is counted.
        until("the maximum", || handle.retiring().is_some());
        assert_eq!(handle.retiring().unwrap().name(), "maximum_requests");
        assert!(stage.get("hello").is_hello(), "it goes on until told otherwise");
    });
}
