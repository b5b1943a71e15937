//! A safe layer over Apache httpd 2.4, for modules written in Rust.
//!
//! A module is a [`Module`]: its configuration, its directives and its hooks; [`Record`] makes the
//! C record of it. The server's structures are handles with the lifetime the server promises:
//! [`Request`], [`Connection`], [`Server`], [`Pool`], [`Table`], [`Brigade`]. Handles are not
//! `Send`, because their memory comes from pools, and a pool belongs to one thread at a time.
//!
//! Every call from C goes through one guard, which stops a panic, logs it and returns the value
//! that the place of the call states for failure. Text goes to the log as a value, never as a
//! format. Functions of servers younger than 2.4.37 are looked up at run time.
//!
//! Nothing here knows what modules are for. Facts about the server that `unsafe` code relies on are
//! in SAFETY.md, by number.
//!
//! Server: <https://httpd.apache.org/docs/2.4/developer/>.

mod auth;
mod bucket;
mod cgi;
mod config;
mod connection;
mod directive;
mod error;
mod guard;
mod hook;
mod identity;
mod image;
mod input;
mod lines;
mod log;
mod mapping;
mod module;
mod mpm;
mod optional;
mod output;
mod parent;
mod pool;
mod random;
mod redirect;
mod regex;
mod request;
mod scoreboard;
mod server;
mod speaker;
mod status;
mod table;
mod text;

pub use auth::{AuthnProvider, AuthzProvider, Password, RealmHash, Requirement};
pub use bucket::Brigade;
pub use cgi::{CgiRules, Redirect, server_banner};
pub use connection::Connection;
pub use directive::{
    Argument, Command, Commands, Context, Directive, Place, Set, TakeOne, TakeTwo,
};
pub use error::{Error, Kind, Result};
pub use hook::{
    ChildInit, Hooks, Monitor, Order, PostConfig, PostConfigPass, PreConfig, RequestHook, StartPass,
};
pub use identity::Identity;
pub use image::{Image, symbol};
pub use input::Body;
pub use lines::{Line, lines};
pub use log::{Level, Location, Logger};
pub use module::{Module, Record, is_loaded};
pub use mpm::{Mpm, add_version_component, compiled_version, server_built, server_description};
pub use optional::{ssl_is_https, ssl_variable};
pub use output::{Flush, Head};
pub use parent::{
    ProcessEnded, Relay, Retain, fork_relay, ignore_end_of_child, is_exiting, look_after,
    wake_at_end_of_child, with_retained,
};
pub use pool::Pool;
pub use random::random;
pub use regex::{Captures, Regex};
pub use request::{FileType, PathInfo, Request};
pub use scoreboard::{Scoreboard, ServerProcess, ServerThread};
pub use server::Server;
pub use speaker::speak_as;
pub use status::Status;
pub use table::Table;

/// Declarations, for what this crate has no word for.
pub use apr_sys as raw;
