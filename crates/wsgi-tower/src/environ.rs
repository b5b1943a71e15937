//! From a request of the `http` crate to CGI variables.
//!
//! Fields with a name that is not letters, digits and hyphens are left out, as Apache does it:
//! `X_Real_IP` and `X-Real-IP` would be the same variable, and one of them may be forged. `Proxy` is
//! left out, too (<https://httpoxy.org>). The request target's authority, if it has one, takes the
//! place of `Host`: <https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2>.
//!
//! <https://www.rfc-editor.org/rfc/rfc3875#section-4.1>, <https://peps.python.org/pep-3333/>.

use std::borrow::Cow;
use std::io::Write;

use http::header::{self, HeaderName};
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::service::Connection;

/// Names and values of one request, in memory of its own where the request has no such bytes.
///
/// Kept by a thread and filled again for each request, so that nothing is allocated for most.
#[derive(Debug, Default)]
pub(crate) struct Environ {
    text: Vec<u8>,
    pairs: Vec<(Piece, Piece)>,
}

/// Bytes that live as long as the program, or a part of `text`.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Fixed(&'static [u8]),
    Own(usize, usize),
}

impl Environ {
    /// Fills it.
    pub(crate) fn fill(&mut self, parts: &Parts, connection: &Connection) {
        self.text.clear();
        self.pairs.clear();
        let method = parts.method.as_str().as_bytes();
        self.push(b"REQUEST_METHOD", method);
        self.push(b"SCRIPT_NAME", b"");
        // What is no encoding stays as it is.
        let path: Cow<'_, [u8]> = percent_decode_str(parts.uri.path()).into();
        self.push(b"PATH_INFO", &path);
        self.push(b"QUERY_STRING", parts.uri.query().unwrap_or_default().as_bytes());
        let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
        self.push(b"REQUEST_URI", target.as_bytes());
        self.push_fixed(b"SERVER_PROTOCOL", version(parts.version));
        self.push_fixed(b"SERVER_SOFTWARE", concat!("wsgi-tower/", env!("CARGO_PKG_VERSION")));
        self.push_shown(b"SERVER_NAME", &connection.local.ip().to_canonical());
        self.push_shown(b"SERVER_PORT", &connection.local.port());
        self.push_shown(b"REMOTE_ADDR", &connection.peer.ip().to_canonical());
        self.push_shown(b"REMOTE_PORT", &connection.peer.port());
        self.push_fields(parts);
        if let Some(authority) = parts.uri.authority() {
            // Behind the fields: later entries replace earlier ones.
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            self.push(b"HTTP_HOST", host.as_bytes());
        }
    }

    /// The pairs.
    pub(crate) fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        self.pairs.iter().map(|(name, value)| (self.bytes(*name), self.bytes(*value))).collect()
    }

    fn push_fields(&mut self, parts: &Parts) {
        // Values of one name come one after the other.
        let mut last: Option<&HeaderName> = None;
        for (name, value) in &parts.headers {
            if last == Some(name) {
                let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
                self.append(separator, value.as_bytes());
                continue;
            }
            last = None;
            let Some(variable) = self.variable(name) else { continue };
            last = Some(name);
            let value = self.own(value.as_bytes());
            self.pairs.push((variable, value));
        }
    }

    /// The variable of a field.
    fn variable(&mut self, name: &HeaderName) -> Option<Piece> {
        let fixed: &[u8] = match *name {
            header::HOST => b"HTTP_HOST",
            header::USER_AGENT => b"HTTP_USER_AGENT",
            header::ACCEPT => b"HTTP_ACCEPT",
            header::ACCEPT_ENCODING => b"HTTP_ACCEPT_ENCODING",
            header::ACCEPT_LANGUAGE => b"HTTP_ACCEPT_LANGUAGE",
            header::CONNECTION => b"HTTP_CONNECTION",
            header::COOKIE => b"HTTP_COOKIE",
            header::REFERER => b"HTTP_REFERER",
            header::CONTENT_TYPE => b"CONTENT_TYPE",
            header::CONTENT_LENGTH => b"CONTENT_LENGTH",
            _ => b"",
        };
        if !fixed.is_empty() {
            return Some(Piece::Fixed(fixed));
        }
        let name = name.as_str();
        if name == "proxy" || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return None;
        }
        let start = self.text.len();
        self.text.extend_from_slice(b"HTTP_");
        let upper = name.bytes().map(|b| if b == b'-' { b'_' } else { b.to_ascii_uppercase() });
        self.text.extend(upper);
        Some(Piece::Own(start, self.text.len()))
    }

    fn push(&mut self, name: &'static [u8], value: &[u8]) {
        let value = self.own(value);
        self.pairs.push((Piece::Fixed(name), value));
    }

    fn push_fixed(&mut self, name: &'static [u8], value: &'static str) {
        self.pairs.push((Piece::Fixed(name), Piece::Fixed(value.as_bytes())));
    }

    fn push_shown(&mut self, name: &'static [u8], value: &dyn std::fmt::Display) {
        let start = self.text.len();
        // Writing to a vector does not fail.
        let _ = write!(self.text, "{value}");
        self.pairs.push((Piece::Fixed(name), Piece::Own(start, self.text.len())));
    }

    fn own(&mut self, value: &[u8]) -> Piece {
        let start = self.text.len();
        self.text.extend_from_slice(value);
        Piece::Own(start, self.text.len())
    }

    /// Continues the last value, which is the end of `text`.
    fn append(&mut self, separator: &[u8], value: &[u8]) {
        self.text.extend_from_slice(separator);
        self.text.extend_from_slice(value);
        if let Some((_, Piece::Own(_, end))) = self.pairs.last_mut() {
            *end = self.text.len();
        }
    }

    fn bytes(&self, piece: Piece) -> &[u8] {
        match piece {
            Piece::Fixed(bytes) => bytes,
            Piece::Own(start, end) => self.text.get(start..end).unwrap_or_default(),
        }
    }
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_09 => "HTTP/0.9",
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2.0",
        http::Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    fn environ(request: http::request::Builder) -> BTreeMap<String, String> {
        let connection = Connection::new(
            "127.0.0.1:8000".parse().unwrap(),
            "[::ffff:10.0.0.7]:4711".parse().unwrap(),
        );
        let mut environ = Environ::default();
        let parts = request.body(()).unwrap().into_parts().0;
        // Twice: what the first left behind must not show.
        environ.fill(&parts, &connection);
        environ.fill(&parts, &connection);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        environ.pairs().into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn a_request_line_becomes_variables() {
        let environ =
            environ(http::Request::post("/a%2Fb%zz%C3%A4?x=%20&y").version(http::Version::HTTP_10));
        assert_eq!(environ["PATH_INFO"], "/a/b%zz\u{e4}");
        assert_eq!(environ["QUERY_STRING"], "x=%20&y");
        assert_eq!(environ["REQUEST_URI"], "/a%2Fb%zz%C3%A4?x=%20&y");
        assert_eq!(environ["REQUEST_METHOD"], "POST");
        assert_eq!(environ["SERVER_PROTOCOL"], "HTTP/1.0");
        assert_eq!(environ["SCRIPT_NAME"], "");
        assert_eq!(environ["SERVER_PORT"], "8000");
        assert_eq!(environ["REMOTE_ADDR"], "10.0.0.7");
        assert!(!environ.contains_key("CONTENT_LENGTH"));
    }

    #[test]
    fn fields_of_one_name_are_one_variable() {
        let request = http::Request::get("/")
            .header("x-a", "1")
            .header("cookie", "a=1")
            .header("x-b", "z")
            .header("x-a", "2")
            .header("cookie", "b=2");
        let environ = environ(request);
        assert_eq!(environ["HTTP_X_A"], "1, 2");
        assert_eq!(environ["HTTP_COOKIE"], "a=1; b=2");
        assert_eq!(environ["HTTP_X_B"], "z");
    }

    #[test]
    fn content_fields_have_no_prefix() {
        let request =
            http::Request::put("/").header("content-type", "a/b").header("content-length", "7");
        let environ = environ(request);
        assert_eq!((&*environ["CONTENT_TYPE"], &*environ["CONTENT_LENGTH"]), ("a/b", "7"));
        assert!(!environ.contains_key("HTTP_CONTENT_TYPE"));
    }

    #[test]
    fn names_that_could_be_forged_are_left_out() {
        let request = http::Request::get("/")
            .header("x_real_ip", "evil")
            .header("x-real-ip", "good")
            .header("x.y", "odd")
            .header("proxy", "evil");
        let environ = environ(request);
        assert_eq!(environ["HTTP_X_REAL_IP"], "good");
        assert!(!environ.contains_key("HTTP_PROXY"));
        assert!(environ.values().all(|value| value != "odd" && value != "evil"));
    }

    #[test]
    fn an_authority_in_the_target_is_the_host() {
        let request = http::Request::get("http://u:p@a.example:81/x").header("host", "b.example");
        let environ = environ(request);
        assert_eq!(environ["HTTP_HOST"], "a.example:81");
        assert_eq!(environ["PATH_INFO"], "/x");
    }
}
