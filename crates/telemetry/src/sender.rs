//! The socket, and what waits for it. Nothing here waits.
//!
//! Each datagram goes to the path by name, so that a reader may come, go and come again. If there is
//! none, what was to be sent is forgotten; if there is one that does not keep up, a bounded queue
//! keeps the latest.
//! See <https://man7.org/linux/man-pages/man7/unix.7.html>.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};

use crate::frame::Frame;

/// Most datagrams that wait.
const MOST: usize = 1024;
/// Most bytes of them.
const MOST_BYTES: usize = 1 << 20;

/// What sends datagrams to a path.
#[derive(Debug)]
pub(crate) struct Sender {
    socket: OwnedFd,
    address: SocketAddrUnix,
    sequence: u32,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The reader has no room, as far as is known.
    is_full: bool,
}

impl Sender {
    pub(crate) fn new(path: &Path) -> io::Result<Sender> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let waiting = VecDeque::new();
        Ok(Sender { socket, address, sequence: 0, waiting, bytes: 0, is_full: false })
    }

    /// Sends a datagram, or lets it wait. The numbers of those that are lost are missing.
    pub(crate) fn send(&mut self, frame: Frame) {
        self.sequence = self.sequence.wrapping_add(1);
        let datagram = frame.number(self.sequence);
        self.bytes += datagram.len();
        self.waiting.push_back(datagram);
        while self.waiting.len() > MOST || self.bytes > MOST_BYTES {
            self.forget();
        }
        if !self.is_full {
            self.flush();
        }
    }

    /// Sends what waits, as far as there is room; whether nothing waits any more.
    pub(crate) fn flush(&mut self) -> bool {
        self.is_full = false;
        while let Some(datagram) = self.waiting.front() {
            match sendto(&self.socket, datagram, SendFlags::NOSIGNAL, &self.address) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => {
                    self.is_full = true;
                    return false;
                }
                Ok(_) | Err(Errno::MSGSIZE) => self.forget(),
                // There is nobody.
                Err(_) => {
                    self.waiting.clear();
                    self.bytes = 0;
                }
            }
        }
        true
    }

    /// How many datagrams wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn forget(&mut self) {
        if let Some(datagram) = self.waiting.pop_front() {
            self.bytes -= datagram.len();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;

    use scenario::patience::{PATIENCE, until};

    use super::*;
    use crate::decode::decode;
    use crate::frame::Kind;

    fn frame() -> Frame {
        Frame::new(Kind::GcEvent, 1, 0.0)
    }

    fn sequences(reader: &UnixDatagram) -> Vec<u32> {
        reader.set_nonblocking(true).unwrap();
        let mut buffer = [0; 65536];
        std::iter::from_fn(|| {
            let length = reader.recv(&mut buffer).ok()?;
            Some(decode(&buffer[..length]).unwrap().sequence)
        })
        .collect()
    }

    #[test]
    fn a_reader_that_does_not_read_loses_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let reader = UnixDatagram::bind(&path).unwrap();
        let mut sender = Sender::new(&path).unwrap();
        let began = Instant::now();
        for _ in 0..5000 {
            sender.send(frame());
        }
        // Whoever waits for a reader does so without end.
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(sender.waiting.len(), MOST);
        assert!(!sender.flush());
        let mut read = sequences(&reader);
        assert!(read.len() >= 2);
        until("room for all of them", || {
            read.extend(sequences(&reader));
            sender.flush()
        });
        read.extend(sequences(&reader));
        assert!(read.is_sorted());
        assert_eq!(*read.last().unwrap(), 5000);
        assert!(read.len() > MOST && read.len() < 5000);
        assert_eq!(sender.bytes, 0);
    }

    #[test]
    fn bytes_are_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _reader = UnixDatagram::bind(&path).unwrap();
        let mut sender = Sender::new(&path).unwrap();
        for _ in 0..900 {
            let mut frame = frame();
            frame.f64s(1, vec![0.0; 1000].into_iter());
            sender.send(frame);
        }
        assert!(sender.bytes <= MOST_BYTES);
        assert!(sender.waiting.len() < 140);
    }

    #[test]
    fn readers_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut sender = Sender::new(&path).unwrap();
        sender.send(frame());
        assert!(sender.waiting.is_empty(), "nobody is there");
        let reader = UnixDatagram::bind(&path).unwrap();
        sender.send(frame());
        assert_eq!(sequences(&reader), [2]);
        drop(reader);
        sender.send(frame());
        assert!(sender.waiting.is_empty(), "its socket is there, and it is gone");
        std::fs::remove_file(&path).unwrap();
        let reader = UnixDatagram::bind(&path).unwrap();
        sender.send(frame());
        assert_eq!(sequences(&reader), [4]);
    }

    #[test]
    fn what_is_no_socket_is_survived() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_owned(), "/dev/null".into(), "/proc/1/mem".into()] {
            let mut sender = Sender::new(&path).unwrap();
            sender.send(frame());
            assert!(sender.waiting.is_empty());
        }
        assert!(Sender::new(Path::new(&"x".repeat(200))).is_err());
    }
}
