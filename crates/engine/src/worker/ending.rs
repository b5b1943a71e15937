//! The beginning of a worker's end: `process_stopping` is published while requests still run, so that
//! applications can tell those which would go on for ever.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::process::Process;
use crate::table;

/// Whether it has begun, and when it is done.
#[derive(Default)]
pub(super) struct Ending(Mutex<Option<Receiver<()>>>);

impl Ending {
    /// Publishes the event on Python's main thread, without waiting for it.
    pub(super) fn begin(&self, process: &'static Process, reason: &'static str) {
        let (done, wait) = channel();
        let publish = move || {
            // It fails if the main thread is not there any more, and then nobody can be told.
            let events = move || table::publish_stopping(process, reason.as_bytes());
            let _ = process.runtime.on_main_thread(events);
            let _ = done.send(());
        };
        let spawned = std::thread::Builder::new().name("wsgi-stopping".to_owned()).spawn(publish);
        if spawned.is_ok() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(wait);
        }
    }

    /// Waits until all callbacks have run, no longer than `limit`; whether they have.
    pub(super) fn is_done_within(&self, limit: Duration) -> bool {
        let wait = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        wait.is_none_or(|wait| wait.recv_timeout(limit).is_ok())
    }
}
