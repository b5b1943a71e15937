//! What follows from the options: the times and sizes that hold.

use std::time::Duration;

use super::DaemonProcess;

/// Room for a header line, where nothing is said.
const HEADER_BUFFER: u32 = 32768;
/// Bytes of a response without a flush, where nothing is said.
const RESPONSE_BUFFER: u32 = 8 << 20;

impl DaemonProcess {
    /// Number of processes.
    pub fn process_count(&self) -> u32 {
        self.processes.unwrap_or(1)
    }

    /// `wsgi.multiprocess`: true once the number was given, whatever it is.
    pub fn is_multiprocess(&self) -> bool {
        self.processes.is_some()
    }

    /// `wsgi.multithread`.
    pub fn is_multithread(&self) -> bool {
        self.threads != 1
    }

    /// `wsgi.run_once`.
    pub fn is_run_once(&self) -> bool {
        self.threads == 1 && self.maximum_requests == 1
    }

    /// Whether its processes run import scripts and take no requests.
    pub fn is_service(&self) -> bool {
        self.threads == 0
    }

    /// How long a request may take before something is done about it: `request-timeout`, times
    /// `1 + ln(threads)`, to the microsecond. In mod_wsgi this is when the timeout fires, but a
    /// request counts as given up from the unscaled time on; here both are this time.
    pub fn request_limit(&self) -> Option<Duration> {
        let timeout = self.request_timeout.filter(|_| self.threads > 0)?;
        if !self.request_timeout_scaling {
            return Some(timeout);
        }
        let factor = 1.0 + f64::from(self.threads).ln();
        // At most i32::MAX times 13 seconds, whose microseconds a u64 has room for.
        let microseconds = timeout.as_secs_f64() * factor * 1e6;
        Some(Duration::from_micros(microseconds as u64))
    }

    /// When a request that was interrupted is given up, and its process with it; without
    /// `interrupt-timeout` that is [`Self::request_limit`].
    pub fn request_end(&self) -> Option<Duration> {
        let limit = self.request_limit()?;
        Some(limit + self.interrupt_timeout.unwrap_or_default())
    }

    /// How long requests may go on after SIGUSR1. Zero is at once.
    pub fn eviction(&self) -> Duration {
        self.eviction_timeout.unwrap_or(self.graceful_timeout)
    }

    /// Soft and hard limit of processor time, in seconds: the process has the time that an end may
    /// take to act on the first.
    pub fn cpu_limits(&self) -> Option<(u64, u64)> {
        let soft = self.cpu_time_limit?.as_secs();
        let shutdown = self.shutdown_timeout.unwrap_or_default().as_secs();
        Some((soft, soft + 1 + shutdown))
    }

    /// How long Apache and process wait for each other, where the server's `Timeout` is this.
    pub fn socket_limit(&self, server: Duration) -> Duration {
        self.socket_timeout.unwrap_or(server)
    }

    /// How long Apache waits for the client while it sends; `None` to leave the connection as it
    /// is.
    pub fn response_socket_limit(&self) -> Option<Duration> {
        self.response_socket_timeout.or(self.socket_timeout)
    }

    /// Longest line of a response's head, without its end.
    pub fn header_line_limit(&self) -> usize {
        let size =
            if self.header_buffer_size == 0 { HEADER_BUFFER } else { self.header_buffer_size };
        size as usize - 2
    }

    /// Bytes of a response after which there is a flush in any case.
    pub fn flush_limit(&self) -> usize {
        let size = if self.response_buffer_size == 0 {
            RESPONSE_BUFFER
        } else {
            self.response_buffer_size
        };
        size as usize
    }

    /// What `ps` is to show, if anything is said about it.
    pub fn title(&self) -> Option<Vec<u8>> {
        match self.display_name.as_deref()? {
            b"%{GROUP}" => Some([b"(wsgi:".as_slice(), &self.name, b")"].concat()),
            b"" => None,
            name => Some(name.to_vec()),
        }
    }

    /// How long a request that has waited for so long, since it came to Apache, may wait still.
    pub fn queue_left(&self, waited: Duration) -> QueueLeft {
        match self.queue_timeout {
            None => QueueLeft::Unlimited,
            Some(limit) if waited > limit => QueueLeft::Expired,
            Some(limit) => QueueLeft::Time(limit - waited),
        }
    }
}

/// What is left of `queue-timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueLeft {
    /// There is no limit.
    Unlimited,
    /// So long; a request that starts at its very end is in time.
    Time(Duration),
    /// The request is to be refused (504) and must not run.
    Expired,
}
