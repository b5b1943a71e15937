//! Daemon mode: process groups of the configuration, run by the supervisor of the `daemon` crate.
//!
//! * [`start`]: the parent has the supervisor run what is configured;
//! * [`groups`]: the configuration as the supervisor and the workers are told it;
//! * [`relay`]: what supervisor and workers say, in this server's logs;
//! * [`client`]: what a child knows of the groups;
//! * [`pass`]: a request, from a child to a worker and back;
//! * [`upload`], [`drain`]: its body and its response, where the client is slower than a worker;
//! * [`spool`]: what waits meanwhile;
//! * [`failure`]: what becomes of a request without a response.

mod client;
mod drain;
mod failure;
mod groups;
mod pass;
mod redirect;
mod relay;
mod spool;
mod start;
mod upload;

pub(crate) use client::{application_group, inquire, join, overview};
pub(crate) use pass::{Body, Buffering, pass};
pub(crate) use spool::Limits;
pub(crate) use start::{Again, configure};
