//! What CGI variables are made of: the server's own answers, by its own rules.
//! <https://httpd.apache.org/docs/2.4/env.html>, RFC 3875

use std::ffi::CStr;

use apr_sys as raw;

use crate::request::Request;
use crate::text::bytes;

/// The core's settings for CGI variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgiRules {
    /// `CGIPassAuth On`.
    pub pass_authorization: bool,
    /// `CGIVar REQUEST_URI current-uri`.
    pub current_uri: bool,
}

/// Earlier requests in a chain of internal redirects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirect<'r> {
    /// The user of the latest one that had one.
    pub user: Option<&'r [u8]>,
    /// The query of the previous one.
    pub query: Option<&'r [u8]>,
    /// The path of the previous one.
    pub url: Option<&'r [u8]>,
}

impl<'r> Request<'r> {
    /// The core's settings for CGI variables.
    pub fn cgi_rules(&self) -> CgiRules {
        // SAFETY: the core has a configuration in every section's vector; its hash is keyed by
        // strings and keeps strings.
        unsafe {
            let core = raw::ap_get_core_module_config((*self.as_ptr()).per_dir_config)
                .cast::<raw::core_dir_config>();
            let rules = (*core).cgi_var_rules;
            let rule = if rules.is_null() {
                None
            } else {
                let name = c"REQUEST_URI";
                let key_length = raw::APR_HASH_KEY_STRING as raw::apr_ssize_t;
                bytes(raw::apr_hash_get(rules, name.as_ptr().cast(), key_length).cast())
            };
            CgiRules {
                pass_authorization: (*core).cgi_pass_auth() == raw::AP_CGI_PASS_AUTH_ON as u32,
                current_uri: rule == Some(b"current-uri"),
            }
        }
    }

    /// Whether this request came out of another by an internal redirect.
    pub fn is_redirected(&self) -> bool {
        // SAFETY: alive.
        unsafe { !(*self.as_ptr()).prev.is_null() }
    }

    /// What is known of the requests that this one was redirected from.
    pub fn redirected_from(&self) -> Redirect<'r> {
        let mut redirect = Redirect::default();
        // SAFETY: alive; earlier requests of the chain live as long as this one.
        unsafe {
            let mut request = (*self.as_ptr()).prev;
            if let Some(previous) = request.as_ref() {
                redirect.query = bytes(previous.args);
                redirect.url = bytes(previous.uri);
            }
            while !request.is_null() && redirect.user.is_none() {
                redirect.user = bytes((*request).user);
                request = (*request).prev;
            }
        }
        redirect
    }

    /// Whether `host`, without a port, is a name of the server this request is for.
    pub fn is_own_name(&self, host: &[u8]) -> bool {
        let host = self.pool().string(host);
        // SAFETY: alive; the host is a string.
        unsafe {
            let port = (*(*self.as_ptr()).server).port;
            raw::ap_matches_request_vhost(self.as_ptr(), host.as_ptr(), port) != 0
        }
    }

    /// Has the server put all CGI variables into [`Request::environment`].
    ///
    /// Costly, but right in every case, such as subrequests and redirects.
    pub fn add_cgi_variables(&mut self) {
        // SAFETY: alive.
        unsafe {
            raw::ap_add_common_vars(self.as_ptr());
            raw::ap_add_cgi_vars(self.as_ptr());
        }
    }

    /// `SERVER_NAME`: by `UseCanonicalName`, an IPv6 address in brackets, escaped for HTML.
    pub fn server_name(&self) -> &'r [u8] {
        // SAFETY: alive; the strings are in its pool.
        unsafe {
            let name = raw::ap_get_server_name_for_url(self.as_ptr());
            bytes(name).map(|plain| {
                if plain.iter().any(|b| matches!(b, b'<' | b'>' | b'&' | b'"')) {
                    let escaped = raw::ap_escape_html2((*self.as_ptr()).pool, name, 0);
                    bytes(escaped).unwrap_or_default()
                } else {
                    plain
                }
            })
        }
        .unwrap_or_default()
    }

    /// `SERVER_PORT`: by `UseCanonicalName` and `UseCanonicalPhysicalPort`.
    pub fn server_port(&self) -> u16 {
        // SAFETY: alive.
        unsafe { raw::ap_get_server_port(self.as_ptr()) }
    }

    /// `REQUEST_SCHEME`.
    pub fn scheme(&self) -> &'r [u8] {
        // SAFETY: alive; a constant, or a string of the server's configuration.
        unsafe { bytes(raw::ap_run_http_scheme(self.as_ptr())) }.unwrap_or_default()
    }

    /// `DOCUMENT_ROOT`.
    pub fn document_root(&self) -> &'r [u8] {
        // SAFETY: alive; a string as old as the request or older.
        unsafe { bytes(raw::ap_document_root(self.as_ptr())) }.unwrap_or_default()
    }

    /// `CONTEXT_PREFIX`.
    pub fn context_prefix(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(raw::ap_context_prefix(self.as_ptr())) }.unwrap_or_default()
    }

    /// `CONTEXT_DOCUMENT_ROOT`.
    pub fn context_document_root(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(raw::ap_context_document_root(self.as_ptr())) }.unwrap_or_default()
    }

    /// A variable of the server's process.
    pub fn process_variable(name: &CStr) -> Option<Vec<u8>> {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let name = std::ffi::OsStr::from_bytes(name.to_bytes());
        std::env::var_os(name).map(OsStringExt::into_vec)
    }
}

/// `SERVER_SOFTWARE`: the banner, as long as `ServerTokens` lets it be.
pub fn server_banner() -> &'static [u8] {
    // SAFETY: a string that lives until the next restart, when this process is no child any more.
    unsafe { bytes(raw::ap_get_server_banner()) }.unwrap_or_default()
}
