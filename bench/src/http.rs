//! A client that checks: one request, the whole response, or an error that says what was wrong.
//!
//! Only what the driver needs of HTTP/1.1 (<https://www.rfc-editor.org/rfc/rfc9112>): bodies by
//! length, chunked, or until the connection closes. It measures nothing; wrk does that.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

/// Nothing the loads ask for takes longer, even under valgrind.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest response body the driver has use for.
const LARGEST: u64 = 64 << 20;

/// A persistent connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// A complete response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    /// Connects to a port of this machine.
    pub(crate) fn open(port: u16) -> Result<Connection> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    /// Sends one request and reads its response. `body` of `None` is a GET.
    pub(crate) fn request(&mut self, path: &str, body: Option<&[u8]>) -> Result<Response> {
        let mut request = match body {
            None => format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes(),
            Some(body) => format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes(),
        };
        request.extend_from_slice(body.unwrap_or_default());
        self.stream.get_mut().write_all(&request).context("the request was not taken")?;
        read_response(&mut self.stream).map_err(|error| match error.downcast_ref::<io::Error>() {
            // What the system says of a read that took too long is EAGAIN.
            Some(late) if late.kind() == io::ErrorKind::WouldBlock => {
                anyhow!("no answer within {LIMIT:?}")
            }
            _ => error,
        })
    }
}

impl Connection {
    /// The connection without its buffer, to be kept open; nothing may be unread.
    pub(crate) fn keep(self) -> TcpStream {
        self.stream.into_inner()
    }
}

fn read_response(from: &mut impl BufRead) -> Result<Response> {
    let status_line = line(from)?;
    let mut words = status_line.split(' ');
    let status = match (words.next(), words.next().map(str::parse)) {
        (Some("HTTP/1.1" | "HTTP/1.0"), Some(Ok(status))) => status,
        _ => bail!("no response but {status_line:?}"),
    };
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = line(from)?;
        if header.is_empty() {
            break;
        }
        let (name, value) =
            header.split_once(':').with_context(|| format!("no header but {header:?}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<u64>().with_context(|| format!("length {value:?}"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        }
    }
    let mut body = Vec::new();
    match length {
        _ if chunked => loop {
            let size = line(from)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).with_context(|| format!("chunk {size:?}"))?;
            exactly(from, size, &mut body)?;
            let end = line(from)?;
            if !end.is_empty() {
                bail!("a chunk ends with {end:?}");
            }
            if size == 0 {
                break;
            }
        },
        Some(length) => exactly(from, length, &mut body)?,
        None => {
            from.take(LARGEST).read_to_end(&mut body)?;
        }
    }
    Ok(Response { status, body })
}

fn exactly(from: &mut impl BufRead, count: u64, body: &mut Vec<u8>) -> Result<()> {
    if body.len() as u64 + count > LARGEST {
        bail!("a response of more than {LARGEST} bytes");
    }
    let got = from.take(count).read_to_end(body)? as u64;
    if got < count {
        bail!("the body ends {} bytes early", count - got);
    }
    Ok(())
}

fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    from.take(64 << 10).read_until(b'\n', &mut line)?;
    let Some(text) = line.strip_suffix(b"\n") else { bail!("the connection closed early") };
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str) -> Result<Response> {
        read_response(&mut text.as_bytes())
    }

    fn body(text: &str) -> Vec<u8> {
        check(text).unwrap().body
    }

    #[test]
    fn bodies_end_in_three_ways() {
        let head = "HTTP/1.1 200 OK\r\n";
        assert_eq!(body(&format!("{head}Content-Length: 2\r\n\r\nabc")), b"ab");
        let chunks = "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\nrest";
        assert_eq!(body(&format!("{head}{chunks}")), b"abc");
        assert_eq!(body(&format!("{head}\r\nabc")), b"abc");
    }

    #[test]
    fn a_cut_body_is_an_error() {
        for cut in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "",
            "SSH-2.0\r\n",
        ] {
            assert!(check(cut).is_err(), "{cut:?}");
        }
    }
}
