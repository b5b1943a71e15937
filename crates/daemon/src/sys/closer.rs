//! Closing what others have handed over, or may have.
//!
//! Who closes a file last may have to wait: for what a TCP socket has not sent yet (`SO_LINGER`), or for
//! the program behind a file system (FUSE); and a socket that is closed closes the descriptors that lie
//! in it unread. Whoever hands a descriptor over decides on that. So what the supervisor and the main
//! threads of workers get from others is closed by a thread that does nothing else and may hang without
//! harm. It is there once there is something to close. While it hangs, another takes its place for what
//! comes then, within reason: who has given what hangs may be gone, and descriptors of all others would
//! stay open with it.
//!
//! <https://man7.org/linux/man-pages/man7/socket.7.html>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::monotonic_us;
use super::thread::spawn_on;

/// See the module. What it closes are descriptors, or what has one: it is dropped.
#[derive(Debug)]
pub(crate) struct Closer<T> {
    queue: Option<Sender<T>>,
    shared: Arc<Shared>,
    /// Each thread has one, too, as long as it lives.
    threads: Arc<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Descriptors that are not closed yet.
    left: AtomicUsize,
    /// When one was closed last, or the first one came.
    done: AtomicU64,
}

/// Most descriptors that wait while one of them takes long.
const MOST: usize = 256;
/// How long that is, in microseconds.
const LONG: u64 = 1_000_000;
/// With so many the next waits, at most that long, for the system does not allow any number: meanwhile
/// they are closed, or whoever fills the queue is found to be the cause.
const FULL: usize = 2 * MOST;
/// After that, nobody is there any more who could be told ([`Closer::is_stuck`]).
const TOO_LONG: u64 = 5 * LONG;
/// Most threads, if all of them hang.
const MOST_THREADS: usize = 16;
/// It calls one function.
const STACK: usize = 64 << 10;

impl<T> Default for Closer<T> {
    fn default() -> Closer<T> {
        Closer { queue: None, shared: Arc::default(), threads: Arc::default() }
    }
}

impl<T: Send + 'static> Closer<T> {
    /// Closes them, without waiting for it.
    pub(crate) fn close(&mut self, fds: impl IntoIterator<Item = T>) {
        for fd in fds {
            if self.hangs_for(TOO_LONG) {
                self.begin_anew();
            }
            while self.shared.left.load(SeqCst) >= FULL && !self.hangs_for(LONG) {
                thread::sleep(Duration::from_millis(1));
            }
            if self.shared.left.fetch_add(1, SeqCst) == 0 {
                self.shared.done.store(monotonic_us(), SeqCst);
            }
            let fd = match &self.queue {
                Some(queue) => queue.send(fd).err().map(|error| error.0),
                None => self.start(fd),
            };
            if fd.is_some() {
                // Without a thread there is no other way.
                drop(fd);
                self.shared.left.fetch_sub(1, SeqCst);
            }
        }
    }

    /// Whether so much waits to be closed that whoever adds to it now should not. It is said once.
    pub(crate) fn is_stuck(&mut self) -> bool {
        let is_stuck = self.shared.left.load(SeqCst) > MOST && self.hangs_for(LONG);
        if is_stuck {
            self.begin_anew();
        }
        is_stuck
    }

    /// Whether something waits, and nothing was closed for so long.
    fn hangs_for(&self, time: u64) -> bool {
        self.shared.left.load(SeqCst) > 0
            && monotonic_us().saturating_sub(self.shared.done.load(SeqCst)) > time
    }

    /// Leaves the thread to what it has, and has another for what comes, unless there are too many.
    fn begin_anew(&mut self) {
        if Arc::strong_count(&self.threads) <= MOST_THREADS {
            *self = Closer { threads: Arc::clone(&self.threads), ..Closer::default() };
        }
    }

    /// Starts the thread with its first descriptor, which is returned if there is none.
    fn start(&mut self, fd: T) -> Option<T> {
        let (queue, fds) = channel();
        let (shared, alive) = (Arc::clone(&self.shared), Arc::clone(&self.threads));
        let builder = thread::Builder::new().name("wsgi-closer".to_owned()).stack_size(STACK);
        let run = move || {
            let _alive = alive;
            run(&fds, &shared);
        };
        if spawn_on(builder, run).is_err() {
            return Some(fd);
        }
        let failed = queue.send(fd).err().map(|error| error.0);
        self.queue = Some(queue);
        failed
    }
}

fn run<T>(fds: &Receiver<T>, shared: &Shared) {
    for fd in fds {
        drop(fd);
        shared.done.store(monotonic_us(), SeqCst);
        shared.left.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Instant;

    use rustix::net::sockopt::set_socket_linger;

    use super::*;
    use crate::sys::pair;

    /// Held by tests that close something for the last time, or fork: a forked process has copies.
    pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
        static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A descriptor that takes so long to close; what it is connected with.
    pub(crate) fn slow(linger: Duration) -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        set_socket_linger(&near, Some(linger)).unwrap();
        // What fills the one end goes over to the other, as long as there is room.
        let mut full = 0;
        while full < 10 {
            full = if near.write(&[0; 1 << 16]).is_ok() { 0 } else { full + 1 };
            thread::sleep(Duration::from_millis(if full > 0 { 10 } else { 0 }));
        }
        (near.into(), far)
    }

    /// Waits for it, until so many seconds after the beginning at most.
    #[track_caller]
    fn until(begun: Instant, seconds: u64, mut is_so: impl FnMut() -> bool) {
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(seconds));
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn nobody_waits() {
        let _alone = alone();
        let mut closer = Closer::default();
        // The end of the connection ends the waiting, too.
        let (one, far) = slow(Duration::from_secs(600));
        // Made before: once there is something to close, time counts.
        let ends: Vec<OwnedFd> = (0..MOST + 1).map(|_| pair().unwrap().0).collect();
        let begun = Instant::now();
        closer.close([one]);
        closer.close(ends);
        assert!(!closer.is_stuck(), "for it may be about to close them");
        let shared = Arc::clone(&closer.shared);
        until(begun, 20, || closer.is_stuck());
        assert!(!closer.is_stuck(), "whoever comes next has not done it");
        drop(far);
        until(begun, 40, || shared.left.load(SeqCst) == 0);
    }

    #[test]
    fn a_table_of_descriptors_is_not_filled_at_once() {
        let _alone = alone();
        let mut closer = Closer::default();
        let begun = Instant::now();
        let (one, far) = slow(Duration::from_secs(600));
        closer.close([one]);
        closer.close((0..FULL).map(|_| pair().unwrap().0));
        assert!(closer.hangs_for(LONG), "the last one waited");
        assert!(closer.is_stuck());
        assert!(begun.elapsed() < Duration::from_secs(20));
        drop(far);
    }

    #[test]
    fn what_hangs_keeps_nothing_else_open() {
        let _alone = alone();
        let mut closer = Closer::default();
        let begun = Instant::now();
        let (one, far) = slow(Duration::from_secs(600));
        closer.close([one]);
        until(begun, 20, || closer.hangs_for(TOO_LONG));
        let (near, end) = pair().unwrap();
        closer.close([end]);
        until(begun, 40, || crate::sys::is_shut(near.as_fd()));
        assert_eq!(Arc::strong_count(&closer.threads), 3);
        drop(far);
        until(begun, 60, || Arc::strong_count(&closer.threads) <= 2);
    }
}
