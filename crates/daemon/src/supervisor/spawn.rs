//! Starting a worker: fork, become somebody else, exec.
//!
//! The order is what matters. Descriptors first, so that whatever comes later has no others; limits,
//! priority and root directory while there still are the privileges to set them; then groups, group,
//! user, each checked by its result and all of it verified, down to the attempt to become root again,
//! which must fail; last the working directory, which the user must be able to enter, and the
//! program. What fails is reported as {step, errno} through a pipe that closes at `exec`, so "it did
//! not start" always comes with a reason.
//!
//! Everything that allocates is done before the fork.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::config::{Group, User};
use crate::sys::{above, close_from, default_signals, pair, place, refuse_descriptors, shared};
use crate::worker::inherited;
use crate::worker::status_length;

/// A worker process that was started, or at least forked.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) pid: i32,
    /// Our end of its control socket.
    pub(super) control: OwnedFd,
    /// The read end of its output.
    pub(super) log: OwnedFd,
    /// Its status memory.
    pub(super) status: OwnedFd,
    /// Where it says what went wrong before `exec`.
    pub(super) report: OwnedFd,
}

/// What goes into workers beside their configuration.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The environment they inherit.
    pub(super) environ: Vec<(Vec<u8>, Vec<u8>)>,
    /// `/dev/null`.
    pub(super) null: OwnedFd,
    /// The limit of descriptors that the parent had; ours is higher.
    pub(super) descriptors: (u64, u64),
}

/// Variables that are between the server and its own starter.
const NOT_INHERITED: &[&[u8]] = &[
    b"NOTIFY_SOCKET",
    b"LISTEN_FDS",
    b"LISTEN_PID",
    b"LISTEN_FDNAMES",
    b"WATCHDOG_USEC",
    b"WATCHDOG_PID",
];

impl Surroundings {
    /// Takes the environment of this process.
    pub(super) fn new(descriptors: (u64, u64)) -> io::Result<Surroundings> {
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        let environ = std::env::vars_os()
            .map(|(name, value)| (bytes(&name), bytes(&value)))
            .filter(|(name, _)| !NOT_INHERITED.contains(&&name[..]))
            .collect();
        let null = std::fs::OpenOptions::new().read(true).open("/dev/null")?.into();
        Ok(Surroundings { environ, null, descriptors })
    }
}

/// A step on the way to `exec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Step {
    Descriptors = 1,
    Signals = 2,
    Limit = 3,
    Priority = 4,
    Root = 5,
    Groups = 6,
    Gid = 7,
    Uid = 8,
    Verify = 9,
    Directory = 10,
    Exec = 11,
}

/// What a starting process said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) step: Step,
    pub(super) errno: i32,
}

impl Report {
    /// Whether the process goes on without it.
    pub(super) fn is_warning(self) -> bool {
        matches!(self.step, Step::Limit | Step::Priority)
    }

    /// From what was read of the pipe.
    pub(super) fn decode_all(bytes: &[u8]) -> Vec<Report> {
        let mut reports = Vec::new();
        for one in bytes.chunks_exact(8) {
            let (step, errno) = one.split_at(4);
            let number = |bytes: &[u8]| bytes.try_into().map_or(0, i32::from_ne_bytes);
            let step = match number(step) {
                1 => Step::Descriptors,
                2 => Step::Signals,
                3 => Step::Limit,
                4 => Step::Priority,
                5 => Step::Root,
                6 => Step::Groups,
                7 => Step::Gid,
                8 => Step::Uid,
                9 => Step::Verify,
                10 => Step::Directory,
                11 => Step::Exec,
                _ => continue,
            };
            reports.push(Report { step, errno: number(errno) });
        }
        reports
    }

    /// What it means for this group.
    pub(super) fn explain(self, group: &Group) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = |path: &Option<Vec<u8>>| text(path.as_deref().unwrap_or(b"/"));
        let user = group.user.clone().unwrap_or_default();
        let what = match self.step {
            Step::Descriptors => "unable to arrange descriptors".to_owned(),
            Step::Signals => "unable to reset signals".to_owned(),
            Step::Limit => "unable to set a resource limit".to_owned(),
            Step::Priority => format!("unable to set CPU priority of {}", group.nice),
            Step::Root => {
                format!("unable to change root directory to '{}'", path(&group.chroot))
            }
            Step::Groups => "unable to set supplementary groups".to_owned(),
            Step::Gid => format!("unable to set group id to gid={}", user.gid),
            Step::Uid => format!("unable to change to uid={}", user.uid),
            Step::Verify => "privileges were not dropped".to_owned(),
            Step::Directory => {
                format!("unable to change working directory to '{}'", path(&group.directory))
            }
            Step::Exec => format!("unable to execute '{}'", text(&group.program)),
        };
        match self.errno {
            0 => what,
            errno => format!("{what}: {}", io::Error::from_raw_os_error(errno)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.step, self.errno)
    }
}

/// Starts a process of the group.
pub(super) fn spawn(group: &Group, around: &Surroundings) -> io::Result<Spawned> {
    let plan = Plan::new(group, around)?;
    let (control, theirs) = pair()?;
    if !group.scoreboard {
        // Nothing else that a worker says comes with one.
        refuse_descriptors(control.as_fd());
    }
    let (log, output) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&log, true)?;
    let (report, reporting) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&report, true)?;
    let threads = group.all_threads();
    let status = shared(c"wsgi-status", status_length(threads))?;
    let copies = [&around.null, &output, &output, &theirs, &status, &reporting];
    // Above the numbers they are to have, so that none is overwritten before it was copied.
    let mut sources = Vec::with_capacity(copies.len());
    for fd in copies {
        sources.push(above(fd.try_clone()?, 64));
    }
    let numbers: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the child only calls `become_worker` on what was prepared, which does nothing but system
    // calls (L1): there may be a thread that closes things (`closer`).
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: in the child, once; sources are open and above what they are copied to.
        0 => unsafe { become_worker(&plan, &numbers) },
        pid => Ok(Spawned { pid, control, log, status, report }),
    }
}

/// All that the child needs, ready made.
struct Plan<'g> {
    group: &'g Group,
    program: CString,
    args: Vec<*const libc::c_char>,
    environ: Vec<*const libc::c_char>,
    chroot: Option<CString>,
    directory: CString,
    user: Option<&'g User>,
    descriptors: (u64, u64),
    /// What `args` and `environ` point to.
    _strings: Vec<CString>,
}

impl<'g> Plan<'g> {
    fn new(group: &'g Group, around: &Surroundings) -> io::Result<Plan<'g>> {
        let root = rustix::process::geteuid().is_root();
        let user = group.user.as_ref().filter(|_| root);
        if root && !group.allow_root && user.is_none_or(|user| user.uid == 0) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "WSGI process blocked from running as root.",
            ));
        }
        let c = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::from);
        let mut strings = Vec::new();
        for arg in &group.args {
            strings.push(c(arg)?);
        }
        let mut environ = around.environ.clone();
        for (name, value) in &group.env {
            environ.retain(|(other, _)| other != name);
            if let Some(value) = value {
                environ.push((name.clone(), value.clone()));
            }
        }
        for (name, value) in &environ {
            strings.push(c(&[name, &b"="[..], value].concat())?);
        }
        let pointers = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let (args, variables) = strings.split_at(group.args.len());
        Ok(Plan {
            group,
            program: c(&group.program)?,
            args: pointers(args),
            environ: pointers(variables),
            chroot: group.chroot.as_deref().map(c).transpose()?,
            directory: c(group.directory.as_deref().unwrap_or(b"/"))?,
            user,
            descriptors: around.descriptors,
            _strings: strings,
        })
    }
}

/// Where the child reports to.
const REPORT: RawFd = 5;

/// Turns the forked child into the worker.
///
/// # Safety
/// In a forked child, which nothing else runs in; `sources` are open, for 0 and on, and all above
/// the numbers they are copied to.
unsafe fn become_worker(plan: &Plan<'_>, sources: &[RawFd]) -> ! {
    let at = sources.last().copied().unwrap_or(-1);
    let fail = |at: RawFd, step: Step| -> ! {
        report(at, step, errno());
        // SAFETY: ends the child; nothing of the parent's is flushed or run.
        unsafe { libc::_exit(255) }
    };
    // SAFETY: by contract; the remaining calls are system calls on prepared, live data.
    unsafe {
        libc::setpgid(0, 0);
        for (number, source) in sources.iter().enumerate() {
            if place(*source, number as RawFd).is_err() {
                fail(at, Step::Descriptors);
            }
        }
        let at = REPORT;
        if libc::fcntl(at, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            fail(at, Step::Descriptors);
        }
        close_from(REPORT + 1);
        if default_signals().is_err() {
            fail(at, Step::Signals);
        }
        let (soft, hard) = plan.descriptors;
        #[allow(clippy::unnecessary_cast, reason = "signed where the C library is musl")]
        set_limit(at, libc::RLIMIT_NOFILE as u32, soft, hard);
        for limit in &plan.group.limits {
            set_limit(at, limit.resource, limit.soft, limit.hard);
        }
        if plan.group.nice != 0 && libc::setpriority(libc::PRIO_PROCESS, 0, plan.group.nice) != 0 {
            report(at, Step::Priority, errno());
        }
        if let Some(umask) = plan.group.umask {
            libc::umask(umask as libc::mode_t & 0o777);
        }
        if let Some(root) = &plan.chroot
            && (libc::chroot(root.as_ptr()) != 0 || libc::chdir(c"/".as_ptr()) != 0)
        {
            fail(at, Step::Root);
        }
        if let Some(user) = plan.user {
            if libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0 {
                fail(at, Step::Groups);
            }
            if libc::setresgid(user.gid, user.gid, user.gid) != 0 {
                fail(at, Step::Gid);
            }
            if libc::setresuid(user.uid, user.uid, user.uid) != 0 {
                fail(at, Step::Uid);
            }
            if !is_only(user) {
                report(at, Step::Verify, 0);
                libc::_exit(255);
            }
        }
        if libc::chdir(plan.directory.as_ptr()) != 0 {
            fail(at, Step::Directory);
        }
        libc::execve(plan.program.as_ptr(), plan.args.as_ptr(), plan.environ.as_ptr());
        fail(at, Step::Exec)
    }
}

/// Whether this process is that user, and cannot be anybody else again.
fn is_only(user: &User) -> bool {
    let (mut a, mut b, mut c) = (0, 0, 0);
    // SAFETY: the calls write three numbers; the others only read.
    unsafe {
        if libc::getresuid(&mut a, &mut b, &mut c) != 0 || [a, b, c] != [user.uid; 3] {
            return false;
        }
        if libc::getresgid(&mut a, &mut b, &mut c) != 0 || [a, b, c] != [user.gid; 3] {
            return false;
        }
        if libc::getgroups(0, ptr::null_mut()) as usize > user.groups.len() {
            return false;
        }
        user.uid == 0 || libc::setuid(0) != 0
    }
}

fn set_limit(at: RawFd, resource: u32, soft: u64, hard: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads one rlimit.
    if unsafe { libc::setrlimit(resource as _, &limit) } != 0 {
        report(at, Step::Limit, errno());
    }
}

fn report(at: RawFd, step: Step, errno: i32) {
    let mut record = [0; 8];
    record[..4].copy_from_slice(&(step as u32).to_ne_bytes());
    record[4..].copy_from_slice(&errno.to_ne_bytes());
    // SAFETY: a system call on eight readable bytes.
    unsafe { libc::write(at, record.as_ptr().cast(), record.len()) };
}

fn errno() -> i32 {
    // SAFETY: always valid for this thread.
    unsafe { *libc::__errno_location() }
}

const _: () = assert!(inherited::CONTROL == 3 && inherited::STATUS == 4);
