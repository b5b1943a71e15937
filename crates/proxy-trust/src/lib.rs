//! Which headers of a reverse proxy to believe, and what they change in a CGI environment.
//!
//! `WSGITrustedProxyHeaders` lists headers, `WSGITrustedProxies` the peers that may set them. This
//! crate is the rule between the two, over any environment that can get, set and remove a
//! variable ([`Environ`]); it knows neither Apache nor Python.
//!
//! Addresses are literals. No name is ever resolved: what a client writes into `X-Forwarded-For`
//! must not make the server ask a name server, nor pass for a trusted host because a name happens
//! to resolve to one. Text that is no address changes nothing.

#![forbid(unsafe_code)]

mod apply;
mod header;
mod network;

pub use apply::{Environ, apply};
pub use header::{Category, Header, Headers, InvalidName};
pub use network::{InvalidNetwork, Network, Networks};
