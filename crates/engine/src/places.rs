//! Where threads are in Python, for the page of `SetHandler wsgi-status`.
//!
//! Nothing is noted before somebody asks. Then a thread takes Python's lock, as any other would, and
//! looks at the frames of those that serve, which do not run meanwhile; who asks waits for a short
//! time only. If an application keeps the lock, the thread hangs, without harm, and the answer is
//! that. Each lock has a thread of its own, for the lock of one interpreter says nothing about those
//! of others; it is started when somebody asks for the first time.
//!
//! Without a lock (PEP 703) no thread can look at another without stopping all of them, so there it
//! is not told.
//! <https://docs.python.org/3/c-api/init.html#c.PyThreadState_GetFrame>

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use engine_api::{Frame, MOST_FRAMES, PATIENCE, Place};
use interp::Interpreter;
use py::InterpreterId;

use crate::frames::{self, Names};
use crate::group::Group;
use crate::process::Process;

/// Whoever has one of Python's locks: the interpreters that share one, or one by itself.
pub(crate) type Lock = Option<InterpreterId>;

/// Who looks, for each lock.
static LOOKERS: Mutex<Vec<(Lock, SyncSender<Errand>)>> = Mutex::new(Vec::new());

/// As many may wait for one that hangs.
const MOST_WAITING: usize = 8;

/// Somebody wants to know.
struct Errand {
    groups: Vec<&'static Group>,
    threads: Arc<[u64]>,
    /// Nobody waits for it any longer.
    until: Instant,
    answer: Sender<Answer>,
}

/// The lock that was had, and the frames of threads that are in some, by index.
type Answer = (Lock, Vec<(usize, Vec<Frame>)>);

/// Where threads are, which are as `pthread_self` says. Detached; takes no longer than [`PATIENCE`],
/// and what a thread takes to start.
pub(crate) fn of(process: &'static Process, threads: &[u64]) -> Vec<Place> {
    if !Interpreter::TELLS_FRAMES {
        return threads.iter().map(|_| Place::Untold).collect();
    }
    let until = Instant::now() + PATIENCE;
    let threads: Arc<[u64]> = threads.into();
    let mut places: Vec<_> = threads.iter().map(|_| Place::Elsewhere).collect();
    let mut locks = by_lock(process.groups());
    let (answer, answers) = channel();
    for (lock, groups) in &locks {
        let errand = Errand {
            groups: groups.clone(),
            threads: Arc::clone(&threads),
            until,
            answer: answer.clone(),
        };
        send(*lock, errand);
    }
    drop(answer);
    let left = || until.saturating_duration_since(Instant::now());
    while !locks.is_empty()
        && let Ok((had, found)) = answers.recv_timeout(left())
    {
        locks.retain(|(lock, _)| *lock != had);
        for (index, frames) in found {
            places[index] = Place::Frames(frames);
        }
    }
    // Those that may be where nobody could look.
    for (thread, place) in threads.iter().zip(&mut places) {
        let mut unseen = locks.iter().flat_map(|(_, groups)| groups);
        if *place == Place::Elsewhere && unseen.any(|group| group.interpreter.knows(*thread)) {
            *place = Place::Held;
        }
    }
    places
}

/// Groups that share a lock together.
pub(crate) fn by_lock(groups: Vec<&'static Group>) -> Vec<(Lock, Vec<&'static Group>)> {
    let mut locks: Vec<(Lock, Vec<&'static Group>)> = Vec::new();
    for group in groups {
        let own = group.interpreter.has_own_gil().then(|| group.interpreter.id());
        match locks.iter_mut().find(|(lock, _)| *lock == own) {
            Some((_, groups)) => groups.push(group),
            None => locks.push((own, vec![group])),
        }
    }
    locks
}

/// Has somebody look. If that is not possible, nobody answers.
fn send(lock: Lock, errand: Errand) {
    let mut lookers = LOOKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, looker)) = lookers.iter().find(|(known, _)| *known == lock) {
        let _ = looker.try_send(errand);
        return;
    }
    let (looker, errands) = sync_channel(MOST_WAITING);
    let _ = looker.try_send(errand);
    if telemetry::spawn("wsgi-looker", move || look(lock, &errands)).is_ok() {
        lookers.push((lock, looker));
    }
}

/// The life of a thread that looks.
fn look(lock: Lock, errands: &Receiver<Errand>) {
    for errand in errands {
        let mut found = Vec::new();
        for group in &errand.groups {
            if Instant::now() >= errand.until || group.process.is_stopping() {
                break;
            }
            let _ = group.interpreter.attach(|py| {
                for (index, thread) in errand.threads.iter().enumerate() {
                    if let Some(frame) = group.interpreter.frame_of(py, *thread)
                        && let Ok(frames) = frames::from(frame, MOST_FRAMES, Names::Qualified)
                    {
                        found.push((index, frames));
                    }
                }
            });
        }
        // Later than that, what was found is no news, and some may not have been looked at.
        if Instant::now() < errand.until {
            let _ = errand.answer.send((lock, found));
        }
    }
}
