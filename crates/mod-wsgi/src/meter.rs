//! What is recorded of requests: for the page of `SetHandler wsgi-status`, and for notes that a log
//! format reads.
//!
//! Only where the configuration asks for it, which each child looks for once, as [`crate::shown`]
//! does: some line has `wsgi-status` or the name of a note in it. Where none has, a request costs one
//! look at a static. What is written in a `.htaccess` file does not count, so nobody but who writes
//! the server's configuration can turn the page on.
//!
//! * [`request`]: one request, from here to its end;
//! * [`notes`]: its times in its notes;
//! * [`trace`]: `traceparent`, and where a trace begins;
//! * [`page`]: the page;
//! * [`seen`]: what is on it;
//! * [`places`]: where the requests on it are.
//!
//! Counters are in memory that the parent makes before it forks children, and keeps over restarts
//! ([`status::Memory`]).

mod notes;
mod page;
mod places;
mod request;
mod seen;
mod trace;

use std::ffi::CStr;
use std::sync::OnceLock;

use httpd_sys::{Mpm, Pool, PostConfigPass, Retain, Server, with_retained};
use status::memory::{FORMAT, Process};
use status::{Child, Memory, Shape};

use crate::groups::{Group, ProcessGroup, defined};

pub(crate) use page::Page;
pub(crate) use places::answer as answer_places;
pub(crate) use request::Metered;
pub(crate) use trace::take as take_trace;

/// What the server keeps for us: where the memory is.
#[repr(C)]
#[derive(Clone, Copy)]
struct Kept {
    /// The layout that it was made with.
    format: u64,
    address: usize,
    shape: Shape,
    /// Counts configurations.
    generation: u32,
}

// SAFETY: numbers, of which zeroes are "nothing yet"; the first says whether the others are ours.
unsafe impl Retain for Kept {}

const KEPT: &CStr = c"mod_wsgi status";

/// The name of the handler, and what a configuration that wants the page has in it.
const HANDLER: &[u8] = b"wsgi-status";

/// What this child records.
struct Meter {
    /// Its place in the memory, if anybody may look.
    child: Option<Child>,
    /// The numbers of groups there, in the order of the configuration.
    groups: Vec<Option<u32>>,
    /// The number of embedded mode.
    embedded: Option<u32>,
    /// Some line reads notes about times.
    notes: bool,
    /// Some line reads notes about traces.
    traces: bool,
}

static METER: OnceLock<Meter> = OnceLock::new();

/// What the configuration asks for: the page, notes about times, notes about traces.
fn wanted() -> (bool, bool, bool) {
    let has = |text: &[u8], word: &[u8]| text.windows(word.len()).any(|part| part == word);
    httpd_sys::lines().fold((false, false, false), |(page, times, traces), line| {
        let text = line.arguments();
        (
            page || has(text, HANDLER),
            times || notes::NAMES.iter().any(|name| has(text, name.to_bytes())),
            traces || trace::NAMES.iter().any(|name| has(text, name.to_bytes())),
        )
    })
}

/// Whether the configuration has the page.
pub(crate) fn has_page() -> bool {
    wanted().0
}

/// Makes the memory, or sees that what there is has room. In the parent, when children follow.
///
/// # Errors
/// The server does not start: the page is configured and there is no memory for it.
pub(crate) fn prepare(pass: &PostConfigPass<'_>) -> Result<(), String> {
    if !wanted().0 {
        return Ok(());
    }
    let groups = defined(pass.server);
    let shape = Shape {
        groups: (groups.len() as u32 * 2).max(64),
        // Old children that still finish are there beside the new ones.
        children: Mpm.max_daemons().saturating_mul(2).saturating_add(8),
        // HTTP/2 serves with threads of its own.
        threads: Mpm.max_threads().saturating_mul(2).min(Mpm.max_threads() + 64),
    }
    .bounded();
    // SAFETY: in the parent's only thread.
    let made = unsafe {
        with_retained(KEPT, |kept: &mut Kept| {
            kept.generation = kept.generation.wrapping_add(1);
            let there = memory(kept).filter(|memory| {
                let has = memory.shape();
                has.groups >= shape.groups
                    && has.children >= shape.children
                    && has.threads >= shape.threads
                    && enter(memory, &groups)
            });
            if there.is_some() {
                return Ok(());
            }
            let memory = Memory::new(shape)?;
            enter(&memory, &groups);
            *kept = Kept {
                format: FORMAT,
                address: memory.address(),
                shape: memory.shape(),
                generation: kept.generation,
            };
            Ok(())
        })
    };
    let made = made.unwrap_or_else(|| Err(std::io::ErrorKind::OutOfMemory.into()));
    made.map_err(|error: std::io::Error| format!("There is no memory for wsgi-status: {error}."))
}

fn memory(kept: &Kept) -> Option<Memory> {
    // SAFETY: memory of this layout was made by this process or the one it was forked from, which
    // kept where it is.
    (kept.format == FORMAT).then(|| unsafe { Memory::from_address(kept.address, kept.shape) })?
}

/// Gives all groups their numbers; whether there is room.
fn enter(memory: &Memory, groups: &[Group]) -> bool {
    // Embedded mode first, whose name is empty.
    memory.group(b"").is_some()
        && groups.iter().all(|group| memory.group(&group.process.name).is_some())
}

/// Finds this child's place. Before it has threads.
pub(crate) fn join(pool: Pool<'_>, server: Server<'_>) {
    let (page, notes, traces) = wanted();
    if !page && !notes && !traces {
        return;
    }
    // SAFETY: by the only thread of a child that was just forked, or of a server of one process.
    let kept = unsafe { with_retained(KEPT, |kept: &mut Kept| *kept) };
    let kept = kept.filter(|_| page);
    let found = kept.and_then(|kept| Some((memory(&kept)?, kept.generation)));
    let number = |name: &[u8]| found.as_ref().and_then(|(memory, _)| memory.group(name));
    let groups = defined(server);
    let meter = Meter {
        groups: groups.iter().map(|group| number(&group.process.name)).collect(),
        embedded: number(b""),
        child: found.map(|(memory, generation)| {
            let us = Process {
                pid: std::process::id(),
                threads: Mpm.max_threads(),
                started: u64::try_from(engine_api::now()).unwrap_or(0),
                generation,
            };
            memory.claim(&us, status::process::lives)
        }),
        notes,
        traces,
    };
    if METER.set(meter).is_ok() {
        pool.at_end(|| {
            if let Some(child) = METER.get().and_then(|meter| meter.child.as_ref()) {
                child.leave();
            }
        });
    }
}

impl Meter {
    /// The number of a group.
    fn number(&self, group: ProcessGroup) -> Option<u32> {
        match group {
            ProcessGroup::Embedded => self.embedded,
            ProcessGroup::Daemon(known) => *self.groups.get(known.index)?,
        }
    }
}
