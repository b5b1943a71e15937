//! The supervisor: the one process that starts, watches and ends workers.
//!
//! A program of its own (`wsgi-supervisor`), started by the server's parent, which may be root. It
//! has one thread, no configuration but what the parent sends, and keeps nothing that its death would
//! take with it: the channels' other ends are with the parent, the board is memory that the parent
//! holds, and workers go on serving and register with the next supervisor. See SECURITY.md for whom
//! it trusts: nobody.

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

pub(crate) use run::given;
pub use run::run;
