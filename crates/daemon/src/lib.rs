//! Process groups for a web server: workers that serve requests for the children of a server, in
//! processes and under users of their own.
//!
//! So far the format of what they say to each other; see ARCHITECTURE.md for the whole.

pub mod wire;
