//! A reporter against readers that read, do not read, are not there, and come again.
//!
//! The numbers of the defects are those of the reference's list.

#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use scenario::patience::{Deadline, PATIENCE, until};
use telemetry::{
    Collected, Collection, Datagram, Identity, Reporter, Sample, Setup, Slow, Snapshot, Source,
    StartError, Totals, decode, field,
};

/// Says the same each time.
#[derive(Clone, Default)]
struct Numbers {
    asked: Arc<AtomicU64>,
    slow: usize,
    runs: usize,
}

impl Source for Numbers {
    fn sample(&mut self) -> Sample {
        let count = self.asked.fetch_add(1, SeqCst) + 1;
        Sample { period: 1.0, requests: count, ..Sample::default() }
    }

    fn slow(&mut self, report: &mut dyn FnMut(&Slow)) {
        (0..self.slow).for_each(|_| report(&Slow::default()));
    }

    fn collectors(&mut self, report: &mut dyn FnMut(Collected<'_>)) {
        let runs = vec![Collection::default(); self.runs];
        let snapshot = Snapshot::default();
        let snapshot = Some(&snapshot);
        report(Collected { interpreter: b"", snapshot, runs: &runs, dropped: 0 });
    }

    fn totals(&mut self) -> Totals {
        Totals { requests: 42 }
    }
}

struct Place {
    directory: tempfile::TempDir,
    _deadline: Deadline,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap(), _deadline: Deadline::start() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn reader(&self) -> UnixDatagram {
        let _ = std::fs::remove_file(self.socket());
        let reader = UnixDatagram::bind(self.socket()).unwrap();
        reader.set_read_timeout(Some(PATIENCE)).unwrap();
        reader
    }
}

fn setup(path: &Path, interval: Duration) -> Setup {
    Setup { path: path.to_owned(), interval, threshold: 0.5, identity: Identity::here() }
}

fn read(reader: &UnixDatagram) -> Datagram {
    let mut buffer = [0; 65536];
    let length = reader.recv(&mut buffer).unwrap();
    decode(&buffer[..length]).unwrap()
}

fn read_to(reader: &UnixDatagram, kind: u8) -> Vec<Datagram> {
    let mut all = Vec::new();
    loop {
        all.push(read(reader));
        if all.last().unwrap().kind == kind {
            return all;
        }
    }
}

const TENTH: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);
/// What a busy machine takes for something that waits for nothing, and much less than forever, which
/// is what waiting for a reader would take.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_life() {
    let place = Place::new();
    let reader = place.reader();
    let source = Numbers { slow: 1, runs: 2, ..Numbers::default() };
    let reporter = Reporter::start(setup(&place.socket(), TENTH), source).unwrap();
    let kinds = |all: &[Datagram]| all.iter().map(|it| it.kind).collect::<Vec<u8>>();
    let first = read_to(&reader, 4);
    assert_eq!(kinds(&first), [5, 2, 4]);
    assert_eq!(first[1].number(field::TELEMETRY_INTERVAL), Some(0.1));
    assert_eq!(first[1].number(field::SLOW_REQUESTS_THRESHOLD), Some(0.5));
    assert_eq!(kinds(&read_to(&reader, 2)), [8, 9, 9, 2]);
    reporter.stopping(b"script_reload", 3);
    reporter.stopping(b"said before", 4);
    let stopping = read_to(&reader, 6).pop().unwrap();
    assert_eq!(stopping.text(field::SHUTDOWN_REASON), Some(&b"script_reload"[..]));
    assert_eq!(stopping.count(field::ACTIVE_REQUESTS_AT_DECISION), Some(3));
    // It goes on while requests drain.
    read_to(&reader, 2);
    read_to(&reader, 2);
    // Read while it ends: reports may have piled up, and it waits for room.
    let last = std::thread::scope(|scope| {
        scope.spawn(|| assert!(reporter.stop(0, SOON)));
        read_to(&reader, 7)
    });
    assert!(kinds(&last).ends_with(&[2, 4, 8, 9, 9, 7]), "{:?}", kinds(&last));
    let stopped = last.last().unwrap();
    assert_eq!(stopped.text(field::SHUTDOWN_REASON), Some(&b"script_reload"[..]));
    assert_eq!(stopped.count(field::LIFETIME_REQUEST_COUNT), Some(42));
    assert_eq!(stopped.count(field::GRACEFUL_DRAIN), Some(1));
    assert!(stopped.number(field::PROCESS_UPTIME).unwrap() > 0.2);
    // It was the last, whatever is asked for.
    assert!(reporter.stop(9, SOON));
    reader.set_nonblocking(true).unwrap();
    assert!(reader.recv(&mut [0; 9]).is_err());
}

#[test]
fn all_datagrams_are_counted() {
    let place = Place::new();
    let reader = place.reader();
    let source = Numbers { slow: 20, runs: 200, ..Numbers::default() };
    let reporter = Reporter::start(setup(&place.socket(), 5 * TENTH), source).unwrap();
    // More at once than the kernel keeps for a reader: none is lost if somebody reads.
    let all: Vec<u32> = (0..400).map(|_| read(&reader).sequence).collect();
    assert!(all.iter().copied().eq(1..=400), "{all:?}");
    drop(reporter);
}

#[test]
fn d01_a_reader_that_hangs_holds_up_nobody() {
    let place = Place::new();
    let reader = place.reader();
    let source = Numbers { runs: 50, ..Numbers::default() };
    let asked = Arc::clone(&source.asked);
    let reporter = Reporter::start(setup(&place.socket(), TENTH), source).unwrap();
    // The thread goes on although the queue of the socket is full since the first report.
    until("the fifth report", || asked.load(SeqCst) >= 5);
    let began = Instant::now();
    reporter.stopping(b"maximum_requests", 1);
    // Whether the last datagrams got out depends on the kernel's queue.
    let _ = reporter.stop(0, Duration::from_millis(300));
    assert!(began.elapsed() < SOON);
    drop(reader);
}

#[test]
fn a_reader_that_hung_gets_the_latest() {
    let place = Place::new();
    let reader = place.reader();
    let source = Numbers { runs: 500, ..Numbers::default() };
    let asked = Arc::clone(&source.asked);
    let _reporter = Reporter::start(setup(&place.socket(), TENTH), source).unwrap();
    until("the sixth report", || asked.load(SeqCst) >= 6);
    let mut last = 0;
    let mut lost = 0;
    let mut samples = 0;
    while samples < 5 {
        let datagram = read(&reader);
        lost += datagram.sequence - last - 1;
        last = datagram.sequence;
        samples += u32::from(datagram.kind == 2 && lost > 0);
    }
    assert!(lost > 500, "{lost}");
}

#[test]
fn d02_the_pause_between_reports_can_be_cut_short() {
    let place = Place::new();
    let reader = place.reader();
    let reporter = Reporter::start(setup(&place.socket(), LONG), Numbers::default()).unwrap();
    read_to(&reader, 5);
    let began = Instant::now();
    reporter.stopping(b"", 0);
    read_to(&reader, 6);
    assert!(reporter.stop(0, SOON));
    assert!(began.elapsed() < SOON);
    let all = read_to(&reader, 7);
    assert!(all.iter().any(|it| it.kind == 2), "the last interval is told");
    assert_eq!(all.last().unwrap().text(field::SHUTDOWN_REASON), None);
}

#[test]
fn d05_every_slow_request_is_told() {
    let place = Place::new();
    let reader = place.reader();
    let source = Numbers { slow: 150, ..Numbers::default() };
    // A reader that is late by more than some intervals would lose the oldest.
    let _reporter = Reporter::start(setup(&place.socket(), 5 * TENTH), source).unwrap();
    read_to(&reader, 2);
    let slow = read_to(&reader, 2).iter().filter(|it| it.kind == 4).count();
    assert_eq!(slow, 150);
}

#[test]
fn nobody_is_there() {
    let place = Place::new();
    let source = Numbers::default();
    let asked = Arc::clone(&source.asked);
    let reporter = Reporter::start(setup(&place.socket(), TENTH), source).unwrap();
    until("two reports", || asked.load(SeqCst) >= 2);
    let reader = place.reader();
    // It may have come in the middle of a report.
    let first = read_to(&reader, 2);
    assert!(first.len() <= 2 && first[0].sequence > 3, "{first:?}");
    drop(reader);
    let reader = place.reader();
    read_to(&reader, 2);
    drop(reader);
    assert!(reporter.stop(0, SOON));
}

/// A source that hangs, as a file system in the way of the socket would.
struct Stuck(Arc<Barrier>);

impl Source for Stuck {
    fn sample(&mut self) -> Sample {
        self.0.wait();
        self.0.wait();
        Sample::default()
    }
    fn slow(&mut self, _: &mut dyn FnMut(&Slow)) {}
    fn collectors(&mut self, _: &mut dyn FnMut(Collected<'_>)) {}
    fn totals(&mut self) -> Totals {
        Totals::default()
    }
}

#[test]
fn an_end_waits_no_longer_than_it_says() {
    let place = Place::new();
    let barrier = Arc::new(Barrier::new(2));
    let source = Stuck(Arc::clone(&barrier));
    let reporter = Reporter::start(setup(&place.socket(), TENTH), source).unwrap();
    barrier.wait();
    let began = Instant::now();
    reporter.stopping(b"x", 1);
    assert!(!reporter.stop(1, Duration::from_millis(200)));
    assert!(began.elapsed() < SOON);
}

/// A source that panics.
struct Broken;

impl Source for Broken {
    fn sample(&mut self) -> Sample {
        std::panic::resume_unwind(Box::new(()))
    }
    fn slow(&mut self, _: &mut dyn FnMut(&Slow)) {}
    fn collectors(&mut self, _: &mut dyn FnMut(Collected<'_>)) {}
    fn totals(&mut self) -> Totals {
        Totals::default()
    }
}

#[test]
fn a_panic_ends_reports_only() {
    let place = Place::new();
    let reporter = Reporter::start(setup(&place.socket(), TENTH), Broken).unwrap();
    reporter.stopping(b"x", 1);
    assert!(reporter.stop(1, SOON));
}

#[test]
fn paths_that_are_none() {
    let long = PathBuf::from("/".to_owned() + &"x".repeat(108));
    let started = Reporter::start(setup(&long, TENTH), Numbers::default());
    assert!(matches!(started, Err(StartError::Target(_))), "{started:?}");
}
