//! What processes tell each other without messages: the routing board and the in-flight cells.
//!
//! Memory is split by who writes it. The **board** is written by the supervisor (and its directory
//! of names by the server's parent) and mapped for reading by children: which workers a group has,
//! which of them take requests, whether there is a point in waiting. The **cells** are written by
//! children: how many requests each has with each worker. Workers see neither.
//!
//! The hand-shake that makes a swap lossless: a child adds itself to the cell of a slot and reads the
//! slot's word *again*; the supervisor changes the word and then reads the cells. All of it is
//! sequentially consistent, so either the child sees the change and leaves, or the supervisor sees
//! the child and waits.
//!
//! A child owns one area of cells, by a lock on the byte of that number ([`crate::sys::lock`]), which
//! the kernel releases when the child ends. So cells of the dead are known and cleared by whoever
//! comes by, supervisor or the area's next owner, without a message or a number that somebody could
//! forge; it works while the supervisor is stopped or replaced.

mod cells;
mod directory;
mod layout;
mod routing;

pub(crate) use cells::{Area, Cells, InFlight};
pub(crate) use directory::{Directory, Entry};
pub use layout::Capacity;
pub use routing::Status;
pub(crate) use routing::{Board, End, Slot, State};
