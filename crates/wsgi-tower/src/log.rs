//! Where the application's text goes: `wsgi.errors`, `print`, tracebacks.

use std::io::Write;
use std::sync::Arc;

use wsgi_core::{Level, Record, ServerLog};

/// A log that threads share.
pub type Log = Arc<dyn ServerLog>;

/// Standard error, a line per record.
#[derive(Debug, Default)]
pub(crate) struct Stderr;

impl ServerLog for Stderr {
    fn log(&self, records: &[Record<'_>]) {
        let mut text = Vec::new();
        for record in records.iter().filter(|record| record.level <= Level::Info) {
            text.extend_from_slice(record.text);
            text.push(b'\n');
        }
        // Nobody is left to be told that standard error is closed.
        let _ = std::io::stderr().lock().write_all(&text);
    }
}
