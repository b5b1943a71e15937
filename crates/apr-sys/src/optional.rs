//! Optional functions of other modules: a name to look up with `apr_dynamic_fn_retrieve`, and a
//! type. `mod_ssl.h` is not installed everywhere, so its two are written down here.
//! <https://httpd.apache.org/docs/2.4/developer/hooks.html>

use std::ffi::{CStr, c_char, c_int};

use crate::bindings::{apr_pool_t, conn_rec, request_rec, server_rec};

/// `ssl_is_https`: non-zero if the connection uses TLS.
pub const SSL_IS_HTTPS: &CStr = c"ssl_is_https";

/// The type of `ssl_is_https`.
pub type ssl_is_https_t = unsafe extern "C" fn(*mut conn_rec) -> c_int;

/// `ssl_var_lookup`: the value of a variable of mod_ssl; empty if there is none.
pub const SSL_VAR_LOOKUP: &CStr = c"ssl_var_lookup";

/// The type of `ssl_var_lookup`.
pub type ssl_var_lookup_t = unsafe extern "C" fn(
    *mut apr_pool_t,
    *mut server_rec,
    *mut conn_rec,
    *mut request_rec,
    *mut c_char,
) -> *mut c_char;
