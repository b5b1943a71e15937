//! The way of a response over HTTP/2, where only the server knows how much of a stream may go out.
//!
//! What comes without a pause is collected for a moment before the server is given it. While the
//! server then waits for the client, a second thread takes in what the worker says.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use daemon::client::{Event, Exchange};
use engine_api::{Fault, Flags};

use super::{Drain, PIECE, unreadable};
use crate::daemon::spool::Spool;
use crate::host::RequestHost;

/// What ends collecting: a pause of the worker, or the time.
const PAUSE: Duration = Duration::from_millis(2);
const COLLECT: Duration = Duration::from_millis(50);
/// How often the second thread checks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(5);
/// The stack of that thread: more than it needs.
const STACK: usize = 256 << 10;

impl Drain<'_> {
    /// Something waits for a stream.
    pub(super) fn turn_of_stream(
        &mut self,
        exchange: &mut Exchange<'_>,
        host: &mut RequestHost<'_, '_>,
    ) -> Result<(), Fault> {
        let collects = !self.is_empty()
            && !self.is_full()
            && self.since.is_some_and(|since| since.elapsed() < COLLECT);
        if collects && exchange.is_ready(PAUSE) {
            return Ok(());
        }
        self.write_beside(exchange, host)
    }

    /// [`Drain::write_out`], while another thread takes in what comes of the body.
    // Not inlined, as that is not.
    #[inline(never)]
    fn write_beside(
        &mut self,
        exchange: &mut Exchange<'_>,
        host: &mut RequestHost<'_, '_>,
    ) -> Result<(), Fault> {
        let Some(spool) = self.spool.take() else { return self.write_out(host) };
        let beside = Beside { spool: Mutex::new(spool), over: AtomicBool::new(false) };
        let written = thread::scope(|scope| {
            let _over = Over(&beside.over);
            // Without a thread the worker waits.
            let builder = thread::Builder::new().name("wsgi-drain".to_owned()).stack_size(STACK);
            let _ = builder.spawn_scoped(scope, || beside.take_in(exchange));
            let mut room = [0; PIECE];
            loop {
                let count = beside.spool().take(&mut room).map_err(unreadable)?;
                if count == 0 {
                    return if self.pending { self.flush(host) } else { Ok(()) };
                }
                let asked = Instant::now();
                self.send(host, room.get(..count).unwrap_or_default(), Flags::NONE)?;
                if beside.spool().has_failed() {
                    self.hold(host, asked.elapsed())?;
                }
            }
        });
        let spool = beside.spool.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.since = (!spool.is_empty()).then(Instant::now);
        self.pending |= !spool.is_empty();
        if spool.has_failed() {
            self.warn(host, "A response to a slow client cannot be buffered in a file");
        }
        self.spool = Some(spool);
        written
    }
}

/// What two threads share while one of them waits for the client.
struct Beside<'a> {
    spool: Mutex<Spool<'a>>,
    /// The client has all there was.
    over: AtomicBool,
}

impl<'a> Beside<'a> {
    fn spool(&self) -> MutexGuard<'_, Spool<'a>> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in parts of the body, until something else comes or it is over.
    fn take_in(&self, exchange: &mut Exchange<'_>) {
        while !self.over.load(Ordering::Acquire) {
            if self.spool().is_full() {
                thread::sleep(GLANCE);
                continue;
            }
            if !exchange.is_ready(GLANCE) {
                continue;
            }
            match exchange.is_body_next() {
                Some(true) => {}
                Some(false) => return,
                None => continue,
            }
            let Ok(Event::Body { bytes, .. }) = exchange.next_event() else { return };
            // It is in, and what is wrong is said by the other thread.
            let _ = self.spool().push(bytes);
        }
    }
}

/// Says that it is over, however that came.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
