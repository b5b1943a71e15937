//! A response as it came, down to the bytes of its header lines.

use anyhow::{Context, Result, bail, ensure};
use std::fmt;

/// How a message says where its body ends: RFC 9112 section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body: HEAD, 1xx, 204, 304.
    None,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Up to the end of the connection.
    Close,
}

/// How the body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where it said it would.
    Complete,
    /// The connection ended first.
    Cut,
}

/// A response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: Vec<u8>,
    /// Header lines in order: name and value, optional white space removed.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// How the body is delimited.
    pub framing: Framing,
    /// The body, as far as it came, freed of chunking.
    pub body: Vec<u8>,
    /// Sizes of the chunks.
    pub chunks: Vec<usize>,
    /// Lines of the trailer section.
    pub trailers: Vec<String>,
    /// How the body ended.
    pub end: End,
    /// Interim responses that came before: `100 Continue`.
    pub interim: Vec<Response>,
}

impl Response {
    /// Parses a head without its empty line. Strict: what RFC 9112 forbids is an error.
    pub(super) fn parse(head: &[u8]) -> Result<Response> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| match line {
            [line @ .., b'\r'] if !line.contains(&b'\r') => Ok(line),
            [] => Ok(line),
            _ => bail!("a line of the head has a bare CR or LF: {:?}", text(line)),
        });
        let first = lines.next().context("an empty head")??;
        let (version, rest) = first.split_at_checked(8).context("no status line")?;
        ensure!(
            matches!(version, b"HTTP/1.1" | b"HTTP/1.0"),
            "not a status line: {:?}",
            text(first)
        );
        let (code, reason) = rest.split_at_checked(4).context("no status code")?;
        let digits = code.strip_prefix(b" ").context("no space before the status code")?;
        ensure!(digits.iter().all(u8::is_ascii_digit), "not a status code: {:?}", text(first));
        let reason = match reason {
            [] => &[],
            [b' ', reason @ ..] => reason,
            _ => bail!("no space after the status code: {:?}", text(first)),
        };
        let mut headers = Vec::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let colon =
                colon.with_context(|| format!("a header without colon: {:?}", text(line)))?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            ensure!(
                !name.is_empty() && name.iter().all(|byte| is_token(*byte)),
                "not the name of a header: {:?}",
                text(line)
            );
            ensure!(!value.contains(&0), "a header with NUL: {:?}", text(line));
            headers.push((name.to_vec(), value.trim_ascii().to_vec()));
        }
        Ok(Response {
            version: text(version),
            status: text(digits).parse()?,
            reason: reason.to_vec(),
            headers,
            framing: Framing::None,
            body: Vec::new(),
            chunks: Vec::new(),
            trailers: Vec::new(),
            end: End::Complete,
            interim: Vec::new(),
        })
    }

    /// How the body of this head is delimited.
    pub(super) fn expected_framing(&self, method: &str) -> Result<Framing> {
        let lengths = self.all("Content-Length");
        let codings = self.all("Transfer-Encoding");
        ensure!(lengths.len() <= 1, "several Content-Length: {lengths:?}");
        ensure!(
            lengths.is_empty() || codings.is_empty(),
            "Content-Length beside Transfer-Encoding"
        );
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Ok(Framing::None);
        }
        if let [coding] = codings.as_slice() {
            ensure!(coding.eq_ignore_ascii_case("chunked"), "Transfer-Encoding: {coding}");
            return Ok(Framing::Chunked);
        }
        ensure!(codings.is_empty(), "several Transfer-Encoding: {codings:?}");
        match lengths.first() {
            None => Ok(Framing::Close),
            Some(length) => {
                let valid = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
                ensure!(valid, "Content-Length: {length:?}");
                Ok(Framing::Length(length.parse()?))
            }
        }
    }

    /// The value of a header; of the first one, if there are several.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// The values of all header lines of this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        let of_name = |header: &&(Vec<u8>, Vec<u8>)| header.0.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(of_name).map(|header| text(&header.1)).collect()
    }

    /// The reason phrase as text.
    pub fn reason(&self) -> String {
        text(&self.reason)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        text(&self.body)
    }

    /// Whether all of the body came.
    pub fn is_complete(&self) -> bool {
        self.end == End::Complete
    }

    /// Fails unless the status is this one; gives the response back.
    ///
    /// # Panics
    /// When it is another, showing the response.
    #[track_caller]
    #[must_use]
    pub fn with_status(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} [", self.version, self.status, text(&self.reason))?;
        for (name, value) in self.headers.iter().take(40) {
            write!(f, "{}: {}; ", text(name), text(value))?;
        }
        let body = &self.body[..self.body.len().min(2000)];
        write!(f, "] {:?} {:?} {} bytes {:?}", self.framing, self.end, self.body.len(), text(body))
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_taken_apart() {
        let head = b"HTTP/1.1 200 All right\r\nX-A: 1 \r\nx-a:2\r\n";
        let response = Response::parse(head).unwrap();
        assert_eq!((response.status, response.reason()), (200, "All right".to_owned()));
        assert_eq!(response.all("X-A"), ["1", "2"]);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        let bad: [&[u8]; 9] = [
            b"HTTP/1.1 20 OK\r\n",
            b"HTTP/1.1 2000 OK\r\n",
            b"HTTP/1.1  200\r\n",
            b"ICY 200 OK\r\n",
            b"HTTP/1.1 200 OK\nX: 1\r\n",
            b"HTTP/1.1 200 OK\r\nX\r\n",
            b"HTTP/1.1 200 OK\r\nX : 1\r\n",
            b"HTTP/1.1 200 OK\r\n: 1\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\rb\r\n",
        ];
        for head in bad {
            assert!(Response::parse(head).is_err(), "{}", text(head));
        }
        assert!(Response::parse(b"HTTP/1.1 200 \r\n").is_ok());
        assert!(Response::parse(b"HTTP/1.1 200\r\n").is_ok());
    }

    #[test]
    fn framing_follows_the_head() {
        let framing = |lines: &str, method: &str| {
            let head = format!("HTTP/1.1 200 OK\r\n{lines}");
            Response::parse(head.as_bytes()).unwrap().expected_framing(method)
        };
        assert_eq!(framing("Content-Length: 5\r\n", "GET").unwrap(), Framing::Length(5));
        assert_eq!(framing("Content-Length: 5\r\n", "HEAD").unwrap(), Framing::None);
        assert_eq!(framing("Transfer-Encoding: chunked\r\n", "GET").unwrap(), Framing::Chunked);
        assert_eq!(framing("", "GET").unwrap(), Framing::Close);
        assert!(framing("Content-Length: 5\r\nContent-Length: 5\r\n", "GET").is_err());
        assert!(framing("Content-Length: +5\r\n", "GET").is_err());
        assert!(framing("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "GET").is_err());
        assert!(framing("Transfer-Encoding: gzip, chunked\r\n", "GET").is_err());
    }
}
