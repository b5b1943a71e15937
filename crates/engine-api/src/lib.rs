//! What the module and an engine have to agree on, and how the module comes by its engine.
//!
//! `mod_wsgi.so` links no Python. In an Apache child it finds the Python of `WSGIPythonHome`
//! ([`find()`]), opens that Python's libpython and the engine built for it ([`Engine::open`]), and
//! from then on the two talk through two tables of C functions:
//!
//! * [`EngineTable`]: start Python, handle a request, ask a script for a decision, load one, stop;
//!   implemented by the engine through the [`Runtime`] trait, called by the module through
//!   [`Engine`];
//! * [`HostTable`]: read the body, respond, log; implemented by the module through the [`Host`] and
//!   [`Server`] traits, called by the engine through [`Client`] and [`ServerLog`].
//!
//! Both sides are Rust, but of two separately linked libraries: everything that crosses is
//! `repr(C)`, borrowed for the length of the call and owned by the caller, and a panic is caught on
//! the side where it happens. Each table begins with a [`Header`]; [`ABI`] is a hash of this crate's
//! border, so a module and an engine of different builds refuse each other with one clear error.
//!
//! Nothing here knows Apache, and nothing here links Python.

mod abi;
mod client;
mod engine;
mod failure;
pub mod find;
mod hook;
mod host;
mod place;
mod scoreboard;
mod slice;
mod table;
pub mod worker;

pub use abi::{ABI, Header};
pub use client::{Client, ServerLog};
pub use engine::{ENTRY, Engine, EntryPoint, OpenError, Runtime, engine_table};
pub use failure::{Failure, Fault, FaultKind};
pub use find::{FindError, Python, find};
pub use hook::{Decision, Hook, Names, Verdict};
pub use host::{Host, Server, host_table};
pub use place::{Frame, MOST_FRAMES, PATIENCE, Place};
pub use scoreboard::{Scoreboard, ServerProcess, ServerWorker};
pub use slice::{Bytes, Pair, Slice};
pub use table::{
    EngineTable, Flags, Head, HostTable, InterpreterOptions, Level, Load, Record, Reply, ReplyKind,
    Request, Start, Stop, Style, Switch, TelemetryOptions, Version, now,
};
