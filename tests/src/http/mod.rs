//! A raw HTTP/1.1 client that judges what it reads.
//!
//! Ordinary clients repair or hide what matters here: a body cut short, a bad chunk, bytes after
//! the end, two heads. This one keeps every byte, and says how the message ended.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112.html>

mod browser;
mod connection;
mod response;

pub use browser::{Browser, encode, field};
pub use connection::{Connection, PATIENCE};
pub use response::{End, Framing, Response};

use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// One request on a connection of its own. A `Content-Length` is added where there is a body, and
/// `Connection: close` unless `headers` say something else.
///
/// # Errors
/// There is no well-formed and complete answer, or something follows it.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let mut connection = Connection::open(address)?;
    connection.send(head(method, path, headers, body.len()))?;
    connection.send(body)?;
    let response = connection.response(method)?;
    ensure!(response.is_complete(), "the response is cut short: {response:?}");
    if response.framing != Framing::Close && !has(headers, "connection") {
        let rest = connection.rest()?;
        ensure!(rest.is_empty(), "{} bytes follow the response: {response:?}", rest.len());
    }
    Ok(response)
}

/// The head of a request, as text.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    if !has(headers, "host") {
        text += "Host: localhost\r\n";
    }
    if !has(headers, "connection") {
        text += "Connection: close\r\n";
    }
    let framed = has(headers, "content-length") || has(headers, "transfer-encoding");
    if !framed && (length > 0 || matches!(method, "POST" | "PUT" | "PATCH")) {
        text += &format!("Content-Length: {length}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

fn has(headers: &[(&str, &str)], name: &str) -> bool {
    headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
}
