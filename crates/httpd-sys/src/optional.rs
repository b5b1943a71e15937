//! mod_ssl's optional functions: there if it is loaded.
//! <https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#envvars>

use std::ffi::CStr;
use std::mem;

use apr_sys as raw;

use crate::request::Request;
use crate::text::bytes;

/// Whether the client uses TLS, as far as a module for TLS knows.
pub fn ssl_is_https(request: &Request<'_>) -> bool {
    // SAFETY: a function registered under this name has this type; the connection is alive.
    unsafe {
        raw::apr_dynamic_fn_retrieve(raw::SSL_IS_HTTPS.as_ptr()).is_some_and(|function| {
            let is_https = mem::transmute::<unsafe extern "C" fn(), raw::ssl_is_https_t>(function);
            is_https(request.connection().as_ptr()) != 0
        })
    }
}

/// The value of one of mod_ssl's variables; `None` without mod_ssl.
pub fn ssl_variable<'r>(request: &Request<'r>, name: &CStr) -> Option<&'r [u8]> {
    // SAFETY: as above; the name is written to by nobody, whatever its type says. The value is in
    // the request's pool or constant.
    unsafe {
        let function = raw::apr_dynamic_fn_retrieve(raw::SSL_VAR_LOOKUP.as_ptr())?;
        let lookup = mem::transmute::<unsafe extern "C" fn(), raw::ssl_var_lookup_t>(function);
        let value = lookup(
            request.pool().as_ptr(),
            request.server().as_ptr(),
            request.connection().as_ptr(),
            request.as_ptr(),
            name.as_ptr().cast_mut(),
        );
        bytes(value)
    }
}
