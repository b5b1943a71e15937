//! A request as CGI variables.
//!
//! Built straight from the request: the two functions that httpd has for it
//! (`ap_add_common_vars`, `ap_add_cgi_vars`) first write everything into a table, with a copy and a
//! search for each variable, and half of what they write is not for applications. The result is
//! what they say where they say it.

use std::borrow::Cow;
use std::ffi::CString;

use engine_api::Pair;
use httpd_sys::Request;
use wsgi_config::cgi;

use crate::settings::{Effective, MapHead};

/// Name and value.
type Variable<'r> = (Cow<'static, [u8]>, Cow<'r, [u8]>);

/// The variables of one request.
pub(crate) struct Environ<'r> {
    /// `SCRIPT_NAME`, before slashes are collapsed.
    script_name: &'r [u8],
    variables: Vec<Variable<'r>>,
}

impl<'r> Environ<'r> {
    /// No variables yet, but `SCRIPT_NAME` is known, which names of groups are made of.
    pub(crate) fn new(request: &Request<'r>) -> Environ<'r> {
        let uri = request.uri();
        let script_name = match request.protocol() {
            // A subrequest of mod_include has the path of the page that includes it behind it.
            b"INCLUDED" => uri,
            _ => &uri[..cgi::script_name_length(uri, request.path_info())],
        };
        Environ { script_name, variables: Vec::with_capacity(48) }
    }

    /// `SCRIPT_NAME` as it is in the URL.
    pub(crate) fn script_name(&self) -> &'r [u8] {
        self.script_name
    }

    /// Collects all variables.
    pub(crate) fn collect(
        &mut self,
        request: &Request<'r>,
        effective: Effective<'_>,
        pass_authorization: bool,
    ) {
        let rules = request.cgi_rules();
        self.add_request(request, effective, rules.current_uri);
        self.add_server(request);
        self.add_headers(request, pass_authorization, rules.pass_authorization);
        self.add_configured(request);
    }

    /// Applies trusted proxy headers, and says whether the client used TLS.
    pub(crate) fn take_https(&mut self, request: &Request<'r>, effective: Effective<'_>) -> bool {
        let mut decided = false;
        if let Some(headers) = effective.get(|s| &s.trusted_proxy_headers) {
            decided = proxy_trust::apply(headers, effective.get(|s| &s.trusted_proxies), self);
        }
        let value = self.find(b"HTTPS").map(|at| self.variables.swap_remove(at).1);
        if !decided && httpd_sys::ssl_is_https(request) {
            return true;
        }
        value.is_some_and(|value| value.eq_ignore_ascii_case(b"on") || *value == *b"1")
    }

    /// The variables as the engine takes them.
    pub(crate) fn pairs(&self) -> Vec<Pair<'_>> {
        self.variables.iter().map(|(name, value)| Pair::new(name, value)).collect()
    }

    fn add(&mut self, name: &'static str, value: impl Into<Cow<'r, [u8]>>) {
        self.variables.push((Cow::Borrowed(name.as_bytes()), value.into()));
    }

    fn add_some(&mut self, name: &'static str, value: Option<&'r [u8]>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn add_request(&mut self, request: &Request<'r>, effective: Effective<'_>, current_uri: bool) {
        let script_name = cgi::collapse_slashes(self.script_name);
        let path_info = cgi::collapse_slashes(request.path_info());
        let original = original_uri(request.request_line());
        self.add("REQUEST_METHOD", method(request, effective));
        self.add("QUERY_STRING", request.query().unwrap_or_default());
        self.add("REQUEST_URI", if current_uri { request.uri() } else { original });
        self.add("mod_wsgi.script_name", script_name.clone());
        self.add("mod_wsgi.path_info", path_info.clone());
        self.add("SCRIPT_NAME", script_name);
        self.add("PATH_INFO", path_info);
        self.add("SERVER_PROTOCOL", request.protocol());
        self.add("SCRIPT_FILENAME", request.filename());
        self.add("mod_wsgi.request_handler", request.handler().unwrap_or_default());
        self.add_some("AUTH_TYPE", request.user().and(request.auth_type()));
        self.add_some("REMOTE_USER", request.user());
        if request.is_redirected() {
            let redirect = request.redirected_from();
            if request.user().is_none() {
                self.add_some("REDIRECT_REMOTE_USER", redirect.user);
            }
            self.add_some("REDIRECT_QUERY_STRING", redirect.query);
            self.add_some("REDIRECT_URL", redirect.url);
        }
    }

    fn add_server(&mut self, request: &Request<'r>) {
        let connection = request.connection();
        self.add("SERVER_NAME", request.server_name());
        self.add("SERVER_PORT", request.server_port().to_string().into_bytes());
        self.add("SERVER_SOFTWARE", httpd_sys::server_banner());
        self.add_some("SERVER_ADMIN", request.server().admin());
        self.add("SERVER_ADDR", connection.local_ip());
        self.add("REMOTE_ADDR", request.client_ip());
        self.add("REMOTE_PORT", connection.peer_port().to_string().into_bytes());
        self.add("REQUEST_SCHEME", request.scheme());
        self.add("DOCUMENT_ROOT", request.document_root());
        self.add("CONTEXT_PREFIX", request.context_prefix());
        self.add("CONTEXT_DOCUMENT_ROOT", request.context_document_root());
        self.add("mod_wsgi.listener_host", connection.local_address_hostname().unwrap_or_default());
        self.add("mod_wsgi.listener_port", connection.local_port().to_string().into_bytes());
    }

    /// Headers, less those that only the server should see and those whose name could be mistaken
    /// for another's.
    fn add_headers(&mut self, request: &Request<'r>, authorization: bool, credentials: bool) {
        let mut variable = Vec::with_capacity(32);
        for (name, value) in request.headers_in().iter() {
            let value = value.unwrap_or_default();
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            match name.len() {
                5 if is("Proxy") => continue,
                12 if is("Content-Type") => {
                    self.add("CONTENT_TYPE", value);
                    continue;
                }
                14 if is("Content-Length") => {
                    self.add("CONTENT_LENGTH", value);
                    continue;
                }
                13 if is("Authorization") && !authorization && !credentials => continue,
                19 if is("Proxy-Authorization") && !credentials => continue,
                _ => {}
            }
            if cgi::header_variable(name, &mut variable) {
                self.variables.push((Cow::Owned(variable.clone()), Cow::Borrowed(value)));
            }
        }
    }

    /// What `SetEnv` and its kin say, unless the request itself says it.
    fn add_configured(&mut self, request: &Request<'r>) {
        for (name, value) in request.environment().iter() {
            let hidden = name.eq_ignore_ascii_case(b"PATH")
                || name.starts_with(b"mod_wsgi.x-")
                || name.eq_ignore_ascii_case(b"HTTP_PROXY");
            if !hidden && self.find(name).is_none() {
                let value = Cow::Borrowed(value.unwrap_or_default());
                self.variables.push((Cow::Owned(name.to_vec()), value));
            }
        }
    }

    /// Apache's tables ignore case.
    fn find(&self, name: &[u8]) -> Option<usize> {
        self.variables
            .iter()
            .position(|(other, _)| other.len() == name.len() && other.eq_ignore_ascii_case(name))
    }
}

/// The method that applications see: a `HEAD` may have to look like a `GET` to them, so that
/// filters get the body that a `GET` would have.
fn method<'r>(request: &Request<'r>, effective: Effective<'_>) -> &'r [u8] {
    let map = effective.get(|s| &s.map_head_to_get).copied().unwrap_or(MapHead::Auto);
    let mapped = match map {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => request.has_content_filter(),
    };
    let method = request.method();
    if mapped && method == b"HEAD" { b"GET" } else { method }
}

impl proxy_trust::Environ for Environ<'_> {
    fn get(&self, variable: &str) -> Option<&[u8]> {
        self.find(variable.as_bytes()).map(|at| &*self.variables[at].1)
    }

    fn set(&mut self, variable: &'static str, value: Vec<u8>) {
        match self.find(variable.as_bytes()) {
            Some(at) => self.variables[at].1 = Cow::Owned(value),
            None => self.add(variable, value),
        }
    }

    fn remove(&mut self, variable: &'static str) {
        if let Some(at) = self.find(variable.as_bytes()) {
            self.variables.swap_remove(at);
        }
    }
}

/// A variable for `%{ENV:name}`: notes, then the request's environment, then the process's.
pub(crate) fn variable(request: &Request<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let key = CString::new(name).ok()?;
    let found = request.notes().get(&key).or_else(|| request.environment().get(&key));
    found.map(<[u8]>::to_vec).or_else(|| Request::process_variable(&key))
}

/// The second word of a request line, as it was sent.
fn original_uri(line: &[u8]) -> &[u8] {
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words.nth(1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn original_uris() {
        assert_eq!(original_uri(b"GET /a%20b?c=d HTTP/1.1"), b"/a%20b?c=d");
        assert_eq!(original_uri(b"GET  http://h/x HTTP/1.0"), b"http://h/x");
        assert_eq!(original_uri(b"GET /only"), b"/only");
        assert_eq!(original_uri(b""), b"");
    }
}
