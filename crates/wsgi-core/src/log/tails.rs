//! Lines that threads have begun on a standard stream and not finished: a thread's line is its own,
//! whatever others write meanwhile.

use std::cell::RefCell;
use std::sync::Arc;

use py::Token;

use crate::host::{Level, Record, ServerLog};
use crate::lines::{Lines, Unfinished};

/// What a thread left unfinished on a standard stream; logged when the thread ends.
struct Tail {
    stream: u64,
    text: Unfinished,
    log: Arc<dyn ServerLog>,
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut lines = Lines::default();
        self.text.finish(&mut lines);
        emit(&*self.log, &lines);
    }
}

thread_local! {
    static TAILS: RefCell<Vec<Tail>> = const { RefCell::new(Vec::new()) };
}

/// Takes text of this thread for a stream; returns the lines that are finished.
pub(super) fn write_unfinished(stream: u64, log: &Arc<dyn ServerLog>, text: &[u8]) -> Lines {
    let mut lines = Lines::default();
    let stored = TAILS.try_with(|tails| {
        let mut tails = tails.borrow_mut();
        let at = tails.iter().position(|tail| tail.stream == stream).unwrap_or_else(|| {
            let text = Unfinished::default();
            tails.push(Tail { stream, text, log: Arc::clone(log) });
            tails.len() - 1
        });
        if let Some(tail) = tails.get_mut(at) {
            tail.text.write(text, &mut lines);
        }
    });
    if stored.is_err() {
        // The thread is ending: there will be no other time.
        lines.push_text(text);
    }
    lines
}

/// Ends the line that this thread has begun on a stream; returns it.
pub(super) fn finish_unfinished(stream: u64) -> Lines {
    let mut lines = Lines::default();
    let _ = TAILS.try_with(|tails| {
        let mut tails = tails.borrow_mut();
        if let Some(tail) = tails.iter_mut().find(|tail| tail.stream == stream) {
            tail.text.finish(&mut lines);
        }
    });
    lines
}

/// Logs lines that belong to no request.
pub(super) fn log_to_server(py: Token<'_>, log: &dyn ServerLog, lines: &Lines) {
    if !lines.is_empty() {
        py.detach(|| emit(log, lines));
    }
}

fn emit(log: &dyn ServerLog, lines: &Lines) {
    let records: Vec<Record<'_>> =
        lines.iter().map(|line| Record::new(Level::Error, 0, line)).collect();
    if !records.is_empty() {
        log.log(&records);
    }
}
