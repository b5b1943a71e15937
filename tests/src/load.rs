//! Clients that ask for one thing again and again while a test does something to the server.
//!
//! Each request has a connection of its own, so a server that goes away between two requests is no
//! excuse. Light on purpose: what is tested is that nothing gets lost, not how fast it is.

use crate::http::{self, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients that run until they are told to stop.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(3);

impl Load {
    /// Starts so many clients that ask for `path`; an answer that `good` does not like, or none, is
    /// a failure.
    pub fn start(
        address: SocketAddr,
        clients: usize,
        path: &str,
        good: impl Fn(&Response) -> bool + Clone + Send + 'static,
    ) -> Load {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let client = |_| {
            let (stop, count, failures) = (stop.clone(), count.clone(), failures.clone());
            let (path, good) = (path.to_owned(), good.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let failure = match http::request(address, "GET", &path, &[], b"") {
                        Ok(response) if good(&response) => None,
                        Ok(response) => Some(format!("{response:?}")),
                        Err(error) => Some(format!("{error:#}")),
                    };
                    failures.lock().unwrap().extend(failure);
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
            })
        };
        let threads = (0..clients).map(client).collect();
        Load { stop, count, failures, threads }
    }

    /// Requests that were answered so far, well or not.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests were answered.
    ///
    /// # Panics
    /// When that takes too long.
    #[track_caller]
    pub fn await_more(&self, requests: usize) {
        let until = self.count() + requests;
        let done = crate::process::wait_for(Duration::from_secs(60), || {
            (self.count() >= until).then_some(())
        });
        assert!(done.is_some(), "only {} of {until} requests were answered", self.count());
    }

    /// Stops the clients.
    ///
    /// # Panics
    /// When there was no request, or one has failed.
    #[track_caller]
    pub fn finish(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let failures = std::mem::take(&mut *self.failures.lock().unwrap());
        let count = self.count();
        assert!(failures.is_empty(), "{} of {count}: {:?}", failures.len(), &failures[..1]);
        assert!(count > 0, "there was no request");
        count
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
