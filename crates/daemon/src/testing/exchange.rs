//! One request at a time, in every shape.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Instant;

use super::*;
use crate::client::{BodyFault, ErrorKind};
use crate::wire::{CancelReason, FaultKind, MAX_HEAD};

#[test]
fn a_small_request_is_answered() {
    one(2).1.run(|stage| {
        for _ in 0..100 {
            let response = stage.get("hello");
            assert!(response.is_hello(), "{response:?}");
            assert_eq!(response.name, "one");
        }
        assert_eq!(stage.get("unknown").rendered, Some((404, Vec::new())));
        // All of them on one connection.
        assert_eq!(stage.ask("hello", &Ask::default()).restarts, 0);
        let connections: usize = stage.child.kept_for_tests(stage.group());
        assert_eq!(connections, 1);
    });
}

#[test]
fn bodies_arrive_whole_whatever_their_shape() {
    one(2).1.run(|stage| {
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        for length in [0, 1, 999, 65_536, 65_537, 131_072, 200_000, 3_000_000] {
            let body = &large[..length];
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            for (inline, chunked) in [(0, false), (0, true), (length.min(5_000), false)] {
                for path in ["upload", "upload/777", "upload/1000000"] {
                    let ask = Ask { body, inline, chunked, ..Ask::default() };
                    let response = stage.ask(path, &ask);
                    assert_eq!(response.text(), format!("{length} {sum}"), "{path} {inline}");
                    if length == inline {
                        assert_eq!(response.reads, 0, "all of it came with the request");
                    }
                }
            }
        }
    });
}

#[test]
fn a_body_in_a_file_is_read_there() {
    one(2).1.run(|stage| {
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        for length in [1, 65_537, 3_000_000] {
            let body = &large[..length];
            let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
            for (inline, chunked) in [(0, false), (0, true), (5_000.min(length - 1), false)] {
                for path in ["upload", "upload/777", "upload/1000000"] {
                    let ask = Ask { body, inline, chunked, in_file: true, ..Ask::default() };
                    let response = stage.ask(path, &ask);
                    assert_eq!(response.text(), format!("{length} {sum}"), "{path} {inline}");
                    assert_eq!(response.reads, 1);
                }
            }
            let ask = Ask { body, in_file: true, ..Ask::default() };
            for path in ["ignore", "ignore/1"] {
                assert_eq!(stage.ask(path, &ask).text(), "ignored");
            }
        }
    });
}

#[test]
fn a_file_that_is_not_what_it_should_be_is_an_error_of_the_body() {
    one(1).1.run(|stage| {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1000).unwrap();
        for (length, said) in [
            (1000, "1000 0"),
            (1001, "1000 Other a file of buffered data has shrunk"),
            // There is no response either: what follows on the connection is anybody's guess.
            (u64::MAX, ""),
        ] {
            let ask = Ask { body: &[0; 9], chunked: true, ..Ask::default() };
            let mut request = ask.request("upload");
            let mut exchange = stage.child.send(stage.group(), &mut request, &ask.options).unwrap();
            let mut text = Vec::new();
            loop {
                match exchange.next_event() {
                    Ok(Event::Read(_)) => {
                        let from = u64::from(length == u64::MAX);
                        exchange.file(file.as_fd(), from, length).unwrap();
                    }
                    Ok(Event::Body { bytes, .. }) => text.extend_from_slice(bytes),
                    Ok(Event::End) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            assert_eq!(String::from_utf8(text).unwrap(), said);
        }
        assert!(stage.get("hello").is_hello());
    });
}

#[test]
fn large_responses_arrive_whole() {
    one(2).1.run(|stage| {
        for length in [0, 1, 16_384, 16_385, 1 << 20, (1 << 20) + 1, 5_000_000] {
            let response = stage.get(&format!("large/{length}"));
            assert!(response.ended);
            assert_eq!(response.body.len(), length);
        }
        let response = stage.get("stream/50");
        assert_eq!((response.body.len(), response.flushes), (50_000, 51));
        assert!(response.ended);
    });
}

#[test]
fn d2b_an_upload_and_a_response_do_not_block_each_other() {
    one(1).1.run(|stage| {
        let body = vec![1; 4_000_000];
        let response = stage.ask("both", &Ask { body: &body, ..Ask::default() });
        assert!(response.ended, "{:?}", response.error);
        assert!(response.body.len() >= 300_000 + 400 * 20_000);
        assert!(stage.get("hello").is_hello());
    });
}

#[test]
fn an_unread_body_is_in_nobodys_way() {
    one(1).1.run(|stage| {
        let body = vec![1; 1_000_000];
        for path in ["ignore", "ignore/1", "ignore/100000", "ignore/200000"] {
            for _ in 0..3 {
                let response = stage.ask(path, &Ask { body: &body, ..Ask::default() });
                assert_eq!(response.text(), "ignored");
                assert!(response.ended);
                assert_eq!(response.reads > 0, path != "ignore");
            }
        }
        assert!(stage.get("hello").is_hello());
        assert_eq!(stage.child.kept_for_tests(stage.group()), 1, "the same connection");
    });
}

#[test]
fn d01_what_is_cut_short_is_told_from_what_is_complete() {
    one(2).1.run(|stage| {
        for (path, kind) in [("truncate", ErrorKind::Truncated), ("vanish", ErrorKind::Truncated)] {
            let response = stage.get(path);
            assert_eq!(response.status, 200);
            assert_eq!(response.text(), "half of");
            assert!(!response.ended);
            let error = response.error.unwrap();
            assert_eq!((error.kind(), error.is_after_head()), (kind, true), "{path}");
            assert_eq!(error.worker(), Some(1000 + stage.entry.first as i32));
        }
        assert_eq!(stage.get("nothing").rendered.unwrap().0, 500);
        let panicked = stage.get("panic").error.unwrap();
        assert_eq!((panicked.kind(), panicked.is_after_head()), (ErrorKind::Closed, false));
        assert!(stage.get("hello").is_hello(), "the thread goes on");
        assert_eq!(stage.get("render").rendered, Some((503, b"no, thank you".to_vec())));
    });
}

#[test]
fn d05_a_file_that_is_shorter_than_promised_is_a_truncated_response() {
    one(1).1.run(|stage| {
        let file = |length| {
            let pairs = [("LENGTH", length)];
            stage.ask("file/0123456789", &Ask { pairs: &pairs, ..Ask::default() })
        };
        let whole = file("9");
        assert!(whole.ended && whole.body == b"123456789");
        let part = file("3");
        assert!(part.ended && part.body == b"123");
        let short = file("10");
        assert!(!short.ended && short.body == b"123456789");
        assert_eq!(short.error.unwrap().kind(), ErrorKind::Truncated);
        assert!(file("0").ended);
    });
}

#[test]
fn log_records_come_with_the_response() {
    one(1).1.run(|stage| {
        let response = stage.get("log");
        assert_eq!(response.text(), "2");
        assert_eq!(response.logged, [b"first".to_vec(), b"second".to_vec()]);
    });
}

#[test]
fn headers_may_be_long_up_to_a_limit() {
    one(1).1.run(|stage| {
        let response = stage.get("header/1000000");
        assert_eq!(response.name.len(), 1_000_000);
        let response = stage.get(&format!("header/{MAX_HEAD}"));
        assert_eq!(response.text(), "the response's header is too large");
    });
}

#[test]
fn what_the_client_did_to_its_body_reaches_the_application() {
    one(1).1.run(|stage| {
        for (kind, said) in [
            (FaultKind::ClientGone, "0 ClientGone went away"),
            (FaultKind::ClientSlow, "0 Timeout went away"),
            (FaultKind::TooLarge, "0 TooLarge went away"),
            (FaultKind::NotHttp, "0 NotHttp went away"),
        ] {
            let ask = Ask { body: &[0; 99], ..Ask::default() };
            let mut request = ask.request("upload");
            let mut exchange = stage.child.send(stage.group(), &mut request, &ask.options).unwrap();
            let mut text = Vec::new();
            loop {
                match exchange.next_event().unwrap() {
                    Event::Read(credit) => {
                        let fault = BodyFault { kind, status: 0, errno: 0, text: "went away" };
                        exchange.pull(credit, |_, _| Err(fault)).unwrap();
                    }
                    Event::Body { bytes, .. } => text.extend_from_slice(bytes),
                    Event::End => break,
                    _ => {}
                }
            }
            assert_eq!(String::from_utf8(text).unwrap(), said);
        }
        assert!(stage.get("hello").is_hello());
    });
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let (app, stage) = one(2);
    stage.run(|stage| {
        for how in 0..3 {
            let ask = Ask::default();
            let mut request = ask.request("gone");
            let exchange = stage.child.send(stage.group(), &mut request, &ask.options).unwrap();
            // Perhaps before anybody has looked at it, perhaps after.
            if how > 0 {
                until("requests that run", || app.requests.load(SeqCst) >= how);
            }
            match how {
                1 => exchange.cancel(CancelReason::ClientGone),
                _ => drop(exchange),
            }
        }
        // The first one may not have been run at all.
        until("the ends of requests", || {
            app.signals.lock().unwrap().len() >= 2 && app.inside.load(SeqCst) == 0
        });
        let seen = app.signals.lock().unwrap().clone();
        assert!(seen.iter().all(|gone| *gone == -1), "{seen:?}");
        assert!(stage.get("hello").is_hello());
    });
}

#[test]
fn timeouts_are_kept_and_named() {
    let (app, stage) = one(1);
    stage.run(|stage| {
        let mut ask = Ask::default();
        ask.options.socket_timeout = Duration::from_millis(600);
        let error = stage.ask("stay", &ask).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let mut ask = Ask::default();
        ask.options.deadline = Some(Duration::from_millis(50));
        let begun = Instant::now();
        let error = stage.ask("stay", &ask).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(begun.elapsed() < ask.options.socket_timeout, "{:?}", begun.elapsed());
        app.give_up.store(true, SeqCst);
    });
}

#[test]
fn d39_waiting_in_the_queue_ends_while_waiting() {
    let (app, stage) = one(1);
    stage.run(|stage| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut ask = Ask::default();
                ask.options.socket_timeout = Duration::from_secs(60);
                assert_eq!(stage.ask("hold", &ask).text(), "held until told");
            });
            until("a request", || app.inside.load(SeqCst) > 0);
            let mut ask = Ask::default();
            ask.options.queue_timeout = Some(Duration::from_millis(100));
            let error = stage.ask("hello", &ask).error.unwrap();
            assert_eq!(error.kind(), ErrorKind::QueueTimeout);
            assert_eq!(app.inside.load(SeqCst), 1, "the one before it still runs");
            app.give_up.store(true, SeqCst);
        });
        let before = app.requests.load(SeqCst);
        assert!(stage.get("hello").is_hello());
        let after = app.requests.load(SeqCst);
        assert_eq!(after - before, 1, "the one that was given up was not run");
    });
}

#[test]
fn a_changed_application_is_asked_again_or_stays() {
    let (app, stage) = one(2);
    let asked = |times| until("the request", || app.requests.load(SeqCst) == times);
    stage.run(|stage| {
        let group = stage.entry.group;
        // There will be no new generation.
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(stage.get("later").text(), "stayed"));
            asked(1);
            stage.board.count_failure(group);
            stage.board.announce(group);
        });
        // There will be one.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| stage.get("later"));
            asked(3);
            let slot = Slot { generation: 2, ..stage.board.slot(stage.entry.first) };
            stage.board.set_slot(stage.entry.first, &slot);
            stage.board.set_generation(group, 2);
            stage.board.announce(group);
            // It asks for a later one again, as this application always does.
            asked(4);
            stage.board.count_failure(group);
            stage.board.announce(group);
            assert_eq!(waiting.join().unwrap().text(), "stayed");
        });
    });
}

#[test]
fn code_that_changes_faster_than_it_loads_keeps_no_request() {
    one(2).1.run(|stage| {
        let (group, first) = (stage.entry.group, stage.entry.first);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for generation in 2.. {
                    if done.load(Relaxed) {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                    let slot = Slot { generation, ..stage.board.slot(first) };
                    stage.board.set_slot(first, &slot);
                    stage.board.set_generation(group, generation);
                    stage.board.announce(group);
                }
            });
            let _done = finally(|| done.store(true, Relaxed));
            // This application is never content with its code.
            assert_eq!(stage.get("later").text(), "stayed");
        });
    });
}

#[test]
fn a_group_that_cannot_serve_says_why_at_once() {
    one(1).1.run(|stage| {
        let group = stage.entry.group;
        let slot = stage.board.slot(stage.entry.first);
        stage.board.set_slot(stage.entry.first, &Slot { state: State::Draining, ..slot });
        for (status, kind) in [
            (Status::Down, ErrorKind::Down),
            (Status::Failing, ErrorKind::Failing),
            (Status::Service, ErrorKind::Service),
        ] {
            stage.board.set_status(group, status);
            stage.board.announce(group);
            assert_eq!(stage.get("hello").error.unwrap().kind(), kind);
        }
        stage.board.set_status(group, Status::Starting);
        let mut ask = Ask::default();
        ask.options.connect_timeout = Duration::from_millis(50);
        assert_eq!(stage.ask("hello", &ask).error.unwrap().kind(), ErrorKind::NotReady);
        // It waits for a worker that becomes ready.
        thread::scope(|scope| {
            let waiting = scope.spawn(|| stage.get("hello"));
            thread::sleep(Duration::from_millis(50));
            stage.board.set_slot(stage.entry.first, &slot);
            stage.board.announce(group);
            assert!(waiting.join().unwrap().is_hello());
        });
        assert!(stage.child.group(b"no such group").is_none());
    });
}

#[test]
fn a_full_group_is_waited_for_and_then_given_up() {
    let (app, stage) = one(1);
    stage.run(|stage| {
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(stage.get("stay").text(), "stayed until told"));
            until("a request", || app.inside.load(SeqCst) > 0);
            let mut ask = Ask::default();
            ask.options.capacity = 1;
            ask.options.connect_timeout = Duration::from_millis(50);
            assert_eq!(stage.ask("hello", &ask).error.unwrap().kind(), ErrorKind::Full);
            ask.options.connect_timeout = Duration::from_secs(60);
            let waiting = scope.spawn(move || stage.ask("hello", &ask));
            thread::sleep(Duration::from_millis(50));
            app.give_up.store(true, SeqCst);
            assert!(waiting.join().unwrap().is_hello());
        });
    });
}

#[test]
fn a_deadline_holds_whatever_the_worker_does() {
    let (app, stage) = one(2);
    stage.run(|stage| {
        let late = |path: &str, ask: &Ask<'_>| {
            let begun = Instant::now();
            let error = stage.ask(path, ask).error.unwrap();
            assert_eq!(error.kind(), ErrorKind::Deadline, "{path}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{path}: {:?}", begun.elapsed());
        };
        let mut ask = Ask::default();
        ask.options.deadline = Some(Duration::from_millis(150));
        // It talks all the time, though it does not respond.
        late("chatter/60000", &ask);
        // It does not read what it has asked for.
        let body = vec![0; 3_000_000];
        late("dawdle/60000", &Ask { body: &body, ..ask });
        // There is nobody to ask.
        let slot = stage.board.slot(stage.entry.first);
        stage.board.set_slot(stage.entry.first, &Slot { state: State::Draining, ..slot });
        stage.board.set_status(stage.entry.group, Status::Starting);
        late("hello", &ask);
        ask.options.deadline = None;
        ask.options.queue_timeout = Some(Duration::from_millis(50));
        assert_eq!(stage.ask("hello", &ask).error.unwrap().kind(), ErrorKind::QueueTimeout);
        stage.board.set_slot(stage.entry.first, &slot);
        stage.board.announce(stage.entry.group);
        app.give_up.store(true, SeqCst);
        assert!(stage.get("hello").is_hello());
    });
}
