//! The engine: what runs Python applications, for one Python version.
//!
//! One source, built once per Python minor version. Apache's module opens the library and gets one
//! table of functions ([`mod_wsgi_engine`], implemented in `table.rs`); everything else is private.
//! It joins `wsgi-core`, which knows a request, and `interp`, which knows interpreters, and adds
//! what neither has: application groups, scripts, and the `mod_wsgi` module that applications see.
//!
//! It knows a server only through [`engine_api`], never Apache.

mod current;
mod fork;
mod frames;
mod graves;
mod group;
mod hints;
mod hook;
mod host;
mod log;
mod module;
mod names;
mod observe;
mod places;
mod process;
mod record;
mod request;
mod script;
mod settings;
mod table;
mod telemetry;
mod timing;
mod worker;

use engine_api::EngineTable;

/// Hands out the table.
// SAFETY: no other symbol of a process has this name; engines are opened with RTLD_LOCAL.
#[unsafe(no_mangle)]
pub extern "C" fn mod_wsgi_engine() -> *const EngineTable {
    &raw const table::TABLE
}

/// What `import _mod_wsgi` finds: one function, which serves in a worker.
///
/// # Safety
/// Python calls it, with the thread attached.
// SAFETY: no other symbol of a process has this name; Python opens extension modules with
// RTLD_LOCAL.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name that Python looks up")]
pub unsafe extern "C" fn PyInit__mod_wsgi() -> *mut py::ffi::PyObject {
    // SAFETY: passed on.
    unsafe { worker::module() }
}
