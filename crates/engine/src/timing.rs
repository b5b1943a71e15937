//! How long the parts of a request took, for whoever has asked for it with the request.
//!
//! When the application is called is known deep inside, and wanted outside: a cell of the thread
//! carries it. Requests nest where a filter runs a subrequest, so the outer one's time is put back.
//! Microseconds since 1970, as everything that goes over a border.

use std::cell::Cell;

thread_local! {
    /// When the application of this thread's request was called; 0 if it was not.
    static BEGUN: Cell<i64> = const { Cell::new(0) };
}

/// The application of this thread's request is called now, in seconds since 1970.
pub(crate) fn application_begins(now: f64) {
    BEGUN.set((now * 1e6) as i64);
}

/// A request that is measured, on its thread.
pub(crate) struct Timing {
    /// When it came to this process.
    began: i64,
    outer: i64,
}

impl Timing {
    pub(crate) fn start(now: i64) -> Timing {
        Timing { began: now, outer: BEGUN.replace(0) }
    }

    /// Microseconds until the application was called.
    pub(crate) fn start_time(&self) -> u32 {
        let begun = BEGUN.get();
        between(self.began, if begun == 0 { engine_api::now() } else { begun })
    }

    /// Microseconds until the application was called, and from then until now.
    pub(crate) fn until_now(&self) -> (u32, u32) {
        let (now, begun) = (engine_api::now(), BEGUN.get());
        if begun == 0 {
            (between(self.began, now), 0)
        } else {
            (between(self.began, begun), between(begun, now))
        }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        BEGUN.set(self.outer);
    }
}

/// How long that is; nothing if a clock was set back.
pub(crate) fn between(from: i64, to: i64) -> u32 {
    u32::try_from(to.saturating_sub(from).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_within_another_has_times_of_its_own() {
        let now = engine_api::now();
        let outer = Timing::start(now - 5_000_000);
        application_begins((now - 4_000_000) as f64 / 1e6);
        {
            let inner = Timing::start(now - 1_000_000);
            let (start, application) = inner.until_now();
            assert!(start >= 1_000_000 && application == 0, "{start} {application}");
        }
        let (start, application) = outer.until_now();
        assert!((999_998..=1_000_002).contains(&start), "{start}");
        assert!(application >= 3_999_998, "{application}");
        assert_eq!(between(5, 3), 0);
    }
}
