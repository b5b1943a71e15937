//! As much of a browser as logging in takes: cookies and forms.

use super::{Response, request};
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A client that keeps its cookies.
#[derive(Clone, Debug)]
pub struct Browser {
    address: SocketAddr,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// A browser for this server, without cookies.
    pub fn new(address: SocketAddr) -> Browser {
        Browser { address, cookies: BTreeMap::new() }
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Asks for a page.
    ///
    /// # Errors
    /// There is no well-formed and complete answer.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.ask("GET", path, &[], b"")
    }

    /// Sends a form.
    ///
    /// # Errors
    /// There is no well-formed and complete answer.
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.ask("POST", path, &kind, pairs.join("&").as_bytes())
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = pairs.join("; ");
        let mut headers = headers.to_vec();
        if !cookie.is_empty() {
            headers.push(("Cookie", &cookie));
        }
        let response = request(self.address, method, path, &headers, body)?;
        for line in response.all("Set-Cookie") {
            let pair = line.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        Ok(response)
    }
}

/// Percent-encoding for forms and queries.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The value of the field of this name in the first form that has one.
pub fn field(page: &str, name: &str) -> Option<String> {
    let at = page.find(&format!("name=\"{name}\""))?;
    let tag = &page[page[..at].rfind('<')?..];
    let tag = &tag[..tag.find('>')?];
    let value = tag.split_once("value=\"")?.1;
    Some(value.split('"').next()?.to_owned())
}
