//! Those who are told where the requests of this process are: few at a time, for each waits a moment on a
//! thread of its own, and nobody where the server has no page that shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// As many are told at a time.
const MOST: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Audience {
    has_page: bool,
    told: Arc<AtomicUsize>,
}

/// Somebody who is being told, until this is dropped.
#[derive(Debug)]
pub(super) struct Told(Arc<AtomicUsize>);

impl Audience {
    pub(super) fn new(has_page: bool) -> Audience {
        Audience { has_page, told: Arc::default() }
    }

    /// Somebody asks; nothing if they are not to be told.
    pub(super) fn admit(&self) -> Option<Told> {
        if !self.has_page {
            return None;
        }
        let told = Told(Arc::clone(&self.told));
        // With this one; if they are too many, it goes again.
        (self.told.fetch_add(1, SeqCst) < MOST).then_some(told)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_where_there_is_no_page() {
        assert!(Audience::new(false).admit().is_none());
    }

    #[test]
    fn few_are_told_at_a_time() {
        let audience = Audience::new(true);
        let mut told: Vec<_> = (0..MOST).map(|_| audience.admit()).collect();
        assert!(told.iter().all(Option::is_some));
        assert!(audience.admit().is_none() && audience.admit().is_none());
        drop(told.pop());
        assert!(audience.admit().is_some());
        drop(told);
        assert_eq!(audience.told.load(SeqCst), 0);
    }
}
