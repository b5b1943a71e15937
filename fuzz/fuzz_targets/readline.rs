//! The buffer behind `wsgi.input`: whatever the order of calls, each byte comes once and in order,
//! and lines end where they should.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wsgi_core::Fault;
use wsgi_core::body::{Body, Source};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Lengths of runs without a newline; each is followed by one.
    runs: Vec<u16>,
    /// How much arrives at a time.
    sizes: Vec<u16>,
    calls: Vec<Call>,
}

#[derive(Arbitrary, Debug)]
enum Call {
    Read(u16),
    Line(Option<u16>),
    Touch,
}

struct Pieces<'a> {
    data: &'a [u8],
    sizes: &'a [u16],
    next: usize,
}

impl Source for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        assert!(!buffer.is_empty());
        let size = match self.sizes.get(self.next % self.sizes.len().max(1)) {
            Some(size) => usize::from(*size).max(1),
            None => usize::MAX,
        };
        self.next += 1;
        let (head, rest) = self.data.split_at(size.min(buffer.len()).min(self.data.len()));
        buffer[..head.len()].copy_from_slice(head);
        self.data = rest;
        Ok(head.len())
    }
}

fuzz_target!(|input: Input| {
    let mut data = Vec::new();
    for (i, run) in input.runs.iter().take(20).enumerate() {
        data.resize(data.len() + usize::from(*run), b'a' + i as u8);
        data.push(b'\n');
    }
    // The last line has no end, now and then.
    if input.runs.len() % 2 == 1 {
        data.pop();
    }
    let mut left = &data[..];
    let mut source = Pieces { data: &data, sizes: &input.sizes, next: 0 };
    let mut body = Body::default();
    let mut out = vec![0; usize::from(u16::MAX)];
    for call in &input.calls {
        match call {
            Call::Read(0) => {}
            Call::Read(size) => {
                let out = &mut out[..usize::from(*size)];
                let count = body.read(&mut source, out).expect("no faults");
                assert_eq!(out[..count], left[..count]);
                assert_eq!(count == 0, left.is_empty());
                left = &left[count..];
            }
            Call::Line(limit) => {
                let limit = limit.map(usize::from);
                let line = body.line(&mut source, limit).expect("no faults");
                let end = left.iter().position(|b| *b == b'\n').map_or(left.len(), |at| at + 1);
                let end = end.min(limit.unwrap_or(usize::MAX));
                assert_eq!(*line, left[..end]);
                left = &left[end..];
            }
            Call::Touch => body.touch(&mut source).expect("no faults"),
        }
        assert!(!body.is_finished() || left.is_empty());
    }
});
