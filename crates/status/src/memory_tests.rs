//! Tests of the shared memory: what is counted, what runs, and what nonsense in it does.

use super::*;

const SHAPE: Shape = Shape { groups: 3, children: 2, threads: 4 };

fn process(pid: u32) -> Process {
    Process { pid, threads: 4, started: 7, generation: 1 }
}

fn only(us: u64) -> [Option<u64>; Phase::COUNT] {
    let mut phases = [None; Phase::COUNT];
    phases[Phase::Total as usize] = Some(us);
    phases
}

#[test]
fn processes_count_together() {
    let memory = Memory::new(SHAPE).unwrap();
    let [a, b] = [1, 2].map(|pid| memory.claim(&process(pid), |_| true));
    a.count(1, &only(900), 200);
    b.count(1, &only(100_000_000), 503);
    b.count(2, &only(1), 99);
    let totals = memory.totals(1);
    assert_eq!((totals.statuses, totals.requests()), ([0, 1, 0, 0, 1, 0], 2));
    assert_eq!(totals.buckets[Phase::Total as usize][4], 1);
    assert_eq!(totals.buckets[Phase::Total as usize][BOUNDS], 1);
    assert_eq!(totals.sums[Phase::Total as usize], 100_000_900);
    assert_eq!((totals.count(Phase::Total), totals.count(Phase::Queue)), (2, 0));
    assert_eq!(memory.totals(2).statuses, [0, 0, 0, 0, 0, 1]);
    assert_eq!(memory.totals(3), Totals::default(), "there is no such group");
    a.count(3, &only(1), 200);
}

#[test]
fn names_have_a_number() {
    let memory = Memory::new(SHAPE).unwrap();
    assert_eq!(
        [&b""[..], b"a", b"", b"b", b"a"].map(|name| memory.group(name)),
        [Some(0), Some(1), Some(0), Some(2), Some(1)]
    );
    assert_eq!(memory.group(b"c"), None);
}

#[test]
fn what_runs_is_seen() {
    let memory = Memory::new(SHAPE).unwrap();
    let child = memory.claim(&process(5), |_| true);
    let long = vec![b'x'; 300];
    let first = child.begin(1, 10, b"GET", b"/a?b").unwrap();
    let second = child.begin(2, 11, &long, &long).unwrap();
    second.handed(12);
    second.worker(99);
    second.answering();
    let mut seen = memory.children(|_| true);
    let [(owner, records)] = &mut seen[..] else { panic!("{seen:?}") };
    assert_eq!(*owner, process(5));
    // Where a thread begins to look for room depends on the thread.
    records.sort_by_key(|record| record.started);
    let [a, b] = &records[..] else { panic!("{records:?}") };
    assert_eq!((&a.method[..], &a.uri[..], a.is_cut), (&b"GET"[..], &b"/a?b"[..], false));
    assert_eq!((a.group, a.started, a.handed, a.stage), (1, 10, 0, Stage::Reading));
    assert_eq!((b.method.len(), b.uri.len(), b.is_cut), (METHOD, RECORD - TEXT - METHOD, true));
    assert_eq!((b.handed, b.worker, b.stage), (12, 99, Stage::Answering));
    drop(first);
    let _more = [1, 2, 3].map(|_| child.begin(0, 0, b"", b"").unwrap());
    assert!(child.begin(0, 0, b"", b"").is_none(), "there is no room for more");
    assert_eq!(memory.children(|_| true)[0].1.len(), 4);
    assert!(memory.children(|pid| pid != 5).is_empty(), "it has died");
}

#[test]
fn a_thread_comes_back_to_its_record() {
    let memory = Memory::new(SHAPE).unwrap();
    let child = memory.claim(&process(5), |_| true);
    let place = || child.begin(1, 10, b"GET", b"/").unwrap().at;
    let first = place();
    assert_eq!([place(), place()], [first, first]);
    let other = || std::thread::scope(|scope| scope.spawn(place).join().unwrap());
    let places: std::collections::BTreeSet<_> = (0..16).map(|_| other()).collect();
    assert!(places.len() >= 2, "{places:?}");
}

#[test]
fn areas_of_the_dead_are_taken_again() {
    let memory = Memory::new(SHAPE).unwrap();
    let dead = memory.claim(&process(5), |_| true);
    std::mem::forget(dead.begin(0, 0, b"GET", b"/"));
    let other = memory.claim(&process(6), |_| true);
    assert_eq!(memory.claim(&process(7), |_| true).area, None, "all are taken");
    let next = memory.claim(&process(8), |pid| pid != 5);
    assert_eq!((next.area, dead.area), (Some(0), Some(0)));
    assert!(memory.children(|_| true)[0].1.is_empty(), "what the dead one ran is over");
    other.leave();
    assert_eq!(memory.children(|_| true).len(), 1);
}

#[test]
fn looking_tells_what_was_seen_before() {
    let memory = Memory::new(SHAPE).unwrap();
    assert_eq!(memory.look(1, 100, 7), (0, 0));
    assert_eq!(memory.look(1, 200, 9), (100, 7));
    assert_eq!(memory.look(9, 200, 9), (0, 0));
}

#[test]
fn where_requests_are_is_told_to_who_asks() {
    let memory = Memory::new(SHAPE).unwrap();
    let [child, other] = [5, 6].map(|pid| memory.claim(&process(pid), |_| true));
    let first = child.begin(1, 10, b"GET", b"/a").unwrap();
    let _daemon = child.begin(2, 10, b"GET", b"/b").unwrap();
    let _other = other.begin(1, 10, b"GET", b"/c").unwrap();
    let question = memory.ask();
    assert_eq!(child.next_question(question.wrapping_sub(1)), question, "there is one");
    let records = child.records(1);
    let [Record { key, thread, .. }] = records[..] else { panic!("{records:?}") };
    // SAFETY: always succeeds.
    assert_eq!(thread, unsafe { libc::pthread_self() } as u64);
    let answer = |question, text: &[u8]| child.answer(question, [(key, text)].into_iter());
    assert_eq!((memory.told(key, question), memory.has_answered(key, question)), (None, false));
    answer(question, b"a place of more than eight bytes");
    assert_eq!(memory.told(key, question).unwrap(), b"a place of more than eight bytes");
    assert!(memory.has_answered(key, question));
    let elsewhere = other.records(1)[0].key;
    assert!(!memory.has_answered(elsewhere, question), "that is another process");
    // What was said before is no answer now.
    let next = memory.ask();
    assert_eq!((memory.told(key, next), memory.has_answered(key, next)), (None, false));
    assert!(memory.told(key, question).is_some());
    answer(next, &[b'x'; 4000]);
    assert_eq!(memory.told(key, next).unwrap(), vec![b'x'; ROOM]);
    // Nor is what is said of a request that has ended.
    drop(first);
    let _next: Vec<_> = (0..3).map(|_| child.begin(1, 11, b"GET", b"/d").unwrap()).collect();
    let last = memory.ask();
    answer(last, b"too late");
    assert_eq!((memory.told(key, last), memory.has_answered(key, last)), (None, true));
    let new = child.records(1).into_iter().find(|it| it.key.index == key.index).unwrap();
    assert_eq!(memory.told(new.key, next), None);
    // In a child without a place nothing can be said, nor asked.
    let homeless = memory.claim(&process(7), |_| true);
    assert!(homeless.records(1).is_empty());
    homeless.answer(last, std::iter::empty());
}

#[test]
fn somebody_who_waits_is_woken() {
    let memory = Memory::new(SHAPE).unwrap();
    let child = memory.claim(&process(5), |_| true);
    let before = memory.questions();
    let begun = std::time::Instant::now();
    let question = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            memory.ask();
        });
        loop {
            match child.next_question(before) {
                question if question == before => {}
                question => break question,
            }
        }
    });
    assert_eq!(question, before + 1);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn nonsense_does_no_harm() {
    let memory = Memory::new(SHAPE).unwrap();
    let child = memory.claim(&process(5), |_| true);
    let running = child.begin(0, 0, b"GET", b"/").unwrap();
    for at in (0..memory.shape.length()).step_by(8) {
        memory.u64(at).store(u64::MAX, Relaxed);
    }
    let totals = memory.totals(0);
    let _ = (totals.requests(), totals.mean_us(Phase::Total), totals.quantile_us(Phase::Total, 9));
    for (_, records) in memory.children(|_| true) {
        assert!(records.iter().all(|record| record.uri.len() <= RECORD - TEXT));
    }
    for record in child.records(u32::MAX) {
        let told = memory.told(record.key, u32::MAX);
        assert!(told.is_none_or(|text| text.len() <= ROOM));
        child.answer(1, [(record.key, &b"x"[..])].into_iter());
    }
    running.handed(1);
    drop(running);
    let _ = (child.begin(0, 0, b"", b""), memory.group(b"x"));
    child.count(0, &only(u64::MAX), u16::MAX);
    child.leave();
}

#[test]
fn it_is_shared_with_processes_that_are_forked() {
    let memory = Memory::new(SHAPE).unwrap();
    // SAFETY: of the memory that was just made.
    let same = unsafe { Memory::from_address(memory.address(), memory.shape()) }.unwrap();
    // SAFETY: the child touches memory it has, and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        same.claim(&process(3), |_| true).count(0, &only(5), 200);
        // SAFETY: ends this process only.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: our child.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!(memory.totals(0).requests(), 1);
}
