//! Process groups for a web server: workers that serve requests for the children of a server, in
//! processes and under users of their own.
//!
//! So far the format of what they say to each other, and both ends of it; see ARCHITECTURE.md for
//! the whole.

mod abi;
#[allow(dead_code, unused_imports)] // DROP
mod board;
pub mod client;
pub mod control;
#[allow(dead_code, unused_imports)] // DROP
mod sys;
pub mod wire;
pub mod worker;

pub use abi::ABI;
pub use board::Capacity;

#[cfg(test)]
extern crate self as daemon;
#[cfg(test)]
mod testing;
