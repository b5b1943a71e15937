//! What a worker says, as the server's side takes it.
//!
//! Frames come in an order; what is out of order is refused here.

use super::error::ErrorKind;
use crate::wire::{
    self, Fault, FaultKind, Flags, Header, Item, Kind, Malformed, Record, ResponseHead,
};

/// What comes from a worker.
#[derive(Debug)]
pub enum Event<'e> {
    /// The application reads: give it up to so many bytes of the body, with [`Exchange::pull`](super::Exchange::pull) or
    /// [`Exchange::data`](super::Exchange::data), or all of it with
    /// [`Exchange::file`](super::Exchange::file), before the next event.
    Read(u32),
    /// Status and headers. Comes once, before any part of the body.
    Head {
        /// Status and headers.
        head: ResponseHead<'e>,
        /// Whether the application wants them sent now.
        flush: bool,
        /// Whether that is all of the response: [`Event::End`] comes next.
        end: bool,
    },
    /// A part of the response's body; if `flush`, the client is to get what there is now.
    Body {
        /// The bytes, perhaps none.
        bytes: &'e [u8],
        /// Whether the application wants it sent.
        flush: bool,
        /// Whether that is the rest of the response: [`Event::End`] comes next.
        end: bool,
    },
    /// Records for the server's log.
    Log(Vec<Record<'e>>),
    /// There is no response: render this status.
    Render {
        /// The status.
        status: u16,
        /// Why, for a log.
        text: &'e [u8],
    },
    /// The response is complete, or there was none. Nothing comes after this.
    End,
}

/// A part of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// So many bytes, at least one.
    Bytes(usize),
    /// None without waiting; an answer only to a read that may not wait.
    NotNow,
    /// None any more.
    End,
}

/// Why there is no more of the request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFault<'t> {
    /// Which case; [`FaultKind::ClientGone`] to [`FaultKind::Other`].
    pub kind: FaultKind,
    /// The status that fits; 0 if none does.
    pub status: u16,
    /// The system's error number; 0 if there is none.
    pub errno: i32,
    /// A phrase for a person.
    pub text: &'t str,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come: the request can be sent again.
    Sent,
    /// Something has come.
    Answered,
    /// The head has come.
    Head,
    /// The last frame has come; the connection can be used again, or not.
    Last { close: bool },
    /// Over.
    Over,
}

/// What an item means at this point.
pub(super) fn understand<'e>(
    item: Item<'e>,
    phase: &mut Phase,
    credit: &mut Option<u32>,
) -> Result<Event<'e>, (ErrorKind, &'static str)> {
    let wrong = |text| (ErrorKind::Malformed, text);
    let malformed = |error: Malformed| wrong(error.0);
    let after_head = *phase == Phase::Head;
    let (header, payload, more) = match item {
        Item::Whole { header, payload, more } => (header, payload, more),
        Item::Part { .. } if !after_head => return Err(wrong("a body without a head")),
        Item::Part { header, bytes, last: ends } => {
            if ends {
                last(phase, &header);
            }
            let flush = ends && header.flags.has(Flags::FLUSH);
            return Ok(Event::Body { bytes, flush, end: ends && header.flags.has(Flags::END) });
        }
    };
    if !after_head {
        *phase = Phase::Answered;
    }
    match header.kind {
        Kind::Read => {
            let asked = wire::decode_read(payload).map_err(malformed)?;
            *credit = Some(asked);
            Ok(Event::Read(asked))
        }
        Kind::Log => Ok(Event::Log(wire::decode_records(payload).map_err(malformed)?)),
        Kind::Head if !after_head => {
            let head = ResponseHead::decode(payload).map_err(malformed)?;
            *phase = Phase::Head;
            if !more {
                last(phase, &header);
            }
            let flush = !more && header.flags.has(Flags::FLUSH);
            Ok(Event::Head { head, flush, end: !more && header.flags.has(Flags::END) })
        }
        Kind::Err if !after_head && header.flags.has(Flags::END) => {
            let fault = Fault::decode(payload).map_err(malformed)?;
            last(phase, &header);
            match fault.kind {
                FaultKind::QueueTimeout => {
                    Err((ErrorKind::QueueTimeout, "it waited too long for a process"))
                }
                FaultKind::Render if (100..=999).contains(&fault.status) => {
                    Ok(Event::Render { status: fault.status, text: fault.text })
                }
                _ => Ok(Event::Render { status: 500, text: fault.text }),
            }
        }
        _ => Err(wrong("a frame out of order")),
    }
}

/// A frame has ended: is it the last one?
fn last(phase: &mut Phase, header: &Header) {
    if header.flags.has(Flags::END) {
        *phase = Phase::Last { close: header.flags.has(Flags::CLOSE) };
    }
}
