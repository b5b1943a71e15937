//! A request as CGI variables.
//!
//! Built straight from the request: the two functions that the server has for it
//! (`ap_add_common_vars`, `ap_add_cgi_vars`) write everything into a table first, with a copy and a
//! search for each variable, and part of what they write is not for applications. The result is
//! theirs; for subrequests and redirects, which have rules of their own, they are asked.
//! RFC 3875, <https://peps.python.org/pep-3333/#environ-variables>

use std::borrow::Cow;
use std::sync::OnceLock;

use engine_api::Pair;
use httpd_sys::{Pool, Request};
use smallvec::SmallVec;
use wsgi_config::cgi;

use crate::child;
use crate::settings::{Effective, MapHead};

/// The variables of one request, as the engine takes them. What had to be made for them is in the
/// request's memory.
pub(crate) struct Environ<'r> {
    /// `SCRIPT_NAME`, before slashes are collapsed.
    script_name: &'r [u8],
    /// What of the URL leads to the script.
    place: &'r [u8],
    pool: Pool<'r>,
    variables: SmallVec<[Pair<'r>; 48]>,
}

/// What the server computes that applications do not get, and what the engine puts into every
/// environ, which `SetEnv` must not replace.
const HIDDEN: [&[u8]; 11] = [
    b"PATH",
    b"GATEWAY_INTERFACE",
    b"SERVER_SIGNATURE",
    b"REMOTE_HOST",
    b"HTTP_PROXY",
    b"apache.version",
    b"mod_wsgi.process_group",
    b"mod_wsgi.version",
    b"wsgi.file_wrapper",
    b"wsgi.input_terminated",
    b"wsgi.version",
];

impl<'r> Environ<'r> {
    /// No variables yet, but what names of groups are made of is known.
    pub(crate) fn new(request: &Request<'r>) -> Environ<'r> {
        let uri = request.uri();
        let place = &uri[..cgi::script_name_length(uri, request.path_info())];
        // A subrequest of mod_include is told all of its path, as the server tells CGI scripts.
        let script_name = if request.protocol() == b"INCLUDED" { uri } else { place };
        Environ { script_name, place, pool: request.pool(), variables: SmallVec::new() }
    }

    /// What of the URL leads to the script, as it is there: `SCRIPT_NAME`, but for subrequests of
    /// mod_include.
    pub(crate) fn place(&self) -> &'r [u8] {
        self.place
    }

    /// Collects all variables.
    pub(crate) fn collect(
        &mut self,
        request: &mut Request<'r>,
        effective: Effective<'_>,
        pass_authorization: bool,
    ) {
        if request.is_initial() {
            self.add_request(request);
            self.add_server(request);
            self.add_headers(request, pass_authorization);
            self.add_configured(request);
        } else {
            self.add_as_the_server_does(request, pass_authorization);
        }
        self.finish(request, effective);
    }

    /// Collects what scripts get that decide about access and users: what is known of the request
    /// before it has a handler, without credentials and what `SetEnv` says.
    pub(crate) fn collect_for_hook(&mut self, request: &mut Request<'r>) {
        self.add_request(request);
        self.add_server(request);
        self.add_headers(request, false);
        const NOT_YET: [&[u8]; 8] = [
            b"AUTH_TYPE",
            b"CONTEXT_DOCUMENT_ROOT",
            b"CONTEXT_PREFIX",
            b"HTTP_AUTHORIZATION",
            b"HTTP_PROXY_AUTHORIZATION",
            b"REMOTE_USER",
            b"REQUEST_SCHEME",
            b"SCRIPT_FILENAME",
        ];
        self.variables.retain(|variable| !NOT_YET.contains(&variable.name.or_empty()));
        self.add("SERVER_SIGNATURE", request.server_signature());
        self.add_some("REMOTE_HOST", request.client_name());
        self.add("SCRIPT_NAME", self.script_name);
        self.add("PATH_INFO", request.path_info());
    }

    /// Applies trusted proxy headers, and says whether the client used TLS.
    pub(crate) fn take_https(&mut self, request: &Request<'r>, effective: Effective<'_>) -> bool {
        let mut decided = false;
        if let Some(headers) = effective.get(|s| &s.trusted_proxy_headers) {
            decided = proxy_trust::apply(headers, effective.get(|s| &s.trusted_proxies), self);
        }
        // Only the configuration and a trusted header can have set it.
        let value = (decided || !request.environment().is_empty())
            .then(|| self.find(b"HTTPS"))
            .flatten()
            .map(|at| self.variables.swap_remove(at).value.or_empty());
        if !decided && httpd_sys::ssl_is_https(request) {
            return true;
        }
        value.is_some_and(|value| value.eq_ignore_ascii_case(b"on") || value == b"1")
    }

    /// The variables.
    pub(crate) fn pairs(&self) -> &[Pair<'r>] {
        &self.variables
    }

    // Twenty times for each request, in a crate that is compiled to be small.
    #[inline(always)]
    fn add(&mut self, name: &'static str, value: &'r [u8]) {
        self.variables.push(Pair::new(name.as_bytes(), value));
    }

    /// A value that may have been made, in the request's memory.
    fn kept(&self, value: Cow<'r, [u8]>) -> &'r [u8] {
        match value {
            Cow::Borrowed(value) => value,
            Cow::Owned(value) => self.pool.bytes(&value),
        }
    }

    fn add_some(&mut self, name: &'static str, value: Option<&'r [u8]>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn add_request(&mut self, request: &Request<'r>) {
        self.add("REQUEST_METHOD", request.method());
        self.add("QUERY_STRING", request.query().unwrap_or_default());
        let uri = if request.cgi_rules().current_uri {
            request.uri()
        } else {
            original_uri(request.request_line())
        };
        self.add("REQUEST_URI", uri);
        self.add("SERVER_PROTOCOL", request.protocol());
        self.add("SCRIPT_FILENAME", request.filename());
        self.add_some("AUTH_TYPE", request.auth_type());
        self.add_some("REMOTE_USER", request.user());
    }

    fn add_server(&mut self, request: &Request<'r>) {
        let connection = request.connection();
        self.add("SERVER_NAME", request.server_name());
        self.add("SERVER_PORT", port(request, request.server_port()));
        self.add("SERVER_SOFTWARE", httpd_sys::server_banner());
        self.add_some("SERVER_ADMIN", request.server().admin());
        self.add("SERVER_ADDR", connection.local_ip());
        self.add("REMOTE_ADDR", request.client_ip());
        self.add("REMOTE_PORT", decimal(request, connection.peer_port()));
        self.add("REQUEST_SCHEME", request.scheme());
        self.add("DOCUMENT_ROOT", request.document_root());
        self.add("CONTEXT_PREFIX", request.context_prefix());
        self.add("CONTEXT_DOCUMENT_ROOT", request.context_document_root());
    }

    /// Headers, less those that only the server should see and those whose name could be mistaken
    /// for another's.
    fn add_headers(&mut self, request: &Request<'r>, pass_authorization: bool) {
        let pass_all = request.cgi_rules().pass_authorization;
        let mut made = Vec::new();
        for (name, value) in request.headers_in().iter() {
            let value = value.unwrap_or_default();
            let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
            match name.len() {
                5 if is(b"Proxy") => continue,
                6 if is(b"Cookie") => {
                    self.add("HTTP_COOKIE", self.kept(join_cookies(value)));
                    continue;
                }
                12 if is(b"Content-Type") => {
                    self.add("CONTENT_TYPE", value);
                    continue;
                }
                13 if is(b"Authorization") && !pass_authorization && !pass_all => continue,
                14 if is(b"Content-Length") => {
                    self.add("CONTENT_LENGTH", value);
                    continue;
                }
                19 if is(b"Proxy-Authorization") && !pass_all => continue,
                _ => {}
            }
            if let Some(known) = cgi::known_header_variable(name) {
                self.add(known, value);
                continue;
            }
            made.clear();
            if cgi::push_header_variable(name, &mut made) {
                self.variables.push(Pair::new(self.pool.bytes(&made), value));
            }
        }
    }

    /// What `SetEnv`, mod_ssl and their kin say, unless the request itself says it.
    fn add_configured(&mut self, request: &Request<'r>) {
        for (name, value) in request.environment().iter() {
            if !is_hidden(name) && !is_own(name) && self.find(name).is_none() {
                self.variables.push(Pair::new(name, value.unwrap_or_default()));
            }
        }
    }

    /// The server's own table, less what applications do not get.
    fn add_as_the_server_does(&mut self, request: &mut Request<'r>, pass_authorization: bool) {
        request.add_cgi_variables();
        // What the server made of headers with odd names is told by what it would make of them.
        let odd = odd_variables(request);
        for (name, value) in request.environment().iter() {
            if is_hidden(name) || is_own(name) || odd.iter().any(|odd| odd == name) {
                continue;
            }
            let value = value.unwrap_or_default();
            if name == b"HTTP_COOKIE" {
                self.add("HTTP_COOKIE", self.kept(join_cookies(value)));
            } else {
                self.variables.push(Pair::new(name, value));
            }
        }
        if pass_authorization && self.find(b"HTTP_AUTHORIZATION").is_none() {
            self.add_some("HTTP_AUTHORIZATION", request.headers_in().get(c"Authorization"));
        }
    }

    /// What is ours alone, however the rest came about.
    fn finish(&mut self, request: &Request<'r>, effective: Effective<'_>) {
        let script_name = self.kept(cgi::collapse_slashes(self.script_name));
        let path_info = self.kept(cgi::collapse_slashes(request.path_info()));
        let connection = request.connection();
        self.add("mod_wsgi.script_name", script_name);
        self.add("mod_wsgi.path_info", path_info);
        self.add("SCRIPT_NAME", script_name);
        self.add("PATH_INFO", path_info);
        self.add("mod_wsgi.request_handler", request.handler().unwrap_or_default());
        let host = connection.local_address_hostname().unwrap_or_default();
        self.add("mod_wsgi.listener_host", host);
        self.add("mod_wsgi.listener_port", port(request, connection.local_port()));
        self.add("mod_wsgi.server_pid", child::pid_as_text());
        if request.header_only() && maps_head(request, effective) {
            proxy_trust::Environ::set(self, "REQUEST_METHOD", b"GET".to_vec());
        }
    }

    /// The server's tables ignore case.
    fn find(&self, name: &[u8]) -> Option<usize> {
        self.variables.iter().position(|variable| {
            let other = variable.name.or_empty();
            other.len() == name.len() && other.eq_ignore_ascii_case(name)
        })
    }
}

impl proxy_trust::Environ for Environ<'_> {
    fn get(&self, variable: &str) -> Option<&[u8]> {
        self.find(variable.as_bytes()).map(|at| self.variables[at].value.or_empty())
    }

    fn set(&mut self, variable: &'static str, value: Vec<u8>) {
        let value = self.pool.bytes(&value);
        match self.find(variable.as_bytes()) {
            Some(at) => self.variables[at].value = value.into(),
            None => self.add(variable, value),
        }
    }

    fn remove(&mut self, variable: &'static str) {
        if let Some(at) = self.find(variable.as_bytes()) {
            self.variables.swap_remove(at);
        }
    }
}

/// An application's place, which `finish` says and nobody else can.
fn is_own(name: &[u8]) -> bool {
    [&b"SCRIPT_NAME"[..], b"PATH_INFO", b"PATH_TRANSLATED"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
}

fn is_hidden(name: &[u8]) -> bool {
    HIDDEN.contains(&name) || name.starts_with(b"mod_wsgi.x-")
}

/// Whether `HEAD` is shown to the application as `GET`.
fn maps_head(request: &Request<'_>, effective: Effective<'_>) -> bool {
    match effective.get(|s| &s.map_head_to_get).copied().unwrap_or(MapHead::Auto) {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => request.has_content_filter(),
    }
}

/// The variables that the server makes of headers whose name has a byte that could be mistaken.
fn odd_variables(request: &Request<'_>) -> Vec<Vec<u8>> {
    let mut scratch = Vec::new();
    let names = request.headers_in().iter().map(|(name, _)| name);
    let odd = names.filter(|name| {
        scratch.clear();
        !cgi::push_header_variable(name, &mut scratch)
    });
    let as_variable = |byte: &u8| {
        if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }
    };
    odd.map(|name| [b"HTTP_", &*name.iter().map(as_variable).collect::<Vec<_>>()].concat())
        .collect()
}

/// The value of `Cookie`. The server has joined several headers with a comma, as is right for all
/// but this one; RFC 6265 wants a semicolon.
///
/// What follows such a comma is the name of the next cookie. A comma inside of a value, which the
/// RFC forbids but browsers send, stays unless just that follows it.
fn join_cookies(value: &[u8]) -> Cow<'_, [u8]> {
    let is_seam = |at: usize| {
        let rest = value[at..].strip_prefix(b", ").unwrap_or_default();
        let name = rest.iter().take_while(|byte| is_token(**byte)).count();
        name > 0 && rest.get(name) == Some(&b'=')
    };
    let mut joined = Cow::Borrowed(value);
    for (at, byte) in value.iter().enumerate() {
        if *byte == b',' && is_seam(at) {
            joined.to_mut()[at] = b';';
        }
    }
    joined
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The number of a port of this server. It has few of them, and is mostly asked for the same.
fn port<'r>(request: &Request<'r>, port: u16) -> &'r [u8] {
    static LISTENER: OnceLock<(u16, String)> = OnceLock::new();
    let local = || {
        let local = request.connection().local_port();
        (local, local.to_string())
    };
    match (port, LISTENER.get_or_init(local)) {
        (80, _) => b"80",
        (443, _) => b"443",
        (port, (known, text)) if port == *known => text.as_bytes(),
        _ => decimal(request, port),
    }
}

/// A number in the request's memory.
fn decimal<'r>(request: &Request<'r>, number: impl Into<u32>) -> &'r [u8] {
    let mut number = number.into();
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return request.pool().bytes(&digits[at..]);
        }
    }
}

/// The second word of a request line, as it was sent.
fn original_uri(line: &[u8]) -> &[u8] {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
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

    #[test]
    fn d26_cookies_are_joined_with_semicolons() {
        for (merged, joined) in [
            ("a=1, b=2", "a=1; b=2"),
            ("a=1; b=2, c=3, d=4", "a=1; b=2; c=3; d=4"),
            ("a=1,b=2", "a=1,b=2"),
            ("when=Mon, 01 Jan; b=2", "when=Mon, 01 Jan; b=2"),
            ("a={\"x\": 1, \"y\": 2}", "a={\"x\": 1, \"y\": 2}"),
            ("a=1, ", "a=1, "),
            ("", ""),
        ] {
            let found = join_cookies(merged.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), joined, "{merged}");
        }
    }

    #[test]
    fn what_applications_do_not_get() {
        for name in ["PATH", "HTTP_PROXY", "GATEWAY_INTERFACE", "mod_wsgi.x-anything"] {
            assert!(is_hidden(name.as_bytes()), "{name}");
        }
        for name in ["PATH_INFO", "HTTP_PROXY_CONNECTION", "mod_wsgi.custom", "SSL_TLS_SNI"] {
            assert!(!is_hidden(name.as_bytes()), "{name}");
        }
        assert!(is_own(b"script_name") && !is_own(b"SCRIPT_NAMES"));
    }
}
