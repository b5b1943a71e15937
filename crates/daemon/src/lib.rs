//! Process groups for a web server: workers that serve requests for the children of a server, in
//! processes and under users of their own.
//!
//! ```text
//! parent ── starts, configures ──> supervisor ── starts, watches ──> workers
//!   └── forks ──> children ── requests, each on a connection of its own ──┘
//! ```
//!
//! [`parent`] and [`client`] are what the server's processes call, [`supervisor`] is a program of its
//! own, [`worker`] is what a worker calls. [`wire`] is the format between child and worker,
//! [`control`] that between everybody and the supervisor.

mod abi;
mod board;
pub mod client;
pub mod config;
pub mod control;
pub mod log;
pub mod parent;
pub mod supervisor;
mod sys;
pub mod wire;
pub mod worker;

pub use abi::ABI;
pub use board::Capacity;
pub use sys::spawn;

#[cfg(test)]
extern crate self as daemon;
#[cfg(test)]
mod testing;
