//! The end: what was accepted is served, nothing else is, and Python runs its exit functions.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::{ask, service, text};

#[tokio::test(flavor = "multi_thread")]
async fn accepted_requests_are_served_and_others_refused() {
    let running = tokio::spawn(ask("/slow"));
    // Until it has a thread; if it is slower than this, it is served from the queue.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let wsgi = service();
    let stopped = tokio::task::spawn_blocking(move || wsgi.stop(Duration::from_secs(90)));
    assert_eq!(text(running.await.unwrap()).await.unwrap(), "slow");
    stopped.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(ask("/environ").await.status(), 503);
}
