//! A connection to a server, and the reading of responses off it.

use super::response::{End, Framing, Response};
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read or write may take, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Longest head a server may send; 10 000 headers fit.
const LONGEST_HEAD: usize = 4 << 20;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Why a read gave nothing.
enum Stop {
    /// The server closed the connection in order.
    Closed,
    /// It reset it.
    Reset,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let connection = Connection { stream, buffer: Vec::new() };
        connection.patience(PATIENCE)?;
        Ok(connection)
    }

    /// Sets how long a read or write may take.
    ///
    /// # Errors
    /// The socket refuses.
    pub fn patience(&self, time: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(time))?;
        Ok(self.stream.set_write_timeout(Some(time))?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The server does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.stream.write_all(bytes.as_ref()).context("sending a request")
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn finish_sending(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Closes it in the rudest way: the server gets a reset as soon as it writes.
    ///
    /// # Errors
    /// The socket refuses.
    pub fn abort(self) -> Result<()> {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))?;
        Ok(())
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads the response to a request of this method. A body cut short is no error here: the
    /// response says how it ended.
    ///
    /// # Errors
    /// What comes is not HTTP, nothing comes in time, or the server closes without an answer.
    pub fn response(&mut self, method: &str) -> Result<Response> {
        let mut interim = Vec::new();
        loop {
            let head = self.head()?;
            let mut response = Response::parse(&head)?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response);
                continue;
            }
            response.interim = interim;
            response.framing = response.expected_framing(method)?;
            response.end = self.body(&mut response)?;
            return Ok(response);
        }
    }

    /// Reads one head, interim or not, and leaves the body where it is.
    ///
    /// # Errors
    /// As [`Connection::response`].
    pub fn response_head(&mut self) -> Result<Response> {
        Response::parse(&self.head()?)
    }

    /// Reads at least one byte and gives what has come; empty at the end of the connection.
    ///
    /// # Errors
    /// Nothing comes in time.
    pub fn some(&mut self) -> Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Reads until the server closes, and gives what came. A reset ends it as well.
    ///
    /// # Errors
    /// It does not close in time.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        while self.fill()?.is_none() {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Whether the server has closed the connection and nothing more is to be read.
    ///
    /// # Errors
    /// The socket does.
    pub fn is_closed(&mut self, within: Duration) -> Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(false);
        }
        self.stream.set_read_timeout(Some(within))?;
        let closed = match self.fill() {
            Ok(stop) => stop.is_some(),
            Err(_) => false,
        };
        self.stream.set_read_timeout(Some(PATIENCE))?;
        Ok(closed)
    }

    fn fill(&mut self) -> Result<Option<Stop>> {
        let mut chunk = [0; 16384];
        loop {
            return match self.stream.read(&mut chunk) {
                Ok(0) => Ok(Some(Stop::Closed)),
                Ok(n) => {
                    self.buffer.extend_from_slice(&chunk[..n]);
                    Ok(None)
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(Some(Stop::Reset)),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("the server sent nothing in time; so far {} bytes", self.buffer.len())
                }
                Err(e) => Err(e.into()),
            };
        }
    }

    /// Takes a whole head off the connection, up to the empty line.
    fn head(&mut self) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let end = self.buffer[searched..].windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(at) = end {
                let mut head: Vec<u8> = self.buffer.drain(..searched + at + 4).collect();
                head.truncate(head.len() - 2);
                return Ok(head);
            }
            searched = self.buffer.len().saturating_sub(3);
            ensure!(self.buffer.len() < LONGEST_HEAD, "the head does not end");
            if self.fill()?.is_some() {
                let came = String::from_utf8_lossy(&self.buffer);
                bail!("the connection ended before a whole head: {came:?}");
            }
        }
    }

    fn body(&mut self, response: &mut Response) -> Result<End> {
        match response.framing {
            Framing::None => Ok(End::Complete),
            Framing::Length(length) => self.counted(length, &mut response.body),
            Framing::Chunked => self.chunked(response),
            Framing::Close => loop {
                match self.fill()? {
                    None => {}
                    Some(stop) => {
                        response.body = std::mem::take(&mut self.buffer);
                        return Ok(match stop {
                            Stop::Closed => End::Complete,
                            Stop::Reset => End::Cut,
                        });
                    }
                }
            },
        }
    }

    /// Moves `length` bytes to `body`, or what there is.
    fn counted(&mut self, length: usize, body: &mut Vec<u8>) -> Result<End> {
        while self.buffer.len() < length {
            if self.fill()?.is_some() {
                body.append(&mut self.buffer);
                return Ok(End::Cut);
            }
        }
        body.extend(self.buffer.drain(..length));
        Ok(End::Complete)
    }

    /// A line without its CRLF; `None` if the connection ends before.
    fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..at]).into_owned()));
            }
            if self.fill()?.is_some() {
                return Ok(None);
            }
        }
    }

    fn chunked(&mut self, response: &mut Response) -> Result<End> {
        loop {
            let Some(line) = self.line()? else { return Ok(End::Cut) };
            let digits = line.split(';').next().unwrap_or_default().trim_end();
            let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            ensure!(valid, "not the size of a chunk: {line:?}");
            let size = usize::from_str_radix(digits, 16)?;
            if size == 0 {
                return self.trailers(response);
            }
            response.chunks.push(size);
            if self.counted(size, &mut response.body)? == End::Cut {
                return Ok(End::Cut);
            }
            match self.line()? {
                None => return Ok(End::Cut),
                Some(line) => ensure!(line.is_empty(), "a chunk goes on: {line:?}"),
            }
        }
    }

    fn trailers(&mut self, response: &mut Response) -> Result<End> {
        loop {
            match self.line()? {
                None => return Ok(End::Cut),
                Some(line) if line.is_empty() => return Ok(End::Complete),
                Some(line) => response.trailers.push(line),
            }
        }
    }
}
