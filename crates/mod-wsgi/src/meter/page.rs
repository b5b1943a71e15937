//! The page of `SetHandler wsgi-status`: this server as the child that is asked can see it.
//!
//! Who may see it is for `Require` in the same section. It is there only if the server's own
//! configuration names the handler; see [`super`].

use ::daemon::client::Address;
use engine_api::{Bytes, Flags, Head, Host, Pair, Slice};
use httpd_sys::{Request, RequestHook, Status};
use status::{Group, PageOptions, Snapshot, Stage, Worker};

use super::places::{self, Whereabouts};
use super::{HANDLER, METER, Meter};
use crate::groups::{self, Known};
use crate::host::RequestHost;
use crate::{VERSION, daemon};

/// The hook.
pub(crate) struct Page;

impl RequestHook for Page {
    fn run(request: &mut Request<'_>) -> Status {
        if request.handler() != Some(HANDLER) {
            return Status::Declined;
        }
        let Some(meter) = METER.get().filter(|meter| meter.child.is_some()) else {
            return Status::Declined;
        };
        if !request.is_get() {
            return Status::Http(405);
        }
        let query = request.query().unwrap_or_default();
        let option = |name: &[u8]| {
            query.split(|byte| *byte == b'&').find_map(|part| part.strip_prefix(name))
        };
        let mut snapshot = snapshot(meter, request);
        let format = option(b"format=");
        // Numbers have no places, and their readers come often.
        if format != Some(b"openmetrics") {
            snapshot.locate(meter);
        }
        let Seen { snapshot, .. } = snapshot;
        let (kind, text) = match format {
            None | Some(b"html") => {
                let options =
                    PageOptions { refresh: refresh(option(b"refresh=")), ..clock(&snapshot) };
                ("text/html; charset=utf-8", status::html(&snapshot, &options))
            }
            Some(b"json") => ("application/json", status::json(&snapshot)),
            Some(b"openmetrics") => (status::MEDIA_TYPE, status::openmetrics(&snapshot)),
            Some(_) => return Status::Http(400),
        };
        let length = text.len().to_string();
        let mut headers = vec![
            Pair::new(b"Content-Type", kind.as_bytes()),
            Pair::new(b"Content-Length", length.as_bytes()),
        ];
        headers.extend(
            status::HEADERS.map(|(name, value)| Pair::new(name.as_bytes(), value.as_bytes())),
        );
        let head = Head {
            status: 200,
            reason: Bytes::new(b"OK"),
            headers: Slice::new(&headers),
            content_length: text.len() as i64,
        };
        let mut host = RequestHost::new(request, false);
        let body = [Bytes::new(text.as_bytes())];
        // To a client that has gone there is nothing to say.
        let _ = host.respond(Some(&head), &body, Flags::END);
        Status::Ok
    }
}

/// Seconds until the page asks for itself again.
fn refresh(asked: Option<&[u8]>) -> u32 {
    let asked = asked.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
    asked.map_or(5, |seconds| seconds.min(3600))
}

/// The time of day, in UTC.
fn clock(snapshot: &Snapshot) -> PageOptions {
    let seconds = snapshot.now / 1_000_000 % 86_400;
    let digits = |number: u64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let [a, b] = digits(seconds / 3600);
    let [c, d] = digits(seconds / 60 % 60);
    let [e, f] = digits(seconds % 60);
    PageOptions { refresh: 0, clock: [a, b, b':', c, d, b':', e, f] }
}

/// A server, and how its running requests are asked for.
struct Seen {
    snapshot: Snapshot,
    /// In the order of [`Snapshot::running`].
    running: Vec<Whereabouts>,
}

impl Seen {
    /// Finds out where the requests are.
    fn locate(&mut self, meter: &Meter) {
        let Some(memory) = meter.child.as_ref().map(status::Child::memory) else { return };
        let places = places::find(memory, &self.running);
        for (request, place) in self.snapshot.running.iter_mut().zip(places) {
            request.place = place;
        }
    }
}

fn snapshot(meter: &Meter, request: &Request<'_>) -> Seen {
    let now = engine_api::now().max(0).unsigned_abs();
    let [major, minor, patch] = VERSION;
    let mut snapshot = Snapshot {
        version: format!("mod_wsgi/{major}.{minor}.{patch}").into_bytes(),
        server: httpd_sys::server_banner().to_vec(),
        host: request.hostname().unwrap_or_default().to_vec(),
        now,
        ..Snapshot::default()
    };
    let mut running = Vec::new();
    let Some(memory) = meter.child.as_ref().map(status::Child::memory) else {
        return Seen { snapshot, running };
    };
    let children = memory.children(status::process::lives);
    let counted = |mut group: Group, number: Option<u32>| {
        if let Some(number) = number {
            group.totals = memory.totals(number);
            group.looked = memory.look(number, now, group.totals.requests());
        }
        group
    };
    // By number in the memory, where a group stands on the page.
    let mut places: Vec<(u32, usize)> = Vec::new();
    // The processes of all groups, and where they are asked.
    let mut workers: Vec<(u32, Address)> = Vec::new();
    let newest = children.iter().map(|(child, _)| child.generation).max().unwrap_or(0);
    let mut embedded = counted(Group { status: "serving", ..Group::default() }, meter.embedded);
    for (child, records) in &children {
        let is_ours = |group: u32| meter.embedded == Some(group);
        let active = records.iter().filter(|record| is_ours(record.group)).count() as u32;
        embedded.active += u64::from(active);
        embedded.threads = child.threads;
        embedded.workers.push(Worker {
            pid: child.pid,
            state: if child.generation == newest { "serving" } else { "draining" },
            generation: child.generation,
            age: Some(now.saturating_sub(child.started)),
            memory: status::process::resident(child.pid),
            threads: child.threads,
            active,
        });
    }
    embedded.generation = newest;
    embedded.processes = crate::child::process().processes;
    let daemons = groups::all();
    let is_used = embedded.active > 0 || embedded.totals.requests() > 0 || daemons.is_empty();
    if let Some(number) = meter.embedded.filter(|_| is_used) {
        places.push((number, 0));
        snapshot.groups.push(embedded);
    }
    for known in daemons {
        let number = meter.groups.get(known.index).copied().flatten();
        if let Some(number) = number {
            places.push((number, snapshot.groups.len()));
        }
        let (group, addresses) = group(known);
        workers.extend(addresses);
        snapshot.groups.push(counted(group, number));
    }
    for (child, records) in children {
        for record in records {
            let Some((_, place)) = places.iter().find(|(number, _)| *number == record.group) else {
                continue;
            };
            let Some(group) = snapshot.groups.get_mut(*place) else { continue };
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
            let age = now.saturating_sub(record.started);
            // There are few, and sorting is a lot of code.
            let place_in_order = snapshot.running.partition_point(|other| other.age >= age);
            let whereabouts = match (group.is_daemon, record.stage) {
                (_, Stage::Reading) => Whereabouts::Nowhere,
                (false, _) => Whereabouts::Child(record.key),
                (true, _) => match workers.iter().find(|(other, _)| *other == pid) {
                    Some((_, address)) => {
                        Whereabouts::Worker(*address, record.started.cast_signed())
                    }
                    None => Whereabouts::Nowhere,
                },
            };
            running.insert(place_in_order, whereabouts);
            snapshot.running.insert(
                place_in_order,
                status::Request {
                    group: *place,
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
    }
    Seen { snapshot, running }
}

/// A group of daemon processes, without what was counted, and where its processes are asked.
fn group(known: &Known) -> (Group, Vec<(u32, Address)>) {
    let process = &known.group.process;
    let mut group = Group {
        name: process.name.clone(),
        is_daemon: true,
        status: "down",
        processes: process.process_count(),
        threads: process.threads,
        ..Group::default()
    };
    let mut addresses = Vec::new();
    let Some(seen) = daemon::overview(known) else { return (group, addresses) };
    group.status = seen.status;
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
            state: worker.state,
            generation: worker.generation,
            age: Some(worker.age),
            memory: status::process::resident(pid),
            threads: process.threads,
            active: worker.load.min(process.threads),
        });
    }
    (group, addresses)
}
