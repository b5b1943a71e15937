//! Whatever workers do and say, in whatever order: a group stays within its slots, and when they
//! behave again, it gets to where it should be.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Happens {
    Ready(u8),
    Failed(u8),
    Loaded(u8, u8),
    Reload(u8, u8),
    Retire(u8),
    Stopping(u8),
    Lost(u8),
    Overdue(u8),
    End(u8, bool),
    InFlight(u8, bool),
    Refuse(bool),
    Pass(u16),
    Configure(u8, bool),
    Swap,
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens::*;
    let slot = || 0..16u8;
    prop_oneof![
        4 => slot().prop_map(Ready),
        1 => slot().prop_map(Failed),
        1 => (slot(), 0..4u8).prop_map(|(slot, key)| Loaded(slot, key)),
        2 => (slot(), 0..4u8).prop_map(|(slot, version)| Reload(slot, version)),
        1 => slot().prop_map(Retire),
        1 => slot().prop_map(Stopping),
        1 => slot().prop_map(Lost),
        1 => slot().prop_map(Overdue),
        4 => (slot(), any::<bool>()).prop_map(|(slot, clean)| End(slot, clean)),
        2 => (slot(), any::<bool>()).prop_map(|(slot, busy)| InFlight(slot, busy)),
        1 => any::<bool>().prop_map(Refuse),
        3 => (0..3000u16).prop_map(Pass),
        1 => (1..4u8, any::<bool>()).prop_map(|(processes, keep)| Configure(processes, keep)),
        3 => Just(Swap),
    ]
}

fn configured(processes: u8, keep: bool, rolling: bool) -> config::Group {
    let swap = if rolling { Swap::Rolling } else { Swap::Overlap };
    config::Group { slots: 16, keep, swap, ..shape(processes.into()) }
}

impl Scene {
    /// One thing. What is said by nobody is not said.
    fn happens(&mut self, what: &Happens, rolling: bool) {
        let (now, fx) = (self.now, &mut self.world);
        let first = self.group.config().first;
        let at = |slot: &u8| first + u32::from(*slot);
        let group = &mut self.group;
        match what {
            Happens::Ready(slot) => group.on_ready(at(slot), now, fx),
            Happens::Failed(slot) => drop(group.on_failed(at(slot), b"key")),
            Happens::Loaded(slot, key) => group.on_loaded(at(slot), &[*key], now),
            Happens::Reload(slot, version) => {
                group.on_reload(at(slot), b"key", (*version).into(), now, fx);
            }
            Happens::Retire(slot) => group.on_retire(at(slot), Retire::Interval, now, fx),
            Happens::Stopping(slot) => group.on_stopping(at(slot), now, fx),
            Happens::Lost(slot) => group.on_lost(at(slot), now, fx),
            Happens::Overdue(slot) => group.on_overdue(at(slot), "some", now, fx),
            Happens::End(slot, clean) => {
                let exit = if *clean { Exit::Code(0) } else { Exit::Signal(9, false) };
                group.on_end(at(slot), exit, None, "", now, fx);
            }
            Happens::InFlight(slot, busy) => {
                fx.in_flight.insert(at(slot), (*busy).into());
            }
            Happens::Refuse(refuse) => fx.refuse = *refuse,
            Happens::Pass(time) => self.pass((*time).into()),
            Happens::Configure(processes, keep) => {
                let number = group.config_number + 1;
                let config = configured(*processes, *keep, rolling);
                group.configure(config, number, now, fx);
            }
            Happens::Swap => {
                if group.wants_swap(now) {
                    group.begin_swap(now, fx);
                }
            }
        }
    }

    fn check(&self) {
        let config = self.group.config();
        let slots = config.first..config.first + config.slots;
        for (slot, member) in &self.group.members {
            assert!(slots.contains(slot));
            let shown = self.world.shown[slot];
            assert_eq!((shown.epoch, shown.pid), (member.epoch, member.pid));
            assert_ne!(shown.state, State::Free);
        }
        for (slot, shown) in &self.world.shown {
            assert!(self.group.members.contains_key(slot) || shown.state == State::Free);
        }
        if !self.routed().is_empty() && self.group.stopping.is_none() {
            assert_eq!(self.world.status, Some(Status::Serving));
        }
    }

    /// Everybody behaves: what was told to end ends, what was started gets ready, nothing runs.
    fn behave(&mut self) {
        self.world.refuse = false;
        self.world.in_flight.clear();
        for _ in 0..100 {
            self.pass(2_000);
            self.happens(&Happens::Swap, false);
            let members: Vec<(u32, Phase)> =
                self.group.members.iter().map(|(slot, one)| (*slot, one.phase)).collect();
            for (slot, phase) in members {
                match phase {
                    Phase::Starting => self.group.on_ready(slot, self.now, &mut self.world),
                    Phase::Quitting(_) => {
                        let (exit, now) = (Exit::Code(0), self.now);
                        self.group.on_end(slot, exit, None, "", now, &mut self.world);
                    }
                    Phase::Routed | Phase::Spare | Phase::Draining(_) => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_group_gets_to_where_it_should_be(
        processes in 1..4u8,
        rolling: bool,
        all in vec(happens(), 0..80),
    ) {
        let mut scene = Scene::new(configured(processes, false, rolling));
        for what in &all {
            let before: BTreeMap<u32, u32> =
                scene.world.shown.iter().map(|(slot, shown)| (*slot, shown.epoch)).collect();
            scene.happens(what, rolling);
            scene.check();
            for (slot, epoch) in before {
                prop_assert!(scene.world.shown[&slot].epoch >= epoch, "no use comes again");
            }
        }
        scene.behave();
        scene.check();
        let config = scene.group.config();
        let wanted = config.processes as usize;
        prop_assert_eq!(scene.routed().len(), wanted, "{:#?}", scene.group);
        for slot in scene.routed() {
            prop_assert_eq!(scene.world.shown[&slot].config, scene.group.config_number);
        }
        // And then to nothing.
        let now = scene.now;
        scene.group.stop(QuitReason::Stop, now, &mut scene.world);
        let slots: Vec<u32> = scene.group.members.keys().copied().collect();
        for slot in slots {
            scene.group.on_end(slot, Exit::Code(0), None, "", now, &mut scene.world);
        }
        prop_assert!(scene.group.is_over());
        prop_assert_eq!(scene.world.status, Some(Status::Down));
    }
}
