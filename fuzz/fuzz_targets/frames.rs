//! Frames between a server's child and a worker: however a stream arrives, the same is read, and
//! whatever is in it can be looked at.

#![no_main]

use arbitrary::Arbitrary;
use daemon::wire::{
    Decoder, Fault, Header, Hello, Item, Kind, Request, ResponseHead, Side, decode_cancel,
    decode_file, decode_read, decode_records,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    side: bool,
    frames: Vec<Frame<'a>>,
    /// What comes after them, and is perhaps no frame.
    rest: &'a [u8],
    /// In pieces of these lengths, over and over.
    pieces: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Frame<'a> {
    kind: u8,
    flags: u8,
    id: u8,
    payload: &'a [u8],
    /// Of a HEAD: its first part is as long as it says.
    fits: bool,
    /// A header that lies about the length.
    lie: Option<u32>,
}

impl Frame<'_> {
    fn write(&self, stream: &mut Vec<u8>) {
        let mut payload = self.payload.to_vec();
        let kind = 1 + self.kind % 11;
        if self.fits && kind == Kind::Head as u8 {
            payload.splice(0..0, (self.payload.len() as u32 / 2).to_le_bytes());
        }
        // A header that is right, and then what it is to be.
        let header = Header::new(Kind::Read, daemon::wire::Flags::NONE, self.id.into(), 0);
        let mut header = header.encode();
        let length = self.lie.unwrap_or(payload.len() as u32);
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4] = kind;
        header[5] = self.flags % 20;
        stream.extend_from_slice(&header);
        stream.extend_from_slice(&payload);
    }
}

/// What was read, with the parts of bodies joined, and whether it ended with an error.
type Said = (Vec<(Header, bool, Vec<u8>)>, bool);

fn look(header: &Header, payload: &[u8]) {
    match header.kind {
        Kind::Hello => drop(Hello::decode(payload)),
        Kind::Request => {
            if let Ok(request) = Request::decode(header, payload) {
                let environ = request.environ().count();
                assert_eq!(environ, request.environ_len());
                for (number, _) in request.fields() {
                    assert!(request.field(number).is_some());
                }
                assert!(request.body().len() <= payload.len());
            }
        }
        Kind::Head => {
            if let Ok(head) = ResponseHead::decode(payload) {
                assert_eq!(head.headers().count(), head.headers_len());
                assert!((100..1000).contains(&head.status()), "{}", head.status());
            }
        }
        Kind::Err => drop(Fault::decode(payload)),
        Kind::Read => drop(decode_read(payload)),
        Kind::File => drop(decode_file(payload)),
        Kind::Cancel => drop(decode_cancel(payload)),
        Kind::Log => drop(decode_records(payload)),
        Kind::Data | Kind::Body | Kind::Drain => {}
    }
}

fn read(side: Side, stream: &[u8], pieces: &[u8], peek: bool) -> Said {
    let mut decoder = Decoder::new(side, 16);
    let mut said: Vec<(Header, bool, Vec<u8>)> = Vec::new();
    let mut open = false;
    let mut rest = stream;
    let mut next = pieces.iter().cycle();
    while !rest.is_empty() {
        let piece = next.next().map_or(rest.len(), |piece| usize::from(*piece).max(1));
        let (now, later) = rest.split_at(piece.min(rest.len()));
        decoder.feed(now);
        rest = later;
        loop {
            let seen = if peek { decoder.peek() } else { Ok(None) };
            let item = match decoder.take() {
                Ok(Some(item)) => item,
                Ok(None) => {
                    assert_eq!(seen, Ok(None));
                    break;
                }
                Err(error) => {
                    assert!(!peek || seen == Err(error));
                    return (said, true);
                }
            };
            let (header, is_body, bytes, ends) = match item {
                Item::Whole { header, payload, more } => (header, false, payload, !more),
                Item::Part { header, bytes, last } => (header, true, bytes, last),
            };
            assert!(!peek || seen == Ok(Some(header)));
            if !is_body {
                look(&header, bytes);
            }
            match said.last_mut() {
                Some((_, true, body)) if open && is_body => body.extend_from_slice(bytes),
                _ => said.push((header, is_body, bytes.to_vec())),
            }
            open = !ends;
        }
    }
    (said, false)
}

fuzz_target!(|input: Input<'_>| {
    let side = if input.side { Side::Worker } else { Side::Child };
    let mut stream = Vec::new();
    for frame in input.frames.iter().take(30) {
        frame.write(&mut stream);
    }
    stream.extend_from_slice(input.rest);
    let whole = read(side, &stream, &[], false);
    assert_eq!(whole, read(side, &stream, &input.pieces, true));
    let length: usize = whole.0.iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert!(length <= stream.len(), "nothing comes from nowhere");
});
