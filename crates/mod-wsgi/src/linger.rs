//! A moment's wait for the next request of a client that is alone, and quick.
//!
//! An event-driven MPM gives a connection whose client has nothing to say to its listener, which waits
//! for all of them, and has another thread woken once something comes: two threads, eight system calls.
//! Where there is nothing else to do, it takes less to wait here, in the thread that has just sent a
//! response. With several clients it does not: then the listener finds several of them at a time, and
//! threads go on without sleeping. So nobody waits while there is another request, and whether clients
//! are quick is learnt from what they did: as long as they are not, one request of many finds out.
//! And as long as they are, one of many does not wait: a connection whose client is always quick would
//! keep its thread for ever, for which others may wait, since what else threads do is not known here.
//!
//! Waiting takes no processor time. It comes after the request was logged, which is to show how long
//! the request took and not the client.
//! <https://httpd.apache.org/docs/2.4/mod/event.html#how-it-works>

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use httpd_sys::{Connection, Request, RequestHook, Status};

use crate::child;
use crate::translate::HANDLER;

/// So long, which no client on a network but a near one is quick enough for.
const LONGEST: Duration = Duration::from_micros(100);
/// What clients are trusted with at most.
const MOST: u32 = 16;
/// While they are not, one request of so many waits.
const SAMPLE: u32 = 64;
/// While they are, one request of so many does not.
const TURN: u32 = 256;

/// Requests that are in the handler, and threads that wait.
static BUSY: AtomicU32 = AtomicU32::new(0);
/// How many of the last clients were quick, more or less.
static QUICK: AtomicU32 = AtomicU32::new(0);
/// Requests after which a thread might have waited.
static OVER: AtomicU32 = AtomicU32::new(0);

/// Being busy, until this is dropped.
pub(crate) struct Busy(());

impl Busy {
    /// Nobody waits for a client meanwhile.
    pub(crate) fn begin() -> Busy {
        if BUSY.fetch_add(1, Relaxed) > 0 && QUICK.load(Relaxed) > 0 {
            QUICK.store(0, Relaxed);
        }
        Busy(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Relaxed);
    }
}

/// The hook: the request is over, and logged.
pub(crate) struct Linger;

impl RequestHook for Linger {
    fn run(request: &mut Request<'_>) -> Status {
        let connection = request.connection();
        let process = child::process();
        // The only thread has others to serve.
        if process.hands_over
            && process.threads > 1
            && request.handler() == Some(HANDLER.to_bytes())
            && connection.is_kept()
            && !connection.has_unsent()
        {
            linger(connection);
        }
        Status::Declined
    }
}

fn linger(connection: Connection<'_>) {
    let quick = QUICK.load(Relaxed);
    if !is_to_wait(quick, OVER.fetch_add(1, Relaxed)) {
        return;
    }
    // Exactness would cost more than it is worth.
    if BUSY.fetch_add(1, Relaxed) == 0 {
        let quick = match connection.wait_for_input(LONGEST) {
            true => (quick + 2).min(MOST),
            false => quick.saturating_sub(1),
        };
        QUICK.store(quick, Relaxed);
    }
    BUSY.fetch_sub(1, Relaxed);
}

/// Whether to wait after the request of this number.
fn is_to_wait(quick: u32, number: u32) -> bool {
    if quick == 0 { number.is_multiple_of(SAMPLE) } else { !number.is_multiple_of(TURN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_request_ends_the_trust_in_clients() {
        QUICK.store(MOST, Relaxed);
        let first = Busy::begin();
        assert_eq!(QUICK.load(Relaxed), MOST);
        let second = Busy::begin();
        assert_eq!(QUICK.load(Relaxed), 0);
        drop((first, second));
        assert_eq!(BUSY.load(Relaxed), 0);
    }

    #[test]
    fn no_client_keeps_a_thread_for_ever() {
        let waits = |quick: u32| (0..1024).filter(|number| is_to_wait(quick, *number)).count();
        assert_eq!([waits(0), waits(1), waits(MOST)], [16, 1020, 1020]);
    }
}
