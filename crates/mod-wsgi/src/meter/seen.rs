//! This server at one moment, as the child that is asked for the page can see it: its groups, their
//! processes, what runs, and how it is found out where that is.

use ::daemon::client::{self, Address};
use httpd_sys::Request;
use status::memory::{Process, Record};
use status::{Group, GroupStatus, Memory, Snapshot, Stage, Worker, WorkerState};

use super::Meter;
use super::places::{self, Whereabouts};
use crate::groups::{self, Known};
use crate::{VERSION, child, daemon};

/// A server, and how its running requests are asked for.
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    /// In the order of [`Snapshot::running`].
    running: Vec<Whereabouts>,
}

impl Seen {
    /// The server now.
    pub(super) fn now(meter: &Meter, request: &Request<'_>) -> Seen {
        let [major, minor, patch] = VERSION;
        let snapshot = Snapshot {
            version: format!("mod_wsgi/{major}.{minor}.{patch}").into_bytes(),
            server: httpd_sys::server_banner().to_vec(),
            host: request.hostname().unwrap_or_default().to_vec(),
            now: engine_api::now().max(0).unsigned_abs(),
            ..Snapshot::default()
        };
        let seen = Seen { snapshot, running: Vec::new() };
        let Some(memory) = meter.child.as_ref().map(status::Child::memory) else { return seen };
        let children = memory.children(status::process::lives);
        let mut look = Look { meter, memory, seen, places: Vec::new(), workers: Vec::new() };
        look.embedded(&children);
        for known in groups::all() {
            look.daemon(known);
        }
        for (child, records) in children {
            for record in records {
                look.request(&child, record);
            }
        }
        look.seen
    }

    /// Finds out where the requests are.
    pub(super) fn locate(&mut self, meter: &Meter) {
        let Some(memory) = meter.child.as_ref().map(status::Child::memory) else { return };
        let places = places::find(memory, &self.running);
        for (request, place) in self.snapshot.running.iter_mut().zip(places) {
            request.place = place;
        }
    }
}

/// Puts together what is seen.
struct Look<'a> {
    meter: &'a Meter,
    memory: &'a Memory,
    seen: Seen,
    /// By number in the memory, where a group stands on the page.
    places: Vec<(u32, usize)>,
    /// The processes of all groups, and where they are asked.
    workers: Vec<(u32, Address)>,
}

impl Look<'_> {
    /// Embedded mode, unless nobody uses it and there are other groups to show.
    fn embedded(&mut self, children: &[(Process, Vec<Record>)]) {
        let number = self.meter.embedded;
        let now = self.seen.snapshot.now;
        let newest = children.iter().map(|(child, _)| child.generation).max().unwrap_or(0);
        let mut group =
            self.counted(Group { status: GroupStatus::Serving, ..Group::default() }, number);
        for (child, records) in children {
            let is_ours = |record: &&Record| number == Some(record.group);
            let active = records.iter().filter(is_ours).count() as u32;
            group.active += u64::from(active);
            group.threads = child.threads;
            group.workers.push(Worker {
                pid: child.pid,
                state: if child.generation == newest {
                    WorkerState::Serving
                } else {
                    WorkerState::Draining
                },
                generation: child.generation,
                age: Some(now.saturating_sub(child.started)),
                memory: status::process::resident(child.pid),
                threads: child.threads,
                active,
            });
        }
        group.generation = newest;
        group.processes = child::process().processes;
        let is_used = group.active > 0 || group.totals.requests() > 0 || groups::all().is_empty();
        if number.is_some() && is_used {
            self.add(group, number);
        }
    }

    /// A group of daemon processes.
    fn daemon(&mut self, known: &Known) {
        let number = self.meter.groups.get(known.index).copied().flatten();
        let (group, addresses) = group(known);
        self.workers.extend(addresses);
        let group = self.counted(group, number);
        self.add(group, number);
    }

    /// A request that runs, and the process that serves it.
    fn request(&mut self, child: &Process, record: Record) {
        let snapshot = &mut self.seen.snapshot;
        let place = self.places.iter().find(|(number, _)| *number == record.group);
        let Some((_, place)) = place.copied() else { return };
        let Some(group) = snapshot.groups.get_mut(place) else { return };
        // It may have been sent to a process that has ended, and wait for another.
        let worker = record.worker;
        let is_there = group.workers.iter().any(|other| other.pid == worker);
        if group.is_daemon && !is_there && record.handed != 0 {
            group.queued += 1;
            group.active += 1;
        }
        let pid = match (group.is_daemon, is_there) {
            (false, _) => child.pid,
            (true, true) => worker,
            (true, false) => 0,
        };
        let whereabouts = match (group.is_daemon, record.stage) {
            (_, Stage::Reading) => Whereabouts::Nowhere,
            (false, _) => Whereabouts::Child(record.key),
            (true, _) => match self.workers.iter().find(|(other, _)| *other == pid) {
                Some((_, address)) => Whereabouts::Worker(*address, record.started.cast_signed()),
                None => Whereabouts::Nowhere,
            },
        };
        let age = snapshot.now.saturating_sub(record.started);
        // There are few, and sorting is a lot of code.
        let index = snapshot.running.partition_point(|other| other.age >= age);
        self.seen.running.insert(index, whereabouts);
        snapshot.running.insert(
            index,
            status::Request {
                group: place,
                pid,
                age,
                stage: record.stage,
                method: record.method,
                uri: record.uri,
                is_cut: record.is_cut,
                place: None,
            },
        );
    }

    /// The group with what was counted of it.
    fn counted(&self, mut group: Group, number: Option<u32>) -> Group {
        if let Some(number) = number {
            group.totals = self.memory.totals(number);
            let requests = group.totals.requests();
            group.looked = self.memory.look(number, self.seen.snapshot.now, requests);
        }
        group
    }

    fn add(&mut self, group: Group, number: Option<u32>) {
        let groups = &mut self.seen.snapshot.groups;
        self.places.extend(number.map(|number| (number, groups.len())));
        groups.push(group);
    }
}

/// A group of daemon processes, without what was counted, and where its processes are asked.
fn group(known: &Known) -> (Group, Vec<(u32, Address)>) {
    let process = &known.group.process;
    let mut group = Group {
        name: process.name.clone(),
        is_daemon: true,
        processes: process.process_count(),
        threads: process.threads,
        ..Group::default()
    };
    let mut addresses = Vec::new();
    let Some(seen) = daemon::overview(known) else { return (group, addresses) };
    group.status = match seen.status {
        client::Status::Starting => GroupStatus::Starting,
        client::Status::Down => GroupStatus::Down,
        client::Status::Serving => GroupStatus::Serving,
        client::Status::Failing => GroupStatus::Failing,
        client::Status::Service => GroupStatus::Service,
    };
    group.generation = seen.generation;
    group.failures = seen.failures;
    group.restarts = seen.ends;
    group.last_restart = seen.last_end;
    for worker in seen.workers {
        let pid = worker.pid.unsigned_abs();
        addresses.push((pid, worker.address));
        group.active += u64::from(worker.load);
        group.queued += u64::from(worker.load.saturating_sub(process.threads));
        group.workers.push(Worker {
            pid,
            state: match worker.state {
                client::WorkerState::Starting => WorkerState::Starting,
                client::WorkerState::Spare => WorkerState::Spare,
                client::WorkerState::Serving => WorkerState::Serving,
                client::WorkerState::Draining => WorkerState::Draining,
            },
            generation: worker.generation,
            age: Some(worker.age),
            memory: status::process::resident(pid),
            threads: process.threads,
            active: worker.load.min(process.threads),
        });
    }
    (group, addresses)
}
