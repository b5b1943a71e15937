//! The headers a proxy can set, by what they tell.

use std::fmt;

/// What a header tells about the original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The client's address: `REMOTE_ADDR`.
    Client,
    /// The host the client asked for: `HTTP_HOST`.
    Host,
    /// The proxy's own name: `SERVER_NAME`.
    Server,
    /// The port the client used: `SERVER_PORT`.
    Port,
    /// Where the application is mounted as the client sees it: `SCRIPT_NAME`.
    ScriptName,
    /// Whether the client used TLS: `HTTPS`.
    Scheme,
}

impl Category {
    /// Number of categories.
    pub(crate) const COUNT: usize = 6;

    /// Position in an array of [`Category::COUNT`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// A header of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The CGI variable it arrives as, such as `HTTP_X_FORWARDED_FOR`.
    pub variable: &'static str,
    /// What it tells.
    pub category: Category,
    /// For schemes: the value is `on` or `off`, not `https` or `http`.
    pub(crate) flag: bool,
}

/// Every header that can be trusted. Those of one category are synonyms.
pub(crate) const REGISTRY: [Header; 15] = [
    header("HTTP_X_FORWARDED_FOR", Category::Client),
    header("HTTP_X_CLIENT_IP", Category::Client),
    header("HTTP_X_REAL_IP", Category::Client),
    header("HTTP_X_FORWARDED_HOST", Category::Host),
    header("HTTP_X_HOST", Category::Host),
    header("HTTP_X_FORWARDED_SERVER", Category::Server),
    header("HTTP_X_FORWARDED_PORT", Category::Port),
    header("HTTP_X_SCRIPT_NAME", Category::ScriptName),
    header("HTTP_X_FORWARDED_SCRIPT_NAME", Category::ScriptName),
    header("HTTP_X_FORWARDED_PROTO", Category::Scheme),
    header("HTTP_X_FORWARDED_SCHEME", Category::Scheme),
    header("HTTP_X_SCHEME", Category::Scheme),
    flag("HTTP_X_FORWARDED_HTTPS"),
    flag("HTTP_X_FORWARDED_SSL"),
    flag("HTTP_X_HTTPS"),
];

const fn header(variable: &'static str, category: Category) -> Header {
    Header { variable, category, flag: false }
}

const fn flag(variable: &'static str) -> Header {
    Header { variable, category: Category::Scheme, flag: true }
}

/// The headers of one `WSGITrustedProxyHeaders`, in order. Unknown names are kept out: they tell
/// nothing that this crate knows how to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// Adds a header by its name on the wire, in any case.
    ///
    /// # Errors
    /// A name with anything but letters, digits and `-` can never arrive as a CGI variable.
    pub fn push(&mut self, name: &str) -> Result<(), InvalidName> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(InvalidName(name.to_owned()));
        }
        let known = REGISTRY.iter().find(|header| {
            let variable = header.variable.trim_start_matches("HTTP_").bytes();
            name.len() == variable.len()
                && name
                    .bytes()
                    .zip(variable)
                    .all(|(b, v)| b.to_ascii_uppercase() == if v == b'_' { b'-' } else { v })
        });
        self.0.extend(known);
        Ok(())
    }

    /// The known headers, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }
}

/// A name that cannot be a header's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName(String);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invalid trusted proxy header name \"{}\": only letters, digits and '-' are possible.",
            self.0
        )
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let mut headers = Headers::default();
        headers.push("x-forwarded-FOR").unwrap();
        headers.push("X-Https").unwrap();
        headers.push("X-Unknown").unwrap();
        headers.push("X-Forwarded").unwrap();
        let variables: Vec<_> = headers.iter().map(|header| header.variable).collect();
        assert_eq!(variables, ["HTTP_X_FORWARDED_FOR", "HTTP_X_HTTPS"]);
    }

    #[test]
    fn d_directives_03_odd_header_names_are_refused() {
        for name in ["X_Real_IP", "", "X Real", "X-Réal", "X-Real-IP:"] {
            assert!(Headers::default().push(name).is_err(), "{name}");
        }
    }
}
