//! What a worker answers to [`ToWorker::Inquiry`](super::ToWorker::Inquiry): where its requests are.
//!
//! One message on the channel that came with the inquiry. Which request it is, is said by when the
//! server read it; where it is, is text between the two ends, which this crate does not look at. A
//! child shows what it gets and does nothing because of it: a worker may say what it likes.

use crate::wire::{Malformed, Put, Reader};

/// Longest answer.
pub(crate) const MAX_PLACES: usize = 60 << 10;
/// What each of its entries takes, beside the text.
const HEAD: usize = 8 + 4;

/// Requests, by when the server read them, and where they are.
pub type Places = Vec<(i64, Vec<u8>)>;

/// How much text there may be for each of so many requests.
pub(crate) fn room(requests: usize) -> usize {
    ((MAX_PLACES - 4) / requests.max(1)).saturating_sub(HEAD)
}

/// As bytes; what does not fit is left out.
pub fn encode_places(places: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut length = 4;
    let fits = places.iter().take_while(|(_, text)| {
        length += HEAD + text.len();
        length <= MAX_PLACES
    });
    let count = fits.count();
    let mut message = Vec::new();
    message.put_count(count);
    for (started, text) in &places[..count] {
        message.put_i64(*started);
        message.put_string(text);
    }
    message
}

/// From bytes.
///
/// # Errors
/// They make no sense.
pub fn decode_places(bytes: &[u8]) -> Result<Places, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.count(HEAD)?;
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        places.push((reader.i64()?, reader.string(MAX_PLACES)?.to_vec()));
    }
    reader.end()?;
    Ok(places)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_were_written() {
        let places = vec![(1, b"here".to_vec()), (-2, Vec::new())];
        let mut bytes = encode_places(&places);
        assert_eq!(decode_places(&bytes).unwrap(), places);
        bytes.push(0);
        assert!(decode_places(&bytes).is_err());
        assert!(decode_places(&[0xff; 64]).is_err());
    }

    #[test]
    fn everybody_has_a_part_of_the_room() {
        for count in [1, 7, 1000] {
            let places: Places =
                (0..count).map(|at| (at, vec![b'x'; room(count as usize)])).collect();
            let bytes = encode_places(&places);
            assert!(bytes.len() <= MAX_PLACES);
            assert_eq!(decode_places(&bytes).unwrap().len(), places.len());
        }
        assert_eq!(room(1 << 20), 0);
        let bytes = encode_places(&[(1, vec![b'x'; MAX_PLACES])]);
        assert!(decode_places(&bytes).unwrap().is_empty(), "it does not fit");
    }
}
