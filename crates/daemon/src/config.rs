//! What the server's parent wants to be run: the whole configuration of process groups.
//!
//! Everything about users, programs and limits is resolved by the parent, which has the server's
//! configuration and the system's databases; the supervisor looks nothing up. What only the
//! application's side understands is in `payload`.

use std::time::Duration;

use crate::control::{MAX_PAYLOAD, milliseconds};
use crate::wire::{Malformed, Put, Reader};

/// Most groups.
const MAX_GROUPS: usize = 1 << 14;
/// Longest path, argument or variable.
const MAX_STRING: usize = 1 << 20;
/// Most arguments, variables, supplementary groups.
const MAX_LIST: usize = 1 << 16;
/// Longest name of a group.
const MAX_NAME: usize = 256;

/// All groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The groups.
    pub groups: Vec<Group>,
    /// How many groups may replace their workers at the same time; at least 1.
    pub swaps: u32,
    /// The least bad level that goes to the main log where there is no relay, as syslog counts; more
    /// than 7 is everything.
    pub level: u8,
}

/// A user and groups to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user. Root is refused, unless [`Group::allow_root`].
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All groups, with the primary one.
    pub groups: Vec<u32>,
}

/// A limit of `setrlimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `RLIMIT_...`.
    pub resource: u32,
    /// What is enforced.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// How workers are replaced by a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Swap {
    /// All new ones are started, then all at once take over: the shortest mix of old and new, and
    /// twice the memory for that time.
    #[default]
    Overlap = 0,
    /// One after another.
    Rolling = 1,
}

/// A group of workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number on the board. Set by [`crate::parent`].
    pub group: u32,
    /// Its first slot. Set by [`crate::parent`].
    pub first: u32,
    /// How many slots it has. Set by [`crate::parent`].
    pub slots: u32,

    /// The program: an absolute path, inside `chroot` if there is one.
    pub program: Vec<u8>,
    /// Its arguments, the first of which is its name.
    pub args: Vec<Vec<u8>>,
    /// Changes to the environment that the supervisor has from the parent; without a value, the
    /// variable is removed.
    pub env: Vec<(Vec<u8>, Option<Vec<u8>>)>,

    /// Whom to become, if the supervisor is root.
    pub user: Option<User>,
    /// Root is meant.
    pub allow_root: bool,
    /// New root directory.
    pub chroot: Option<Vec<u8>>,
    /// Working directory, inside `chroot` if there is one; `/` if none is given, so that the current
    /// directory is nobody's.
    pub directory: Option<Vec<u8>>,
    /// File mode creation mask; unchanged if none is given.
    pub umask: Option<u32>,
    /// Scheduling priority; 0 for unchanged.
    pub nice: i32,
    /// Resource limits.
    pub limits: Vec<Limit>,

    /// How many processes; at least 1.
    pub processes: u32,
    /// How many more stand by, ready, to take the place of one that ends.
    pub spare: u32,
    /// Threads for requests in each; 0 for a service, which takes none.
    pub threads: u32,
    /// Bytes of stack for these threads; 0 for the platform's choice.
    pub stack_size: u32,
    /// Sets of threads and interpreters; at least 1.
    pub domains: u16,
    /// Most connections that a process keeps; 0 for as many as descriptors allow.
    pub connections: u32,
    /// Idle connections are closed after so long.
    pub idle: Duration,
    /// Requests after which a process is replaced; 0 for never.
    pub maximum_requests: u64,

    /// How long a process may take until it is ready; 0 for any time.
    pub startup: Duration,
    /// How long requests may go on when a process is replaced; 0 for any time.
    pub graceful: Duration,
    /// The same when it was told by SIGUSR1 to be replaced; 0 for `graceful`.
    pub eviction: Duration,
    /// How long a process may take to end; 0 for any time.
    pub shutdown: Duration,
    /// After so long a process is replaced; 0 for never.
    pub interval: Duration,
    /// A process in which a request runs for longer is replaced, whatever the process itself does
    /// about it; 0 for any time.
    pub request: Duration,
    /// How generations change.
    pub swap: Swap,
    /// A new configuration that says the same about this group leaves its workers alone.
    pub keep: bool,

    /// Its processes may ask what the server knows of its own.
    pub scoreboard: bool,

    /// What the server's module says to the application's side.
    pub payload: Vec<u8>,
}

impl Config {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::new();
        to.put_u32(self.swaps);
        to.put(&[self.level]);
        to.put_count(self.groups.len());
        for group in &self.groups {
            group.encode(&mut to);
        }
        to
    }

    /// From bytes.
    ///
    /// # Errors
    /// They make no sense, or two groups have the same number or slots.
    pub fn decode(bytes: &[u8]) -> Result<Config, Malformed> {
        let mut from = Reader::new(bytes);
        let swaps = from.u32()?.max(1);
        let level = from.u8()?;
        let count = from.count(100)?;
        if count > MAX_GROUPS {
            return Err(Malformed("too many groups"));
        }
        let groups = (0..count).map(|_| Group::decode(&mut from)).collect::<Result<Vec<_>, _>>()?;
        from.end()?;
        let mut places: Vec<_> = groups.iter().map(|group| (group.first, group.slots)).collect();
        places.sort_unstable();
        let mut free = 0;
        for (first, slots) in places {
            if first < free {
                return Err(Malformed("groups share slots"));
            }
            free = first.checked_add(slots).ok_or(Malformed("a slot that cannot be"))?;
        }
        let mut numbers: Vec<_> = groups.iter().map(|group| group.group).collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Malformed("groups share a number"));
        }
        Ok(Config { groups, swaps, level })
    }

    /// Most bytes of it.
    pub const MAX: usize = 64 << 20;
}

impl Group {
    /// How many slots it needs: for a generation that serves, one that takes over, and some that
    /// still drain.
    pub fn wanted_slots(&self) -> u32 {
        self.processes.saturating_add(self.spare).saturating_mul(2).saturating_add(4)
    }

    /// Threads of one process, in all its domains.
    pub(crate) fn all_threads(&self) -> u32 {
        self.threads.saturating_mul(self.domains.into())
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.put_string(&self.name);
        for number in [self.group, self.first, self.slots] {
            to.put_u32(number);
        }
        to.put_string(&self.program);
        put_list(to, &self.args, |to, arg| to.put_string(arg));
        put_list(to, &self.env, |to, (name, value)| {
            to.put_string(name);
            to.put_option(value.as_ref(), |to, value| to.put_string(value));
        });
        to.put_option(self.user.as_ref(), |to, user| {
            to.put_u32(user.uid);
            to.put_u32(user.gid);
            put_list(to, &user.groups, |to, gid| to.put_u32(*gid));
        });
        to.put_flag(self.allow_root);
        to.put_option(self.chroot.as_ref(), |to, path| to.put_string(path));
        to.put_option(self.directory.as_ref(), |to, path| to.put_string(path));
        to.put_option(self.umask, |to, umask| to.put_u32(umask));
        to.put_i32(self.nice);
        put_list(to, &self.limits, |to, limit| {
            to.put_u32(limit.resource);
            to.put_u64(limit.soft);
            to.put_u64(limit.hard);
        });
        for number in [self.processes, self.spare, self.threads, self.stack_size, self.connections]
        {
            to.put_u32(number);
        }
        to.put_u16(self.domains);
        to.put_u64(self.maximum_requests);
        for time in [
            self.idle,
            self.startup,
            self.graceful,
            self.eviction,
            self.shutdown,
            self.interval,
            self.request,
        ] {
            to.put_u32(milliseconds(time));
        }
        to.put(&[self.swap as u8]);
        to.put_flag(self.keep);
        to.put_flag(self.scoreboard);
        to.put_string(&self.payload);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Group, Malformed> {
        let string = |from: &mut Reader<'_>| {
            let bytes = from.string(MAX_STRING)?;
            // It becomes a C string.
            if bytes.contains(&0) { Err(Malformed("a NUL byte")) } else { Ok(bytes.to_vec()) }
        };
        let time = |from: &mut Reader<'_>| Ok(Duration::from_millis(from.u32()?.into()));
        let mut group = Group {
            name: from.string(MAX_NAME)?.to_vec(),
            group: from.u32()?,
            first: from.u32()?,
            slots: from.u32()?,
            program: string(from)?,
            args: list(from, 4, string)?,
            env: list(from, 5, |from| Ok((string(from)?, from.option(string)?)))?,
            user: from.option(|from| {
                let (uid, gid) = (from.u32()?, from.u32()?);
                Ok(User { uid, gid, groups: list(from, 4, Reader::u32)? })
            })?,
            allow_root: from.flag()?,
            chroot: from.option(string)?,
            directory: from.option(string)?,
            umask: from.option(Reader::u32)?,
            nice: from.i32()?,
            limits: list(from, 20, |from| {
                Ok(Limit { resource: from.u32()?, soft: from.u64()?, hard: from.u64()? })
            })?,
            processes: from.u32()?,
            spare: from.u32()?,
            threads: from.u32()?,
            stack_size: from.u32()?,
            connections: from.u32()?,
            domains: from.u16()?,
            maximum_requests: from.u64()?,
            idle: time(from)?,
            startup: time(from)?,
            graceful: time(from)?,
            eviction: time(from)?,
            shutdown: time(from)?,
            interval: time(from)?,
            request: time(from)?,
            ..Group::default()
        };
        group.swap = if from.u8()? == 1 { Swap::Rolling } else { Swap::Overlap };
        group.keep = from.flag()?;
        group.scoreboard = from.flag()?;
        group.payload = from.string(MAX_PAYLOAD)?.to_vec();
        if !group.program.starts_with(b"/") || group.args.is_empty() {
            return Err(Malformed("a program without a path or a name"));
        }
        if group.processes == 0 || group.domains == 0 || group.slots < group.wanted_slots() {
            return Err(Malformed("a group without processes, domains or slots"));
        }
        let threads = u64::from(group.threads) * u64::from(group.domains);
        if threads > MAX_LIST as u64 {
            return Err(Malformed("too many threads"));
        }
        Ok(group)
    }
}

fn put_list<T>(to: &mut Vec<u8>, list: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    to.put_count(list.len());
    for item in list {
        put(to, item);
    }
}

fn list<'a, T>(
    from: &mut Reader<'a>,
    size: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = from.count(size)?;
    if count > MAX_LIST {
        return Err(Malformed("a list is too long"));
    }
    (0..count).map(|_| read(from)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn group(number: u32, first: u32) -> Group {
        Group {
            name: b"g".to_vec(),
            group: number,
            first,
            slots: 10,
            program: b"/bin/true".to_vec(),
            args: vec![b"true".to_vec(), Vec::new()],
            env: vec![(b"A".to_vec(), Some(b"1".to_vec())), (b"B".to_vec(), None)],
            user: Some(User { uid: 1, gid: 2, groups: vec![2, 3] }),
            chroot: Some(b"/srv".to_vec()),
            umask: Some(0o27),
            nice: -3,
            limits: vec![Limit { resource: 7, soft: 1, hard: u64::MAX }],
            processes: 2,
            threads: 5,
            domains: 1,
            idle: Duration::from_millis(1),
            interval: Duration::from_secs(6),
            request: Duration::from_secs(7),
            swap: Swap::Rolling,
            keep: true,
            scoreboard: true,
            payload: vec![9, 0, 9],
            ..Group::default()
        }
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let config = Config { groups: vec![group(1, 0), group(2, 10)], swaps: 3, level: 6 };
        let bytes = config.encode();
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        for length in 0..bytes.len() {
            assert!(Config::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |groups: Vec<Group>| {
            assert!(Config::decode(&Config { groups, swaps: 1, level: 7 }.encode()).is_err());
        };
        refused(vec![group(1, 0), group(2, 9)]);
        refused(vec![group(1, 0), group(1, 10)]);
        refused(vec![Group { processes: 0, ..group(1, 0) }]);
        refused(vec![Group { processes: 4, ..group(1, 0) }]);
        refused(vec![Group { program: b"true".to_vec(), ..group(1, 0) }]);
        refused(vec![Group { program: b"/bin/tr\0ue".to_vec(), ..group(1, 0) }]);
        refused(vec![Group { args: Vec::new(), ..group(1, 0) }]);
        refused(vec![Group { threads: u32::MAX, ..group(1, 0) }]);
        refused(vec![Group { first: u32::MAX, ..group(1, 0) }, group(2, 10)]);
        refused(vec![Group { first: u32::MAX, ..group(1, 0) }]);
    }
}
