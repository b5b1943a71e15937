//! What a server knows of the requests it serves: counters and running requests in memory that its
//! processes share, and the pages that show them to people and machines.
//!
//! ```text
//! parent ── makes ──> Memory <── counts, notes what runs ── each process that serves (Child)
//!                        └── reads ──> Snapshot ──> HTML, JSON, OpenMetrics
//! ```
//!
//! [`memory`] is what the hot path touches: a handful of relaxed atomic additions per request.
//! Everything else happens when somebody asks. Nobody trusts what stands in shared memory: it is
//! read within bounds, and shown, escaped; nothing is done because of it.
//!
//! The crate knows neither Apache nor Python, and renders whatever [`Snapshot`] it is given.

mod histogram;
mod html;
mod json;
pub mod memory;
mod openmetrics;
pub mod process;
pub mod snapshot;
mod text;

pub use histogram::{BOUNDS, Totals, bound_half_us, bucket};
pub use html::{HEADERS, PageOptions, html};
pub use json::json;
pub use memory::{Child, Memory, Running, Shape, Stage};
pub use openmetrics::{MEDIA_TYPE, openmetrics};
pub use snapshot::{
    Frame, Group, GroupStatus, Phase, Place, Request, Snapshot, Worker, WorkerState,
};
