//! The supervisor: the one process that starts, watches and ends workers.
//!
//! A program of its own (`wsgi-supervisor`), started by the server's parent, which may be root. It
//! has one thread that does anything, no configuration but what the parent sends, and keeps nothing that its death would
//! take with it: the channels' other ends are with the parent, the board is memory that the parent
//! holds, and the descriptors of workers lie in a socket of the parent's until the next supervisor takes
//! them out. See SECURITY.md for whom it trusts.

mod backoff;
mod group;
mod lines;
mod logger;
mod machine;
mod oom;
mod process;
mod run;
mod signals;
mod spawn;
mod store;

pub(crate) use run::given;
pub use run::run;
