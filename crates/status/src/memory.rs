//! The memory that the processes of a server share: counters of each group, and what runs now.
//!
//! One anonymous mapping, made by the parent before it forks the children of a configuration, and
//! kept over restarts, so that counters do not begin anew and old children still have their place.
//! It has no file and no name: nobody else can map it, and nobody can make it shorter.
//!
//! ```text
//! how often somebody has asked where requests are
//! groups: (hash of the name, when somebody looked, requests then)*
//! counters: stripe by stripe, group by group
//! areas: one for each process that serves, with a record for each request that runs, and with where
//!     that is, if it was asked ([`places`])
//! ```
//!
//! **Counters** are added to with relaxed atomics. Processes and threads count in different stripes, so
//! that few of them write to the same cache line; a reader adds the stripes up. A stripe belongs to
//! nobody: what a process has counted stays when it ends.
//!
//! **Areas** belong to a process as long as it lives, which its number says. A record has a counter
//! that is odd while the record is taken; a reader that finds another number afterwards has read
//! something half-changed and leaves it out.
//!
//! All processes that serve may write everywhere, and so may whoever can run code in one of them.
//! Offsets come from the shape, which each process has on its own; what is read is numbers and text
//! for a page. See "What a hostile child can do" in SECURITY.md.

mod places;

use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::histogram::{BOUNDS, Totals, bucket};
use crate::snapshot::Phase;

pub use places::{Key, ROOM};

/// How much room there is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Groups of processes, over all configurations.
    pub groups: u32,
    /// Processes that serve, at one time.
    pub children: u32,
    /// Requests that one of them runs at a time; more of them run, but are not shown.
    pub threads: u32,
}

/// What comes before the groups.
const HEADER: usize = 64;
/// Where counters are kept apart.
const STRIPES: u32 = 8;
/// An entry of the table of groups.
const ENTRY: usize = 32;
/// The counters of one group in one stripe.
const COUNTERS: usize = (PHASES_LENGTH + 6 * 8).next_multiple_of(64);
const PHASES_LENGTH: usize = Phase::COUNT * PHASE;
/// Buckets and a sum.
const PHASE: usize = (BOUNDS + 2) * 8;
/// Where records begin in an area.
const RECORDS: usize = 64;
/// A request that runs.
const RECORD: usize = 256;
/// Where its text is.
const TEXT: usize = 48;
/// Longest method that is kept.
const METHOD: usize = 24;

impl Shape {
    /// Within what is sensible, and at least one of everything.
    pub fn bounded(self) -> Shape {
        let children = self.children.clamp(1, 4096);
        // All records together in less than a GiB, of which only what is used takes memory.
        let threads = self.threads.clamp(1, (1 << 20) / children);
        Shape { groups: self.groups.clamp(1, 4096), children, threads }
    }

    fn counters(&self, stripe: u32, group: u32) -> usize {
        assert!(stripe < STRIPES && group < self.groups);
        let table = (HEADER + self.groups as usize * ENTRY).next_multiple_of(PAGE);
        table + (stripe as usize * self.groups as usize + group as usize) * COUNTERS
    }

    fn area(&self, child: u32) -> usize {
        assert!(child <= self.children);
        let counters = STRIPES as usize * self.groups as usize * COUNTERS;
        let first = self.counters(0, 0) + counters.next_multiple_of(PAGE);
        first + child as usize * (RECORDS + self.threads as usize * (RECORD + places::SLOT))
    }

    fn record(&self, child: u32, index: u32) -> usize {
        assert!(index < self.threads);
        self.area(child) + RECORDS + index as usize * RECORD
    }

    fn length(&self) -> usize {
        self.area(self.children).next_multiple_of(PAGE)
    }
}

const PAGE: usize = 4096;

/// A fingerprint of the layout: who keeps [`Memory::address`] for other builds keeps this with it.
pub const FORMAT: u64 = {
    // What is where, what a bucket counts, and which phase has which number.
    let texts: [&[u8]; 4] = [
        include_bytes!("memory.rs"),
        include_bytes!("memory/places.rs"),
        include_bytes!("histogram.rs"),
        include_bytes!("snapshot.rs"),
    ];
    let (mut hash, mut text) = (0xcbf2_9ce4_8422_2325, 0);
    while text < texts.len() {
        let mut at = 0;
        while at < texts[text].len() {
            hash = (hash ^ texts[text][at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        text += 1;
    }
    hash
};

/// The memory. Never unmapped: processes that outlive a configuration still use it.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// A mapping of `length` bytes that lives as long as the process.
    address: NonNull<u8>,
    /// Bounded.
    shape: Shape,
    /// `shape.length()`, which each access is held against.
    length: usize,
}

// SAFETY: all access goes through atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Makes it, of zeroes.
    ///
    /// # Errors
    /// There is no room.
    pub fn new(shape: Shape) -> io::Result<Memory> {
        let shape = shape.bounded();
        let length = shape.length();
        // SAFETY: a new mapping at a place of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        match NonNull::new(address.cast::<u8>()) {
            Some(address) if address.as_ptr().addr() != libc::MAP_FAILED.addr() => {
                Ok(Memory { address, shape, length })
            }
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The memory that [`Memory::new`] made in this process, or one that this was forked from.
    ///
    /// # Safety
    /// [`Memory::address`] and [`Memory::shape`] said this.
    pub unsafe fn from_address(address: usize, shape: Shape) -> Option<Memory> {
        let address = NonNull::new(std::ptr::with_exposed_provenance_mut(address))?;
        let shape = shape.bounded();
        Some(Memory { address, shape, length: shape.length() })
    }

    /// Where it is, in this process and those that are forked from it.
    pub fn address(&self) -> usize {
        self.address.as_ptr().expose_provenance()
    }

    /// The room there is.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The number of the group of this name, which is entered now if it is new; `None` if there is no
    /// more room. In the parent, or to find one that the parent has entered.
    pub fn group(&self, name: &[u8]) -> Option<u32> {
        let hash = hash(name);
        (0..self.shape.groups).find(|group| {
            let word = self.u64(HEADER + *group as usize * ENTRY);
            let before = word.compare_exchange(0, hash, AcqRel, Acquire).unwrap_or_else(|it| it);
            before == 0 || before == hash
        })
    }

    /// What was counted for a group.
    pub fn totals(&self, group: u32) -> Totals {
        let mut totals = Totals::default();
        if group >= self.shape.groups {
            return totals;
        }
        let add = |to: &mut u64, at: usize| {
            // Nonsense somebody has written must not stop the page.
            *to = to.wrapping_add(self.u64(at).load(Relaxed));
        };
        for stripe in 0..STRIPES {
            let at = self.shape.counters(stripe, group);
            for phase in 0..Phase::COUNT {
                let at = at + phase * PHASE;
                for (index, to) in totals.buckets[phase].iter_mut().enumerate() {
                    add(to, at + index * 8);
                }
                add(&mut totals.sums[phase], at + (BOUNDS + 1) * 8);
            }
            for (index, to) in totals.statuses.iter_mut().enumerate() {
                add(to, at + PHASES_LENGTH + index * 8);
            }
        }
        totals
    }

    /// Notes that somebody looks at a group now. Returns when that was the time before, in
    /// microseconds since 1970, and how many requests there had been; 0 if it is the first time.
    pub fn look(&self, group: u32, now: u64, requests: u64) -> (u64, u64) {
        if group >= self.shape.groups {
            return (0, 0);
        }
        let at = HEADER + group as usize * ENTRY;
        let before = self.u64(at + 16).swap(requests, Relaxed);
        (self.u64(at + 8).swap(now, Relaxed), before)
    }

    /// Takes an area for this process, one that belongs to nobody who lives. `None` if there is none:
    /// what the process runs is not shown then.
    pub fn claim(&self, us: &Process, lives: impl Fn(u32) -> bool) -> Child {
        let area = (0..self.shape.children).find(|area| {
            let pid = self.u32(self.shape.area(*area));
            let owner = pid.load(Acquire);
            (owner == 0 || owner == us.pid || !lives(owner))
                && pid.compare_exchange(owner, us.pid, AcqRel, Relaxed).is_ok()
        });
        if let Some(area) = area {
            let at = self.shape.area(area);
            self.u32(at + 4).store(us.threads, Relaxed);
            self.u64(at + 8).store(us.started, Relaxed);
            self.u32(at + 16).store(us.generation, Relaxed);
            // What the one before has left is over.
            for record in 0..self.shape.threads {
                let turn = self.u32(self.shape.record(area, record));
                let before = turn.load(Relaxed);
                turn.store(before.wrapping_add(before & 1), Relaxed);
            }
        }
        Child { memory: *self, area, stripe: us.pid % STRIPES }
    }

    /// The processes that serve and live, with what they run.
    pub fn children(&self, lives: impl Fn(u32) -> bool) -> Vec<(Process, Vec<Record>)> {
        let areas = (0..self.shape.children).map(|area| self.shape.area(area));
        let process = |at: &usize| Process {
            pid: self.u32(*at).load(Acquire),
            threads: self.u32(*at + 4).load(Relaxed),
            started: self.u64(*at + 8).load(Relaxed),
            generation: self.u32(*at + 16).load(Relaxed),
        };
        (0..)
            .zip(areas)
            .map(|(area, at)| (area, process(&at)))
            .filter(|(_, process)| process.pid != 0 && lives(process.pid))
            .map(|(area, process)| (process, self.records(area).collect()))
            .collect()
    }

    /// What runs in the process of an area.
    fn records(&self, area: u32) -> impl Iterator<Item = Record> {
        (0..self.shape.threads).filter_map(move |index| self.record(area, index))
    }

    fn record(&self, area: u32, index: u32) -> Option<Record> {
        let at = self.shape.record(area, index);
        let turn = self.u32(at).load(Acquire);
        if turn & 1 == 0 {
            return None;
        }
        let lengths = self.u32(at + 32).load(Relaxed);
        let method = ((lengths & 0xff) as usize).min(METHOD);
        let uri = ((lengths >> 8 & 0xff) as usize).min(RECORD - TEXT - method);
        let mut text = Vec::with_capacity(RECORD - TEXT);
        for word in (TEXT..RECORD).step_by(8) {
            text.extend_from_slice(&self.u64(at + word).load(Relaxed).to_le_bytes());
        }
        let rest = text.split_off(method);
        let record = Record {
            key: Key { area, index, turn },
            thread: self.u64(at + 40).load(Relaxed),
            group: self.u32(at + 4).load(Relaxed),
            started: self.u64(at + 8).load(Relaxed),
            handed: self.u64(at + 16).load(Relaxed),
            stage: Stage::from_raw(self.u32(at + 24).load(Relaxed)),
            worker: self.u32(at + 28).load(Relaxed),
            method: text,
            uri: rest.get(..uri).unwrap_or_default().to_vec(),
            is_cut: lengths >> 16 & 1 == 1,
        };
        std::sync::atomic::fence(Acquire);
        (self.u32(at).load(Relaxed) == turn).then_some(record)
    }

    #[inline]
    fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length);
        // SAFETY: within the mapping (field) and aligned (checked); atomics may be shared.
        unsafe { self.address.add(offset).cast().as_ref() }
    }

    #[inline]
    fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length);
        // SAFETY: as above.
        unsafe { self.address.add(offset).cast().as_ref() }
    }
}

/// A process that serves, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// How many requests it can run.
    pub threads: u32,
    /// When it began, in microseconds since 1970.
    pub started: u64,
    /// The configuration that it was made for.
    pub generation: u32,
}

/// A request that was running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which one it is.
    pub key: Key,
    /// The thread that serves it, as `pthread_self` says there.
    pub thread: u64,
    /// The number of its group, whatever it may be.
    pub group: u32,
    /// When the server read it, in microseconds since 1970.
    pub started: u64,
    /// When it was handed on; 0 before.
    pub handed: u64,
    /// How far it is.
    pub stage: Stage,
    /// The process that runs it; 0 if that is the one that serves, or none yet.
    pub worker: u32,
    /// Its method.
    pub method: Vec<u8>,
    /// What it asks for.
    pub uri: Vec<u8>,
    /// It asks for more than that.
    pub is_cut: bool,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// Its body is read.
    Reading = 0,
    /// It was handed on: waits, or runs.
    Running = 1,
    /// The application has begun to answer.
    Answering = 2,
}

impl Stage {
    fn from_raw(raw: u32) -> Stage {
        match raw {
            0 => Stage::Reading,
            1 => Stage::Running,
            _ => Stage::Answering,
        }
    }

    /// As it is shown.
    pub fn name(self) -> &'static str {
        ["reading", "running", "answering"][self as usize]
    }
}

/// This process, which serves.
#[derive(Debug)]
pub struct Child {
    memory: Memory,
    area: Option<u32>,
    stripe: u32,
}

impl Child {
    /// The memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Counts a request that is over: how long its phases took in microseconds, as far as it had
    /// them, and its status.
    pub fn count(&self, group: u32, phases: &[Option<u64>; Phase::COUNT], status: u16) {
        if group >= self.memory.shape.groups {
            return;
        }
        let stripe = self.stripe.wrapping_add(thread()) % STRIPES;
        let at = self.memory.shape.counters(stripe, group);
        for (index, phase) in phases.iter().enumerate() {
            if let Some(us) = *phase {
                let at = at + index * PHASE;
                self.memory.u64(at + bucket(us) * 8).fetch_add(1, Relaxed);
                self.memory.u64(at + (BOUNDS + 1) * 8).fetch_add(us, Relaxed);
            }
        }
        let class = usize::from(status / 100).wrapping_sub(1).min(5);
        self.memory.u64(at + PHASES_LENGTH + class * 8).fetch_add(1, Relaxed);
    }

    /// Shows a request until the result is dropped; if there is no room it is not shown.
    pub fn begin(&self, group: u32, started: u64, method: &[u8], uri: &[u8]) -> Option<Running> {
        let number = self.area?;
        let threads = self.memory.shape.threads;
        // A thread comes back to its record, which no other thread has written to.
        let own = thread();
        let records = (0..threads.min(PROBES))
            .map(|probe| self.memory.shape.record(number, own.wrapping_add(probe) % threads));
        for at in records {
            let turn = self.memory.u32(at);
            let free = turn.load(Relaxed);
            if free & 1 == 1 || turn.compare_exchange(free, free | 1, AcqRel, Relaxed).is_err() {
                continue;
            }
            let running = Running { memory: self.memory, at };
            self.memory.u32(at + 4).store(group, Relaxed);
            self.memory.u64(at + 8).store(started, Relaxed);
            self.memory.u64(at + 16).store(0, Relaxed);
            self.memory.u64(at + 24).store(0, Relaxed);
            // SAFETY: always succeeds.
            let thread = unsafe { libc::pthread_self() };
            self.memory.u64(at + 40).store(thread as u64, Relaxed);
            running.write(method, uri);
            return Some(running);
        }
        None
    }

    /// Gives the area up, at the end of the process.
    pub fn leave(&self) {
        if let Some(area) = self.area {
            self.memory.u32(self.memory.shape.area(area)).store(0, Release);
        }
    }
}

/// How many records are tried.
const PROBES: u32 = 32;

/// A request that is shown.
#[derive(Debug)]
pub struct Running {
    memory: Memory,
    at: usize,
}

impl Running {
    /// It was handed on, at this time.
    pub fn handed(&self, now: u64) {
        self.memory.u64(self.at + 16).store(now, Relaxed);
        self.memory.u32(self.at + 24).store(Stage::Running as u32, Relaxed);
    }

    /// This process runs it.
    pub fn worker(&self, pid: u32) {
        self.memory.u32(self.at + 28).store(pid, Relaxed);
    }

    /// The application answers.
    pub fn answering(&self) {
        self.memory.u32(self.at + 24).store(Stage::Answering as u32, Relaxed);
    }

    fn write(&self, method: &[u8], uri: &[u8]) {
        let method = &method[..method.len().min(METHOD)];
        let kept = &uri[..uri.len().min(RECORD - TEXT - method.len())];
        let cut = u32::from(kept.len() < uri.len());
        let lengths = method.len() as u32 | (kept.len() as u32) << 8 | cut << 16;
        self.memory.u32(self.at + 32).store(lengths, Relaxed);
        let mut text = [0; RECORD - TEXT];
        text[..method.len()].copy_from_slice(method);
        text[method.len()..method.len() + kept.len()].copy_from_slice(kept);
        let used = (method.len() + kept.len()).next_multiple_of(8);
        for (index, word) in text[..used].chunks_exact(8).enumerate() {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            self.memory.u64(self.at + TEXT + index * 8).store(word, Relaxed);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let turn = self.memory.u32(self.at);
        // Odd; whatever else somebody has made of it.
        turn.store((turn.load(Relaxed) | 1).wrapping_add(1), Release);
    }
}

/// A number of the calling thread, in the order in which threads ask.
fn thread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    let known = NUMBER.get();
    if known != 0 {
        return known;
    }
    let new = NEXT.fetch_add(1, Relaxed).max(1);
    NUMBER.set(new);
    new
}

/// FNV-1a, never 0.
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    name.iter().fold(0xcbf2_9ce4_8422_2325, step).max(1)
}

#[cfg(test)]
#[path = "memory_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
