//! What is reported of Python's garbage collectors.

use super::*;

fn check_collectors(lines: &str) -> (Vec<Datagram>, Vec<Datagram>) {
    let (site, socket) = site(Mode::Daemon);
    let mut reader = Reader::bind(&socket);
    let server = site
        .conf("WSGISoleTenant Off")
        .conf(lines)
        .mount("/named", "named.wsgi", SCRIPT)
        .conf("<Location /main>\nWSGIApplicationGroup %{GLOBAL}\n</Location>")
        .mount("/main", "main.wsgi", SCRIPT)
        .start();
    let callbacks = server.get("/main?callbacks").text();
    assert_eq!(callbacks, "['_gc_callback']");
    server.get("/named");
    for _ in 0..3 {
        server.get("/main?collect");
    }
    server.get("/named?collect");
    // Whole generations, which Python does rarely by itself.
    let asked =
        |it: &Datagram| it.kind == GC_EVENT && it.count(field::GC_EVENT_GENERATION) == Some(2);
    let mut seen = 0;
    while seen < 4 {
        reader.find(asked);
        seen += 1;
    }
    reader.kind(SAMPLE);
    reader.kind(GC_SNAPSHOT);
    reader.kind(SAMPLE);
    server.stop();
    let of = |kind| reader.kept.iter().filter(|it| it.kind == kind).cloned().collect();
    let events: Vec<Datagram> = of(GC_EVENT);
    (of(GC_SNAPSHOT), events.into_iter().filter(asked).collect())
}

/// The reference reports another interpreter's collector as the main one's from Python 3.12 on.
#[test]
fn d03_each_interpreter_has_its_own_collector() {
    let (snapshots, events) = check_collectors("WSGITelemetryOptions +InterpreterNames");
    let mut names: HashMap<String, usize> = HashMap::new();
    for event in &events {
        *names.entry(text(event, field::INTERPRETER_NAME)).or_default() += 1;
        assert!(event.number(field::GC_EVENT_DURATION).unwrap() > 0.0);
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names.get(""), Some(&3), "{names:?}");
    let mut last: HashMap<String, &Datagram> = HashMap::new();
    for snapshot in &snapshots {
        last.insert(text(snapshot, field::INTERPRETER_NAME), snapshot);
    }
    let collections = |it: &&Datagram| it.count(field::GC_COLLECTIONS + 2).unwrap();
    let (main, named): (Vec<_>, Vec<_>) = last.iter().partition(|(name, _)| name.is_empty());
    assert_eq!((main.len(), named.len()), (1, 1), "{:?}", last.keys());
    assert!(collections(main[0].1) >= 3);
    assert!(collections(named[0].1) >= 1);
    assert_eq!(main[0].1.count(field::GC_IS_ENABLED), Some(1));
    assert!(main[0].1.count(field::GC_THRESHOLD).unwrap() > 0);
}

/// The reader of 1.1.0 answers no more once it is told a name: without being asked to, nobody tells.
#[test]
fn interpreters_are_one_for_a_reader_that_knows_no_names() {
    let (snapshots, events) = check_collectors("");
    assert!(snapshots.iter().chain(&events).all(|it| it.get(field::INTERPRETER_NAME).is_none()));
    let last = snapshots.last().unwrap();
    assert!(last.count(field::GC_COLLECTIONS + 2).unwrap() >= 4);
    let stamps: HashSet<String> = snapshots.iter().map(|it| format!("{:.1}", it.stamp)).collect();
    assert_eq!(stamps.len(), snapshots.len(), "one for each interval");
}
