//! A private Apache httpd for tests, and a raw HTTP client to judge what it answers.
//!
//! A test describes a [`Site`] (which MPM, which Python, files, directives), starts it as a
//! [`Server`] on a free port of the loopback interface, and talks to it through [`http`]. When the
//! server goes out of scope it is stopped, whatever happened, and its error log is audited: a line
//! nobody expected fails the test ([`log`]).
//!
//! Runs as root, where Apache's children drop to an ordinary user who cannot reach a Python or a
//! checkout below root's home ([`reach`] makes what they need reachable), and as an ordinary user.
//! What cannot run on this machine is skipped, saying why ([`matrix`]).
//!
//! Where things come from is told by the environment, else looked for ([`Setup`]):
//!
//! | variable | meaning |
//! |---|---|
//! | `WSGI_TEST_DIST` | what `cargo xtask build` built, else `target/dist` |
//! | `WSGI_TEST_PYTHONS` | prefixes, separated by colons, else every Python that dist has an engine for |
//! | `WSGI_TEST_HTTPD`, `WSGI_TEST_LIBEXECDIR` | the server and its modules, else what apxs says |
//! | `WSGI_TEST_TIER` | `quick` (each Python once, each MPM once) or `nightly` (all combinations) |
//! | `WSGI_TEST_CACHE` | where copies and virtual environments are kept between runs |
//! | `CI` | `true`: what would be skipped for want of a network or a tool fails |
//!
//! Nothing here knows the insides of the crates it tests.

#![allow(clippy::unwrap_used, reason = "the only consumers are tests, where a panic is the report")]

pub mod conformance;
mod daemon;
mod express;
pub mod http;
mod installed;
mod load;
pub mod log;
pub mod matrix;
mod package;
pub mod process;
mod pulse;
pub mod reach;
mod server;
mod setup;
mod site;
mod venv;

pub use express::Express;
pub use installed::installed;
pub use load::Load;
pub use matrix::{Mode, Mpm, Tier};
pub use package::Package;
pub use pulse::{Client, Pulse, Times};
pub use server::Server;
pub use setup::{Python, Setup};
pub use site::{Check, GROUP, Site};
pub use venv::Venv;
