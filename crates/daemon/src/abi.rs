//! The fingerprint of everything that processes of different builds could disagree on.
//!
//! Checked wherever two processes meet: in the board, in HELLO, in each first message of a channel.
//! What differs is refused with one clear error; see "Upgrades under a running Apache" in
//! ARCHITECTURE.md.

use crate::wire::fingerprint;

/// Hash of the frames, the control messages, the configuration and the layout of shared memory.
pub const ABI: u64 = {
    let mut hash = crate::wire::ABI;
    hash = fingerprint(hash, include_bytes!("board/layout.rs"));
    hash = fingerprint(hash, include_bytes!("board/routing.rs"));
    hash = fingerprint(hash, include_bytes!("board/directory.rs"));
    hash = fingerprint(hash, include_bytes!("board/cells.rs"));
    hash = fingerprint(hash, include_bytes!("config.rs"));
    hash = fingerprint(hash, include_bytes!("log.rs"));
    hash = fingerprint(hash, include_bytes!("control/message.rs"));
    hash = fingerprint(hash, include_bytes!("control/places.rs"));
    fingerprint(hash, include_bytes!("control/start.rs"))
};
