//! What the MPM and the server say about themselves.
//! <https://httpd.apache.org/docs/2.4/mpm.html>

use std::ffi::{CStr, c_int};

use apr_sys as raw;

use crate::pool::Pool;
use crate::text::bytes;

/// The MPM of this server. Its answers are final once children run.
#[derive(Clone, Copy, Debug)]
pub struct Mpm;

impl Mpm {
    /// Whether requests of a child run in several threads.
    pub fn is_threaded(self) -> bool {
        self.query(raw::AP_MPMQ_IS_THREADED).is_some_and(|kind| kind != raw::AP_MPMQ_NOT_SUPPORTED)
    }

    /// Whether connections wait for requests in a place for all of them, and not in their threads.
    pub fn is_async(self) -> bool {
        self.query(raw::AP_MPMQ_IS_ASYNC).is_some_and(|kind| kind != raw::AP_MPMQ_NOT_SUPPORTED)
    }

    /// Most children at a time.
    pub fn max_daemons(self) -> u32 {
        self.count(raw::AP_MPMQ_MAX_DAEMONS)
    }

    /// Threads of a child; 1 if it has none.
    pub fn max_threads(self) -> u32 {
        if self.is_threaded() { self.count(raw::AP_MPMQ_MAX_THREADS) } else { 1 }
    }

    /// Whether the server is ending.
    pub fn is_stopping(self) -> bool {
        self.query(raw::AP_MPMQ_MPM_STATE) == Some(raw::AP_MPMQ_STOPPING as c_int)
    }

    /// Whether this server runs in one process, as with `-X`.
    pub fn single_process(self) -> bool {
        // SAFETY: looks up a name that is given on the command line.
        unsafe {
            raw::ap_exists_config_define(c"DEBUG".as_ptr()) != 0
                || raw::ap_exists_config_define(c"ONE_PROCESS".as_ptr()) != 0
        }
    }

    /// Its name, such as `event`.
    pub fn name(self) -> &'static [u8] {
        // SAFETY: a constant string.
        unsafe { bytes(raw::ap_show_mpm()) }.unwrap_or_default()
    }

    fn count(self, what: c_int) -> u32 {
        // Where the MPM has none, there is one.
        self.query(what).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(1)
    }

    fn query(self, what: c_int) -> Option<c_int> {
        let mut answer: c_int = 0;
        // SAFETY: writes an int.
        let status = unsafe { raw::ap_mpm_query(what, &mut answer) };
        (status == raw::APR_SUCCESS).then_some(answer)
    }
}

/// Adds a component to the banner in `Server:`. While the configuration is complete, not earlier.
pub fn add_version_component(pool: Pool<'_>, component: &CStr) {
    // SAFETY: copies the text into the pool, which must be the configuration's to be of use.
    unsafe { raw::ap_add_version_component(pool.as_ptr(), component.as_ptr()) }
}

/// The whole banner, whatever `ServerTokens` says.
pub fn server_description() -> &'static [u8] {
    // SAFETY: a string that lives until the next restart, when this process is no child any more.
    unsafe { bytes(raw::ap_get_server_description()) }.unwrap_or_default()
}

/// When the server was built.
pub fn server_built() -> &'static [u8] {
    // SAFETY: a constant string.
    unsafe { bytes(raw::ap_get_server_built()) }.unwrap_or_default()
}

/// Version of the headers this was compiled with.
pub fn compiled_version() -> [u32; 3] {
    [
        raw::AP_SERVER_MAJORVERSION_NUMBER as u32,
        raw::AP_SERVER_MINORVERSION_NUMBER as u32,
        raw::AP_SERVER_PATCHLEVEL_NUMBER as u32,
    ]
}
