//! What a hook tells the server: `OK`, `DECLINED`, `DONE` or a status of HTTP.

use std::ffi::c_int;

use apr_sys as raw;

/// What a hook tells the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done here, go on.
    Ok,
    /// Not mine.
    Declined,
    /// The response is complete, or cannot be completed: nothing more is to be sent.
    Done,
    /// Answer with this status, and with its `ErrorDocument`.
    Http(u16),
}

impl Status {
    /// 500.
    pub const INTERNAL_SERVER_ERROR: Status = Status::Http(500);

    pub(crate) fn to_raw(self) -> c_int {
        match self {
            Status::Ok => raw::OK,
            Status::Declined => raw::DECLINED,
            Status::Done => raw::DONE,
            // Outside of this range the server would take it for something else.
            Status::Http(status @ 100..=999) => status.into(),
            Status::Http(_) => raw::HTTP_INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(Status::Ok.to_raw(), 0);
        assert_eq!(Status::Declined.to_raw(), -1);
        assert_eq!(Status::Done.to_raw(), -2);
        assert_eq!(Status::Http(404).to_raw(), 404);
        assert_eq!(Status::Http(0).to_raw(), 500);
        assert_eq!(Status::Http(1000).to_raw(), 500);
    }
}
