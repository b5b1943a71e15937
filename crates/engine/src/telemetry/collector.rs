//! Python's garbage collectors: a callback in each interpreter that notes its runs, and their counters.
//!
//! The callback is one of `gc.callbacks`, where applications see it, and can take it out.
//! See <https://docs.python.org/3/library/gc.html#gc.callbacks>.

use std::ffi::CStr;
use std::sync::Mutex;
use std::time::Instant;

use py::{Bound, Token};
use telemetry::{Collection, Collections, Generation, Snapshot};

/// What is known of the collector of one interpreter.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// When it has begun to run.
    begun: Mutex<Option<(Instant, f64)>>,
    pub(crate) runs: Collections,
}

/// Called by the collector: `phase` is `start` or `stop`.
pub(crate) fn note_phase<'py>(
    collector: &Collector,
    phase: &Bound<'py>,
    info: &Bound<'py>,
) -> py::Result<'py, ()> {
    // In a forked child, another thread may have held it; nobody waits here.
    let Ok(mut begun) = collector.begun.try_lock() else { return Ok(()) };
    if phase.to_text()? == "start" {
        *begun = Some((Instant::now(), telemetry::now()));
        return Ok(());
    }
    let Some((instant, start)) = begun.take() else { return Ok(()) };
    let number = |name: &CStr| match info.dict_get(name)? {
        Some(number) => Ok(u64::try_from(number.to_int()?).unwrap_or(0)),
        None => py::Result::Ok(0),
    };
    collector.runs.note(Collection {
        start,
        duration: instant.elapsed().as_secs_f64(),
        generation: number(c"generation")?,
        collected: number(c"collected")?,
        uncollectable: number(c"uncollectable")?,
    });
    Ok(())
}

/// The counters of the interpreter that the thread is attached to.
pub(super) fn snapshot(py: Token<'_>) -> Option<Snapshot> {
    let read = || {
        let gc = py.import(c"gc")?;
        let mut snapshot = Snapshot {
            is_enabled: gc.call_method(c"isenabled", &[])?.is_true()?,
            frozen: count(&gc.call_method(c"get_freeze_count", &[])?)?,
            ..Snapshot::default()
        };
        let counts = gc.call_method(c"get_count", &[])?.items()?;
        let thresholds = gc.call_method(c"get_threshold", &[])?.items()?;
        let stats = gc.call_method(c"get_stats", &[])?.items()?;
        let each = counts.iter().zip(&thresholds).zip(&stats);
        for (own, ((number, threshold), stats)) in snapshot.generations.iter_mut().zip(each) {
            let stat = |name: &CStr| match stats.dict_get(name)? {
                Some(number) => count(&number),
                None => Ok(0),
            };
            *own = Generation {
                count: count(number)?,
                threshold: count(threshold)?,
                collections: stat(c"collections")?,
                collected: stat(c"collected")?,
                uncollectable: stat(c"uncollectable")?,
            };
        }
        py::Result::Ok(snapshot)
    };
    read().ok()
}

fn count<'py>(number: &Bound<'py>) -> py::Result<'py, u64> {
    Ok(u64::try_from(number.to_int()?).unwrap_or(0))
}
