//! Declarations of APR and Apache httpd 2.4, names verbatim, no logic.
//!
//! Made by bindgen from the headers of the Apache that `apxs` belongs to; `APXS` names another
//! one. What bindgen cannot see, because it is a macro, is written out in [`macros`].
//!
//! The symbols are resolved when httpd loads a module that uses them; nothing is linked here.
//! See <https://httpd.apache.org/docs/2.4/developer/> and <https://apr.apache.org/docs/apr/1.7/>.

mod bindings {
    //! The generated code; the only place that may look like C.
    #![allow(
        missing_docs,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unreachable_pub,
        unsafe_op_in_unsafe_fn,
        unused_qualifications,
        clippy::all,
        clippy::pedantic,
        clippy::undocumented_unsafe_blocks,
        clippy::missing_safety_doc
    )]
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
pub mod macros;

pub use bindings::*;
