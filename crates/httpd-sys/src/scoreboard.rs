//! The scoreboard: what the server's processes and threads say they do.
//!
//! Memory that all processes of the server share and write to without locks, so what is read is
//! copied, and means what it does at best: `mod_status` shows the same.
//! <https://httpd.apache.org/docs/2.4/mod/mod_status.html>

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;

use apr_sys as raw;

/// The scoreboard of this server.
#[derive(Clone, Copy, Debug)]
pub struct Scoreboard {
    /// Most processes.
    pub server_limit: u32,
    /// Most threads of each.
    pub thread_limit: u32,
    /// Number of the restart that new processes belong to.
    pub generation: i32,
    /// When that was, in microseconds since 1970.
    pub restart_time: i64,
}

/// A place for a process.
#[derive(Clone, Copy, Debug)]
pub struct ServerProcess {
    /// 0 if there is none.
    pub pid: i32,
    /// Number of the restart that it belongs to.
    pub generation: i32,
    /// It is about to end.
    pub quiescing: bool,
}

/// A place for a thread.
#[derive(Clone, Copy)]
pub struct ServerThread(raw::worker_score);

impl Scoreboard {
    /// That of this server, once its children run.
    pub fn get() -> Option<Scoreboard> {
        // SAFETY: asks for a pointer.
        let exists = unsafe { raw::ap_exists_scoreboard_image() } != 0;
        if !exists {
            return None;
        }
        // SAFETY: the structure is shared memory that stays mapped (A14); what is read are numbers,
        // copied at once.
        let global = unsafe { copy(raw::ap_get_scoreboard_global())? };
        Some(Scoreboard {
            server_limit: u32::try_from(global.server_limit).unwrap_or(0),
            thread_limit: u32::try_from(global.thread_limit).unwrap_or(0),
            generation: global.running_generation,
            restart_time: global.restart_time,
        })
    }

    /// What is in the place of a process.
    pub fn process(&self, process: u32) -> Option<ServerProcess> {
        if process >= self.server_limit {
            return None;
        }
        // SAFETY: within the limit (A14); copied at once.
        let process = unsafe { copy(raw::ap_get_scoreboard_process(process as c_int))? };
        Some(ServerProcess {
            pid: process.pid,
            generation: process.generation,
            quiescing: process.quiescing != 0,
        })
    }

    /// What is in the place of a thread.
    pub fn thread(&self, process: u32, thread: u32) -> Option<ServerThread> {
        if process >= self.server_limit || thread >= self.thread_limit {
            return None;
        }
        let mut copy = MaybeUninit::zeroed();
        // SAFETY: within the limits (A14); writes the structure, for which zeroes are valid.
        unsafe {
            raw::ap_copy_scoreboard_worker(copy.as_mut_ptr(), process as c_int, thread as c_int);
            Some(ServerThread(copy.assume_init()))
        }
    }
}

/// Copies what others may write to meanwhile.
///
/// # Safety
/// The pointer is NULL, or valid for reading and aligned.
unsafe fn copy<T: Copy>(from: *const T) -> Option<T> {
    // SAFETY: by contract; no reference is made, for the value may change.
    (!from.is_null()).then(|| unsafe { std::ptr::read_volatile(from) })
}

impl ServerThread {
    /// Number of the restart that its process belongs to.
    pub fn generation(&self) -> i32 {
        self.0.generation
    }

    /// What it does: `SERVER_DEAD` and so on.
    pub fn status(&self) -> u8 {
        self.0.status
    }

    /// Requests it has served.
    #[allow(clippy::useless_conversion, reason = "32 bits wide on some machines")]
    pub fn access_count(&self) -> u64 {
        self.0.access_count.into()
    }

    /// Bytes of their responses.
    pub fn bytes_served(&self) -> u64 {
        u64::try_from(self.0.bytes_served).unwrap_or(0)
    }

    /// Beginning and end of its request, and when it was used last; in microseconds since 1970.
    pub fn times(&self) -> [i64; 3] {
        [self.0.start_time, self.0.stop_time, self.0.last_used]
    }

    /// Address of its client.
    pub fn client(&self) -> &[u8] {
        text(&self.0.client)
    }

    /// Beginning of the request's first line.
    pub fn request(&self) -> &[u8] {
        text(&self.0.request)
    }

    /// Its virtual host.
    pub fn vhost(&self) -> &[u8] {
        text(&self.0.vhost)
    }
}

/// What is before the NUL; all of it if another process has just written over that.
fn text(text: &[c_char]) -> &[u8] {
    // SAFETY: the same bytes, of a type of the same size.
    let bytes = unsafe { std::slice::from_raw_parts(text.as_ptr().cast::<u8>(), text.len()) };
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}
