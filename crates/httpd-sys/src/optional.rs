//! mod_ssl's optional functions: there if it is loaded.
//! <https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#envvars>

use std::ffi::CStr;
use std::mem;
use std::sync::OnceLock;

use apr_sys as raw;

use crate::request::Request;
use crate::text::bytes;

/// What was found, once a request has asked: requests run in children, whose modules stay
/// (A11).
#[derive(Clone, Copy)]
struct Tls {
    is_https: Option<raw::ssl_is_https_t>,
    variable: Option<raw::ssl_var_lookup_t>,
}

impl Tls {
    fn of(_: &Request<'_>) -> Tls {
        static TLS: OnceLock<Tls> = OnceLock::new();
        // SAFETY: a function registered under one of these names has the type that goes with it.
        *TLS.get_or_init(|| unsafe {
            Tls {
                is_https: raw::apr_dynamic_fn_retrieve(raw::SSL_IS_HTTPS.as_ptr())
                    .map(|f| mem::transmute::<unsafe extern "C" fn(), raw::ssl_is_https_t>(f)),
                variable: raw::apr_dynamic_fn_retrieve(raw::SSL_VAR_LOOKUP.as_ptr())
                    .map(|f| mem::transmute::<unsafe extern "C" fn(), raw::ssl_var_lookup_t>(f)),
            }
        })
    }
}

/// Whether the client uses TLS, as far as a module for TLS knows.
pub fn ssl_is_https(request: &Request<'_>) -> bool {
    let Some(is_https) = Tls::of(request).is_https else {
        return false;
    };
    // SAFETY: the connection is alive.
    unsafe { is_https(request.connection().as_ptr()) != 0 }
}

/// The value of one of mod_ssl's variables; `None` without mod_ssl.
pub fn ssl_variable<'r>(request: &Request<'r>, name: &CStr) -> Option<&'r [u8]> {
    let lookup = Tls::of(request).variable?;
    // SAFETY: all are alive; the name is written to by nobody, whatever its type says. The value is
    // in the request's pool or constant.
    unsafe {
        bytes(lookup(
            request.pool().as_ptr(),
            request.server().as_ptr(),
            request.connection().as_ptr(),
            request.as_ptr(),
            name.as_ptr().cast_mut(),
        ))
    }
}
