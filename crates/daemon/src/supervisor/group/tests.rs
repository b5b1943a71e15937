//! Groups with time and failures made up.

mod properties;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::config::Swap;

/// A world in which processes do what the test says.
#[derive(Debug, Default)]
struct World {
    shown: BTreeMap<u32, Shown>,
    status: Option<Status>,
    generation: u32,
    failures: u32,
    announced: u32,
    in_flight: BTreeMap<u32, u64>,
    quits: Vec<u32>,
    signals: Vec<(u32, i32)>,
    log: Vec<String>,
    spawned: u32,
    loads: Vec<Vec<u8>>,
    ends: Vec<(End, i32)>,
    refuse: bool,
}

impl Effects for World {
    fn spawn(&mut self, _: &config::Group, new: &New<'_>) -> Result<i32, String> {
        if self.refuse {
            return Err("no".to_owned());
        }
        self.spawned += 1;
        self.loads = new.loads.to_vec();
        Ok(1000 + self.spawned as i32)
    }
    fn last_epoch(&mut self, slot: u32) -> u32 {
        self.shown.get(&slot).map_or(0, |shown| shown.epoch)
    }
    fn show(&mut self, slot: u32, shown: &Shown) {
        self.shown.insert(slot, *shown);
    }
    fn announce(&mut self, _: u32, status: Status, generation: u32) {
        self.status = Some(status);
        self.generation = generation;
        self.announced += 1;
    }
    fn count_failure(&mut self, _: u32) {
        self.failures += 1;
    }
    fn count_end(&mut self, _: u32, end: End, pid: i32) {
        self.ends.push((end, pid));
    }
    fn quit(&mut self, slot: u32, _: QuitReason, _: Duration) {
        self.quits.push(slot);
    }
    fn signal(&mut self, slot: u32, signal: Signal) {
        self.signals.push((slot, signal.as_raw()));
    }
    fn in_flight(&mut self, slot: u32) -> u64 {
        self.in_flight.get(&slot).copied().unwrap_or(0)
    }
    fn log(&mut self, _: Level, _: &config::Group, _: i32, text: &str) {
        self.log.push(text.to_owned());
    }
}

/// A group in its world, at a time.
struct Scene {
    group: Group,
    world: World,
    now: Instant,
}

fn shape(processes: u32) -> config::Group {
    config::Group {
        name: b"g".to_vec(),
        first: 10,
        slots: 2 * processes + 8,
        processes,
        threads: 1,
        domains: 1,
        graceful: Duration::from_secs(15),
        shutdown: Duration::from_secs(5),
        ..config::Group::default()
    }
}

impl Scene {
    fn new(config: config::Group) -> Scene {
        let mut scene =
            Scene { group: Group::new(config, 1), world: World::default(), now: Instant::now() };
        scene.group.settle(scene.now, &mut scene.world);
        scene
    }

    /// With all workers ready for a while.
    fn running(config: config::Group) -> Scene {
        let mut scene = Scene::new(config);
        scene.ready();
        scene.pass(60_000);
        scene
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.group.tick(self.now, &mut self.world);
    }

    fn in_state(&self, state: State) -> Vec<u32> {
        let of = |(slot, shown): (&u32, &Shown)| (shown.state == state).then_some(*slot);
        self.world.shown.iter().filter_map(of).collect()
    }

    fn routed(&self) -> Vec<u32> {
        self.in_state(State::Routed)
    }

    fn ready_one(&mut self, slot: u32) {
        self.group.on_ready(slot, self.now, &mut self.world);
    }

    /// All that start become ready.
    fn ready(&mut self) {
        for slot in self.in_state(State::Starting) {
            self.ready_one(slot);
        }
    }

    fn dies(&mut self, slot: u32) {
        self.group.on_end(slot, Exit::Signal(9, false), None, "", self.now, &mut self.world);
    }

    /// Those that were told to end do.
    fn quitters_end(&mut self) {
        for slot in std::mem::take(&mut self.world.quits) {
            self.group.on_end(slot, Exit::Code(0), None, "", self.now, &mut self.world);
        }
        self.world.signals.clear();
    }

    fn swap(&mut self) {
        assert!(self.group.wants_swap(self.now));
        self.group.begin_swap(self.now, &mut self.world);
    }

    fn reload(&mut self, slot: u32, version: u64) {
        self.group.on_reload(slot, b"app", version, self.now, &mut self.world);
    }

    fn said(&self, what: &str) -> bool {
        self.world.log.iter().any(|line| line.contains(what))
    }
}

#[test]
fn workers_are_routed_as_they_become_ready() {
    let mut scene = Scene::new(shape(2));
    assert_eq!(scene.in_state(State::Starting), [10, 11]);
    assert_eq!(scene.world.status, Some(Status::Starting));
    scene.ready_one(11);
    assert_eq!(scene.routed(), [11]);
    assert_eq!(scene.world.status, Some(Status::Serving));
    assert_eq!(scene.world.generation, 1);
    scene.ready();
    assert_eq!(scene.routed(), [10, 11]);
    assert_eq!(scene.group.epoch(10), Some(1));
    assert_eq!(scene.group.epoch(12), None);
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_one_that_keeps_dying_ever_later() {
    let mut scene = Scene::running(shape(1));
    scene.dies(10);
    assert!(scene.said("terminated by signal 9 (SIGKILL)"));
    assert_eq!(scene.in_state(State::Starting), [10]);
    assert_eq!(scene.world.shown[&10].epoch, 2);
    assert_eq!(scene.world.status, Some(Status::Starting), "wait for it");
    let mut begun = Vec::new();
    for _ in 0..6 {
        scene.dies(10);
        assert_eq!(scene.world.status, Some(Status::Failing), "do not wait for it");
        let at = scene.now;
        while scene.in_state(State::Starting).is_empty() {
            assert!(scene.now - at < Duration::from_secs(60), "it is not tried again");
            scene.pass(50);
        }
        begun.push((scene.now - at).as_millis());
    }
    assert_eq!(begun, [250, 500, 1000, 2000, 4000, 8000]);
    scene.ready();
    assert_eq!(scene.world.status, Some(Status::Serving));
    scene.pass(1500);
    scene.dies(10);
    assert_eq!(scene.in_state(State::Starting), [10], "it has lived, so all is forgiven");
}

#[test]
fn each_end_has_a_reason() {
    let mut scene = Scene::running(shape(1));
    scene.group.on_retire(10, Retire::MaximumRequests, scene.now, &mut scene.world);
    scene.ready();
    scene.pass(10);
    scene.quitters_end();
    let slot = scene.routed()[0];
    scene.dies(slot);
    scene.group.on_end(10, Exit::Code(1), Some("no"), "", scene.now, &mut scene.world);
    scene.group.configure(shape(1), 2, scene.now, &mut scene.world);
    let ends: Vec<End> = scene.world.ends.iter().map(|(end, _)| *end).collect();
    assert_eq!(ends, [End::Retired(Retire::MaximumRequests), End::Died, End::NotStarted]);
    assert_eq!(scene.world.ends[0].1, 1001);
    scene.group.stop(QuitReason::Stop, scene.now, &mut scene.world);
    scene.quitters_end();
    assert_eq!(scene.world.ends.len(), 3, "that all is over is no reason");
}

#[test]
fn a_spare_takes_over_at_once() {
    let mut scene = Scene::running(config::Group { spare: 1, ..shape(1) });
    assert_eq!(scene.routed(), [10]);
    assert_eq!(scene.in_state(State::Spare), [11]);
    scene.dies(10);
    assert_eq!(scene.routed(), [11]);
    assert_eq!(scene.world.status, Some(Status::Serving));
    scene.ready();
    assert_eq!((scene.routed(), scene.in_state(State::Spare)), (vec![11], vec![10]));
}

#[test]
fn a_spare_that_has_loaded_less_is_renewed() {
    let mut scene = Scene::running(config::Group { spare: 1, ..shape(1) });
    scene.group.on_loaded(10, b"app", scene.now);
    scene.pass(500);
    scene.group.on_loaded(10, b"admin", scene.now);
    scene.pass(900);
    assert_eq!(scene.in_state(State::Spare), [11], "others may be loaded just now");
    scene.pass(200);
    scene.quitters_end();
    scene.ready();
    assert_eq!(scene.routed(), [10]);
    let spares = scene.in_state(State::Spare);
    assert_eq!(spares.len(), 1);
    // Once it has all there is, it stays, also when the others say it again.
    scene.group.on_loaded(10, b"app", scene.now);
    scene.pass(5000);
    assert_eq!(scene.in_state(State::Spare), spares);
    assert!(scene.in_state(State::Starting).is_empty());
}

#[test]
fn a_reload_starts_new_ones_flips_and_drains_the_old() {
    let mut scene = Scene::running(shape(2));
    scene.group.on_loaded(10, b"app", scene.now);
    scene.group.on_loaded(11, b"app", scene.now);
    scene.reload(10, 7);
    scene.reload(11, 7);
    scene.swap();
    assert!(scene.group.is_swapping(scene.now));
    assert_eq!(scene.in_state(State::Starting), [12, 13]);
    assert_eq!(scene.world.loads, [b"app".to_vec()], "they load what was loaded");
    scene.ready_one(12);
    assert_eq!(scene.routed(), [10, 11], "not before all are ready");
    scene.world.in_flight.insert(10, 1);
    scene.ready_one(13);
    assert_eq!(scene.routed(), [12, 13]);
    assert_eq!(scene.world.generation, 2);
    assert!(!scene.group.is_swapping(scene.now));
    scene.pass(10);
    assert_eq!(scene.world.quits, [11], "10 still has a request");
    scene.world.in_flight.clear();
    scene.pass(10);
    assert_eq!(scene.world.quits, [11, 10]);
    scene.quitters_end();
    assert_eq!(scene.in_state(State::Free), [10, 11]);
    assert_eq!(scene.world.failures, 0);
}

#[test]
fn one_after_another_when_rolling() {
    let mut scene = Scene::running(config::Group { swap: Swap::Rolling, ..shape(3) });
    scene.reload(10, 7);
    scene.swap();
    for round in 1..=3 {
        assert_eq!(scene.in_state(State::Starting).len(), 1);
        scene.ready();
        assert_eq!(scene.routed().len(), 3);
        let fresh = scene
            .world
            .shown
            .values()
            .filter(|shown| shown.generation == 2 && shown.state == State::Routed);
        assert_eq!(fresh.count(), round);
        assert_eq!(scene.world.generation, 2);
        scene.pass(10);
        scene.quitters_end();
    }
    assert!(!scene.group.is_swapping(scene.now));
    assert!(scene.in_state(State::Starting).is_empty());
}

#[test]
fn what_cannot_be_loaded_takes_no_requests() {
    let mut scene = Scene::running(shape(2));
    scene.reload(10, 7);
    scene.swap();
    scene.group.on_failed(12, b"key");
    scene.ready_one(12);
    assert_eq!(scene.routed(), [10, 11]);
    assert_eq!(scene.world.failures, 1, "waiting requests are told");
    assert!(scene.said("goes on with the code that it has loaded"));
    scene.quitters_end();
    assert!(scene.in_state(State::Starting).is_empty());
    // The same change is not tried again, another one is.
    scene.reload(10, 7);
    assert!(!scene.group.wants_swap(scene.now));
    assert_eq!(scene.world.failures, 2);
    scene.pass(60_000);
    scene.reload(11, 8);
    scene.swap();
    scene.ready();
    scene.pass(10);
    assert_eq!(scene.routed().len(), 2);
    assert_eq!(scene.world.generation, 3, "a number is not used twice");
}

#[test]
fn the_first_generation_serves_even_if_it_cannot_load_everything() {
    let mut scene = Scene::new(shape(1));
    scene.group.on_failed(10, b"key");
    scene.ready();
    assert_eq!(scene.routed(), [10]);
}

#[test]
fn new_processes_that_die_change_nothing_and_are_tried_again_later() {
    let mut scene = Scene::running(shape(1));
    scene.reload(10, 7);
    scene.swap();
    scene.dies(11);
    assert_eq!((scene.routed(), scene.world.failures), (vec![10], 1));
    assert!(!scene.group.is_swapping(scene.now));
    scene.reload(10, 7);
    assert!(!scene.group.wants_swap(scene.now), "not at once");
    scene.pass(300);
    scene.reload(10, 7);
    scene.swap();
    scene.ready();
    scene.pass(10);
    assert_eq!(scene.routed(), [11]);
}

#[test]
fn another_configuration_replaces_all_and_the_same_one_may_be_kept() {
    let mut scene = Scene::running(config::Group { keep: true, ..shape(1) });
    let same = scene.group.config().clone();
    scene.group.configure(same, 2, scene.now, &mut scene.world);
    assert!(!scene.group.wants_swap(scene.now));
    assert_eq!(scene.world.shown[&10].config, 2);
    let other = config::Group { threads: 3, keep: true, ..shape(1) };
    scene.group.configure(other, 3, scene.now, &mut scene.world);
    scene.swap();
    assert_eq!(scene.routed(), [10]);
    scene.ready();
    assert_eq!(scene.routed(), [11]);
    // Read again in the middle of a change: what was begun is dropped.
    let another = config::Group { threads: 4, ..shape(1) };
    scene.group.configure(another.clone(), 4, scene.now, &mut scene.world);
    scene.swap();
    let begun = scene.in_state(State::Starting);
    scene.group.configure(another, 5, scene.now, &mut scene.world);
    assert_eq!(scene.world.signals, [(begun[0], 15)]);
    scene.swap();
    scene.quitters_end();
    scene.ready();
    assert_eq!(scene.world.shown[&scene.routed()[0]].config, 5);
}

#[test]
fn a_configuration_that_does_not_start_is_tried_ever_more_slowly() {
    let mut scene = Scene::running(shape(1));
    let other = config::Group { threads: 3, ..shape(1) };
    scene.group.configure(other, 2, scene.now, &mut scene.world);
    scene.world.refuse = true;
    let mut tries = Vec::new();
    let begun = scene.now;
    while tries.len() < 4 {
        assert!(scene.now - begun < Duration::from_secs(60), "{tries:?}");
        if scene.group.wants_swap(scene.now) {
            scene.group.begin_swap(scene.now, &mut scene.world);
            tries.push((scene.now - begun).as_millis());
        }
        scene.pass(50);
    }
    assert_eq!(tries, [0, 250, 750, 1750]);
    assert_eq!(scene.routed(), [10]);
    scene.world.refuse = false;
    scene.pass(5000);
    scene.swap();
    scene.ready();
    assert_eq!(scene.routed(), [11]);
}

#[test]
fn a_worker_that_retires_is_replaced_alone() {
    let mut scene = Scene::running(shape(2));
    scene.group.on_retire(11, Retire::MaximumRequests, scene.now, &mut scene.world);
    assert_eq!(scene.routed(), [10, 11], "it goes on until it is replaced");
    scene.ready();
    assert_eq!(scene.routed(), [10, 12]);
    assert_eq!(scene.world.generation, 1);
    scene.pass(10);
    assert_eq!(scene.world.quits, [11]);
    // By age.
    let mut scene = Scene::running(config::Group { interval: Duration::from_secs(90), ..shape(1) });
    assert!(scene.in_state(State::Starting).is_empty());
    scene.pass(40_000);
    scene.ready();
    assert_eq!(scene.routed(), [11]);
}

#[test]
fn limits_are_enforced() {
    let mut scene = Scene::running(shape(1));
    scene.world.in_flight.insert(10, 1);
    scene.group.on_retire(10, Retire::GracefulSignal, scene.now, &mut scene.world);
    scene.ready();
    scene.pass(14_000);
    assert!(scene.world.quits.is_empty());
    scene.pass(1_000);
    assert_eq!(scene.world.quits, [10], "drained for long enough");
    scene.pass(5_900);
    assert!(scene.world.signals.is_empty());
    scene.pass(100);
    assert_eq!(scene.world.signals, [(10, 9)]);

    let mut scene = Scene::new(config::Group { startup: Duration::from_secs(3), ..shape(1) });
    scene.pass(2_999);
    assert!(scene.world.signals.is_empty());
    scene.pass(1);
    assert_eq!(scene.world.signals, [(10, 9)]);
    assert!(scene.said("is not ready in time"));
}

#[test]
fn stopping_ends_everything() {
    let mut scene = Scene::running(shape(2));
    scene.dies(10);
    scene.group.stop(QuitReason::Stop, scene.now, &mut scene.world);
    assert_eq!(scene.world.quits, [10, 11]);
    assert_eq!(scene.world.signals, [(10, 15)], "it does not listen yet");
    assert_eq!(scene.world.status, Some(Status::Down));
    assert!(!scene.group.is_over());
    scene.quitters_end();
    assert!(scene.group.is_over());
    scene.pass(60_000);
    assert!(scene.in_state(State::Starting).is_empty());
}

#[test]
fn a_service_runs_again_and_takes_nothing() {
    let mut scene = Scene::new(config::Group { threads: 0, ..shape(1) });
    assert_eq!(scene.world.status, Some(Status::Service));
    scene.pass(5_000);
    scene.group.on_end(10, Exit::Code(0), None, "", scene.now, &mut scene.world);
    assert_eq!(scene.in_state(State::Starting), [10], "it has run for a while");
    scene.group.on_end(10, Exit::Code(0), None, "", scene.now, &mut scene.world);
    assert!(scene.in_state(State::Starting).is_empty(), "but not in a tight loop");
    assert_eq!(scene.world.status, Some(Status::Service));
    scene.pass(300);
    scene.group.stop(QuitReason::Stop, scene.now, &mut scene.world);
    assert_eq!(scene.world.signals, [(10, 15)]);
    scene.pass(5_900);
    assert_eq!(scene.world.signals.len(), 1, "it has its time");
    scene.pass(100);
    assert_eq!(scene.world.signals[1], (10, 9));
}

#[test]
fn workers_of_an_earlier_supervisor_are_kept() {
    let now = Instant::now();
    let mut world = World::default();
    let mut group = Group::new(shape(2), 3);
    let shown = Shown { state: State::Routed, epoch: 7, generation: 4, pid: 99, config: 3 };
    for (slot, state, good) in [
        (10, State::Routed, true),
        (11, State::Draining, true),
        (12, State::Starting, false),
        (13, State::Free, false),
    ] {
        let shown = Shown { state, ..shown };
        world.shown.insert(slot, shown);
        assert_eq!(group.adopt(slot, &shown, now), good);
    }
    world.in_flight.insert(11, 1);
    group.settle(now, &mut world);
    let mut scene = Scene { group, world, now };
    assert_eq!(scene.routed(), [10]);
    assert_eq!(scene.world.spawned, 1, "the one that is missing");
    assert!(!scene.group.wants_swap(scene.now), "it is the same configuration");
    scene.ready_one(12);
    assert_eq!(scene.routed(), [10, 12]);
    assert_eq!((scene.world.shown[&12].epoch, scene.world.shown[&12].generation), (8, 4));
    scene.world.in_flight.clear();
    scene.pass(10);
    assert_eq!(scene.world.quits, [11], "it goes on draining");
}

#[test]
fn workers_of_an_earlier_configuration_are_replaced() {
    let now = Instant::now();
    let mut group = Group::new(shape(1), 3);
    let shown = Shown { state: State::Routed, epoch: 7, generation: 4, pid: 99, config: 2 };
    let mut world = World::default();
    world.shown.insert(10, shown);
    assert!(group.adopt(10, &shown, now));
    let mut scene = Scene { group, world, now };
    scene.swap();
    scene.ready();
    assert_eq!(scene.world.shown[&scene.routed()[0]].generation, 5);
}

#[test]
fn a_removed_group_serves_until_it_is_stopped() {
    let mut scene = Scene::running(shape(1));
    scene.group.remove();
    assert!(scene.group.is_removed());
    scene.dies(10);
    scene.ready();
    assert_eq!(scene.routed(), [10]);
    scene.group.stop(QuitReason::Replaced, scene.now, &mut scene.world);
    assert!(!scene.group.is_removed());
    // It comes back before it is gone.
    scene.group.configure(shape(1), 2, scene.now, &mut scene.world);
    if scene.group.wants_swap(scene.now) {
        scene.swap();
    }
    scene.quitters_end();
    scene.ready();
    assert_eq!(scene.routed().len(), 1);
    assert!(!scene.group.is_over());
}

#[test]
fn a_worker_that_stops_by_itself_is_replaced() {
    let mut scene = Scene::running(shape(1));
    scene.group.on_stopping(10, scene.now, &mut scene.world);
    assert!(scene.routed().is_empty());
    assert_eq!(scene.in_state(State::Starting), [11]);
    scene.ready();
    scene.group.on_end(10, Exit::Code(0), None, "", scene.now, &mut scene.world);
    assert_eq!(scene.routed(), [11]);
    assert!(scene.world.log.iter().all(|line| !line.contains("has died")));
}

#[test]
fn a_worker_that_hears_nothing_is_replaced_and_killed_in_time() {
    let mut scene = Scene::running(config::Group { shutdown: Duration::ZERO, ..shape(1) });
    scene.group.on_lost(10, scene.now, &mut scene.world);
    assert!(scene.said("has closed what it is controlled by"));
    assert_eq!(scene.world.signals, [(10, 15)]);
    scene.ready();
    assert_eq!(scene.routed(), [11]);
    scene.pass(5_900);
    assert_eq!(scene.world.signals.len(), 1);
    scene.pass(100);
    assert_eq!(scene.world.signals[1..], [(10, 9)], "though there is no limit otherwise");
}

#[test]
fn an_old_process_that_cannot_load_everything_does_not_stop_a_change() {
    let mut scene = Scene::running(shape(2));
    scene.dies(11);
    assert_eq!(scene.in_state(State::Starting), [11]);
    scene.group.configure(shape(2), 2, scene.now, &mut scene.world);
    scene.swap();
    scene.group.on_failed(11, b"key");
    scene.ready_one(11);
    assert!(scene.group.is_swapping(scene.now), "it is about the new ones");
    scene.ready();
    scene.pass(10);
    assert!(scene.routed().iter().all(|slot| scene.world.shown[slot].generation == 2));
}
