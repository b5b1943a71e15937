//! The side of the server's children: pools of connections, choice of a worker, exchanges.
//!
//! A [`Child`] is made once per process from what the parent left it ([`Handles`]). For each request
//! the server writes a REQ with [`crate::wire::EnvironWriter`], calls [`Child::send`], and then takes
//! [`Event`]s from the [`Exchange`] until [`Event::End`] or an error. All of it blocks the calling
//! thread and none of it holds a lock while it waits.

mod abandoned;
mod answers;
mod child;
mod error;
mod event;
mod exchange;
mod inquiry;
mod overview;
mod pool;
mod room;
mod transfer;

use std::time::Duration;

pub use child::{Child, Group, Handles};
pub use error::{Error, ErrorKind};
pub use event::{BodyFault, Event, Part};
pub use exchange::{Exchange, Ready};
pub use inquiry::{Address, Places};
pub use overview::{Overview, Seen, Status, WorkerState};
pub use room::Room;
pub use transfer::is_writable;

/// How a request is to be treated. What belongs to a group is the same for all its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which of the workers' domains.
    pub domain: u16,
    /// How long to look for a worker that takes the request.
    pub connect_timeout: Duration,
    /// How long the other side may say nothing, in either direction.
    pub socket_timeout: Duration,
    /// How long the request may wait before a worker looks at it.
    pub queue_timeout: Option<Duration>,
    /// How long all of it may take up to the response's head.
    pub deadline: Option<Duration>,
    /// Most requests that a worker may have, running and waiting; 0 for no limit.
    pub capacity: u32,
    /// Idle connections are closed after so long; shorter than the workers' own time.
    pub idle: Duration,
    /// Bytes of the worker's send buffer in new connections; 0 for the platform's choice.
    pub send_buffer: u32,
    /// Bytes of the worker's receive buffer in new connections; 0 for the platform's choice.
    pub receive_buffer: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            domain: 0,
            connect_timeout: Duration::from_secs(15),
            socket_timeout: Duration::from_secs(60),
            queue_timeout: None,
            deadline: None,
            capacity: 0,
            idle: Duration::from_secs(10),
            send_buffer: 0,
            receive_buffer: 0,
        }
    }
}

/// The longest that a thread waits without looking whether there is still something to wait for.
const SLICE: Duration = Duration::from_millis(500);
