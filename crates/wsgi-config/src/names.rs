//! What the names of process groups, application groups and callables stand for.
//!
//! Only a value that begins with `%` is looked at; an unknown `%...` is a name like any other. See
//! "WSGIApplicationGroup" in the manual for the four keywords.

use std::borrow::Cow;

/// What the keywords are made of, for one request.
pub trait Request {
    /// `ServerName` of the virtual host, without a port.
    fn server(&self) -> &[u8];
    /// The host that the client asked for; empty if it named none.
    fn host(&self) -> &[u8];
    /// The port that completes a name. It must not be of the client's choosing, since each name
    /// that was not seen before is a new interpreter.
    fn port(&self) -> u16;
    /// `SCRIPT_NAME` with slashes collapsed (and lower-cased where the file system ignores case).
    fn script_name(&self) -> Cow<'_, [u8]>;
    /// A variable: request notes, then the request's environment, then the process's.
    fn variable(&self, name: &[u8]) -> Option<Vec<u8>>;
}

/// Which keywords a setting knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keywords {
    /// All of them: `WSGIProcessGroup`, `WSGIApplicationGroup`, options of aliases.
    All,
    /// `%{GLOBAL}`, `%{SERVER}` and `%{HOST}`: `application-group=` of access and
    /// authentication scripts.
    Hook,
}

/// The name of a process group: empty for embedded mode.
pub fn process_group(value: Option<&[u8]>, request: &impl Request) -> Vec<u8> {
    value.map_or_else(Vec::new, |value| group(value, Keywords::All, request))
}

/// The name of an application group: empty for the main interpreter. Unset is `%{RESOURCE}`.
pub fn application_group(value: Option<&[u8]>, request: &impl Request) -> Vec<u8> {
    group(value.unwrap_or(b"%{RESOURCE}"), Keywords::All, request)
}

/// The name that `value` stands for.
pub fn group(value: &[u8], keywords: Keywords, request: &impl Request) -> Vec<u8> {
    if keywords == Keywords::All
        && let Some(name) = variable_name(value)
    {
        let Some(found) = request.variable(name) else {
            return value.to_vec();
        };
        return if variable_name(&found).is_some() {
            found
        } else {
            keyword(&found, keywords, request).unwrap_or(found)
        };
    }
    keyword(value, keywords, request).unwrap_or_else(|| value.to_vec())
}

/// The name of the callable in a script.
pub fn callable<'a>(value: Option<&'a [u8]>, request: &impl Request) -> Cow<'a, [u8]> {
    const DEFAULT: &[u8] = b"application";
    match value {
        None => Cow::Borrowed(DEFAULT),
        Some(value) if value.first() != Some(&b'%') => Cow::Borrowed(value),
        Some(value) => {
            let found = variable_name(value).and_then(|name| request.variable(name));
            found.map_or(Cow::Borrowed(DEFAULT), Cow::Owned)
        }
    }
}

/// Whether a configured name is the same for every request, so that its script can be loaded in
/// advance. `%{GLOBAL}` counts as the literal it stands for.
pub fn is_static(value: &[u8]) -> bool {
    value == b"%{GLOBAL}" || !value.windows(2).any(|pair| pair == b"%{")
}

fn keyword(value: &[u8], keywords: Keywords, request: &impl Request) -> Option<Vec<u8>> {
    match value {
        b"%{GLOBAL}" => Some(Vec::new()),
        b"%{SERVER}" => Some(with_port(request.server(), request.port())),
        b"%{HOST}" => {
            let host = request.host();
            let host = if host.is_empty() { request.server() } else { host };
            Some(with_port(host, request.port()))
        }
        b"%{RESOURCE}" if keywords == Keywords::All => {
            let mut name = with_port(request.server(), request.port());
            name.push(b'|');
            name.extend_from_slice(&request.script_name());
            Some(name)
        }
        _ => None,
    }
}

/// A host and port as names have them: the two standard ports are left out, whatever the scheme.
pub fn with_port(host: &[u8], port: u16) -> Vec<u8> {
    let mut name = host.to_vec();
    if port != 80 && port != 443 {
        name.extend_from_slice(format!(":{port}").as_bytes());
    }
    name
}

fn variable_name(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"%{ENV:")?.strip_suffix(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        host: &'static str,
        port: u16,
    }

    impl Request for Fixed {
        fn server(&self) -> &[u8] {
            b"site.example"
        }
        fn host(&self) -> &[u8] {
            self.host.as_bytes()
        }
        fn port(&self) -> u16 {
            self.port
        }
        fn script_name(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(b"/app")
        }
        fn variable(&self, name: &[u8]) -> Option<Vec<u8>> {
            match name {
                b"PLAIN" => Some(b"blue".to_vec()),
                b"KEYWORD" => Some(b"%{GLOBAL}".to_vec()),
                b"NESTED" => Some(b"%{ENV:PLAIN}".to_vec()),
                _ => None,
            }
        }
    }

    const STANDARD: Fixed = Fixed { host: "www.example", port: 443 };
    const OTHER: Fixed = Fixed { host: "", port: 8080 };

    fn check(value: &str, request: &Fixed, expected: &str) {
        let name = group(value.as_bytes(), Keywords::All, request);
        assert_eq!(String::from_utf8_lossy(&name), expected, "{value}");
    }

    #[test]
    fn keywords() {
        check("%{GLOBAL}", &OTHER, "");
        check("%{SERVER}", &STANDARD, "site.example");
        check("%{SERVER}", &OTHER, "site.example:8080");
        check("%{HOST}", &STANDARD, "www.example");
        check("%{HOST}", &OTHER, "site.example:8080");
        check("%{RESOURCE}", &OTHER, "site.example:8080|/app");
        check("plain", &OTHER, "plain");
        check("pre%{ENV:PLAIN}", &OTHER, "pre%{ENV:PLAIN}");
        check("%{Global}", &OTHER, "%{Global}");
        check("%", &OTHER, "%");
        assert_eq!(application_group(None, &STANDARD), b"site.example|/app");
        assert_eq!(process_group(None, &STANDARD), b"");
    }

    #[test]
    fn variables_are_expanded_once_more_but_not_twice() {
        check("%{ENV:PLAIN}", &OTHER, "blue");
        check("%{ENV:KEYWORD}", &OTHER, "");
        check("%{ENV:NESTED}", &OTHER, "%{ENV:PLAIN}");
        check("%{ENV:NONE}", &OTHER, "%{ENV:NONE}");
        check("%{ENV:PLAIN", &OTHER, "%{ENV:PLAIN");
    }

    #[test]
    fn hooks_know_fewer_keywords() {
        for literal in ["%{RESOURCE}", "%{ENV:PLAIN}"] {
            assert_eq!(group(literal.as_bytes(), Keywords::Hook, &OTHER), literal.as_bytes());
        }
        assert_eq!(group(b"%{SERVER}", Keywords::Hook, &STANDARD), b"site.example");
    }

    #[test]
    fn callables() {
        assert_eq!(*callable(None, &OTHER), *b"application");
        assert_eq!(*callable(Some(b"app"), &OTHER), *b"app");
        assert_eq!(*callable(Some(b"%{ENV:PLAIN}"), &OTHER), *b"blue");
        assert_eq!(*callable(Some(b"%{ENV:NONE}"), &OTHER), *b"application");
        assert_eq!(*callable(Some(b"%{GLOBAL}"), &OTHER), *b"application");
    }

    #[test]
    fn static_names() {
        assert!(is_static(b"%{GLOBAL}") && is_static(b"blue") && is_static(b"100%"));
        assert!(!is_static(b"%{ENV:X}") && !is_static(b"a%{ENV:X}"));
    }
}
