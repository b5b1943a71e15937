//! Applying what trusted headers say to an environment.

use std::net::IpAddr;

use crate::header::{Category, Header, Headers, REGISTRY};
use crate::network::Networks;

/// A CGI environment. Values are bytes as they came over the wire.
pub trait Environ {
    /// The value of a variable.
    fn get(&self, variable: &str) -> Option<&[u8]>;
    /// Sets a variable.
    fn set(&mut self, variable: &'static str, value: Vec<u8>);
    /// Removes a variable.
    fn remove(&mut self, variable: &'static str);
}

/// Rewrites `environ` by the listed headers.
///
/// `proxies` is `None` where no `WSGITrustedProxies` is given, which trusts every peer; otherwise
/// `REMOTE_ADDR` must be in it. Headers of the listed categories that were not used are removed
/// either way, so that an application cannot believe them by mistake.
///
/// Returns whether a scheme header decided about `HTTPS`. If it did not, the caller asks its own
/// TLS layer.
pub fn apply(headers: &Headers, proxies: Option<&Networks>, environ: &mut impl Environ) -> bool {
    let trusted = proxies.is_none_or(|proxies| {
        environ.get("REMOTE_ADDR").and_then(address).is_some_and(|peer| proxies.contains(peer))
    });
    let mut listed = [false; Category::COUNT];
    let mut winner: [Option<&'static str>; Category::COUNT] = [None; Category::COUNT];
    let mut scheme_decided = false;
    for header in headers.iter() {
        let category = header.category.index();
        listed[category] = true;
        if !trusted {
            continue;
        }
        let Some(value) = environ.get(header.variable) else {
            continue;
        };
        let value = value.to_vec();
        winner[category] = Some(header.variable);
        scheme_decided |= apply_one(header, value, proxies, environ);
    }
    for header in &REGISTRY {
        let category = header.category.index();
        if listed[category] && winner[category] != Some(header.variable) {
            environ.remove(header.variable);
        }
    }
    scheme_decided
}

/// Applies one header; true if it decided about `HTTPS`.
fn apply_one(
    header: &Header,
    value: Vec<u8>,
    proxies: Option<&Networks>,
    environ: &mut impl Environ,
) -> bool {
    match header.category {
        Category::Client if header.variable == "HTTP_X_FORWARDED_FOR" => {
            forwarded_for(&value, proxies, environ);
        }
        Category::Client => {
            if let Some(client) = address(value.trim_ascii()) {
                environ.set("REMOTE_ADDR", client.to_string().into_bytes());
            }
        }
        Category::Host => environ.set("HTTP_HOST", value),
        Category::Server => environ.set("SERVER_NAME", value),
        Category::Port => {
            if std::str::from_utf8(&value)
                .is_ok_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
            {
                environ.set("SERVER_PORT", value);
            }
        }
        Category::ScriptName => {
            environ.set("mod_wsgi.mount_point", value.clone());
            environ.set("SCRIPT_NAME", value);
        }
        Category::Scheme => {
            let is =
                |words: &[&str]| words.iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes()));
            let (on, off): (&[&str], &[&str]) = if header.flag {
                (&["on", "true", "1"], &["off", "false", "0"])
            } else {
                (&["https"], &["http"])
            };
            if is(on) {
                environ.set("HTTPS", b"1".to_vec());
                return true;
            }
            if is(off) {
                environ.remove("HTTPS");
                return true;
            }
        }
    }
    false
}

/// `X-Forwarded-For`: a list that each proxy appends its peer to, so it is believed from the right
/// as far as the proxies are known. Without a list of proxies the first element is the client.
fn forwarded_for(value: &[u8], proxies: Option<&Networks>, environ: &mut impl Environ) {
    let items: Vec<&[u8]> = value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|item| !item.is_empty())
        .collect();
    let Some(proxies) = proxies else {
        if let Some(client) = items.first().and_then(|item| address(item)) {
            environ.set("REMOTE_ADDR", client.to_string().into_bytes());
        }
        return;
    };
    // The leftmost of the unbroken run of trusted addresses at the right end, and one more if that
    // is an address at all.
    let mut client = None;
    for (position, item) in items.iter().enumerate().rev() {
        let Some(ip) = address(item) else {
            break;
        };
        client = Some((position, ip));
        if !proxies.contains(ip) {
            break;
        }
    }
    if let Some((position, ip)) = client {
        let mut list = ip.to_string().into_bytes();
        for item in &items[position + 1..] {
            list.extend_from_slice(b", ");
            list.extend_from_slice(item);
        }
        environ.set("REMOTE_ADDR", ip.to_string().into_bytes());
        environ.set("HTTP_X_FORWARDED_FOR", list);
    }
}

/// An address literal; a port behind it, which some proxies add, is left out.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse() {
        return Some(ip);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']')?;
        let port_ok = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if port_ok { ip.parse().ok().map(IpAddr::V6) } else { None };
    }
    let (ip, port) = text.split_once(':')?;
    if is_port(port) { ip.parse().ok().map(IpAddr::V4) } else { None }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::network::Network;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Map(HashMap<String, Vec<u8>>);

    impl Map {
        fn new(pairs: &[(&str, &str)]) -> Map {
            Map(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.as_bytes().to_vec())).collect())
        }
        fn text(&self, variable: &str) -> Option<&str> {
            self.get(variable).map(|value| std::str::from_utf8(value).unwrap())
        }
    }

    impl Environ for Map {
        fn get(&self, variable: &str) -> Option<&[u8]> {
            self.0.get(variable).map(Vec::as_slice)
        }
        fn set(&mut self, variable: &'static str, value: Vec<u8>) {
            self.0.insert(variable.to_owned(), value);
        }
        fn remove(&mut self, variable: &'static str) {
            self.0.remove(variable);
        }
    }

    fn headers(names: &str) -> Headers {
        let mut headers = Headers::default();
        names.split_whitespace().for_each(|name| headers.push(name).unwrap());
        headers
    }

    fn networks(words: &str) -> Networks {
        words.split_whitespace().map(|word| Network::parse(word).unwrap()).collect()
    }

    #[test]
    fn forwarded_for_is_believed_from_the_right() {
        let proxies = networks("127.0.0.1 10.0.0.0/8");
        for (sent, address, rewritten) in [
            ("1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1", "1.1.1.1", "1.1.1.1"),
            ("6.6.6.6, 1.1.1.1, 10.0.0.9", "1.1.1.1", "1.1.1.1, 10.0.0.9"),
            ("9.9.9.9, 1.1.1.1, 10.0.0.5, 10.0.0.6", "1.1.1.1", "1.1.1.1, 10.0.0.5, 10.0.0.6"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1", "10.0.0.1, 10.0.0.2"),
            ("10.0.0.9,10.0.0.8", "10.0.0.9", "10.0.0.9, 10.0.0.8"),
            (",, ,", "127.0.0.1", ",, ,"),
            ("", "127.0.0.1", ""),
        ] {
            let mut environ =
                Map::new(&[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_FORWARDED_FOR", sent)]);
            apply(&headers("X-Forwarded-For"), Some(&proxies), &mut environ);
            assert_eq!(environ.text("REMOTE_ADDR"), Some(address), "{sent}");
            assert_eq!(environ.text("HTTP_X_FORWARDED_FOR"), Some(rewritten), "{sent}");
        }
    }

    #[test]
    fn d12_text_that_is_no_address_never_becomes_one() {
        let proxies = networks("127.0.0.1 10.0.0.0/8");
        for (sent, address) in [
            ("garbage", "127.0.0.1"),
            ("localhost", "127.0.0.1"),
            ("garbage, 10.0.0.1", "10.0.0.1"),
            ("6.6.6.6, localhost, 10.0.0.1", "10.0.0.1"),
            ("1.1.1.1:99, 10.0.0.1", "1.1.1.1"),
            ("[2001:db8::1]:99, 10.0.0.1", "2001:db8::1"),
        ] {
            let mut environ =
                Map::new(&[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_FORWARDED_FOR", sent)]);
            apply(&headers("X-Forwarded-For"), Some(&proxies), &mut environ);
            assert_eq!(environ.text("REMOTE_ADDR"), Some(address), "{sent}");
        }
        let mut environ = Map::new(&[("REMOTE_ADDR", "127.0.0.1"), ("HTTP_X_REAL_IP", "evil")]);
        apply(&headers("X-Real-IP"), None, &mut environ);
        assert_eq!(environ.text("REMOTE_ADDR"), Some("127.0.0.1"));
    }

    #[test]
    fn d12_an_unknown_scheme_leaves_tls_detection_to_the_caller() {
        for (header, value, decided, https) in [
            ("HTTP_X_FORWARDED_PROTO", "HTTPS", true, Some("1")),
            ("HTTP_X_FORWARDED_PROTO", "http", true, None),
            ("HTTP_X_FORWARDED_PROTO", "https, http", false, Some("old")),
            ("HTTP_X_FORWARDED_SSL", "On", true, Some("1")),
            ("HTTP_X_FORWARDED_SSL", "0", true, None),
            ("HTTP_X_FORWARDED_SSL", "https", false, Some("old")),
        ] {
            let mut environ = Map::new(&[(header, value), ("HTTPS", "old")]);
            let listed = headers("X-Forwarded-Proto X-Forwarded-SSL");
            assert_eq!(apply(&listed, None, &mut environ), decided, "{header}: {value}");
            assert_eq!(environ.text("HTTPS"), https, "{header}: {value}");
        }
    }

    #[test]
    fn without_proxies_the_first_element_is_the_client_and_the_header_stays() {
        let mut environ =
            Map::new(&[("REMOTE_ADDR", "9.9.9.9"), ("HTTP_X_FORWARDED_FOR", ", 1.1.1.1, x")]);
        apply(&headers("X-Forwarded-For"), None, &mut environ);
        assert_eq!(environ.text("REMOTE_ADDR"), Some("1.1.1.1"));
        assert_eq!(environ.text("HTTP_X_FORWARDED_FOR"), Some(", 1.1.1.1, x"));
    }

    #[test]
    fn the_last_listed_header_present_wins_and_its_synonyms_go() {
        let mut environ = Map::new(&[
            ("REMOTE_ADDR", "9.9.9.9"),
            ("HTTP_X_REAL_IP", "1.1.1.1"),
            ("HTTP_X_FORWARDED_FOR", "2.2.2.2"),
            ("HTTP_X_CLIENT_IP", "3.3.3.3"),
            ("HTTP_X_HOST", "kept.example"),
        ]);
        apply(&headers("X-Real-IP X-Forwarded-For"), None, &mut environ);
        assert_eq!(environ.text("REMOTE_ADDR"), Some("2.2.2.2"));
        assert_eq!(environ.text("HTTP_X_REAL_IP"), None);
        assert_eq!(environ.text("HTTP_X_CLIENT_IP"), None);
        assert_eq!(environ.text("HTTP_X_HOST"), Some("kept.example"));
    }

    #[test]
    fn an_untrusted_peer_changes_nothing_but_its_headers_go() {
        let mut environ = Map::new(&[
            ("REMOTE_ADDR", "9.9.9.9"),
            ("HTTP_HOST", "real.example"),
            ("HTTP_X_FORWARDED_HOST", "evil.example"),
            ("HTTP_X_HOST", "evil.example"),
        ]);
        apply(&headers("X-Forwarded-Host"), Some(&networks("10.0.0.0/8")), &mut environ);
        assert_eq!(environ.0.len(), 2);
        assert_eq!(environ.text("HTTP_HOST"), Some("real.example"));
    }

    #[test]
    fn mount_port_and_server() {
        let mut environ = Map::new(&[
            ("SCRIPT_NAME", "/app"),
            ("SERVER_PORT", "80"),
            ("HTTP_X_SCRIPT_NAME", "/outer//app"),
            ("HTTP_X_FORWARDED_PORT", "8443"),
            ("HTTP_X_FORWARDED_SERVER", "front"),
        ]);
        apply(&headers("X-Script-Name X-Forwarded-Port X-Forwarded-Server"), None, &mut environ);
        assert_eq!(environ.text("SCRIPT_NAME"), Some("/outer//app"));
        assert_eq!(environ.text("mod_wsgi.mount_point"), Some("/outer//app"));
        assert_eq!(environ.text("SERVER_PORT"), Some("8443"));
        assert_eq!(environ.text("SERVER_NAME"), Some("front"));
        environ.set("HTTP_X_FORWARDED_PORT", b"443; DROP".to_vec());
        apply(&headers("X-Forwarded-Port"), None, &mut environ);
        assert_eq!(environ.text("SERVER_PORT"), Some("8443"));
    }

    proptest! {
        #[test]
        fn remote_addr_stays_an_address(sent in "[0-9a-f:., \\[\\]x]{0,40}", proxied: bool) {
            let mut environ = Map::new(&[("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", &sent)]);
            let proxies = networks("10.0.0.0/8 ::1");
            apply(&headers("X-Forwarded-For"), proxied.then_some(&proxies), &mut environ);
            prop_assert!(environ.text("REMOTE_ADDR").unwrap().parse::<IpAddr>().is_ok());
        }

        #[test]
        fn an_untrusted_last_hop_is_the_client(first: u32, last in 0x0b00_0000_u32..) {
            let (first, last) = (std::net::Ipv4Addr::from(first), std::net::Ipv4Addr::from(last));
            let sent = format!("{first}, {last}");
            let mut environ = Map::new(&[("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", &sent)]);
            apply(&headers("X-Forwarded-For"), Some(&networks("10.0.0.0/8")), &mut environ);
            prop_assert_eq!(environ.text("REMOTE_ADDR").unwrap(), last.to_string());
        }
    }
}
