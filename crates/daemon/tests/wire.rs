//! The frame format as a whole: what is written is read however it arrives, and nothing that
//! arrives can do harm.
#![allow(clippy::unwrap_used)]

use daemon::wire::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// What a stream says, with the pieces of bodies joined.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Frame(Header, Vec<u8>),
    Body(Header, Vec<u8>),
}

fn take(decoder: &mut Decoder, said: &mut Vec<Said>) -> Result<(), Malformed> {
    while let Some(item) = decoder.take()? {
        match item {
            Item::Whole { header, payload, .. } => said.push(Said::Frame(header, payload.to_vec())),
            Item::Part { header, bytes, .. } => match said.last_mut() {
                Some(Said::Body(before, body)) if *before == header && !body.is_empty() => {
                    body.extend_from_slice(bytes);
                }
                _ => said.push(Said::Body(header, bytes.to_vec())),
            },
        }
    }
    Ok(())
}

/// Reads a stream that arrives in pieces of these lengths, over and over.
fn read(side: Side, stream: &[u8], pieces: &[usize]) -> Result<Vec<Said>, Malformed> {
    let mut decoder = Decoder::new(side, 64);
    let mut said = Vec::new();
    let mut rest = stream;
    for piece in pieces.iter().cycle() {
        let count = (*piece).clamp(1, rest.len().max(1)).min(rest.len());
        let space = decoder.space();
        let count = count.min(space.len());
        space[..count].copy_from_slice(&rest[..count]);
        decoder.filled(count);
        rest = &rest[count..];
        take(&mut decoder, &mut said)?;
        if rest.is_empty() {
            break;
        }
    }
    Ok(said)
}

fn request(pairs: &[(Vec<u8>, Vec<u8>)], script: &[u8], body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    let facts = Facts {
        request_start: 5,
        queue_start: 6,
        queue_deadline: 7,
        body_length: body.len() as i64,
        ..Facts::default()
    };
    let mut environ = EnvironWriter::new(&mut buffer, &facts);
    // One by one, and all at once.
    let (some, others) = pairs.split_at(pairs.len() / 2);
    for (name, value) in some {
        environ.pair(name, value);
    }
    environ.pairs(others.iter().map(|(name, value)| (&name[..], &value[..])));
    let mut fields = environ.fields();
    fields.field(field::SCRIPT, Value::Bytes(script));
    fields.field(field::SCRIPT_MTIME, Value::Int(-1));
    fields.field(field::FREE, Value::Float(0.5));
    fields.field(field::HTTPS, Value::Flag(true));
    fields.finish(body, true).unwrap();
    buffer
}

fn frame(kind: Kind, flags: Flags, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Header::new(kind, flags, id, payload.len()).encode().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn strings() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    vec((vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..200)), 0..30)
}

proptest! {
    #[test]
    fn a_request_arrives_as_it_was_sent(
        pairs in strings(),
        script in vec(any::<u8>(), 0..50),
        body in vec(any::<u8>(), 0..300),
        pieces in vec(1usize..400, 1..8),
        id: u64, connects: u16, restarts: u16, stay: bool,
    ) {
        let mut bytes = request(&pairs, &script, &body);
        let attempt = Attempt { id, queue_deadline: 8, connects, restarts, stay };
        stamp(&mut bytes, &attempt);
        let said = read(Side::Worker, &bytes, &pieces).unwrap();
        let [Said::Frame(header, payload)] = &said[..] else { panic!("{said:?}") };
        let request = Request::decode(header, payload).unwrap();
        prop_assert_eq!(request.id(), id);
        let facts = request.facts();
        prop_assert_eq!((facts.connects, facts.restarts, facts.stay), (connects, restarts, stay));
        prop_assert_eq!(
            (facts.request_start, facts.queue_start, facts.queue_deadline), (5, 6, 8));
        prop_assert_eq!(request.environ_len(), pairs.len());
        let read: Vec<_> =
            request.environ().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        prop_assert_eq!(read, pairs);
        prop_assert_eq!(request.text(field::SCRIPT), Some(&script[..]));
        prop_assert_eq!(request.field(field::SCRIPT_MTIME), Some(Value::Int(-1)));
        prop_assert_eq!(request.field(field::FREE), Some(Value::Float(0.5)));
        prop_assert_eq!(request.field(field::HTTPS), Some(Value::Flag(true)));
        prop_assert_eq!(request.field(field::RELOAD), None);
        prop_assert!(request.is_complete());
        prop_assert_eq!(request.body(), &body[..]);
    }

    #[test]
    fn a_response_arrives_as_it_was_sent(
        values in vec(vec(1u8..=255, 0..40), 0..20),
        first in vec(any::<u8>(), 0..100),
        second in vec(any::<u8>(), 0..3000),
        pieces in vec(1usize..700, 1..8),
    ) {
        let clean: Vec<Vec<u8>> = values.into_iter()
            .map(|v| v.into_iter().filter(|b| !b"\r\n".contains(b)).collect()).collect();
        let headers: Vec<(&[u8], &[u8])> = clean.iter().map(|v| (&b"X-Y"[..], &v[..])).collect();
        let head = Head { status: 207, reason: Some(b"Multi"), content_length: 9, headers: &headers };
        let mut stream = Vec::new();
        head.encode(&mut stream).unwrap();
        stream.extend_from_slice(&first);
        let header = Header::new(Kind::Head, Flags::NONE, 8, stream.len() - HEADER);
        stream[..HEADER].copy_from_slice(&header.encode());
        stream.extend(frame(Kind::Log, Flags::NONE, 8, b""));
        let end = Header::new(Kind::Body, Flags::END, 8, second.len());
        stream.extend_from_slice(&end.encode());
        stream.extend_from_slice(&second);

        let said = read(Side::Child, &stream, &pieces).unwrap();
        let mut said = said.iter();
        let Some(Said::Frame(got, payload)) = said.next() else { panic!() };
        prop_assert_eq!(*got, header);
        let read = ResponseHead::decode(payload).unwrap();
        prop_assert_eq!((read.status(), read.reason(), read.content_length()),
            (207, Some(&b"Multi"[..]), 9));
        prop_assert_eq!(read.headers_len(), headers.len());
        prop_assert_eq!(read.headers().collect::<Vec<_>>(), headers);
        if !first.is_empty() {
            prop_assert_eq!(said.next(), Some(&Said::Body(header, first)));
        }
        prop_assert!(matches!(said.next(), Some(Said::Frame(log, _)) if log.kind == Kind::Log));
        prop_assert_eq!(said.next(), Some(&Said::Body(end, second)));
        prop_assert_eq!(said.next(), None);
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..600), pieces in vec(1usize..99, 1..4)) {
        for side in [Side::Worker, Side::Child] {
            if let Ok(said) = read(side, &bytes, &pieces) {
                understand(&said);
            }
        }
    }

    #[test]
    fn no_frames_do_harm(
        frames in vec((1u8..=10, 0u8..16, any::<bool>(), vec(any::<u8>(), 0..80)), 0..12),
        pieces in vec(1usize..99, 1..4),
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, longer, payload) in frames {
            let length = payload.len() as u32 + if longer { 40 } else { 0 };
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&[kind, flags, 0x77, 0x67]);
            bytes.extend_from_slice(&[9; 8]);
            bytes.extend_from_slice(&payload);
        }
        for side in [Side::Worker, Side::Child] {
            if let Ok(said) = read(side, &bytes, &pieces) {
                understand(&said);
            }
        }
    }

    #[test]
    fn a_damaged_request_is_refused_or_understood(
        pairs in strings(), at: prop::sample::Index, value: u8, cut: prop::sample::Index,
    ) {
        let bytes = request(&pairs, b"/a", b"body");
        let header = Header::decode(bytes.first_chunk().unwrap()).unwrap();
        let payload = &bytes[HEADER..];
        prop_assert!(Request::decode(&header, &payload[..cut.index(payload.len())]).is_err());
        let mut damaged = payload.to_vec();
        let at = at.index(damaged.len());
        damaged[at] = value;
        understand(&[Said::Frame(header, damaged)]);
    }
}

/// Takes everything out of what was received, as an application would.
fn understand(said: &[Said]) {
    for one in said {
        let Said::Frame(header, payload) = one else { continue };
        match header.kind {
            Kind::Hello => drop(Hello::decode(payload)),
            Kind::Request => {
                if let Ok(request) = Request::decode(header, payload) {
                    assert_eq!(request.environ().count(), request.environ_len());
                    request.fields().for_each(drop);
                }
            }
            Kind::Head => {
                if let Ok(head) = ResponseHead::decode(payload) {
                    assert_eq!(head.headers().count(), head.headers_len());
                }
            }
            Kind::Read => drop(decode_read(payload)),
            Kind::Log => drop(decode_records(payload)),
            Kind::Err => drop(Fault::decode(payload)),
            Kind::File => drop(decode_file(payload)),
            Kind::Cancel => drop(decode_cancel(payload)),
            Kind::Data | Kind::Body | Kind::Drain => {}
        }
    }
}

#[test]
fn a_header_alone_allocates_nothing() {
    let mut decoder = Decoder::new(Side::Worker, 64);
    decoder.feed(&Header::new(Kind::Request, Flags::NONE, 1, MAX_REQUEST).encode());
    assert!(decoder.take().unwrap().is_none());
    assert!(decoder.space().len() <= 128);
    decoder.feed(&[0; 1000]);
    assert!(decoder.take().unwrap().is_none());
    assert!(decoder.space().len() <= 4096);
    decoder.reset(64);
    assert_eq!(decoder.space().len(), 64);
    assert!(decoder.is_between_frames());
}

#[test]
fn frames_of_the_other_side_are_refused() {
    for kind in [Kind::Hello, Kind::Request, Kind::Data, Kind::Cancel] {
        assert!(read(Side::Child, &frame(kind, Flags::NONE, 1, b"\x01"), &[99]).is_err());
    }
    for kind in [Kind::Read, Kind::Head, Kind::Body, Kind::Log, Kind::Drain] {
        assert!(read(Side::Worker, &frame(kind, Flags::NONE, 1, b"\x01"), &[99]).is_err());
    }
}

#[test]
fn an_empty_body_frame_ends_a_response() {
    let stream = frame(Kind::Body, Flags::END, 1, b"");
    let header = Header::new(Kind::Body, Flags::END, 1, 0);
    assert_eq!(read(Side::Child, &stream, &[99]).unwrap(), [Said::Body(header, Vec::new())]);
}

#[test]
fn a_head_may_not_announce_more_than_its_frame() {
    for (length, whole) in [(3, 0u32), (20, 17), (20, u32::MAX)] {
        let mut payload = vec![0; length];
        payload[..length.min(4)].copy_from_slice(&whole.to_le_bytes()[..length.min(4)]);
        assert!(read(Side::Child, &frame(Kind::Head, Flags::NONE, 1, &payload), &[99]).is_err());
    }
}

#[test]
fn a_request_that_is_too_large_is_not_written() {
    let mut buffer = Vec::new();
    let mut environ = EnvironWriter::new(&mut buffer, &Facts::default());
    environ.pair(b"A", &vec![0; MAX_REQUEST]);
    assert_eq!(environ.fields().finish(b"", true), Err(TooLarge));
    let fields = EnvironWriter::new(&mut buffer, &Facts::default()).fields();
    assert_eq!(fields.finish(&vec![0; MAX_INLINE + 1], true), Err(TooLarge));
}

#[test]
fn a_body_is_as_long_as_it_says() {
    for (length, complete, good) in
        [(4, true, true), (-1, true, true), (5, true, false), (5, false, true), (3, false, false)]
    {
        let mut buffer = Vec::new();
        let facts = Facts { body_length: length, ..Facts::default() };
        EnvironWriter::new(&mut buffer, &facts).fields().finish(b"body", complete).unwrap();
        let header = Header::decode(buffer.first_chunk().unwrap()).unwrap();
        let request = Request::decode(&header, &buffer[HEADER..]);
        assert_eq!(request.is_ok(), good, "{length} {complete}");
    }
}
