//! What a server knows of its own processes, for `mod_wsgi.server_metrics()`.
//!
//! It crosses the border, and in daemon mode processes, as bytes: an engine in a worker has no server
//! to ask, so a child of the server writes them for it. They say nothing that anything is done by.
//!
//! <https://httpd.apache.org/docs/2.4/mod/mod_status.html>

use serde::{Deserialize, Serialize};

/// Everything. Points of time are microseconds since 1970; 0 is "never".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scoreboard {
    /// Most processes there may be.
    pub server_limit: u32,
    /// Most threads that one may have.
    pub thread_limit: u32,
    /// Which restart of the server its new processes belong to.
    pub generation: i32,
    /// When that was.
    pub restart_time: i64,
    /// Now.
    pub current_time: i64,
    /// One for each place, used or not.
    pub processes: Vec<ServerProcess>,
}

/// A process of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerProcess {
    /// 0 if there is none in this place.
    pub pid: i32,
    /// Which restart it belongs to.
    pub generation: i32,
    /// It finishes what it does and ends.
    pub quiescing: bool,
    /// One for each place, used or not.
    pub workers: Vec<ServerWorker>,
}

/// A thread of such a process. Texts are empty unless the server has `ExtendedStatus On`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerWorker {
    /// Which restart its process belongs to.
    pub generation: i32,
    /// What it does, by the number the server has for that.
    pub status: u8,
    /// Requests it has served.
    pub access_count: u64,
    /// Bytes of their responses.
    pub bytes_served: u64,
    /// When its request began.
    pub start_time: i64,
    /// When its last request ended.
    pub stop_time: i64,
    /// When it was used last.
    pub last_used: i64,
    /// Address of the client.
    pub client: Vec<u8>,
    /// Beginning of the request's first line.
    pub request: Vec<u8>,
    /// Name of the virtual host.
    pub vhost: Vec<u8>,
}

impl Scoreboard {
    /// As bytes, for an engine of the same build.
    ///
    /// # Errors
    /// Only without memory.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes = crate::ABI.to_le_bytes().to_vec();
        postcard::to_extend(self, bytes).map_err(|error| error.to_string())
    }

    /// From bytes; `None` if they make no sense, or another build wrote them.
    pub fn decode(bytes: &[u8]) -> Option<Scoreboard> {
        let (abi, rest) = bytes.split_first_chunk()?;
        (u64::from_le_bytes(*abi) == crate::ABI).then(|| postcard::from_bytes(rest).ok()).flatten()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let worker = ServerWorker { status: 4, client: b"::1".to_vec(), ..ServerWorker::default() };
        let process = ServerProcess { pid: 7, workers: vec![worker; 3], ..Default::default() };
        let board = Scoreboard { server_limit: 1, processes: vec![process], ..Default::default() };
        let bytes = board.encode().unwrap();
        assert_eq!(Scoreboard::decode(&bytes).unwrap(), board);
        for length in 0..bytes.len() {
            assert_eq!(Scoreboard::decode(&bytes[..length]), None);
        }
        let mut other = bytes;
        other[0] ^= 1;
        assert_eq!(Scoreboard::decode(&other), None);
    }

    #[test]
    fn nonsense_is_refused_without_much_memory() {
        let mut bytes = crate::ABI.to_le_bytes().to_vec();
        bytes.extend([1, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(Scoreboard::decode(&bytes), None);
    }
}
