//! The names a server goes by: in its configuration, in URLs, and in `ps`.

use serde::Serialize;

use crate::values::Values;

/// Names, and the addresses they come from.
#[derive(Debug, Serialize)]
pub(crate) struct Names {
    /// The address that was given, without brackets, or `localhost`.
    pub(crate) host: String,
    /// The same as in a URL: an IPv6 address in brackets.
    pub(crate) url_host: String,
    /// For the `ServerName` of the whole server, which cannot be an IPv6 address.
    server: String,
    pub(crate) port: i64,
    /// What `Listen` takes.
    listen: String,
    /// The virtual host's name, if there is one.
    pub(crate) site: Option<String>,
    /// The name without `www.`, if it is to be a redirect.
    pub(crate) parent: Option<String>,
    /// The URL that the parent domain is redirected to.
    site_url: String,
    /// The realm for passwords.
    realm: String,
    pub(crate) process_group: String,
    display: String,
}

impl Names {
    pub(crate) fn new(values: &Values, uid: u32) -> Names {
        let host = values.text("host").map(bare);
        let port = values.integer("port").unwrap_or_default();
        let named = host.unwrap_or("localhost");
        let url_host = bracketed(named);
        let site = values.text("server-name").map(str::to_owned);
        let own = format!("{url_host}:{port}");
        let group = values.text("process-group");
        Names {
            server: if named.contains(':') { "localhost".to_owned() } else { named.to_owned() },
            listen: listen(host, port),
            parent: site.as_deref().and_then(parent),
            site_url: url("http", site.as_deref().unwrap_or(&url_host), port),
            realm: own.clone(),
            display: match group {
                Some(name) => format!("(wsgi:{name})"),
                None => format!("(wsgi:{own}:{uid})"),
            },
            process_group: group.map_or(own, str::to_owned),
            host: named.to_owned(),
            url_host,
            port,
            site,
        }
    }

    /// The host in URLs of the site.
    pub(crate) fn in_urls(&self) -> &str {
        self.site.as_deref().unwrap_or(&self.url_host)
    }
}

/// An address without the brackets of a URL.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What `Listen` takes.
pub(crate) fn listen(host: Option<&str>, port: i64) -> String {
    match host {
        Some(host) => format!("{}:{port}", bracketed(host)),
        None => port.to_string(),
    }
}

/// A URL with a slash at its end, and the port unless that is understood.
pub(crate) fn url(scheme: &str, host: &str, port: i64) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}/"),
        _ => format!("{scheme}://{host}:{port}/"),
    }
}

fn parent(name: &str) -> Option<String> {
    let prefix = name.get(..4)?;
    (prefix.eq_ignore_ascii_case("www.") && name.len() > 4).then(|| name[4..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(listen(None, 80), "80");
        assert_eq!(listen(Some("127.0.0.1"), 80), "127.0.0.1:80");
        assert_eq!(listen(Some(bare("[::1]")), 80), "[::1]:80");
        assert_eq!(url("http", "a", 80), "http://a/");
        assert_eq!(url("https", "a", 8443), "https://a:8443/");
    }

    #[test]
    fn parents() {
        assert_eq!(parent("WWW.example.com").as_deref(), Some("example.com"));
        assert_eq!(parent("example.com"), None);
        assert_eq!(parent("www."), None);
        assert_eq!(parent("éwww."), None);
    }
}
