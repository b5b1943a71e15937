//! The configuration of process groups, as the supervisor reads it: what it takes is written as it was
//! read, and fits the board without two groups in one place.

#![no_main]

use daemon::config::{Config, Group, Limit, Swap, User};
use libfuzzer_sys::fuzz_target;

/// Bytes to be read as they are, or a configuration to begin with and a change to its bytes.
type Input<'a> = (&'a [u8], Vec<(&'a [u8], [u32; 8])>, Vec<(u16, u8)>);

fuzz_target!(|input: Input<'_>| {
    let (raw, groups, changes) = input;
    check(raw);
    let groups = groups.iter().take(8).map(|(text, numbers)| group(text, *numbers)).collect();
    let mut bytes = Config { groups, swaps: 1, level: 7 }.encode();
    check(&bytes);
    for (at, value) in changes {
        let at = usize::from(at) % bytes.len();
        bytes[at] = value;
    }
    check(&bytes);
});

fn group(text: &[u8], [group, first, slots, processes, a, b, c, d]: [u32; 8]) -> Group {
    let numbers = [a, b, c, d];
    Group {
        name: text.to_vec(),
        group: group % 16,
        first: first % 1000,
        slots,
        program: [b"/", text].concat(),
        args: vec![text.to_vec(); (a % 3) as usize],
        env: numbers.map(|n| (text.to_vec(), (n % 2 == 0).then(|| text.to_vec()))).to_vec(),
        user: (a % 4 == 0).then(|| User { uid: b, gid: c, groups: numbers.to_vec() }),
        umask: (b % 4 == 0).then_some(c),
        limits: vec![Limit { resource: a, soft: b.into(), hard: u64::MAX - u64::from(c) }],
        processes: processes % 50,
        spare: d % 4,
        threads: c,
        domains: b as u16,
        swap: if d % 2 == 0 { Swap::Overlap } else { Swap::Rolling },
        payload: text.to_vec(),
        ..Group::default()
    }
}

fn check(bytes: &[u8]) {
    let Ok(config) = Config::decode(bytes) else { return };
    assert_eq!(Config::decode(&config.encode()).as_ref(), Ok(&config));
    assert!(config.swaps > 0);
    let mut taken: Vec<(u32, u32)> = Vec::new();
    for group in &config.groups {
        assert!(group.program.starts_with(b"/") && !group.program.contains(&0));
        assert!(group.processes > 0 && group.domains > 0 && group.slots >= group.wanted_slots());
        let end = group.first.checked_add(group.slots);
        let end = end.unwrap_or_else(|| panic!("{group:?}"));
        assert!(taken.iter().all(|(from, to)| end <= *from || group.first >= *to));
        taken.push((group.first, end));
    }
}
