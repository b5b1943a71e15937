//! Declarations of APR and Apache httpd 2.4, as this machine's headers have them.
//!
//! bindgen reads the headers that `apxs` and `apr-1-config` point to (the variable `APXS` names
//! another apxs), and everything it finds is here under its own name. By hand comes only what the C
//! preprocessor makes and bindgen cannot see: the head of a module record, the brigade macros, the
//! types of optional functions. There is no logic in this crate, and nothing safe: see `httpd-sys`.
//!
//! Nothing is linked, for the server that loads a module brings the symbols. Functions that are
//! younger than Apache 2.4.37 are left out on purpose, so that a module that was built with newer
//! headers still loads there; who can use one looks it up at run time. Members that were added to
//! structures since are at their ends, which no module may count on.
//!
//! API: <https://httpd.apache.org/docs/2.4/developer/>, <https://apr.apache.org/docs/apr/1.7/>.

mod bindings {
    #![allow(
        missing_docs,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::missing_safety_doc,
        clippy::undocumented_unsafe_blocks,
        reason = "made by bindgen, with the names and the style of C"
    )]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

mod brigade;
#[allow(non_camel_case_types, reason = "the names of the optional functions in C")]
mod optional;
mod record;

pub use bindings::*;
pub use brigade::*;
pub use optional::*;
pub use record::*;
