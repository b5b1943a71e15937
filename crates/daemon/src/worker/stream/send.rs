//! What a call of `respond` asks for beside what it sends.

/// How a call of [`Stream::respond`](super::Stream::respond) ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Send(u8);

impl Send {
    /// More follows.
    pub const NONE: Send = Send(0);
    /// The response is complete.
    pub const END: Send = Send(1);
    /// The client gets what there is now.
    pub const FLUSH: Send = Send(2);
    /// The response ends here and is not what it should have been: whoever receives it must be able
    /// to tell.
    pub const TRUNCATED: Send = Send(4);

    /// All flags of both.
    #[must_use]
    pub const fn with(self, other: Send) -> Send {
        Send(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Send) -> bool {
        self.0 & other.0 == other.0
    }
}
